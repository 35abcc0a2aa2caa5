/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/settings_tables.h"

#include "common/run/settings_value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define ARGS_MAX 16

/* A read with its results, for the tunneld table. */
struct reading {
    struct settings_source src;
    char *argv[ARGS_MAX + 1];
    struct settings_tunneld s;
    struct settings_arena *arena;
    struct err err;
    int rc, rest;
};

static void read_args(struct reading *r, bool stop_at_dashes, const char *const *args)
{
    memset(r, 0, sizeof(*r));
    static char program[] = "program";
    r->argv[0] = program;
    int argc = 1;
    for (; args[argc - 1] != NULL; argc++) {
        assert_true(argc < ARGS_MAX);
        r->argv[argc] = (char *)(uintptr_t)args[argc - 1];
    }
    r->src = (struct settings_source){.table = settings_tunneld_table,
                                      .env_prefix = "OPENSHELL_TUNNELD",
                                      .argc = argc,
                                      .argv = r->argv,
                                      .stop_at_dashes = stop_at_dashes};
    r->rc = settings_read(&r->src, &r->s, &r->arena, &r->rest, &r->err);
}

#define READ(r, ...) read_args((r), false, (const char *const[]){__VA_ARGS__, NULL})
#define READ_NONE(r) read_args((r), false, (const char *const[]){NULL})

static void finish(struct reading *r)
{
    settings_free(r->arena);
}

static void test_tunneld_defaults(void **state)
{
    (void)state;
    struct reading r;
    READ_NONE(&r);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.rest, 1);
    assert_int_equal(r.s.listen.count, 1);
    assert_string_equal(r.s.listen.items[0], "127.0.0.1:3128");
    assert_null(r.s.listen.items[1]);
    assert_int_equal(r.s.transparent.count, 0);
    assert_int_equal(r.s.timers.connect_ms, TIMER_UNSET);
    assert_int_equal(r.s.timers.idle_ms, TIMER_UNSET);
    assert_int_equal(r.s.timers.lifetime_ms, TIMER_UNSET);
    assert_int_equal(r.s.timers.half_close_ms, TIMER_UNSET);
    assert_int_equal(r.s.timers.user_ms, TIMER_UNSET);
    assert_int_equal(r.s.keepalive.mode, KEEPALIVE_UNSET);
    assert_int_equal(r.s.head_ms, 10000);
    assert_int_equal(r.s.forward_idle_ms, 60000);
    assert_int_equal(r.s.l7, 0);
    assert_int_equal(r.s.binary_identity, BINARY_ENFORCE);
    assert_int_equal(r.s.max_tunnels, 0);
    assert_int_equal(r.s.max_tunnels_per_client, 1024);
    assert_int_equal(r.s.max_tunnels_per_rule, 0);
    assert_int_equal(r.s.max_heads_per_client, 512);
    assert_int_equal(r.s.revoke_grace_ms, 5000);
    assert_int_equal(r.s.drain_ms, 30000);
    const struct settings_shared *c = &r.s.shared;
    assert_int_equal(c->policy.count, 1);
    assert_string_equal(c->policy.items[0], "/etc/openshell/policy.yaml");
    assert_int_equal(c->upstream.count, 0);
    assert_int_equal(c->pool.count, 2);
    assert_string_equal(c->pool.items[0], "198.18.0.0/15");
    assert_string_equal(c->pool.items[1], "fd00:5e11::/64");
    assert_string_equal(c->map, "/run/openshell/egress.map");
    assert_int_equal(c->log_format, LOG_TEXT);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_null(c->user);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->ready_fd, 0);
    assert_false(c->strict_private || c->check || c->dump_config || c->version || c->help);
    finish(&r);
}

