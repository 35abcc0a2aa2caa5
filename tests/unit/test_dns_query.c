/* SPDX-License-Identifier: Apache-2.0 */
/* dns_query: what a client may send, what it gets told otherwise, and the query we send ourselves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/dns_msg.h"

#include <stdlib.h>

#define CAP 1024

struct probe {
    uint8_t bytes[CAP];
    struct wbuf w;
    struct dns_query q;
    enum dns_rcode rcode;
};

static struct probe *probe_new(void)
{
    struct probe *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->w = wbuf_make(p->bytes, CAP);
    return p;
}

/* Parses an exact copy on the heap, so that one byte too far is seen by the sanitizer. */
static enum dns_query_result parse_copy(struct probe *p, size_t len)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, p->bytes, len);
    enum dns_query_result r = dns_query_parse(span_make(copy, len), &p->q, &p->rcode);
    free(copy);
    return r;
}

static enum dns_query_result parse(struct probe *p)
{
    assert_false(p->w.overflow);
    return parse_copy(p, p->w.len);
}

static void test_plain_query(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, 0xBEEF, 0x0110, MSG_COUNTS(1, 0, 0, 0));
    msg_question(&p->w, "Gateway.Discord.GG", DNS_AAAA);
    /* not the copy: the spans have to be looked at */
    assert_int_equal(dns_query_parse(wbuf_span(&p->w), &p->q, &p->rcode), DNS_QUERY_OK);
    assert_int_equal(p->rcode, DNS_NOERROR);
    assert_int_equal(p->q.id, 0xBEEF);
    assert_int_equal(p->q.opcode, 0);
    assert_true(p->q.rd);
    assert_true(p->q.cd);
    assert_int_equal(p->q.qtype, DNS_AAAA);
    assert_int_equal(p->q.qclass, DNS_IN);
    assert_false(p->q.has_opt);
    assert_int_equal(p->q.udp_size, 512);
    assert_true(span_is_equal(p->q.qname, SPAN_LIT("\7Gateway\7Discord\2GG\0")));
    assert_ptr_equal(p->q.question.data, p->bytes + DNS_HEADER_LEN);
    assert_int_equal(p->q.question.len, p->q.qname.len + 4);
    free(p);
}

static void test_flags_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        uint16_t flags;
        bool rd, cd;
    } rows[] = {{0x0000, false, false}, {0x0100, true, false}, {0x0010, false, true}, {0x066F, false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 1, rows[i].flags, MSG_COUNTS(1, 0, 0, 0));
        msg_question(&p->w, "a.example", DNS_A);
        assert_int_equal(parse(p), DNS_QUERY_OK); /* TC, AA, AD, Z and RCODE mean nothing in a query */
        assert_int_equal(p->q.rd, rows[i].rd);
        assert_int_equal(p->q.cd, rows[i].cd);
        free(p);
    }
}

static void test_opt(void **state)
{
    (void)state;
    static const struct {
        uint16_t size;
        uint32_t bits;
        uint16_t udp_size;
        bool dnssec_ok;
    } rows[] = {
        {1232, 0, 1232, false},         {0, 0, 512, false},        {511, 0, 512, false},
        {512, 0x8000, 512, true},       {513, 0x7FFF, 513, false}, {65535, 0x8000, 65535, true},
        {4096, 0xFF008000, 4096, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 1, 0x0100, MSG_COUNTS(1, 0, 0, 1));
        msg_question(&p->w, "a.example", DNS_A);
        msg_opt(&p->w, rows[i].size, rows[i].bits, SPAN_LIT("\0\12\0\10abcdefgh\xFF\xFE\0\0"));
        assert_int_equal(parse(p), DNS_QUERY_OK);
        assert_true(p->q.has_opt);
        assert_int_equal(p->q.edns_version, 0);
        assert_int_equal(p->q.udp_size, rows[i].udp_size);
        assert_int_equal(p->q.dnssec_ok, rows[i].dnssec_ok);
        free(p);
    }
}

