/* SPDX-License-Identifier: Apache-2.0 */
/* The relay in every state of its two sides, copying and splicing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/relay_scene.h"

#include <stdio.h>
#include <sys/socket.h>

static void test_both_ways_and_early_bytes(void **state)
{
    (void)state;
    struct relay_scene rig;
    char text[32] = "";
    relay_scene_start(&rig, "early ");
    relay_scene_put(&rig, RELAY_CLIENT, "ping");
    assert_int_equal(relay_scene_read(&rig, RELAY_UPSTREAM, text, 10), 10);
    assert_memory_equal(text, "early ping", 10);
    relay_scene_put(&rig, RELAY_UPSTREAM, "pong");
    assert_int_equal(relay_scene_read(&rig, RELAY_CLIENT, text, 4), 4);
    assert_memory_equal(text, "pong", 4);
    assert_int_equal(rig.relay.leg[RELAY_UPSTREAM].sent_bytes, 10);
    assert_int_equal(rig.relay.leg[RELAY_CLIENT].sent_bytes, 4);
    assert_false(relay_has_unsent(&rig.relay));
    relay_scene_stop(&rig);
}

static void half_close(int first, enum reason want)
{
    struct relay_scene rig;
    char text[64];
    int second = 1 - first;
    relay_scene_start(&rig, "");
    relay_scene_put(&rig, first, "request");
    assert_int_equal(shutdown(rig.app[first], SHUT_WR), 0);
    assert_int_equal(relay_scene_read(&rig, second, text, sizeof text), 7); /* and then its FIN */
    assert_int_equal(rig.half_closed, 1);
    assert_int_equal(rig.ended, 0);
    relay_scene_put(&rig, second, "a later answer");
    assert_int_equal(relay_scene_read(&rig, first, text, 14), 14);
    relay_scene_close_app(&rig, second);
    relay_scene_wait_ended(&rig);
    assert_int_equal(rig.half_closed, 1);
    assert_int_equal(rig.relay.end.reason, want);
    assert_int_equal(rig.relay.end.side, first);
    assert_false(rig.relay.end.must_reset);
    relay_scene_stop(&rig);
}

static void test_half_close_client_first(void **state)
{
    (void)state;
    half_close(RELAY_CLIENT, REASON_CLIENT_CLOSED);
}

static void test_half_close_upstream_first(void **state)
{
    (void)state;
    half_close(RELAY_UPSTREAM, REASON_UPSTREAM_CLOSED);
}

/* A writer that is never throttled would fill memory: the tail is bounded, and every byte arrives in order.
 */
static void test_back_pressure(void **state)
{
    (void)state;
    enum { TOTAL = 4 << 20 };
    struct relay_scene rig;
    uint8_t chunk[8192];
    size_t written = 0;
    size_t seen = 0;
    relay_scene_start(&rig, "");
    for (int turns = 0; seen < TOTAL && turns < 100000; turns++) {
        for (size_t i = 0; i < sizeof chunk; i++) {
            chunk[i] = relay_scene_byte(written + i);
        }
        ssize_t put =
            written < TOTAL ? send(rig.app[0], chunk, sizeof chunk, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        written += put > 0 ? (size_t)put : 0;
        ev_run(relay_scene_env.loop, EVRUN_NOWAIT);
        assert_true(rig.relay.leg[RELAY_UPSTREAM].unsent.len <= RELAY_BUFFER_BYTES);
        /* The reader is the slower one, so that the tail is in use most of the time. */
        ssize_t got = recv(rig.app[1], chunk, put > 0 ? sizeof chunk / 2 : sizeof chunk, MSG_DONTWAIT);
        for (ssize_t i = 0; i < got; i++) {
            assert_int_equal(chunk[i], relay_scene_byte(seen + (size_t)i));
        }
        seen += got > 0 ? (size_t)got : 0;
        if (put <= 0 && got <= 0) {
            relay_scene_turn();
        }
    }
    assert_true(seen >= TOTAL);
    relay_scene_stop(&rig);
}

static void want_reset(struct relay_scene *rig, int side)
{
    relay_scene_wait_ended(rig);
    assert_int_equal(rig->relay.end.reason,
                     side == RELAY_CLIENT ? REASON_CLIENT_RESET : REASON_UPSTREAM_RESET);
    assert_int_equal(rig->relay.end.side, side);
    assert_true(rig->relay.end.must_reset);
}

static void test_reset_while_idle(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct relay_scene rig;
        relay_scene_start(&rig, "");
        relay_scene_reset_app(&rig, side);
        want_reset(&rig, side);
        relay_scene_stop(&rig);
    }
}

