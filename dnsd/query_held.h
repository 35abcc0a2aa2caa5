/* SPDX-License-Identifier: Apache-2.0 */
/* What a question that the brakes stop can still be answered with: what had expired leaks nothing. */
#pragma once

#include "common/dns/resolver.h"
#include "dnsd/answer.h"

/* *a is that of who stops it; it becomes the stale answer if there is one: true. */
bool query_held(struct resolver *r, const struct answer_question *question, int64_t now_ms, struct answer *a);
