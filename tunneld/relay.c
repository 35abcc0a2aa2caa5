/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/relay.h"

#include "common/base/clock.h"

#include <errno.h>
#include <sys/socket.h>

#define PUMP_ROUNDS 4 /* reads per wake-up: one busy tunnel must not starve the others */
#define PUMP_BYTES ((size_t)PUMP_ROUNDS * RELAY_BUFFER_BYTES) /* the same, spliced */
#define FULL_READ_BYTES (RELAY_BUFFER_BYTES / 2)
/* A wake-up of a bulk direction that brings less ends it: below, splicing costs more than copying. */
#define BULK_WAKE_BYTES ((size_t)8 * 1024)
#define SALVAGE_ROUNDS 16

enum pump_result { PUMP_OK = 0, PUMP_ENDED };

static struct relay_leg *other_leg(struct relay_leg *leg)
{
    struct relay *r = leg->relay;
    return leg == &r->leg[RELAY_CLIENT] ? &r->leg[RELAY_UPSTREAM] : &r->leg[RELAY_CLIENT];
}

static enum relay_side side_of(const struct relay_leg *leg)
{
    return leg == &leg->relay->leg[RELAY_CLIENT] ? RELAY_CLIENT : RELAY_UPSTREAM;
}

/* Bytes taken by the socket, 0 if it would block, or -errno. */
static ssize_t send_some(struct relay_leg *to, struct span s)
{
    ssize_t n;
    do {
        n = send(to->fd, s.data, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    to->sent_bytes += (uint64_t)n;
    return n;
}

static ssize_t receive_some(struct relay_leg *from)
{
    ssize_t n;
    do {
        n = recv(from->fd, from->relay->env->buffer, RELAY_BUFFER_BYTES, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static size_t waiting_bytes(const struct relay_leg *to)
{
    return to->unsent.len + (to->pipe == NULL ? 0 : to->pipe->len);
}

static void give_pipe(struct relay_leg *to)
{
    pipe_pool_give(to->relay->env->pipes, to->pipe);
    to->pipe = NULL;
}

static bool lend_pipe(struct relay_leg *to)
{
    to->pipe = pipe_pool_take(to->relay->env->pipes);
    return to->pipe != NULL;
}

/* The front of what the pipe holds becomes the tail in memory, for a socket that splice cannot write to.
 * Bytes moved, or -errno. */
static ssize_t unpipe_some(struct relay_leg *to)
{
    const struct relay_env *env = to->relay->env;
    ssize_t n = pipe_copy_out(to->pipe, env->buffer, RELAY_BUFFER_BYTES);
    int rc = n <= 0 ? 0 : buf_append(&to->unsent, span_make(env->buffer, (size_t)n), RELAY_BUFFER_BYTES);
    return rc == 0 ? n : rc;
}

/* One step of send_waiting(): bytes taken or brought nearer, 0 if the socket would block, or -errno. */
static ssize_t send_step(struct relay_leg *to)
{
    struct pipe_pool *pipes = to->relay->env->pipes;
    ssize_t n;
    if (to->unsent.len > 0) {
        n = send_some(to, buf_span(&to->unsent));
        buf_consume(&to->unsent, n > 0 ? (size_t)n : 0);
        return n;
    }
    if (!pipes->is_refused) {
        n = pipe_drain(to->pipe, to->fd);
        if (n >= 0 || !pipe_is_refusal((int)-n)) {
            to->sent_bytes += n > 0 ? (uint64_t)n : 0;
            return n;
        }
        pipe_pool_refuse(pipes, (int)-n);
    }
    return unpipe_some(to);
}

/* Sends what waits for this side as far as its socket takes it; the pipe goes back once it is empty. 0 or
 * -errno. */
static int send_waiting(struct relay_leg *to)
{
    while (waiting_bytes(to) > 0) {
        ssize_t n = send_step(to);
        if (n <= 0) {
            return (int)n;
        }
        to->relay->last_ms = clock_mono_ms();
    }
    give_pipe(to);
    return 0;
}

static enum pump_result end_relay(struct relay *r, struct relay_end end)
{
    r->end = end;
    relay_stop(r);
    r->fn(r->ctx, RELAY_ENDED);
    return PUMP_ENDED;
}

/* Of our own making: neither side got all there was. */
static enum pump_result relay_failed(struct relay *r, int error)
{
    return end_relay(
        r, (struct relay_end){
               .reason = REASON_INTERNAL, .side = RELAY_NEITHER, .error = error, .must_reset = true});
}

/*
 * A side is gone. What it sent before may still wait here or lie in its receive queue (a server that answers,
 * then resets an upload it did not want): hand that on, so that the other side learns the answer; only
 * without one is it reset too.
 */
static enum pump_result leg_failed(struct relay_leg *leg, int error)
{
    struct relay *r = leg->relay;
    struct relay_leg *to = other_leg(leg);
    bool is_salvaged = false;
    bool is_lost = send_waiting(to) != 0 || waiting_bytes(to) > 0;
    for (int i = 0; i < SALVAGE_ROUNDS && !is_lost && !leg->has_eof; i++) {
        ssize_t n = receive_some(leg);
        if (n <= 0) {
            break;
        }
        is_salvaged = true;
        is_lost = send_some(to, span_make(r->env->buffer, (size_t)n)) != n;
    }
    enum relay_side side = side_of(leg);
    struct relay_end end = {.side = side, .error = error, .must_reset = is_lost || !is_salvaged};
    if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH) {
        end.reason = REASON_PEER_VANISHED;
    } else if (error == ENOMEM || error == ENOBUFS || error == EBADF) {
        end.reason = REASON_INTERNAL;
    } else {
        end.reason = side == RELAY_CLIENT ? REASON_CLIENT_RESET : REASON_UPSTREAM_RESET;
    }
    return end_relay(r, end);
}

static int wanted_events(const struct relay_leg *leg, const struct relay_leg *other)
{
    int events = 0;
    if (!leg->has_eof && waiting_bytes(other) == 0) {
        events |= EV_READ;
    }
    if (waiting_bytes(leg) > 0) {
        events |= EV_WRITE;
    }
    return events;
}

/* The one place that arms a leg. */
static int arm_leg(struct relay_leg *leg)
{
    struct relay *r = leg->relay;
    int events = wanted_events(leg, other_leg(leg));
    int rc = 0;
    if (events != 0) {
        hangup_stop(r->env->hangup, &leg->hangup);
    } else {
        rc = hangup_start(r->env->hangup, &leg->hangup, leg->fd);
    }
    int now = ev_is_active(&leg->io) ? leg->io.events & (EV_READ | EV_WRITE) : 0;
    if (now == events) {
        return rc;
    }
    ev_io_stop(r->env->loop, &leg->io);
    if (events != 0) {
        ev_io_set(&leg->io, leg->fd, events);
        ev_io_start(r->env->loop, &leg->io);
    }
    return rc;
}

static enum pump_result arm_both(struct relay *r)
{
    for (int side = RELAY_CLIENT; side <= RELAY_UPSTREAM; side++) {
        int rc = arm_leg(&r->leg[side]);
        if (rc != 0) {
            return relay_failed(r, -rc);
        }
    }
    return PUMP_OK;
}

/*
 * The FIN of one side goes on to the other. A side is read only while nothing of it waits to be sent, so
 * everything before the FIN is on its way already.
 */
static enum pump_result pass_fin(struct relay_leg *from)
{
    struct relay *r = from->relay;
    struct relay_leg *to = other_leg(from);
    (void)CHECK(waiting_bytes(to) == 0);
    from->has_eof = true;
    if (shutdown(to->fd, SHUT_WR) != 0 && errno != ENOTCONN) {
        return leg_failed(to, errno);
    }
    if (to->has_eof) {
        bool is_client = r->first_eof == RELAY_CLIENT;
        return end_relay(
            r, (struct relay_end){.reason = is_client ? REASON_CLIENT_CLOSED : REASON_UPSTREAM_CLOSED,
                                  .side = r->first_eof});
    }
    r->first_eof = side_of(from);
    r->last_ms = clock_mono_ms(); /* the half-close time starts now */
    r->fn(r->ctx, RELAY_HALF_CLOSED);
    return r->is_running ? PUMP_OK : PUMP_ENDED;
}

static void note_read(struct relay_leg *from, size_t got)
{
    if (got < FULL_READ_BYTES) {
        from->full_reads = 0;
    } else if (from->full_reads < RELAY_BULK_READS) {
        from->full_reads++;
    }
}

static enum pump_result pump_copied(struct relay_leg *from)
{
    struct relay *r = from->relay;
    struct relay_leg *to = other_leg(from);
    for (int i = 0; i < PUMP_ROUNDS; i++) {
        ssize_t got = receive_some(from);
        if (got == -EAGAIN) {
            return PUMP_OK;
        }
        if (got < 0) {
            return leg_failed(from, (int)-got);
        }
        if (got == 0) {
            return pass_fin(from);
        }
        r->last_ms = clock_mono_ms();
        note_read(from, (size_t)got);
        struct span bytes = span_make(r->env->buffer, (size_t)got);
        ssize_t sent = send_some(to, bytes);
        if (sent < 0) {
            return leg_failed(to, (int)-sent);
        }
        if (sent < got) {
            int rc = buf_append(&to->unsent, span_sub(bytes, (size_t)sent, bytes.len), RELAY_BUFFER_BYTES);
            return rc == 0 ? PUMP_OK : relay_failed(r, -rc);
        }
        if ((size_t)got < RELAY_BUFFER_BYTES) {
            return PUMP_OK;
        }
    }
    return PUMP_OK;
}

/* The pipe is empty before each read, and after it everything inside waits for the other side. */
static enum pump_result pump_spliced(struct relay_leg *from)
{
    struct relay *r = from->relay;
    struct relay_leg *to = other_leg(from);
    size_t moved = 0;
    while (moved < PUMP_BYTES && (to->pipe != NULL || lend_pipe(to))) {
        ssize_t got = pipe_fill(to->pipe, from->fd);
        if (got <= 0) {
            give_pipe(to);
        }
        if (got == -EAGAIN) {
            break;
        }
        if (got == 0) {
            return pass_fin(from);
        }
        if (got < 0 && pipe_is_refusal((int)-got)) {
            pipe_pool_refuse(r->env->pipes, (int)-got);
            return pump_copied(from);
        }
        if (got < 0) {
            return leg_failed(from, (int)-got);
        }
        r->last_ms = clock_mono_ms();
        moved += (size_t)got;
        int rc = send_waiting(to);
        if (rc != 0) {
            return leg_failed(to, -rc);
        }
        if (waiting_bytes(to) > 0) {
            return PUMP_OK;
        }
    }
    if (moved < BULK_WAKE_BYTES) {
        from->full_reads = 0;
    }
    return PUMP_OK;
}

static enum pump_result pump(struct relay_leg *from)
{
    bool is_bulk = from->full_reads >= RELAY_BULK_READS && lend_pipe(other_leg(from));
    return is_bulk ? pump_spliced(from) : pump_copied(from);
}

static enum pump_result flush(struct relay_leg *to)
{
    int rc = send_waiting(to);
    return rc == 0 ? PUMP_OK : leg_failed(to, -rc);
}

static void on_leg_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct relay_leg *leg = w->data;
    struct relay *r = leg->relay;
    enum pump_result result = PUMP_OK;
    if ((revents & EV_ERROR) != 0) {
        result = leg_failed(leg, EBADF);
    }
    if (result == PUMP_OK && (revents & EV_WRITE) != 0 && waiting_bytes(leg) > 0) {
        result = flush(leg);
    }
    if (result == PUMP_OK && (revents & EV_READ) != 0 && !leg->has_eof &&
        waiting_bytes(other_leg(leg)) == 0) {
        result = pump(leg);
    }
    if (result == PUMP_OK) {
        (void)arm_both(r);
    }
}

static void on_leg_hangup(struct hangup_watch *w)
{
    struct relay_leg *leg = w->ctx;
    int error = hangup_error(leg->fd);
    if (error !=
        0) { /* otherwise both have finished, and its last bytes are read when there is room for them */
        (void)leg_failed(leg, error);
    }
}

int relay_start(struct relay *r, const int fds[2], struct buf *early, int64_t now_ms)
{
    r->last_ms = now_ms;
    for (int side = RELAY_CLIENT; side <= RELAY_UPSTREAM; side++) {
        struct relay_leg *leg = &r->leg[side];
        *leg = (struct relay_leg){.relay = r, .fd = fds[side], .hangup = {.fn = on_leg_hangup}};
        leg->hangup.ctx = leg;
        ev_io_init(&leg->io, on_leg_event, leg->fd, EV_READ);
        leg->io.data = leg;
    }
    r->leg[RELAY_UPSTREAM].unsent = *early;
    *early = (struct buf){0};
    r->is_running = true;
    for (int side = RELAY_CLIENT; side <= RELAY_UPSTREAM; side++) {
        int rc = arm_leg(&r->leg[side]);
        if (rc != 0) {
            relay_stop(r);
            return rc;
        }
    }
    return 0;
}

void relay_stop(struct relay *r)
{
    if (!r->is_running) {
        return;
    }
    r->is_running = false;
    for (int side = RELAY_CLIENT; side <= RELAY_UPSTREAM; side++) {
        struct relay_leg *leg = &r->leg[side];
        ev_io_stop(r->env->loop, &leg->io);
        hangup_stop(r->env->hangup, &leg->hangup);
        buf_fini(&leg->unsent);
        give_pipe(leg);
    }
}

bool relay_has_unsent(const struct relay *r)
{
    return waiting_bytes(&r->leg[RELAY_CLIENT]) > 0 || waiting_bytes(&r->leg[RELAY_UPSTREAM]) > 0;
}
