/* SPDX-License-Identifier: Apache-2.0 */
/* Connections over real sockets; what answers is the test, in the place of the query engine. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/listen_tcp.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "dnsd/dnsd_counters.h"
#include "tests/support/failing_epoll.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define HELD_MAX 4096
#define QUESTION_LEN 20
#define PATIENCE_MS 10000

struct fixture {
    struct worker worker;
    struct listen_tcp *tcp;
    struct addr local;
    bool wants_hold;  /* questions wait in held */
    size_t reply_len; /* of what is answered at once */
    size_t held_count;
    struct reply held[HELD_MAX];
    uint8_t marks[HELD_MAX]; /* the second byte of each held question */
};

static struct fixture *scene;

static void send_reply(const struct reply *to, uint8_t mark, size_t len)
{
    static uint8_t message[DNS_MESSAGE_MAX];
    memset(message, mark, len);
    to->send(to, span_make(message, len));
}

/* The engine: a first byte of 0xff is no question. */
enum query_outcome query_handle(struct query_engine *e, struct span message, int64_t now_ms,
                                uint64_t foreseen, const struct reply *to)
{
    (void)e;
    assert_in_range(clock_mono_ms() - now_ms, 0, PATIENCE_MS);
    assert_int_equal(foreseen, 0); /* only datagrams come in batches */
    if (message.len < 2 || message.data[0] == 0xff) {
        return QUERY_DROPPED;
    }
    if (scene->wants_hold) {
        assert_true(scene->held_count < HELD_MAX);
        scene->held[scene->held_count] = *to;
        scene->marks[scene->held_count++] = message.data[1];
    } else {
        send_reply(to, message.data[1], scene->reply_len);
    }
    return QUERY_TAKEN;
}

static void start(struct fixture *f, int64_t idle_ms, int64_t life_ms)
{
    const struct addr any = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    const struct listen_tcp_times times = {.idle_ms = idle_ms, .life_ms = life_ms};
    struct err err = {""};
    *f = (struct fixture){.reply_len = 30};
    scene = f;
    f->worker.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f->worker.loop);
    assert_int_equal(reap_new(f->worker.loop, &f->worker.reap), 0);
    int fd = sock_listen_tcp(&any, false, &err);
    assert_true(fd >= 0);
    assert_int_equal(sock_local_addr(fd, &f->local), 0);
    assert_int_equal(listen_tcp_new(&f->worker, NULL, fd, &times, &f->tcp), 0);
}

static void stop(struct fixture *f)
{
    listen_tcp_free(f->tcp);
    reap_free(f->worker.reap);
    ev_loop_destroy(f->worker.loop);
}

/* A connection of 127.0.0.HOST; taken when this returns. */
static int dial(struct fixture *f, uint8_t host)
{
    const uint64_t before = metrics_read(&f->worker.metrics, DNSD_COUNTER_TCP_CONNECTIONS) +
                            metrics_read(&f->worker.metrics, DNSD_COUNTER_TCP_EVICTED);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000U + host)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(f->local.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, (socklen_t)sizeof(from)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, (socklen_t)sizeof(to)), 0);
    while (metrics_read(&f->worker.metrics, DNSD_COUNTER_TCP_CONNECTIONS) +
               metrics_read(&f->worker.metrics, DNSD_COUNTER_TCP_EVICTED) ==
           before) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
    return fd;
}

static void ask(int fd, uint8_t mark)
{
    uint8_t frame[2 + QUESTION_LEN] = {0, QUESTION_LEN, 0, mark};
    assert_int_equal(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), sizeof(frame));
}

static void run_until_held(struct fixture *f, size_t count)
{
    while (f->held_count < count) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
}

/* The next frame's mark, or -1 at the end of the stream; the loop runs meanwhile. */
static int take(struct fixture *f, int fd)
{
    uint8_t head[3];
    ssize_t n = -1;
    while ((n = recv(fd, head, sizeof(head), MSG_DONTWAIT | MSG_PEEK)) >= 0 ? n > 0 && n < 3
                                                                            : errno == EAGAIN) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
    if (n <= 0) {
        return -1;
    }
    static uint8_t body[2 + DNS_MESSAGE_MAX];
    size_t want = 2 + (((size_t)head[0] << 8) | head[1]);
    size_t got = 0;
    while (got < want) {
        n = recv(fd, body + got, want - got, MSG_DONTWAIT);
        if (n > 0) {
            got += (size_t)n;
        } else {
            assert_true(n < 0 && errno == EAGAIN);
            ev_run(f->worker.loop, EVRUN_ONCE);
        }
    }
    return head[2];
}

