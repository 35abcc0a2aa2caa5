/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/scratch_dir.h"

#include "common/run/upstreams.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_list(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expect; /* NULL: refused */
    } rows[] = {
        {"192.0.2.1", "192.0.2.1:53"},
        {"192.0.2.1:5353", "192.0.2.1:5353"},
        {"[2001:db8::1]:5", "[2001:db8::1]:5"},
        {"2001:db8::1", "[2001:db8::1]:53"},
        {"192.0.2.1:0", NULL},
        {"0.0.0.0", NULL},
        {"::", NULL},
        {"dns.example.com", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *items[] = {rows[i].text, NULL};
        const struct str_list list = {.items = items, .count = 1};
        struct upstream_list out;
        struct err err = {""};
        char text[ADDR_TEXT_CAP];
        int rc = upstreams_parse(&list, &out, &err);
        if (rows[i].expect == NULL) {
            assert_int_equal(rc, -EINVAL);
            assert_non_null(strstr(err.text, "--upstream"));
            assert_non_null(strstr(err.text, rows[i].text));
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(out.count, 1);
            assert_string_equal(addr_text(&out.addrs[0], text), rows[i].expect);
        }
    }
}

static void test_bounds(void **state)
{
    (void)state;
    const char *items[UPSTREAMS_MAX + 2];
    char texts[UPSTREAMS_MAX + 1][16];
    for (size_t i = 0; i <= UPSTREAMS_MAX; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "192.0.2.%zu", i + 1);
        items[i] = texts[i];
    }
    struct upstream_list out;
    struct err err = {""};
    const struct str_list none = {0};
    const struct str_list most = {.items = items, .count = UPSTREAMS_MAX};
    const struct str_list more = {.items = items, .count = UPSTREAMS_MAX + 1};
    assert_int_equal(upstreams_parse(&none, &out, &err), 0);
    assert_int_equal(out.count, 0);
    assert_int_equal(upstreams_parse(&most, &out, &err), 0);
    assert_int_equal(out.count, UPSTREAMS_MAX);
    assert_int_equal(upstreams_parse(&more, &out, &err), -EINVAL);
    assert_int_equal(out.count, 0);
}

static void write_file(const struct scratch_dir *d, const char *text)
{
    scratch_dir_write(d, "resolv.conf", text, strlen(text));
}

static void test_resolv_conf(void **state)
{
    (void)state;
    struct scratch_dir dir;
    char path[SCRATCH_PATH_CAP];
    scratch_dir_make(&dir);
    (void)scratch_dir_path(&dir, "resolv.conf", path);
    const char *items[] = {"192.0.2.1", NULL};
    const struct str_list given = {.items = items, .count = 1};
    const struct str_list none = {0};
    struct upstream_list out;
    struct err err = {""};
    assert_int_equal(upstreams_find(&none, path, &out, &err), -EINVAL);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(upstreams_find(&given, path, &out, &err), 0); /* the file is not looked at */
    write_file(&dir, "search example.com\n");
    assert_int_equal(upstreams_find(&none, path, &out, &err), -EINVAL);
    assert_non_null(strstr(err.text, "no nameserver"));
    write_file(&dir, "nameserver 192.0.2.7\nnameserver 2001:db8::7\n");
    assert_int_equal(upstreams_find(&none, path, &out, &err), 0);
    assert_int_equal(out.count, 2);
    assert_int_equal(out.addrs[0].port, 53);
    scratch_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_resolv_conf),
    };
    return cmocka_run_group_tests_name("upstreams", tests, NULL, NULL);
}
