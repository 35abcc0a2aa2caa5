/* SPDX-License-Identifier: Apache-2.0 */
/* Telling whoever started us how far we are: sd_notify(3) and --ready-fd. Never blocks; errors are not ours
 * to mend. */
#pragma once

#include "common/base/err.h"

/* Sends state ("READY=1") to NOTIFY_SOCKET, if there is one. */
void notify_service_manager(const char *state);
void notify_reloading(void); /* RELOADING=1 with the time that Type=notify-reload wants */
/* 0, or -EBADF if fd is not open. fd 0 means none. Other than standard descriptors it becomes close-on-exec.
 */
MUST_CHECK int notify_ready_fd_check(unsigned fd);
/* Writes the line READY and closes fd (standard descriptors stay open). */
void notify_ready_fd(unsigned fd);
