/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --chain-except keeps from the chain proxy: names by pattern, addresses by prefix, each on every port
 * or on one. An address item is about targets that are addresses: a name is not resolved to find out. Pure.
 */
#pragma once

#include "common/policy/host_pattern.h"

enum chain_except_kind { CHAIN_EXCEPT_NONE = 0, CHAIN_EXCEPT_NAME, CHAIN_EXCEPT_PREFIX };

struct chain_except {
    enum chain_except_kind kind;
    struct host_pattern pattern;
    struct ip_prefix prefix;
    uint16_t port; /* 0 = every port */
};

struct chain_excepts { /* borrowed */
    const struct chain_except *items;
    size_t count;
};

bool chain_excepts_cover(const struct chain_excepts *e, const struct host *host, uint16_t port);
