/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/naive_policy.h"

#define LABELS_MAX 64

struct split {
    const char *at[LABELS_MAX];
    size_t len[LABELS_MAX];
    size_t count;
};

static struct split split(const char *name)
{
    struct split s = {.count = 0};
    for (const char *p = name;; p++) {
        const char *dot = strchr(p, '.');
        s.at[s.count] = p;
        s.len[s.count++] = dot == NULL ? strlen(p) : (size_t)(dot - p);
        if (dot == NULL) {
            return s;
        }
        p = dot;
    }
}

/* "A star inside a label: any characters of that label." */
static bool label_matches(const char *pattern, size_t pattern_len, const char *label, size_t len)
{
    if (pattern_len == 0) {
        return len == 0;
    }
    if (*pattern != '*') {
        return len > 0 && *pattern == *label &&
               label_matches(pattern + 1, pattern_len - 1, label + 1, len - 1);
    }
    for (size_t skip = 0; skip <= len; skip++) {
        if (label_matches(pattern + 1, pattern_len - 1, label + skip, len - skip)) {
            return true;
        }
    }
    return false;
}

static bool is_double_star(const struct split *p)
{
    return p->len[0] == 2 && memcmp(p->at[0], "**", 2) == 0;
}

bool naive_matches(const struct naive_endpoint *e, const char *name)
{
    if (e->kind != NAIVE_NAME) {
        return false;
    }
    struct split p = split(e->host);
    struct split n = split(name);
    bool is_deep = is_double_star(&p);
    if (is_deep ? n.count < p.count : n.count != p.count) {
        return false; /* "**" stands for one label or more, each other label for one */
    }
    for (size_t i = is_deep ? 1 : 0; i < p.count; i++) {
        size_t k = i + n.count - p.count;
        if (!label_matches(p.at[i], p.len[i], n.at[k], n.len[k])) {
            return false;
        }
    }
    return true;
}

/* literal > partial star (more literal bytes first) > "*" > "**", as one number: less is more specific. */
static unsigned rank(const char *label, size_t len)
{
    unsigned stars = 0;
    for (size_t i = 0; i < len; i++) {
        stars += label[i] == '*';
    }
    if (stars == 0) {
        return 0;
    }
    if (stars == len) {
        return stars == 1 ? 1000 : 1001;
    }
    return 100 - (unsigned)(len - stars);
}

static bool is_before(const struct naive_endpoint *a, const struct naive_endpoint *b)
{
    if (a->kind == NAIVE_NAME && b->kind == NAIVE_NAME) {
        struct split x = split(a->host);
        struct split y = split(b->host);
        for (size_t i = 1; i <= x.count && i <= y.count; i++) {
            unsigned rank_a = rank(x.at[x.count - i], x.len[x.count - i]);
            unsigned rank_b = rank(y.at[y.count - i], y.len[y.count - i]);
            if (rank_a != rank_b) {
                return rank_a < rank_b;
            }
        }
    } else if ((a->kind == NAIVE_HOSTLESS) != (b->kind == NAIVE_HOSTLESS)) {
        return b->kind == NAIVE_HOSTLESS;
    }
    return a->file != b->file ? a->file < b->file : a->line < b->line;
}

static bool holds(const struct naive_net *net, const struct ip *ip)
{
    if (net->base.family != ip->family) {
        return false;
    }
    for (unsigned i = 0; i < net->bits; i++) {
        unsigned shift = 7U - i % 8U;
        if ((((unsigned)net->base.bytes[i / 8] ^ ip->bytes[i / 8]) >> shift) & 1U) {
            return false;
        }
    }
    return true;
}

static bool is_same(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == IP_V4 ? 4 : 16) == 0;
}

bool naive_lists(const struct naive_endpoint *e, const struct ip *ip)
{
    for (size_t i = 0; i < e->allowed_count; i++) {
        if (holds(&e->allowed[i], ip)) {
            return true;
        }
    }
    return false;
}

static const struct naive_static *find_static(const struct naive_policy *p, const char *name)
{
    for (size_t i = 0; i < p->host_count; i++) {
        if (strcmp(p->hosts[i].name, name) == 0) {
            return &p->hosts[i];
        }
    }
    return NULL;
}

/* "A hostless endpoint admits address literals inside its allowed_ips, and names answered from hosts." */
static bool admits(const struct naive_policy *p, const struct naive_endpoint *e, const struct host *host)
{
    if (host->kind == HOST_IP) {
        return e->kind == NAIVE_ADDRESS ? is_same(&e->ip, &host->ip)
                                        : e->kind == NAIVE_HOSTLESS && naive_lists(e, &host->ip);
    }
    const struct naive_static *fixed = find_static(p, host->name.text);
    for (size_t i = 0; e->kind == NAIVE_HOSTLESS && fixed != NULL && i < fixed->count; i++) {
        if (naive_lists(e, &fixed->addrs[i])) {
            return true;
        }
    }
    return naive_matches(e, host->name.text);
}

size_t naive_match_count(const struct naive_policy *p, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < p->endpoint_count; i++) {
        count += naive_matches(&p->endpoints[i], name);
    }
    return count;
}

/* Does the name fit what is left of the pattern without some of its first labels? */
static bool is_above(const char *pattern, const char *name)
{
    struct split p = split(pattern);
    struct split n = split(name);
    if (n.count >= p.count) {
        return false;
    }
    for (size_t i = 0; i < n.count; i++) {
        size_t k = i + p.count - n.count;
        if (!label_matches(p.at[k], p.len[k], n.at[i], n.len[i])) {
            return false;
        }
    }
    return true;
}

