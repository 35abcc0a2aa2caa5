/* SPDX-License-Identifier: Apache-2.0 */
/* Whether there is a route depends on where this runs; a socket of our own says it as well. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/ipv6_route.h"

#include "tests/support/log_pipe.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static bool has_route(void)
{
    const struct sockaddr_in6 to = {
        .sin6_family = AF_INET6, .sin6_port = htons(53), .sin6_addr.s6_addr = {0x3f, 0xff, [15] = 1}};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool has = connect(fd, (const struct sockaddr *)&to, (socklen_t)sizeof(to)) == 0;
    (void)close(fd);
    return has;
}

static void asks_every_ten_seconds(void **state)
{
    (void)state;
    const bool real = has_route();
    struct ipv6_route r = {.has = false};
    assert_int_equal(ipv6_route_has(&r, 1000), real);
    r.has = !real; /* what is remembered is told ... */
    assert_int_equal(ipv6_route_has(&r, 10999), !real);
    assert_int_equal(ipv6_route_has(&r, 11000), real); /* ... until it is asked anew */
    assert_int_equal(ipv6_route_has(&r, 11001), real);
}

static void a_change_is_said_once(void **state)
{
    (void)state;
    struct log_pipe said;
    struct ipv6_route_news news = {0};
    struct ipv6_route one = {.news = &news}, other = {.news = &news};
    log_pipe_open(&said);
    const bool real = ipv6_route_has(&one, 1000);
    (void)ipv6_route_has(&other, 1000);
    (void)ipv6_route_has(&one, 11000);
    assert_int_equal(log_pipe_read(&said), 1);
    assert_non_null(strstr(said.text, " info "));
    assert_non_null(
        strstr(said.text, real ? "ipv6_route state=there effect=" : "ipv6_route state=none effect="));
    atomic_store(&news.said, 100); /* it was otherwise meanwhile */
    (void)ipv6_route_has(&one, 12000);
    assert_int_equal(log_pipe_read(&said), 0); /* not asked again yet */
    (void)ipv6_route_has(&other, 12000);
    (void)ipv6_route_has(&one, 21000);
    assert_int_equal(log_pipe_read(&said), 1);
    log_pipe_close(&said);
}

/* No descriptor says nothing about routes: AAAA must not vanish for ten seconds because of it. */
static void without_a_descriptor_what_was_known_stays(void **state)
{
    (void)state;
    const bool real = has_route();
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    struct ipv6_route yes = {.has = true, .is_known = true, .asked_ms = 1000};
    struct ipv6_route no = {.has = false, .is_known = true, .asked_ms = 1000};
    struct ipv6_route unknown = {.has = false};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const bool kept_yes = ipv6_route_has(&yes, 11000);
    const bool kept_no = ipv6_route_has(&no, 11000);
    const bool unknown_is = ipv6_route_has(&unknown, 11000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(kept_yes);
    assert_false(kept_no);
    assert_false(unknown_is);
    assert_int_equal(ipv6_route_has(&yes, 11001), real); /* at once, not in ten seconds */
    assert_int_equal(ipv6_route_has(&no, 11001), real);
    assert_int_equal(ipv6_route_has(&unknown, 11001), real);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_every_ten_seconds),
        cmocka_unit_test(a_change_is_said_once),
        cmocka_unit_test(without_a_descriptor_what_was_known_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
