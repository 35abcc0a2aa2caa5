/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only readers of the system's clocks. Logic takes now_ms as a parameter; workers call these once per
 * loop turn.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_mono_us(void); /* the same clock */
int64_t clock_boot_s(void);  /* CLOCK_BOOTTIME, seconds: survives suspend; for the synthetic map */
/* RFC 3339 UTC with milliseconds, for logs; returns text. cap >= 25. */
const char *clock_wall_text(char *text, size_t cap);
