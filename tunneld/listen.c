/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/listen.h"

#include "common/net/sock.h"
#include "common/run/capture_auto.h"
#include "common/run/option_say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

const char *listen_kind_text(enum listen_kind k)
{
    return k == LISTEN_CAPTURE ? "capture" : "connect";
}

/* A new entry with every descriptor -1, or NULL. */
static struct listen_socket *add(struct listen_set *set, enum listen_kind kind)
{
    if (set->count == set->cap) {
        size_t cap = set->cap == 0 ? 8 : set->cap * 2;
        struct listen_socket *items = reallocarray(set->items, cap, sizeof(*items));
        if (items == NULL) {
            return NULL;
        }
        set->items = items;
        set->cap = cap;
    }
    int *fds = calloc(set->worker_count, sizeof(*fds));
    if (fds == NULL) {
        return NULL;
    }
    for (unsigned i = 0; i < set->worker_count; i++) {
        fds[i] = -1;
    }
    struct listen_socket *s = &set->items[set->count];
    set->last_id++;
    *s = (struct listen_socket){.id = set->last_id, .kind = kind, .fds = fds};
    set->count++;
    return s;
}

static int out_of_memory(struct err *err)
{
    err_set(err, "out of memory for listening sockets");
    return -ENOMEM;
}

static const char *option_of(enum listen_kind kind)
{
    return kind == LISTEN_CAPTURE ? "--transparent" : "--listen";
}

static int parse_one(const char *text, enum listen_kind kind, struct addr *out, struct err *err)
{
    static const struct option_wanted connect = {"--listen", "ADDR[:PORT]", "127.0.0.1:3128 or [::1]:3128",
                                                 false};
    static const struct option_wanted capture = {"--transparent", "ADDR:PORT, auto or ADDR:auto",
                                                 "127.0.0.1:3129", false};
    const struct option_wanted *w = kind == LISTEN_CAPTURE ? &capture : &connect;
    if (addr_parse(span_str(text), kind == LISTEN_CAPTURE ? 0 : LISTEN_CONNECT_PORT, out) != 0) {
        return option_say(w, text, err);
    }
    return option_check_brackets(w, text, err);
}

static bool is_auto(const char *text, enum listen_kind kind)
{
    return kind == LISTEN_CAPTURE && capture_auto_is(text);
}

