/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of a policy as diagnostics show them: the line of a place, found through an index of the file
 * that is made when its first diagnostic asks. One thread; internal to policy.
 */
#pragma once

#include "common/policy/policy_diag.h"

struct policy_source {
    const struct policy_text *texts; /* borrowed */
    size_t count;
    uint32_t **starts; /* of each text: [0] is the number of lines, [n] where line n begins; NULL: not yet */
};

MUST_CHECK int policy_source_init(struct policy_source *s, const struct policy_text *texts, size_t count);
void policy_source_fini(struct policy_source *s); /* safe on a zeroed one */

/*
 * Fills *out for a place in text number `file`: name, line, and what to underline if pos has no length (a
 * word, or a quoted text). 0, or -ENOMEM: *out is good but for the line.
 */
MUST_CHECK int policy_source_place(struct policy_source *s, uint32_t file, struct yaml_pos pos,
                                   struct diag_place *out);
