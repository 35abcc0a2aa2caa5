/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/listen_auto.h"

#include "common/base/log.h"
#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAILURES_LOGGED_MAX 20
#define FDS_PER_LISTENER 2 /* the socket, and its acceptor's reserve */

bool listen_auto_is_on(const struct listen_auto *a)
{
    return a->hosts.count > 0;
}

/* ---- who has the port already ---- */

/* Our IPv6 sockets take no IPv4: the families never meet. */
static bool is_in_the_way(const struct addr *there, const struct addr *wanted)
{
    return there->port == wanted->port && there->ip.family == wanted->ip.family &&
           (ip_is_unspecified(&there->ip) || ip_is_unspecified(&wanted->ip) ||
            ip_is_equal(&there->ip, &wanted->ip));
}

/* The option, or NULL. Who makes our sockets for us makes them so that they stand beside the others. */
static const char *taken_by(const struct listen_auto *a, const struct listen_set *set,
                            const struct addr *wanted)
{
    if (set->is_asking) {
        return NULL;
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct listen_socket *s = &set->items[i];
        if (!s->is_auto && is_in_the_way(&s->addr, wanted)) {
            return s->kind == LISTEN_CAPTURE ? "--transparent" : "--listen";
        }
    }
    return a->admin.port != 0 && is_in_the_way(&a->admin, wanted) ? "--admin" : NULL;
}

/* ---- one port ---- */

/* Where somebody else makes the sockets, in a fence. */
static const char *remedy_there(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "the command, or a program it started, listens on the port: end that, or use run --capture "
               "redirect, which leaves the ports alone";
    case EMFILE:
        return "raise the limit of open files (ulimit -Hn), or start with fewer --workers";
    case EPIPE:
    case EPROTO:
        return "start run again: this one gets no new port any more";
    case ETIMEDOUT:
        return "is openshell-ports, a process of run, stopped? let it go on (kill -CONT)";
    default:
        return "";
    }
}

static const char *remedy(const struct listen_set *set, int error)
{
    if (set->is_asking) {
        return remedy_there(error);
    }
    if (error == EADDRINUSE) {
        return "another program has the port (ss -lnp names it): end it, or name the addresses to listen on "
               "with --transparent ADDR:auto";
    }
    return sock_listen_hint(error);
}

/* Listeners may have half of the descriptors; tunnels need the others. */
static int leave_descriptors(const struct listen_set *set, struct err *err)
{
    struct rlimit limit;
    uint64_t wanted = (uint64_t)(set->count + 1) * set->worker_count * FDS_PER_LISTENER;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || wanted <= limit.rlim_cur / 2) {
        return 0;
    }
    err_set(err, "%zu listeners of %u workers would take more than half of the %ju descriptors",
            set->count + 1, set->worker_count, (uintmax_t)limit.rlim_cur);
    return -EMFILE;
}

static int open_port(struct listen_set *set, const struct addr *addr, struct err *err)
{
    int rc = leave_descriptors(set, err);
    return rc != 0 ? rc : listen_bind_auto(set, addr, err);
}

static void log_open(const struct listen_socket *s)
{
    char text[ADDR_TEXT_CAP];
    log_event(LOG_INFO, "listening",
              LOG_KV(kv_str("addr", addr_text(&s->addr, text)), kv_str("kind", listen_kind_text(s->kind)),
                     kv_str("tproxy", s->takes_tproxy ? "yes" : "no")));
}

static void log_failed(const struct listen_set *set, const struct addr *addr, const char *why, int error)
{
    char text[ADDR_TEXT_CAP];
    bool is_final = set->is_asking && !set->asker.is_open;
    log_event(LOG_ERROR, "listen_failed",
              LOG_KV(kv_str("addr", addr_text(addr, text)), kv_str("why", why),
                     kv_str("hint", remedy(set, error)),
                     kv_str("retry", is_final ? "no" : "SIGHUP, or the next policy")));
}

static void log_skipped(const struct listen_auto_port *p)
{
    char text[ADDR_TEXT_CAP];
    log_event(LOG_WARN, "listen_skipped",
              LOG_KV(kv_str("addr", addr_text(&p->addr, text)), kv_str("why", p->why),
                     kv_str("note", "connections captured on this port do not come to --transparent auto")));
}

static void close_port(struct listen_set *set, const struct addr *addr)
{
    char text[ADDR_TEXT_CAP];
    size_t i = 0;
    while (i < set->count && !(set->items[i].is_auto && addr_is_equal(&set->items[i].addr, addr))) {
        i++;
    }
    if (CHECK(i < set->count)) {
        listen_remove(set, i);
        log_event(LOG_INFO, "listen_closed",
                  LOG_KV(kv_str("addr", addr_text(addr, text)), kv_str("why", "no rule names the port")));
    }
}

/* ---- all of them ---- */

/* "auto" takes what the host has. */
static void drop_missing_v6(struct capture_hosts *h)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_missing = fd < 0 && errno == EAFNOSUPPORT;
    if (fd >= 0) {
        (void)close(fd);
    }
    for (size_t i = 0; i < h->count && is_missing && h->may_lack_v6; i++) {
        if (h->items[i].family == IP_V6 && ip_is_unspecified(&h->items[i])) {
            h->count--;
            memmove(&h->items[i], &h->items[i + 1], (h->count - i) * sizeof(*h->items));
            log_event(LOG_INFO, "no_ipv6",
                      LOG_KV(kv_str("note", "--transparent auto listens on 0.0.0.0 only")));
        }
    }
}

