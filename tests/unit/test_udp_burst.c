/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/udp_burst.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    struct udp_burst burst;
    int to[2], from[2]; /* datagrams sent into to[i] come out of from[i] */
    struct udp_burst_item *handles[UDP_BURST_MAX + 1];
    unsigned failures;
    int last_error;
};

static struct fixture f;

static int set_up(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    for (size_t i = 0; i < 2; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
        f.to[i] = pair[0];
        f.from[i] = pair[1];
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        (void)close(f.to[i]);
        (void)close(f.from[i]);
    }
    return 0;
}

static void on_failed(void *ctx, int error)
{
    assert_ptr_equal(ctx, &f);
    f.failures++;
    f.last_error = error;
    udp_burst_drop(&f.handles[2]);
}

static void want(int fd, const char *text)
{
    char got[64];
    ssize_t n = recv(fd, got, sizeof(got), 0);
    assert_int_equal(n, text == NULL ? -1 : (ssize_t)strlen(text));
    if (text != NULL) {
        assert_memory_equal(got, text, (size_t)n);
    }
}

static void test_sent_at_the_end(void **state)
{
    (void)state;
    assert_true(udp_burst_add(&f.burst, f.to[0], SPAN_LIT("one"), &f, &f.handles[0]));
    assert_true(udp_burst_add(&f.burst, f.to[1], SPAN_LIT("two"), &f, &f.handles[1]));
    assert_true(udp_burst_add(&f.burst, f.to[0], SPAN_LIT("three"), &f, &f.handles[2]));
    want(f.from[0], NULL);
    udp_burst_drop(&f.handles[0]);
    udp_burst_drop(&f.handles[0]); /* once more does no harm */
    udp_burst_send(&f.burst, on_failed);
    want(f.from[0], "three");
    want(f.from[0], NULL);
    want(f.from[1], "two");
    assert_null(f.handles[1]);
    udp_burst_send(&f.burst, on_failed); /* nothing is left */
    want(f.from[1], NULL);
    assert_int_equal(f.failures, 0);
}

/* Who hears of a failure may drop others that wait. */
static void test_failure(void **state)
{
    (void)state;
    (void)close(f.from[0]);
    assert_true(udp_burst_add(&f.burst, f.to[0], SPAN_LIT("one"), &f, &f.handles[0]));
    assert_true(udp_burst_add(&f.burst, f.to[1], SPAN_LIT("two"), &f, &f.handles[1]));
    assert_true(udp_burst_add(&f.burst, f.to[1], SPAN_LIT("three"), &f, &f.handles[2]));
    udp_burst_send(&f.burst, on_failed);
    assert_int_equal(f.failures, 1);
    assert_int_equal(f.last_error, ECONNREFUSED);
    want(f.from[1], "two");
    want(f.from[1], NULL);
    f.from[0] = -1;
}

static void test_bounds(void **state)
{
    (void)state;
    static const uint8_t bytes[UDP_BURST_BYTES_MAX + 1] = {0};
    assert_false(udp_burst_add(&f.burst, f.to[0], span_make(bytes, sizeof(bytes)), &f, &f.handles[0]));
    assert_null(f.handles[0]);
    for (size_t i = 0; i < UDP_BURST_MAX; i++) {
        assert_true(udp_burst_add(&f.burst, f.to[0], SPAN_LIT("x"), &f, &f.handles[i]));
    }
    assert_false(udp_burst_add(&f.burst, f.to[0], SPAN_LIT("x"), &f, &f.handles[UDP_BURST_MAX]));
    assert_null(f.handles[UDP_BURST_MAX]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sent_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("udp_burst", tests, NULL, NULL);
}