static void test_dnsd_defaults(void **state)
{
    (void)state;
    struct settings_dnsd s = {0};
    struct settings_arena *arena = NULL;
    char program[] = "openshell-dnsd";
    char *argv[] = {program, NULL};
    struct settings_source src = {
        .table = settings_dnsd_table, .env_prefix = "OPENSHELL_DNSD", .argc = 1, .argv = argv};
    assert_int_equal(settings_read(&src, &s, &arena, NULL, NULL), 0);
    assert_string_equal(s.listen.items[0], "127.0.0.1:53");
    assert_string_equal(s.resolv_conf, "/etc/resolv.conf");
    assert_int_equal(s.answer, ANSWER_REAL);
    assert_int_equal(s.deny, DENY_NXDOMAIN);
    assert_int_equal(s.aaaa, AAAA_AUTO);
    assert_int_equal(s.deny_ttl_s, 10);
    assert_int_equal(s.ttl_min_s, 0);
    assert_int_equal(s.ttl_max_s, 3600);
    assert_int_equal(s.ttl_neg_max_s, 60);
    assert_int_equal(s.cache_bytes, 8u << 20);
    assert_int_equal(s.synthetic_ttl_s, 30);
    assert_int_equal(s.map_grace_s, 3600);
    settings_free(arena);
}

static void test_every_kind(void **state)
{
    (void)state;
    struct reading r;
    READ(&r, "--idle-timeout", "90s", "--lifetime=0", "--keepalive=30s,5s,3", "--user-timeout", "auto",
         "--l7=tunnel", "--max-tunnels=0", "--max-tunnels-per-rule=7", "--listen", "[::1]:0",
         "--listen=127.0.0.1:0", "--strict-private", "--ready-fd=7");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.s.timers.idle_ms, 90000);
    assert_int_equal(r.s.max_tunnels_per_rule, 7);
    assert_int_equal(r.s.timers.lifetime_ms, 0);
    assert_int_equal(r.s.keepalive.mode, KEEPALIVE_ON);
    assert_int_equal(r.s.keepalive.idle_s, 30);
    assert_int_equal(r.s.keepalive.interval_s, 5);
    assert_int_equal(r.s.keepalive.probes, 3);
    assert_int_equal(r.s.timers.user_ms, TIMER_AUTO);
    assert_int_equal(r.s.l7, 1);
    assert_int_equal(r.s.listen.count, 2);
    assert_string_equal(r.s.listen.items[1], "127.0.0.1:0");
    assert_true(r.s.shared.strict_private);
    assert_int_equal(r.s.shared.ready_fd, 7);
    finish(&r);
    READ(&r, "--keepalive=off", "--user-timeout=0", "--strict-private=no", "--connect-timeout=250ms");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.s.keepalive.mode, KEEPALIVE_OFF);
    assert_int_equal(r.s.timers.user_ms, 0);
    assert_false(r.s.shared.strict_private);
    assert_int_equal(r.s.timers.connect_ms, 250);
    finish(&r);
}

