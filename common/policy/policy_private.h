/* SPDX-License-Identifier: Apache-2.0 */
/* What policy.c and policy_find.c share: the compiled policy itself. Internal to policy. */
#pragma once

#include "common/policy/policy.h"
#include "common/policy/policy_index.h"

#include <stdatomic.h>

struct policy {
    atomic_size_t refs;
    uint64_t generation;
    struct policy_rules *rules; /* owned */
    struct policy_index index;
    uint16_t *ports;
    size_t port_count;
};
