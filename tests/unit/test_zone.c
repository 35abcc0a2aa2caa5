/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/zone.h"

#include "common/dns/dns_tls.h"
#include "common/dns/upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static struct zone zone_of(const char *text)
{
    struct zone z;
    struct err err = {""};
    assert_int_equal(zone_parse(span_str(text), &z, &err), 0);
    assert_string_equal(err.text, "");
    return z;
}

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *suffix;
        size_t count;
        const char *first, *last;
        bool is_open;
    } rows[] = {
        {"cluster.local=10.43.0.10", "cluster.local", 1, "10.43.0.10:53", "10.43.0.10:53", false},
        {"cluster.local=10.43.0.10,open", "cluster.local", 1, "10.43.0.10:53", "10.43.0.10:53", true},
        {"lan=10.0.0.1:5353,fd00::1,[fd00::2]:54", "lan", 3, "10.0.0.1:5353", "[fd00::2]:54", false},
        {"Corp.Example.=10.0.0.1,10.0.0.1:54,open", "corp.example", 2, "10.0.0.1:53", "10.0.0.1:54", true},
        {"home.arpa=10.0.0.1", "home.arpa", 1, "10.0.0.1:53", "10.0.0.1:53", false},
        {"xn--bcher-kva.example=10.0.0.1", "xn--bcher-kva.example", 1, "10.0.0.1:53", "10.0.0.1:53", false},
        {"_tcp.example=127.0.0.1:1", "_tcp.example", 1, "127.0.0.1:1", "127.0.0.1:1", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct zone z = zone_of(rows[i].text);
        char text[ADDR_TEXT_CAP];
        assert_string_equal(z.suffix.text, rows[i].suffix);
        assert_int_equal(z.upstream_count, rows[i].count);
        assert_string_equal(addr_text(&z.upstreams[0], text), rows[i].first);
        assert_string_equal(addr_text(&z.upstreams[z.upstream_count - 1], text), rows[i].last);
        assert_int_equal(z.is_open, rows[i].is_open);
    }
}

static void test_tls(void **state)
{
    (void)state;
    struct zone z;
    struct err err = {""};
    char text[UPSTREAM_TEXT_CAP];
    int rc = zone_parse(SPAN_LIT("lan=tls://10.0.0.1#dns.lan,10.0.0.1:53,tls://[fd00::1]:54#fd00::1,open"),
                        &z, &err);
    if (!dns_tls_is_built()) {
        assert_int_equal(rc, -EINVAL);
        assert_non_null(strstr(err.text, "--with-openssl"));
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(z.upstream_count, 3);
    assert_true(z.is_open);
    assert_string_equal(upstream_text(&z.upstreams[0], z.tls_names[0], text), "tls://10.0.0.1:853#dns.lan");
    assert_string_equal(upstream_text(&z.upstreams[1], z.tls_names[1], text), "10.0.0.1:53");
    assert_string_equal(upstream_text(&z.upstreams[2], z.tls_names[2], text), "tls://[fd00::1]:54#fd00::1");
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says; /* NULL: what host_fault_text says */
        enum host_fault fault;
    } rows[] = {
        {"", "SUFFIX=", HOST_FAULT_NONE},
        {"cluster.local", "SUFFIX=", HOST_FAULT_NONE},
        {"=10.0.0.1", "a suffix is missing", HOST_FAULT_NONE},
        {".=10.0.0.1", "the root is no zone", HOST_FAULT_NONE},
        {"a..b=10.0.0.1", NULL, HOST_FAULT_EMPTY_LABEL},
        {"*.example=10.0.0.1", NULL, HOST_FAULT_BAD_BYTE},
        {"b\xc3\xbc.example=10.0.0.1", NULL, HOST_FAULT_NON_ASCII},
        {"-a.example=10.0.0.1", NULL, HOST_FAULT_HYPHEN},
        {"10.43=10.0.0.1", NULL, HOST_FAULT_NUMERIC},
        {"10.43.0.10=10.0.0.1", NULL, HOST_FAULT_NUMERIC},
        {"localhost=10.0.0.1", "this host", HOST_FAULT_NONE},
        {"a.localhost=10.0.0.1", "this host", HOST_FAULT_NONE},
        {"10.in-addr.arpa=10.0.0.1", "reverse", HOST_FAULT_NONE},
        {"ip6.arpa=10.0.0.1", "reverse", HOST_FAULT_NONE},
        {"lan=", "an address is missing", HOST_FAULT_NONE},
        {"lan=,10.0.0.1", "an address is missing", HOST_FAULT_NONE},
        {"lan=10.0.0.1,", "an address is missing", HOST_FAULT_NONE},
        {"lan=10.0.0.1,,open", "an address is missing", HOST_FAULT_NONE},
        {"lan=open", "only addresses", HOST_FAULT_NONE},
        {"lan=open,10.0.0.1", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1,open,10.0.0.2", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1,open,open", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1,Open", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1 ,open", "only addresses", HOST_FAULT_NONE},
        {"lan=dns.lan", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1:0", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1:65536", "only addresses", HOST_FAULT_NONE},
        {"lan=0.0.0.0", "only addresses", HOST_FAULT_NONE},
        {"lan=::", "only addresses", HOST_FAULT_NONE},
        {"lan=fe80::1%eth0", "only addresses", HOST_FAULT_NONE},
        {"lan=tls://10.0.0.1", "is missing", HOST_FAULT_NONE},
        {"lan=tls://10.0.0.1#", "is missing", HOST_FAULT_NONE},
        {"lan=tls://10.0.0.1#,open", "is missing", HOST_FAULT_NONE},
        {"lan=tls://10.0.0.1#a..b", NULL, HOST_FAULT_EMPTY_LABEL},
        {"lan=tls://dns.lan#dns.lan", "not an address", HOST_FAULT_NONE},
        {"lan=https://10.0.0.1#dns.lan", "not an address", HOST_FAULT_NONE},
        {"lan=10.0.0.1#dns.lan", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1=open", "only addresses", HOST_FAULT_NONE},
        {"lan=10.0.0.1,10.0.0.1:53", "twice", HOST_FAULT_NONE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct zone z;
        struct err err = {""};
        assert_int_equal(zone_parse(span_str(rows[i].text), &z, &err), -EINVAL);
        const char *says = rows[i].says != NULL ? rows[i].says : host_fault_text(rows[i].fault);
        if (strstr(err.text, says) == NULL || strncmp(err.text, rows[i].text, strlen(rows[i].text)) != 0) {
            fail_msg("%s: %s", rows[i].text, err.text);
        }
    }
}

/* Every truncation is refused, or is the zone that it says by itself; none reads beyond its end. */
static void test_truncations(void **state)
{
    (void)state;
    static const char text[] = "cluster.local=10.43.0.10:5353,[fd00::2]:54,open";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len + 1); /* one byte behind would be seen by the sanitizer */
        struct zone z;
        struct err err = {""};
        assert_non_null(copy);
        memcpy(copy, text, len);
        int rc = zone_parse(span_make(copy, len), &z, &err);
        assert_int_equal(rc == 0, rc == 0 && z.upstream_count > 0 && !z.is_open);
        assert_true(rc == 0 || err.text[0] != '\0');
        free(copy);
    }
}

