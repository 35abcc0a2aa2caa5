/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/capture_plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_CAP (IP_TEXT_CAP + 4)
#define LINE_CAP 512
#define SCRIPT_MAX_BYTES ((size_t)1 << 20) /* some 65,535 ports */

static const char *prefix_text(const struct ip_prefix *p, char out[PREFIX_CAP])
{
    char text[IP_TEXT_CAP];
    (void)snprintf(out, PREFIX_CAP, "%s/%u", ip_text(&p->base, text), p->bits);
    return out;
}

/* Takes text. */
static int add_step(struct capture_plan *p, char *text, bool is_nft, bool may_fail)
{
    if (text != NULL && p->count == p->cap) {
        const size_t cap = p->cap == 0 ? 8 : p->cap * 2;
        struct capture_step *steps = reallocarray(p->steps, cap, sizeof(*steps));
        if (steps != NULL) {
            p->steps = steps;
            p->cap = cap;
        }
    }
    if (text == NULL || p->count == p->cap) {
        free(text);
        return -ENOMEM;
    }
    p->steps[p->count] = (struct capture_step){.text = text, .is_nft = is_nft, .may_fail = may_fail};
    p->count++;
    return 0;
}

static int add_command(struct capture_plan *p, bool may_fail, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int add_command(struct capture_plan *p, bool may_fail, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0) {
        text = NULL;
    }
    va_end(args);
    return add_step(p, text, false, may_fail);
}

static int put(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int put(struct buf *b, const char *fmt, ...)
{
    char line[LINE_CAP];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line) {
        return -ENOMEM;
    }
    return buf_append(b, span_make(line, (size_t)len), SCRIPT_MAX_BYTES) == 0 ? 0 : -ENOMEM;
}

/* One family of the pools, as the commands name it. */
struct family {
    const struct ip_prefix *pool;
    const char *nft, *ip, *all, *source, *listener;
};

static size_t families_of(const struct capture_config *cfg, struct family out[2])
{
    size_t count = 0;
    if (cfg->pools.has_v4) {
        out[count++] =
            (struct family){.pool = &cfg->pools.v4,
                            .nft = "ip",
                            .ip = "ip",
                            .all = "0.0.0.0/0",
                            .source = " src 127.0.0.1", /* else peer and local address are the same */
                            .listener = "127.0.0.1"};
    }
    if (cfg->pools.has_v6) {
        out[count++] = (struct family){.pool = &cfg->pools.v6,
                                       .nft = "ip6",
                                       .ip = "ip -6",
                                       .all = "::/0",
                                       .source = " src ::1",
                                       .listener = "[::1]"};
    }
    return count;
}

/* The pool's addresses are this namespace's own, unless its packets come in from elsewhere and go elsewhere.
 */
static bool has_local_route(const struct capture_config *cfg)
{
    return cfg->mode == CAPTURE_ANYIP || (cfg->mode == CAPTURE_REDIRECT && cfg->interface_count == 0);
}

static int put_from(struct buf *b, const struct capture_config *cfg)
{
    int rc = put(b, "    ");
    for (size_t i = 0; rc == 0 && i < cfg->interface_count; i++) {
        rc = put(b, "%s\"%s\"", i == 0 ? "iifname { " : ", ", cfg->interfaces[i]);
    }
    return rc == 0 && cfg->interface_count > 0 ? put(b, " } ") : rc;
}

static int put_ports(struct buf *b, const struct capture_config *cfg)
{
    int rc = put(b, "{ ");
    for (size_t i = 0; rc == 0 && i < cfg->port_count; i++) {
        rc = put(b, "%s%u", i == 0 ? "" : ", ", cfg->ports[i]);
    }
    return rc == 0 ? put(b, " }") : rc;
}

