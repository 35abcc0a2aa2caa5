/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolver's answer as the answer table sees it, and how its failure is said (EDE 22: nobody to ask
 * answered or all refused; 23: the network; 13: a failure that is remembered, with the text of what it was;
 * 0: a problem of our own), or why an expired answer is all there is. No state.
 */
#pragma once

#include "common/dns/resolver.h"
#include "dnsd/answer.h"

/* a: NULL if not known. *out borrows its addresses. */
void from_resolver(const struct resolver_answer *a, bool is_silent, struct answer_family *out);
