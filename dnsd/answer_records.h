/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of answer: what of the SRV and TXT records of an admitted name is given out. The verdict is that of
 * the question's policy, so a cache may hold all of them. Pure.
 */
#pragma once

#include "dnsd/answer.h"

/*
 * f->records, less the SRV records whose target no endpoint admits with its port. If none is left: NODATA
 * with EDE 15, which names the first such target.
 */
void answer_records(const struct answer_question *q, const struct answer_family *f, struct answer *out);
