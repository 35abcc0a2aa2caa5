/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two policies, for the log of a reload: rules by their key, and what egress: says. In
 * brief, and only what has an effect here: a reload that only touches the inside of L7 rules changes nothing.
 * Pure.
 */
#pragma once

#include "common/policy/policy_rules.h"

enum policy_change_kind {
    POLICY_RULE_ADDED = 0,
    POLICY_RULE_REMOVED,
    POLICY_RULE_CHANGED,
    POLICY_EGRESS_CHANGED /* key is "defaults", "hosts" or "never" */
};

/*
 * detail: "+host:443" came, "-host:443" went, "~host:443(proxy,idle)" stayed and differs in that; binaries as
 * "+binary:PATH". Cut at a word, then "and N more".
 */
#define POLICY_CHANGE_DETAIL_CAP 240
struct policy_change {
    enum policy_change_kind kind;
    const char *key; /* borrowed from the rules of either */
    char detail[POLICY_CHANGE_DETAIL_CAP];
};

struct policy_changes { /* owner calls policy_changes_fini */
    struct policy_change *items;
    size_t count; /* at most the limit; the numbers below are of all */
    size_t added, removed, changed, egress_changed;
};

/* Rules in the order of their keys, then egress. At most limit items. 0, or -ENOMEM with *out empty. */
MUST_CHECK int policy_changes_find(const struct policy_rules *former, const struct policy_rules *current,
                                   size_t limit, struct policy_changes *out);
void policy_changes_fini(struct policy_changes *c);
