/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be done for the addresses of an answer before it leaves: a synthetic one is taken from the map,
 * and the real ones of a name that is direct are put into the nft set. An answer for which that fails becomes
 * SERVFAIL: the resolver is ill then, the policy said yes.
 */
#pragma once

#include "dnsd/query.h"

void direct_prepare(const struct query_engine_config *cfg, const struct answer_question *q, struct answer *a);
