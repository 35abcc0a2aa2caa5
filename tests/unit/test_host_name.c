/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/host_name.h"

#include <stdio.h>
#include <stdlib.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B61 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define NAME_253 A63 "." A63 "." A63 "." B61

static struct host_name must_name(const char *text)
{
    struct host_name n;
    if (host_name_parse(span_str(text), &n) != HOST_FAULT_NONE) {
        fail_msg("%s does not parse", text);
    }
    return n;
}

static void assert_zeroed(const struct host_name *n)
{
    static const struct host_name zero = {0};
    assert_memory_equal(n, &zero, sizeof zero);
}

static void test_good_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *canonical;
        uint8_t labels;
    } rows[] = {
        {"gateway.discord.gg", "gateway.discord.gg", 3},
        {"Gateway.DISCORD.gg.", "gateway.discord.gg", 3},
        {"localhost", "localhost", 1},
        {"a", "a", 1},
        {"A.", "a", 1},
        {"_dmarc._tcp.example.com", "_dmarc._tcp.example.com", 4},
        {"_", "_", 1},
        {"a_b-c--d.example", "a_b-c--d.example", 2},
        {"xn--bcher-kva.example", "xn--bcher-kva.example", 2},
        {"3com.com", "3com.com", 2},
        {"1.2.3.4.com", "1.2.3.4.com", 5},
        {"1.2.3.4a", "1.2.3.4a", 4},
        {"a.0xg", "a.0xg", 2}, /* not hex */
        {"a.1x0", "a.1x0", 2}, /* not 0x */
        {"a.0_0", "a.0_0", 2},
        {"a.x0", "a.x0", 2},
        {A63 ".com", A63 ".com", 2},
        {NAME_253, NAME_253, 4},
        {NAME_253 ".", NAME_253, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name n = must_name(rows[i].text);
        assert_string_equal(n.text, rows[i].canonical);
        assert_int_equal(n.len, strlen(rows[i].canonical));
        assert_int_equal(n.label_count, rows[i].labels);
        struct host h;
        assert_int_equal(host_parse(span_str(rows[i].text), &h), HOST_FAULT_NONE);
        assert_int_equal(h.kind, HOST_DNS);
        assert_true(host_name_is_equal(&h.name, &n));
        char text[HOST_TEXT_CAP];
        assert_string_equal(host_text(&h, text), rows[i].canonical);
    }
}