/* Each is refused, and the message begins with the option and says the second text. */
static void test_usage_errors(void **state)
{
    (void)state;
    static const struct {
        const char *args[3];
        const char *begin, *says;
    } bad[] = {
        {{"--idle-timeout", "5x"}, "--idle-timeout: ", "not a duration"},
        {{"--idle-timeout", "5"}, "--idle-timeout: ", "not a duration"},
        {{"--idle-timeout=-1s"}, "--idle-timeout: ", "not a duration"},
        {{"--idle-timeout=366d"}, "--idle-timeout: ", "365d"},
        {{"--idle-timeout="}, "--idle-timeout: ", "empty, and DURATION is wanted"},
        {{"--idle-timeout"}, "--idle-timeout: ", "needs a value"},
        {{"--idle-timeout", "--check"}, "--idle-timeout: ", "needs a value"},
        {{"--idle-timeout=1s", "--idle-timeout=1s"}, "--idle-timeout: ", "given twice"},
        {{"--idle-timeou=1s"}, "--idle-timeou: ", "did you mean --idle-timeout?"},
        {{"--max=1"}, "--max: ", "unknown option"},
        {{"--zones=a"}, "--zones: ", "unknown option"},
        {{"--=1"}, "--: ", "unknown option"},
        {{"--"}, "--: ", "unexpected argument"},
        {{"-h"}, "-h: ", "unexpected argument"},
        {{"-"}, "-: ", "unexpected argument"},
        {{"file.yaml"}, "file.yaml: ", "unexpected argument"},
        {{""}, ": ", "unexpected argument"},
        {{"--strict-private=maybe"}, "--strict-private: ", "neither true nor false"},
        {{"--l7=Tunnel"}, "--l7: ", "refuse, tunnel"},
        {{"--log-format=ocsf"}, "--log-format: ", "text, json"},
        {{"--workers=257"}, "--workers: ", "0 to 256"},
        {{"--workers=01"}, "--workers: ", "0 to 256"},
        {{"--workers=4294967296"}, "--workers: ", "0 to 256"},
        {{"--keepalive=60s,15s"}, "--keepalive: ", "IDLE,INTERVAL,PROBES"},
        {{"--keepalive=60s,15s,4,"}, "--keepalive: ", "IDLE,INTERVAL,PROBES"},
        {{"--keepalive=,,"}, "--keepalive: ", "not a duration"},
        {{"--keepalive=0,15s,4"}, "--keepalive: ", "1s..32767s"},
        {{"--keepalive=32768s,15s,4"}, "--keepalive: ", "1s..32767s"},
        {{"--keepalive=60s,1500ms,4"}, "--keepalive: ", "whole number of seconds"},
        {{"--keepalive=60s,15s,0"}, "--keepalive: ", "1 to 127"},
        {{"--keepalive=60s,15s,128"}, "--keepalive: ", "1 to 127"},
        {{"--user-timeout=25d"}, "--user-timeout: ", "24d"},
        {{"--map="}, "--map: ", "empty, and FILE is wanted"},
        {{"--map=  "}, "--map: ", "empty, and FILE is wanted"},
        {{"--listen="}, "--listen: ", "empty, and ADDR[:PORT] is wanted"},
        {{"--sni="}, "--sni: ", "empty, and off|warn|enforce is wanted"},
        {{"--strict-private="}, "--strict-private: ", "empty, and true or false is wanted"},
        {{"--map= x"}, "--map: ", "\" x\" begins with white space"},
        {{"--map", "x\n"}, "--map: ", "ends with white space"},
        {{"--never= 10.0.0.0/8"}, "--never: ", "\" 10.0.0.0/8\" begins with white space"},
        {{"--workers=4 "}, "--workers: ", "\"4 \" ends with white space"},
        {{"--keepalive=366d,15s,4"}, "--keepalive: ", "\"366d\" is outside 1s..32767s"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reading r;
        read_args(&r, false, bad[i].args);
        assert_int_equal(r.rc, -EINVAL);
        if (strncmp(r.err.text, bad[i].begin, strlen(bad[i].begin)) != 0 ||
            strstr(r.err.text, bad[i].says) == NULL) {
            fail_msg("%s %s: %s", bad[i].args[0], bad[i].args[1] != NULL ? bad[i].args[1] : "", r.err.text);
        }
        finish(&r);
    }
}

static void test_limits_are_inclusive(void **state)
{
    (void)state;
    struct reading r;
    READ(&r, "--keepalive=32767s,32767s,127", "--workers=256", "--idle-timeout=365d");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.s.keepalive.idle_s, 32767);
    assert_int_equal(r.s.keepalive.probes, 127);
    assert_int_equal(r.s.shared.workers, 256);
    assert_int_equal(r.s.timers.idle_ms, INT64_C(365) * 86400 * 1000);
    finish(&r);
    READ(&r, "--keepalive=1s,1s,1", "--idle-timeout=1ms");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.s.keepalive.interval_s, 1);
    assert_int_equal(r.s.timers.idle_ms, 1);
    finish(&r);
}

