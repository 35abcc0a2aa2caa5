/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person typed as HOST[:PORT]: a name, IPv4, IPv6 (in brackets where a port follows). Pure.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/host_name.h"

struct explain_target {
    const char *typed;     /* borrowed */
    struct span host_text; /* of typed, without port and brackets */
    struct host host;      /* HOST_NONE if it has no canonical form */
    enum host_fault fault; /* then: why */
    uint16_t port;         /* 0: none was given */
    /* what the canonical form changed */
    bool is_lowered, lost_dot, is_rewritten;
};
/* 0, or -EINVAL with *err saying what to type instead (a URL, a path, a port that is none). */
MUST_CHECK int explain_target_parse(const char *text, struct explain_target *out, struct err *err);