static void test_bad_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum host_fault fault;
    } rows[] = {
        {"", HOST_FAULT_EMPTY},
        {".", HOST_FAULT_EMPTY},
        {"..", HOST_FAULT_EMPTY_LABEL},
        {"a..", HOST_FAULT_EMPTY_LABEL}, /* one trailing dot, not two */
        {"a..b", HOST_FAULT_EMPTY_LABEL},
        {".a", HOST_FAULT_EMPTY_LABEL},
        {A63 "a.com", HOST_FAULT_LABEL_TOO_LONG},
        {"a." A63 "a", HOST_FAULT_LABEL_TOO_LONG},
        {NAME_253 "b", HOST_FAULT_TOO_LONG},
        {"a." NAME_253, HOST_FAULT_TOO_LONG},
        {NAME_253 ".a", HOST_FAULT_TOO_LONG},
        {"-a.com", HOST_FAULT_HYPHEN},
        {"a-.com", HOST_FAULT_HYPHEN},
        {"a.com-", HOST_FAULT_HYPHEN},
        {"a.-", HOST_FAULT_HYPHEN},
        {"b\xc3\xbc"
         "cher.example",
         HOST_FAULT_NON_ASCII},
        {"a\x80", HOST_FAULT_NON_ASCII},
        {"a b.com", HOST_FAULT_BAD_BYTE},
        {" a.com", HOST_FAULT_BAD_BYTE},
        {"a.com ", HOST_FAULT_BAD_BYTE},
        {"a.com\n", HOST_FAULT_BAD_BYTE},
        {"*.example.com", HOST_FAULT_BAD_BYTE},
        {"example.com:443", HOST_FAULT_BAD_BYTE},
        {"user@example.com", HOST_FAULT_BAD_BYTE},
        {"example.com/", HOST_FAULT_BAD_BYTE},
        {"example.com#", HOST_FAULT_BAD_BYTE},
        {"example%2ecom", HOST_FAULT_BAD_BYTE},
        {"a\x7f", HOST_FAULT_BAD_BYTE},
        {"1", HOST_FAULT_NUMERIC},
        {"127.1", HOST_FAULT_NUMERIC},
        {"2130706433", HOST_FAULT_NUMERIC},
        {"017700000001", HOST_FAULT_NUMERIC},
        {"0x7f000001", HOST_FAULT_NUMERIC},
        {"0x7F.1", HOST_FAULT_NUMERIC},
        {"127.0.0.0x1", HOST_FAULT_NUMERIC},
        {"127.0.0.0X1", HOST_FAULT_NUMERIC},
        {"a.0x", HOST_FAULT_NUMERIC},
        {"a.09", HOST_FAULT_NUMERIC},
        {"example.com.1", HOST_FAULT_NUMERIC},
        {"1.2.3.4.", HOST_FAULT_NUMERIC},
        {"01.2.3.4", HOST_FAULT_NUMERIC},
        {"1.2.3.256", HOST_FAULT_NUMERIC},
        {"1.2.3.4.5", HOST_FAULT_NUMERIC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name n;
        memset(&n, 0xaa, sizeof n);
        enum host_fault f = host_name_parse(span_str(rows[i].text), &n);
        if (f != rows[i].fault) {
            fail_msg("'%s': %s, not %s", rows[i].text, host_fault_text(f), host_fault_text(rows[i].fault));
        }
        assert_zeroed(&n);
        struct host h;
        memset(&h, 0xaa, sizeof h);
        assert_int_equal(host_parse(span_str(rows[i].text), &h), rows[i].fault);
        assert_int_equal(h.kind, HOST_NONE);
        assert_zeroed(&h.name);
    }
    struct host_name n;
    assert_int_equal(host_name_parse(SPAN_LIT("a\0b"), &n), HOST_FAULT_BAD_BYTE);
    assert_int_equal(host_name_parse(SPAN_LIT("a.com\0"), &n), HOST_FAULT_BAD_BYTE);
    assert_int_equal(host_name_parse(span_make(NULL, 0), &n), HOST_FAULT_EMPTY);
    assert_int_equal(host_name_parse(SPAN_LIT("1.2.3.4"), &n), HOST_FAULT_NUMERIC);
    assert_int_equal(host_name_parse(SPAN_LIT("::1"), &n), HOST_FAULT_BAD_BYTE);
}

/* Each byte value, alone and inside a label. */
static void test_every_byte(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_allowed = is_letter || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        char text[] = {'a', (char)c, 'b', '.', 'x'};
        struct host_name n;
        enum host_fault f = host_name_parse(span_make(text, sizeof text), &n);
        assert_int_equal(f, is_allowed ? HOST_FAULT_NONE
                            : c > 127  ? HOST_FAULT_NON_ASCII
                                       : HOST_FAULT_BAD_BYTE);
        uint8_t wire[] = {3, 'a', (uint8_t)c, 'b', 1, 'x', 0};
        f = host_name_from_wire(span_make(wire, sizeof wire), &n);
        bool is_fine = is_allowed && c != '.';
        assert_int_equal(f, is_fine ? HOST_FAULT_NONE : c > 127 ? HOST_FAULT_NON_ASCII : HOST_FAULT_BAD_BYTE);
        if (is_fine) {
            assert_int_equal(n.text[1], ascii_lower((uint8_t)c));
        }
    }
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum host_fault fault;
        const char *shown;
    } rows[] = {
        {"192.0.2.1", HOST_FAULT_NONE, "192.0.2.1"},
        {"0.0.0.0", HOST_FAULT_NONE, "0.0.0.0"},
        {"2001:DB8::1", HOST_FAULT_NONE, "[2001:db8::1]"},
        {"[2001:db8::1]", HOST_FAULT_NONE, "[2001:db8::1]"},
        {"[::ffff:1.2.3.4]", HOST_FAULT_NONE, "[::ffff:1.2.3.4]"},
        {"::", HOST_FAULT_NONE, "[::]"},
        {"fe80::1%eth0", HOST_FAULT_ZONE_ID, "-"},
        {"[fe80::1%eth0]", HOST_FAULT_ZONE_ID, "-"},
        {"[fe80::1%25eth0]", HOST_FAULT_ZONE_ID, "-"},
        {"[", HOST_FAULT_BAD_IP, "-"},
        {"[]", HOST_FAULT_BAD_IP, "-"},
        {"[::1", HOST_FAULT_BAD_IP, "-"},
        {"[::1]:443", HOST_FAULT_BAD_IP, "-"},
        {"[::1].", HOST_FAULT_BAD_IP, "-"},
        {"[1.2.3.4]", HOST_FAULT_BAD_IP, "-"},
        {"[example.com]", HOST_FAULT_BAD_IP, "-"},
        {"[[::1]]", HOST_FAULT_BAD_IP, "-"},
        {"[1::2::3]", HOST_FAULT_BAD_IP, "-"},
        {"::1]", HOST_FAULT_BAD_BYTE, "-"},
        {"1:2", HOST_FAULT_BAD_BYTE, "-"},
        {"1.2.3.4:80", HOST_FAULT_BAD_BYTE, "-"},
        {"1.2.3.4%eth0", HOST_FAULT_BAD_BYTE, "-"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host h;
        enum host_fault f = host_parse(span_str(rows[i].text), &h);
        if (f != rows[i].fault) {
            fail_msg("'%s': %s, not %s", rows[i].text, host_fault_text(f), host_fault_text(rows[i].fault));
        }
        assert_int_equal(h.kind, f == HOST_FAULT_NONE ? HOST_IP : HOST_NONE);
        char text[HOST_TEXT_CAP];
        assert_string_equal(host_text(&h, text), rows[i].shown);
    }
}

