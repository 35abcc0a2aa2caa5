/* SPDX-License-Identifier: Apache-2.0 */
/* dns_rr: compressed names, the fields of RDATA, and what a message may hold where. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_rr.h"
#include "tests/support/dns_msg.h"

#include <stdlib.h>

/* Reads a name at offset `at` of an exact copy. True if it is one; *end is where the cursor stands then. */
static bool name_at(struct span msg, size_t at, struct dns_name *out, size_t *end)
{
    uint8_t *copy = malloc(msg.len);
    assert_non_null(copy);
    memcpy(copy, msg.data, msg.len);
    struct cursor c = cursor_make(span_make(copy, msg.len));
    cursor_skip(&c, at);
    dns_name_read(&c, out);
    *end = c.pos;
    free(copy);
    return cursor_is_ok(&c);
}

#define HEADER "............" /* 12 bytes that no pointer may lead to */

static void test_names(void **state)
{
    (void)state;
#define ROW(msg, at, end, name)                                                                              \
    {                                                                                                        \
        (msg), sizeof(msg) - 1, (at), (end), (name), sizeof(name) - 1                                        \
    }
    static const struct {
        const char *msg;
        size_t len, at, end;
        const char *name; /* "" = an error */
        size_t name_len;
    } rows[] = {
        ROW(HEADER "\0", 12, 13, "\0"),
        ROW(HEADER "\3wWw\2gg\0", 12, 20, "\3wWw\2gg\0"),
        ROW(HEADER "\2gg\0\3www\300\14", 16, 22, "\3www\2gg\0"),
        ROW(HEADER "\2gg\0\300\14", 16, 18, "\2gg\0"),
        ROW(HEADER "\2gg\0\300\14\1a\300\20", 18, 22, "\1a\2gg\0"), /* a pointer to a pointer */
        ROW(HEADER "\2gg\0\1a\300\14\1b\300\20", 20, 24, "\1b\1a\2gg\0"),
        ROW(HEADER "\2gg\0\300\15", 16, 18, ""),    /* into the middle of a label: "gg" is no length */
        ROW(HEADER "\300\14", 12, 0, ""),           /* to itself */
        ROW(HEADER "\1a\300\14", 12, 0, ""),        /* to its own start */
        ROW(HEADER "\1a\300\16", 12, 0, ""),        /* to itself, behind a label */
        ROW(HEADER "\300\16\0", 12, 0, ""),         /* forward */
        ROW(HEADER "\1a\300\20\0", 12, 0, ""),      /* forward, behind a label */
        ROW(HEADER "\300\16\0\300\14", 15, 0, ""),  /* backward, and from there forward */
        ROW(HEADER "\300\16\300\14", 14, 0, ""),    /* two that lead to each other */
        ROW(HEADER "\1a\300\20\300\14", 16, 0, ""), /* the same with a label between */
        ROW("............\1a\300\13", 12, 0, ""),   /* into the header, its last byte */
        ROW("\0...........\1a\300\0", 12, 0, ""),   /* into the header, where a root label stands */
        ROW(HEADER "\100x", 12, 0, ""),             /* label types 01 and 10 */
        ROW(HEADER "\200x", 12, 0, ""),
        ROW(HEADER "\1a", 12, 0, ""), /* no end */
        ROW(HEADER "\2a", 12, 0, ""),
        ROW(HEADER "\1a\300", 12, 0, ""),
        ROW(HEADER, 12, 0, ""),
        ROW(HEADER "\1\0\1.\0", 12, 17, "\1\0\1.\0"), /* any byte is a byte here: host_name judges later */
    };
#undef ROW
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dns_name name;
        size_t end;
        bool is_name = name_at(span_make(rows[i].msg, rows[i].len), rows[i].at, &name, &end);
        struct span want = span_make(rows[i].name, rows[i].name_len);
        if (is_name != (want.len > 0) ||
            (is_name && (!span_is_equal(dns_name_span(&name), want) || end != rows[i].end))) {
            fail_msg("row %zu: %d, %zu bytes, end %zu", i, (int)is_name, name.len, end);
        }
    }
}