static bool is_open(int fd)
{
    uint8_t byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

static uint64_t evicted(const struct fixture *f)
{
    return metrics_read(&f->worker.metrics, DNSD_COUNTER_TCP_EVICTED);
}

static void answers_leave_in_the_order_they_are_ready(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 10000, 600000);
    int fd = dial(&f, 1);
    f.wants_hold = true;
    for (uint8_t i = 0; i < 4; i++) {
        ask(fd, i);
    }
    run_until_held(&f, 4);
    static const uint8_t order[] = {2, 0, 3, 1};
    for (size_t i = 0; i < 4; i++) {
        send_reply(&f.held[order[i]], order[i], 30);
        assert_int_equal(take(&f, fd), order[i]);
    }
    assert_true(is_open(fd));
    (void)close(fd);
    stop(&f);
}

/* Beyond the limit nothing is read, and so nothing is lost. */
static void questions_in_flight_are_limited(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 10000, 600000);
    int fd = dial(&f, 1);
    f.wants_hold = true;
    for (int i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX + 10; i++) {
        ask(fd, (uint8_t)i);
    }
    run_until_held(&f, LISTEN_TCP_IN_FLIGHT_MAX);
    for (int i = 0; i < 20; i++) {
        ev_run(f.worker.loop, EVRUN_NOWAIT);
    }
    assert_int_equal(f.held_count, LISTEN_TCP_IN_FLIGHT_MAX);
    for (size_t i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX + 10; i++) {
        run_until_held(&f, i + 1);
        send_reply(&f.held[i], f.marks[i], 30);
        assert_int_equal(take(&f, fd), (int)i);
    }
    (void)close(fd);
    stop(&f);
}

/* By a question that has been read, although nothing more comes from the client. */
static void the_first_answer_frees_a_place(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 10000, 600000);
    int fd = dial(&f, 1);
    f.wants_hold = true;
    for (int i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX + 2; i++) {
        ask(fd, (uint8_t)i);
    }
    run_until_held(&f, LISTEN_TCP_IN_FLIGHT_MAX);
    for (size_t i = 0; i < 2; i++) {
        send_reply(&f.held[i], f.marks[i], REPLY_MAX);
        assert_int_equal(f.held_count, LISTEN_TCP_IN_FLIGHT_MAX + i + 1);
        assert_int_equal(take(&f, fd), (int)i);
    }
    (void)close(fd);
    stop(&f);
}

/* However long the answers are and however late they are read: none is lost. */
static void a_late_reader_gets_every_answer(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 10000, 600000);
    int fd = dial(&f, 1);
    f.wants_hold = true;
    f.reply_len = REPLY_MAX;
    for (int i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) {
        ask(fd, (uint8_t)i);
    }
    run_until_held(&f, LISTEN_TCP_IN_FLIGHT_MAX);
    for (size_t i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) { /* all of them at the same time */
        send_reply(&f.held[i], f.marks[i], REPLY_MAX);
    }
    f.wants_hold = false;
    for (int i = LISTEN_TCP_IN_FLIGHT_MAX; i < 200; i++) {
        ask(fd, (uint8_t)i);
    }
    for (int i = 0; i < 50; i++) {
        ev_run(f.worker.loop, EVRUN_NOWAIT);
    }
    assert_int_equal(listen_tcp_count(f.tcp), 1);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(take(&f, fd), i);
    }
    assert_int_equal(metrics_read(&f.worker.metrics, DNSD_COUNTER_UNSENT), 0);
    (void)close(fd);
    stop(&f);
}

static void count_call(void *ctx)
{
    ++*(int *)ctx;
}

