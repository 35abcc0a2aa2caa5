/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a head is passed on: every field but those that concern one connection only, in its order (RFC 9110
 * 7.6.1). For requests and answers alike. Pure; spans point into the head.
 */
#pragma once

#include "common/base/buf.h"
#include "tunneld/http_field.h"

#define HTTP_OPTIONS_MAX 32U /* of Connection in one head: they are compared with every field */

struct http_options {
    struct span names[HTTP_OPTIONS_MAX];
    size_t count;
    bool has_close;      /* in Connection or Proxy-Connection */
    bool has_upgrade;    /* "upgrade" among them */
    struct span upgrade; /* the value of Upgrade; empty without one, or with two */
    bool has_via;        /* Via names the receiver asked for */
    bool drops_hops;     /* the caller's to set: Max-Forwards is not copied */
};

/* fields = the lines behind the first one, with the empty line. receiver: the one to look for in Via; NULL =
 * none. False if they are malformed or name too many. */
bool http_options_read(struct span fields, const char *receiver, struct http_options *out);
/* Appends the fields that are passed on; neither Host nor framing nor the empty line. */
void http_copy_fields(struct span fields, const struct http_options *o, bool with_host, struct wbuf *out);
/* Appends the framing, as the body is sent from here. */
void http_copy_framing(const struct http_framing *f, struct wbuf *out);
