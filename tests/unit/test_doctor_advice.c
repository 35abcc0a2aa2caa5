/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "egress/doctor_advice.h"
#include "egress/doctor_dns.h"
#include "egress/doctor_path.h"
#include "egress/doctor_system.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_int_equal(ip_parse(span_str(text), &ip), 0);
    return ip;
}

/* One target in a healthy sandbox; the tests break it. */
struct scene {
    struct doctor_target targets[1];
    struct doctor_facts f;
};

static void scene_init(struct scene *s)
{
    *s = (struct scene){.f = {.target_count = 1, .idle_ms = 1000}};
    s->f.targets = s->targets;
    s->f.resolv = (struct doctor_resolv){.server_count = 1, .ndots = 1, .is_read = true};
    s->f.resolv.servers[0] = (struct addr){.ip = ip_of("127.0.0.1"), .port = 53};
    const struct doctor_env env = {.https_upper = "http://127.0.0.1:3128", .no_upper = "localhost,127.0.0.1"};
    doctor_proxy_read(&env, &s->f.proxy);
    s->targets[0].port = 443;
    assert_int_equal(host_parse(span_str("a.test"), &s->targets[0].host), HOST_FAULT_NONE);
    for (int c = 0; c < DOCTOR_CHECK_COUNT; c++) {
        doctor_tell(&s->targets[0].results[c], DOCTOR_OK, DOCTOR_FAULT_NONE, "fine");
    }
    s->targets[0].native = (struct addr){.ip = ip_of("198.18.0.1"), .port = 443};
}

static void expect_advice(struct scene *s, enum doctor_check c, const char *part)
{
    char text[DOCTOR_ADVICE_CAP];
    const char *advice = doctor_advice(&s->f, &s->targets[0], c, text);
    if (part == NULL) {
        assert_null(advice);
        return;
    }
    if (advice == NULL || strstr(advice, part) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", doctor_check_name(c),
                 advice == NULL ? "(nothing)" : advice, part);
    }
}

static void fail_check(struct scene *s, enum doctor_check c, enum doctor_fault fault)
{
    doctor_tell(&s->targets[0].results[c], DOCTOR_FAILED, fault, "broken");
}

static void test_nothing_to_change(void **state)
{
    (void)state;
    struct scene s;
    char text[DOCTOR_ADVICE_CAP];
    scene_init(&s);
    for (int c = 0; c < DOCTOR_CHECK_COUNT; c++) {
        expect_advice(&s, (enum doctor_check)c, NULL);
    }
    assert_null(doctor_note(&s.f, 0, text));
    assert_true(doctor_all_works(&s.f));
}