/* A daemon that ends waits for what its clients have yet to take. */
static void draining_ends_behind_the_last_answer(void **state)
{
    (void)state;
    struct fixture f;
    int calls = 0;
    start(&f, 10000, 600000);
    int idle = dial(&f, 1);
    int fd = dial(&f, 1);
    f.wants_hold = true;
    for (int i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) {
        ask(fd, (uint8_t)i);
    }
    run_until_held(&f, LISTEN_TCP_IN_FLIGHT_MAX);
    listen_tcp_drain(f.tcp, count_call, &calls);
    assert_int_equal(take(&f, idle), -1);
    assert_int_equal(calls, 0);
    send_reply(&f.held[0], f.marks[0], REPLY_MAX);
    assert_int_equal(take(&f, fd), 0);
    f.wants_hold = false;
    ask(fd, 0x77); /* as long as it stands it is served */
    assert_int_equal(take(&f, fd), 0x77);
    for (size_t i = 1; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) {
        send_reply(&f.held[i], f.marks[i], REPLY_MAX);
    }
    for (int i = 1; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) {
        assert_int_equal(take(&f, fd), i);
    }
    assert_int_equal(take(&f, fd), -1);
    assert_int_equal(calls, 1);
    (void)close(idle);
    (void)close(fd);
    stop(&f);
}

static void draining_nothing_is_said_at_once(void **state)
{
    (void)state;
    struct fixture f;
    int calls = 0;
    start(&f, 10000, 600000);
    listen_tcp_drain(f.tcp, count_call, &calls);
    assert_int_equal(calls, 1);
    stop(&f);
}

/* One client with all the places: another one gets in, also past those that wait for an answer. */
static void a_client_keeps_no_other_out(void **state)
{
    (void)state;
    struct fixture f;
    int fds[LISTEN_TCP_CONNECTIONS_MAX];
    start(&f, 10000, 600000);
    f.wants_hold = true;
    for (size_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        fds[i] = dial(&f, 1);
        ask(fds[i], (uint8_t)i);
    }
    run_until_held(&f, LISTEN_TCP_CONNECTIONS_MAX);
    assert_int_equal(evicted(&f), 0);
    int more = dial(&f, 1); /* has the most, and no idle one */
    assert_int_equal(evicted(&f), 1);
    assert_int_equal(take(&f, more), -1);
    (void)close(more);
    int other = dial(&f, 2);
    assert_int_equal(evicted(&f), 2);
    assert_true(is_open(other));
    assert_int_equal(take(&f, fds[0]), -1); /* the one that was active longest ago */
    assert_true(is_open(fds[1]));
    f.wants_hold = false;
    ask(other, 77);
    assert_int_equal(take(&f, other), 77);
    send_reply(&f.held[0], 1, 30); /* whose connection has gone */
    assert_int_equal(metrics_read(&f.worker.metrics, DNSD_COUNTER_UNSENT), 1);
    send_reply(&f.held[9], 9, 30); /* now one of the client's is idle */
    assert_int_equal(take(&f, fds[9]), 9);
    int second = dial(&f, 2);
    assert_true(is_open(second));
    assert_int_equal(take(&f, fds[9]), -1);
    for (size_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        (void)close(fds[i]);
    }
    (void)close(other);
    (void)close(second);
    stop(&f);
}

static void an_idle_one_of_its_own_makes_room(void **state)
{
    (void)state;
    struct fixture f;
    int fds[LISTEN_TCP_CONNECTIONS_MAX];
    start(&f, 10000, 600000);
    for (size_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        fds[i] = dial(&f, i == 0 ? 2 : 1);
    }
    ask(fds[1], 5); /* so that it is not the one that was idle longest */
    assert_int_equal(take(&f, fds[1]), 5);
    int more = dial(&f, 1);
    assert_true(is_open(more));
    assert_true(is_open(fds[0])); /* longer idle, but of a client that has one only */
    assert_true(is_open(fds[1]));
    assert_int_equal(take(&f, fds[2]), -1);
    assert_int_equal(listen_tcp_count(f.tcp), LISTEN_TCP_CONNECTIONS_MAX);
    for (size_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        (void)close(fds[i]);
    }
    (void)close(more);
    stop(&f);
}

