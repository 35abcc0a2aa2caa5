/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each row is the endpoints of a rule (or a whole policy) and the findings, all of them, in order; a row
 * without findings is as important as one with some: a false alarm is a defect.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_lint.h"
#include "common/policy/policy_lint_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The linker sends the allocations of the library here (--wrap). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static long left = -1; /* allocations until one fails; negative: none does */

static bool fails_now(void)
{
    if (left > 0) {
        left--;
        return false;
    }
    return left == 0 && left-- == 0;
}
void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}

#define EXPECT_MAX 8

struct row {
    const char
        *endpoints; /* the list in one rule, from line 5 on; or a whole policy that starts with "version" */
    const char *expect[EXPECT_MAX]; /* "LINE: part of the message" */
};

static struct policy *load(const struct policy_text *texts, size_t count)
{
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct policy *policy = NULL;
    int rc = policy_load(texts, count, &rules, &diags);
    for (size_t i = 0; rc != 0 && i < diags.count; i++) {
        char *text = policy_diag_text(&diags.items[i], false);
        print_error("%s", text);
        free(text);
    }
    assert_int_equal(rc, 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, 1, &policy), 0);
    return policy;
}

static bool is_expected(const struct policy_diag *d, const char *expect)
{
    char place[16];
    (void)snprintf(place, sizeof place, "%u: ", d->line);
    return strncmp(expect, place, strlen(place)) == 0 && strstr(d->message, expect + strlen(place)) != NULL &&
           d->severity == DIAG_WARNING && d->hint != NULL &&
           (d->line == 0 ? d->source_line[0] == '\0' : d->source_line[0] != '\0');
}

static bool compare(const struct policy_diags *diags, const char *const *expect, size_t expect_count)
{
    bool is_right = diags->count == expect_count;
    for (size_t i = 0; i < diags->count && i < expect_count; i++) {
        is_right = is_right && is_expected(&diags->items[i], expect[i]);
    }
    for (size_t i = 0; i < diags->count && !is_right; i++) {
        print_error("found %u: %s\n", diags->items[i].line, diags->items[i].message);
    }
    return is_right;
}

static void check_rows(const struct row *rows, size_t count)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        static const char head[] =
            "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n";
        char text[4096];
        bool is_whole = strncmp(rows[i].endpoints, "version", 7) == 0;
        (void)snprintf(text, sizeof text, "%s%s", is_whole ? "" : head, rows[i].endpoints);
        const struct policy_text texts[] = {{"p.yaml", span_str(text)}};
        struct policy_diags diags = {0};
        struct policy *p = load(texts, 1);
        assert_int_equal(policy_lint(p, texts, 1, &diags), 0);
        size_t expect_count = 0;
        while (expect_count < EXPECT_MAX && rows[i].expect[expect_count] != NULL) {
            expect_count++;
        }
        if (!compare(&diags, rows[i].expect, expect_count)) {
            print_error("row %zu:\n%s", i, rows[i].endpoints);
            failed++;
        }
        policy_diags_fini(&diags);
        policy_unref(p);
    }
    assert_int_equal(failed, 0);
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

#define EP(text) "      - { " text " }\n"

static void test_control_plane(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {EP("host: a.example.com, ports: [2378, 2381, 6442, 6444, 10249, 10251, 10254, 10256]"), {NULL}},
        {EP("host: '*.example.com', port: 6443"),
         {"6: port 6443 (Kubernetes API) of \"*.example.com\" is refused: it needs an exact host or "
          "allowed_ips"}},
        {EP("host: '*.example.com', port: 6443, allowed_ips: [10.0.0.1]"), {NULL}},
        {EP("host: a.example.com, ports: [443, 10250, 2379]"),
         {"6: port 2379 (etcd) of \"a.example.com\" is the control plane", "6: port 10250 (kubelet)"}},
        {EP("host: a.example.com, ports: [2380, 10255], allowed_ips: [10.0.0.1]"), {NULL}},
        {EP("host: 10.0.0.1, port: 6443"),
         {"6: port 6443 (Kubernetes API) of \"10.0.0.1\" is the control plane"}},
        {EP("port: 6443, allowed_ips: [10.0.0.1]"), {NULL}},
    };
    CHECK_ROWS(rows);
}

