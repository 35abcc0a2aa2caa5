/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host pattern of a policy: exact, or with wildcards: '*' inside the first label or as a whole middle
 * label,
 * '**' only as the whole first label (one or more labels). Rejected with a reason: bare wildcards, fewer than
 * three labels, partial wildcards after the first label, '**' elsewhere, a wildcard in the last two labels,
 * '?', '[', '{'. Order of specificity: labels compared from the right, literal > partial '*' (more literal
 * bytes first) > '*' > '**'. Pure; owns nothing.
 */
#pragma once

#include "common/base/host_name.h"

enum pattern_fault {
    PATTERN_FAULT_NONE = 0,
    PATTERN_FAULT_EMPTY,
    PATTERN_FAULT_BARE,           /* "*" or "**" */
    PATTERN_FAULT_FEW_LABELS,     /* wildcard with fewer than three labels */
    PATTERN_FAULT_PARTIAL_MIDDLE, /* "foo.us-*.example.com" */
    PATTERN_FAULT_DOUBLE_STAR,    /* '**' not the whole first label */
    PATTERN_FAULT_LAST_TWO,       /* wildcard in the last two labels */
    PATTERN_FAULT_GLOB,           /* ? [ { */
    PATTERN_FAULT_HOST            /* not a host: see the host_fault */
};

struct host_pattern {
    bool is_wildcard;
    bool has_double_star;  /* first label is "**" */
    struct host_name text; /* canonical, wildcards kept as '*' bytes */
};

/* *host_why is set when the result is PATTERN_FAULT_HOST. IP literals are not patterns: parse those first. */
MUST_CHECK enum pattern_fault host_pattern_parse(struct span text, struct host_pattern *out,
                                                 enum host_fault *host_why);
/* What is wrong and how to write it instead, one sentence. */
const char *pattern_fault_text(enum pattern_fault f);
bool host_pattern_matches(const struct host_pattern *p, const struct host_name *n);
/* Does a label match one with stars? A star stands for any bytes, also none. */
bool host_label_matches(struct span pattern, struct span label);
/* True if some name that p admits lies strictly below n: n is an empty non-terminal then (RFC 8020). */
bool host_pattern_reaches_below(const struct host_pattern *p, const struct host_name *n);
/* < 0 if a is more specific than b, 0 if equally, > 0 if less. */
int host_pattern_compare(const struct host_pattern *a, const struct host_pattern *b);