static void test_environment(void **state)
{
    (void)state;
    struct reading r;
    setenv("OPENSHELL_TUNNELD_IDLE_TIMEOUT", "7s", 1);
    setenv("OPENSHELL_TUNNELD_HEAD_TIMEOUT", "3s", 1);
    setenv("OPENSHELL_TUNNELD_UPSTREAM", " 10.0.0.1\t10.0.0.2:5353\n", 1);
    setenv("OPENSHELL_TUNNELD_LISTEN", "  ", 1);
    setenv("OPENSHELL_TUNNELD_MAP", "", 1);
    setenv("OPENSHELL_TUNNELD_STRICT_PRIVATE", "Yes", 1);
    setenv("OPENSHELL_TUNNELD_VERSION", "1.2.3", 1); /* an image's own variable, no setting */
    READ(&r, "--head-timeout=4s");
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.s.timers.idle_ms, 7000);
    assert_int_equal(r.s.head_ms, 4000); /* the option wins */
    assert_int_equal(r.s.shared.upstream.count, 2);
    assert_string_equal(r.s.shared.upstream.items[0], "10.0.0.1");
    assert_string_equal(r.s.shared.upstream.items[1], "10.0.0.2:5353");
    assert_int_equal(r.s.listen.count, 1); /* white space is no list: the default */
    assert_string_equal(r.s.shared.map, "/run/openshell/egress.map");
    assert_true(r.s.shared.strict_private);
    assert_false(r.s.shared.version);
    char name[SETTINGS_VARIABLE_CAP];
    assert_int_equal(settings_origin(settings_tunneld_table, r.arena, "idle-timeout"), ORIGIN_ENVIRONMENT);
    assert_int_equal(settings_origin(settings_tunneld_table, r.arena, "head-timeout"), ORIGIN_OPTION);
    assert_int_equal(settings_origin(settings_tunneld_table, r.arena, "listen"), ORIGIN_DEFAULT);
    assert_int_equal(settings_origin(settings_tunneld_table, r.arena, "no-such-row"), ORIGIN_DEFAULT);
    assert_string_equal(settings_variable("OPENSHELL_TUNNELD", "idle-timeout", name),
                        "OPENSHELL_TUNNELD_IDLE_TIMEOUT");
    finish(&r);
    READ(&r, "--upstream=192.0.2.1"); /* replaces the variable's list, no mixture */
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.s.shared.upstream.count, 1);
    finish(&r);
    setenv("OPENSHELL_TUNNELD_IDLE_TIMEOUT", "soon", 1);
    READ_NONE(&r);
    assert_int_equal(r.rc, -EINVAL);
    assert_non_null(strstr(r.err.text, "OPENSHELL_TUNNELD_IDLE_TIMEOUT"));
    finish(&r);
    READ(&r, "--idle-timeout=1s"); /* a variable that is overruled is not read */
    assert_int_equal(r.rc, 0);
    finish(&r);
    READ(&r, "--help"); /* and help is found although the variable is bad */
    assert_int_equal(r.rc, -EINVAL);
    assert_true(r.s.shared.help);
    finish(&r);
    clearenv();
}

