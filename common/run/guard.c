/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/guard.h"

#include "common/base/num.h"
#include "common/run/option_say.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>

static const char own_listener[] = "own listener";

static int add(struct guard *g, const struct ip_prefix *prefix, uint16_t port, const char *what)
{
    if (g->view.count == g->cap) {
        size_t cap = g->cap == 0 ? 16 : g->cap * 2;
        struct dest_never *bigger = reallocarray(g->items, cap, sizeof(*bigger));
        if (bigger == NULL) {
            return -ENOMEM;
        }
        g->items = bigger;
        g->cap = cap;
        g->view.items = bigger;
    }
    g->items[g->view.count++] = (struct dest_never){.prefix = *prefix, .port = port, .what = what};
    return 0;
}

static int add_ip(struct guard *g, const struct ip *ip, uint16_t port)
{
    const struct ip_prefix whole = {.base = *ip, .bits = ip->family == IP_V4 ? 32 : 128};
    return add(g, &whole, port, own_listener);
}

/*
 * Every address the host has now. An IPv6 wildcard covers IPv4 as well, since a passed socket may be
 * dual-stack. Addresses that appear later are not seen: a listener on them is reached only through a name
 * that points there, by a client that could connect to it directly.
 */
static int add_wildcard(struct guard *g, const struct addr *listener, const struct ifaddrs *all)
{
    int rc = 0;
    for (const struct ifaddrs *i = all; rc == 0 && i != NULL; i = i->ifa_next) {
        struct addr own;
        if (i->ifa_addr == NULL) {
            continue;
        }
        socklen_t len =
            i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if (addr_from_sockaddr(i->ifa_addr, len, &own) < 0) {
            continue; /* a link-layer entry */
        }
        if (listener->ip.family == IP_V6 || own.ip.family == IP_V4) {
            rc = ip_classify(&own.ip) == IP_CLASS_LOOPBACK && own.ip.family == IP_V4
                     ? add(g, &(const struct ip_prefix){.base = ip_v4(127, 0, 0, 0), .bits = 8},
                           listener->port, own_listener) /* all of it is this host */
                     : add_ip(g, &own.ip, listener->port);
        }
    }
    return rc;
}

static int compare_ports(const void *a, const void *b)
{
    return ((const struct dest_never *)a)->port - ((const struct dest_never *)b)->port;
}

/* A listener without a port stands for all of them, and is not found by one. */
static void sort_listeners(struct guard *g)
{
    if (g->view.count > 0) {
        qsort(g->items, g->view.count, sizeof(*g->items), compare_ports);
        g->view.by_port = g->items[0].port != 0 ? g->view.count : 0;
    }
}

static int add_listeners(struct guard *g, const struct addr *listeners, size_t count, struct err *err)
{
    struct ifaddrs *all = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!ip_is_unspecified(&listeners[i].ip)) {
            rc = add_ip(g, &listeners[i].ip, listeners[i].port);
            continue;
        }
        if (all == NULL && getifaddrs(&all) < 0) {
            rc = -errno;
            err_set(err, "listing the host's addresses: %s", strerror(errno));
            break;
        }
        rc = add_wildcard(g, &listeners[i], all);
    }
    if (all != NULL) {
        freeifaddrs(all);
    }
    return rc;
}

int guard_parse_never(struct span text, struct ip_prefix *prefix, uint16_t *port)
{
    struct span head = text, tail = {NULL, 0};
    bool bracketed = text.len > 0 && text.data[0] == '[';
    bool has_port = false;
    if (bracketed) {
        size_t end = span_find(text, ']');
        if (end == text.len) {
            return -EINVAL;
        }
        head = span_sub(text, 1, end - 1);
        tail = span_sub(text, end + 1, text.len);
        has_port = tail.len > 0;
        if (has_port && tail.data[0] != ':') {
            return -EINVAL;
        }
        tail = span_sub(tail, 1, tail.len);
    } else {
        size_t colon = span_find(text, ':');
        struct span rest = span_sub(text, colon + 1, text.len);
        if (colon < text.len && span_find(rest, ':') == rest.len) { /* exactly one: IPv4 and a port */
            head = span_sub(text, 0, colon);
            tail = rest;
            has_port = true;
        }
    }
    struct ip_prefix p;
    uint16_t n = 0;
    int rc = ip_prefix_parse(head, &p);
    if (rc == 0 && bracketed && p.base.family != IP_V6) {
        return -EINVAL;
    }
    if (has_port && num_port(tail, &n) < 0) {
        return -EINVAL;
    }
    if (rc != 0) {
        return rc;
    }
    *prefix = p;
    *port = n;
    return 0;
}

