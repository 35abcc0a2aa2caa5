/* SPDX-License-Identifier: Apache-2.0 */
/* The question for a dnsd, its answer, and who asks when. */
#include "common/dns/loop_check.h"
#include "common/dns/upstream_watch.h"

#include "common/base/log.h"
#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT_MS 5000
#define ID 0x1234

static size_t answer_of(const struct loop_marker *m, uint8_t *out, size_t cap)
{
    uint8_t query[LOOP_GUARD_QUERY_CAP];
    struct dns_query q;
    enum dns_rcode rcode;
    struct dns_rrset records;
    size_t len = loop_guard_query(ID, query);
    assert_int_equal(dns_query_parse(span_make(query, len), &q, &rcode), DNS_QUERY_OK);
    assert_true(loop_guard_is_question(&q));
    loop_guard_records(m, &records);
    struct dns_answer a = {.query = &q, .rcode = DNS_NOERROR, .records = &records, .ede = DNS_EDE_NONE};
    len = dns_answer_build(&a, out, cap);
    assert_true(len > 0);
    return len;
}

static void test_markers(void **state)
{
    (void)state;
    struct loop_marker a;
    struct loop_marker b;
    uint8_t msg[512];
    loop_marker_init(&a);
    loop_marker_init(&b);
    assert_string_not_equal(a.text, b.text);
    assert_int_equal(strlen(a.text), 47);
    size_t len = answer_of(&a, msg, sizeof(msg));
    assert_int_equal(loop_guard_judge(span_make(msg, len), ID, &a), LOOP_SELF);
    assert_int_equal(loop_guard_judge(span_make(msg, len), ID, &b), LOOP_OTHER);
    assert_int_equal(loop_guard_judge(span_make(msg, len), ID, NULL), LOOP_OTHER);
    assert_int_equal(loop_guard_judge(span_make(msg, len), ID + 1, &a), LOOP_MISMATCH);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(loop_guard_judge(span_make(msg, i), ID, &a), LOOP_MISMATCH);
    }
    /* Whatever one bit says else, it is not taken for ourselves unless it changes nothing that counts. */
    for (size_t i = 0; i < len * 8; i++) {
        msg[i / 8] ^= (uint8_t)(1U << (i % 8));
        enum loop_verdict v = loop_guard_judge(span_make(msg, len), ID, &a);
        bool is_text = i / 8 >= len - 47;
        assert_false(is_text && v == LOOP_SELF);
        msg[i / 8] ^= (uint8_t)(1U << (i % 8));
    }
}

static void test_only_the_fixed_form(void **state)
{
    (void)state;
    static const char *const texts[] = {"openshell-dnsd=0123456789abcdef0123456789abcde", /* a digit short */
                                        "openshell-dnsd=0123456789abcdef0123456789abcdef0", /* one too many */
                                        "openshell-dnsd=0123456789ABCDEF0123456789ABCDEF",
                                        "openshell-dnsd:0123456789abcdef0123456789abcdef",
                                        "v=spf1 -all",
                                        ""};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint8_t query[LOOP_GUARD_QUERY_CAP];
        uint8_t msg[512];
        uint8_t rdata[64] = {(uint8_t)strlen(texts[i])};
        struct dns_query q;
        enum dns_rcode rcode;
        struct dns_rrset records;
        size_t len = loop_guard_query(ID, query);
        assert_int_equal(dns_query_parse(span_make(query, len), &q, &rcode), DNS_QUERY_OK);
        memcpy(rdata + 1, texts[i], strlen(texts[i]));
        dns_rrset_start(&records, DNS_TXT);
        dns_rrset_add(&records, span_make(rdata, 1 + strlen(texts[i])));
        struct dns_answer a = {.query = &q, .records = &records, .ede = DNS_EDE_NONE};
        len = dns_answer_build(&a, msg, sizeof(msg));
        assert_int_equal(loop_guard_judge(span_make(msg, len), ID, NULL), LOOP_NONE);
    }
}

/* ---- asking ---- */

struct scene {
    struct ev_loop *loop;
    struct fake_upstream up;
    enum fake_verdict verdict;
    struct loop_marker marker;
    bool is_loop; /* the upstream answers with the marker */
    unsigned asked;
    bool is_done;
    enum loop_verdict found;
};

