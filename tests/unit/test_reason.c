/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/reason.h"

#include <string.h>

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(reason_text(REASON_NONE), "-");
    assert_string_equal(reason_text(REASON_POLICY_DENIED), "policy_denied");
    assert_string_equal(reason_text(REASON_L7_REQUIRED), "l7_inspection_required");
    assert_string_equal(reason_text(REASON_PEER_VANISHED), "peer_vanished");
    assert_string_equal(reason_text(REASON_INTERNAL), "internal_error");
    assert_string_equal(reason_text(REASON_COUNT), "-");
    assert_string_equal(reason_text((enum reason)1000), "-");
}

/* Scripts tell reasons apart by these words: none may be missing, doubled, or more than a word. */
static void test_closed_set(void **state)
{
    (void)state;
    for (int r = REASON_NONE + 1; r < REASON_COUNT; r++) {
        const char *text = reason_text((enum reason)r);
        assert_non_null(text);
        assert_true(strlen(text) > 1);
        assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789"), strlen(text));
        for (int other = r + 1; other < REASON_COUNT; other++) {
            assert_string_not_equal(text, reason_text((enum reason)other));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_closed_set),
    };
    return cmocka_run_group_tests_name("reason", tests, NULL, NULL);
}
