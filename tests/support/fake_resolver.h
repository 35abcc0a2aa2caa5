/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolver that the test answers for: a program that links this has all of common/dns/resolver.h from here.
 * Each question and each cancelled one is an act: "ask NAME TYPE", "cancel NAME TYPE". For tests only.
 */
#pragma once

#include "common/dns/resolver.h"
#include "tests/support/scene_acts.h"

/* Forgets every question and what is stale; from now on acts go there. */
void fake_resolver_reset(struct acts *acts);
/* The oldest open question for that gets this answer. False: there is none. */
bool fake_resolver_answer(const struct host_name *name, uint16_t qtype, const struct resolver_answer *a);
/* From now on this has expired in the cache, for the type of its first address. */
void fake_resolver_keep_stale(const struct host_name *name, const struct resolver_answer *a);
size_t fake_resolver_open_count(void);
