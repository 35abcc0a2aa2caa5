/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/chain_config.h"

#include <errno.h>

static int build(const char *url, const char *except, struct chain_config *out, struct err *err)
{
    const char *items[] = {except, NULL};
    const struct settings_tunneld s = {.chain_proxy = url,
                                       .chain_target = CHAIN_TARGET_ADDRESS,
                                       .chain_except = {.items = items, .count = except == NULL ? 0 : 1}};
    err->text[0] = '\0';
    return chain_config_build(&s, out, err);
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        {"http://10.200.0.1:3128", "10.200.0.1:3128"},
        {"HTTP://Proxy.Corp.Example.:8080/", "proxy.corp.example:8080"},
        {"http://[2001:DB8::1]:1", "[2001:db8::1]:1"},
        {"http://proxy:65535", "proxy:65535"},
    };
    static const char *const bad[] = {
        "http://",
        "http://:1",
        "http://a",
        "http://a:",
        "http://a:0",
        "http://a:65536",
        "http://a:1/x",
        "http://a:1//",
        "http://a:1?",
        "http://a:1#",
        "http:/a:1",
        "https://a:1",
        "socks5://a:1",
        "a:1",
        "10.0.0.1",
        "http://a b:1",
        "http://2001:db8::1:1",
        "http://[::1]",
        "http://[::1:1",
        "http://::1]:1",
        "http://[a]:1",
        "http://[::1%lo]:1",
        "http://1.2.3:1",
        "http://b\xc3\xbc.de:1",
        "http://a:+1",
        "http://a:1 ",
        " http://a:1",
    };
    struct chain_config c;
    struct err err;
    char text[CHAIN_CONFIG_TEXT_CAP];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(build(good[i][0], NULL, &c, &err), 0);
        assert_string_equal(chain_config_text(&c, text), good[i][1]);
        assert_false(c.by_name);
        struct judge_config judge = {.has_chain = false};
        chain_config_judge(&c, &judge);
        assert_true(judge.has_chain);
        chain_config_fini(&c);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (build(bad[i], NULL, &c, &err) != -EINVAL || strncmp(err.text, "--chain-proxy: ", 15) != 0) {
            fail_msg("%s: %s", bad[i], err.text);
        }
        assert_int_equal(c.proxy.kind == HOST_NONE || c.items == NULL, true);
    }
    assert_int_equal(build("http://joe:s3cret@a:1", NULL, &c, &err), -EINVAL);
    assert_null(strstr(err.text, "s3cret"));
    assert_non_null(strstr(err.text, "--chain-auth-file"));
}

static void test_every_truncation(void **state)
{
    (void)state;
    static const char url[] = "http://[2001:db8::1]:3128";
    struct chain_config c;
    struct err err;
    for (size_t len = 0; len < sizeof url; len++) {
        char text[sizeof url] = "";
        memcpy(text, url, len);
        bool is_good = len == 0 || len >= sizeof url - 4; /* no proxy, or a shorter port */
        assert_int_equal(build(text, NULL, &c, &err), is_good ? 0 : -EINVAL);
        chain_config_fini(&c);
    }
}

static void test_excepts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum chain_except_kind kind; /* NONE: an error */
        uint16_t port;
    } rows[] = {
        {"a.example", CHAIN_EXCEPT_NAME, 0},
        {"A.example.:443", CHAIN_EXCEPT_NAME, 443},
        {"*.corp.example", CHAIN_EXCEPT_NAME, 0},
        {"**.corp.example:1", CHAIN_EXCEPT_NAME, 1},
        {"10.0.0.0/8", CHAIN_EXCEPT_PREFIX, 0},
        {"10.1.2.3:443", CHAIN_EXCEPT_PREFIX, 443},
        {"10.0.0.0/8:443", CHAIN_EXCEPT_PREFIX, 443},
        {"2001:db8::/32", CHAIN_EXCEPT_PREFIX, 0},
        {"[2001:db8::/32]:443", CHAIN_EXCEPT_PREFIX, 443},
        {"", CHAIN_EXCEPT_NONE, 0},
        {"*", CHAIN_EXCEPT_NONE, 0},
        {"*.example", CHAIN_EXCEPT_NONE, 0},
        {"a.example:", CHAIN_EXCEPT_NONE, 0},
        {"a.example:0", CHAIN_EXCEPT_NONE, 0},
        {"a.example:443:1", CHAIN_EXCEPT_NONE, 0},
        {"10.0.0.1/8", CHAIN_EXCEPT_NONE, 0},
        {"10.0.0.0/33", CHAIN_EXCEPT_NONE, 0},
        {"1.2.3", CHAIN_EXCEPT_NONE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct chain_config c;
        struct err err;
        int rc = build("http://a:1", rows[i].text, &c, &err);
        if (rc != (rows[i].kind == CHAIN_EXCEPT_NONE ? -EINVAL : 0)) {
            fail_msg("%s: %d %s", rows[i].text, rc, err.text);
        }
        if (rc == 0) {
            assert_int_equal(c.items[0].kind, rows[i].kind);
            assert_int_equal(c.items[0].port, rows[i].port);
        } else {
            assert_int_equal(strncmp(err.text, "--chain-except: ", 16), 0);
        }
        chain_config_fini(&c);
    }
}

static void test_without_a_proxy(void **state)
{
    (void)state;
    struct chain_config c;
    struct err err;
    char text[CHAIN_CONFIG_TEXT_CAP];
    struct judge_config judge = {.has_chain = true};
    assert_int_equal(build(NULL, NULL, &c, &err), 0);
    assert_string_equal(chain_config_text(&c, text), "");
    chain_config_judge(&c, &judge);
    assert_false(judge.has_chain);
    assert_int_equal(build(NULL, "a.example", &c, &err), -EINVAL);
    const struct settings_tunneld s = {.chain_auth_file = "/x"};
    assert_int_equal(chain_config_build(&s, &c, &err), -EINVAL);
    chain_config_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_excepts),
        cmocka_unit_test(test_without_a_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
