/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/upstreams.h"

#include "common/base/clock.h"
#include "common/dns/resolv_conf.h"
#include "common/run/option_say.h"

#include <errno.h>

static bool has_addr(const struct upstream_list *list, const struct addr *a)
{
    for (size_t i = 0; i < list->count; i++) {
        if (addr_is_equal(&list->addrs[i], a)) {
            return true;
        }
    }
    return false;
}

/* "dns.example.net:53", "tls://dns.example.net#dns.example.net" */
static bool is_named(struct span text)
{
    const struct span scheme = SPAN_LIT("tls://");
    if (span_is_equal(span_sub(text, 0, scheme.len), scheme)) {
        text = span_sub(text, scheme.len, text.len);
    }
    return option_is_name(span_sub(text, 0, span_find(text, '#')));
}

int upstreams_parse(const struct str_list *list, struct upstream_list *out, struct err *err)
{
    *out = (struct upstream_list){.count = 0};
    if (list->count > UPSTREAMS_MAX) {
        err_set(err, "--upstream: at most %d, not %zu", UPSTREAMS_MAX, list->count);
        return -EINVAL;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct addr a;
        const char *why = upstream_parse(span_str(list->items[i]), &a, &out->tls_names[out->count]);
        if (why != NULL && is_named(span_str(list->items[i]))) {
            why = "a name, and an address is wanted: 192.0.2.53, 127.0.0.1:53, or over TLS "
                  "tls://192.0.2.53#NAME";
        }
        if (why != NULL) {
            err_set(err, "--upstream %.80s: %s", list->items[i], why);
            return -EINVAL;
        }
        if (has_addr(out, &a)) {
            err_set(err, "--upstream %.80s: given twice", list->items[i]);
            return -EINVAL;
        }
        out->addrs[out->count++] = a;
    }
    return 0;
}

int upstreams_find(const struct str_list *list, const char *resolv_conf, struct upstream_list *out,
                   struct err *err)
{
    int rc = upstreams_parse(list, out, err);
    if (rc != 0 || out->count > 0) {
        return rc;
    }
    rc = resolv_conf_read(resolv_conf, out->addrs, UPSTREAMS_MAX, &out->count, err);
    if (rc != 0) {
        err_prefix(err, rc == -ENODATA ? "no --upstream" : "no --upstream, and --resolv-conf");
        return -EINVAL; /* a matter of configuration, not of the system */
    }
    return 0;
}

int upstreams_parse_zones(const struct str_list *list, struct zone_set *out, struct err *err)
{
    *out = (struct zone_set){.count = 0};
    for (size_t i = 0; i < list->count; i++) {
        struct zone z;
        int rc = zone_parse(span_str(list->items[i]), &z, err);
        if (rc == 0) {
            rc = zone_set_add(out, &z, err);
        }
        if (rc != 0) {
            err_prefix(err, "--zone");
            return rc;
        }
    }
    return 0;
}

static bool has_tls(const struct span *tls_names, size_t count)
{
    bool has = false;
    for (size_t i = 0; i < count && !has; i++) {
        has = tls_names[i].len > 0;
    }
    return has;
}

int upstreams_open_tls(const struct upstream_list *list, const struct zone_set *zones,
                       struct dns_tls_store **out, struct err *err)
{
    bool is_wanted = has_tls(list->tls_names, list->count);
    for (size_t i = 0; i < zones->count && !is_wanted; i++) {
        is_wanted = has_tls(zones->items[i].tls_names, zones->items[i].upstream_count);
    }
    *out = NULL;
    return is_wanted ? dns_tls_store_new(out, err) : 0;
}

int upstreams_drop_own(struct upstream_list *list, upstream_check_fn *check, void *ctx,
                       struct upstream_list *own, struct err *err)
{
    struct upstream_list kept = {.count = 0};
    *own = (struct upstream_list){.count = 0};
    for (size_t i = 0; i < list->count; i++) {
        struct upstream_list *to = check == NULL || check(ctx, &list->addrs[i], err) == 0 ? &kept : own;
        to->tls_names[to->count] = list->tls_names[i];
        to->addrs[to->count++] = list->addrs[i];
    }
    if (kept.count == 0) {
        return -EINVAL;
    }
    *list = kept;
    return 0;
}

void upstreams_log_own(const struct upstream_list *own, const char *file, upstream_check_fn *check, void *ctx)
{
    for (size_t i = 0; i < own->count; i++) {
        char text[ADDR_TEXT_CAP];
        struct err why = {""};
        (void)check(ctx, &own->addrs[i], &why);
        log_event(LOG_WARN, "upstream_ignored",
                  LOG_KV(kv_str("addr", addr_text(&own->addrs[i], text)), kv_str("file", file),
                         kv_str("why", why.text)));
    }
}

