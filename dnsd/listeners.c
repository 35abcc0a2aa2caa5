/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/listeners.h"

#include "common/net/sock.h"
#include "common/run/listen_twice.h"
#include "common/run/option_say.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define DNS_PORT 53
#define PORT_TRIES 16 /* --listen with port 0: the number UDP got may be taken for TCP */

int listeners_check(const struct str_list *listen, const char *admin, struct err *err)
{
    const struct str_list admins = {.items = &admin, .count = admin != NULL ? 1 : 0};
    const struct listen_option options[] = {{"--listen", listen, DNS_PORT}, {"--admin", &admins, 0}};
    static const struct option_wanted wanted = {"--listen", "ADDR[:PORT]", "127.0.0.1:53 or [::1]:53", false};
    for (size_t i = 0; i < listen->count; i++) {
        struct addr a;
        int rc = addr_parse(span_str(listen->items[i]), DNS_PORT, &a) == 0
                     ? option_check_brackets(&wanted, listen->items[i], err)
                     : option_say(&wanted, listen->items[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    return listen_twice_check(options, sizeof(options) / sizeof(options[0]), err);
}

static bool is_v6_only(int fd)
{
    int is_on = 0;
    socklen_t len = (socklen_t)sizeof(is_on);
    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_on, &len) == 0 && is_on != 0;
}

/* Takes fd, also on failure. */
static int add(struct listeners *l, int fd, bool is_tcp, unsigned worker, struct err *err)
{
    struct addr local;
    int rc = sock_local_addr(fd, &local);
    struct dnsd_socket *items = rc == 0 ? reallocarray(l->items, l->count + 1, sizeof(*items)) : NULL;
    if (items == NULL) {
        rc = rc == 0 ? -ENOMEM : rc;
        err_set(err, "cannot use a listening socket: %s", strerror(-rc));
        (void)close(fd);
        return rc;
    }
    l->items = items;
    items[l->count++] = (struct dnsd_socket){
        .fd = fd, .is_tcp = is_tcp, .is_v6_only = is_v6_only(fd), .worker = worker, .local = local};
    return 0;
}

static int bind_one(const struct addr *a, bool is_tcp, bool is_shared, struct err *err)
{
    return is_tcp ? sock_listen_tcp(a, is_shared, err) : sock_listen_udp(a, is_shared, err);
}

/* One protocol of one address for every worker. *a gets the port that port 0 became. */
static int bind_protocol(struct listeners *l, struct addr *a, bool is_tcp, unsigned worker_count,
                         struct err *err)
{
    for (unsigned i = 0; i < worker_count; i++) {
        int fd = bind_one(a, is_tcp, i > 0, err);
        if (fd < 0) {
            return fd;
        }
        int rc = i == 0 && worker_count > 1 ? sock_allow_sharing(fd, err) : 0;
        if (rc != 0) {
            (void)close(fd);
            return rc;
        }
        rc = add(l, fd, is_tcp, i, err);
        if (rc != 0) {
            return rc;
        }
        a->port = l->items[l->count - 1].local.port;
    }
    return 0;
}

static void drop_after(struct listeners *l, size_t count)
{
    while (l->count > count) {
        l->count--;
        (void)close(l->items[l->count].fd);
    }
}

static int bind_addr(struct listeners *l, const struct addr *wanted, unsigned worker_count, struct err *err)
{
    const size_t before = l->count;
    int rc = -EADDRINUSE;
    for (int i = 0; i < PORT_TRIES; i++) {
        struct addr a = *wanted;
        rc = bind_protocol(l, &a, false, worker_count, err);
        if (rc != 0) {
            break;
        }
        rc = bind_protocol(l, &a, true, worker_count, err);
        if (rc == 0 || rc != -EADDRINUSE || wanted->port != 0) {
            break;
        }
        drop_after(l, before);
    }
    return rc;
}

int listeners_foresee(struct listeners *l, const struct str_list *listen, struct err *err)
{
    struct dnsd_socket *items = calloc(listen->count + 1, sizeof(*items));
    if (items == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    *l = (struct listeners){.items = items};
    for (size_t i = 0; i < listen->count; i++) {
        struct dnsd_socket *s = &items[l->count];
        *s = (struct dnsd_socket){.fd = -1, .is_v6_only = true};
        if (addr_parse(span_str(listen->items[i]), DNS_PORT, &s->local) == 0 && s->local.port != 0) {
            l->count++; /* port 0 will be one that nobody asks */
        }
    }
    return 0;
}

int listeners_bind(struct listeners *l, const struct str_list *listen, unsigned worker_count, struct err *err)
{
    for (size_t i = 0; i < listen->count; i++) {
        struct addr a;
        if (addr_parse(span_str(listen->items[i]), DNS_PORT, &a) != 0) {
            err_set(err, "--listen %s: not an address", listen->items[i]);
            return -EINVAL;
        }
        int rc = bind_addr(l, &a, worker_count, err);
        if (rc != 0) {
            err_prefix(err, "--listen");
            err_add_hint(err, sock_listen_hint(-rc));
            return rc;
        }
    }
    return 0;
}

static int adopt_one(struct listeners *l, int fd, const char *name, unsigned worker, struct err *err)
{
    bool is_listening = false;
    struct addr unused;
    int type = sock_type(fd, &is_listening);
    const bool is_tcp = type == SOCK_STREAM;
    if (strcmp(name, "dns") != 0 || (type != SOCK_DGRAM && type != SOCK_STREAM) || is_listening != is_tcp ||
        sock_local_addr(fd, &unused) != 0) {
        err_set(
            err,
            "passed descriptor %d, named \"%s\", is not for openshell-dnsd: a UDP or listening TCP socket "
            "named \"dns\" is needed (LISTEN_FDNAMES)",
            fd, name);
        (void)close(fd);
        return -EINVAL;
    }
    int rc = sock_adopt(fd);
    if (rc != 0) {
        err_set(err, "passed descriptor %d (%s): %s", fd, name, strerror(-rc));
        (void)close(fd);
        return rc;
    }
    return add(l, fd, is_tcp, worker, err);
}

int listeners_adopt(struct listeners *l, struct listen_fds *passed, unsigned worker_count, struct err *err)
{
    unsigned next[2] = {0, 0}; /* UDP, TCP */
    int rc = 0;
    l->is_passed = true;
    for (size_t i = 0; i < passed->count; i++) {
        int fd = passed->fds[i];
        passed->fds[i] = -1;
        if (rc != 0) {
            (void)close(fd);
            continue;
        }
        bool is_listening = false;
        const size_t k = sock_type(fd, &is_listening) == SOCK_STREAM ? 1 : 0;
        if (l->netns == 0) {
            l->netns = sock_netns_cookie(fd);
        }
        rc = adopt_one(l, fd, passed->names[i], next[k] % worker_count, err);
        next[k]++;
    }
    return rc;
}

/* An address can be bound here exactly if it is this host's (or AnyIP's, which is the same to a resolver). */
static bool is_own_address(const struct ip *ip)
{
    const struct addr a = {.ip = *ip, .port = 0};
    int fd = sock_listen_udp(&a, false, NULL);
    if (fd < 0) {
        return false;
    }
    (void)close(fd);
    return true;
}

static bool is_other_netns(const struct listeners *l)
{
    if (!l->is_passed || l->netns == 0) {
        return false;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    uint64_t own = sock_netns_cookie(fd);
    (void)close(fd);
    return own != 0 && own != l->netns;
}

static bool is_wildcard(const struct ip *ip)
{
    static const uint8_t zero[16];
    return memcmp(ip->bytes, zero, sizeof(zero)) == 0;
}

static bool is_same_socket(const struct dnsd_socket *s, const struct addr *upstream)
{
    const struct addr *listener = &s->local;
    if (listener->port != upstream->port) {
        return false;
    }
    if (is_wildcard(&listener->ip) &&
        (listener->ip.family == upstream->ip.family || (listener->ip.family == IP_V6 && !s->is_v6_only))) {
        return is_own_address(&upstream->ip);
    }
    return ip_is_equal(&listener->ip, &upstream->ip);
}

/* As the kernel sees it: an IPv4-mapped address leads to an IPv4 one. */
static struct addr destination_of(const struct addr *upstream)
{
    struct sockaddr_storage ss;
    struct addr to = *upstream;
    const socklen_t len = addr_to_sockaddr(upstream, &ss);
    (void)CHECK(addr_from_sockaddr((const struct sockaddr *)&ss, len, &to) == 0);
    return to;
}

int listeners_check_upstreams(const struct listeners *l, const struct addr *upstreams, size_t count,
                              struct err *err)
{
    if (is_other_netns(l)) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const struct addr to = destination_of(&upstreams[i]);
        for (size_t j = 0; j < l->count; j++) {
            if (is_same_socket(&l->items[j], &to)) {
                char up[ADDR_TEXT_CAP];
                char own[ADDR_TEXT_CAP];
                err_set(err, "upstream %s is our own listener %s: it would ask itself",
                        addr_text(&upstreams[i], up), addr_text(&l->items[j].local, own));
                return -EINVAL;
            }
        }
    }
    return 0;
}

static bool is_first_of_addr(const struct listeners *l, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (l->items[i].is_tcp == l->items[index].is_tcp &&
            addr_is_equal(&l->items[i].local, &l->items[index].local)) {
            return false;
        }
    }
    return true;
}

size_t listeners_addrs(const struct listeners *l, struct addr *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count && n < cap; i++) {
        size_t j = 0;
        while (j < n && !addr_is_equal(&out[j], &l->items[i].local)) {
            j++;
        }
        if (j == n) {
            out[n++] = l->items[i].local;
        }
    }
    return n;
}

void listeners_log(const struct listeners *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (is_first_of_addr(l, i)) {
            char text[ADDR_TEXT_CAP];
            log_event(LOG_INFO, "listening",
                      LOG_KV(kv_str("addr", addr_text(&l->items[i].local, text)),
                             kv_str("proto", l->items[i].is_tcp ? "tcp" : "udp")));
        }
    }
}

void listeners_write(const struct listeners *l, struct json *json)
{
    for (size_t i = 0; i < l->count; i++) {
        if (is_first_of_addr(l, i)) {
            char text[ADDR_TEXT_CAP];
            json_object(json, NULL);
            json_str(json, "kind", "dns");
            json_str(json, "addr", addr_text(&l->items[i].local, text));
            json_str(json, "proto", l->items[i].is_tcp ? "tcp" : "udp");
            json_end(json);
        }
    }
}

void listeners_fini(struct listeners *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].fd >= 0) {
            (void)close(l->items[i].fd);
        }
    }
    free(l->items);
    *l = (struct listeners){0};
}
