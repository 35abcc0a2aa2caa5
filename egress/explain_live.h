/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `explain --live`: asks the upstreams with the daemons' resolver, judges what comes as tunneld does, and
 * dials what is permitted in tunneld's order and rhythm. Nothing is sent on a connection, nothing that is
 * refused is dialled, and a denied name is asked of nobody. Blocks, within the connect timeout of each port.
 */
#pragma once

#include "egress/explain_facts.h"

enum explain_outcome {
    EXPLAIN_OUTCOME_DENIED = 0, /* by our rules: the name, or every address */
    EXPLAIN_OUTCOME_REACHED,    /* some permitted address of some port connected, or a port goes through the
                                  chain    proxy, which is not tried */
    EXPLAIN_OUTCOME_UNREACHED   /* allowed, but no lookup or no connection worked: f->why says which */
};

/* Fills in addresses, dials and answers. 0 and *outcome, or -errno with *err. */
MUST_CHECK int explain_live_run(struct explain_facts *f, enum explain_outcome *outcome, struct err *err);