static void many_clients_with_one_each(void **state)
{
    (void)state;
    struct fixture f;
    int fds[LISTEN_TCP_CONNECTIONS_MAX];
    start(&f, 10000, 600000);
    f.wants_hold = true;
    for (size_t i = 0; i < 254; i++) {
        fds[i] = dial(&f, (uint8_t)(i + 1));
        ask(fds[i], 0);
    }
    fds[254] = dial(&f, 1);
    fds[255] = dial(&f, 2);
    ask(fds[255], 0);
    run_until_held(&f, 255);
    int more =
        dial(&f, 255); /* one with two gives one up: neither is idle of the second, 254 is of the first */
    assert_true(is_open(more));
    (void)close(more);
    for (size_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        (void)close(fds[i]);
    }
    stop(&f);
}

/* A byte now and then is no progress: neither of a question ... */
static void a_question_in_drops_ends_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 150, 600000);
    const int64_t started_ms = clock_mono_ms();
    int fd = dial(&f, 1);
    const uint8_t frame[2 + QUESTION_LEN] = {0, QUESTION_LEN};
    size_t sent = 0;
    while (listen_tcp_count(f.tcp) > 0) {
        if (sent < sizeof(frame) - 1 && clock_mono_ms() - started_ms > (int64_t)sent * 20) {
            (void)!send(fd, frame + sent++, 1, MSG_NOSIGNAL);
        }
        ev_run(f.worker.loop, EVRUN_NOWAIT);
    }
    assert_in_range(clock_mono_ms() - started_ms, 149, 5000);
    assert_true(sent < sizeof(frame) - 1); /* it was still at it */
    (void)close(fd);
    stop(&f);
}

/* ... nor of reading answers. */
static void answers_taken_in_drops_end_the_connection(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 200, 600000);
    int fd = dial(&f, 1);
    f.reply_len = REPLY_MAX;
    const int small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, (socklen_t)sizeof(small));
    for (int i = 0; i < 30; i++) {
        ask(fd, (uint8_t)i);
    }
    int64_t next_ms = clock_mono_ms();
    size_t taken = 0;
    while (listen_tcp_count(f.tcp) > 0 && taken < 200) {
        uint8_t drop[16];
        if (clock_mono_ms() >= next_ms) {
            taken += recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0 ? 1 : 0;
            next_ms += 25;
        }
        ev_run(f.worker.loop, EVRUN_NOWAIT);
    }
    assert_int_equal(listen_tcp_count(f.tcp), 0);
    assert_true(taken < 200);
    (void)close(fd);
    stop(&f);
}

/* What the client got whole, and what is counted as unsent, are all the answers there were. */
static void answers_that_wait_at_the_end_are_counted(void **state)
{
    (void)state;
    /* The kernel takes one round, and some of the next. */
    enum { ROUNDS = 2, ALL = ROUNDS * LISTEN_TCP_IN_FLIGHT_MAX };
    static uint8_t got[ROUNDS * LISTEN_TCP_UNSENT_MAX];
    struct fixture f;
    start(&f, 200, 600000);
    int fd = dial(&f, 1);
    const int small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, (socklen_t)sizeof(small));
    f.wants_hold = true;
    for (size_t round = 0; round < ROUNDS; round++) {
        f.held_count = 0;
        for (int i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) {
            ask(fd, (uint8_t)i);
        }
        run_until_held(&f, LISTEN_TCP_IN_FLIGHT_MAX);
        for (size_t i = 0; i < LISTEN_TCP_IN_FLIGHT_MAX; i++) {
            send_reply(&f.held[i], f.marks[i], REPLY_MAX - i);
        }
    }
    while (listen_tcp_count(f.tcp) > 0) {
        ev_run(f.worker.loop, EVRUN_ONCE);
    }
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, got + len, sizeof(got) - len, 0)) > 0) {
        len += (size_t)n;
    }
    size_t whole = 0;
    for (size_t at = 0; at + 2 < len; whole++) {
        at += 2 + REPLY_MAX - whole % LISTEN_TCP_IN_FLIGHT_MAX;
        if (at > len) {
            break;
        }
    }
    assert_in_range(whole, 1, ALL - 1);
    assert_int_equal(metrics_read(&f.worker.metrics, DNSD_COUNTER_UNSENT), ALL - whole);
    (void)close(fd);
    stop(&f);
}

