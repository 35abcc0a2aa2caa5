/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections are held at a time, in all and for each client address, counted over all workers: a
 * client's connections spread over them, so that a count per worker would be no limit. One mutex, taken twice
 * in a connection's life. The table holds an entry per client that has a connection, so it is bounded by
 * them.
 */
#pragma once

#include "common/base/ip.h"

struct limits;

enum limits_verdict {
    LIMITS_TOTAL = 0, /* the daemon holds as many as it may */
    LIMITS_CLIENT,    /* this client does */
    LIMITS_MEMORY,
    LIMITS_TAKEN /* counted: limits_give() once it is gone */
};

/* 0 = no limit. 0 or -ENOMEM. */
MUST_CHECK int limits_new(uint32_t max_total, uint32_t max_per_client, struct limits **out);
void limits_free(struct limits *l); /* NULL-safe; nothing may be counted any more, or is forgotten */
MUST_CHECK enum limits_verdict limits_take(struct limits *l, const struct ip *client);
void limits_give(struct limits *l, const struct ip *client);
