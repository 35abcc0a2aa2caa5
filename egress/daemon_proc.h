/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One daemon as a child of the launcher: passed sockets (LISTEN_FDS), readiness, log, end. The daemon runs in
 * a session of its own, so that ^C reaches COMMAND first, and ends when its control descriptor does (the
 * launcher may be killed outright).
 */
#pragma once

#include "egress/run_options.h"
#include "egress/socket_pass.h"

#include <sys/types.h>

struct daemon_proc {
    const char *program; /* "openshell-dnsd" */
    pid_t pid;           /* 0 = not running */
    int control_fd;      /* our end; closing it ends the daemon; -1 = none */
    int ready_fd;        /* our end of the readiness pipe; -1 = none */
};

struct daemon_start {
    const char *program;
    int log_fd;                  /* its standard output and error */
    const struct arg_list *args; /* without argv[0] */
    const struct passed_socket *sockets;
    size_t socket_count;
};

/* Starts it. 0 or -errno with *err (-ENOENT: the program was not found, and where it was looked for). */
MUST_CHECK int daemon_proc_start(const struct daemon_start *start, struct daemon_proc *out, struct err *err);
/*
 * Waits for READY at most timeout_ms. 0; or the exit status to leave with (64, 71 or 78), the daemon's own
 * words being in the log; or 128 + N if signal N came.
 */
int daemon_proc_await_ready(struct daemon_proc *d, int timeout_ms);
/* Ends it: control descriptor closed, SIGKILL after 2 s. Idempotent. */
void daemon_proc_stop(struct daemon_proc *d);
/* Our end of the readiness pipe is not needed any more, nor is the number. */
void daemon_proc_ended(struct daemon_proc *d);
