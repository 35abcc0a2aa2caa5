/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/listen_twice.h"

#include <errno.h>
#include <string.h>

static int check(const char *first, const char *second, const char *admin, struct err *err)
{
    const char *listen[] = {first, second};
    const struct str_list listens = {.items = listen, .count = second != NULL ? 2 : 1};
    const struct str_list admins = {.items = &admin, .count = admin != NULL ? 1 : 0};
    const struct listen_option options[] = {{"--listen", &listens, 53}, {"--admin", &admins, 0}};
    *err = (struct err){""};
    return listen_twice_check(options, 2, err);
}

static void what_can_be_had_is_not_refused(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *admin;
    } rows[] = {
        {"127.0.0.1", NULL, NULL},
        {"127.0.0.1", "127.0.0.1:54", NULL},
        {"127.0.0.1", "127.0.0.2", "127.0.0.1:54"},
        {"127.0.0.1", "[::1]", NULL},
        {"0.0.0.0", "[::]", NULL}, /* that one takes IPv6 alone */
        {"0.0.0.0", "127.0.0.1:54", NULL},
        {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"},
        {"auto", "auto", "unix:/run/a"},
        {"127.0.0.1", "127.0.0.2", "unix:/run/a"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err;
        assert_int_equal(check(rows[i].first, rows[i].second, rows[i].admin, &err), 0);
        assert_string_equal(err.text, "");
    }
}

static void two_that_clash_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *admin, *said;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:53", NULL, "--listen 127.0.0.1 and --listen 127.0.0.1:53 cannot"},
        {"[::1]:53", "::1", NULL, "--listen [::1]:53 and --listen ::1 cannot"},
        {"127.0.0.1", "0.0.0.0", NULL, "--listen 127.0.0.1 and --listen 0.0.0.0 cannot"},
        {"[::]", "::1", NULL, "--listen [::] and --listen ::1 cannot"},
        {"127.0.0.2", "127.0.0.1", "127.0.0.1:53", "--listen 127.0.0.1 and --admin 127.0.0.1:53 cannot"},
        {"127.0.0.2", "127.0.0.1", "0.0.0.0:53", "--listen 127.0.0.2 and --admin 0.0.0.0:53 cannot"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err;
        assert_int_equal(check(rows[i].first, rows[i].second, rows[i].admin, &err), -EINVAL);
        assert_non_null(strstr(err.text, rows[i].said));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_be_had_is_not_refused),
        cmocka_unit_test(two_that_clash_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
