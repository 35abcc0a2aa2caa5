/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/dnsd_log.h"

#include "tests/support/log_pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    struct log_pipe said;
    struct dnsd_log log;
    struct answer_question q;
    struct answer a;
    struct reply to;
};

static int set_up(void **state)
{
    static const uint8_t wire[] = "\004evil\007example\003org"; /* ends in the root label */
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    log_pipe_open(&f->said);
    dnsd_log_init(&f->log);
    f->q = (struct answer_question){.qname = span_make(wire, sizeof(wire)), .qtype = DNS_AAAA};
    f->a = (struct answer){.event = ANSWER_EVENT_DENIED, .reason = REASON_POLICY_DENIED, .why = ""};
    f->to = (struct reply){.client = {.ip = ip_v4(10, 200, 0, 2), .port = 4000}};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    log_pipe_close(&f->said);
    free(f);
    return 0;
}

static void a_denial_says_who_asked_what_and_why_not(void **state)
{
    struct fixture *f = *state;
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " warn "));
    assert_non_null(strstr(f->said.text, "dns_denied name=evil.example.org type=AAAA client=10.200.0.2 "
                                         "reason=policy_denied\n"));
}

static void names_are_written_as_asked_and_escaped(void **state)
{
    static const uint8_t odd[] = "\003a\nb\002gg";
    struct fixture *f = *state;
    f->q.qname = span_make(odd, sizeof(odd));
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    f->q.qname = span_make("", 1);
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "name=. "));
    f->q.qname = (struct span){0}; /* a question that could not be read */
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
}

/* A label "gateway.discord.gg" looked like the name that a rule admits. */
static void a_dot_within_a_label_does_not_look_like_another_name(void **state)
{
    static const uint8_t dotted[] = "\022gateway.discord.gg";
    static const uint8_t slashed[] = "\003a\\b\002gg";
    struct fixture *f = *state;
    f->q.qname = span_make(dotted, sizeof(dotted));
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "name=\"gateway\\\\.discord\\\\.gg\" ")); /* the log doubles them */
    log_init("dnsd", LOG_INFO, LOG_JSON, f->said.fds[1]);
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "\"name\":\"gateway\\\\.discord\\\\.gg\""));
    f->q.qname = span_make(slashed, sizeof(slashed));
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "\"name\":\"a\\\\\\\\b.gg\""));
}

static void a_name_of_dots_alone_is_cut_and_no_more(void **state)
{
    static uint8_t dots[255];
    struct fixture *f = *state;
    memset(dots, '.', sizeof(dots));
    dots[0] = dots[64] = dots[128] = 63;
    dots[192] = 61;
    dots[254] = 0;
    f->q.qname = span_make(dots, sizeof(dots));
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "...\" type=AAAA"));
}

static void noise_and_admitted_are_below_the_default_level(void **state)
{
    struct fixture *f = *state;
    static const enum answer_event quiet[] = {ANSWER_EVENT_NOISE, ANSWER_EVENT_LOCAL, ANSWER_EVENT_ADMITTED,
                                              ANSWER_EVENT_OPEN_ZONE};
    for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++) {
        f->a.event = quiet[i];
        dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    }
    assert_int_equal(log_pipe_read(&f->said), 0);
    f->a.event = ANSWER_EVENT_FAILED;
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "dns_failed "));
    f->a.event = ANSWER_EVENT_DENIED;
    f->a.reason = REASON_CLIENT_NOT_ALLOWED;
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "dns_client_refused "));
}

static void a_failure_names_who_was_asked(void **state)
{
    struct fixture *f = *state;
    struct host_name name;
    struct zone_set zones = {.count = 1};
    const struct answer_config cfg = {.zones = &zones};
    assert_int_equal(host_name_parse(span_str("evil.example.org"), &name), HOST_FAULT_NONE);
    assert_int_equal(host_name_parse(span_str("example.org"), &zones.items[0].suffix), HOST_FAULT_NONE);
    f->q.name = &name;
    f->q.cfg = &cfg;
    f->a = (struct answer){.event = ANSWER_EVENT_FAILED,
                           .reason = REASON_DNS_FAILED,
                           .why = "no",
                           .upstream = {.ip = ip_v4(192, 0, 2, 1), .port = 53}};
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    f->a.upstream = (struct addr){0}; /* a remembered failure */
    zones.count = 0;
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    f->a.reason = REASON_INTERNAL; /* no fault of an upstream */
    f->a.upstream = (struct addr){.ip = ip_v4(192, 0, 2, 1), .port = 53};
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 3);
    assert_non_null(
        strstr(f->said.text, "reason=dns_failed why=no upstream=192.0.2.1:53 zone=example.org\n"));
    assert_non_null(strstr(f->said.text, "reason=dns_failed why=no\n"));
    assert_non_null(strstr(f->said.text, "reason=internal_error why=no\n"));
}

static void a_target_that_is_left_out_is_seen_by_default(void **state)
{
    struct fixture *f = *state;
    f->a = (struct answer){.event = ANSWER_EVENT_ADMITTED,
                           .why = "",
                           .has_records = true,
                           .records.count = 2,
                           .target_port = 22};
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 0); /* nothing is left out */
    assert_int_equal(host_name_parse(SPAN_LIT("b.example.net"), &f->a.target), HOST_FAULT_NONE);
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " warn "));
    assert_non_null(strstr(f->said.text, "dns_target_denied name=evil.example.org "));
    assert_non_null(strstr(f->said.text, " target=b.example.net port=22 rcode=NOERROR addrs=0 records=2\n"));
}