/* What else listens on every address of this host must not be reached at the pool's addresses. */
static int put_anyip(struct buf *b, const struct capture_config *cfg, const struct family *f, size_t count)
{
    int rc = put(b, "  chain input {\n    type filter hook input priority filter; policy accept;\n");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char pool[PREFIX_CAP];
        (void)prefix_text(f[i].pool, pool);
        if (cfg->port_count > 0) {
            rc = put(b, "    %s daddr %s tcp dport ", f[i].nft, pool);
            rc = rc == 0 ? put_ports(b, cfg) : rc;
            rc = rc == 0 ? put(b, " accept\n") : rc;
        }
        rc =
            rc == 0 ? put(b, "    %s daddr %s meta l4proto tcp reject with tcp reset\n", f[i].nft, pool) : rc;
        rc = rc == 0 ? put(b, "    %s daddr %s reject\n", f[i].nft, pool) : rc;
    }
    return rc == 0 ? put(b, "  }\n") : rc;
}

static int put_redirect(struct buf *b, const struct capture_config *cfg, const struct family *f, size_t count)
{
    const bool is_local = cfg->interface_count == 0;
    char pool[PREFIX_CAP];
    /* nft 1.0.6 knows no name for -100 in the output hook */
    int rc = put(b, "  chain redirect_tcp {\n    type nat hook %s priority -100; policy accept;\n",
                 is_local ? "output" : "prerouting");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = put_from(b, cfg);
        rc = rc == 0 ? put(b, "%s daddr %s meta l4proto tcp redirect to :%u\n", f[i].nft,
                           prefix_text(f[i].pool, pool), cfg->to_port)
                     : rc;
    }
    /* What is still for the pool here is no TCP: refused at once, so that QUIC's clients turn to TCP. On
     * arrival, since a packet refused on its way out is EPERM for who sent it; and TCP, too, since the pool
     * is local here, and what else listens must not be reached at its addresses from elsewhere. */
    rc = rc == 0
             ? put(b, "  }\n  chain refuse_rest {\n    type filter hook %s priority filter; policy accept;\n",
                   is_local ? "input" : "prerouting")
             : rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        (void)prefix_text(f[i].pool, pool);
        rc =
            is_local ? put(b, "    %s daddr %s meta l4proto tcp reject with tcp reset\n", f[i].nft, pool) : 0;
        rc = rc == 0 ? put_from(b, cfg) : rc;
        rc = rc == 0 ? put(b, "%s daddr %s reject\n", f[i].nft, pool) : rc;
    }
    return rc == 0 ? put(b, "  }\n") : rc;
}

static int put_tproxy(struct buf *b, const struct capture_config *cfg, const struct family *f, size_t count)
{
    int rc =
        put(b, "  chain tproxy_tcp {\n    type filter hook prerouting priority mangle; policy accept;\n");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char pool[PREFIX_CAP];
        (void)prefix_text(f[i].pool, pool);
        rc = put_from(b, cfg);
        rc = rc == 0 ? put(b, "%s daddr %s meta l4proto tcp socket transparent 1 meta mark set %s accept\n",
                           f[i].nft, pool, CAPTURE_MARK)
                     : rc;
        rc = rc == 0 ? put_from(b, cfg) : rc;
        rc = rc == 0 ? put(b, "%s daddr %s meta l4proto tcp tproxy %s to %s:%u meta mark set %s accept\n",
                           f[i].nft, pool, f[i].nft, f[i].listener, cfg->to_port, CAPTURE_MARK)
                     : rc;
        rc = rc == 0 ? put_from(b, cfg) : rc;
        rc = rc == 0 ? put(b, "%s daddr %s reject\n", f[i].nft, pool) : rc;
    }
    return rc == 0 ? put(b, "  }\n") : rc;
}