/* Its life ends when what is in flight has been answered; a client that goes on asking connects anew. */
static void a_life_ends_behind_the_last_answer(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 10000, 120);
    const int64_t started_ms = clock_mono_ms();
    int fd = dial(&f, 1);
    int idle = dial(&f, 1);
    f.wants_hold = true;
    ask(fd, 1);
    run_until_held(&f, 1);
    assert_int_equal(take(&f, idle), -1);
    assert_in_range(clock_mono_ms() - started_ms, 119, 5000);
    ev_run(f.worker.loop, EVRUN_NOWAIT);
    assert_true(is_open(fd));
    send_reply(&f.held[0], 9, 30);
    assert_int_equal(take(&f, fd), 9);
    assert_int_equal(take(&f, fd), -1);
    (void)close(fd);
    (void)close(idle);
    stop(&f);
}

static void the_wire_has_odd_frames(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[20];
        size_t len;
        int answer; /* -1: the end without one */
    } rows[] = {
        {{0, 0}, 2, -1},                                             /* a frame of nothing is no question */
        {{0, 3, 0xff, 1, 2}, 5, -1},                                 /* a response */
        {{0xff, 0xff, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 14, 42}, /* too long: its header is answered */
        {{0x10, 0x01, 0, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
         14,
         43}, /* a byte more than a question may have */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        start(&f, 10000, 600000);
        int fd = dial(&f, 1);
        assert_int_equal(send(fd, rows[i].bytes, rows[i].len, MSG_NOSIGNAL), rows[i].len);
        if (rows[i].answer >= 0) {
            assert_int_equal(take(&f, fd), rows[i].answer);
        }
        assert_int_equal(take(&f, fd), -1);
        assert_int_equal(listen_tcp_count(f.tcp), 0);
        (void)close(fd);
        stop(&f);
    }
}

static void the_longest_question_and_answer_pass(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 10000, 600000);
    int fd = dial(&f, 1);
    static uint8_t frame[2 + LISTEN_TCP_MESSAGE_MAX] = {LISTEN_TCP_MESSAGE_MAX >> 8, 0, 0, 7};
    f.reply_len = REPLY_MAX;
    assert_int_equal(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), sizeof(frame));
    assert_int_equal(take(&f, fd), 7);
    assert_true(is_open(fd));
    (void)close(fd);
    stop(&f);
}

/* It was started again in vain, and silent until its idle time was over. */
static void deaf_after_a_failed_epoll_ctl(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 60000, 600000);
    int fd = dial(&f, 1);
    failing_epoll_adds(1);
    ev_run(f.worker.loop, EVRUN_NOWAIT);
    assert_int_equal(failing_epoll_left(), 0);
    assert_false(is_open(fd));
    (void)close(fd);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_leave_in_the_order_they_are_ready),
        cmocka_unit_test(questions_in_flight_are_limited),
        cmocka_unit_test(the_first_answer_frees_a_place),
        cmocka_unit_test(a_late_reader_gets_every_answer),
        cmocka_unit_test(draining_ends_behind_the_last_answer),
        cmocka_unit_test(draining_nothing_is_said_at_once),
        cmocka_unit_test(a_client_keeps_no_other_out),
        cmocka_unit_test(an_idle_one_of_its_own_makes_room),
        cmocka_unit_test(many_clients_with_one_each),
        cmocka_unit_test(a_question_in_drops_ends_the_connection),
        cmocka_unit_test(answers_taken_in_drops_end_the_connection),
        cmocka_unit_test(answers_that_wait_at_the_end_are_counted),
        cmocka_unit_test(a_life_ends_behind_the_last_answer),
        cmocka_unit_test(deaf_after_a_failed_epoll_ctl),
        cmocka_unit_test(the_wire_has_odd_frames),
        cmocka_unit_test(the_longest_question_and_answer_pass),
    };
    log_init("test_listen_tcp", LOG_ERROR, LOG_TEXT, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
