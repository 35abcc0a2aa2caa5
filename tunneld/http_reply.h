/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tunneld itself says over HTTP: the one line that opens a tunnel, and errors as JSON with Proxy-Status
 * (RFC 9209) in front. Scripts rely on the bodies: "error" is a reason word, "detail" and "reason" are
 * sentences, "rule_missing" is YAML. Pure.
 */
#pragma once

#include "common/policy/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_REPLY_CAP 4096U

extern const char http_reply_established[]; /* the 200 of CONNECT */

struct http_reply {
    enum reason reason;
    int status; /* 0 = the status that belongs to the reason */
    int cause;  /* errno behind it (positive), 0 = none: tells refused from unroutable, DNS silence */
    int received_status;      /* of the next proxy (RFC 9209 2.1.4); 0 = none */
    const char *error_type;   /* RFC 9209 2.3; NULL = the one that belongs to the reason */
    const char *detail;       /* what was asked and what became of it; may quote the peer */
    const char *why;          /* one clause more; NULL = none */
    const char *rule_missing; /* YAML that would admit it; NULL = none */
    unsigned retry_after_s;   /* 0 = no Retry-After */
    bool keeps_open;          /* the connection goes on behind it */
    bool has_no_body;         /* it answers HEAD */
};

/* The status that belongs to a reason; 502 for those that end established tunnels (they are never answered).
 */
int http_reply_status(enum reason r);
/*
 * Writes the whole answer, head and body. Returns its length; if it does not fit, the optional texts are left
 * out; 0 only if even that does not fit (cap below 1 KiB).
 */
size_t http_reply_write(const struct http_reply *r, void *out, size_t cap);