static enum fake_verdict serve(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
{
    struct scene *s = ctx;
    (void)tcp;
    assert_string_equal(q->name.text, LOOP_GUARD_NAME);
    assert_int_equal(q->qtype, DNS_TXT);
    s->asked++;
    out->rcode = s->is_loop ? DNS_NOERROR : DNS_NXDOMAIN;
    out->txt = s->is_loop ? s->marker.text : NULL;
    return s->verdict;
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    s->verdict = FAKE_REPLY;
    loop_marker_init(&s->marker);
    fake_upstream_init(&s->up, s->loop, serve, s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    fake_upstream_fini(&s->up);
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static void on_found(void *ctx, size_t upstream, enum loop_verdict v)
{
    struct scene *s = ctx;
    assert_int_equal(upstream, 3);
    assert_false(s->is_done);
    s->is_done = true;
    s->found = v;
}

static enum loop_verdict ask(struct scene *s, int64_t wait_ms, bool over_tcp)
{
    struct loop_check_config cfg = {.own = &s->marker, .wait_ms = wait_ms};
    struct dns_stream_config stream = {.to = s->up.addr, .connect_ms = 1000, .idle_ms = 1000};
    struct dns_streams *streams = NULL;
    struct loop_check *check = NULL;
    s->is_done = false;
    assert_int_equal(dns_streams_new(s->loop, &stream, &streams), 0);
    assert_int_equal(loop_check_new(s->loop, &cfg, on_found, s, &check), 0);
    loop_check_ask(check, 3, &s->up.addr, over_tcp ? streams : NULL);
    loop_check_ask(check, 3, &s->up.addr, NULL); /* it is being asked */
    assert_false(s->is_done);
    assert_int_equal(loop_check_pending(check), 1);
    assert_true(fake_run(s->loop, &s->is_done, LIMIT_MS));
    loop_check_free(check);
    dns_streams_free(streams);
    return s->found;
}

static void test_asking(void **state)
{
    struct scene *s = *state;
    assert_int_equal(ask(s, 3000, false), LOOP_NONE);
    assert_int_equal(ask(s, 3000, true), LOOP_NONE);
    s->verdict = FAKE_SILENT;
    assert_int_equal(ask(s, 20, false), LOOP_MISMATCH);
    s->verdict = FAKE_FORGE; /* forgeries first */
    s->is_loop = true;
    assert_int_equal(ask(s, 3000, false), LOOP_SELF);
    s->verdict = FAKE_REPLY;
    assert_int_equal(ask(s, 3000, true), LOOP_SELF);
    assert_int_equal(s->asked, 5);
    s->verdict = FAKE_CUT_SHORT;
    assert_int_equal(ask(s, 3000, true), LOOP_MISMATCH);
}

static void test_cancel(void **state)
{
    struct scene *s = *state;
    struct loop_check_config cfg = {.own = &s->marker, .wait_ms = 20};
    struct loop_check *check = NULL;
    assert_int_equal(loop_check_new(s->loop, &cfg, on_found, s, &check), 0);
    loop_check_ask(check, 3, &s->up.addr, NULL);
    loop_check_cancel(check);
    assert_int_equal(loop_check_pending(check), 0);
    fake_run_for(s->loop, 30);
    loop_check_ask(check, 3, &s->up.addr, NULL);
    loop_check_free(check);
    loop_check_free(NULL);
    fake_run_for(s->loop, 5);
    assert_false(s->is_done);
}

/* Nobody answers at these addresses: the start waits no longer than it says. */
static void test_all_at_start(void **state)
{
    struct scene *s = *state;
    struct loop_check_config cfg = {.own = NULL, .wait_ms = 30};
    struct addr addrs[2] = {s->up.addr, s->up.addr}; /* its loop does not run meanwhile */
    enum loop_verdict found[UPSTREAM_MAX];
    assert_int_equal(loop_check_all(&cfg, addrs, NULL, 2, found), 0);
    assert_int_equal(found[0], LOOP_MISMATCH);
    assert_int_equal(found[1], LOOP_MISMATCH);
    assert_int_equal(loop_check_all(&cfg, addrs, NULL, 0, found), 0);
}

static struct dns_streams *no_streams(void *ctx, size_t upstream)
{
    (void)ctx;
    (void)upstream;
    return NULL;
}

static bool run_until_loop_is(struct scene *s, struct upstream_watch *w, const struct upstream_set *set,
                              bool is_loop)
{
    upstream_watch_restart(w); /* asks at once */
    for (int i = 0; i < LIMIT_MS && set->list[0].is_loop != is_loop; i++) {
        fake_run_for(s->loop, 1);
    }
    return set->list[0].is_loop == is_loop;
}

static void test_watch(void **state)
{
    struct scene *s = *state;
    struct upstream_set set = {.count = 1};
    set.list[0].addr = s->up.addr;
    struct upstream_watch_config cfg = {.set = &set, .own = &s->marker, .streams = no_streams};
    struct upstream_watch *w = NULL;
    assert_int_equal(upstream_watch_new(s->loop, &cfg, &w), 0);
    s->is_loop = true;
    assert_true(run_until_loop_is(s, w, &set, true));
    s->is_loop = false;
    assert_true(run_until_loop_is(s, w, &set, false));
    upstream_watch_free(w);
    upstream_watch_free(NULL);
}

/* One line when forgeries get many, one a minute later with how many there were; none for a few. */
static void test_forgeries_are_said(void **state)
{
    struct scene *s = *state;
    struct upstream_set set = {.count = 1};
    set.list[0].addr = s->up.addr;
    struct upstream_watch_config cfg = {.set = &set, .own = NULL, .streams = no_streams};
    struct upstream_watch *w = NULL;
    int fds[2];
    char text[1024] = "";
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(upstream_watch_new(s->loop, &cfg, &w), 0);
    log_init("test", LOG_INFO, LOG_TEXT, fds[1]);
    for (int i = 0; i < 15; i++) {
        upstream_watch_forged(w, 0, 1000);
    }
    upstream_watch_forged(w, 0, 62000); /* a minute later: too few to speak of */
    assert_true(read(fds[0], text, sizeof(text) - 1) < 0);
    for (int i = 0; i < 99; i++) {
        upstream_watch_forged(w, 0, 62000 + i);
    }
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "dns_forgery_suspected upstream=127.0.0.1:"));
    assert_non_null(strstr(text, "count=16\n"));
    upstream_watch_forged(w, 0, 122000);
    memset(text, 0, sizeof(text));
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "count=100\n"));
    log_init("test", LOG_INFO, LOG_TEXT, STDERR_FILENO);
    upstream_watch_free(w);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_markers),
        cmocka_unit_test(test_only_the_fixed_form),
        CASE(test_asking),
        CASE(test_cancel),
        CASE(test_all_at_start),
        CASE(test_watch),
        CASE(test_forgeries_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
