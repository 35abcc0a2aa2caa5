/* SPDX-License-Identifier: Apache-2.0 */
/* How the loader adds to a list of diagnostics. Internal to policy; readers use policy_load.h. */
#pragma once

#include "common/policy/policy_load.h"
#include "common/policy/yaml_doc.h"

#define POLICY_DIAGS_MAX 1000
#define POLICY_DIAG_LINE_MAX_BYTES ((size_t)4096) /* of a source line are kept */

struct diag_place {
    const char *file;
    struct yaml_pos pos;     /* line 0: about the whole file */
    struct span source_line; /* as in the file; may be empty */
    uint32_t file_index;     /* in the texts, if there is a line */
    enum diag_topic topic;
};

/*
 * Counts always; keeps the first POLICY_DIAGS_MAX. hint may be NULL or "". 0 or -ENOMEM (then it is only
 * counted).
 */
int policy_diags_add(struct policy_diags *d, enum diag_severity severity, const struct diag_place *place,
                     const char *message, const char *hint);

/* The text in double quotes, cut at 60 bytes, with everything but printable ASCII escaped; returns out. */
#define DIAG_QUOTE_CAP 300
const char *diag_quote(struct span s, char out[DIAG_QUOTE_CAP]);
