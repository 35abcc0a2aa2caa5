/* SPDX-License-Identifier: Apache-2.0 */
/* Slots, tickets, and the line of those who want a stale answer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/resolver_waiters.h"

#include <errno.h>

static void never_called(void *ctx, const struct resolver_answer *a)
{
    (void)ctx;
    (void)a;
    fail();
}

static struct resolver_ask ask_of(void *ctx)
{
    return (struct resolver_ask){.fn = never_called, .ctx = ctx};
}

static void tickets_end_and_are_not_confused(void **state)
{
    (void)state;
    struct waiters t;
    struct waiter_list list = {WAITER_NONE, WAITER_NONE};
    const struct resolver_ask ask = ask_of(&t);
    waiters_init(&t);
    assert_int_equal(waiters_find(&t, 1), WAITER_NONE);
    assert_int_equal(waiters_reserve(&t), 0);
    const resolver_ticket first = waiters_add(&t, &list, NULL, &ask);
    assert_true(first != 0);
    const uint32_t slot = waiters_find(&t, first);
    assert_true(slot != WAITER_NONE);
    waiters_remove(&t, &list, slot);
    assert_int_equal(list.first, WAITER_NONE);
    assert_int_equal(list.last, WAITER_NONE);
    assert_int_equal(waiters_find(&t, first), WAITER_NONE);
    const resolver_ticket second = waiters_add(&t, &list, NULL, &ask);
    assert_int_equal(waiters_find(&t, second), slot); /* the same place */
    assert_int_equal(waiters_find(&t, first), WAITER_NONE);
    assert_int_equal(waiters_find(&t, 0), WAITER_NONE);
    assert_int_equal(waiters_find(&t, UINT64_MAX), WAITER_NONE);
    waiters_fini(&t);
}

/* Leaves from the front, the middle and the end, of a question and of the line. */
static void order_holds_whoever_leaves(void **state)
{
    (void)state;
    for (uint32_t gone = 0; gone < 4; gone++) {
        struct waiters t;
        struct waiter_list list = {WAITER_NONE, WAITER_NONE};
        int ctx[4];
        waiters_init(&t);
        for (uint32_t i = 0; i < 4; i++) {
            const struct resolver_ask ask = ask_of(&ctx[i]);
            assert_int_equal(waiters_reserve(&t), 0);
            (void)waiters_add(&t, &list, NULL, &ask);
            waiters_line_up(&t, list.last, 1800 + i);
        }
        waiters_remove(&t, &list, gone);
        uint32_t in_line = t.line_first;
        uint32_t of_question = list.first;
        for (uint32_t i = 0; i < 4; i++) {
            if (i != gone) {
                assert_ptr_equal(t.slots[of_question].ctx, &ctx[i]);
                assert_int_equal(t.slots[in_line].stale_at_ms, 1800 + i);
                in_line = t.slots[in_line].line_next;
                of_question = t.slots[of_question].next;
            }
        }
        assert_int_equal(in_line, WAITER_NONE);
        assert_int_equal(of_question, WAITER_NONE);
        while (list.first != WAITER_NONE) {
            waiters_leave_line(&t, list.first);
            waiters_leave_line(&t, list.first); /* it is not in it any more */
            waiters_remove(&t, &list, list.first);
        }
        assert_int_equal(t.line_first, WAITER_NONE);
        assert_int_equal(t.line_last, WAITER_NONE);
        waiters_fini(&t);
    }
}

static void the_table_grows_to_its_limit(void **state)
{
    (void)state;
    struct waiters t;
    struct waiter_list list = {WAITER_NONE, WAITER_NONE};
    const struct resolver_ask ask = ask_of(&t);
    waiters_init(&t);
    const resolver_ticket first = waiters_reserve(&t) == 0 ? waiters_add(&t, &list, NULL, &ask) : 0;
    uint32_t count = 1;
    while (waiters_reserve(&t) == 0) {
        (void)waiters_add(&t, &list, NULL, &ask);
        count++;
    }
    assert_int_equal(count, 65536);
    assert_int_equal(waiters_reserve(&t), -ENOMEM);
    const uint32_t slot = waiters_find(&t, first);
    assert_int_equal(slot, list.first); /* indexes stay good */
    waiters_remove(&t, &list, slot);
    assert_int_equal(waiters_reserve(&t), 0);
    waiters_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tickets_end_and_are_not_confused),
        cmocka_unit_test(order_holds_whoever_leaves),
        cmocka_unit_test(the_table_grows_to_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