/* What the policy asks for, nothing done yet. */
static int make_table(const struct listen_auto *a, const struct policy *p, struct listen_auto *out)
{
    size_t port_count = 0;
    const uint16_t *ports = policy_ports(p, &port_count);
    *out = (struct listen_auto){.ports = calloc(a->hosts.count * port_count + 1, sizeof(*out->ports))};
    if (out->ports == NULL) {
        return -ENOMEM;
    }
    for (size_t h = 0; h < a->hosts.count; h++) {
        for (size_t i = 0; i < port_count; i++) {
            out->ports[out->count].addr = (struct addr){.ip = a->hosts.items[h], .port = ports[i]};
            out->count++;
        }
    }
    return 0;
}

static const struct listen_auto_port *find(const struct listen_auto *a, const struct addr *addr)
{
    for (size_t i = 0; i < a->count; i++) {
        if (addr_is_equal(&a->ports[i].addr, addr)) {
            return &a->ports[i];
        }
    }
    return NULL;
}

/* One port of the new table: as it was, in somebody's way, or newly bound. The latter's result. */
static int settle(const struct listen_auto *a, struct listen_set *set, struct listen_auto_port *p,
                  struct err *err)
{
    const struct listen_auto_port *former = find(a, &p->addr);
    if (former != NULL && former->state == LISTEN_AUTO_OPEN) {
        p->state = LISTEN_AUTO_OPEN;
        return 0;
    }
    p->why = taken_by(a, set, &p->addr);
    if (p->why != NULL) {
        p->state = LISTEN_AUTO_SKIPPED;
        if (former == NULL) {
            log_skipped(p);
        }
        return 0;
    }
    int rc = open_port(set, &p->addr, err);
    p->state = rc == 0 ? LISTEN_AUTO_OPEN : LISTEN_AUTO_FAILED;
    p->error = -rc;
    return rc;
}

static void replace_table(struct listen_auto *a, const struct listen_auto *table)
{
    free(a->ports);
    a->ports = table->ports;
    a->count = table->count;
}

int listen_auto_open(struct listen_auto *a, struct listen_set *set, const struct policy *p, struct err *err)
{
    struct listen_auto table;
    drop_missing_v6(&a->hosts);
    port_ask_begin(&set->asker);
    int rc = make_table(a, p, &table);
    if (rc != 0) {
        err_set(err, "out of memory for listening sockets");
        return rc;
    }
    for (size_t i = 0; i < table.count && rc == 0; i++) {
        rc = settle(a, set, &table.ports[i], err);
    }
    replace_table(a, &table);
    if (rc != 0) {
        char text[sizeof(err->text)];
        memcpy(text, err->text, sizeof(text));
        const char *hint = remedy(set, -rc);
        err_set(err, "--transparent auto: %s%s%s", text, *hint != '\0' ? ": " : "", hint);
    }
    return rc;
}

static void open_missing(const struct listen_auto *a, struct listen_set *set, struct listen_auto *table)
{
    size_t failed = 0, before = set->count;
    for (size_t i = 0; i < table->count; i++) {
        struct err err = {""};
        int rc = settle(a, set, &table->ports[i], &err);
        failed += rc != 0;
        if (rc != 0 && failed <= FAILURES_LOGGED_MAX) {
            log_failed(set, &table->ports[i].addr, err.text, -rc);
        }
    }
    if (failed > FAILURES_LOGGED_MAX) {
        log_event(LOG_ERROR, "listen_failed", LOG_KV(kv_u64("suppressed", failed - FAILURES_LOGGED_MAX)));
    }
    for (size_t i = before; i < set->count; i++) {
        log_open(&set->items[i]);
    }
}

bool listen_auto_follow(struct listen_auto *a, struct listen_set *set, const struct policy *p)
{
    struct listen_auto table;
    size_t count = set->count;
    port_ask_begin(&set->asker);
    if (make_table(a, p, &table) != 0) {
        log_event(LOG_ERROR, "listen_failed", LOG_KV(kv_str("why", "out of memory")));
        return false;
    }
    for (size_t i = 0; i < a->count; i++) { /* first, so that their descriptors are free */
        if (a->ports[i].state == LISTEN_AUTO_OPEN && find(&table, &a->ports[i].addr) == NULL) {
            close_port(set, &a->ports[i].addr);
        }
    }
    bool has_changed = set->count != count;
    count = set->count;
    open_missing(a, set, &table);
    replace_table(a, &table);
    return has_changed || set->count != count;
}

void listen_auto_undo(struct listen_auto *a, struct listen_set *set, uint64_t last_id, const struct err *why)
{
    for (size_t i = set->count; i > 0 && set->items[i - 1].id > last_id; i--) {
        struct addr addr = set->items[i - 1].addr;
        listen_remove(set, i - 1);
        log_failed(set, &addr, why->text, 0);
        for (size_t k = 0; k < a->count; k++) {
            if (addr_is_equal(&a->ports[k].addr, &addr)) {
                a->ports[k].state = LISTEN_AUTO_FAILED;
                a->ports[k].error = ENOMEM;
            }
        }
    }
}

void listen_auto_write(const struct listen_auto *a, struct json *json)
{
    char text[ADDR_TEXT_CAP];
    json_array(json, "not_listening");
    for (size_t i = 0; i < a->count; i++) {
        const struct listen_auto_port *p = &a->ports[i];
        if (p->state != LISTEN_AUTO_OPEN) {
            json_object(json, NULL);
            json_str(json, "addr", addr_text(&p->addr, text));
            json_str(json, "state", p->state == LISTEN_AUTO_SKIPPED ? "skipped" : "failed");
            json_str(json, "why", p->state == LISTEN_AUTO_SKIPPED ? p->why : strerror(p->error));
            json_end(json);
        }
    }
    json_end(json);
}

void listen_auto_fini(struct listen_auto *a)
{
    free(a->ports);
    capture_auto_fini(&a->hosts);
    *a = (struct listen_auto){.count = 0};
}
