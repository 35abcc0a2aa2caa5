/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads OpenShell policy files strictly (product section 2; OpenShell's typed parser is the model) and
 * reports every semantic error of every file in one run. Takes texts, so it is pure; policy_files.h reads the
 * disk.
 */
#pragma once

#include "common/policy/policy_rules.h"

enum diag_severity { DIAG_ERROR = 0, DIAG_WARNING };

enum diag_topic { /* for who must do something about a diagnostic; people read the message */
                  DIAG_TOPIC_OTHER = 0,
                  DIAG_TOPIC_CHAINED,   /* an endpoint that is carried only with --chain-proxy */
                  DIAG_TOPIC_L7_REFUSED /* one that is refused without --chain-proxy or --l7=tunnel */
};

struct policy_diag {
    enum diag_severity severity;
    enum diag_topic topic;
    char *file;                         /* owned; as the user named it: to be cleaned before it is shown */
    uint32_t file_index;                /* in the texts; means something only with a line */
    uint32_t line, col, len;            /* 0 line: about the whole file */
    char *message, *hint, *source_line; /* owned, fit for a terminal; hint may be NULL */
};

struct policy_diags { /* zero-initialised = empty; owner calls policy_diags_fini */
    struct policy_diag *items;
    size_t count, cap;
    size_t error_count, warning_count;
    bool overflowed; /* more than 1000: the rest is only counted */
};
void policy_diags_fini(struct policy_diags *d);
/* "file:line:col: error: …", the source line, a caret, "  = hint: …" into an owned string (caller frees). */
char *policy_diag_text(const struct policy_diag *d, bool colour);

struct policy_text {
    const char *file; /* as the user named it */
    struct span text;
};

/*
 * Loads and merges texts in order. On success 0 and *out owned by the caller (warnings may be in *diags);
 * -EINVAL if there was any error (all are in *diags, *out is NULL); -ENOMEM.
 * No texts at all is a policy that admits nothing.
 */
MUST_CHECK int policy_load(const struct policy_text *texts, size_t count, struct policy_rules **out,
                           struct policy_diags *diags);
