/* SPDX-License-Identifier: Apache-2.0 */
/* Whether those that are to be asked are a dnsd, before anything is served. */
#include "common/run/upstreams.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/dns/dns_transports.h"
#include "common/dns/loop_check.h"
#include "common/net/sock.h"

#include <errno.h>

#define LOOP_WAIT_MS 500

/* Distinct servers and what they turned out to be. Those for which there is no room are found out later. */
struct loop_findings {
    struct addr addrs[UPSTREAM_MAX];
    struct span tls_names[UPSTREAM_MAX];
    enum loop_verdict verdicts[UPSTREAM_MAX];
    size_t count;
};

/* One address may be asked in plain DNS here and over TLS there, under more names than one. */
static size_t find(const struct loop_findings *f, const struct addr *addr, struct span tls_name)
{
    size_t at = 0;
    while (at < f->count &&
           !(addr_is_equal(&f->addrs[at], addr) && span_is_equal(f->tls_names[at], tls_name))) {
        at++;
    }
    return at;
}

static void add_findings(struct loop_findings *f, const struct addr *addrs, const struct span *tls_names,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = find(f, &addrs[i], tls_names[i]);
        if (at == f->count && at < UPSTREAM_MAX) {
            f->addrs[at] = addrs[i];
            f->tls_names[at] = tls_names[i];
            f->count++;
        }
    }
}

static bool is_loop(const struct loop_findings *f, size_t at)
{
    return at < f->count && (f->verdicts[at] == LOOP_OTHER || f->verdicts[at] == LOOP_SELF);
}

static int judge_findings(const struct loop_findings *f, const struct addr *addrs,
                          const struct span *tls_names, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_loop(f, find(f, &addrs[i], tls_names[i]))) {
            return 0;
        }
    }
    char text[UPSTREAM_TEXT_CAP];
    err_set(err, "upstream %s is an openshell-dnsd itself%s", upstream_text(&addrs[0], tls_names[0], text),
            count > 1 ? ", and so are the others" : "");
    return -EINVAL;
}

/* Asks those over TLS over TLS: what is not plain elsewhere is not plain here. */
static int ask_all(struct loop_findings *f, const struct upstreams_loop_config *cfg, struct err *err)
{
    const struct loop_check_config check = {.own = cfg->own, .wait_ms = LOOP_WAIT_MS};
    const struct dns_transports_config transports_cfg = {.store = cfg->tls,
                                                         .addrs = f->addrs,
                                                         .tls_names = f->tls_names,
                                                         .count = f->count,
                                                         .news = cfg->news};
    struct dns_transports transports;
    int rc = dns_transports_init(&transports, &transports_cfg, err);
    if (rc == 0) {
        rc = loop_check_all(&check, f->addrs, transports.list, f->count, f->verdicts);
        if (rc != 0) {
            err_set(err, "cannot look for loops: %s", strerror(-rc));
            err_add_hint(err, rc == -EMFILE ? SOCK_EMFILE_HINT : "");
        }
    }
    dns_transports_fini(&transports);
    return rc;
}

static void tell_loops(const struct loop_findings *f, struct upstream_news *news)
{
    for (size_t i = 0; i < f->count; i++) {
        char text[UPSTREAM_TEXT_CAP];
        if (is_loop(f, i)) {
            upstream_news_found_loop(news, &f->addrs[i], clock_mono_ms());
            log_event(LOG_WARN, "upstream_is_dnsd",
                      LOG_KV(kv_str("upstream", upstream_text(&f->addrs[i], f->tls_names[i], text)),
                             kv_str("effect", "not asked")));
        }
    }
}

int upstreams_check_loops(const struct upstream_list *list, const struct zone_set *zones,
                          const struct upstreams_loop_config *cfg, struct err *err)
{
    struct loop_findings f = {.count = 0};
    add_findings(&f, list->addrs, list->tls_names, list->count);
    for (size_t i = 0; i < zones->count; i++) {
        const struct zone *z = &zones->items[i];
        add_findings(&f, z->upstreams, z->tls_names, z->upstream_count);
    }
    int rc = ask_all(&f, cfg, err);
    if (rc != 0) {
        return rc;
    }
    rc = judge_findings(&f, list->addrs, list->tls_names, list->count, err);
    if (rc != 0) {
        err_add_hint(err, "give the resolver behind it with --upstream");
        if (cfg->file != NULL) {
            err_prefix(err, "%s", cfg->file);
        }
    }
    for (size_t i = 0; rc == 0 && i < zones->count; i++) {
        const struct zone *z = &zones->items[i];
        rc = judge_findings(&f, z->upstreams, z->tls_names, z->upstream_count, err);
        if (rc != 0) {
            err_prefix(err, "--zone %s", z->suffix.text);
            err_add_hint(err, "name the resolver behind it instead");
        }
    }
    if (rc == 0) {
        tell_loops(&f, cfg->news);
    }
    return rc;
}