static void test_upstream_identity(void **state)
{
    (void)state;
    static const char *const off[] = {"relaxed", "disabled", "Endpoint-Only", "FALSE", "0"};
    static const char *const on[] = {"", "1", "true", "strict", "relaxed "};
    struct reading r;
    for (size_t i = 0; i < 5; i++) {
        setenv("OPENSHELL_NETWORK_BINARY_IDENTITY", off[i], 1);
        assert_true(settings_upstream_identity_is_off());
        READ_NONE(&r);
        assert_int_equal(r.s.binary_identity, BINARY_IGNORE);
        finish(&r);
        READ(&r, "--binary-identity=enforce");
        assert_int_equal(r.s.binary_identity, BINARY_ENFORCE);
        finish(&r);
        setenv("OPENSHELL_TUNNELD_BINARY_IDENTITY", "enforce", 1);
        READ_NONE(&r);
        assert_int_equal(r.s.binary_identity, BINARY_ENFORCE);
        finish(&r);
        unsetenv("OPENSHELL_TUNNELD_BINARY_IDENTITY");
        setenv("OPENSHELL_NETWORK_BINARY_IDENTITY", on[i], 1);
        assert_false(settings_upstream_identity_is_off());
        READ_NONE(&r);
        assert_int_equal(r.s.binary_identity, BINARY_ENFORCE);
        finish(&r);
    }
    unsetenv("OPENSHELL_NETWORK_BINARY_IDENTITY");
    assert_false(settings_upstream_identity_is_off());
}

static void test_dashes_end_the_options(void **state)
{
    (void)state;
    struct reading r;
    read_args(&r, true, (const char *const[]){"--l7=tunnel", "--", "cmd", "--help", NULL});
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.rest, 3);
    assert_false(r.s.shared.help);
    finish(&r);
    read_args(&r, true, (const char *const[]){"cmd", NULL});
    assert_int_equal(r.rc, -EINVAL);
    finish(&r);
}

static void value_is(const struct reading *r, const char *name, const char *expected)
{
    char text[256];
    struct wbuf w = wbuf_make(text, sizeof(text));
    for (const struct setting *row = settings_tunneld_table; row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0) {
            settings_value_text(row, &r->s, &w);
        }
    }
    text[w.len] = '\0';
    assert_string_equal(text, expected);
}

static void test_values_as_text(void **state)
{
    (void)state;
    struct reading r;
    READ(&r, "--idle-timeout=90s", "--keepalive=60s,15s,4", "--user-timeout=auto", "--policy=a", "--policy=b",
         "--l7=tunnel", "--max-tunnels=5");
    value_is(&r, "idle-timeout", "90s");
    value_is(&r, "lifetime", "(unset)");
    value_is(&r, "keepalive", "1m,15s,4");
    value_is(&r, "user-timeout", "auto");
    value_is(&r, "policy", "a b");
    value_is(&r, "user", "(unset)");
    value_is(&r, "never", "(unset)");
    value_is(&r, "l7", "tunnel");
    value_is(&r, "max-tunnels", "5");
    value_is(&r, "strict-private", "false");
    finish(&r);
}

