/* SPDX-License-Identifier: Apache-2.0 */
/* Places shared out to routes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/route_share.h"

#include <stdlib.h>

static size_t fill(struct route_share *s, size_t route)
{
    size_t taken = 0;
    for (; route_share_has_room(s, route); taken++) {
        route_share_take(s, route);
    }
    return taken;
}

static void one_that_is_alone_has_all(void **state)
{
    (void)state;
    static const size_t places[] = {0, 1, 2, 3, 4096};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct route_share s;
        route_share_init(&s, places[i], 1);
        assert_int_equal(fill(&s, 0), places[i]);
    }
}

/* However many others are dead, and in whatever order they came. */
static void each_has_its_own(void **state)
{
    (void)state;
    for (size_t routes = 1; routes <= ROUTE_SHARE_MAX; routes++) {
        for (size_t alive = 0; alive < routes; alive++) {
            struct route_share s;
            size_t taken = 0;
            route_share_init(&s, 4096, routes);
            for (size_t i = 0; i < routes; i++) {
                taken += i != alive ? fill(&s, i) : 0;
            }
            const size_t own = fill(&s, alive);
            assert_true(own >= 4096 / 2 / routes);
            assert_int_equal(taken + own, 4096);
        }
    }
}

static void own_ones_come_first(void **state)
{
    (void)state;
    struct route_share s;
    route_share_init(&s, 8, 2); /* two for each, four for all */
    assert_true(route_share_has_own(&s, 0));
    route_share_take(&s, 0);
    route_share_take(&s, 0);
    assert_false(route_share_has_own(&s, 0));
    assert_true(route_share_has_own(&s, 1));
    assert_int_equal(fill(&s, 0), 4);
    route_share_give(&s, 0);
    assert_false(route_share_has_own(&s, 0));
    assert_int_equal(fill(&s, 1), 3);
}

/* What is given back can be taken again, and never are there more than there are places. */
static void nothing_is_lost(void **state)
{
    (void)state;
    enum { PLACES = 50, ROUTES = 3 };
    struct route_share s;
    size_t held[ROUTES] = {0};
    route_share_init(&s, PLACES, ROUTES);
    srand(1);
    for (int i = 0; i < 20000; i++) {
        const size_t route = (size_t)rand() % ROUTES;
        if (rand() % 2 == 0 && route_share_has_room(&s, route)) {
            route_share_take(&s, route);
            held[route]++;
        } else if (held[route] > 0) {
            route_share_give(&s, route);
            held[route]--;
        }
        assert_true(held[0] + held[1] + held[2] <= PLACES);
    }
    for (size_t i = 0; i < ROUTES; i++) {
        for (; held[i] > 0; held[i]--) {
            route_share_give(&s, i);
        }
    }
    assert_int_equal(s.common_held, 0);
    assert_int_equal(fill(&s, 0) + fill(&s, 1) + fill(&s, 2), PLACES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_alone_has_all),
        cmocka_unit_test(each_has_its_own),
        cmocka_unit_test(own_ones_come_first),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
