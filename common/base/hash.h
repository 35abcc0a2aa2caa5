/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyed hashing (SipHash-2-4, Aumasson and Bernstein 2012) for every table that holds peer-chosen keys.
 * hash_key_init() draws a random key; a zero key is only for tests. Pure but for hash_key_init().
 */
#pragma once

#include "common/base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

void hash_key_init(struct hash_key *key);
uint64_t hash_siphash(const struct hash_key *key, struct span s);
