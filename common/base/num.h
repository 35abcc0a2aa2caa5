/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict numbers from text: whole span or nothing, no sign, no leading zeros, no white space, no overflow.
 * Pure. All return 0 or -EINVAL (not of the form) or -ERANGE (of the form, outside the bounds) and leave *out
 * alone on error.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/span.h"

MUST_CHECK int num_u64(struct span s, uint64_t min, uint64_t max, uint64_t *out);
MUST_CHECK int num_port(struct span s, uint16_t *out); /* 1..65535 */
/* "0" or NUMBER with ms, s, m, h, d: milliseconds. A unit is mandatory but for 0. At most 365d. */
MUST_CHECK int num_duration_ms(struct span s, int64_t *out);
/* NUMBER with optional KiB, MiB, GiB: bytes. */
MUST_CHECK int num_size_bytes(struct span s, uint64_t *out);
/* Shortest text that num_duration_ms reads back ("0", "250ms", "5m"); returns text. */
const char *num_duration_text(int64_t ms, char *text, size_t cap);
