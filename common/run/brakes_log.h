/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the brakes make known: each name that first went upstream through a wildcard, and each client that is
 * stopped. Lines are limited; what a limit kept back is counted and said as suppressed=N, with the next line
 * of that kind or ten seconds later, and at the end; the three brakes are a kind each. One per worker, on its
 * loop.
 */
#pragma once

#include "common/base/log.h"
#include "common/policy/policy_rules.h"
#include "common/run/brakes.h"

#include <ev.h>

struct brakes_log {
    struct ev_loop *loop;
    ev_timer flush; /* active only while something waits to be said */
    struct log_limit names;
    struct log_limit stops[BRAKES_GO]; /* by verdict */
};

void brakes_log_init(struct brakes_log *l, struct ev_loop *loop);
void brakes_log_fini(struct brakes_log *l); /* says what is left */
/* dns_wildcard_name, if the outcome is that. endpoint is the one that admits the name. */
void brakes_log_name(struct brakes_log *l, const struct brakes_question *q,
                     const struct brakes_outcome *outcome, const struct policy_endpoint *endpoint);
/* dns_braked, if the outcome is one of the brakes. */
void brakes_log_stop(struct brakes_log *l, const struct brakes_question *q,
                     const struct brakes_outcome *outcome, const struct policy_endpoint *endpoint);
