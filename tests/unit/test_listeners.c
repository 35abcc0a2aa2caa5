/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/listeners.h"

#include "common/net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct str_list list_of(const char **items, size_t count)
{
    return (struct str_list){.items = items, .count = count};
}

static void checks_each_address(void **state)
{
    (void)state;
    const char *good[] = {"127.0.0.1", "127.0.0.1:0", "[::1]:5353", "0.0.0.0:54"};
    const struct str_list all = list_of(good, 4);
    struct err err = {0};
    assert_int_equal(listeners_check(&all, NULL, &err), 0);
    const char *bad[] = {"", "localhost", "127.0.0.1:x", "127.0.0.1:65536", "::1]:53", "1.2.3"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct str_list one = list_of(&bad[i], 1);
        assert_int_equal(listeners_check(&one, NULL, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--listen"));
    }
    const char *twice[] = {"127.0.0.1", "127.0.0.1:53"};
    const struct str_list both = list_of(twice, 2);
    const struct str_list first = list_of(twice, 1);
    assert_int_equal(listeners_check(&both, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--listen 127.0.0.1 and --listen 127.0.0.1:53 "));
    assert_int_equal(listeners_check(&first, "127.0.0.1:53", &err), -EINVAL);
    assert_non_null(strstr(err.text, "--admin 127.0.0.1:53 "));
    assert_int_equal(listeners_check(&first, "unix:/run/admin", &err), 0);
}

static void foresees_what_will_be_bound(void **state)
{
    (void)state;
    const char *items[] = {"127.0.0.1", "127.0.0.2:0", "[::]:5300"};
    const struct str_list listen = list_of(items, 3);
    struct listeners l = {0};
    struct err err = {0};
    assert_int_equal(listeners_foresee(&l, &listen, &err), 0);
    assert_int_equal(l.count, 2); /* of port 0 nobody knows the number yet */
    static const struct {
        const char *upstream;
        bool is_own;
    } rows[] = {{"127.0.0.1:53", true}, {"127.0.0.2:53", false}, {"127.0.0.1:5300", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr upstream;
        assert_int_equal(addr_parse(span_str(rows[i].upstream), 0, &upstream), 0);
        assert_int_equal(listeners_check_upstreams(&l, &upstream, 1, &err), rows[i].is_own ? -EINVAL : 0);
    }
    listeners_fini(&l);
}

static void binds_both_protocols_for_every_worker(void **state)
{
    (void)state;
    const char *items[] = {"127.0.0.1:0", "127.0.0.2:0"};
    const struct str_list listen = list_of(items, 2);
    struct listeners l = {0};
    struct err err = {0};
    assert_int_equal(listeners_bind(&l, &listen, 3, &err), 0);
    assert_int_equal(l.count, 2 * 2 * 3);
    struct addr distinct[8];
    assert_int_equal(listeners_addrs(&l, distinct, 8), 2);
    assert_int_equal(listeners_addrs(&l, distinct, 1), 1);
    size_t per_worker[3] = {0};
    for (size_t i = 0; i < l.count; i++) {
        bool is_listening = false;
        assert_int_equal(sock_type(l.items[i].fd, &is_listening),
                         l.items[i].is_tcp ? SOCK_STREAM : SOCK_DGRAM);
        assert_int_equal(is_listening, l.items[i].is_tcp);
        assert_int_not_equal(l.items[i].local.port, 0);
        per_worker[l.items[i].worker]++;
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(per_worker[i], 4);
    }
    listeners_fini(&l);
    assert_int_equal(l.count, 0);
}

static void a_port_in_use_is_an_error_for_any_number_of_workers(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        const char *any[] = {"127.0.0.1:0"};
        const struct str_list listen = list_of(any, 1);
        struct listeners first = {0};
        struct listeners second = {0};
        struct err err = {0};
        assert_int_equal(listeners_bind(&first, &listen, workers, &err), 0);
        char text[ADDR_TEXT_CAP];
        const char *same[] = {addr_text(&first.items[0].local, text)};
        const struct str_list again = list_of(same, 1);
        assert_int_equal(listeners_bind(&second, &again, workers, &err), -EADDRINUSE);
        assert_non_null(strstr(err.text, same[0]));
        listeners_fini(&first);
        listeners_fini(&second);
    }
}

/* Fills what listen_fds_take() would have: ownership of the descriptors goes to the listeners. */
static void pass(struct listen_fds *out, int *fds, const char **names, size_t count)
{
    *out = (struct listen_fds){.fds = fds, .names = names, .count = count};
}

static int bound(int type)
{
    const struct addr a = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    int fd = type == SOCK_STREAM ? sock_listen_tcp(&a, false, NULL) : sock_listen_udp(&a, false, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void adopts_passed_sockets_in_turn(void **state)
{
    (void)state;
    int fds[] = {bound(SOCK_DGRAM), bound(SOCK_STREAM), bound(SOCK_DGRAM), bound(SOCK_DGRAM)};
    const char *names[] = {"dns", "dns", "dns", "dns"};
    struct listen_fds passed;
    struct listeners l = {0};
    struct err err = {0};
    pass(&passed, fds, names, 4);
    assert_int_equal(listeners_adopt(&l, &passed, 2, &err), 0);
    assert_true(l.is_passed);
    assert_int_equal(l.count, 4);
    const unsigned workers[] = {0, 0, 1, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(l.items[i].worker, workers[i]);
        assert_int_equal(l.items[i].is_tcp, i == 1);
        assert_int_equal(fds[i], -1);
    }
    listeners_fini(&l);
}

static void refuses_passed_sockets_of_another_kind(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int unconnected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(unconnected >= 0);
        int fds[] = {i == 0 ? bound(SOCK_DGRAM) : unconnected};
        const char *names[] = {i == 0 ? "connect" : "dns"};
        if (i == 0) {
            (void)close(unconnected);
        }
        if (i == 2) {
            (void)close(fds[0]);
            fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        }
        if (i == 3) { /* said "Address family not supported by protocol", with 71, and not which */
            (void)close(fds[0]);
            fds[0] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        }
        char number[32];
        (void)snprintf(number, sizeof(number), "passed descriptor %d, ", fds[0]);
        struct listen_fds passed;
        struct listeners l = {0};
        struct err err = {0};
        pass(&passed, fds, names, 1);
        assert_int_equal(listeners_adopt(&l, &passed, 1, &err), -EINVAL);
        assert_non_null(strstr(err.text, names[0]));
        assert_non_null(strstr(err.text, number));
        listeners_fini(&l);
    }
}

static void an_upstream_may_not_be_a_listener(void **state)
{
    (void)state;
    struct dnsd_socket socket = {.fd = -1};
    static const struct {
        const char *listen, *upstream;
        bool is_same, is_v6_only;
    } rows[] = {
        {"127.0.0.1:5300", "127.0.0.1:5300", true, false},
        {"127.0.0.1:5300", "127.0.0.1:5301", false, false},
        {"127.0.0.1:5300", "127.0.0.2:5300", false, false},
        {"127.0.0.1:5300", "[::ffff:127.0.0.1]:5300", true, false},
        {"0.0.0.0:5300", "127.0.0.1:5300", true, false},
        {"0.0.0.0:5300", "127.5.5.5:5300", true, false},
        {"0.0.0.0:5300", "[::ffff:127.0.0.1]:5300", true, false},
        {"0.0.0.0:5300", "192.0.2.53:5300", false, false},
        {"[::]:5300", "127.0.0.1:5300", true, false}, /* a passed one may be dual-stack */
        {"[::]:5300", "127.0.0.1:5300", false, true},
        {"[::]:5300", "[::ffff:127.0.0.1]:5300", false, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr upstream;
        struct err err = {0};
        assert_int_equal(addr_parse(span_str(rows[i].listen), 0, &socket.local), 0);
        socket.is_v6_only = rows[i].is_v6_only;
        assert_int_equal(addr_parse(span_str(rows[i].upstream), 0, &upstream), 0);
        const struct listeners l = {.items = &socket, .count = 1};
        assert_int_equal(listeners_check_upstreams(&l, &upstream, 1, &err), rows[i].is_same ? -EINVAL : 0);
        if (rows[i].is_same) {
            assert_non_null(strstr(err.text, rows[i].listen));
            assert_non_null(strstr(err.text, rows[i].upstream));
        }
        /* Passed sockets of another network namespace only look alike. */
        const struct listeners other = {.items = &socket, .count = 1, .is_passed = true, .netns = UINT64_MAX};
        int fd = bound(SOCK_DGRAM);
        const bool is_told = sock_netns_cookie(fd) != 0;
        (void)close(fd);
        if (is_told) {
            assert_int_equal(listeners_check_upstreams(&other, &upstream, 1, &err), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_each_address),
        cmocka_unit_test(foresees_what_will_be_bound),
        cmocka_unit_test(binds_both_protocols_for_every_worker),
        cmocka_unit_test(a_port_in_use_is_an_error_for_any_number_of_workers),
        cmocka_unit_test(adopts_passed_sockets_in_turn),
        cmocka_unit_test(refuses_passed_sockets_of_another_kind),
        cmocka_unit_test(an_upstream_may_not_be_a_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