#define BYTES(s) (s), sizeof(s) - 1

static void test_from_wire(void **state)
{
    (void)state;
    static const struct {
        const char *wire;
        size_t len;
        enum host_fault fault;
        const char *text;
    } rows[] = {
        {BYTES("\003WWW\007example\003com\000"), HOST_FAULT_NONE, "www.example.com"},
        {BYTES("\001_\000"), HOST_FAULT_NONE, "_"},
        {BYTES("\000"), HOST_FAULT_EMPTY, ""},
        {BYTES(""), HOST_FAULT_BAD_BYTE, ""},
        {BYTES("\001a"), HOST_FAULT_BAD_BYTE, ""}, /* no root */
        {BYTES("\002a"), HOST_FAULT_BAD_BYTE, ""},
        {BYTES("\001a\000\000"), HOST_FAULT_BAD_BYTE, ""}, /* bytes behind the root */
        {BYTES("\000\000"), HOST_FAULT_BAD_BYTE, ""},
        {BYTES("\001a\300\000"), HOST_FAULT_BAD_BYTE, ""}, /* a pointer */
        {BYTES("\100a\000"), HOST_FAULT_BAD_BYTE, ""},
        {BYTES("\003a.b\003com\000"), HOST_FAULT_BAD_BYTE, ""}, /* a dot inside a label */
        {BYTES("\003a\000b\000"), HOST_FAULT_BAD_BYTE, ""},
        {BYTES("\003a b\000"), HOST_FAULT_BAD_BYTE, ""},
        {BYTES("\002-a\000"), HOST_FAULT_HYPHEN, ""},
        {BYTES("\002a-\000"), HOST_FAULT_HYPHEN, ""},
        {BYTES("\002\303\274\000"), HOST_FAULT_NON_ASCII, ""},
        {BYTES("\0011\0012\0013\0014\000"), HOST_FAULT_NUMERIC, ""},
        {BYTES("\001a\0020X\000"), HOST_FAULT_NUMERIC, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name n;
        memset(&n, 0xaa, sizeof n);
        assert_int_equal(host_name_from_wire(span_make(rows[i].wire, rows[i].len), &n), rows[i].fault);
        assert_string_equal(n.text, rows[i].text);
        assert_int_equal(n.len, strlen(rows[i].text));
        if (rows[i].fault != HOST_FAULT_NONE) {
            assert_zeroed(&n);
        }
    }
}

/* 253 bytes of text are 255 of wire; one more is too long in both. */
static void test_wire_length(void **state)
{
    (void)state;
    uint8_t wire[255];
    struct host_name n = must_name(NAME_253);
    assert_int_equal(host_name_to_wire(&n, wire), 255);
    struct host_name back;
    assert_int_equal(host_name_from_wire(span_make(wire, 255), &back), HOST_FAULT_NONE);
    assert_true(host_name_is_equal(&n, &back));
    assert_int_equal(back.label_count, 4);

    uint8_t longer[256];
    memcpy(longer, wire, 192);
    longer[192] = 62;
    memset(longer + 193, 'b', 62);
    longer[255] = 0;
    assert_int_equal(host_name_from_wire(span_make(longer, 256), &back), HOST_FAULT_TOO_LONG);

    /* the most labels there can be */
    char text[254];
    for (size_t i = 0; i < 253; i++) {
        text[i] = i % 2 == 0 ? 'a' : '.';
    }
    text[253] = '\0';
    n = must_name(text);
    assert_int_equal(n.label_count, 127);
    assert_int_equal(host_name_to_wire(&n, wire), 255);
    assert_int_equal(host_name_from_wire(span_make(wire, 255), &back), HOST_FAULT_NONE);
    assert_string_equal(back.text, text);
}

static void test_truncations(void **state)
{
    (void)state;
    static const char text[] = "gateway.discord.gg";
    struct host_name n = must_name(text);
    uint8_t wire[255];
    size_t len = host_name_to_wire(&n, wire);
    assert_int_equal(len, sizeof text + 1);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, wire, cut);
        struct host_name back;
        assert_int_equal(host_name_from_wire(span_make(copy, cut), &back), HOST_FAULT_BAD_BYTE);
        free(copy);
    }
    for (size_t cut = 1; cut < sizeof text; cut++) {
        struct host_name back;
        assert_int_equal(host_name_parse(span_make(text, cut), &back), HOST_FAULT_NONE);
        size_t expect = text[cut - 1] == '.' ? cut - 1 : cut;
        assert_int_equal(back.len, expect);
        assert_memory_equal(back.text, text, expect);
    }
}

