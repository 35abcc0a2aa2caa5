/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tunneld says to the proxy of --chain-proxy, and what that one answers: CONNECT HOST:PORT, then any
 * number of interim answers (1xx), then one that opens the tunnel (2xx; its Content-Length and
 * Transfer-Encoding mean nothing, RFC 9110 9.3.6) or does not. All heads together are at most
 * CHAIN_REPLY_MAX_BYTES. Pure; owns nothing.
 */
#pragma once

#include "common/base/host_name.h"
#include "tunneld/http_response_head.h"

#define CHAIN_REPLY_MAX_BYTES 8192U
#define CHAIN_CREDENTIALS_CAP 512U /* USER:PASSWORD; in base64 four thirds of it */
#define CHAIN_BASIC_CAP (CHAIN_CREDENTIALS_CAP / 3U * 4U + 8U)
#define CHAIN_REQUEST_CAP (2U * HOST_TEXT_CAP + CHAIN_BASIC_CAP + 128U)

/* Base64 (RFC 4648 4) of USER:PASSWORD. text must hold CHAIN_BASIC_CAP; credentials.len is at most
 * CHAIN_CREDENTIALS_CAP. */
void chain_basic(struct span credentials, char *text);
/* Writes the whole request; out holds CHAIN_REQUEST_CAP. basic: of chain_basic, "" for none. Returns the
 * length. */
size_t chain_request_write(const struct host *host, uint16_t port, const char *basic, void *out);

enum chain_verdict { CHAIN_FAILED = 0, CHAIN_MORE, CHAIN_ESTABLISHED };

enum chain_fault {
    CHAIN_FAULT_NONE = 0,
    CHAIN_FAULT_STATUS,    /* a status that opens no tunnel: see code */
    CHAIN_FAULT_MALFORMED, /* no HTTP/1 head */
    CHAIN_FAULT_TOO_LARGE,
    CHAIN_FAULT_CLOSED, /* it closed in the middle of its answer, or before */
    CHAIN_FAULT_TIMEOUT
};

struct chain_reply {
    enum chain_verdict verdict;
    enum chain_fault fault;
    uint16_t code; /* the last whole head's; 0 = none */
    struct http_response_head head;
    size_t total;
};

void chain_reply_init(struct chain_reply *r); /* verdict becomes CHAIN_MORE */
/* Takes bytes; returns how many. With CHAIN_ESTABLISHED what was not taken is the tunnel's. */
size_t chain_reply_feed(struct chain_reply *r, struct span bytes);
/* No more bytes will come: the peer has closed, or the time is up. No effect on a verdict that stands. */
void chain_reply_closed(struct chain_reply *r);
void chain_reply_timeout(struct chain_reply *r);

struct chain_words {
    bool has_credentials; /* were sent */
    bool by_name;         /* the target was a name */
};
/* One clause for client and log: what it did, and what to change. Quotes nothing of the peer. */
const char *chain_reply_why(const struct chain_reply *r, const struct chain_words *w);
/* The error type of RFC 9209 2.3. */
const char *chain_reply_error_type(const struct chain_reply *r);
