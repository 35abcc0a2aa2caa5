/* SPDX-License-Identifier: Apache-2.0 */
/* What dns_client.c (questions) and dns_client_upstreams.c (other upstreams from now on) share. */
#pragma once

#include "common/dns/dns_client.h"
#include "common/dns/dns_stream.h"
#include "common/net/busy_poll.h"
#include "common/net/deadline.h"
#include "common/net/udp_burst.h"
#include "common/net/udp_pool.h"

#define ENTROPY_COUNT 15 /* drawn at a time: 510 bytes, which is what the generator serves best */

/* What carries one slot of the exchange: a socket of its own or a question on a connection, or nothing. */
struct leg {
    struct dns_call *call;
    size_t slot;
    size_t upstream; /* of the last use */
    struct udp_socket *udp;
    uint32_t udp_tag;              /* udp: of its question */
    uint32_t udp_former_tag;       /* udp: of the question that its socket carried before; 0 = none */
    bool is_answered;              /* udp: nothing more is expected */
    struct udp_burst_item *unsent; /* udp: its question waits to be sent with others */
    struct dns_stream_query *query;
};

struct dns_call {
    struct dns_client *client;
    struct dns_call *prev, *next; /* in the list of calls or of fresh ones, or next of the pool */
    bool is_fresh;
    struct deadline deadline; /* when the exchange wants to be looked at again */
    dns_client_event_fn *fn;  /* NULL once called */
    void *ctx;
    struct dns_rrset *records; /* of a question for such a type, else NULL */
    struct dns_exchange exchange;
    size_t leg_count; /* so many, the first ones, were ever open: mostly one */
    struct leg legs[DNS_EXCHANGE_SLOTS];
};

struct call_list {
    struct dns_call *first, *last;
    size_t count;
};

struct dns_client {
    struct ev_loop *loop;
    struct deadline_list *deadlines;
    struct dns_exchange_env env;
    struct dns_stream_transport transports[UPSTREAM_MAX];
    struct dns_streams *streams[UPSTREAM_MAX]; /* made when first needed */
    struct upstream_watch *watch;              /* NULL: none */
    struct dns_client_counters counters;
    struct call_list calls;
    struct call_list fresh; /* started, and nothing sent yet */
    int64_t fresh_ms;       /* when the first of them was: the others of a turn of the loop share its time */
    ev_prepare prepare;     /* runs while there are fresh ones … */
    ev_idle idle;           /* … and this keeps the loop from sleeping before it did */
    struct busy_poll busy_poll; /* on while an only question waits for its reply, where replies are fast */
    struct dns_call *pool;
    size_t pool_count;
    struct dns_entropy entropy[ENTROPY_COUNT];
    size_t entropy_at;
    struct udp_pool *sockets;
    bool is_collecting; /* questions wait for others, to go out together */
    struct udp_burst burst;
    struct dns_action action;    /* scratch of pump() */
    uint8_t rx[DNS_MESSAGE_MAX]; /* scratch of one recv() */
};

/* Gives back what carries the slot, which may be nothing. */
void dns_client_close_leg(struct leg *leg);
