/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/acl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_int_equal(ip_parse(span_str(text), &ip), 0);
    return ip;
}

static bool admits(const struct acl *a, const char *text)
{
    struct ip ip = ip_of(text);
    return acl_admits(a, &ip);
}

static struct str_list list_of(const char **items)
{
    size_t count = 0;
    while (items[count] != NULL) {
        count++;
    }
    return (struct str_list){.items = items, .count = count};
}

static void test_nothing_given(void **state)
{
    (void)state;
    struct acl a;
    const struct str_list none = {NULL, 0};
    assert_int_equal(acl_build(&none, false, &a, NULL), 0);
    assert_true(admits(&a, "127.0.0.1") && admits(&a, "127.255.0.9") && admits(&a, "::1"));
    assert_false(admits(&a, "10.0.0.1") || admits(&a, "128.0.0.1") || admits(&a, "::2"));
    acl_fini(&a);
    assert_int_equal(acl_build(&none, true, &a, NULL), 0);
    assert_true(admits(&a, "8.8.8.8") && admits(&a, "2001:db8::1"));
    acl_fini(&a);
    assert_false(admits(&a, "127.0.0.1")); /* zero admits nobody */
}

static void test_list(void **state)
{
    (void)state;
    struct acl a;
    struct str_list list = list_of((const char *[]){"10.1.0.0/16", "192.0.2.7", "fd00::/8", NULL});
    assert_int_equal(acl_build(&list, true, &a, NULL), 0); /* a list rules passed sockets too */
    assert_true(admits(&a, "10.1.255.255") && admits(&a, "192.0.2.7") && admits(&a, "fdff::1"));
    assert_false(admits(&a, "10.2.0.0") || admits(&a, "192.0.2.8") || admits(&a, "127.0.0.1") ||
                 admits(&a, "::1"));
    acl_fini(&a);
    list = list_of((const char *[]){"0.0.0.0/0", NULL});
    assert_int_equal(acl_build(&list, false, &a, NULL), 0);
    assert_true(admits(&a, "8.8.8.8"));
    assert_false(admits(&a, "::1"));
    struct ip none = {.family = IP_NONE};
    assert_false(acl_admits(&a, &none));
    acl_fini(&a);
}

static void test_bad_items(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "10.0.0.0/33", "10.0.0.1/8",      "host",       "10.0.0.0/",
                                      "[::1]", "::1%lo",      "::ffff:10.0.0.1", "10.0.0.1:53"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct acl a;
        struct err err = {""};
        struct str_list list = list_of((const char *[]){"127.0.0.1", bad[i], NULL});
        assert_int_equal(acl_build(&list, false, &a, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--allow-client"));
        assert_non_null(strstr(err.text, bad[i]));
        assert_null(a.items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_given),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_bad_items),
    };
    return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