static void test_never_dialled(void **state)
{
    (void)state;
#define NEVER "egress: { never: ['192.0.2.1:80', 192.0.2.2] }\n"
#define HEAD "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n"
    static const struct row rows[] = {
        {EP("host: 127.0.0.1, port: 80"), {"6: \"127.0.0.1\" admits nothing: a loopback address is never"}},
        {EP("host: '::1', ports: [80, 443]"), {"6: \"::1\" admits nothing: a loopback address is never"}},
        {EP("host: 169.254.169.254, port: 80"),
         {"6: \"169.254.169.254\" admits nothing: the address of a metadata service is never dialled"}},
        {EP("host: 169.254.1.1, port: 80"), {"6: \"169.254.1.1\" admits nothing: a link-local address is"}},
        {EP("host: '::ffff:10.0.0.1', port: 80"), {"6: \"::ffff:10.0.0.1\" admits nothing: an IPv6 address"}},
        {EP("host: 10.0.0.1, port: 80") EP("host: 192.0.2.1, port: 80") EP("host: 203.0.113.1, port: 80"),
         {NULL}},
        {EP("host: 10.0.0.1, port: 80, allowed_ips: [10.0.0.2]"),
         {"6: \"10.0.0.1\" admits nothing: the endpoint's allowed_ips do not list this address"}},
        {EP("host: 10.0.0.1, port: 80, allowed_ips: [10.0.0.0/24]"), {NULL}},
        {EP("port: 80, allowed_ips: [10.0.0.0/24]"), {NULL}},
        {HEAD EP("host: 192.0.2.2, ports: [1, 2]") NEVER, {"6: \"192.0.2.2\" admits nothing: egress.never"}},
        {HEAD EP("host: 192.0.2.1, port: 80") NEVER, {"6: \"192.0.2.1\" admits nothing: egress.never"}},
        /* some port of it can be dialled, also where an overlay has cut it into two */
        {HEAD EP("host: 192.0.2.1, ports: [80, 81]") NEVER, {NULL}},
        {HEAD EP("host: 192.0.2.1, ports: [80, 81]") "egress: { never: ['192.0.2.1:80'], endpoints: [{ host: "
                                                     "192.0.2.1, port: 81, keepalive: off }] }\n",
         {NULL}},
        {HEAD EP("host: 192.0.2.1, ports: [80, 81]") "egress: { never: [192.0.2.1], endpoints: [{ host: "
                                                     "192.0.2.1, port: 81, keepalive: off }] }\n",
         {"6: \"192.0.2.1\" admits nothing: egress.never"}},
    };
    CHECK_ROWS(rows);
#undef NEVER
#undef HEAD
}

static void test_shared_names(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {EP("host: '*.co.uk', port: 443"),
         {"6: \"*.co.uk\" admits hosts of strangers: anybody can register"}},
        {EP("host: '**.github.io', port: 443"), {"6: \"**.github.io\" admits hosts of strangers"}},
        {EP("host: 'api-*.github.io', port: 443"), {"6: \"api-*.github.io\" admits hosts of strangers"}},
        {EP("host: '*.s3.*.amazonaws.com', port: 443"),
         {"6: \"*.s3.*.amazonaws.com\" admits hosts of strangers"}},
        {EP("host: '**.amazonaws.com', port: 443"), {"6: \"**.amazonaws.com\" admits hosts of strangers"}},
        /* names right below are the owner's own services */
        {EP("host: '*.amazonaws.com', port: 443"), {NULL}},
        {EP("host: 'bedrock-runtime.*.amazonaws.com', port: 443"), {NULL}},
        {EP("host: '*.me.github.io', port: 443"), {NULL}},
        {EP("host: 'me.github.io', port: 443"), {NULL}},
        {EP("host: '*.example.com', port: 443"), {NULL}},
        {EP("host: '**.example.co.uk', port: 443"), {NULL}},
        /* one endpoint, cut by an overlay, is told once */
        {"version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n"
         "      - { host: '*.pages.dev', ports: [80, 443] }\n"
         "egress: { endpoints: [{ host: '*.pages.dev', port: 80, timeouts: { idle: 1m } }] }\n",
         {"6: \"*.pages.dev\" admits hosts of strangers"}},
    };
    CHECK_ROWS(rows);
}

