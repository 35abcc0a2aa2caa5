/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of answer build answers with. Pure. */
#pragma once

#include "dnsd/answer.h"

/* The names of an open zone, and those that nft lets through, have their real addresses in every mode. */
enum answer_mode answer_mode_of(const struct answer_question *q);
bool answer_is_open(const struct answer_question *q);
/* Some name below it is answered, so it exists (RFC 8020 2). */
bool answer_is_parent(const struct answer_question *q);
/* Whether AAAA records of admitted names are given out at all. A static one is the operator's own word. */
bool answer_offers_aaaa(const struct answer_question *q, bool is_static);

void answer_start(struct answer *out, enum dns_rcode rcode, enum answer_event event);
/* The extended error; a longer text is cut. */
void answer_say(struct answer *out, enum dns_ede ede, const char *text);
/* Appends to the text of the extended error if that stays short. */
void answer_say_more(struct answer *out, const char *before, struct span what);
/* NOERROR without a record; the rest stays. */
void answer_no_data(struct answer *out, uint32_t soa_ttl_s);
/* The same, as records of the type are not given out. */
void answer_not_given_out(const struct answer_question *q, struct answer *out);
/* answer_from_lookup(), also of what egress.hosts gives. */
unsigned answer_from_known(const struct answer_question *q, const struct answer_lookup *l, bool is_static,
                           struct answer *out);
/* An address in place of the name's own, of which behind holds one that is permitted. */
void answer_standin(const struct answer_question *q, enum answer_mode mode,
                    const struct answer_family *behind, struct answer *out);
