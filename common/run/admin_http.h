/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little HTTP of the admin listener: one GET on a connection, which is then closed. Strict (RFC 9112
 * without its leniency), for the same reason as the proxy's head. A body is never read, so how it would be
 * framed does not matter: nothing comes behind it. Pure; owns nothing.
 */
#pragma once

#include "common/base/buf.h"
#include "common/net/addr.h"

#define ADMIN_HTTP_HEAD_MAX 2048U  /* bytes of a request's head */
#define ADMIN_HTTP_REPLY_HEAD 320U /* room that admin_http_reply_head() needs at most */

enum admin_page {
    ADMIN_PAGE_NONE = 0,
    ADMIN_PAGE_HEALTHZ,
    ADMIN_PAGE_READYZ,
    ADMIN_PAGE_STATUS,
    ADMIN_PAGE_METRICS
};

struct admin_request {
    int status;           /* 0: the head is not complete; 200: page is asked for; else it is refused */
    enum admin_page page; /* with 200 */
    const char *text;     /* with a refusal: one sentence and a newline, a literal */
};

/*
 * Looks at all bytes that came so far, and may be called again with more. local is the address of our end of
 * the connection: Host must name it (with its port unless that is 80), or localhost; a page that a browser
 * was led to by a name (DNS rebinding) has another Host. NULL for a unix socket: no browser gets there, so
 * Host may say anything or be missing. bytes of ADMIN_HTTP_HEAD_MAX or more without an end are 431.
 */
void admin_http_parse(struct span bytes, const struct addr *local, struct admin_request *out);

struct admin_reply {
    int status;
    bool is_stale;    /* says "Policy: stale" in the head */
    const char *type; /* Content-Type, a literal */
    struct buf body;  /* owned by the reply */
};

/*
 * The head of the answer, the empty line included. Returns its length.
 */
size_t admin_http_reply_head(int status, const char *type, size_t body_len, bool is_stale,
                             char out[ADMIN_HTTP_REPLY_HEAD]);
