/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk through a relay: when a direction is spliced and when no longer, that every byte arrives in order with
 * segments of every size and readers that pause, what becomes of bytes inside a pipe, and what happens where
 * splice(2) is refused. OPENSHELL_TEST_LONG moves 1 GiB each way instead of 64 MiB.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/relay_scene.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PERIOD 1048583U /* prime: no buffer, pipe or segment has a multiple of it */

static uint8_t *pattern; /* PERIOD bytes, and MIB more of their beginning */

static void make_pattern(void)
{
    uint64_t x = 88172645463325252U;
    pattern = malloc(PERIOD + MIB);
    assert_non_null(pattern);
    for (size_t i = 0; i < PERIOD; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = (uint8_t)x;
    }
    memcpy(pattern + PERIOD, pattern, MIB);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

/* One end of the relay: what it has written, what it has read, and for how many turns it does neither. */
struct end {
    size_t total, written, seen;
    uint32_t seed;
    unsigned write_pause, read_pause;
    bool is_finished; /* its FIN is sent */
};

/* Mostly what bulk is, but also single bytes, and bursts of small segments that fill a pipe's slots. */
static size_t pick_size(struct end *e)
{
    uint32_t r = next_random(&e->seed);
    switch (r % 8) {
    case 0:
        return 1 + r / 8 % 200;
    case 1:
        return 1 + r / 8 % 8192;
    default:
        return 1 + r / 8 % MIB;
    }
}

static bool is_pausing(unsigned *pause, uint32_t *seed)
{
    if (*pause > 0) {
        (*pause)--;
        return true;
    }
    if (next_random(seed) % 200 == 0) {
        *pause = 1 + next_random(seed) % 50;
    }
    return false;
}

static bool write_some(struct relay_scene *s, int side, struct end *e)
{
    if (e->is_finished || is_pausing(&e->write_pause, &e->seed)) {
        return false;
    }
    if (e->written == e->total) {
        e->is_finished = true;
        assert_int_equal(shutdown(s->app[side], SHUT_WR), 0);
        return true;
    }
    size_t len = pick_size(e);
    len = len < e->total - e->written ? len : e->total - e->written;
    ssize_t n = send(s->app[side], pattern + e->written % PERIOD, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    e->written += n > 0 ? (size_t)n : 0;
    return n > 0;
}

static bool read_some(struct relay_scene *s, int side, struct end *e, const struct end *writer)
{
    static uint8_t chunk[MIB];
    if (e->seen == writer->total || is_pausing(&e->read_pause, &e->seed)) {
        return false;
    }
    ssize_t n = recv(s->app[side], chunk, pick_size(e), MSG_DONTWAIT);
    if (n <= 0) {
        assert_true(n < 0 && errno == EAGAIN); /* no end before everything was seen, and no reset */
        return false;
    }
    assert_memory_equal(chunk, pattern + e->seen % PERIOD, (size_t)n);
    e->seen += (size_t)n;
    return true;
}

static size_t torrent_bytes(void)
{
    return getenv("OPENSHELL_TEST_LONG") != NULL ? 1024 * MIB : 64 * MIB;
}

/* Both ways at once, until both have finished. Returns how often a pipe was seen in use. */
static size_t run_torrent(size_t total, uint32_t seed)
{
    struct relay_scene s;
    struct end end[2] = {{.total = total, .seed = seed}, {.total = total, .seed = seed + 1}};
    size_t piped = 0;
    char c;
    relay_scene_start(&s, "");
    while (end[0].seen < total || end[1].seen < total || s.ended == 0) {
        if (s.ended != 0 && s.relay.end.must_reset) {
            fail_msg("seed %u: cut off after %zu and %zu bytes", seed, end[0].seen, end[1].seen);
        }
        bool is_moving = false;
        for (int side = 0; side < 2; side++) {
            is_moving = write_some(&s, side, &end[side]) || is_moving;
            is_moving = read_some(&s, side, &end[side], &end[1 - side]) || is_moving;
            piped += s.relay.leg[side].pipe != NULL ? 1 : 0;
        }
        if (is_moving ||
            end[0].write_pause + end[1].write_pause + end[0].read_pause + end[1].read_pause > 0) {
            ev_run(relay_scene_env.loop, EVRUN_NOWAIT);
        } else {
            relay_scene_turn();
        }
    }
    for (int side = 0; side < 2; side++) {
        assert_int_equal(recv(s.app[side], &c, 1, MSG_DONTWAIT), 0);
        assert_int_equal(s.relay.leg[side].sent_bytes, total);
    }
    assert_int_equal(s.half_closed, 1);
    assert_false(s.relay.end.must_reset);
    relay_scene_stop(&s);
    return piped;
}

static void test_torrent(void **state)
{
    (void)state;
    uint32_t seed = (uint32_t)clock_mono_ms();
    printf("seed %u\n", seed); /* of a failure */
    assert_true(run_torrent(torrent_bytes(), seed) > 0);
}

/* Sends one piece and lets it arrive whole. */
static void exchange(struct relay_scene *s, size_t len)
{
    uint8_t *got = malloc(len);
    assert_non_null(got);
    assert_int_equal(send(s->app[0], pattern, len, MSG_NOSIGNAL | MSG_DONTWAIT), len);
    assert_int_equal(relay_scene_read(s, 1, got, len), len);
    assert_memory_equal(got, pattern, len);
    free(got);
}

static void test_promotion_and_demotion(void **state)
{
    (void)state;
    struct relay_scene s;
    relay_scene_start(&s, "");
    const struct relay_leg *from = &s.relay.leg[RELAY_CLIENT];
    exchange(&s, 100);
    assert_int_equal(from->full_reads, 0);
    for (int i = 0; i < 1000 && from->full_reads < RELAY_BULK_READS; i++) {
        exchange(&s, RELAY_BUFFER_BYTES);
    }
    assert_int_equal(from->full_reads, RELAY_BULK_READS);
    assert_int_equal(s.relay.leg[RELAY_UPSTREAM].full_reads, 0); /* the other direction is none */
    size_t opened = relay_scene_pipes.spare_count;
    exchange(&s, RELAY_BUFFER_BYTES); /* spliced, and at rest again */
    assert_true(relay_scene_pipes.spare_count >= opened && relay_scene_pipes.spare_count > 0);
    assert_int_equal(relay_scene_pipes.lent_count, 0);
    for (int i = 0; i < 10 && from->full_reads > 0;
         i++) { /* a wake-up may have been a late half of the last */
        exchange(&s, 100);
    }
    assert_int_equal(from->full_reads, 0);
    relay_scene_stop(&s);
}

/* Inside the pipe when the writer finishes: they come before the FIN. */
static void test_half_close_behind_a_pipe(void **state)
{
    (void)state;
    for (int from = 0; from < 2; from++) {
        struct relay_scene s;
        relay_scene_start(&s, "");
        size_t written = relay_scene_fill(&s, from, true);
        assert_int_equal(shutdown(s.app[from], SHUT_WR), 0);
        for (int i = 0; i < 5; i++) {
            ev_run(relay_scene_env.loop, EVRUN_NOWAIT);
        }
        assert_int_equal(s.half_closed, 0);
        uint8_t *got = malloc(written + 1);
        assert_non_null(got);
        assert_int_equal(relay_scene_read(&s, 1 - from, got, written + 1), written);
        for (size_t i = 0; i < written; i++) {
            assert_int_equal(got[i], relay_scene_byte(i));
        }
        free(got);
        assert_int_equal(s.half_closed, 1);
        assert_null(s.relay.leg[1 - from].pipe);
        relay_scene_stop(&s);
    }
}

/* One side finished long ago; the other sends more than fits, then finishes too, while nothing of it is read:
 * the kernel calls that a hang-up, as it does a reset. */
static void test_both_fins_while_paused(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int from = i & 1;
        struct relay_scene s;
        uint8_t c;
        relay_scene_start(&s, "");
        assert_int_equal(shutdown(s.app[1 - from], SHUT_WR), 0);
        assert_int_equal(relay_scene_read(&s, from, &c, 1), 0);
        size_t written = relay_scene_fill(&s, from, i > 1);
        uint8_t *got = malloc(written + 1);
        assert_non_null(got);
        relay_scene_close_app(&s, from);
        for (int k = 0; k < 5; k++) {
            relay_scene_turn();
        }
        assert_int_equal(s.ended, 0);
        assert_true(relay_scene_is_quiet()); /* it is reported once, not at every turn */
        assert_int_equal(relay_scene_read(&s, 1 - from, got, written + 1), written);
        for (size_t k = 0; k < written; k++) {
            assert_int_equal(got[k], relay_scene_byte(k));
        }
        free(got);
        relay_scene_wait_ended(&s);
        assert_false(s.relay.end.must_reset);
        assert_int_equal(s.relay.end.reason, from == 0 ? REASON_UPSTREAM_CLOSED : REASON_CLIENT_CLOSED);
        relay_scene_stop(&s);
    }
}

/* Stopped from outside: what is inside a pipe is known to be unsent, and the pipe is not used again. */
static void test_stop_with_a_full_pipe(void **state)
{
    (void)state;
    struct relay_scene s;
    relay_scene_start(&s, "");
    (void)relay_scene_fill(&s, RELAY_CLIENT, true);
    size_t spare = relay_scene_pipes.spare_count;
    assert_true(relay_has_unsent(&s.relay));
    relay_stop(&s.relay);
    assert_false(relay_has_unsent(&s.relay));
    assert_int_equal(relay_scene_pipes.spare_count, spare);
    relay_scene_stop(&s);
}

/* The stalled reader says something, then resets, while a pipe full of bytes waits for it: its last words
 * arrive. */
static void test_last_words_beside_a_pipe(void **state)
{
    (void)state;
    struct relay_scene s;
    char text[4];
    relay_scene_start(&s, "");
    (void)relay_scene_fill(&s, RELAY_CLIENT, true);
    relay_scene_put(&s, RELAY_UPSTREAM, "413");
    relay_scene_reset_app(&s, RELAY_UPSTREAM);
    relay_scene_wait_ended(&s);
    assert_int_equal(s.relay.end.reason, REASON_UPSTREAM_RESET);
    if (relay_scene_read(&s, RELAY_CLIENT, text, 3) == 3) {
        assert_memory_equal(text, "413", 3);
        assert_false(s.relay.end.must_reset);
    } else { /* the reset has emptied the receive queue: what the kernel took away cannot be handed on */
        assert_true(s.relay.end.must_reset);
    }
    relay_scene_stop(&s);
}

static void test_no_pipe_left(void **state)
{
    (void)state;
    struct pipe_lent *lent[PIPE_POOL_MAX];
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        lent[i] = pipe_pool_take(&relay_scene_pipes);
        assert_non_null(lent[i]);
    }
    struct relay_scene s;
    relay_scene_start(&s, "");
    s.relay.leg[RELAY_CLIENT].full_reads = RELAY_BULK_READS;
    exchange(&s, RELAY_BUFFER_BYTES);
    assert_int_equal(relay_scene_pipes.lent_count, PIPE_POOL_MAX);
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        pipe_pool_give(&relay_scene_pipes, lent[i]);
    }
    relay_scene_stop(&s);
}

