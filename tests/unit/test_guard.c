/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/guard.h"

#include <errno.h>
#include <ifaddrs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct str_list list_of(const char **items)
{
    size_t count = 0;
    while (items[count] != NULL) {
        count++;
    }
    return (struct str_list){.items = items, .count = count};
}

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(span_str(text), 0, &a), 0);
    return a;
}

/* What the first item that covers the address and port says, or NULL. */
static const char *covered(const struct guard *g, const char *text)
{
    struct addr a = addr_of(text);
    for (size_t i = 0; i < g->view.count; i++) {
        const struct dest_never *n = &g->view.items[i];
        if ((n->port == 0 || n->port == a.port) && ip_prefix_contains(&n->prefix, &a.ip)) {
            return n->what;
        }
    }
    return NULL;
}

static void test_build(void **state)
{
    (void)state;
    struct guard g;
    struct settings_shared s = {.strict_private = true,
                                .pool = list_of((const char *[]){"198.18.0.0/15", "fd00:5e11::/64", NULL}),
                                .never = list_of((const char *[]){"10.43.0.1:443", "192.0.2.0/24", NULL})};
    const struct addr own[] = {addr_of("10.0.0.7:3128"), addr_of("[2001:db8::7]:53")};
    assert_int_equal(guard_build(&s, own, 2, &g, NULL), 0);
    assert_true(g.view.strict_private);
    assert_string_equal(covered(&g, "10.0.0.7:3128"), "own listener");
    assert_string_equal(covered(&g, "[2001:db8::7]:53"), "own listener");
    assert_null(covered(&g, "10.0.0.7:3129"));
    assert_null(covered(&g, "10.0.0.8:3128"));
    assert_string_equal(covered(&g, "198.19.255.255:1"), "synthetic pool");
    assert_string_equal(covered(&g, "[fd00:5e11::1]:443"), "synthetic pool");
    assert_string_equal(covered(&g, "10.43.0.1:443"), "--never");
    assert_null(covered(&g, "10.43.0.1:444"));
    assert_string_equal(covered(&g, "192.0.2.9:65535"), "--never");
    static const char *const ours[] = {"10.0.0.7:3128", "[2001:db8::7]:53", "0.0.0.0:9", "[::]:9",
                                       "[::ffff:10.0.0.9]:9"};
    static const char *const others[] = {"10.0.0.7:3129", "10.0.0.8:3128", "198.18.0.1:1", "10.43.0.1:443",
                                         "127.0.0.1:3128"};
    for (size_t i = 0; i < 5; i++) {
        assert_true(guard_is_own(&g, &(const struct addr[]){addr_of(ours[i])}[0]));
        assert_false(guard_is_own(&g, &(const struct addr[]){addr_of(others[i])}[0]));
    }
    guard_fini(&g);
    assert_int_equal(g.view.count, 0);
}

/* Listeners in the order of their ports, whatever theirs was; pools and --never behind them. */
static void test_in_order_of_ports(void **state)
{
    (void)state;
    struct guard g;
    struct settings_shared s = {.never = list_of((const char *[]){"192.0.2.0/24", NULL})};
    const struct addr own[] = {addr_of("10.0.0.7:3128"), addr_of("10.0.0.7:53"), addr_of("10.0.0.8:443"),
                               addr_of("10.0.0.9:53")};
    assert_int_equal(guard_build(&s, own, 4, &g, NULL), 0);
    assert_int_equal(g.view.by_port, 4);
    assert_int_equal(g.view.count, 5);
    for (size_t i = 1; i < 4; i++) {
        assert_true(g.view.items[i - 1].port <= g.view.items[i].port);
    }
    guard_fini(&g);
    const struct addr any_port = {.ip = ip_v4(10, 0, 0, 7)};
    assert_int_equal(guard_build(&s, &any_port, 1, &g, NULL), 0);
    assert_int_equal(g.view.by_port, 0);
    guard_fini(&g);
    assert_int_equal(guard_build(&s, NULL, 0, &g, NULL), 0);
    assert_int_equal(g.view.by_port, 0);
    guard_fini(&g);
}

