/* SPDX-License-Identifier: Apache-2.0 */
/* What a test makes the log say: a pipe in place of standard error. */
#pragma once

#include <stddef.h>

struct log_pipe {
    int fds[2];        /* [1] is the log's */
    char text[262144]; /* what log_pipe_read() found */
};

/* The log of "dnsd" goes there from now on, from level info. */
void log_pipe_open(struct log_pipe *p);
void log_pipe_close(struct log_pipe *p);
/* Takes all that was logged since the last time; how many lines. */
size_t log_pipe_read(struct log_pipe *p);