#define SKIPPED 77 /* this kernel has no seccomp filters */

/* From here on splice(2) fails with the error, for this process: always, or only if it writes to out_fd. */
static bool forbid_splice(int error, int out_fd)
{
    const uint32_t low_half = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
    const uint8_t unless_equal = out_fd < 0 ? 0 : 1;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_splice, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, args[2]) + low_half),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)out_fd, 0, unless_equal),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Runs in a process of its own, which a filter stays with. */
static void in_a_child(void (*run)(int error), int error)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* The loop's epoll instances are the parent's as well: a program's own are made. */
        memset(&relay_scene_env, 0, sizeof relay_scene_env);
        memset(&relay_scene_pipes, 0, sizeof relay_scene_pipes);
        if (relay_scene_init() != 0) {
            _exit(99);
        }
        run(error);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        skip();
    }
    assert_int_equal(status, 0);
}

static void run_refused(int error)
{
    if (!forbid_splice(error, -1)) {
        _exit(SKIPPED);
    }
    size_t piped = run_torrent(4 * MIB, 1);
    if (piped != 0 || !relay_scene_pipes.is_refused || relay_scene_pipes.spare_count != 0) {
        _exit(1);
    }
}

static void test_splice_is_refused(void **state)
{
    (void)state;
    in_a_child(run_refused, EPERM);
    in_a_child(run_refused, ENOSYS);
    in_a_child(run_refused, EINVAL);
}

