/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_proxy.h"

#include "common/base/num.h"
#include "common/base/shown.h"

#include <stdio.h>

#define DEFAULT_PORT 3128U

static bool is_set(const char *value)
{
    return value != NULL && value[0] != '\0';
}

/* Without scheme, user and path: what is left is HOST:PORT. A password is never shown. */
static struct span authority_of(struct span url, bool *is_http)
{
    *is_http = true;
    for (size_t i = 0; i + 2 < url.len; i++) {
        if (memcmp(url.data + i, "://", 3) == 0) {
            *is_http = span_is_equal_nocase(span_sub(url, 0, i), SPAN_LIT("http"));
            url = span_sub(url, i + 3, url.len);
            break;
        }
    }
    url = span_sub(url, 0, span_find(url, '/'));
    for (size_t at = span_find(url, '@'); at < url.len; at = span_find(url, '@')) {
        url = span_sub(url, at + 1, url.len);
    }
    return url;
}

static bool read_authority(struct span authority, struct doctor_proxy *out)
{
    size_t colon = authority.len;
    for (size_t i = 0; i < authority.len; i++) {
        colon = authority.data[i] == ':' ? i : colon;
    }
    if (num_port(span_sub(authority, colon + 1, authority.len), &out->addr.port) != 0 ||
        host_parse(span_sub(authority, 0, colon), &out->host) != HOST_FAULT_NONE) {
        return false;
    }
    if (out->host.kind == HOST_IP) {
        out->addr.ip = out->host.ip;
    }
    return true;
}

static void read_url(const char *url, struct doctor_proxy *out)
{
    bool is_http;
    char host[HOST_TEXT_CAP];
    struct span authority = authority_of(span_str(url), &is_http);
    if (read_authority(authority, out) && is_http) {
        (void)snprintf(out->url, sizeof out->url, "http://%s:%u", host_text(&out->host, host),
                       out->addr.port);
        return;
    }
    out->fault = DOCTOR_PROXY_URL;
    size_t len = authority.len < sizeof out->url ? authority.len : sizeof out->url - 1;
    (void)snprintf(out->url, sizeof out->url, "%s%.*s", is_http ? "" : "(another scheme)://", (int)len,
                   (const char *)authority.data);
    (void)shown_clean(out->url);
}

void doctor_proxy_read(const struct doctor_env *env, struct doctor_proxy *out)
{
    const struct {
        const char *name, *value;
    } places[] = {{"--proxy", env->option},
                  {"HTTPS_PROXY", env->https_upper},
                  {"https_proxy", env->https_lower},
                  {"HTTP_PROXY", env->http_upper},
                  {"http_proxy", env->http_lower}};
    const char *no_proxy = is_set(env->no_lower) ? env->no_lower : env->no_upper;
    struct host localhost = {.kind = HOST_DNS, .name = {.len = 9, .label_count = 1, .text = "localhost"}};
    struct host loopback = {.kind = HOST_IP, .ip = ip_v4(127, 0, 0, 1)};
    *out = (struct doctor_proxy){.from = NULL};
    out->exempts_loopback =
        doctor_no_proxy_names(no_proxy, &localhost) && doctor_no_proxy_names(no_proxy, &loopback);
    out->has_conflict = is_set(env->https_upper) && is_set(env->https_lower) &&
                        !span_is_equal(span_str(env->https_upper), span_str(env->https_lower));
    for (size_t i = 0; i < sizeof places / sizeof places[0] && out->from == NULL; i++) {
        if (is_set(places[i].value)) {
            out->from = places[i].name;
            read_url(places[i].value, out);
        }
    }
    if (out->from == NULL) {
        char text[64];
        (void)snprintf(text, sizeof text, "http://127.0.0.1:%u", DEFAULT_PORT);
        read_url(text, out);
    }
}

static bool entry_names(struct span entry, const struct host *host)
{
    struct ip_prefix prefix;
    struct host_name name;
    if (span_is_equal(entry, SPAN_LIT("*"))) {
        return true;
    }
    if (host->kind == HOST_IP) {
        return ip_prefix_parse(entry, &prefix) == 0 && ip_prefix_contains(&prefix, &host->ip);
    }
    if (entry.len > 1 && entry.data[0] == '*') {
        entry = span_sub(entry, 1, entry.len);
    }
    if (entry.len > 1 && entry.data[0] == '.') {
        entry = span_sub(entry, 1, entry.len);
    }
    return host_name_parse(entry, &name) == HOST_FAULT_NONE &&
           (host_name_is_equal(&host->name, &name) || host_name_is_below(&host->name, &name));
}

bool doctor_no_proxy_names(const char *list, const struct host *host)
{
    struct span rest = span_str(list);
    while (rest.len > 0) {
        size_t end = 0;
        while (end < rest.len && rest.data[end] != ',' && rest.data[end] != ' ') {
            end++;
        }
        if (entry_names(span_sub(rest, 0, end), host)) {
            return true;
        }
        rest = span_sub(rest, end + 1, rest.len);
    }
    return false;
}

int doctor_http_status(struct span head)
{
    const struct span start = SPAN_LIT("HTTP/1.");
    uint64_t status = 0;
    bool is_http = span_is_equal(span_sub(head, 0, start.len), start) && head.len >= start.len + 5 &&
                   head.data[start.len + 1] == ' ' &&
                   num_u64(span_sub(head, start.len + 2, 3), 100, 999, &status) == 0;
    return is_http ? (int)status : 0;
}

static bool is_code_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

void doctor_http_reason(struct span body, char reason[DOCTOR_REASON_CAP])
{
    const struct span key = SPAN_LIT("\"error\":");
    reason[0] = '\0';
    for (size_t i = 0; i + key.len < body.len; i++) {
        if (memcmp(body.data + i, key.data, key.len) != 0) {
            continue;
        }
        struct span rest = span_trim_ows(span_sub(body, i + key.len, body.len));
        struct span word =
            rest.len > 0 && rest.data[0] == '"' ? span_sub(rest, 1, rest.len) : span_sub(rest, 0, 0);
        size_t len = 0;
        while (len < word.len && is_code_byte(word.data[len])) {
            len++;
        }
        if (len > 0 && len < DOCTOR_REASON_CAP && len < word.len && word.data[len] == '"') {
            memcpy(reason, word.data, len);
            reason[len] = '\0';
        }
        return;
    }
}
