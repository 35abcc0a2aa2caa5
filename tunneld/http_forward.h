/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request that is passed on to its server, and the answer that is passed back (RFC 9110 section 7, RFC
 * 9112): heads are read strictly and written anew, bodies pass as they are while their end is watched for.
 * The server gets one request on a connection of its own, so that no answer can be taken for another
 * request's. Pure: bytes in, bytes out, no descriptor, no clock; the owner moves the bytes.
 */
#pragma once

#include "tunneld/http_body.h"
#include "tunneld/http_head.h"
#include "tunneld/http_response_head.h"

#include "common/base/buf.h"

/* The longest head, each field a space longer (the shortest has four bytes), and what is written anew. */
#define HTTP_FORWARD_HEAD_CAP (HTTP_HEAD_MAX_BYTES / 4 * 5 + 1024U)

enum http_forward_state {
    HTTP_FORWARD_BAD = 0, /* why says what; nothing more may be passed to the client */
    HTTP_FORWARD_HEAD,    /* waits for the answer's head */
    HTTP_FORWARD_BODY,
    HTTP_FORWARD_DONE,  /* the answer is whole; further bytes of the server are nothing of ours */
    HTTP_FORWARD_TUNNEL /* 101: what follows, either way, is the upgraded protocol's */
};

struct http_forward_names { /* borrowed */
    const char *via;        /* what we are called in Via; unique to this daemon */
    int64_t idle_s;         /* told to clients of kept connections; 0 = nothing is told */
};

struct http_forward {
    enum http_forward_state state;
    const char *why;
    struct http_forward_names names;
    struct http_body up;  /* the request's body */
    unsigned status;      /* of the final answer; 0 = its head has not been passed on */
    bool must_close;      /* the client's connection ends behind the answer; the owner may set it before */
    bool is_head_request; /* the method is HEAD */

    /* private to http_forward.c */
    bool is_http10;
    bool wants_upgrade;
    struct http_response_head answer;
    struct buf head; /* the answer's head so far */
    struct http_body down;
};

enum http_forward_fault {
    HTTP_FORWARD_FAULT_NONE = 0,
    HTTP_FORWARD_FAULT_LOOP,   /* it has passed here before */
    HTTP_FORWARD_FAULT_FIELDS, /* too many names in Connection */
    HTTP_FORWARD_FAULT_HOPS /* OPTIONS with Max-Forwards 0: it is for us (RFC 9110 7.6.2); or with no number
                             */
};

/*
 * Starts with the request head h was fed (text, all of it), whose status is HTTP_HEAD_FORWARD. Writes the
 * head for the server to out, which has HTTP_FORWARD_HEAD_CAP bytes. http_forward_fini() in every case.
 */
enum http_forward_fault http_forward_start(struct http_forward *f, const struct http_head *h,
                                           struct span text, const struct http_forward_names *names,
                                           struct wbuf *out);
void http_forward_fini(struct http_forward *f);

/*
 * Bytes of the client: returns how many of them are the request's body, to be passed on as they are. What is
 * left belongs to the next request, or to the tunnel, once up.status is HTTP_BODY_DONE; it is broken, and
 * nothing of this call may be passed on, if that is HTTP_BODY_BAD.
 */
size_t http_forward_up(struct http_forward *f, struct span bytes);

/*
 * Bytes of the server: returns how many were taken. What goes to the client is appended to out (heads), and
 * behind it comes pass, which is among the bytes taken. Call again with the rest while the state is HEAD or
 * BODY. 0 with the state unchanged only if there were no bytes.
 */
size_t http_forward_down(struct http_forward *f, struct span bytes, struct buf *out, struct span *pass);
/* Is the end of the connection all that tells the client that the answer it is getting has ended? */
bool http_forward_ends_by_close(const struct http_forward *f);
/* The server has ended its side: the state becomes DONE or BAD. */
void http_forward_down_end(struct http_forward *f);