static void test_edns_version_is_badvers(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, 1, 0x0100, MSG_COUNTS(1, 0, 0, 1));
    msg_question(&p->w, "a.example", DNS_AXFR); /* BADVERS goes before REFUSED */
    msg_opt(&p->w, 1232, 0x00018000, SPAN_LIT(""));
    assert_int_equal(parse(p), DNS_QUERY_ERROR);
    assert_int_equal(p->rcode, DNS_BADVERS);
    assert_true(p->q.has_opt);
    assert_int_equal(p->q.edns_version, 1);
    assert_true(p->q.dnssec_ok);
    assert_int_not_equal(p->q.question.len, 0);
    free(p);
}

static void test_drop(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, 1, 0x8100, MSG_COUNTS(1, 0, 0, 0));
    msg_question(&p->w, "a.example", DNS_A);
    assert_int_equal(parse(p), DNS_QUERY_DROP); /* a response: an answer could start a loop */
    p->bytes[2] = 0x01;
    assert_int_equal(parse(p), DNS_QUERY_OK);
    for (size_t len = 0; len < DNS_HEADER_LEN; len++) {
        assert_int_equal(parse_copy(p, len), DNS_QUERY_DROP);
    }
    assert_int_equal(parse_copy(p, DNS_HEADER_LEN), DNS_QUERY_ERROR);
    free(p);
}

static void test_opcodes(void **state)
{
    (void)state;
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 7, (uint16_t)(opcode << 11), MSG_COUNTS(0, 0, 0, 0));
        assert_int_equal(parse(p), DNS_QUERY_ERROR);
        assert_int_equal(p->rcode, DNS_NOTIMP);
        assert_int_equal(p->q.opcode, opcode);
        assert_int_equal(p->q.id, 7);
        assert_int_equal(p->q.question.len, 0);
        free(p);
    }
}

static void test_opt_beside_other_faults(void **state)
{
    (void)state;
    static const struct {
        uint16_t flags, questions;
        enum dns_rcode rcode;
    } rows[] = {{0x0000, 0, DNS_FORMERR},
                {0x0000, 2, DNS_FORMERR},
                {0x2000, 0, DNS_NOTIMP},
                {0x2000, 1, DNS_NOTIMP},
                {0x7800, 3, DNS_NOTIMP}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 1, rows[i].flags, MSG_COUNTS(rows[i].questions, 0, 0, 1));
        for (uint16_t n = 0; n < rows[i].questions; n++) {
            msg_question(&p->w, "a.example", DNS_A);
        }
        const size_t opt_at = p->w.len;
        msg_opt(&p->w, 4096, 0x00018000, SPAN_LIT(""));
        assert_int_equal(parse(p), DNS_QUERY_ERROR);
        assert_int_equal(p->rcode, rows[i].rcode);
        assert_true(p->q.has_opt);
        assert_true(p->q.dnssec_ok);
        assert_int_equal(p->q.udp_size, 4096);
        assert_int_equal(p->q.question.len, 0);
        for (size_t len = opt_at; len < p->w.len; len++) {
            assert_int_equal(parse_copy(p, len), DNS_QUERY_ERROR);
            assert_int_equal(p->rcode, rows[i].rcode);
            assert_false(p->q.has_opt);
        }
        free(p);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, class;
    } rows[] = {{DNS_A, 3}, {DNS_A, 255}, {DNS_A, 0}, {DNS_AXFR, DNS_IN}, {DNS_IXFR, DNS_IN}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
        msg_name(&p->w, "a.example");
        wbuf_u16(&p->w, rows[i].type);
        wbuf_u16(&p->w, rows[i].class);
        assert_int_equal(parse(p), DNS_QUERY_ERROR);
        assert_int_equal(p->rcode, DNS_REFUSED);
        assert_int_not_equal(p->q.question.len, 0);
        free(p);
    }
    struct probe *p = probe_new();
    msg_header(&p->w, 1, 0, MSG_COUNTS(1, 0, 1, 1));
    msg_question(&p->w, "example", DNS_IXFR);
    msg_soa(&p->w, "example", 0, 0); /* RFC 1995 3: the version the client has */
    msg_opt(&p->w, 1232, 0, SPAN_LIT(""));
    assert_int_equal(parse(p), DNS_QUERY_ERROR);
    assert_int_equal(p->rcode, DNS_REFUSED);
    assert_true(p->q.has_opt);
    free(p);
}