static void test_resolvers(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {EP("host: dns.google, port: 443"), {"6: \"dns.google\" is a public resolver"}},
        {EP("host: DNS.Google., port: 853"), {"6: \"dns.google\" is a public resolver"}},
        {EP("host: dns.google, port: 8080"), {NULL}},
        {EP("host: '*.quad9.net', port: 443"),
         {"6: \"*.quad9.net\" admits dns.quad9.net and 4 more: at a public"}},
        {EP("host: '*.nextdns.io', port: 443"), {"6: \"*.nextdns.io\" admits dns.nextdns.io: at a public"}},
        {EP("host: 1.1.1.1, port: 443"), {"6: \"1.1.1.1\" is a public resolver"}},
        {EP("host: '2606:4700:4700:0::1111', port: 853"),
         {"6: \"2606:4700:4700::1111\" is a public resolver"}},
        {EP("host: 1.1.1.4, port: 443"), {NULL}},
        {EP("allowed_ips: [8.8.8.0/24], port: 53"), {"6: allowed_ips admits 8.8.8.8: at a public resolver"}},
        {EP("allowed_ips: [8.8.8.0/24], port: 80"), {NULL}},
        {EP("host: google.example.com, port: 443"), {NULL}},
        {EP("host: '**.google.com', port: 443"), {NULL}},
    };
    CHECK_ROWS(rows);
}

static void test_overlaps(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* what the wider one says is lost */
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 5m }") EP("host: a.example.com, port: 443"),
         {"7: \"a.example.com\" port 443 is also admitted by \"*.example.com\" on line 6, which differs in "
          "timeouts: "
          "what this endpoint says decides"}},
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 5m }, keepalive: off")
             EP("host: a.example.com, ports: [80, 443], timeouts: { connect: 1s }"),
         {"7: \"a.example.com\" port 443 is also admitted by \"*.example.com\" on line 6, which differs in "
          "timeouts "
          "and keepalive"}},
        /* said on purpose, the default, another port, another host */
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 5m }")
             EP("host: a.example.com, port: 443, timeouts: { idle: 0 }"),
         {NULL}},
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 0 }, keepalive: { idle: 60s, interval: 15s, "
            "probes: 4 }") EP("host: a.example.com, port: 443"),
         {NULL}},
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 5m }") EP("host: a.example.com, port: 80"),
         {NULL}},
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 5m }") EP("host: a.b.example.com, port: 443")
             EP("host: example.com, port: 443"),
         {NULL}},
        {EP("host: '**.example.com', port: 443, timeouts: { idle: 5m }")
             EP("host: '*.b.example.com', port: 443"),
         {"7: \"*.b.example.com\" port 443 is also admitted by \"**.example.com\" on line 6"}},
        {EP("host: '*.example.com', port: 443, timeouts: { idle: 5m }")
             EP("host: 'a-*.example.com', port: 443"),
         {"7: \"a-*.example.com\" port 443 is also admitted by \"*.example.com\" on line 6"}},
        {EP("host: 'b-*.example.com', port: 443, timeouts: { idle: 5m }")
             EP("host: 'a-*.example.com', port: 443"),
         {NULL}},
        /* the narrower one says more */
        {EP("host: '*.example.com', port: 443")
             EP("host: a.example.com, port: 443, timeouts: { idle: 5m }, proxy: direct"),
         {NULL}},
        /* of equals the first decides */
        {EP("host: a.example.com, ports: [80, 443], timeouts: { idle: 5m }")
             EP("host: a.example.com, ports: [443, 8080], timeouts: { idle: 6m }"),
         {"6: \"a.example.com\" port 443 is also admitted by line 7, which differs in timeouts"}},
        {EP("host: 192.0.2.1, ports: [80, 443]") EP("host: 192.0.2.1, ports: [443, 8080], keepalive: off"),
         {"6: \"192.0.2.1\" port 443 is also admitted by line 7, which differs in keepalive"}},
        /* records of DNS: a name has those of the endpoints of one host, whatever the process */
        {EP("host: '*.example.com', port: 443, dns: { types: [SRV] }") EP("host: a.example.com, port: 443"),
         {"7: \"a.example.com\" port 443 is also admitted by \"*.example.com\" on line 6, which differs in "
          "dns: what this endpoint says decides"}},
        {EP("host: '*.example.com', port: 443, dns: { types: [SRV] }")
             EP("host: a.example.com, port: 443, dns: { types: [] }"),
         {NULL}},
        {EP("host: '*.example.com', port: 443, dns: { types: [SRV] }") EP("host: a.example.com, port: 443")
             EP("host: a.example.com, port: 80, dns: { types: [TXT] }"),
         {NULL}},
        {EP("host: a.example.com, ports: [80, 443]")
             EP("host: a.example.com, port: 443, dns: { types: [TXT] }"),
         {NULL}},
        {EP("host: a.example.com, ports: [80, 443], dns: { types: [SRV, TXT] }")
             EP("host: a.example.com, port: 443, dns: { types: [TXT] }"),
         {"7: this endpoint never decides"}},
        /* the defaults say the same as the wider one */
        {"version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n" EP(
             "host: '*.example.com', port: 443, timeouts: { idle: 5m }")
             EP("host: a.example.com, port: 443") "egress: { defaults: { timeouts: { idle: 5m } } }\n",
         {NULL}},
    };
    CHECK_ROWS(rows);
}