static const struct option_wanted never_wanted = {"--never", "CIDR[:PORT] or [V6CIDR]:PORT",
                                                  "10.0.0.0/8, 10.43.0.1:443 or [fd00::/8]:443", true};

static int read_never(const char *text, struct ip_prefix *prefix, uint16_t *port, struct err *err)
{
    if (guard_parse_never(span_str(text), prefix, port) < 0) {
        return option_say(&never_wanted, text, err);
    }
    return option_check_brackets(&never_wanted, text, err);
}

int guard_check_nevers(const struct str_list *list, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list->count; i++) {
        struct ip_prefix prefix;
        uint16_t port = 0;
        rc = read_never(list->items[i], &prefix, &port, err);
    }
    return rc;
}

static int add_nevers(struct guard *g, const struct str_list *list, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list->count; i++) {
        struct ip_prefix prefix;
        uint16_t port = 0;
        rc = read_never(list->items[i], &prefix, &port, err);
        if (rc == 0 && add(g, &prefix, port, "--never") < 0) {
            rc = -ENOMEM;
        }
    }
    return rc;
}

static int add_pools(struct guard *g, const struct str_list *list, struct err *err)
{
    struct synth_pools pools;
    int rc = guard_parse_pools(list, &pools, err);
    if (rc == 0 && pools.has_v4) {
        rc = add(g, &pools.v4, 0, "synthetic pool");
    }
    if (rc == 0 && pools.has_v6) {
        rc = add(g, &pools.v6, 0, "synthetic pool");
    }
    return rc;
}

int guard_build(const struct settings_shared *s, const struct addr *listeners, size_t listener_count,
                struct guard *out, struct err *err)
{
    *out = (struct guard){.view = {.strict_private = s->strict_private}};
    int rc = add_listeners(out, listeners, listener_count, err);
    if (rc == 0) {
        sort_listeners(out);
        rc = add_pools(out, &s->pool, err);
    }
    if (rc == 0) {
        rc = add_nevers(out, &s->never, err);
    }
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    if (rc < 0) {
        guard_fini(out);
    }
    return rc;
}

bool guard_is_own(const struct guard *g, const struct addr *a)
{
    enum ip_class cls = ip_classify(&a->ip);
    if (cls == IP_CLASS_UNSPECIFIED || cls == IP_CLASS_EMBEDDED) {
        return true;
    }
    for (size_t i = 0; i < g->view.count; i++) {
        const struct dest_never *item = &g->items[i];
        if (item->what == own_listener && item->port == a->port &&
            ip_prefix_contains(&item->prefix, &a->ip)) {
            return true;
        }
    }
    return false;
}

void guard_fini(struct guard *g)
{
    free(g->items);
    *g = (struct guard){0};
}

/*
 * Loopback may serve as a pool (127.64.0.0/10 needs no route), but not the address that everything local
 * uses; the other never classes hold metadata services and addresses that cannot be connected to.
 */
