/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_idle.h"

#include "common/base/clock.h"
#include "common/base/num.h"
#include "egress/doctor_io.h"
#include "egress/doctor_path.h"
#include "egress/doctor_ws.h"
#include "egress/doctor_wss.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DURATION_CAP 32
#define OPEN_MS 5000 /* one connection, handshakes and all */

struct line {
    struct doctor_result *result;
    struct doctor_ws *ws; /* NULL: a TCP connection */
    int64_t since_ms;     /* TCP: of silence */
};
struct idle {
    struct pollfd *polls; /* fd -1: over. A WebSocket's is the WebSocket's to close */
    struct line *lines;
    size_t count;
    int64_t left_ms;  /* when nobody looked any more, because another connection was opened */
    int64_t blind_ms; /* so long ago was the last look */
};

/* The checks of one way, and how to open it. */
struct way {
    enum doctor_check tcp, tls, idle, websocket;
};
static const struct way ways[] = {
    {DOCTOR_CONNECT, DOCTOR_CONNECT_TLS, DOCTOR_CONNECT_IDLE, DOCTOR_CONNECT_WEBSOCKET},
    {DOCTOR_NATIVE, DOCTOR_NATIVE_TLS, DOCTOR_NATIVE_IDLE, DOCTOR_NATIVE_WEBSOCKET}};

static int open_way(const struct doctor_facts *f, const struct doctor_target *t, const struct way *w,
                    int64_t end_ms)
{
    if (w->tcp == DOCTOR_NATIVE) {
        return doctor_io_connect(&t->native, end_ms);
    }
    struct doctor_way way;
    doctor_connect_open(&f->proxy, t, end_ms, &way);
    return way.fd;
}

static void add(struct idle *all, int fd, struct doctor_result *result, struct doctor_ws *ws)
{
    all->polls[all->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    all->lines[all->count++] = (struct line){.result = result, .ws = ws, .since_ms = clock_mono_ms()};
}

static void tell_failed(struct doctor_result *result, int rc)
{
    doctor_tell(result, DOCTOR_NOT_TESTED, doctor_fault_of(rc), "a second connection failed: %s",
                strerror(-rc));
}

/* Is a WebSocket of this target to be had over TLS? */
static bool is_over_tls(const struct doctor_target *t, const struct way *w)
{
    const struct doctor_result *tls = &t->results[w->tls];
    bool has_none = tls->state == DOCTOR_NOTED && tls->fault != DOCTOR_TLS_ALERT;
    return t->websocket == DOCTOR_WEBSOCKET_TLS || (t->websocket == DOCTOR_WEBSOCKET_AS_FOUND && !has_none);
}

/* True: it waits now, or did not get as far as to an upgrade because there is no connection. */
static bool add_websocket(const struct doctor_facts *f, struct doctor_target *t, const struct way *w,
                          int64_t end_ms, struct idle *all, int *rc)
{
    struct doctor_result *result = &t->results[w->websocket];
    struct doctor_ws *ws = NULL;
    bool is_tls = is_over_tls(t, w);
    if (is_tls && !doctor_wss_is_built()) {
        doctor_tell(result, DOCTOR_NOT_TESTED, DOCTOR_NOT_BUILT,
                    "not tested: this build has no TLS (configure it --with-openssl)");
        return false;
    }
    if (is_tls && t->results[w->tls].state == DOCTOR_FAILED) {
        doctor_tell(result, DOCTOR_NOT_TESTED, DOCTOR_FAULT_NONE, "not tested: there is no TLS");
        return false;
    }
    int fd = open_way(f, t, w, end_ms);
    if (fd < 0) {
        tell_failed(result, fd);
        return true;
    }
    *rc = doctor_ws_open(fd, t, is_tls, end_ms, result, &ws);
    if (ws == NULL) {
        return false;
    }
    add(all, doctor_ws_fd(ws), result, ws);
    return true;
}

static int64_t soon(int64_t end_ms)
{
    int64_t soon_ms = clock_mono_ms() + OPEN_MS;
    return soon_ms < end_ms ? soon_ms : end_ms;
}

static int add_way(const struct doctor_facts *f, struct doctor_target *t, const struct way *w, int64_t end_ms,
                   struct idle *all)
{
    int rc = 0;
    struct doctor_result *result = &t->results[w->idle];
    if (t->websocket != DOCTOR_WEBSOCKET_NONE && add_websocket(f, t, w, soon(end_ms), all, &rc)) {
        return rc;
    }
    int fd = rc == 0 ? open_way(f, t, w, soon(end_ms)) : -ENOMEM;
    if (fd < 0) {
        tell_failed(result, fd);
    } else {
        add(all, fd, result, NULL);
    }
    return rc;
}

static void end_line(struct idle *all, size_t i)
{
    if (all->lines[i].ws != NULL) {
        doctor_ws_finish(all->lines[i].ws);
        all->lines[i].ws = NULL;
    } else {
        (void)close(all->polls[i].fd);
    }
    all->polls[i].fd = -1;
}

static void note_end(struct idle *all, size_t i, const char *how)
{
    char after[DOCTOR_WS_SPAN_CAP];
    struct doctor_result *r = all->lines[i].result;
    r->ms = clock_mono_ms() - all->lines[i].since_ms;
    doctor_tell(r, DOCTOR_FAILED, DOCTOR_CUT_IDLE, "%s after %s of silence", how,
                doctor_ws_span_text(r->ms, all->blind_ms, after));
    end_line(all, i);
}

static void look_at_tcp(struct idle *all, size_t i)
{
    uint8_t bytes[4096];
    ssize_t n = recv(all->polls[i].fd, bytes, sizeof bytes, 0);
    if (n == 0) {
        note_end(all, i, "closed (FIN)");
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        note_end(all, i, errno == ECONNRESET ? "reset (RST)" : strerror(errno));
    } else if (n > 0) {
        all->lines[i].since_ms = clock_mono_ms(); /* a greeting: the silence begins behind it */
    }
}

static void look_at(struct idle *all, size_t i)
{
    struct doctor_ws *ws = all->lines[i].ws;
    if (ws == NULL) {
        look_at_tcp(all, i);
        return;
    }
    doctor_ws_read(ws, all->blind_ms);
    if (doctor_ws_is_over(ws)) {
        end_line(all, i);
    }
}

static size_t count_alive(const struct idle *all)
{
    size_t alive = 0;
    for (size_t i = 0; i < all->count; i++) {
        alive += all->polls[i].fd >= 0 ? 1 : 0;
    }
    return alive;
}

static void wait_all(struct idle *all, int64_t end_ms)
{
    int64_t left = end_ms - clock_mono_ms();
    all->blind_ms = clock_mono_ms() - all->left_ms;
    do { /* at least one look */
        left = left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : left;
        int n = poll(all->polls, (nfds_t)all->count, (int)left);
        for (size_t i = 0; n > 0 && i < all->count; i++) {
            if (all->polls[i].fd >= 0 && all->polls[i].revents != 0) {
                look_at(all, i);
            }
        }
        all->blind_ms = 0;
        left = end_ms - clock_mono_ms();
    } while (left > 0 && count_alive(all) > 0);
    all->left_ms = clock_mono_ms();
}

/* What the handshake of one brought, or ended, before the silence of all began. */
static void end_what_is_over(struct idle *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->lines[i].ws != NULL && doctor_ws_is_over(all->lines[i].ws)) {
            end_line(all, i);
        }
    }
}

