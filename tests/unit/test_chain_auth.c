/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/chain_auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/test_chain_auth.XXXXXX";

static void put(const char *text, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_good(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a:b", "YTpi"}, {"a:b\n", "YTpi"}, {"a:b\r\n", "YTpi"}, {"a:", "YTo="}, {"a:b:c ", "YTpiOmMg"},
    };
    struct chain_auth a;
    struct err err;
    char basic[CHAIN_BASIC_CAP];
    chain_auth_init(&a);
    chain_auth_get(&a, basic);
    assert_string_equal(basic, "");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put(rows[i][0], strlen(rows[i][0]), i % 2 == 0 ? 0600 : 0440);
        assert_int_equal(chain_auth_load(&a, path, geteuid(), &err), 0);
        chain_auth_get(&a, basic);
        assert_string_equal(basic, rows[i][1]);
        (void)unlink(path); /* a mode of 0440 would stop an ordinary user from writing it */
    }
    char longest[CHAIN_CREDENTIALS_CAP + 2];
    memset(longest, 'x', sizeof longest);
    longest[1] = ':';
    memcpy(longest + CHAIN_CREDENTIALS_CAP, "\r\n", 2);
    put(longest, sizeof longest, 0600);
    assert_int_equal(chain_auth_load(&a, path, geteuid(), &err), 0);
    chain_auth_fini(&a);
}

/* What is wrong is told, the text of the file is not, and the last good credentials stay. */
static void test_bad(void **state)
{
    (void)state;
    char too_long[CHAIN_CREDENTIALS_CAP + 1];
    memset(too_long, 'x', sizeof too_long);
    too_long[1] = ':';
    const struct {
        struct span text;
        mode_t mode;
        const char *why;
    } rows[] = {
        {SPAN_LIT(""), 0600, "USER:PASSWORD"},
        {SPAN_LIT("\n"), 0600, "USER:PASSWORD"},
        {SPAN_LIT("hidden"), 0600, "USER:PASSWORD"},
        {SPAN_LIT(":hidden"), 0600, "USER:PASSWORD"},
        {SPAN_LIT("hidden:a\n\n"), 0600, "second line"},
        {SPAN_LIT("hidden:a\nb:c\n"), 0600, "second line"},
        {SPAN_LIT("hidden:\0"), 0600, "control character"},
        {SPAN_LIT("hidden:\x7f"), 0600, "control character"},
        {span_make(too_long, sizeof too_long), 0600, "512"},
        {SPAN_LIT("hidden:a"), 0604, "chmod"},
        {SPAN_LIT("hidden:a"), 0602, "chmod"},
        {SPAN_LIT("hidden:a"), 0601, "chmod"},
        {SPAN_LIT("hidden:a"), 0620, "chmod"},
    };
    struct chain_auth a;
    struct err err;
    char basic[CHAIN_BASIC_CAP];
    chain_auth_init(&a);
    put("a:b", 3, 0600);
    assert_int_equal(chain_auth_load(&a, path, geteuid(), &err), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put((const char *)rows[i].text.data, rows[i].text.len, rows[i].mode);
        assert_int_equal(chain_auth_load(&a, path, geteuid(), &err), -EINVAL);
        if (strstr(err.text, rows[i].why) == NULL || strstr(err.text, path) == NULL) {
            fail_msg("row %zu: %s", i, err.text);
        }
        assert_null(strstr(err.text, "hidden"));
        chain_auth_get(&a, basic);
        assert_string_equal(basic, "YTpi");
    }
    put("a:b", 3, 0600);
    if (geteuid() == 0) { /* else it cannot be given away */
        assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
        assert_int_equal(chain_auth_load(&a, path, 12345, &err), 0);
    }
    assert_int_equal(chain_auth_load(&a, path, 12346, &err), -EINVAL);
    assert_non_null(strstr(err.text, "another user"));
    assert_int_equal(chain_auth_load(&a, "/nonexistent/file", geteuid(), &err), -ENOENT);
    assert_int_equal(chain_auth_load(&a, "/dev/null", geteuid(), &err), -EINVAL);
    assert_int_equal(chain_auth_load(&a, "/", geteuid(), &err), -EINVAL);
    chain_auth_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    int fd = mkstemp(path);
    if (fd < 0) {
        return 1;
    }
    (void)close(fd);
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return status;
}