static void test_many_items(void **state)
{
    (void)state;
    struct guard g;
    struct addr own[100];
    struct settings_shared s = {0};
    for (size_t i = 0; i < 100; i++) {
        own[i] = (struct addr){.ip = ip_v4(10, 0, 0, (uint8_t)i), .port = 53};
    }
    assert_int_equal(guard_build(&s, own, 100, &g, NULL), 0);
    assert_int_equal(g.view.count, 100);
    assert_string_equal(covered(&g, "10.0.0.99:53"), "own listener");
    guard_fini(&g);
}

/* Every address that getifaddrs knows is covered at the listener's port, and only there. */
static void check_wildcard(const char *listener, sa_family_t family)
{
    struct guard g;
    struct settings_shared s = {0};
    const struct addr own = addr_of(listener);
    struct ifaddrs *all = NULL;
    size_t seen = 0;
    assert_int_equal(guard_build(&s, &own, 1, &g, NULL), 0);
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        struct addr a;
        char text[ADDR_TEXT_CAP];
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != family ||
            addr_from_sockaddr(i->ifa_addr, sizeof(struct sockaddr_storage), &a) < 0) {
            continue;
        }
        a.port = own.port;
        assert_non_null(covered(&g, addr_text(&a, text)));
        a.port++;
        assert_null(covered(&g, addr_text(&a, text)));
        seen++;
    }
    freeifaddrs(all);
    assert_true(seen > 0 || family == AF_INET6);
    assert_null(covered(&g, "8.8.8.8:3128"));
    guard_fini(&g);
}

static void test_wildcard_listeners(void **state)
{
    (void)state;
    check_wildcard("0.0.0.0:3128", AF_INET);
    check_wildcard("[::]:3128", AF_INET);
    check_wildcard("[::]:3128", AF_INET6);
}