static void test_proxy_and_l7(void **state)
{
    (void)state;
#define READ_ONLY "protocol: rest, enforcement: enforce, access: read-only"
    static const struct row rows[] = {
        {EP("host: '*.example.com', port: 443, " READ_ONLY) EP("host: a.example.com, port: 443"),
         {"7: \"a.example.com\" port 443 is not carried raw because it is also admitted by \"*.example.com\" "
          "on line "
          "6"}},
        {EP("host: '*.example.com', port: 443, " READ_ONLY)
             EP("host: a.example.com, port: 443, proxy: direct"),
         {NULL}},
        {EP("host: '*.example.com', port: 443") EP("host: a.example.com, port: 443, " READ_ONLY), {NULL}},
        {EP("host: a.example.com, port: 443, " READ_ONLY) EP("host: a.example.com, ports: [443, 80]"),
         {"6: \"a.example.com\" port 443 is not carried raw although line 7 would have it so"}},
        {EP("host: '*.example.com', port: 443, proxy: direct, " READ_ONLY)
             EP("host: a.example.com, port: 443, " READ_ONLY),
         {"7: \"a.example.com\" port 443 is also admitted by \"*.example.com\" on line 6, which differs in "
          "proxy"}},
        /* direct says nothing where nothing requires L7 */
        {EP("host: '*.example.com', port: 443, proxy: direct") EP("host: a.example.com, port: 443"), {NULL}},
    };
    CHECK_ROWS(rows);
}

static void test_ambiguities_there(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {EP("host: '*.example.com', port: 443, allowed_ips: [10.0.0.0/8]")
             EP("host: a.example.com, port: 443"),
         {"7: \"a.example.com\" port 443 is also admitted by \"*.example.com\" on line 6, which differs in "
          "allowed_ips: "
          "what this endpoint says decides"}},
        {EP("host: '*.example.com', port: 443, allowed_ips: [10.0.0.0/8, 192.168.0.0/16]")
             EP("host: a.example.com, port: 443, allowed_ips: [192.168.0.0/16, 10.0.0.0/8]"),
         {NULL}},
        {EP("host: '*.example.com', port: 443, tls: skip")
             EP("host: a.example.com, port: 443, protocol: tcp"),
         {"7: which differs in tls and protocol: tcp: OpenShell takes that for an ambiguity"}},
        {EP("host: '*.example.com', port: 443, tls: terminate") EP("host: a.example.com, port: 443"), {NULL}},
    };
    CHECK_ROWS(rows);
}

#define TWO_RULES(binaries_a, a, binaries_b, b)                                                              \
    "version: 1\nnetwork_policies:\n  a:\n    binaries: [" binaries_a "]\n    endpoints:\n" a                \
    "  b:\n    binaries: [" binaries_b "]\n    endpoints:\n" b
#define NODE "{ path: /usr/bin/node }"
#define GIT "{ path: /usr/bin/git }"
#define ANY "{ path: /** }"
#define TWO_NAMED "3: rule \"a\" and 1 more name binaries: "

static void test_binaries(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* other processes: neither an overlap nor a shadow */
        {TWO_RULES(NODE, EP("host: a.example.com, port: 443, timeouts: { idle: 1m }"), GIT,
                   EP("host: a.example.com, port: 443, timeouts: { idle: 2m }")),
         {TWO_NAMED}},
        {TWO_RULES(NODE, EP("host: a.example.com, port: 443"), ANY, EP("host: a.example.com, port: 443")),
         {"3: rule \"a\" names binaries: openshell-dnsd answers whatever program asks, and openshell-tunneld "
          "does not start where it cannot tell which one asks"}},
        {TWO_RULES(ANY, EP("host: a.example.com, port: 443"), NODE ", " ANY,
                   EP("host: b.example.com, port: 443")),
         {NULL}},
        {TWO_RULES(NODE ", " GIT, EP("host: a.example.com, port: 443, timeouts: { idle: 1m }"), GIT,
                   EP("host: a.example.com, ports: [443, 80], timeouts: { idle: 2m }")),
         {TWO_NAMED, "6: \"a.example.com\" port 443 is also admitted by line 10"}},
        {TWO_RULES(NODE ", " GIT, EP("host: a.example.com, port: 443"), GIT,
                   EP("host: a.example.com, port: 443")),
         {TWO_NAMED, "10: this endpoint never decides: \"a.example.com\" port 443 is admitted by line 6"}},
        {TWO_RULES(ANY, EP("host: a.example.com, port: 443"), GIT, EP("host: a.example.com, port: 443")),
         {"7: rule \"b\" names binaries: ", "10: this endpoint never decides"}},
        /* OpenShell looks at no binaries */
        {TWO_RULES(NODE, EP("host: a.example.com, port: 443, allowed_ips: [10.0.0.1]"), GIT,
                   EP("host: a.example.com, port: 443")),
         {TWO_NAMED, "6: which differs in allowed_ips: OpenShell takes that for an ambiguity"}},
    };
    CHECK_ROWS(rows);
}

