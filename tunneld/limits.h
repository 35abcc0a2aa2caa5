/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections are held at a time, in all, for each client address and for each rule, and how many of
 * a client's have not finished their request head; counted over all workers: a client's connections spread
 * over them, so that a count per worker would be no limit. One mutex, taken a few times in a connection's
 * life. The tables hold an entry per client that has a connection and per rule that admitted one, so they are
 * bounded by these.
 */
#pragma once

#include "common/base/ip.h"

struct limits;
struct limits_rule; /* a rule's place in the count; valid from limits_take_rule() to limits_give_rule() */

struct limits_config { /* 0 = no limit */
    uint32_t max_total, max_per_client, max_per_rule;
    uint32_t max_heads; /* unfinished request heads of a client */
};

enum limits_verdict {
    LIMITS_TOTAL = 0, /* the daemon holds as many as it may */
    LIMITS_CLIENT,    /* this client does */
    LIMITS_HEADS,     /* this client has as many unfinished request heads as it may */
    LIMITS_RULE,      /* the rule has admitted as many as it may */
    LIMITS_MEMORY,
    LIMITS_TAKEN /* counted: give it back once it is gone */
};

MUST_CHECK int limits_new(const struct limits_config *cfg, struct limits **out); /* 0 or -ENOMEM */
void limits_free(struct limits *l); /* NULL-safe; what is still counted is forgotten */
/* A connection; with_head: and its request head, which is given back first. */
MUST_CHECK enum limits_verdict limits_take(struct limits *l, const struct ip *client, bool with_head);
void limits_give(struct limits *l, const struct ip *client);
/* A request head of a client whose connection is counted. */
MUST_CHECK enum limits_verdict limits_take_head(struct limits *l, const struct ip *client);
void limits_give_head(struct limits *l, const struct ip *client);
/* A tunnel that the rule with this key admits. *out: what to give back; NULL without a limit. Rules of two
 * policies that have the same key are the same. */
MUST_CHECK enum limits_verdict limits_take_rule(struct limits *l, const char *key, struct limits_rule **out);
void limits_give_rule(struct limits *l, struct limits_rule *r); /* NULL-safe */