/* What --dump-config and --help write, through a pipe in place of standard output. */
static size_t captured(void (*print)(const struct reading *), const struct reading *r, char *text, size_t cap)
{
    fflush(stdout);
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    assert_non_null(file);
    assert_true(saved >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    print(r);
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    rewind(file);
    size_t len = fread(text, 1, cap - 1, file);
    text[len] = '\0';
    fclose(file);
    return len;
}

static void print_dump(const struct reading *r)
{
    settings_dump(&r->src, &r->s, r->arena);
}

static void print_help(const struct reading *r)
{
    settings_help(r->src.table, "openshell-tunneld", "summary");
}

static void test_dump_and_help_name_every_setting(void **state)
{
    (void)state;
    struct reading r;
    static char dump[16384], help[16384];
    setenv("OPENSHELL_TUNNELD_MAX_TUNNELS", "9", 1);
    READ(&r, "--lifetime=1h");
    unsetenv("OPENSHELL_TUNNELD_MAX_TUNNELS");
    captured(print_dump, &r, dump, sizeof(dump));
    captured(print_help, &r, help, sizeof(help));
    for (const struct setting *row = settings_tunneld_table; row->name != NULL; row++) {
        char line[80];
        snprintf(line, sizeof(line), "\n%s ", row->name);
        assert_true(strstr(dump, line) != NULL || strncmp(dump, line + 1, strlen(line) - 1) == 0);
        snprintf(line, sizeof(line), "--%s ", row->name);
        assert_non_null(strstr(help, line));
    }
    assert_non_null(strstr(dump, " 1h  # from option\n"));
    assert_non_null(strstr(dump, " 9  # from environment\n"));
    assert_non_null(strstr(dump, " 10s  # from default\n"));
    assert_non_null(strstr(help, "OPENSHELL_TUNNELD_NAME"));
    finish(&r);
}

/* A row that is incomplete would crash or lie only when it is used. */
static void test_tables_are_sane(void **state)
{
    (void)state;
    static const struct setting *const tables[] = {settings_dnsd_table, settings_tunneld_table};
    for (size_t t = 0; t < 2; t++) {
        for (const struct setting *row = tables[t]; row->name != NULL; row++) {
            assert_non_null(row->help);
            assert_true(row->kind == SETTING_FLAG || row->kind == SETTING_CHOICE || row->arg != NULL);
            assert_true((row->kind == SETTING_CHOICE) == (row->choices != NULL));
            assert_true(row->kind != SETTING_CHOICE || row->fallback != NULL);
            if (row->kind == SETTING_NUMBER || row->kind == SETTING_DURATION_S || row->kind == SETTING_SIZE) {
                assert_true(row->max > row->min && row->fallback != NULL);
            }
            for (const struct setting *other = tables[t]; other != row; other++) {
                assert_string_not_equal(other->name, row->name);
                assert_true(other->offset != row->offset);
            }
        }
    }
}

/* dnsd has the one option that is a size. */
static void test_cache_size(void **state)
{
    (void)state;
    static const struct {
        const char *option, *says;
        uint64_t bytes;
    } cases[] = {
        {"--cache-size=0", NULL, 0},
        {"--cache-size=64KiB", NULL, 65536},
        {"--cache-size=16GiB", NULL, UINT64_C(16) << 30},
        {"--cache-size=65535", "\"65535\" is outside 64KiB..16GiB, and not 0", 0},
        {"--cache-size=8", "is outside 64KiB..16GiB", 0},
        {"--cache-size=17179869185", "is outside 64KiB..16GiB", 0},
        {"--cache-size=102400GiB", "\"102400GiB\" is outside 64KiB..16GiB", 0},
        {"--cache-size=99999999999999999999", "is outside 64KiB..16GiB", 0},
        {"--cache-size=99999999999999999999GiB", "is outside 64KiB..16GiB", 0},
        {"--cache-size=100T", "is not a size", 0},
        {"--cache-size=-1", "is not a size", 0},
        {"--cache-size=GiB", "is not a size", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct settings_dnsd s = {.cache_bytes = 1};
        struct settings_arena *arena = NULL;
        struct err err = {""};
        char *argv[] = {(char *)(uintptr_t) "dnsd", (char *)(uintptr_t)cases[i].option, NULL};
        const struct settings_source src = {
            .table = settings_dnsd_table, .env_prefix = "OPENSHELL_DNSD", .argc = 2, .argv = argv};
        int rc = settings_read(&src, &s, &arena, NULL, &err);
        assert_int_equal(rc, cases[i].says == NULL ? 0 : -EINVAL);
        if (cases[i].says == NULL) {
            assert_true(s.cache_bytes == cases[i].bytes);
        } else if (strstr(err.text, cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].option, err.text);
        }
        settings_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tunneld_defaults),     cmocka_unit_test(test_dnsd_defaults),
        cmocka_unit_test(test_every_kind),           cmocka_unit_test(test_usage_errors),
        cmocka_unit_test(test_limits_are_inclusive), cmocka_unit_test(test_environment),
        cmocka_unit_test(test_upstream_identity),    cmocka_unit_test(test_dashes_end_the_options),
        cmocka_unit_test(test_values_as_text),       cmocka_unit_test(test_dump_and_help_name_every_setting),
        cmocka_unit_test(test_tables_are_sane),      cmocka_unit_test(test_cache_size),
    };
    clearenv();
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