int listen_check(const struct str_list *list, enum listen_kind kind, struct err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        struct addr unused;
        int rc = is_auto(list->items[i], kind) ? 0 : parse_one(list->items[i], kind, &unused, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int bind_at(struct listen_set *set, struct addr addr, enum listen_kind kind, struct err *err)
{
    struct listen_socket *s = add(set, kind);
    if (s == NULL) {
        return out_of_memory(err);
    }
    for (unsigned i = 0; i < set->worker_count; i++) {
        int fd = sock_listen_tcp(&addr, i > 0, err);
        if (fd < 0) {
            return fd;
        }
        s->fds[i] = fd;
        int rc = i == 0 && set->worker_count > 1 ? sock_allow_sharing(fd, err) : 0;
        if (rc != 0) {
            return rc;
        }
        if (kind == LISTEN_CAPTURE) { /* without the privilege only TPROXY is not to be had */
            s->takes_tproxy = sock_set_transparent(fd, (enum ip_family)addr.ip.family) == 0;
        }
        if (i == 0) { /* port 0: the others share the one the kernel chose */
            rc = sock_local_addr(fd, &addr);
            if (rc != 0) {
                err_set(err, "getsockname: %s", strerror(-rc));
                return rc;
            }
        }
    }
    s->addr = addr;
    return 0;
}

static int bind_one(struct listen_set *set, const char *text, enum listen_kind kind, struct err *err)
{
    struct addr addr;
    int rc = parse_one(text, kind, &addr, err);
    if (rc != 0) {
        return rc;
    }
    rc = bind_at(set, addr, kind, err);
    if (rc != 0) {
        err_prefix(err, "%s", option_of(kind));
        err_add_hint(err, sock_listen_hint(-rc));
    }
    return rc;
}

int listen_bind(struct listen_set *set, const struct str_list *list, enum listen_kind kind, struct err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        int rc = is_auto(list->items[i], kind) ? 0 : bind_one(set, list->items[i], kind, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static void fini_one(const struct listen_set *set, struct listen_socket *s)
{
    for (unsigned i = 0; i < set->worker_count; i++) {
        if (s->fds[i] >= 0) {
            (void)close(s->fds[i]);
        }
    }
    free(s->fds);
}

void listen_remove(struct listen_set *set, size_t index)
{
    fini_one(set, &set->items[index]);
    set->count--;
    memmove(&set->items[index], &set->items[index + 1], (set->count - index) * sizeof(*set->items));
}

/* The cookie of our own network namespace, 0 if the kernel has none. */
static uint64_t own_netns_cookie(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    uint64_t cookie = sock_netns_cookie(fd);
    (void)close(fd);
    return cookie;
}

/* A socket that somebody else made, for all workers. Takes fd; on failure it is closed with the entry. */
static int share(const struct listen_set *set, struct listen_socket *s, int fd)
{
    s->fds[0] = fd;
    int rc = sock_local_addr(fd, &s->addr);
    for (unsigned i = 1; rc == 0 && i < set->worker_count; i++) {
        s->fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        rc = s->fds[i] < 0 ? -errno : 0;
    }
    uint64_t own = own_netns_cookie();
    s->is_foreign = own != 0 && sock_netns_cookie(fd) != own;
    return rc;
}

static int ask_for(struct listen_set *set, const struct addr *addr, struct err *err)
{
    struct listen_socket *s = add(set, LISTEN_CAPTURE);
    if (s == NULL) {
        return out_of_memory(err);
    }
    int fd = port_ask(&set->asker, addr, err);
    int rc = fd < 0 ? fd : share(set, s, fd);
    if (fd >= 0 && rc != 0) {
        char text[ADDR_TEXT_CAP];
        err_set(err, "cannot share %s among the workers: %s", addr_text(addr, text), strerror(-rc));
    }
    return rc;
}

int listen_bind_auto(struct listen_set *set, const struct addr *addr, struct err *err)
{
    size_t before = set->count;
    int rc = set->is_asking ? ask_for(set, addr, err) : bind_at(set, *addr, LISTEN_CAPTURE, err);
    if (rc == 0) {
        set->items[before].is_auto = true;
    } else if (set->count > before) {
        listen_remove(set, before);
    }
    return rc;
}

static int adopt_ports(struct listen_set *set, int fd, struct err *err)
{
    if (set->is_asking) {
        err_set(err, "passed descriptor %d: there is one named ports already (LISTEN_FDNAMES)", fd);
        return -EINVAL;
    }
    int rc = port_ask_open(&set->asker, fd, err);
    if (rc != 0) {
        err_prefix(err, "passed descriptor %d (ports)", fd);
    }
    set->is_asking = rc == 0;
    return rc;
}

static int adopt_one(struct listen_set *set, int fd, const char *name, struct err *err)
{
    if (strcmp(name, "ports") == 0) {
        return adopt_ports(set, fd, err);
    }
    bool is_listening = false;
    struct addr unused;
    int type = sock_type(fd, &is_listening);
    bool is_capture = strcmp(name, "capture") == 0;
    if (!is_capture && strcmp(name, "connect") != 0) {
        err_set(err, "passed descriptor %d is named \"%s\": want connect, capture or ports (LISTEN_FDNAMES)",
                fd, name);
        return -EINVAL;
    }
    if (type != SOCK_STREAM || !is_listening || sock_local_addr(fd, &unused) != 0) {
        err_set(err, "passed descriptor %d (%s) is not a listening TCP socket", fd, name);
        return -EINVAL;
    }
    struct listen_socket *s = add(set, is_capture ? LISTEN_CAPTURE : LISTEN_CONNECT);
    if (s == NULL) {
        return out_of_memory(err);
    }
    int rc = share(set, s, fd); /* ours from here on */
    if (rc != 0) {
        err_set(err, "passed descriptor %d (%s): %s", fd, name, strerror(-rc));
    }
    return rc;
}

int listen_adopt(struct listen_set *set, const struct listen_fds *passed, struct err *err)
{
    for (size_t i = 0; i < passed->count; i++) {
        int rc = adopt_one(set, passed->fds[i], passed->names[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void listen_fini(struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        fini_one(set, &set->items[i]);
    }
    port_ask_fini(&set->asker);
    free(set->items);
    *set = (struct listen_set){0};
}