/* A label of n bytes and then a pointer to the tail before it. */
static void test_length_through_pointers(void **state)
{
    (void)state;
    for (size_t first = 1; first <= 63; first++) {
        uint8_t bytes[512];
        struct wbuf w = wbuf_make(bytes, sizeof bytes);
        wbuf_str(&w, HEADER);
        for (size_t i = 0; i < 3; i++) {
            wbuf_u8(&w, 63);
            wbuf_str(&w, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        }
        wbuf_u8(&w, 0);
        size_t at = w.len;
        wbuf_u8(&w, (uint8_t)first);
        for (size_t i = 0; i < first; i++) {
            wbuf_u8(&w, 'y');
        }
        wbuf_u16(&w, 0xC000 | DNS_HEADER_LEN);
        struct dns_name name;
        size_t end;
        bool fits = 3 * 64 + 1 + first + 1 <= DNS_NAME_MAX;
        assert_int_equal(name_at(wbuf_span(&w), at, &name, &end), fits);
        if (fits) {
            assert_int_equal(name.len, 3 * 64 + 1 + first + 1);
            assert_int_equal(end, w.len);
        }
    }
}

/* Pointers to pointers: bounded, or a message of them would cost its length squared. */
static void test_pointer_count(void **state)
{
    (void)state;
    uint8_t bytes[512];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    wbuf_str(&w, HEADER);
    wbuf_u8(&w, 0);
    size_t before = DNS_HEADER_LEN;
    for (size_t count = 1; count <= 40; count++) {
        size_t at = w.len;
        wbuf_u16(&w, (uint16_t)(0xC000U | before));
        before = at;
        struct dns_name name;
        size_t end;
        assert_int_equal(name_at(wbuf_span(&w), at, &name, &end), count <= 16);
        if (count <= 16) {
            assert_int_equal(name.len, 1);
            assert_int_equal(end, w.len);
        }
    }
}

static void test_within(void **state)
{
    (void)state;
    static const struct {
        const char *name, *zone;
        bool is_within;
    } rows[] = {
        {"a.example", "example", true},
        {"a.EXAMPLE", "Example", true},
        {"example", "example", true},
        {"a.b.example", "b.example", true},
        {"example", ".", true},
        {".", ".", true},
        {".", "example", false},
        {"example", "a.example", false},
        {"a.xample", "example", false},
        {"bexample", "example", false},
        {"a.example.net", "example", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dns_name name, zone;
        struct wbuf w = wbuf_make(name.wire, sizeof name.wire);
        msg_name(&w, rows[i].name);
        name.len = w.len;
        w = wbuf_make(zone.wire, sizeof zone.wire);
        msg_name(&w, rows[i].zone);
        zone.len = w.len;
        if (dns_name_is_within(&name, &zone) != rows[i].is_within) {
            fail_msg("%s in %s", rows[i].name, rows[i].zone);
        }
    }
    /* a zone that is a tail of the bytes, but not of the labels */
    struct dns_name name = {.len = 11, .wire = "\11a\7example"};
    struct dns_name zone = {.len = 9, .wire = "\7example"};
    assert_false(dns_name_is_within(&name, &zone));
}

/* Reads one record with this RDATA from a message that ends with it, or with one more byte in RDLENGTH's
 * count. */
static bool rdata_is_read(uint16_t type, struct span rdata)
{
    uint8_t bytes[256];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    wbuf_str(&w, HEADER);
    wbuf_put(&w, SPAN_LIT("\7example\0"));
    size_t at = w.len;
    msg_rr(&w, "@12", type, 1, rdata);
    uint8_t *copy = malloc(w.len);
    assert_non_null(copy);
    memcpy(copy, bytes, w.len);
    struct cursor c = cursor_make(span_make(copy, w.len));
    struct dns_rr rr;
    cursor_skip(&c, at);
    dns_rr_read_checked(&c, &rr);
    bool is_ok = cursor_is_ok(&c);
    if (is_ok) {
        assert_int_equal(c.pos, w.len);
        assert_int_equal(rr.type, type);
        assert_int_equal(rr.rdata_len, rdata.len);
        assert_int_equal(rr.owner_at, at);
    }
    free(copy);
    return is_ok;
}

/* Of each type: whole is fine; any cut and any byte more is not, but for types that end in "the rest". */
static void test_rdata(void **state)
{
    (void)state;
#define ROW(type, least, data)                                                                               \
    {                                                                                                        \
        (type), (least), sizeof(data) - 1, (data)                                                            \
    }
    static const struct {
        uint16_t type;
        size_t least; /* from here on any length is fine; 0: only the whole */
        size_t len;
        const char *data;
    } rows[] = {
        ROW(DNS_A, 0, "\1\2\3\4"),
        ROW(DNS_AAAA, 0, "0123456789abcdef"),
        ROW(DNS_NS, 0, "\2ns\300\14"),
        ROW(DNS_CNAME, 0, "\1a\0"),
        ROW(DNS_PTR, 0, "\300\14"),
        ROW(39, 0, "\1d\300\14"),
        ROW(DNS_SOA, 0,
            "\300\14\1r\300\14"
            "01234567890123456789"),
        ROW(14, 0, "\1a\0\1b\0"),
        ROW(15, 0, "\0\12\2mx\300\14"),
        ROW(33, 0, "\0\1\0\2\0\3\1a\0"),
        ROW(35, 0, "\0\1\0\2\1u\1s\1r\1a\0"),
        ROW(13, 0, "\3cpu\2os"),
        ROW(51, 0, "\1\0\0\12\2ab"),
        ROW(43, 4, "\1\2\3\4digest"),
        ROW(46, 21,
            "\0\1\5\2"
            "0123"
            "0123"
            "0123"
            "\0\1\1s\0signature"),
        ROW(47, 3, "\1n\0\0\1\100"),
        ROW(50, 8, "\1\0\0\12\0\2hh\0\1\100"),
        ROW(3000, 0 + 1, "opaque"),
    };
#undef ROW
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len <= rows[i].len + 1; len++) {
            uint8_t data[64] = {0};
            memcpy(data, rows[i].data, rows[i].len);
            bool want = rows[i].least == 0 ? len == rows[i].len : len >= rows[i].least;
            want = want || rows[i].type == 3000;
            if (rdata_is_read(rows[i].type, span_make(data, len)) != want) {
                fail_msg("type %u, %zu of %zu bytes", (unsigned)rows[i].type, len, rows[i].len);
            }
        }
    }
    assert_true(rdata_is_read(DNS_TXT, SPAN_LIT("\0")));
    assert_true(rdata_is_read(DNS_TXT, SPAN_LIT("\2ab\0\1c")));
    assert_false(rdata_is_read(DNS_TXT, SPAN_LIT("")));
    assert_false(rdata_is_read(DNS_TXT, SPAN_LIT("\2ab\2c")));
}