/* One transaction: the table is there, is gone, and is there anew. */
static int add_table(struct capture_plan *p, const struct capture_config *cfg, const struct family *f,
                     size_t count)
{
    struct buf b = {0};
    int rc = put(&b, "table inet " CAPTURE_TABLE "\ndelete table inet " CAPTURE_TABLE
                     "\ntable inet " CAPTURE_TABLE " {\n");
    switch (cfg->mode) {
    case CAPTURE_ANYIP:
        rc = rc == 0 ? put_anyip(&b, cfg, f, count) : rc;
        break;
    case CAPTURE_REDIRECT:
        rc = rc == 0 ? put_redirect(&b, cfg, f, count) : rc;
        break;
    case CAPTURE_TPROXY:
        rc = rc == 0 ? put_tproxy(&b, cfg, f, count) : rc;
        break;
    case CAPTURE_NONE:
        break;
    }
    rc = rc == 0 ? put(&b, "}\n") : rc;
    const struct span text = buf_span(&b);
    if (rc == 0) {
        rc = text.data == NULL ? -ENOMEM
                               : add_step(p, strndup((const char *)text.data, text.len), true, false);
    }
    buf_fini(&b);
    return rc;
}

static int add_local_routes(struct capture_plan *p, const struct family *f, size_t count, bool is_up)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char pool[PREFIX_CAP];
        rc = add_command(p, !is_up, "%s route %s local %s dev lo%s", f[i].ip, is_up ? "replace" : "del",
                         prefix_text(f[i].pool, pool), is_up ? f[i].source : "");
    }
    return rc;
}

/* Marked packets are this host's, whatever their destination. */
static int add_marked_routes(struct capture_plan *p, const struct family *f, size_t count, bool is_up)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = add_command(p, true, "%s rule del fwmark %s lookup %s", f[i].ip, CAPTURE_MARK, CAPTURE_ROUTES);
        if (rc == 0 && is_up) {
            rc = add_command(p, false, "%s rule add fwmark %s lookup %s", f[i].ip, CAPTURE_MARK,
                             CAPTURE_ROUTES);
        }
        rc = rc == 0 ? add_command(p, !is_up, "%s route %s local %s dev lo table %s", f[i].ip,
                                   is_up ? "replace" : "del", f[i].all, CAPTURE_ROUTES)
                     : rc;
    }
    return rc;
}

int capture_plan_up(const struct capture_config *cfg, struct capture_plan *out)
{
    struct family f[2];
    const size_t count = families_of(cfg, f);
    int rc = 0;
    *out = (struct capture_plan){0};
    if (!has_local_route(cfg)) { /* another mode's, which would be left without its rules */
        rc = add_local_routes(out, f, count, false);
    }
    /* the rules first: at no time do the pool's addresses lead to what else listens here */
    if (rc == 0) {
        rc = cfg->mode == CAPTURE_ANYIP && cfg->is_exposed
                 ? add_command(out, true, "nft delete table inet " CAPTURE_TABLE)
                 : add_table(out, cfg, f, count);
    }
    if (rc == 0 && has_local_route(cfg)) {
        rc = add_local_routes(out, f, count, true);
    }
    if (rc == 0 && cfg->mode == CAPTURE_TPROXY) {
        rc = add_marked_routes(out, f, count, true);
    }
    return rc;
}

/* What any mode has set up: they share the table, so the last one may have been another. */
int capture_plan_down(const struct capture_config *cfg, struct capture_plan *out)
{
    struct family f[2];
    const size_t count = families_of(cfg, f);
    *out = (struct capture_plan){0};
    int rc = add_local_routes(out, f, count, false);
    rc = rc == 0 ? add_marked_routes(out, f, count, false) : rc;
    if (rc == 0 && cfg->is_exposed) { /* without nf_tables, maybe */
        rc = add_command(out, true, "nft delete table inet " CAPTURE_TABLE);
    } else if (rc == 0) { /* fails only if it is forbidden, which the others would have hidden */
        rc = add_step(out, strdup("table inet " CAPTURE_TABLE "\ndelete table inet " CAPTURE_TABLE "\n"),
                      true, false);
    }
    return rc;
}

void capture_plan_fini(struct capture_plan *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->steps[i].text);
    }
    free(p->steps);
    *p = (struct capture_plan){0};
}
