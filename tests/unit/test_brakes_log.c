/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/brakes_log.h"

#include "tests/support/log_pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    struct log_pipe said;
    struct ev_loop *loop;
    struct brakes_log log;
    struct host_name name;
    struct ip client;
    struct brakes_question q;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    log_pipe_open(&f->said);
    f->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(f->loop);
    brakes_log_init(&f->log, f->loop);
    assert_int_equal(host_name_parse(SPAN_LIT("n1.example.com"), &f->name), HOST_FAULT_NONE);
    f->client = ip_v4(10, 0, 0, 1);
    f->q = (struct brakes_question){.client = &f->client, .name = &f->name, .now_ms = 1000};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    brakes_log_fini(&f->log);
    ev_loop_destroy(f->loop);
    log_pipe_close(&f->said);
    free(f);
    return 0;
}

static void stop(struct fixture *f, enum brakes_verdict verdict, bool is_onset, unsigned count)
{
    const struct brakes_outcome outcome = {.verdict = verdict, .is_onset = is_onset};
    for (unsigned i = 0; i < count; i++) {
        brakes_log_stop(&f->log, &f->q, &outcome, NULL);
    }
}

static void the_onset_is_a_line_and_what_follows_is_counted(void **state)
{
    struct fixture *f = *state;
    stop(f, BRAKES_RATE, true, 1);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " warn dnsd dns_braked why=rate_limited "
                                         "detail=\"this client asks upstream too often (--rate-limit)\" "
                                         "name=n1.example.com client=10.0.0.1\n"));
    stop(f, BRAKES_RATE, false, 7);
    stop(f, BRAKES_GO, false, 1);
    assert_int_equal(log_pipe_read(&f->said), 0);
    assert_true(ev_is_active(&f->log.flush));
    stop(f, BRAKES_RATE, true, 1);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, " suppressed=7\n"));
}

/* A stop by one brake was told as suppressed by another, and at the end it was not said by which. */
static void each_brake_has_a_count_of_its_own(void **state)
{
    struct fixture *f = *state;
    stop(f, BRAKES_BUDGET, false, 3);
    stop(f, BRAKES_LENGTH, true, 1);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, "dns_braked why=wildcard_length "));
    assert_null(strstr(f->said.text, "suppressed"));
    stop(f, BRAKES_RATE, false, 2);
    stop(f, BRAKES_LENGTH, false, 1);
    brakes_log_fini(&f->log);
    assert_int_equal(log_pipe_read(&f->said), 3);
    assert_non_null(strstr(f->said.text, "dns_braked why=rate_limited suppressed=2\n"));
    assert_non_null(strstr(f->said.text, "dns_braked why=wildcard_budget suppressed=3\n"));
    assert_non_null(strstr(f->said.text, "dns_braked why=wildcard_length suppressed=1\n"));
}

static void onsets_beyond_the_limit_are_counted(void **state)
{
    struct fixture *f = *state;
    stop(f, BRAKES_BUDGET, true, 500);
    const size_t told = log_pipe_read(&f->said);
    assert_true(told > 10 && told < 500);
    stop(f, BRAKES_RATE, true, 1); /* another brake's flood does not bury it */
    assert_int_equal(log_pipe_read(&f->said), 1);
    brakes_log_fini(&f->log);
    char want[64];
    (void)snprintf(want, sizeof(want), "dns_braked why=wildcard_budget suppressed=%zu\n", 500 - told);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(strstr(f->said.text, want));
}

static void a_new_name_is_a_line(void **state)
{
    struct fixture *f = *state;
    struct brakes_outcome outcome = {.verdict = BRAKES_GO, .is_new_name = true};
    brakes_log_name(&f->log, &f->q, &outcome, NULL);
    assert_int_equal(log_pipe_read(&f->said), 1);
    assert_non_null(
        strstr(f->said.text, " info dnsd dns_wildcard_name name=n1.example.com client=10.0.0.1\n"));
    outcome.is_new_name = false;
    brakes_log_name(&f->log, &f->q, &outcome, NULL);
    outcome = (struct brakes_outcome){.verdict = BRAKES_RATE};
    brakes_log_name(&f->log, &f->q, &outcome, NULL);
    assert_int_equal(log_pipe_read(&f->said), 0);
    assert_false(ev_is_active(&f->log.flush));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_onset_is_a_line_and_what_follows_is_counted),
        TEST(each_brake_has_a_count_of_its_own),
        TEST(onsets_beyond_the_limit_are_counted),
        TEST(a_new_name_is_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