static void test_most_addresses(void **state)
{
    (void)state;
    char text[600] = "lan=10.0.0.1";
    struct zone z;
    struct err err = {""};
    for (unsigned i = 2; i <= UPSTREAM_MAX; i++) {
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, ",10.0.0.%u", i);
    }
    assert_int_equal(zone_parse(span_str(text), &z, &err), 0);
    assert_int_equal(z.upstream_count, UPSTREAM_MAX);
    size_t len = strlen(text);
    (void)snprintf(text + len, sizeof(text) - len, ",open");
    assert_int_equal(zone_parse(span_str(text), &z, &err), 0);
    (void)snprintf(text + len, sizeof(text) - len, ",10.0.0.99");
    assert_int_equal(zone_parse(span_str(text), &z, &err), -EINVAL);
    assert_non_null(strstr(err.text, "too many"));
}

static struct zone_set set_of(const char *const *texts, size_t count)
{
    struct zone_set set = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        struct zone z = zone_of(texts[i]);
        struct err err = {""};
        assert_int_equal(zone_set_add(&set, &z, &err), 0);
    }
    return set;
}

static void test_set_bounds(void **state)
{
    (void)state;
    struct zone_set set = {.count = 0};
    struct err err = {""};
    struct zone z;
    for (unsigned i = 0; i < ZONES_MAX; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "z%u.example=10.0.0.1", i);
        z = zone_of(text);
        assert_int_equal(zone_set_add(&set, &z, &err), 0);
        assert_int_equal(zone_set_add(&set, &z, &err), -EINVAL);
        assert_non_null(strstr(err.text, "given twice"));
    }
    z = zone_of("one.more=10.0.0.1");
    assert_int_equal(zone_set_add(&set, &z, &err), -EINVAL);
    assert_non_null(strstr(err.text, "16 zones"));
    assert_int_equal(set.count, ZONES_MAX);
}

static void test_longest_suffix_wins(void **state)
{
    (void)state;
    static const char *const zones[] = {"svc.cluster.local=10.0.0.2", "cluster.local=10.0.0.1,open",
                                        "deep.svc.cluster.local=10.0.0.3,open", "lan=10.0.0.4"};
    static const struct {
        const char *name;
        int zone; /* index, or -1 */
        bool is_open, is_parent;
    } rows[] = {
        {"cluster.local", 1, true, true},
        {"x.cluster.local", 1, true, false},
        {"a.b.c.cluster.local", 1, true, false},
        {"svc.cluster.local", 0, false, true},
        {"db.svc.cluster.local", 0, false, false}, /* the closed zone inside the open one */
        {"deep.svc.cluster.local", 2, true, false},
        {"x.deep.svc.cluster.local", 2, true, false},
        {"notdeep.svc.cluster.local", 0, false, false},
        {"xcluster.local", -1, false, false}, /* whole labels only */
        {"local", -1, false, true},
        {"cluster.local.example", -1, false, false},
        {"lan", 3, false, false},
        {"printer.lan", 3, false, false},
        {"example.com", -1, false, false},
    };
    const struct zone_set set = set_of(zones, COUNT(zones));
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct host_name n = name_of(rows[i].name);
        const struct zone *z = zone_find(&set, &n);
        assert_int_equal(z == NULL ? -1 : (int)(z - set.items), rows[i].zone);
        assert_true(zone_find_open(&set, &n) == (rows[i].is_open ? z : NULL));
        assert_int_equal(zone_is_open_parent(&set, &n), rows[i].is_parent);
        assert_null(zone_find(NULL, &n));
        assert_null(zone_find_open(NULL, &n));
        assert_false(zone_is_open_parent(NULL, &n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_most_addresses),
        cmocka_unit_test(test_set_bounds),
        cmocka_unit_test(test_longest_suffix_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