static void test_any_type_and_the_root_are_read(void **state)
{
    (void)state;
    static const uint16_t types[] = {0, 1, 2, 6, 12, 16, 33, 41, 64, 65, 250, 255, 65535};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
        msg_question(&p->w, ".", types[i]);
        assert_int_equal(parse(p), DNS_QUERY_OK);
        assert_int_equal(p->q.qtype, types[i]);
        free(p);
    }
}

static void test_name_bounds(void **state)
{
    (void)state;
    /* the last label's length decides: 3 * 64 + 1 + n + 1 bytes in all */
    for (size_t last = 60; last <= 64; last++) {
        struct probe *p = probe_new();
        msg_header(&p->w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
        for (size_t i = 0; i < 4; i++) {
            size_t len = i < 3 ? 63 : last;
            wbuf_u8(&p->w, (uint8_t)len);
            for (size_t j = 0; j < len; j++) {
                wbuf_u8(&p->w, 'x');
            }
        }
        wbuf_u8(&p->w, 0);
        wbuf_u16(&p->w, DNS_A);
        wbuf_u16(&p->w, DNS_IN);
        bool fits = 3 * 64 + 1 + last + 1 <= 255;
        assert_int_equal(parse(p), fits ? DNS_QUERY_OK : DNS_QUERY_ERROR);
        assert_int_equal(p->rcode, fits ? DNS_NOERROR : DNS_FORMERR);
        assert_int_equal(p->q.qname.len, fits ? 194 + last : 0);
        free(p);
    }
    struct probe *p = probe_new();
    msg_header(&p->w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    for (size_t i = 0; i < 127; i++) {
        wbuf_put(&p->w, SPAN_LIT("\1x"));
    }
    wbuf_put(&p->w, SPAN_LIT("\0\0\1\0\1"));
    assert_int_equal(parse(p), DNS_QUERY_OK);
    assert_int_equal(p->q.qname.len, 255);
    free(p);
}

typedef void build_fn(struct wbuf *w);

static void build_no_question(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(0, 0, 0, 0));
}
static void build_two_questions(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(2, 0, 0, 0));
    msg_question(w, "a.example", DNS_A);
    msg_question(w, "a.example", DNS_A);
}
static void build_count_65535(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(65535, 65535, 65535, 65535));
    msg_question(w, "a.example", DNS_A);
}
static void build_pointer_to_itself(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    msg_question(w, "@12", DNS_A);
}
static void build_pointer_to_label(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    msg_question(w, "a.b@12", DNS_A);
}
static void build_pointer_into_header(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    msg_question(w, "a@4", DNS_A);
}
static void build_label_type_64(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    wbuf_put(w, SPAN_LIT("\x41\1\0\0\1\0\1"));
}
static void build_label_type_128(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    wbuf_put(w, SPAN_LIT("\x80\0\0\1\0\1"));
}
static void build_trailing_byte(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 0));
    msg_question(w, "a.example", DNS_A);
    wbuf_u8(w, 0);
}
static void build_answer_record(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 1, 0, 0));
    msg_question(w, "a.example", DNS_A);
    msg_a(w, "a.example", 1, "192.0.2.1");
}
static void build_authority_record(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 1, 0));
    msg_question(w, "a.example", DNS_A);
    msg_soa(w, "example", 1, 1);
}
static void build_ixfr_two_authority_records(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 2, 0));
    msg_question(w, "a.example", DNS_IXFR);
    msg_soa(w, "example", 1, 1);
    msg_soa(w, "example", 1, 1);
}
static void build_additional_record(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_rr(w, "covert.example", DNS_TXT, 1, SPAN_LIT("\3abc"));
}
static void build_two_opts(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 2));
    msg_question(w, "a.example", DNS_A);
    msg_opt(w, 1232, 0, SPAN_LIT(""));
    msg_opt(w, 4096, 0, SPAN_LIT(""));
}
static void build_opt_in_authority(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 1, 0));
    msg_question(w, "a.example", DNS_IXFR);
    msg_opt(w, 1232, 0, SPAN_LIT(""));
}
static void build_opt_off_the_root(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_rr_head(w, "x", DNS_OPT, 1232, 0);
    wbuf_u16(w, 0);
}
static void build_option_overruns(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_opt(w, 1232, 0, SPAN_LIT("\0\12\0\11abcdefgh"));
}
static void build_option_cut(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_opt(w, 1232, 0, SPAN_LIT("\0\12\0"));
}
static void build_tsig_before_opt(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 2));
    msg_question(w, "a.example", DNS_A);
    msg_tsig(w);
    msg_opt(w, 1232, 0, SPAN_LIT(""));
}
static void build_two_tsigs(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 2));
    msg_question(w, "a.example", DNS_A);
    msg_tsig(w);
    msg_tsig(w);
}
static void build_tsig_class_in(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_tsig(w);
    w->data[w->len - 19 - 2 - 4 - 1] = DNS_IN;
}
static void build_tsig_ttl_1(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_tsig(w);
    w->data[w->len - 19 - 2 - 1] = 1;
}
static void build_tsig_surplus(struct wbuf *w)
{
    msg_header(w, 1, 0, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "a.example", DNS_A);
    msg_rr_head(w, "key", DNS_TSIG, 255, 0);
    wbuf_u16(w, 20);
    wbuf_put(w, SPAN_LIT("\1x\0\0\0\0\0\0\1\1\54\0\0\0\7\0\0\0\0\0"));
}

