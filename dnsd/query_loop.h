/* SPDX-License-Identifier: Apache-2.0 */
/* The question by which another daemon finds out that it would be asking a dnsd (common/dns/loop_guard). */
#pragma once

#include "dnsd/query.h"

/* True if it is that question: it has been answered, whatever the policy says. */
bool query_answer_loop(const struct query_engine_config *cfg, const struct dns_query *ask,
                       const struct reply *to);
