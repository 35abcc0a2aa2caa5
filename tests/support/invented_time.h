/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time that only the test moves, for the program and for libev alike: a program that links this has a
 * clock_gettime(2) of its own, which libev's timers ask, too. For tests only.
 */
#pragma once

#include <stdint.h>

/* Back to the beginning. */
void invented_time_reset(void);
void invented_time_pass(int64_t ms);
/* A nanosecond: libev's timers go off only once their time is over, those of 0 seconds among them. */
void invented_time_tick(void);
