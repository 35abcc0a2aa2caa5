/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes from the kernel's generator (getrandom) through a per-thread pool that is wiped as it is used
 * and refilled after fork. Never fails: if the kernel has no randomness the process aborts. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

void rng_bytes(void *out, size_t len);
uint16_t rng_u16(void);
uint32_t rng_u32(void);
/* Uniform in [0, bound); bound >= 1. */
uint32_t rng_below(uint32_t bound);
