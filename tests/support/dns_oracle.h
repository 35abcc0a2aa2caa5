/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second opinion on DNS messages: ldns decodes them, plain code reduces what it found, and the result is
 * compared with ours. We have to agree with it or reject the message. Only what we accepted is shown to ldns,
 * which is slow, greedy and leaky on hostile bytes.
 */
#pragma once

#include "common/dns/dns_wire.h"

/* NULL if ours rejects msg or both agree, else what differs. */
const char *oracle_query(struct span msg);
const char *oracle_reply(struct span msg, const struct dns_sent *question); /* SRV and TXT included */

/* The question that msg itself has, so that a fuzzer gets past the comparison. False if it has none. */
bool oracle_sent_from(struct span msg, struct dns_sent *out);