bool upstreams_is_equal(const struct upstream_list *a, const struct upstream_list *b)
{
    bool is_equal = a->count == b->count;
    for (size_t i = 0; is_equal && i < a->count; i++) {
        is_equal = addr_is_equal(&a->addrs[i], &b->addrs[i]);
    }
    return is_equal;
}

const char *upstreams_text(const struct addr *addrs, const struct span *tls_names, size_t count,
                           char text[UPSTREAMS_TEXT_CAP])
{
    struct wbuf w = wbuf_make(text, UPSTREAMS_TEXT_CAP - 1);
    for (size_t i = 0; i < count; i++) {
        char one[UPSTREAM_TEXT_CAP];
        struct span tls_name = {0};
        if (tls_names != NULL) {
            tls_name = tls_names[i];
        }
        wbuf_str(&w, i > 0 ? "," : "");
        wbuf_str(&w, upstream_text(&addrs[i], tls_name, one));
    }
    text[w.len] = '\0';
    return text;
}

void upstreams_log(const struct upstream_list *list, const struct zone_set *zones, struct upstream_news *news)
{
    char text[UPSTREAMS_TEXT_CAP];
    for (size_t i = 0; i < list->count; i++) {
        const char *one = upstream_text(&list->addrs[i], list->tls_names[i], text);
        if (!upstream_news_is_loop(news, &list->addrs[i], clock_mono_ms())) {
            log_event(LOG_INFO, "upstream", LOG_KV(kv_str("addr", one)));
        }
    }
    for (size_t i = 0; i < zones->count; i++) {
        const struct zone *z = &zones->items[i];
        log_event(
            LOG_INFO, "zone",
            LOG_KV(kv_str("suffix", z->suffix.text),
                   kv_str("upstreams", upstreams_text(z->upstreams, z->tls_names, z->upstream_count, text)),
                   kv_bool("open", z->is_open)));
    }
}

void upstreams_write_array(const struct addr *addrs, const struct span *tls_names, size_t count,
                           struct json *json)
{
    json_array(json, "upstreams");
    for (size_t i = 0; i < count; i++) {
        char text[UPSTREAM_TEXT_CAP];
        json_str(json, NULL, upstream_text(&addrs[i], tls_names[i], text));
    }
    json_end(json);
}

void upstreams_write(const struct upstream_list *list, const struct zone_set *zones, struct json *json)
{
    upstreams_write_array(list->addrs, list->tls_names, list->count, json);
    json_array(json, "zones");
    for (size_t i = 0; i < zones->count; i++) {
        const struct zone *z = &zones->items[i];
        json_object(json, NULL);
        json_str(json, "suffix", z->suffix.text);
        upstreams_write_array(z->upstreams, z->tls_names, z->upstream_count, json);
        json_bool(json, "open", z->is_open);
        json_end(json);
    }
    json_end(json);
}

static void write_failing(const struct addr *a, struct span tls_name, struct upstream_news *news,
                          struct json *json)
{
    int64_t since_ms = 0;
    const bool is_down = upstream_news_is_failing(news, a, UPSTREAM_NEWS_DOWN, &since_ms);
    if (is_down || upstream_news_is_failing(news, a, UPSTREAM_NEWS_UDP_BLOCKED, &since_ms)) {
        char text[UPSTREAM_TEXT_CAP];
        const int64_t for_ms = clock_mono_ms() - since_ms;
        json_object(json, NULL);
        json_str(json, "addr", upstream_text(a, tls_name, text));
        json_str(json, "state", is_down ? "down" : "udp_blocked");
        json_u64(json, "for_s", (uint64_t)(for_ms > 0 ? for_ms : 0) / 1000);
        json_end(json);
    }
}

void upstreams_write_failing(const struct upstream_list *list, const struct zone_set *zones,
                             struct upstream_news *news, struct json *json)
{
    json_array(json, "upstreams_failing");
    for (size_t i = 0; i < list->count; i++) {
        write_failing(&list->addrs[i], list->tls_names[i], news, json);
    }
    for (size_t i = 0; i < zones->count; i++) {
        const struct zone *z = &zones->items[i];
        for (size_t j = 0; j < z->upstream_count; j++) {
            write_failing(&z->upstreams[j], z->tls_names[j], news, json);
        }
    }
    json_end(json);
}
