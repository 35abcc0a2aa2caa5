/* SPDX-License-Identifier: Apache-2.0 */
/* Part of answer: names below in-addr.arpa and ip6.arpa, which are never asked upstream. Pure. */
#pragma once

#include "dnsd/answer.h"

bool answer_is_reverse(const struct host_name *n);
/* The same of wire labels, whatever they are made of (RFC 2317 has "0/25.2.0.192.in-addr.arpa"). */
bool answer_is_reverse_wire(struct span qname);
/* Of such a name: the answer, or *reverse, which the map of synthetic addresses is to be asked for. */
enum answer_route answer_reverse(const struct answer_question *q, struct answer *out, struct ip *reverse);