bool naive_is_parent(const struct naive_policy *p, const char *name)
{
    for (size_t i = 0; i < p->endpoint_count; i++) {
        if (p->endpoints[i].kind == NAIVE_NAME && is_above(p->endpoints[i].host, name)) {
            return true;
        }
    }
    for (size_t i = 0; i < p->host_count; i++) {
        if (is_above(p->hosts[i].name, name)) {
            return true;
        }
    }
    return false;
}

enum naive_kind naive_judge_name(const struct naive_policy *p, const char *name,
                                 const struct naive_endpoint **best)
{
    struct host host = {.kind = HOST_DNS};
    *best = NULL;
    if (host_name_parse(span_str(name), &host.name) != HOST_FAULT_NONE) {
        return NAIVE_IS_DENIED;
    }
    for (size_t i = 0; i < p->endpoint_count; i++) {
        const struct naive_endpoint *e = &p->endpoints[i];
        if (admits(p, e, &host) && (*best == NULL || is_before(e, *best))) {
            *best = e;
        }
    }
    if (*best == NULL) {
        return naive_is_parent(p, name) ? NAIVE_IS_PARENT : NAIVE_IS_DENIED;
    }
    return find_static(p, name) != NULL ? NAIVE_IS_STATIC : NAIVE_IS_ADMITTED;
}

unsigned naive_dns_types(const struct naive_policy *p, const char *name)
{
    const struct naive_endpoint *best = NULL;
    unsigned types = 0;
    if (naive_judge_name(p, name, &best) != NAIVE_IS_ADMITTED) {
        return 0;
    }
    for (size_t i = 0; i < p->endpoint_count; i++) {
        bool is_same_host =
            p->endpoints[i].kind == NAIVE_NAME && strcmp(p->endpoints[i].host, best->host) == 0;
        types |= is_same_host ? p->endpoints[i].dns_types : 0;
    }
    return types;
}

static bool has_port(const struct naive_endpoint *e, uint16_t port)
{
    for (size_t i = 0; i < e->port_count; i++) {
        if (e->ports[i] == port) {
            return true;
        }
    }
    return false;
}

enum naive_reason naive_judge_tunnel(const struct naive_policy *p, const struct naive_config *cfg,
                                     const struct host *host, uint16_t port,
                                     const struct naive_endpoint **best)
{
    bool only_binaries_failed = false;
    bool needs_l7 = false;
    *best = NULL;
    for (size_t i = 0; i < p->endpoint_count; i++) {
        const struct naive_endpoint *e = &p->endpoints[i];
        if (!has_port(e, port) || !admits(p, e, host)) {
            continue;
        }
        if (!cfg->ignore_binaries && !e->any_binary) {
            only_binaries_failed = true;
            continue;
        }
        needs_l7 = needs_l7 || e->needs_l7;
        if (*best == NULL || is_before(e, *best)) {
            *best = e;
        }
    }
    if (*best == NULL) {
        return only_binaries_failed ? NAIVE_NO_BINARY : NAIVE_NO_RULE;
    }
    if ((*best)->proxy == NAIVE_CHAIN) {
        return NAIVE_L7; /* no chain proxy here */
    }
    return (*best)->proxy != NAIVE_DIRECT && needs_l7 && !cfg->tunnel_l7 ? NAIVE_L7 : NAIVE_ALLOWED;
}

static bool is_forbidden(const struct naive_policy *p, const struct naive_address *to, uint16_t port)
{
    for (size_t i = 0; i < p->never_count; i++) {
        const struct naive_net *never = &p->never[i];
        if ((never->port == 0 || never->port == port) &&
            (holds(never, &to->ip) || holds(never, &to->inner))) {
            return true;
        }
    }
    return false;
}

bool naive_judge_dest(const struct naive_policy *p, const struct naive_config *cfg,
                      const struct naive_endpoint *e, const struct naive_address *to, uint16_t port)
{
    bool is_exact = e->kind == NAIVE_ADDRESS || (e->kind == NAIVE_NAME && strchr(e->host, '*') == NULL);
    bool is_control = port == 2379 || port == 2380 || port == 6443 || port == 10250 || port == 10255;
    bool is_listed = naive_lists(e, &to->inner);
    if (is_forbidden(p, to, port) || (is_control && !is_exact && e->allowed_count == 0)) {
        return false;
    }
    switch (to->cls) {
    case NAIVE_NEVER:
        return false;
    case NAIVE_LINK_LOCAL:
        return to->is_static && (e->allowed_count == 0 || is_listed);
    case NAIVE_PRIVATE:
        if (e->allowed_count == 0) {
            return to->is_static || (is_exact && !cfg->strict_private);
        }
        return is_listed;
    case NAIVE_PUBLIC:
        break;
    }
    return e->allowed_count == 0 || is_listed; /* exclusive when present */
}

bool naive_judge_answer(const struct naive_policy *p, const struct naive_config *cfg, const char *name,
                        const struct naive_address *to)
{
    for (size_t i = 0; i < p->endpoint_count; i++) {
        const struct naive_endpoint *e = &p->endpoints[i];
        bool has_say =
            naive_matches(e, name) || (e->kind == NAIVE_HOSTLESS && to->is_static && naive_lists(e, &to->ip));
        for (size_t k = 0; has_say && k < e->port_count; k++) {
            if (naive_judge_dest(p, cfg, e, to, e->ports[k])) {
                return true;
            }
        }
    }
    return false;
}