static void test_shadows(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {EP("host: a.example.com, ports: [80, 443]") EP("host: a.example.com, port: 443"),
         {"7: this endpoint never decides: \"a.example.com\" port 443 is admitted by line 6 before"}},
        {EP("host: a.example.com, port: 443") EP("host: a.example.com, ports: [80, 443]"), {NULL}},
        /* port by port */
        {EP("host: a.example.com, port: 443") EP("host: a.example.com, port: 80")
             EP("host: a.example.com, ports: [80, 443]"),
         {"8: this endpoint never decides"}},
        {EP("host: a.example.com, port: 443, timeouts: { idle: 1m }")
             EP("host: a.example.com, port: 443, timeouts: { idle: 2m }, keepalive: off"),
         {"7: this endpoint never decides, and what it says of timeouts and keepalive has no"}},
        /* it makes the tunnel require L7, or opens other addresses: not without effect */
        {EP("host: a.example.com, port: 443") EP("host: a.example.com, port: 443, " READ_ONLY),
         {"6: \"a.example.com\" port 443 is not carried raw because it is also admitted by line 7"}},
        {EP("host: a.example.com, port: 443") EP("host: a.example.com, port: 443, allowed_ips: [10.0.0.1]"),
         {"6: which differs in allowed_ips"}},
        /* a wildcard reaches no private address, an exact host does, and names under it count against limits
         */
        {EP("host: '*.example.com', port: 443") EP("host: a.example.com, port: 443"), {NULL}},
        {EP("host: a.example.com, port: 443") EP("host: '*.example.com', port: 443"), {NULL}},
        {EP("host: '*.example.com', port: 443") EP("host: '*.example.com', port: 443"),
         {"7: this endpoint never decides: \"*.example.com\" port 443 is admitted by line 6"}},
        {EP("host: 192.0.2.1, port: 443") EP("host: 192.0.2.1, port: 443"),
         {"7: this endpoint never decides"}},
        {EP("port: 80, allowed_ips: [192.0.2.1]") EP("port: 80, allowed_ips: [192.0.2.1]"), {NULL}},
    };
    CHECK_ROWS(rows);
}

/* Places and names in other files. */
static void test_two_files(void **state)
{
    (void)state;
    const struct policy_text texts[] = {
        {"a.yaml", span_str("version: 1\nnetwork_policies: { a: { binaries: [{ path: /** }], endpoints: [\n"
                            "{ host: a.example.com, port: 443 }] } }\n")},
        {"b.yaml", span_str("version: 1\nnetwork_policies: { b: { binaries: [{ path: /** }], endpoints: [\n"
                            "{ host: a.example.com, port: 443 }] } }\n")},
    };
    struct policy *p = load(texts, 2);
    struct policy_diags diags = {0};
    assert_int_equal(policy_lint(p, texts, 2, &diags), 0);
    assert_int_equal(diags.count, 1);
    assert_string_equal(diags.items[0].file, "b.yaml");
    assert_non_null(strstr(diags.items[0].message, "is admitted by line 3 of a.yaml before"));
    assert_string_equal(diags.items[0].source_line, "{ host: a.example.com, port: 443 }] } }");
    policy_diags_fini(&diags);
    policy_unref(p);
}

static char *many(const char *before, const char *behind, size_t count, size_t *len)
{
    size_t cap = count * 128 + 128;
    char *text = __real_malloc(cap);
    assert_non_null(text);
    size_t used = (size_t)snprintf(
        text, cap, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n");
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, cap - used, "      - %s%zu%s\n", before, i, behind);
    }
    *len = used;
    return text;
}

