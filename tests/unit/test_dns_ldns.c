/* SPDX-License-Identifier: Apache-2.0 */
/* dns_ldns: names of types and rcodes, and the SOA template. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_ldns.h"

static void test_type_text(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        const char *text;
    } rows[] = {
        {DNS_A, "A"},         {DNS_AAAA, "AAAA"}, {DNS_CNAME, "CNAME"}, {DNS_SOA, "SOA"},
        {DNS_PTR, "PTR"},     {DNS_TXT, "TXT"},   {33, "SRV"},          {DNS_SVCB, "SVCB"},
        {DNS_HTTPS, "HTTPS"}, {DNS_OPT, "OPT"},   {DNS_TSIG, "TSIG"},   {DNS_IXFR, "IXFR"},
        {DNS_AXFR, "AXFR"},   {DNS_ANY, "ANY"},   {0, "TYPE0"},         {65400, "TYPE65400"},
        {65535, "TYPE65535"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[16];
        assert_ptr_equal(dns_type_text(rows[i].type, text, sizeof text), text);
        assert_string_equal(text, rows[i].text);
    }
    char small[4];
    assert_string_equal(dns_type_text(65400, small, sizeof small), "TYP"); /* cut, and ended */
}

static void test_every_type_has_a_text(void **state)
{
    (void)state;
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        char text[32];
        assert_true(dns_type_text((uint16_t)type, text, sizeof text)[0] != '\0');
    }
}

static void test_rcode_text(void **state)
{
    (void)state;
    assert_string_equal(dns_rcode_text(DNS_NOERROR), "NOERROR");
    assert_string_equal(dns_rcode_text(DNS_FORMERR), "FORMERR");
    assert_string_equal(dns_rcode_text(DNS_SERVFAIL), "SERVFAIL");
    assert_string_equal(dns_rcode_text(DNS_NXDOMAIN), "NXDOMAIN");
    assert_string_equal(dns_rcode_text(DNS_NOTIMP), "NOTIMPL");
    assert_string_equal(dns_rcode_text(DNS_REFUSED), "REFUSED");
    assert_string_equal(dns_rcode_text(DNS_BADVERS), "BADVERS");
    assert_string_equal(dns_rcode_text(4095), "RCODE?");
    assert_string_equal(dns_rcode_text(65535), "RCODE?");
}

static void test_soa_template(void **state)
{
    (void)state;
    struct dns_soa_template t;
    assert_int_equal(dns_soa_template_build(&t), 0);
    static const uint8_t want[] = "\0\0\6\0\1\0\0\0\0\0\74\4dnsd\11openshell\7invalid\0\6nobody\7invalid\0"
                                  "\0\0\0\0\0\0\16\20\0\0\2\130\0\1\121\200\0\0\0\0";
    assert_int_equal(t.len, sizeof want - 1);
    assert_memory_equal(t.wire, want, t.len);
    assert_int_equal(t.ttl_at, 5);
    assert_int_equal(t.serial_at, t.len - 20);
    assert_int_equal(t.minimum_at, t.len - 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_type_text),
        cmocka_unit_test(test_every_type_has_a_text),
        cmocka_unit_test(test_rcode_text),
        cmocka_unit_test(test_soa_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
