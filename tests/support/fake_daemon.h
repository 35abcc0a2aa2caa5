/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon of nothing but life: daemon_main with hooks that count their calls and behave as a script says,
 * run in a child whose output, READY and exit status the test sees. One at a time. For tests only.
 */
#pragma once

#include "common/run/daemon.h"

#include <stdatomic.h>
#include <sys/types.h>

#define FAKE_PATIENCE_S 30 /* a test that hangs is ended by SIGALRM */

/* What the hooks did; shared with the child. */
struct fake_counts {
    atomic_uint opened, closed, started, stopped, drained, followed, policies, wrong;
    atomic_uint uid;
};

/* How the hooks are to behave. */
struct fake_script {
    int open_rc, start_fails_at; /* index of the worker, -1: none */
    int open_policy_rc, check_open_rc;
    bool has_news;       /* follow_policy always has some for the workers */
    size_t refuse_rules; /* check_policy refuses a policy of that many; 0: none */
    bool never_drained;
    int64_t drain_ms;
};

struct fake_child {
    pid_t pid;
    int out, ready, control; /* our ends */
    char text[65536];        /* all that it printed so far */
    size_t len;
};

/* Of the running case: between fake_set_up and fake_tear_down. */
extern struct fake_counts *fake_counts;
extern char fake_dir[64], fake_policy_path[96];
extern const struct fake_script fake_plain;

/* Of each case: a directory of its own with a policy of one rule, all counts 0, and the alarm. */
int fake_set_up(void **state);
int fake_tear_down(void **state);
/* Replaces the policy by one of that many rules (at least 1) of five lines each, followed by last_line. */
void fake_write_policy(unsigned rules, const char *last_line);

/* The daemon itself, in this process; returns its exit status. */
int fake_daemon_main(const struct fake_script *script, char **argv);
/* Starts it in a child; args ends with NULL. */
void fake_start(struct fake_child *c, const struct fake_script *script, const char *const *args);
#define FAKE_START(c, script, ...) fake_start((c), (script), (const char *const[]){__VA_ARGS__, NULL})

void fake_wait_ready(struct fake_child *c);
/* Reads on until text was printed count times. */
void fake_wait_for(struct fake_child *c, const char *text, unsigned count);
/* Waits for the end; the exit status, or 1000 + signal. What was started must have been stopped. */
int fake_end_of(struct fake_child *c);
/* Fails unless text is in what was read so far. */
void fake_printed(const struct fake_child *c, const char *text);