/* The writer is not read meanwhile, and nothing is to be written to it: only the second epoll sees its reset.
 */
static void test_reset_while_paused(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int side = i & 1;
        bool is_bulk = i > 1;
        struct relay_scene rig;
        relay_scene_start(&rig, "");
        (void)relay_scene_fill(&rig, side, is_bulk);
        relay_scene_reset_app(&rig, side);
        want_reset(&rig, side);
        relay_scene_stop(&rig);
    }
}

static void test_reset_of_the_stalled_reader(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int side = i & 1;
        bool is_bulk = i > 1;
        struct relay_scene rig;
        relay_scene_start(&rig, "");
        (void)relay_scene_fill(&rig, 1 - side, is_bulk);
        relay_scene_reset_app(&rig, side);
        want_reset(&rig, side);
        relay_scene_stop(&rig);
    }
}

static void test_reset_after_half_close(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        for (int finished = 0; finished < 2; finished++) {
            struct relay_scene rig;
            char c;
            relay_scene_start(&rig, "");
            assert_int_equal(shutdown(rig.app[finished], SHUT_WR), 0);
            assert_int_equal(relay_scene_read(&rig, 1 - finished, &c, 1), 0);
            relay_scene_reset_app(&rig, side);
            want_reset(&rig, side);
            relay_scene_stop(&rig);
        }
    }
}

/* A server answers, then resets an upload that it did not read. The upload finds out first: the client still
 * gets the answer. */
static void test_last_words_before_a_reset(void **state)
{
    (void)state;
    struct relay_scene rig;
    char text[16];
    relay_scene_start(&rig, "");
    relay_scene_put(&rig, RELAY_CLIENT, "upload");
    assert_int_equal(relay_scene_read(&rig, RELAY_UPSTREAM, text, 1),
                     1); /* the rest stays unread: close() resets */
    ev_io_stop(relay_scene_env.loop, &rig.relay.leg[RELAY_UPSTREAM].io);
    relay_scene_put(&rig, RELAY_UPSTREAM, "413");
    relay_scene_reset_app(&rig, RELAY_UPSTREAM);
    relay_scene_put(&rig, RELAY_CLIENT, "more");
    relay_scene_wait_ended(&rig);
    assert_int_equal(rig.relay.end.reason, REASON_UPSTREAM_RESET);
    assert_false(rig.relay.end.must_reset); /* that could take the answer away from the client again */
    assert_int_equal(relay_scene_read(&rig, RELAY_CLIENT, text, 3), 3);
    assert_memory_equal(text, "413", 3);
    relay_scene_stop(&rig);
}

/* An idle tunnel costs no wake-ups: nothing is pending for it, also in every half-closed form. */
static void test_no_spinning(void **state)
{
    (void)state;
    for (int n = 0; n < 4; n++) {
        int finished = n & 1;
        struct relay_scene rig;
        char c;
        relay_scene_start(&rig, "");
        assert_int_equal(shutdown(rig.app[finished], SHUT_WR), 0);
        assert_int_equal(relay_scene_read(&rig, 1 - finished, &c, 1), 0);
        (void)relay_scene_fill(&rig, 1 - finished, n > 1);
        assert_true(relay_scene_is_quiet());
        relay_scene_stop(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways_and_early_bytes),
        cmocka_unit_test(test_half_close_client_first),
        cmocka_unit_test(test_half_close_upstream_first),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_reset_while_idle),
        cmocka_unit_test(test_reset_while_paused),
        cmocka_unit_test(test_reset_of_the_stalled_reader),
        cmocka_unit_test(test_reset_after_half_close),
        cmocka_unit_test(test_last_words_before_a_reset),
        cmocka_unit_test(test_no_spinning),
    };
    int rc = relay_scene_init();
    if (rc == 0) {
        rc = cmocka_run_group_tests(tests, NULL, NULL);
        relay_scene_fini();
    }
    return rc;
}
