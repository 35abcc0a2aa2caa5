/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy that tunneld chains to, as its options say (--chain-proxy, --chain-except). The credentials are
 * not here: they are read anew at each reload. Immutable once built.
 */
#pragma once

#include "common/policy/judge_name.h"
#include "common/run/settings_tables.h"

struct chain_config {
    struct host proxy; /* HOST_NONE: there is none */
    uint16_t port;
    bool by_name; /* --chain-target=name */
    struct chain_except *items;
    struct chain_excepts excepts;
};
/* 0; -EINVAL with *err naming the option, never quoting the URL, which may hold a password; -ENOMEM. */
MUST_CHECK int chain_config_build(const struct settings_tunneld *s, struct chain_config *out,
                                  struct err *err);
void chain_config_fini(struct chain_config *c);
/* What of it decides, for judge_tunnel; borrows c. */
void chain_config_judge(const struct chain_config *c, struct judge_config *judge);
/* "HOST:PORT"; "" without a proxy. Returns text. */
#define CHAIN_CONFIG_TEXT_CAP (HOST_TEXT_CAP + 8)
const char *chain_config_text(const struct chain_config *c, char text[CHAIN_CONFIG_TEXT_CAP]);