/* Endpoints with a number in the middle. */
static void lint_many(const char *before, const char *behind, size_t count, struct policy_diags *diags)
{
    size_t len;
    char *text = many(before, behind, count, &len);
    const struct policy_text texts[] = {{"p.yaml", span_make(text, len)}};
    struct policy *p = load(texts, 1);
    assert_int_equal(policy_lint(p, texts, 1, diags), 0);
    policy_unref(p);
    free(text);
}

static void test_findings_are_capped(void **state)
{
    (void)state;
    struct policy_diags diags = {0};
    lint_many("{ host: a", ".example.com, port: 6443 }", LINT_KIND_MAX, &diags);
    assert_int_equal(diags.count, LINT_KIND_MAX);
    policy_diags_fini(&diags);
    lint_many("{ host: a", ".example.com, port: 6443 }", LINT_KIND_MAX + 7, &diags);
    assert_int_equal(diags.count, LINT_KIND_MAX + 1);
    assert_string_equal(diags.items[LINT_KIND_MAX].message, "control-plane ports: 7 more are not shown");
    assert_int_equal(diags.items[LINT_KIND_MAX].line, 0);
    policy_diags_fini(&diags);
}

/* Thousands of endpoints of one host: some are compared, and that not all are is said. */
static void test_work_is_capped(void **state)
{
    (void)state;
    struct policy_diags diags = {0};
    lint_many("{ host: a.example.com, port: 1", " }", 64, &diags);
    assert_int_equal(diags.count, 0);
    lint_many("{ host: a.example.com, port: 1", " }", 65, &diags);
    assert_int_equal(diags.count, 1);
    assert_non_null(strstr(diags.items[0].message, "not all of them were compared"));
    policy_diags_fini(&diags);
}

/* The table is searched by halves; its entries are suffixes as patterns have them. */
static void test_tables(void **state)
{
    (void)state;
    assert_null(lint_find_shared(span_str("")));
    assert_null(lint_find_shared(span_str("example.com")));
    assert_null(lint_find_shared(span_str("a")));
    assert_null(lint_find_shared(span_str("zzz")));
    static const char *const some[] = {"a.run.app", "amazonaws.com", "co.uk", "github.io", "workers.dev"};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        const struct lint_shared *s = lint_find_shared(span_str(some[i]));
        assert_non_null(s);
        assert_string_equal(s->suffix, some[i]);
        for (; i == 0 && strcmp(s->suffix, "workers.dev") != 0; s++) { /* the first and the last entry */
            assert_true(strcmp(s[0].suffix, s[1].suffix) < 0);
            assert_ptr_equal(lint_find_shared(span_str(s->suffix)), s);
        }
    }
    for (size_t i = 0; i < lint_resolver_name_count; i++) {
        struct host_name name;
        assert_int_equal(host_name_parse(span_str(lint_resolver_names[i]), &name), HOST_FAULT_NONE);
    }
    for (size_t i = 0; i < lint_resolver_address_count; i++) {
        struct ip ip;
        assert_int_equal(ip_parse(span_str(lint_resolver_addresses[i]), &ip), 0);
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const struct policy_text texts[] = {
        {"p.yaml",
         span_str("version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n" EP(
             "host: '*.example.com', port: 6443, timeouts: { idle: 1m }")
                      EP("host: a.example.com, port: 6443") EP("host: a.example.com, port: 6443")
                          EP("host: dns.google, port: 443"))}};
    struct policy *p = load(texts, 1);
    int rc = -ENOMEM;
    long count = 0;
    for (; rc != 0 && count < 1000; count++) {
        struct policy_diags diags = {0};
        left = count;
        rc = policy_lint(p, texts, 1, &diags);
        left = -1;
        assert_true(rc == 0 || rc == -ENOMEM);
        policy_diags_fini(&diags);
    }
    assert_in_range(count, 10, 999);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_plane),
        cmocka_unit_test(test_never_dialled),
        cmocka_unit_test(test_shared_names),
        cmocka_unit_test(test_resolvers),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_proxy_and_l7),
        cmocka_unit_test(test_ambiguities_there),
        cmocka_unit_test(test_binaries),
        cmocka_unit_test(test_shadows),
        cmocka_unit_test(test_two_files),
        cmocka_unit_test(test_findings_are_capped),
        cmocka_unit_test(test_work_is_capped),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("policy_lint", tests, NULL, NULL);
}
