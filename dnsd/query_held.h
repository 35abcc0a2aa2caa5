/* SPDX-License-Identifier: Apache-2.0 */
/* What a question that the brakes stop can still be answered with: what had expired leaks nothing. */
#pragma once

#include "common/dns/resolver.h"
#include "dnsd/answer.h"

/* *a is answer_braked()'s; it becomes the stale answer if there is one. */
void query_held(struct resolver *r, const struct answer_question *question, int64_t now_ms, struct answer *a);
