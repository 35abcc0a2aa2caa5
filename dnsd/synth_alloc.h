/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map as dnsd uses it: the synthetic address for an answer, and the name behind one for PTR. Takes the
 * time as a parameter. Any thread.
 */
#pragma once

#include "common/run/synth_map.h"
#include "dnsd/answer.h"

/*
 * Fills the address of the asked family into an answer with wants_synthetic. If the map has no room the
 * answer becomes SERVFAIL: the resolver is ill then, the policy said yes.
 */
void synth_alloc_answer(struct synth_map *map, const struct answer_question *q, int64_t now_boot_s,
                        struct answer *out);
/* The name that holds the address; NULL and *name untouched if none does, or there is no map. */
const struct host_name *synth_alloc_name(struct synth_map *map, const struct ip *ip, int64_t now_boot_s,
                                         struct host_name *name);
