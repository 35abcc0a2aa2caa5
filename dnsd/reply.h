/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an answer goes. A value, copied freely: the conversation keeps one and never learns which transport
 * it is. The transport behind it (owner) outlives every conversation of its worker; what may be gone by the
 * time of the answer, a connection, is named by a ticket that then fits nothing. Same worker's thread only.
 */
#pragma once

#include "common/dns/dns_wire.h"
#include "common/net/addr.h"

/* No answer of ours is longer: header, question, 64 IPv6 records of 28 bytes or a full dns_rrset with 32
 * heads of 12, SOA, OPT with EDE. */
#define REPLY_MAX ((size_t)4096)

struct reply;
/*
 * Sends one whole message, or drops it (an empty one always). Every message taken by query_handle() gets
 * exactly one call.
 */
typedef void reply_send_fn(const struct reply *to, struct span message);

union reply_sockaddr { /* a client's, with the scope of a link-local one */
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct reply {
    reply_send_fn *send;
    void *owner;
    struct addr client;        /* for the access list and the log */
    bool is_stream;            /* a message may be as long as any answer is */
    uint64_t ticket;           /* stream: the connection */
    union reply_sockaddr peer; /* datagram: where from ... */
    socklen_t peer_len;
    struct ip local; /* ... the address of ours that was asked, and the interface (0: the kernel's choice) */
    unsigned interface;
};

/* The longest answer that fits: what the client takes, at most 1232 bytes, on a datagram transport. */
size_t reply_limit(const struct reply *to, const struct dns_query *query);
/* Builds the message, as long as it may be there, and sends it. */
void reply_answer(const struct reply *to, const struct dns_answer *a);
