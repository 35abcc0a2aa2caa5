/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one lint, and its parts, one per file. Internal to policy: policy_lint.h is the door. */
#pragma once

#include "common/policy/policy_lint.h"
#include "common/policy/policy_source.h"

enum lint_kind {
    LINT_CONTROL_PLANE = 0,
    LINT_NEVER_DIALLED,
    LINT_SHARED_NAME,
    LINT_RESOLVER,
    LINT_OVERLAP,
    LINT_SHADOWED
};
#define LINT_KIND_COUNT 6

struct lint {
    const struct policy *p;
    const struct policy_rules *rules;
    struct policy_diags *diags;
    struct policy_source source;
    size_t found[LINT_KIND_COUNT];
    int rc;
};

/* A finding about an endpoint. hint is never empty: what cannot be repaired is not reported. */
void lint_add(struct lint *l, enum lint_kind kind, const struct policy_endpoint *ep, const char *hint,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* One about the whole. */
void lint_add_whole(struct lint *l, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The host as the policy has it, for a message; returns text. */
#define LINT_HOST_CAP 256
const char *lint_host(const struct policy_endpoint *ep, char text[LINT_HOST_CAP]);

/* policy_lint_overlap.c: endpoints compared with each other. */
void lint_overlaps(struct lint *l);

/* policy_lint_table.c: what is known about names. */
struct lint_shared {
    const char *suffix;
    bool only_below; /* strangers own names below its subdomains, not directly below it: "**" reaches them */
    const char *why; /* who can own a name there */
};
/* The entry for the name in front of which anybody can put a label, or NULL. */
const struct lint_shared *lint_find_shared(struct span suffix);

/* Public resolvers over HTTPS, TLS or QUIC: names, then address literals. */
extern const char *const lint_resolver_names[];
extern const size_t lint_resolver_name_count;
extern const char *const lint_resolver_addresses[];
extern const size_t lint_resolver_address_count;