/* The pipe is full when it turns out that the socket cannot be spliced to. */
static void run_refused_late(int error)
{
    struct relay_scene s;
    relay_scene_start(&s, "");
    size_t written = relay_scene_fill(&s, RELAY_CLIENT, true);
    if (!forbid_splice(error, s.inner[RELAY_UPSTREAM])) {
        _exit(SKIPPED);
    }
    uint8_t *got = malloc(written);
    assert_non_null(got);
    assert_int_equal(relay_scene_read(&s, RELAY_UPSTREAM, got, written), written);
    for (size_t i = 0; i < written; i++) {
        if (got[i] != relay_scene_byte(i)) {
            _exit(1);
        }
    }
    free(got);
    if (!relay_scene_pipes.is_refused || relay_has_unsent(&s.relay)) {
        _exit(2);
    }
    relay_scene_stop(&s);
}

static void test_splice_is_refused_with_a_full_pipe(void **state)
{
    (void)state;
    in_a_child(run_refused_late, EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torrent),
        cmocka_unit_test(test_promotion_and_demotion),
        cmocka_unit_test(test_half_close_behind_a_pipe),
        cmocka_unit_test(test_both_fins_while_paused),
        cmocka_unit_test(test_stop_with_a_full_pipe),
        cmocka_unit_test(test_last_words_beside_a_pipe),
        cmocka_unit_test(test_no_pipe_left),
        cmocka_unit_test(test_splice_is_refused),
        cmocka_unit_test(test_splice_is_refused_with_a_full_pipe),
    };
    int rc = relay_scene_init();
    if (rc == 0) {
        make_pattern();
        rc = cmocka_run_group_tests(tests, NULL, NULL);
        free(pattern);
        relay_scene_fini();
    }
    return rc;
}
