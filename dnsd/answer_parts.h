/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of answer build answers with. Pure. */
#pragma once

#include "dnsd/answer.h"

void answer_start(struct answer *out, enum dns_rcode rcode, enum answer_event event);
/* The extended error; a longer text is cut. */
void answer_say(struct answer *out, enum dns_ede ede, const char *text);
/* NOERROR without a record; the rest stays. */
void answer_no_data(struct answer *out, uint32_t soa_ttl_s);
/* An address in place of the name's own, of which behind holds one that is permitted. */
void answer_standin(const struct answer_question *q, enum answer_mode mode,
                    const struct answer_family *behind, struct answer *out);
