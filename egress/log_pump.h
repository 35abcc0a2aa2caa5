/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process between the daemons and their log: what they write into a pipe goes into the log file, each
 * distinct denial onto standard error as well, and at the end the summary. It lives in a session of its own
 * until both daemons have ended, so that neither ^C nor ^Z nor the death of the launcher costs a line; and
 * where the launcher died it removes the private directory.
 */
#pragma once

#include "common/run/guard.h"
#include "egress/private_dir.h"

#include <signal.h>
#include <sys/types.h>

/* Sent to the process it tells that there is something to sum up: it stays pending until the end. */
#define LOG_PUMP_COMMAND_RUNS SIGUSR1

struct log_pump_config {
    const struct private_dir *dir;
    const struct synth_pools *pools;
    const char *log_path;
    bool has_summary;
};
struct log_pump {
    pid_t pid; /* 0 = none */
    int fd;    /* what the daemons write to; -1 = closed */
};
/* 0 or -errno with *err. */
MUST_CHECK int log_pump_start(const struct log_pump_config *cfg, struct log_pump *out, struct err *err);
/* Waits until all is written; the daemons must have ended. Idempotent. */
void log_pump_stop(struct log_pump *p);