static void what_had_expired_is_seen_by_default(void **state)
{
    struct fixture *f = *state;
    f->a = (struct answer){.event = ANSWER_EVENT_ADMITTED, .is_stale = true, .why = "expired"};
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " warn "));
    assert_non_null(strstr(f->said.text, "dns_stale name=evil.example.org type=AAAA"));
    assert_non_null(strstr(f->said.text, " why=expired"));
    for (int i = 0; i < 500; i++) {
        dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    }
    const size_t told = log_pipe_read(&f->said);
    assert_true(told < 500 && dnsd_log_wants_flush(&f->log));
    dnsd_log_flush(&f->log);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "dns_stale suppressed="));
}

static void every_denial_is_a_line_or_in_a_count(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 500; i++) {
        dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    }
    const size_t told = log_pipe_read(&f->said);
    assert_true(told > 10 && told < 500);
    assert_true(dnsd_log_wants_flush(&f->log));
    dnsd_log_flush(&f->log);
    assert_int_equal(log_pipe_read(&f->said), 1);
    char want[64];
    (void)snprintf(want, sizeof(want), "dns_denied suppressed=%zu\n", 500 - told);
    assert_non_null(strstr(f->said.text, want));
    assert_false(dnsd_log_wants_flush(&f->log));
    dnsd_log_flush(&f->log);
    assert_int_equal(log_pipe_read(&f->said), 0);

    for (int i = 0; i < 500; i++) { /* a flood of denials does not bury a failure */
        dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    }
    (void)log_pipe_read(&f->said);
    f->a.event = ANSWER_EVENT_FAILED;
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    f->a.event = ANSWER_EVENT_DENIED; /* the next line after a pause carries the count */
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 3000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " suppressed=500\n"));
}

static void an_address_that_is_left_out_is_seen_by_default(void **state)
{
    struct fixture *f = *state;
    f->a = (struct answer){.event = ANSWER_EVENT_OPEN_ZONE,
                           .addr_count = 2,
                           .addrs_refused = 3,
                           .is_refusal_new = true,
                           .refused = ip_v4(127, 0, 0, 1),
                           .why = "no"};
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " warn dnsd dns_address_denied name=evil.example.org "));
    assert_non_null(strstr(f->said.text, " why=no address=127.0.0.1 refused=3 rcode=NOERROR addrs=2\n"));
    f->a.is_refusal_new = false; /* from the cache: only counted */
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 0);
}

static void at_debug_every_decision_is_a_line(void **state)
{
    struct fixture *f = *state;
    log_init("dnsd", LOG_DEBUG, LOG_TEXT, f->said.fds[1]);
    f->a = (struct answer){.event = ANSWER_EVENT_LOCAL, .rcode = DNS_NOERROR, .why = "so"};
    dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text,
                           " debug dnsd dns_local name=evil.example.org type=AAAA client=10.200.0.2 why=so "
                           "rcode=NOERROR addrs=0\n"));
    const struct dns_query odd = {.opcode = 2};
    dnsd_log_rejected(&f->log, &odd, DNS_NOTIMP, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " opcode=2 client=10.200.0.2 rcode=NOTIMPL suppressed=0\n"));
    const struct dns_query whole = {
        .question = f->q.qname, .qname = f->q.qname, .qtype = DNS_TXT, .qclass = 3};
    dnsd_log_rejected(&f->log, &whole, DNS_REFUSED, &f->to, 1000);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "dns_rejected name=evil.example.org type=TXT opcode=0 "));
    for (int i = 0; i < 500; i++) {
        dnsd_log_rejected(&f->log, &odd, DNS_NOTIMP, &f->to, 1000);
        dnsd_log_answer(&f->log, &f->q, &f->a, &f->to, 1000);
    }
    assert_true(log_pipe_read(&f->said) < 500);
    assert_true(dnsd_log_wants_flush(&f->log));
    dnsd_log_flush(&f->log);
    assert_int_equal(log_pipe_read(&f->said), 2);
    assert_non_null(strstr(f->said.text, " debug dnsd dns_local suppressed="));
    assert_non_null(strstr(f->said.text, " debug dnsd dns_rejected suppressed="));
    assert_false(dnsd_log_wants_flush(&f->log));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_denial_says_who_asked_what_and_why_not),
        TEST(names_are_written_as_asked_and_escaped),
        TEST(a_dot_within_a_label_does_not_look_like_another_name),
        TEST(a_name_of_dots_alone_is_cut_and_no_more),
        TEST(noise_and_admitted_are_below_the_default_level),
        TEST(what_had_expired_is_seen_by_default),
        TEST(every_denial_is_a_line_or_in_a_count),
        TEST(a_failure_names_who_was_asked),
        TEST(a_target_that_is_left_out_is_seen_by_default),
        TEST(an_address_that_is_left_out_is_seen_by_default),
        TEST(at_debug_every_decision_is_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