/* Whatever fails, there is a line to change, and it names the thing. */
static void test_each_fault(void **state)
{
    (void)state;
    static const struct {
        enum doctor_check check;
        enum doctor_fault fault;
        const char *part;
    } rows[] = {
        {DOCTOR_SYSTEM, DOCTOR_NO_SUCH_HOST, "nsswitch.conf"},
        {DOCTOR_SYSTEM, DOCTOR_ADDRCONFIG, "AI_ADDRCONFIG"},
        {DOCTOR_SYSTEM, DOCTOR_TRY_AGAIN, "ndots:1"},
        {DOCTOR_SYSTEM, DOCTOR_LOOKUP_SLOW, "no `search`"},
        {DOCTOR_DNS_UDP, DOCTOR_NO_SUCH_HOST, "egress: hosts:"},
        {DOCTOR_DNS_UDP, DOCTOR_NO_ADDRESS, "allowed_ips:"},
        {DOCTOR_DNS_UDP, DOCTOR_TRY_AGAIN, "--upstream"},
        {DOCTOR_DNS_UDP, DOCTOR_TIMEOUT, "no DNS at 127.0.0.1 port 53"},
        {DOCTOR_DNS_UDP, DOCTOR_CONN_REFUSED, "--listen 127.0.0.1:53"},
        {DOCTOR_DNS_UDP, DOCTOR_FAMILY_ILL, "--aaaa nodata"},
        {DOCTOR_DNS_UDP, DOCTOR_SERVER_ILL, "one nameserver"},
        {DOCTOR_DNS_UDP, DOCTOR_NAME_EXISTS, "no openshell-dnsd"},
        {DOCTOR_DNS_TCP, DOCTOR_TIMEOUT, "TCP to port 53"},
        {DOCTOR_CONNECT, DOCTOR_CONN_REFUSED, "HTTPS_PROXY=http://127.0.0.1:3128"},
        {DOCTOR_CONNECT, DOCTOR_TIMEOUT, "HTTPS_PROXY=http://127.0.0.1:3128"},
        {DOCTOR_CONNECT, DOCTOR_NO_HTTP, "HTTPS_PROXY=http://127.0.0.1:3128"},
        {DOCTOR_CONNECT, DOCTOR_NO_PROXY_THERE, "start openshell-tunneld"},
        {DOCTOR_CONNECT, DOCTOR_PROXY_UNSET, "export HTTPS_PROXY=http://127.0.0.1:3128"},
        {DOCTOR_CONNECT, DOCTOR_PROXY_URL, "HTTPS_PROXY=http://ADDRESS:PORT"},
        {DOCTOR_CONNECT, DOCTOR_PROXY_NAME, "address in place of its name"},
        {DOCTOR_CONNECT, DOCTOR_DENIED, "- { host: a.test, port: 443 }"},
        {DOCTOR_CONNECT, DOCTOR_PROXY_AUTH, "--chain-auth-file"},
        {DOCTOR_CONNECT, DOCTOR_PROXY_GATEWAY, "explain --live a.test:443"},
        {DOCTOR_CONNECT, DOCTOR_PROXY_STATUS, "request_refused"},
        {DOCTOR_CONNECT_TLS, DOCTOR_TLS_DENIED, "- { host: a.test, port: 443 }"},
        {DOCTOR_NATIVE_TLS, DOCTOR_CONN_CUT, "tunnel_failed"},
        {DOCTOR_NATIVE_TLS, DOCTOR_TIMEOUT, "tunnel_failed"},
        {DOCTOR_NATIVE_TLS, DOCTOR_NO_TLS, "is it the right one"},
        {DOCTOR_NATIVE, DOCTOR_CONN_REFUSED, "--transparent auto"},
        {DOCTOR_NATIVE, DOCTOR_UNREACHABLE, "capture up --mode redirect"},
        {DOCTOR_NATIVE, DOCTOR_TIMEOUT, "--transparent auto"},
        {DOCTOR_NATIVE, DOCTOR_HALF_IPV6, "--aaaa nodata"},
        {DOCTOR_NATIVE_IDLE, DOCTOR_CUT_IDLE, "--idle-timeout"},
        {DOCTOR_CONNECT_IDLE, DOCTOR_CUT_IDLE, "timeouts: { idle: 0 }"},
        {DOCTOR_CONNECT_WEBSOCKET, DOCTOR_CUT_IDLE, "timeouts: { idle: 0 }"},
        {DOCTOR_NATIVE_WEBSOCKET, DOCTOR_CUT_IDLE, "not ours"},
        {DOCTOR_NATIVE_WEBSOCKET, DOCTOR_TLS_FAILED, "tunnel_denied"},
        {DOCTOR_NATIVE_WEBSOCKET, DOCTOR_DISTRUSTED, "SSL_CERT_FILE"},
        {DOCTOR_CONNECT_WEBSOCKET, DOCTOR_UPGRADE_REFUSED, "wss://HOST/PATH"},
        {DOCTOR_CONNECT_WEBSOCKET, DOCTOR_UPGRADE_WRONG, "`Upgrade`"},
        {DOCTOR_CONNECT_WEBSOCKET, DOCTOR_SERVER_CLOSED, "nothing in the network"},
        {DOCTOR_CONNECT_WEBSOCKET, DOCTOR_NO_PONG, "keepalive: { idle: 15s }"},
        {DOCTOR_CONNECT_WEBSOCKET, DOCTOR_BAD_FRAME, "`tls: skip`"},
        {DOCTOR_NATIVE_WEBSOCKET, DOCTOR_DENIED, "- { host: a.test, port: 443 }"},
        {DOCTOR_NATIVE_WEBSOCKET, DOCTOR_TIMEOUT, "a.test:443"},
        {DOCTOR_NATIVE_WEBSOCKET, DOCTOR_CONN_CUT, "tunnel_close"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct scene s;
        scene_init(&s);
        fail_check(&s, rows[i].check, rows[i].fault);
        expect_advice(&s, rows[i].check, rows[i].part);
    }
}

static void test_by_surroundings(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s);
    fail_check(&s, DOCTOR_SYSTEM, DOCTOR_NO_SUCH_HOST);
    fail_check(&s, DOCTOR_DNS_UDP, DOCTOR_NO_SUCH_HOST);
    expect_advice(&s, DOCTOR_SYSTEM, "- { host: a.test, port: 443 }");
    s.targets[0].has_policy = true;
    s.targets[0].has_other_ports = true;
    expect_advice(&s, DOCTOR_SYSTEM, "add 443 to the `ports:`");
    s.targets[0].is_admitted = true;
    expect_advice(&s, DOCTOR_DNS_UDP, "give them this file");

    scene_init(&s);
    fail_check(&s, DOCTOR_SYSTEM, DOCTOR_TRY_AGAIN);
    fail_check(&s, DOCTOR_DNS_UDP, DOCTOR_TIMEOUT);
    expect_advice(&s, DOCTOR_SYSTEM, "no DNS at 127.0.0.1 port 53");
    s.f.resolv.servers[0].ip = ip_of("127.0.0.53");
    expect_advice(&s, DOCTOR_SYSTEM, "systemd-resolved");
    s.f.resolv.server_count = 0;
    expect_advice(&s, DOCTOR_SYSTEM, "no DNS at 127.0.0.1 port 53");

    scene_init(&s);
    fail_check(&s, DOCTOR_NATIVE, DOCTOR_CONN_REFUSED);
    s.targets[0].native.ip = ip_of("45.45.45.1");
    expect_advice(&s, DOCTOR_NATIVE, "--answer synthetic");
    s.targets[0].native.ip = ip_of("127.0.0.1");
    expect_advice(&s, DOCTOR_NATIVE, "--answer steer");
    assert_int_equal(host_parse(span_str("45.45.45.1"), &s.targets[0].host), HOST_FAULT_NONE);
    expect_advice(&s, DOCTOR_NATIVE, "only through CONNECT");
}

