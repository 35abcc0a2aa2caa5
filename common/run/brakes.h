/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps admitted names from carrying data out: limits on the questions that would go upstream. They are
 * asked between cache and resolver, so an answer that costs no packet costs no token. One object for all
 * workers of a process, any thread, one short lock. Time is a parameter; nothing allocates after
 * brakes_new().
 *
 *  - rate: questions a second of one (sandbox, client address), burst twice that. A client is a whole
 *    address, also of IPv6: sandboxes are pods with one address each. BRAKES_CLIENTS_MAX are known; the one
 *    that asked longest ago makes room, and starts anew with a full burst.
 *  - budget: names never seen before, a minute and (sandbox, wildcard pattern), burst twice that. A pattern
 * is known by its text, so that a reload gives no new budget; BRAKES_WILDCARDS_MAX are known, likewise. A
 * name that was seen is free: BRAKES_NAMES_MAX are remembered as keyed 64-bit hashes, in sets of four of
 * which the one seen longest ago is forgotten. A forgotten one takes a token again.
 *  - length: of a whole name that only a wildcard admits.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/host_name.h"
#include "common/policy/reason.h"
#include "common/run/settings_tables.h"

#define BRAKES_CLIENTS_MAX 8192U
#define BRAKES_WILDCARDS_MAX 4096U
#define BRAKES_NAMES_MAX 65536U
#define BRAKES_QUIET_MS 10000 /* a client that was not stopped for so long is news when it is stopped */

struct brakes_config {        /* 0: no limit */
    uint32_t rate;            /* --rate-limit */
    uint32_t wildcard_budget; /* --wildcard-budget */
    uint32_t wildcard_length; /* --wildcard-length */
};

/* 0 is the safe one. */
enum brakes_verdict { BRAKES_RATE = 0, BRAKES_BUDGET, BRAKES_LENGTH, BRAKES_GO };

struct brakes_question { /* borrowed for the call */
    uint32_t sandbox;    /* 0: there is one for all */
    const struct ip *client;
    const struct host_name *name;
    const struct host_name
        *pattern;   /* of the wildcard that alone admits the name; NULL: an exact rule does */
    bool is_joined; /* it sends nothing by itself: no token of the rate */
    int64_t now_ms; /* monotonic */
};

struct brakes_outcome {
    enum brakes_verdict verdict;
    bool is_new_name; /* BRAKES_GO: the first time that the name comes through a wildcard */
    bool is_onset;    /* else: the client was not stopped for this within the last BRAKES_QUIET_MS */
};

struct brakes;

struct brakes_config brakes_config_of(const struct settings_shared *s);
/* Of a name that only a wildcard admits. */
bool brakes_is_too_long(const struct brakes_config *cfg, const struct host_name *name);
MUST_CHECK int brakes_new(const struct brakes_config *cfg, struct brakes **out); /* 0 or -errno */
void brakes_free(struct brakes *b);                                              /* NULL-safe */
/* Is there a rate at all? */
bool brakes_has_rate(const struct brakes *b);
/* May this question go upstream? Takes the tokens only if it may. */
void brakes_judge(struct brakes *b, const struct brakes_question *q, struct brakes_outcome *out);

enum reason brakes_reason(enum brakes_verdict v); /* REASON_NONE for BRAKES_GO */
/* What happened, naming the option; a literal, "" for BRAKES_GO. */
const char *brakes_text(enum brakes_verdict v);
