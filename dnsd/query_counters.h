/* SPDX-License-Identifier: Apache-2.0 */
/* Which counters an answer moves when it leaves. */
#pragma once

#include "common/base/metrics.h"
#include "dnsd/answer.h"

void query_counters_answer(struct metrics *m, const struct answer *a);
