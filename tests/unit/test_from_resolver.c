/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/from_resolver.h"

static void translates_every_status(void **state)
{
    static const struct {
        enum resolver_status status;
        enum answer_family_state want;
    } rows[] = {{RESOLVER_ADDRS, ANSWER_ADDRS},
                {RESOLVER_NODATA, ANSWER_NODATA},
                {RESOLVER_NXDOMAIN, ANSWER_NXDOMAIN},
                {RESOLVER_FAILED, ANSWER_FAILED}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct resolver_answer a = {.status = rows[i].status, .ttl_s = 5, .addr_count = 2};
        struct answer_family f;
        from_resolver(&a, false, &f);
        assert_int_equal(f.state, rows[i].want);
        assert_int_equal(f.ttl_s, 5);
        assert_int_equal(f.addr_count, 2);
        assert_ptr_equal(f.addrs, a.addrs);
    }
}

static void says_how_it_failed(void **state)
{
    static const struct {
        enum resolver_fail why;
        enum dns_ede want;
    } rows[] = {{RESOLVER_FAIL_TIMEOUT, DNS_EDE_NO_REACHABLE}, {RESOLVER_FAIL_SERVFAIL, DNS_EDE_NO_REACHABLE},
                {RESOLVER_FAIL_REFUSED, DNS_EDE_NO_REACHABLE}, {RESOLVER_FAIL_NETWORK, DNS_EDE_NETWORK},
                {RESOLVER_FAIL_LOOP, DNS_EDE_NETWORK},         {RESOLVER_FAIL_MALFORMED, DNS_EDE_NETWORK},
                {RESOLVER_FAIL_CNAME, DNS_EDE_OTHER},          {RESOLVER_FAIL_BUSY, DNS_EDE_OTHER},
                {RESOLVER_FAIL_LOCAL, DNS_EDE_OTHER},          {RESOLVER_FAIL_HELD, DNS_EDE_OTHER},
                {RESOLVER_FAIL_MEMORY, DNS_EDE_OTHER},         {RESOLVER_FAIL_NONE, DNS_EDE_OTHER}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct resolver_answer a = {.status = RESOLVER_FAILED, .why = rows[i].why};
        struct answer_family f;
        from_resolver(&a, false, &f);
        assert_int_equal(f.ede, rows[i].want);
        assert_true(strlen(f.text) > 0);
        a.from_cache = true;
        from_resolver(&a, false, &f);
        assert_int_equal(f.ede, DNS_EDE_CACHED_ERROR);
    }
}

/* The reason stays readable: just now, from memory, and beside an expired answer. */
static void keeps_the_reason(void **state)
{
    (void)state;
    for (int why = RESOLVER_FAIL_TIMEOUT; why <= RESOLVER_FAIL_MEMORY; why++) {
        struct resolver_answer a = {.status = RESOLVER_FAILED, .why = (enum resolver_fail)why};
        struct answer_family now;
        struct answer_family then;
        struct answer_family stale;
        from_resolver(&a, false, &now);
        assert_false(now.is_stale);
        a.from_cache = true;
        from_resolver(&a, false, &then);
        assert_false(then.is_stale);
        a.status = RESOLVER_ADDRS;
        a.is_stale = true;
        from_resolver(&a, false, &stale);
        assert_true(stale.is_stale);
        assert_int_equal(stale.state, ANSWER_ADDRS);
        assert_string_not_equal(now.text, then.text);
        assert_non_null(strstr(then.text, now.text));
        assert_non_null(strstr(stale.text, now.text));
    }
}

static void knows_nothing_or_silence(void **state)
{
    (void)state;
    struct answer_family f;
    from_resolver(NULL, false, &f);
    assert_int_equal(f.state, ANSWER_UNKNOWN);
    from_resolver(NULL, true, &f);
    assert_int_equal(f.state, ANSWER_SILENT);
    assert_int_equal(f.ede, DNS_EDE_NO_REACHABLE);
    const struct resolver_answer a = {.status = RESOLVER_ADDRS, .addr_count = 1};
    from_resolver(&a, true, &f); /* what is known wins */
    assert_int_equal(f.state, ANSWER_ADDRS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translates_every_status),
        cmocka_unit_test(says_how_it_failed),
        cmocka_unit_test(keeps_the_reason),
        cmocka_unit_test(knows_nothing_or_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