/* A name in RDATA may not run on into what follows the record. */
static void test_rdata_name_ends_inside(void **state)
{
    (void)state;
    static const uint8_t msg[] = HEADER "\0\0\2\0\1\0\0\0\1\0\2\1a\0\0\0\0";
    struct cursor c = cursor_make(span_make(msg, sizeof msg - 1));
    struct dns_rr rr;
    cursor_skip(&c, DNS_HEADER_LEN);
    dns_rr_read_checked(&c, &rr);
    assert_false(cursor_is_ok(&c));
}

/* Walks the records of a message without question. */
static bool walk(struct wbuf *w, struct dns_records *found)
{
    struct cursor c = cursor_make(wbuf_span(w));
    struct dns_header h;
    dns_header_read(&c, &h);
    return dns_records_walk(&c, &h, found);
}

enum place { IN_ANSWER, IN_AUTHORITY, IN_ADDITIONAL };

static void test_meta_records_have_their_place(void **state)
{
    (void)state;
    for (enum place place = IN_ANSWER; place <= IN_ADDITIONAL; place++) {
        for (int is_tsig = 0; is_tsig <= 1; is_tsig++) {
            uint8_t bytes[256];
            struct wbuf w = wbuf_make(bytes, sizeof bytes);
            struct dns_records found;
            msg_header(&w, 1, 0,
                       MSG_COUNTS(0, place == IN_ANSWER, place == IN_AUTHORITY, place == IN_ADDITIONAL));
            if (is_tsig == 1) {
                msg_tsig(&w);
            } else {
                msg_opt(&w, 4096, 0x12348000, SPAN_LIT(""));
            }
            assert_int_equal(walk(&w, &found), place == IN_ADDITIONAL);
            if (place == IN_ADDITIONAL) {
                assert_int_equal(found.has_opt, is_tsig == 0);
                assert_int_equal(found.plain_count, 0);
            }
            if (found.has_opt) {
                assert_int_equal(found.opt_size, 4096);
                assert_int_equal(found.opt_rcode, 0x12);
                assert_int_equal(found.opt_version, 0x34);
                assert_true(found.opt_do);
            }
        }
    }
}

static void test_sections_are_told_apart(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    struct dns_records found;
    msg_header(&w, 1, 0, MSG_COUNTS(0, 1, 1, 3));
    msg_a(&w, ".", 1, "192.0.2.1");
    size_t authority = w.len;
    msg_a(&w, ".", 1, "192.0.2.2");
    msg_a(&w, ".", 1, "192.0.2.3");
    msg_opt(&w, 512, 0, SPAN_LIT(""));
    msg_a(&w, ".", 1, "192.0.2.4");
    assert_true(walk(&w, &found));
    assert_int_equal(found.answer_at, DNS_HEADER_LEN);
    assert_int_equal(found.authority_at, authority);
    assert_int_equal(found.plain_count, 2);
    bytes[11]--; /* a record nobody counted */
    assert_false(walk(&w, &found));
    bytes[11] = (uint8_t)(bytes[11] + 2); /* a record nobody sent */
    assert_false(walk(&w, &found));
}

/* In place, a pointer, and one behind a label, which is a name of its own. */
static void test_place(void **state)
{
    (void)state;
    const struct span msg = SPAN_LIT(HEADER "\2gg\0" /* 12 */ "\300\14" /* 16 */ "\1a\300\14" /* 18 */
                                            "\300\22" /* 22 */ "\0" /* 24 */);
    assert_int_equal(dns_name_place(msg, 12), 12);
    assert_int_equal(dns_name_place(msg, 16), 12);
    assert_int_equal(dns_name_place(msg, 18), 18);
    assert_int_equal(dns_name_place(msg, 22), 18);
    assert_int_equal(dns_name_place(msg, 24), 24);
    const struct span far = SPAN_LIT("\301\2"); /* all of the fourteen bits */
    assert_int_equal(dns_name_place(far, 0), 258);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_length_through_pointers),
        cmocka_unit_test(test_pointer_count),
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_rdata),
        cmocka_unit_test(test_rdata_name_ends_inside),
        cmocka_unit_test(test_meta_records_have_their_place),
        cmocka_unit_test(test_sections_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
