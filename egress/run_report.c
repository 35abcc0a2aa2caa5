/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/run_report.h"

#include "common/base/shown.h"
#include "common/policy/judge_name.h"
#include "common/policy/reason.h"
#include "egress/explain_facts.h"

#include <inttypes.h>
#include <stdlib.h>

#define ENTRIES_MAX 512 /* of each kind */
#define NAMES_SHOWN 200
#define HOST_CAP 260
#define GUESSED_PORT EXPLAIN_GUESSED_PORT

struct denial {
    char host[HOST_CAP];
    uint16_t port; /* 0: its name was not resolved */
    char reason[32];
    char why[128]; /* "" = none */
    uint64_t count;
};
struct endpoint {
    char host[HOST_CAP];
    uint16_t port;
    uint64_t count, up, down, longest_ms;
};
struct run_report {
    struct log_line line;
    struct denial denials[ENTRIES_MAX];
    size_t denial_count;
    uint64_t denials_beyond;
    struct endpoint endpoints[ENTRIES_MAX];
    size_t endpoint_count;
    uint64_t endpoints_beyond;
};

struct run_report *run_report_new(void)
{
    return calloc(1, sizeof(struct run_report));
}

void run_report_free(struct run_report *r)
{
    free(r);
}

static void copy(char *out, size_t cap, const char *text)
{
    (void)snprintf(out, cap, "%s", text == NULL ? "" : text);
    (void)shown_clean(out);
}

