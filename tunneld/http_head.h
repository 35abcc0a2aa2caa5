/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request to the proxy, byte by byte: strict (RFC 9112 with every leniency it allows refused),
 * so that no two parsers of the same bytes can disagree. CRLF only, no folding, no white space before a
 * colon, one Host at most, no body on CONNECT, one way at most to tell the length of any other body, at most
 * HTTP_HEAD_MAX_BYTES. The target alone decides where the tunnel or the request goes; Host is only checked
 * for its form. A broken head is known at its first wrong byte. Pure; owns nothing.
 */
#pragma once

#include "common/base/host_name.h"
#include "tunneld/http_field.h"

#define HTTP_HEAD_MAX_BYTES 8192U
#define HTTP_HEAD_TEXT_CAP 288U /* longest target or value that can be right: a name, brackets, a port */
#define HTTP_HEAD_WORD_CAP 20U  /* longest method or field name that is looked at: "Transfer-Encoding" */

enum http_head_status {
    HTTP_HEAD_BAD = 0,
    HTTP_HEAD_MORE,
    HTTP_HEAD_CONNECT,
    HTTP_HEAD_FORWARD /* any other method with an http:// target */
};

enum http_head_fault {
    HTTP_HEAD_FAULT_NONE = 0,
    HTTP_HEAD_FAULT_TOO_LARGE,    /* 431 */
    HTTP_HEAD_FAULT_REQUEST_LINE, /* not METHOD SP TARGET SP VERSION */
    HTTP_HEAD_FAULT_VERSION,
    HTTP_HEAD_FAULT_LINE_END, /* a bare CR or LF */
    HTTP_HEAD_FAULT_FOLDING,
    HTTP_HEAD_FAULT_FIELD,
    HTTP_HEAD_FAULT_TWO_HOSTS,
    HTTP_HEAD_FAULT_HOST_FIELD,
    HTTP_HEAD_FAULT_NO_HOST, /* HTTP/1.1 without one, other than CONNECT */
    HTTP_HEAD_FAULT_FRAMING, /* CONNECT with a length other than 0, two of them, or Transfer-Encoding */
    HTTP_HEAD_FAULT_BODY,    /* any other request whose body has no one clear end */
    HTTP_HEAD_FAULT_TRACE,   /* 405 */
    HTTP_HEAD_FAULT_METHOD,  /* "connect", "Trace": another method for us, the same one for somebody else */
    HTTP_HEAD_FAULT_PLAIN_HTTPS,
    HTTP_HEAD_FAULT_STEERED,         /* of a steered connection: CONNECT */
    HTTP_HEAD_FAULT_STEERED_NO_HOST, /* of one: no Host, or an empty one, in either version */
    HTTP_HEAD_FAULT_NOT_PROXIED,     /* origin-form or "*": somebody took us for the server */
    HTTP_HEAD_FAULT_SCHEME,
    HTTP_HEAD_FAULT_AUTHORITY, /* CONNECT without HOST:PORT, http:// without HOST[:PORT] */
    HTTP_HEAD_FAULT_USERINFO,
    HTTP_HEAD_FAULT_FRAGMENT,
    HTTP_HEAD_FAULT_PORT,
    HTTP_HEAD_FAULT_OTHER_PORT, /* of a steered connection: Host names another one than was connected to */
    HTTP_HEAD_FAULT_HOST        /* host_fault says more */
};

struct http_head {
    enum http_head_status status;
    enum http_head_fault fault;
    enum host_fault host_fault;
    struct host host; /* valid when status is HTTP_HEAD_CONNECT or HTTP_HEAD_FORWARD, as all below */
    uint16_t port;    /* 80 where an http:// target has none */
    bool is_http10;
    struct http_framing framing;
    uint8_t method_len; /* HTTP_HEAD_WORD_CAP + 1 = longer than kept */
    char method[HTTP_HEAD_WORD_CAP];

    /* private to http_head.c */
    uint8_t state;
    uint8_t word_len; /* HTTP_HEAD_WORD_CAP + 1 = longer than anything looked at */
    bool has_host, has_fragment;
    uint16_t text_len; /* HTTP_HEAD_TEXT_CAP + 1 = longer */
    size_t total;
    char word[HTTP_HEAD_WORD_CAP];
    char text[HTTP_HEAD_TEXT_CAP];
    char target[HTTP_HEAD_TEXT_CAP];
    uint16_t target_len;
    uint16_t steered_port; /* 0: a proxy's request */
    bool has_authority;    /* a steered one: host and port are those of Host */
};

void http_head_init(struct http_head *h); /* status becomes HTTP_HEAD_MORE */
/*
 * For a connection that was steered here in place of the server's port: the target is in origin-form (RFC
 * 9112 3.2.1) or http://, Host names the server, and a port of theirs is this one. No CONNECT.
 */
void http_head_init_steered(struct http_head *h, uint16_t port);

/*
 * Takes bytes until the head ends or is broken; returns how many were taken (what is left belongs to the
 * tunnel). Takes none once status is no longer HTTP_HEAD_MORE. After a fault of the request's form (not of
 * its syntax) the whole head has been taken.
 */
size_t http_head_feed(struct http_head *h, struct span bytes);

/* Is it known already that the method is CONNECT? Nobody needs the text of such a head. */
bool http_head_is_connect(const struct http_head *h);

/* 400, 405 or 431. */
int http_head_fault_http_status(enum http_head_fault f);
/* One sentence for the client, with what to do instead. */
const char *http_head_fault_text(enum http_head_fault f);