static void test_notes(void **state)
{
    (void)state;
    struct scene s;
    char text[DOCTOR_ADVICE_CAP];
    scene_init(&s);
    s.f.resolv.server_count = 2;
    s.f.resolv.search_count = 3;
    s.f.resolv.ndots = 5;
    s.f.proxy.has_conflict = true;
    s.f.proxy.exempts_loopback = false;
    s.f.left_out = 7;
    s.targets[0].passes_proxy_by = true;
    static const char *const parts[] = {
        "2 nameservers",      "3 search suffixes with ndots:5", "HTTPS_PROXY and https_proxy",
        "NO_PROXY=localhost", "NO_PROXY names a.test",          "7 more hosts"};
    for (size_t i = 0; i < COUNT(parts); i++) {
        assert_non_null(doctor_note(&s.f, i, text));
        assert_non_null(strstr(text, parts[i]));
    }
    assert_null(doctor_note(&s.f, COUNT(parts), text));
    s.f.proxy.from = "HTTP_PROXY";
    assert_non_null(doctor_note(&s.f, 3, text));
    assert_non_null(strstr(text, "only HTTP_PROXY is set"));
    s.f.resolv.ndots = 1;
    assert_non_null(doctor_note(&s.f, 1, text));
    assert_null(strstr(text, "search"));
    s.f.resolv.server_count = 0;
    assert_non_null(strstr(doctor_note(&s.f, 0, text), "no nameserver line"));
    s.f.resolv.is_read = false;
    assert_non_null(strstr(doctor_note(&s.f, 0, text), "cannot be read"));
}

