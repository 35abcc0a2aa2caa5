/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which protocol a client speaks that was captured and is refused, from the first bytes it sends: that of the
 * answer. HTTP/1 is known by a whole request line (RFC 9112 3), TLS by the beginning of a ClientHello. Pure.
 */
#pragma once

#include "tunneld/tls_sni.h"

#define FIRST_BYTES_LINE_MAX 8192U /* of a request line */

enum first_bytes_kind {
    FIRST_BYTES_OTHER = 0, /* nothing that can be answered */
    FIRST_BYTES_MORE,
    FIRST_BYTES_HTTP,
    FIRST_BYTES_HTTP_HEAD, /* the method is HEAD: its answer has no body */
    FIRST_BYTES_TLS
};

struct first_bytes {
    enum first_bytes_kind kind;
    /* Its own. */
    struct tls_sni tls;
    bool may_be_http, may_be_head;
    uint8_t part;   /* of the request line */
    uint16_t total; /* of it */
    uint16_t at;    /* of the part */
};

void first_bytes_init(struct first_bytes *f);
/* bytes follow those given before. Behind a verdict nothing more is looked at. Returns the kind. */
enum first_bytes_kind first_bytes_feed(struct first_bytes *f, struct span bytes);