/* "host" or "host:port". */
static const char *place(const char *host, uint16_t port, char out[HOST_CAP + 8])
{
    const bool is_v6 = strchr(host, ':') != NULL;
    if (port == 0) {
        (void)snprintf(out, HOST_CAP + 8, "%s", host);
    } else {
        (void)snprintf(out, HOST_CAP + 8, "%s%s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "", port);
    }
    return out;
}

static void print_denial(const struct denial *d, FILE *out)
{
    char text[HOST_CAP + 8];
    (void)fprintf(out, "openshell-egress: denied: %s %s%s%s%s\n", place(d->host, d->port, text), d->reason,
                  d->why[0] != '\0' ? " (" : "", d->why, d->why[0] != '\0' ? ")" : "");
}

/* The one that is there, or the new one; NULL if there is no more room. */
static struct denial *find_denial(struct run_report *r, const struct denial *like, bool *is_new)
{
    *is_new = false;
    for (size_t i = 0; i < r->denial_count; i++) {
        struct denial *d = &r->denials[i];
        if (d->port == like->port && strcmp(d->host, like->host) == 0 &&
            strcmp(d->reason, like->reason) == 0) {
            return d;
        }
    }
    if (r->denial_count == ENTRIES_MAX) {
        return NULL;
    }
    *is_new = true;
    r->denials[r->denial_count] = *like;
    return &r->denials[r->denial_count++];
}

static void add_denial(struct run_report *r, const char *host, const char *port, FILE *out)
{
    const struct log_line *l = &r->line;
    struct denial like = {.port = port == NULL ? 0 : (uint16_t)log_line_number(l, port)};
    bool is_new = false;
    const uint64_t count = 1 + log_line_number(l, "suppressed");
    if (log_line_get(l, "reason") == NULL) { /* those that had no line, once nothing came behind them */
        r->denials_beyond += count - 1;
        return;
    }
    copy(like.host, sizeof like.host, log_line_get(l, host));
    if (like.host[0] == '\0' || strcmp(like.host, "-") == 0) { /* an address that no name has */
        copy(like.host, sizeof like.host, log_line_get(l, "addr"));
        like.port = 0;
    }
    copy(like.reason, sizeof like.reason, log_line_get(l, "reason"));
    copy(like.why, sizeof like.why, log_line_get(l, "why"));
    struct denial *d = find_denial(r, &like, &is_new);
    if (d == NULL) {
        r->denials_beyond += count;
        return;
    }
    d->count += count;
    if (is_new) {
        print_denial(d, out);
    }
}

static void add_endpoint(struct run_report *r)
{
    const struct log_line *l = &r->line;
    char host[HOST_CAP];
    const uint16_t port = (uint16_t)log_line_number(l, "port");
    const uint64_t ms = log_line_number(l, "duration_ms");
    size_t i = 0;
    copy(host, sizeof host, log_line_get(l, "host"));
    while (i < r->endpoint_count &&
           !(r->endpoints[i].port == port && strcmp(r->endpoints[i].host, host) == 0)) {
        i++;
    }
    if (i == ENTRIES_MAX) {
        r->endpoints_beyond++;
        return;
    }
    struct endpoint *e = &r->endpoints[i];
    if (i == r->endpoint_count) {
        *e = (struct endpoint){.port = port};
        copy(e->host, sizeof e->host, host);
        r->endpoint_count++;
    }
    e->count++;
    e->up += log_line_number(l, "bytes_up");
    e->down += log_line_number(l, "bytes_down");
    e->longest_ms = ms > e->longest_ms ? ms : e->longest_ms;
}

void run_report_line(struct run_report *r, struct span line, FILE *out)
{
    const char *event = log_line_parse(line, &r->line) ? log_line_get(&r->line, "event") : NULL;
    if (event == NULL) {
        return;
    }
    if (strcmp(event, "dns_denied") == 0) {
        add_denial(r, "name", NULL, out);
    } else if (strcmp(event, "dns_target_denied") == 0) {
        add_denial(r, "target", "port", out);
    } else if (strcmp(event, "tunnel_denied") == 0) {
        add_denial(r, "host", "port", out);
    } else if (strcmp(event, "tunnel_close") == 0 || strcmp(event, "forward") == 0) {
        add_endpoint(r);
    }
}

static size_t print_family(struct synth_map *map, const struct ip_prefix *pool, int64_t now_boot_s, FILE *out)
{
    struct ip at = pool->base;
    const size_t last = at.family == IP_V4 ? 3 : 15;
    size_t count = 0;
    for (uint32_t slot = 1; slot <= SYNTH_MAP_CAPACITY; slot++) {
        struct host_name name;
        uint32_t low = slot;
        at = pool->base;
        for (size_t i = last; low > 0 && i > 0; i--, low >>= 8) {
            low += at.bytes[i];
            at.bytes[i] = (uint8_t)low;
        }
        if (!ip_prefix_contains(pool, &at)) {
            break;
        }
        if (synth_map_lookup(map, &at, now_boot_s, &name) != SYNTH_NEVER && ++count <= NAMES_SHOWN) {
            (void)fprintf(out, "    %s\n", name.text);
        }
    }
    return count;
}

static void print_names(struct synth_map *map, const struct synth_pools *pools, int64_t now_boot_s, FILE *out)
{
    (void)fputs("  names resolved:\n", out);
    const size_t count = print_family(map, pools->has_v4 ? &pools->v4 : &pools->v6, now_boot_s, out);
    if (count == 0) {
        (void)fputs("    none\n", out);
    } else if (count > NAMES_SHOWN) {
        (void)fprintf(out, "    and %zu more\n", count - NAMES_SHOWN);
    }
}

static void print_endpoints(const struct run_report *r, FILE *out)
{
    (void)fputs("  endpoints reached:\n", out);
    for (size_t i = 0; i < r->endpoint_count; i++) {
        const struct endpoint *e = &r->endpoints[i];
        char text[HOST_CAP + 8];
        (void)fprintf(
            out,
            "    %s %" PRIu64 " connection%s, %" PRIu64 " bytes up, %" PRIu64 " down, %" PRIu64 ".%03u s%s\n",
            place(e->host, e->port, text), e->count, e->count == 1 ? "" : "s", e->up, e->down,
            e->longest_ms / 1000, (unsigned)(e->longest_ms % 1000), e->count == 1 ? "" : " at most");
    }
    if (r->endpoint_count == 0) {
        (void)fputs("    none\n", out);
    }
    if (r->endpoints_beyond > 0) {
        (void)fprintf(out, "    and %" PRIu64 " connections to others\n", r->endpoints_beyond);
    }
}

static void print_denials(const struct run_report *r, FILE *out)
{
    (void)fputs("  denied:\n", out);
    for (size_t i = 0; i < r->denial_count; i++) {
        const struct denial *d = &r->denials[i];
        char text[HOST_CAP + 8];
        (void)fprintf(out, "    %s %" PRIu64 " time%s %s\n", place(d->host, d->port, text), d->count,
                      d->count == 1 ? "" : "s", d->reason);
    }
    if (r->denial_count == 0) {
        (void)fputs("    nothing\n", out);
    }
    if (r->denials_beyond > 0) {
        (void)fprintf(out, "    and %" PRIu64 " more\n", r->denials_beyond);
    }
}

/* A name that a connection was refused for as well has a port of its own. */
static bool has_port_elsewhere(const struct run_report *r, const char *host)
{
    for (size_t i = 0; i < r->denial_count; i++) {
        if (r->denials[i].port != 0 && strcmp(r->denials[i].host, host) == 0 &&
            strcmp(r->denials[i].reason, reason_text(REASON_POLICY_DENIED)) == 0) {
            return true;
        }
    }
    return false;
}

/* An address that no rule opens, or one that stands for a name. */
static bool is_hopeless(const struct host *host, const struct synth_pools *pools)
{
    if (host->kind != HOST_IP) {
        return false;
    }
    return ip_class_group(ip_classify(&host->ip)) == IP_GROUP_NEVER ||
           (pools != NULL && ((pools->has_v4 && ip_prefix_contains(&pools->v4, &host->ip)) ||
                              (pools->has_v6 && ip_prefix_contains(&pools->v6, &host->ip))));
}

static void print_rules(const struct run_report *r, const struct synth_pools *pools, FILE *out)
{
    static const char head[] = "network_policies:\n";
    bool is_first = true;
    for (size_t i = 0; i < r->denial_count; i++) {
        const struct denial *d = &r->denials[i];
        struct host host;
        char yaml[EXPLAIN_YAML_CAP];
        const uint16_t port = d->port == 0 ? GUESSED_PORT : d->port;
        if (strcmp(d->reason, reason_text(REASON_POLICY_DENIED)) != 0 ||
            (d->port == 0 && has_port_elsewhere(r, d->host)) ||
            host_parse(span_str(d->host), &host) != HOST_FAULT_NONE || is_hopeless(&host, pools) ||
            judge_suggest(&host, port, yaml, sizeof yaml) < sizeof head) {
            continue;
        }
        if (is_first) {
            (void)fprintf(
                out, "  rules that would admit what the policy denied, each by itself the narrowest:\n%s",
                head);
        }
        if (d->port == 0) {
            (void)fputs("  # port 443 is a guess: the name was refused before there was a connection\n", out);
        }
        (void)fputs(yaml + sizeof head - 1, out);
        is_first = false;
    }
}

void run_report_print(const struct run_report *r, struct synth_map *map, const struct synth_pools *pools,
                      int64_t now_boot_s, FILE *out)
{
    (void)fputs("openshell-egress: summary\n", out);
    if (map != NULL) {
        print_names(map, pools, now_boot_s, out);
    }
    print_endpoints(r, out);
    print_denials(r, out);
    print_rules(r, pools, out);
}