/* A path must connect, not be refused inside TLS and not be cut; one of the two is enough. */
static void test_works(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s);
    fail_check(&s, DOCTOR_CONNECT, DOCTOR_CONN_REFUSED);
    assert_true(doctor_all_works(&s.f));
    fail_check(&s, DOCTOR_NATIVE_TLS, DOCTOR_TLS_DENIED);
    assert_false(doctor_all_works(&s.f));
    scene_init(&s);
    fail_check(&s, DOCTOR_NATIVE, DOCTOR_CONN_REFUSED);
    fail_check(&s, DOCTOR_CONNECT_IDLE, DOCTOR_CUT_IDLE);
    assert_false(doctor_all_works(&s.f));
    s.targets[0].results[DOCTOR_CONNECT_IDLE].state = DOCTOR_NOT_TESTED; /* a WebSocket was, instead */
    assert_true(doctor_all_works(&s.f));
    fail_check(&s, DOCTOR_CONNECT_WEBSOCKET, DOCTOR_NO_PONG);
    assert_false(doctor_all_works(&s.f));
    s.targets[0].results[DOCTOR_CONNECT_WEBSOCKET].state = DOCTOR_NOTED;
    assert_true(doctor_all_works(&s.f));
    scene_init(&s);
    fail_check(&s, DOCTOR_NATIVE, DOCTOR_CONN_REFUSED);
    fail_check(&s, DOCTOR_SYSTEM, DOCTOR_NO_SUCH_HOST);
    assert_false(doctor_all_works(&s.f));
    s.targets[0].results[DOCTOR_NATIVE].state = DOCTOR_OK;
    assert_int_equal(host_parse(span_str("192.0.2.1"), &s.targets[0].host), HOST_FAULT_NONE);
    assert_true(doctor_all_works(&s.f));
    s.targets[0] = (struct doctor_target){.host = s.targets[0].host}; /* nothing tested is nothing proven */
    assert_false(doctor_all_works(&s.f));
    scene_init(&s);
    s.targets[0].is_probe = true;
    fail_check(&s, DOCTOR_CONNECT, DOCTOR_CONN_REFUSED);
    fail_check(&s, DOCTOR_DNS_TCP, DOCTOR_CONN_REFUSED);
    assert_true(doctor_all_works(&s.f));
    s.targets[0].results[DOCTOR_SYSTEM].state = DOCTOR_NOT_TESTED;
    assert_false(doctor_all_works(&s.f));
    s.targets[0].results[DOCTOR_SYSTEM].state = DOCTOR_OK;
    fail_check(&s, DOCTOR_DNS_UDP, DOCTOR_NAME_EXISTS);
    assert_false(doctor_all_works(&s.f));
}

static void expect(const struct doctor_result *r, enum doctor_state state, enum doctor_fault fault)
{
    if (r->state != state || r->fault != fault) {
        fail_msg("\"%s\": %s, fault %d; wanted %s, fault %d", r->text, doctor_state_word(r->state),
                 (int)r->fault, doctor_state_word(state), (int)fault);
    }
}