static void test_formerr(void **state)
{
    (void)state;
    static const struct {
        build_fn *build;
        bool has_question; /* readable, so it is sent back */
    } rows[] = {
        {build_no_question, false},      {build_two_questions, false},
        {build_count_65535, false},      {build_pointer_to_itself, false},
        {build_pointer_to_label, false}, {build_pointer_into_header, false},
        {build_label_type_64, false},    {build_label_type_128, false},
        {build_trailing_byte, true},     {build_answer_record, true},
        {build_authority_record, true},  {build_ixfr_two_authority_records, true},
        {build_additional_record, true}, {build_two_opts, true},
        {build_opt_in_authority, true},  {build_opt_off_the_root, true},
        {build_option_overruns, true},   {build_option_cut, true},
        {build_tsig_before_opt, true},   {build_two_tsigs, true},
        {build_tsig_class_in, true},     {build_tsig_ttl_1, true},
        {build_tsig_surplus, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        rows[i].build(&p->w);
        enum dns_query_result r = parse(p);
        if (r != DNS_QUERY_ERROR || p->rcode != DNS_FORMERR ||
            (p->q.question.len > 0) != rows[i].has_question) {
            fail_msg("row %zu: result %d, rcode %d, question %zu bytes", i, (int)r, (int)p->rcode,
                     p->q.question.len);
        }
        free(p);
    }
}

static void test_last_tsig_is_passed_over(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, 1, 0, MSG_COUNTS(1, 0, 0, 2));
    msg_question(&p->w, "a.example", DNS_A);
    msg_opt(&p->w, 1232, 0, SPAN_LIT(""));
    msg_tsig(&p->w);
    assert_int_equal(parse(p), DNS_QUERY_OK);
    assert_true(p->q.has_opt);
    free(p);
}

static void test_every_truncation(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, 1, 0x0100, MSG_COUNTS(1, 0, 0, 2));
    msg_question(&p->w, "gateway.discord.gg", DNS_A);
    msg_opt(&p->w, 1232, 0, SPAN_LIT("\0\12\0\10abcdefgh"));
    msg_tsig(&p->w);
    size_t whole = p->w.len;
    assert_int_equal(parse_copy(p, whole), DNS_QUERY_OK);
    for (size_t len = 0; len < whole; len++) {
        enum dns_query_result r = parse_copy(p, len);
        assert_int_equal(r, len < DNS_HEADER_LEN ? DNS_QUERY_DROP : DNS_QUERY_ERROR);
        assert_int_equal(p->rcode, DNS_FORMERR);
        assert_false(p->q.has_opt); /* nothing half-read is reported */
    }
    free(p);
}