static void test_parse_never(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *base;
        uint8_t bits;
        uint16_t port;
    } good[] = {
        {"10.0.0.1", "10.0.0.1", 32, 0},        {"10.0.0.0/8", "10.0.0.0", 8, 0},
        {"10.0.0.0/8:443", "10.0.0.0", 8, 443}, {"10.0.0.1:65535", "10.0.0.1", 32, 65535},
        {"fd00::/8", "fd00::", 8, 0},           {"[fd00::/8]:443", "fd00::", 8, 443},
        {"[fd00::1]", "fd00::1", 128, 0},       {"::", "::", 128, 0},
        {"0.0.0.0/0:1", "0.0.0.0", 0, 1},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ip_prefix p;
        uint16_t port = 9;
        char text[IP_TEXT_CAP];
        assert_int_equal(guard_parse_never(span_str(good[i].text), &p, &port), 0);
        assert_string_equal(ip_text(&p.base, text), good[i].base);
        assert_int_equal(p.bits, good[i].bits);
        assert_int_equal(port, good[i].port);
    }
    static const char *const bad[] = {"",
                                      ":",
                                      "10.0.0.1:",
                                      "10.0.0.1:0",
                                      "10.0.0.1:65536",
                                      "10.0.0.1/8",
                                      "10.0.0.1/33",
                                      "[10.0.0.1]:1",
                                      "[::1",
                                      "[::1]443",
                                      "[::1]:",
                                      "[]:1",
                                      "host",
                                      "host:1",
                                      "10.0.0.1:1:2",
                                      "[fd00::1]/8",
                                      "10.0.0.1 :1",
                                      "fe80::1%eth0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ip_prefix p;
        uint16_t port = 0;
        assert_int_equal(guard_parse_never(span_str(bad[i]), &p, &port),
                         strcmp(bad[i], "10.0.0.1/8") == 0 ? -EDOM : -EINVAL);
        struct guard g;
        struct err err = {""};
        struct settings_shared s = {.never = list_of((const char *[]){bad[i], NULL})};
        assert_int_equal(guard_build(&s, NULL, 0, &g, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--never"));
        assert_null(g.items);
    }
    /* every truncation of a good text is good or refused, never read beyond its end */
    const char *whole = "[2001:db8::/32]:443";
    for (size_t len = 0; len < strlen(whole); len++) {
        struct ip_prefix p;
        uint16_t port = 0;
        int rc = guard_parse_never(span_make(whole, len), &p, &port);
        assert_true(rc == -EINVAL || len == 15 || len == 17 || len == 18);
    }
}

static void test_check_pools(void **state)
{
    (void)state;
    struct err err = {""};
    struct synth_pools pools;
    struct str_list list = list_of((const char *[]){"198.18.0.0/15", "fd00::/64", NULL});
    assert_int_equal(guard_parse_pools(&list, &pools, NULL), 0);
    struct addr upstreams[] = {{.ip = ip_v4(10, 0, 0, 53), .port = 53},
                               {.ip = {.family = IP_V6, .bytes = {0xfd, [15] = 1}}, .port = 53}};
    assert_int_equal(guard_check_pools(&pools, upstreams, 1, &err), 0);
    assert_int_equal(guard_check_pools(&pools, upstreams, 2, &err), -EINVAL);
    assert_non_null(strstr(err.text, "upstream [fd00::1]:53 is in --pool"));
    upstreams[1].ip = ip_v4(198, 19, 255, 255);
    assert_int_equal(guard_check_pools(&pools, upstreams, 2, &err), -EINVAL);
    upstreams[1].ip = ip_v4(198, 20, 0, 0);
    assert_int_equal(guard_check_pools(&pools, upstreams, 2, &err), 0);
}

static void test_parse_pools(void **state)
{
    (void)state;
    struct synth_pools pools;
    struct str_list list = list_of((const char *[]){"127.64.0.0/10", NULL});
    assert_int_equal(guard_parse_pools(&list, &pools, NULL), 0);
    assert_true(pools.has_v4 && !pools.has_v6 && pools.v4.bits == 10);
    list = list_of((const char *[]){"fd00::/126", "10.0.0.0/30", NULL});
    assert_int_equal(guard_parse_pools(&list, &pools, NULL), 0);
    assert_true(pools.has_v4 && pools.has_v6);
    list.count = 0;
    assert_int_equal(guard_parse_pools(&list, &pools, NULL), 0);
    assert_false(pools.has_v4 || pools.has_v6);
    static const char *const bad[][2] = {{"198.18.0.0/15", "10.0.0.0/24"},
                                         {"fd00::/64", "fd01::/64"},
                                         {"198.18.0.1/15", NULL},
                                         {"198.18.0.0/31", NULL},
                                         {"198.18.0.0", NULL},
                                         {"fd00::/127", NULL},
                                         {"0.0.0.0/0", NULL},
                                         {"10.0.0.0/7", NULL},
                                         {"127.0.0.0/8", NULL},
                                         {"::/64", NULL},
                                         {"169.254.0.0/16", NULL},
                                         {"224.0.0.0/8", NULL},
                                         {"fe80::/64", NULL},
                                         {"pool", NULL}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {""};
        const char *items[] = {bad[i][0], bad[i][1], NULL};
        list = list_of(items);
        if (guard_parse_pools(&list, &pools, &err) != -EINVAL) {
            fail_msg("%s was accepted", bad[i][0]);
        }
        assert_non_null(strstr(err.text, "--pool"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build),       cmocka_unit_test(test_in_order_of_ports),
        cmocka_unit_test(test_many_items),  cmocka_unit_test(test_wildcard_listeners),
        cmocka_unit_test(test_parse_never), cmocka_unit_test(test_parse_pools),
        cmocka_unit_test(test_check_pools),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