static void test_system(void **state)
{
    (void)state;
    static const struct {
        int rc, plain_rc;
        size_t count;
        bool is_probe;
        int64_t ms;
        enum doctor_state state;
        enum doctor_fault fault;
    } rows[] = {
        {0, 0, 1, false, 1, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {EAI_NONAME, 0, 1, false, 1, DOCTOR_FAILED, DOCTOR_ADDRCONFIG},
        {EAI_NONAME, EAI_NONAME, 0, false, 1, DOCTOR_FAILED, DOCTOR_NO_SUCH_HOST},
        {EAI_AGAIN, EAI_AGAIN, 0, false, 1, DOCTOR_FAILED, DOCTOR_TRY_AGAIN},
        {EAI_FAIL, EAI_FAIL, 0, false, 1, DOCTOR_FAILED, DOCTOR_TRY_AGAIN},
        {DOCTOR_LOOKUP_SILENT, DOCTOR_LOOKUP_SILENT, 0, false, 5000, DOCTOR_FAILED, DOCTOR_TIMEOUT},
        {0, 0, 1, true, 1, DOCTOR_FAILED, DOCTOR_NAME_EXISTS},
        {EAI_NONAME, EAI_NONAME, 0, true, 5, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {EAI_NONAME, EAI_NONAME, 0, true, 1001, DOCTOR_NOTED, DOCTOR_LOOKUP_SLOW},
        {EAI_AGAIN, EAI_AGAIN, 0, true, 1, DOCTOR_FAILED, DOCTOR_TRY_AGAIN},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_result r = {.state = DOCTOR_NOT_TESTED};
        struct doctor_lookup l = {.rc = rows[i].rc, .plain_rc = rows[i].plain_rc, .count = rows[i].count};
        l.addrs[0] = ip_of("198.18.0.1");
        doctor_system_judge(&l, rows[i].is_probe, rows[i].ms, &r);
        expect(&r, rows[i].state, rows[i].fault);
        assert_int_equal(r.ms, rows[i].ms);
    }
}

enum said { SAID_ADDR = 0, SAID_NODATA, SAID_NX, SAID_SERVFAIL, SAID_NOTHING, SAID_REFUSED_PORT };

static struct doctor_dns_answer answer_of(enum said said)
{
    struct doctor_dns_answer a = {.rc = 0, .reply = {.kind = DNS_REPLY_ADDRS, .addr_count = 1}};
    a.reply.addrs[0] = ip_of("198.18.0.1");
    switch (said) {
    case SAID_ADDR:
        break;
    case SAID_NODATA:
        a.reply.kind = DNS_REPLY_NODATA;
        break;
    case SAID_NX:
        a.reply.kind = DNS_REPLY_NXDOMAIN;
        break;
    case SAID_SERVFAIL:
        a.reply.kind = DNS_REPLY_ERROR;
        a.reply.rcode = DNS_SERVFAIL;
        break;
    case SAID_NOTHING:
        a.rc = -ETIMEDOUT;
        break;
    case SAID_REFUSED_PORT:
        a.rc = -ECONNREFUSED;
        break;
    }
    return a;
}

static void test_dns(void **state)
{
    (void)state;
    static const struct {
        enum said a, aaaa;
        bool is_probe;
        int64_t ms;
        enum doctor_state state;
        enum doctor_fault fault;
    } rows[] = {
        {SAID_ADDR, SAID_NODATA, false, 1, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {SAID_NODATA, SAID_ADDR, false, 1, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {SAID_ADDR, SAID_SERVFAIL, false, 1, DOCTOR_NOTED, DOCTOR_FAMILY_ILL},
        {SAID_ADDR, SAID_NX, false, 1, DOCTOR_NOTED, DOCTOR_FAMILY_ILL},
        {SAID_ADDR, SAID_NOTHING, false, 1, DOCTOR_NOTED, DOCTOR_FAMILY_ILL},
        {SAID_NOTHING, SAID_ADDR, false, 1, DOCTOR_NOTED, DOCTOR_FAMILY_ILL},
        {SAID_NODATA, SAID_NODATA, false, 1, DOCTOR_FAILED, DOCTOR_NO_ADDRESS},
        {SAID_NX, SAID_NX, false, 1, DOCTOR_FAILED, DOCTOR_NO_SUCH_HOST},
        {SAID_SERVFAIL, SAID_SERVFAIL, false, 1, DOCTOR_FAILED, DOCTOR_TRY_AGAIN},
        {SAID_NOTHING, SAID_NOTHING, false, 1, DOCTOR_FAILED, DOCTOR_TIMEOUT},
        {SAID_REFUSED_PORT, SAID_REFUSED_PORT, false, 1, DOCTOR_FAILED, DOCTOR_CONN_REFUSED},
        {SAID_NX, SAID_NX, true, 1, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {SAID_NX, SAID_NX, true, 1001, DOCTOR_NOTED, DOCTOR_LOOKUP_SLOW},
        {SAID_NODATA, SAID_NODATA, true, 1, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {SAID_ADDR, SAID_NODATA, true, 1, DOCTOR_FAILED, DOCTOR_NAME_EXISTS},
        {SAID_SERVFAIL, SAID_SERVFAIL, true, 1, DOCTOR_FAILED, DOCTOR_TRY_AGAIN},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_result r = {.state = DOCTOR_NOT_TESTED};
        struct doctor_dns_pair p = {.server = {.ip = ip_of("127.0.0.1"), .port = 53}, .ms = rows[i].ms};
        p.a = answer_of(rows[i].a);
        p.aaaa = answer_of(rows[i].aaaa);
        doctor_dns_judge(&p, 1, rows[i].is_probe, &r);
        expect(&r, rows[i].state, rows[i].fault);
    }
}

/* A second server is asked by programs only when the first fails; NXDOMAIN is no failure. */
static void test_several_servers(void **state)
{
    (void)state;
    static const struct {
        enum said first, second;
        enum doctor_state state;
        enum doctor_fault fault;
    } rows[] = {
        {SAID_ADDR, SAID_ADDR, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {SAID_ADDR, SAID_NOTHING, DOCTOR_NOTED, DOCTOR_SERVER_ILL},
        {SAID_ADDR, SAID_NX, DOCTOR_NOTED, DOCTOR_SERVER_ILL},
        {SAID_NOTHING, SAID_ADDR, DOCTOR_NOTED, DOCTOR_SERVER_ILL},
        {SAID_NX, SAID_ADDR, DOCTOR_FAILED, DOCTOR_NO_SUCH_HOST},
        {SAID_NOTHING, SAID_NOTHING, DOCTOR_FAILED, DOCTOR_TIMEOUT},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_result r = {.state = DOCTOR_NOT_TESTED};
        struct doctor_dns_pair p[2] = {{.server = {.ip = ip_of("127.0.0.1"), .port = 53}, .ms = 3},
                                       {.server = {.ip = ip_of("127.0.0.2"), .port = 53}, .ms = 4}};
        p[0].a = p[0].aaaa = answer_of(rows[i].first);
        p[1].a = p[1].aaaa = answer_of(rows[i].second);
        doctor_dns_judge(p, 2, false, &r);
        expect(&r, rows[i].state, rows[i].fault);
        assert_int_equal(r.ms, 7);
    }
}

static void test_connect(void **state)
{
    (void)state;
    static const struct {
        int status, fd;
        bool is_foreign, is_set, is_probe;
        enum doctor_state state;
        enum doctor_fault fault;
    } rows[] = {
        {200, 0, false, true, false, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {200, 0, false, false, false, DOCTOR_NOTED, DOCTOR_PROXY_UNSET},
        {403, -ECONNRESET, false, true, false, DOCTOR_FAILED, DOCTOR_DENIED},
        {407, -ECONNRESET, false, true, false, DOCTOR_FAILED, DOCTOR_PROXY_AUTH},
        {502, -ECONNRESET, false, true, false, DOCTOR_FAILED, DOCTOR_PROXY_GATEWAY},
        {504, -ECONNRESET, false, true, false, DOCTOR_FAILED, DOCTOR_PROXY_GATEWAY},
        {400, -ECONNRESET, false, true, false, DOCTOR_FAILED, DOCTOR_PROXY_STATUS},
        {0, -ECONNRESET, true, true, false, DOCTOR_FAILED, DOCTOR_NO_HTTP},
        {0, -ECONNREFUSED, false, true, false, DOCTOR_FAILED, DOCTOR_CONN_REFUSED},
        {0, -ECONNREFUSED, false, false, false, DOCTOR_FAILED, DOCTOR_NO_PROXY_THERE},
        {0, -ETIMEDOUT, false, true, false, DOCTOR_FAILED, DOCTOR_TIMEOUT},
        {403, -ECONNRESET, false, true, true, DOCTOR_OK, DOCTOR_FAULT_NONE},
        {200, 0, false, true, true, DOCTOR_FAILED, DOCTOR_NAME_EXISTS},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_result r = {.state = DOCTOR_NOT_TESTED};
        const struct doctor_env env = {.https_upper = rows[i].is_set ? "http://127.0.0.1:3128" : NULL};
        struct doctor_proxy p;
        struct doctor_way way = {
            .fd = rows[i].fd, .status = rows[i].status, .is_foreign = rows[i].is_foreign};
        doctor_proxy_read(&env, &p);
        doctor_connect_judge(&p, rows[i].is_probe, &way, &r);
        expect(&r, rows[i].state, rows[i].fault);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_change),
        cmocka_unit_test(test_each_fault),
        cmocka_unit_test(test_by_surroundings),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_works),
        cmocka_unit_test(test_system),
        cmocka_unit_test(test_dns),
        cmocka_unit_test(test_several_servers),
        cmocka_unit_test(test_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