static void test_build_and_read_back(void **state)
{
    (void)state;
    for (int with_opt = 0; with_opt <= 1; with_opt++) {
        struct probe *p = probe_new();
        dns_query_build(&p->w, 0x1234, SPAN_LIT("\3wWw\7eXample\0"), DNS_AAAA, with_opt == 1);
        assert_int_equal(p->w.len, 12 + 13 + 4 + (with_opt == 1 ? 11 : 0));
        assert_int_equal(parse(p), DNS_QUERY_OK);
        assert_int_equal(p->q.id, 0x1234);
        assert_true(p->q.rd);
        assert_false(p->q.cd);
        assert_int_equal(p->q.qtype, DNS_AAAA);
        assert_int_equal(p->q.has_opt, with_opt);
        assert_int_equal(p->q.udp_size, with_opt == 1 ? 1232 : 512);
        assert_false(p->q.dnssec_ok);
        assert_int_equal(p->bytes[2], 1); /* RD and nothing else */
        assert_int_equal(p->bytes[3], 0);
        assert_memory_equal(p->bytes + 12, "\3wWw\7eXample", 13);
        free(p);
    }
    uint8_t small[300];
    struct wbuf w = wbuf_make(small, sizeof small);
    uint8_t longest[255] = {0};
    for (size_t i = 0; i < 254; i += 2) {
        longest[i] = 1;
        longest[i + 1] = 'x';
    }
    dns_query_build(&w, 1, span_make(longest, sizeof longest), DNS_A, true);
    assert_false(w.overflow); /* promised: fits 300 bytes */
}

/* RFC 7830: one option of zeros in the OPT that is there; every length of a name ends at a block's end. */
static void test_padding(void **state)
{
    (void)state;
    for (uint8_t label = 1; label <= 63; label++) {
        for (int longer = 0; longer <= 1; longer++) {
            uint8_t name[255] = {0};
            size_t len = 0;
            for (int i = 0; i < (longer == 1 ? 3 : 1); i++) {
                name[len] = label;
                memset(name + len + 1, 'x', label);
                len += 1U + label;
            }
            struct probe *p = probe_new();
            dns_query_build(&p->w, 7, span_make(name, len + 1), DNS_A, true);
            size_t bare = p->w.len;
            dns_query_pad(&p->w, 128);
            assert_false(p->w.overflow);
            assert_int_equal(p->w.len % 128, 0);
            assert_true(p->w.len >= bare + 4 && p->w.len < bare + 4 + 128);
            size_t option = p->w.len - bare;
            assert_int_equal(p->bytes[bare - 2] << 8 | p->bytes[bare - 1], option); /* RDLENGTH */
            assert_int_equal(p->bytes[bare] << 8 | p->bytes[bare + 1], 12);
            assert_int_equal(p->bytes[bare + 2] << 8 | p->bytes[bare + 3], option - 4);
            for (size_t i = bare + 4; i < p->w.len; i++) {
                assert_int_equal(p->bytes[i], 0);
            }
            assert_int_equal(parse(p), DNS_QUERY_OK);
            assert_true(p->q.has_opt);
            free(p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_query),
        cmocka_unit_test(test_flags_are_told_apart),
        cmocka_unit_test(test_opt),
        cmocka_unit_test(test_edns_version_is_badvers),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_opcodes),
        cmocka_unit_test(test_opt_beside_other_faults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_any_type_and_the_root_are_read),
        cmocka_unit_test(test_name_bounds),
        cmocka_unit_test(test_formerr),
        cmocka_unit_test(test_last_tsig_is_passed_over),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_build_and_read_back),
        cmocka_unit_test(test_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
