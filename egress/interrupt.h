/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting that SIGINT, SIGTERM, SIGHUP and SIGQUIT end, while the launcher has them blocked: until COMMAND
 * runs they are for us. A signal that the caller ignores (nohup) ends nothing.
 */
#pragma once

#include "common/base/err.h"

/* Waits for fd to have input or to be at its end. 1; 0 after timeout_ms (-1: never); -signal number. */
MUST_CHECK int interrupt_poll(int fd, int timeout_ms);