static int open_all(struct doctor_facts *f, int64_t end_ms, struct idle *all)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < f->target_count; i++) {
        struct doctor_target *t = &f->targets[i];
        for (size_t k = 0; rc == 0 && !t->is_probe && k < sizeof ways / sizeof ways[0]; k++) {
            if (!doctor_is_good(&t->results[ways[k].tcp])) {
                continue;
            }
            if (clock_mono_ms() >= end_ms) {
                doctor_tell(&t->results[ways[k].idle], DOCTOR_NOT_TESTED, DOCTOR_OUT_OF_TIME,
                            "not tested: the minute is over");
            } else {
                rc = add_way(f, t, &ways[k], end_ms, all);
                end_what_is_over(all);
                wait_all(all, clock_mono_ms());
            }
        }
    }
    return rc;
}

static void finish_tcp(struct idle *all, int64_t idle_ms)
{
    char text[DURATION_CAP];
    for (size_t i = 0; i < all->count; i++) {
        if (all->polls[i].fd >= 0 && all->lines[i].ws == NULL) {
            all->lines[i].result->ms = idle_ms;
            doctor_tell(all->lines[i].result, DOCTOR_OK, DOCTOR_FAULT_NONE, "still there after %s",
                        num_duration_text(idle_ms, text, sizeof text));
            end_line(all, i);
        }
    }
}

static void ask_websockets(struct idle *all)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->lines[i].ws != NULL) {
            doctor_ws_ping(all->lines[i].ws);
        }
    }
    end_what_is_over(all);
    wait_all(all, clock_mono_ms() + DOCTOR_PONG_MS);
    for (size_t i = 0; i < all->count; i++) {
        if (all->lines[i].ws != NULL) { /* over or not */
            end_line(all, i);
        }
    }
}

int doctor_idle_run(struct doctor_facts *f, int64_t open_end_ms)
{
    size_t cap = sizeof ways / sizeof ways[0] * f->target_count;
    struct idle all = {.polls = calloc(cap, sizeof *all.polls), .lines = calloc(cap, sizeof *all.lines)};
    int rc = all.polls == NULL || all.lines == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        all.left_ms = clock_mono_ms();
        rc = open_all(f, open_end_ms, &all);
        wait_all(&all, clock_mono_ms() + (rc == 0 ? f->idle_ms : 0));
        finish_tcp(&all, f->idle_ms);
        ask_websockets(&all);
    }
    free(all.polls);
    free(all.lines);
    return rc;
}