static void test_to_wire(void **state)
{
    (void)state;
    uint8_t wire[255];
    struct host_name n = must_name("Www.Example.com.");
    static const char expect[] = "\3www\7example\3com";
    assert_int_equal(host_name_to_wire(&n, wire), sizeof expect);
    assert_memory_equal(wire, expect, sizeof expect);
    struct host_name none = {0};
    assert_int_equal(host_name_to_wire(&none, wire), 1); /* the root */
    assert_int_equal(wire[0], 0);
}

static void test_relations(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool is_equal;
        bool is_below;
    } rows[] = {
        {"x.b", "b", false, true},
        {"y.x.b", "b", false, true},
        {"y.x.b", "x.b", false, true},
        {"b", "b", true, false},
        {"B", "b.", true, false},
        {"xb", "b", false, false},
        {"b", "x.b", false, false},
        {"evilexample.com", "example.com", false, false},
        {"evil.example.com", "example.com", false, true},
        {"example.com.evil", "example.com", false, false},
        {"x.c", "b", false, false},
        {"ab", "c", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name a = must_name(rows[i].a);
        struct host_name b = must_name(rows[i].b);
        assert_int_equal(host_name_is_equal(&a, &b), rows[i].is_equal);
        assert_int_equal(host_name_is_below(&a, &b), rows[i].is_below);
    }
    struct host_name none = {0};
    struct host_name a = must_name("a");
    assert_false(host_name_is_equal(&none, &none)); /* no name is nobody's */
    assert_false(host_name_is_below(&a, &none));
    assert_false(host_name_is_below(&none, &a));
}

static void test_fault_texts(void **state)
{
    (void)state;
    for (int f = HOST_FAULT_NONE; f <= HOST_FAULT_BAD_IP; f++) {
        const char *text = host_fault_text((enum host_fault)f);
        assert_true(strlen(text) > 4);
        for (int g = HOST_FAULT_NONE; g < f; g++) {
            assert_string_not_equal(text, host_fault_text((enum host_fault)g));
        }
        for (const char *c = text; *c != '\0'; c++) {
            assert_in_range(*c, 0x20, 0x7e); /* goes to logs and replies as it is */
        }
    }
    assert_string_equal(host_fault_text(HOST_FAULT_LABEL_TOO_LONG), "label longer than 63 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_names),  cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_every_byte),  cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_from_wire),   cmocka_unit_test(test_wire_length),
        cmocka_unit_test(test_truncations), cmocka_unit_test(test_to_wire),
        cmocka_unit_test(test_relations),   cmocka_unit_test(test_fault_texts),
    };
    return cmocka_run_group_tests_name("host_name", tests, NULL, NULL);
}
