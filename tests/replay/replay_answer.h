/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of a scenario expects of an answer, of the resolver and of dnsd. For tests only. */
#pragma once

#include "dnsd/from_resolver.h"
#include "tests/replay/replay_records.h"

extern const char *const replay_statuses[]; /* in the order of enum resolver_status */

/* From word i on: STATUS [IP …|RECORD …] [ttl S] [why WHY] [stale|fresh] [cached|new] [at MS] */
void replay_check_resolver(const struct replay_line *w, const struct resolver_answer *a, int64_t at_ms,
                           size_t i);
/* From word 2 on: RCODE [IP …|RECORD …] [ttl S] [ede N] [at MS] */
void replay_check_dnsd(const struct replay_line *w, const struct answer *a, int64_t at_ms);