static const char *pool_fault(const struct ip_prefix *p)
{
    static const struct ip one_v6 = {.family = IP_V6, .bytes = {[15] = 1}};
    const struct ip one_v4 = ip_v4(127, 0, 0, 1);
    enum ip_class cls = ip_classify(&p->base);
    unsigned width = p->base.family == IP_V4 ? 32 : 128;
    if (p->bits < 8) {
        return "is wider than /8";
    }
    if (width - p->bits < 2) {
        return "is too small: the first and the last address are not used";
    }
    if (ip_prefix_contains(p, &one_v4) || ip_prefix_contains(p, &one_v6)) {
        return "holds the host's own loopback address";
    }
    if (ip_class_group(cls) == IP_GROUP_NEVER && cls != IP_CLASS_LOOPBACK) {
        return "is of a class of addresses that cannot serve as a pool";
    }
    return NULL;
}

int guard_parse_pools(const struct str_list *list, struct synth_pools *out, struct err *err)
{
    static const struct option_wanted wanted = {"--pool", "ADDR/BITS", "198.18.0.0/15 or fd00:5e11::/64",
                                                true};
    *out = (struct synth_pools){0};
    for (size_t i = 0; i < list->count; i++) {
        struct ip_prefix p;
        const char *fault = NULL;
        if (ip_prefix_parse(span_str(list->items[i]), &p) < 0) {
            return option_say(&wanted, list->items[i], err);
        }
        if (p.base.family == IP_V4 ? out->has_v4 : out->has_v6) {
            fault = "is a second prefix of its family";
        } else {
            fault = pool_fault(&p);
        }
        if (fault != NULL) {
            err_set(err, "--pool: %.80s %s", list->items[i], fault);
            return -EINVAL;
        }
        if (p.base.family == IP_V4) {
            out->v4 = p;
            out->has_v4 = true;
        } else {
            out->v6 = p;
            out->has_v6 = true;
        }
    }
    return 0;
}

static bool is_in_pool(const struct synth_pools *pools, const struct ip *ip)
{
    return (pools->has_v4 && ip_prefix_contains(&pools->v4, ip)) ||
           (pools->has_v6 && ip_prefix_contains(&pools->v6, ip));
}

int guard_check_pools(const struct synth_pools *pools, const struct addr *upstreams, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        char text[ADDR_TEXT_CAP];
        if (is_in_pool(pools, &upstreams[i].ip)) {
            err_set(err,
                    "upstream %s is in --pool, whose addresses lead to openshell-tunneld: give both daemons "
                    "another --pool",
                    addr_text(&upstreams[i], text));
            return -EINVAL;
        }
    }
    return 0;
}

/* A client must be able to connect to it; nothing is dialled there, so its class does not matter otherwise.
 */
static const char *steer_fault(const struct ip *ip, const struct synth_pools *pools,
                               const struct steer_addrs *so_far)
{
    enum ip_class cls = ip_classify(ip);
    if (cls == IP_CLASS_UNSPECIFIED || cls == IP_CLASS_MULTICAST || cls == IP_CLASS_EMBEDDED) {
        return "is not an address that can be connected to";
    }
    if (is_in_pool(pools, ip)) {
        return "is in --pool, whose addresses stand for one name each";
    }
    if ((ip->family == IP_V4 ? so_far->v4 : so_far->v6).family != IP_NONE) {
        return "is a second address of its family";
    }
    return NULL;
}

int guard_parse_steer(const struct settings_shared *s, struct steer_addrs *out, struct err *err)
{
    static const struct option_wanted wanted = {"--steer-address", "ADDR, without a port or a prefix",
                                                "10.0.0.1", false};
    struct synth_pools pools;
    *out = (struct steer_addrs){.v4 = {.family = IP_NONE}, .v6 = {.family = IP_NONE}};
    int rc = guard_parse_pools(&s->pool, &pools, err);
    for (size_t i = 0; rc == 0 && i < s->steer.count; i++) {
        struct ip ip;
        const char *text = s->steer.items[i];
        if (ip_parse(span_str(text), &ip) != 0) {
            return option_say(&wanted, text, err);
        }
        const char *fault = steer_fault(&ip, &pools, out);
        if (fault != NULL) {
            err_set(err, "--steer-address: %.80s %s", text, fault);
            return -EINVAL;
        }
        *(ip.family == IP_V4 ? &out->v4 : &out->v6) = ip;
    }
    return rc;
}
