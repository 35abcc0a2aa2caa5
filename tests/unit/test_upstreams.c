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
#include <sys/resource.h>

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

static void test_zones(void **state)
{
    (void)state;
    const char *two[] = {"cluster.local=10.43.0.10,open", "lan=10.0.0.1:5353,[fd00::1]:53", NULL};
    const char *twice[] = {"lan=10.0.0.1", "LAN.=10.0.0.2", NULL};
    const char *bad[] = {"lan=10.0.0.1", "corp", NULL};
    struct zone_set zones;
    struct err err = {""};
    assert_int_equal(upstreams_parse_zones(&(struct str_list){.count = 0}, &zones, &err), 0);
    assert_int_equal(zones.count, 0);
    assert_int_equal(upstreams_parse_zones(&(struct str_list){.items = two, .count = 2}, &zones, &err), 0);
    assert_int_equal(zones.count, 2);
    assert_true(zones.items[0].is_open);
    assert_int_equal(zones.items[1].upstream_count, 2);
    assert_int_equal(upstreams_parse_zones(&(struct str_list){.items = twice, .count = 2}, &zones, &err),
                     -EINVAL);
    assert_string_equal(err.text, "--zone: lan: given twice; list its addresses in one, separated by commas");
    assert_int_equal(upstreams_parse_zones(&(struct str_list){.items = bad, .count = 2}, &zones, &err),
                     -EINVAL);
    assert_non_null(strstr(err.text, "--zone: corp: not of the form"));
}

static void test_given_twice(void **state)
{
    (void)state;
    const char *items[] = {"192.0.2.1", "192.0.2.1:53", NULL};
    struct upstream_list out;
    struct err err = {""};
    assert_int_equal(upstreams_parse(&(struct str_list){.items = items, .count = 2}, &out, &err), -EINVAL);
    assert_non_null(strstr(err.text, "twice"));
}

static void test_texts(void **state)
{
    (void)state;
    struct upstream_list full = {.count = UPSTREAMS_MAX};
    char text[UPSTREAMS_TEXT_CAP];
    assert_string_equal(upstreams_text(NULL, NULL, 0, text), "");
    for (size_t i = 0; i < UPSTREAMS_MAX; i++) { /* the longest there are */
        full.addrs[i] = (struct addr){.ip = {.family = IP_V6}, .port = 65535};
        memset(full.addrs[i].ip.bytes, 0xf0 + (int)i, 16);
    }
    const char *last = strrchr(upstreams_text(full.addrs, NULL, full.count, text), ',');
    assert_string_equal(last, ",[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    struct upstream_list other = full;
    assert_true(upstreams_is_equal(&full, &other));
    other.addrs[3].port = 1;
    assert_false(upstreams_is_equal(&full, &other));
    other = full;
    other.count--;
    assert_false(upstreams_is_equal(&full, &other));
}

static void test_no_descriptor_to_look_for_loops(void **state)
{
    (void)state;
    const char *items[] = {"192.0.2.1", NULL};
    const struct zone_set zones = {.count = 0};
    const struct upstreams_loop_config cfg = {.tls = NULL};
    struct upstream_list list;
    struct rlimit former;
    struct err err = {""};
    assert_int_equal(upstreams_parse(&(struct str_list){.items = items, .count = 1}, &list, &err), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &former), 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = former.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const int rc = upstreams_check_loops(&list, &zones, &cfg, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &former), 0);
    assert_int_equal(rc, -EMFILE);
    assert_non_null(strstr(err.text, "cannot look for loops"));
    assert_non_null(strstr(err.text, "raise the limit of open files")); /* what to do */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_resolv_conf),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_given_twice),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_no_descriptor_to_look_for_loops),
    };
    return cmocka_run_group_tests_name("upstreams", tests, NULL, NULL);
}
