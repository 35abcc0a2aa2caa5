/* SPDX-License-Identifier: Apache-2.0 */
/* What dns_stream.c (which connection a question goes to) and dns_stream_conn.c (one connection) share. */
#pragma once

#include "common/base/buf.h"
#include "common/dns/dns_stream.h"
#include "common/net/deadline.h"

#define DNS_STREAM_IDS 256U /* buckets */

enum dns_stream_state { DNS_STREAM_CONNECTING = 0, DNS_STREAM_HANDSHAKE, DNS_STREAM_OPEN };

struct dns_stream_list {
    struct dns_stream_query *first, *last; /* the oldest first */
    size_t count;
};

struct dns_stream_conn {
    struct dns_streams *owner;
    struct dns_stream_conn *prev, *next;
    int fd;
    ev_io io;
    ev_timer more; /* active while there may be more to read, whatever the socket says */
    int events;    /* what io waits for; 0 = it is stopped */
    int want_read, want_write;
    enum dns_stream_state state;
    void *session; /* from DNS_STREAM_HANDSHAKE on */
    int error;     /* < 0: failed, its turn of the loop is still to come */
    unsigned asked, answered;
    int64_t active_ms;  /* something was read, or asked while nothing was open */
    int64_t unheard_ms; /* since when it owes us something and nothing was read; 0 = it owes nothing */
    struct deadline deadline;
    struct buf tx, rx;
    size_t unqueued;             /* bytes that the questions will be which wait for DNS_STREAM_OPEN */
    struct dns_stream_list open; /* questions */
    struct dns_stream_query *by_id[DNS_STREAM_IDS];
    uint16_t
        gone[DNS_STREAM_PIPELINE_MAX]; /* IDs of questions that were cancelled: the answers may come yet */
    size_t gone_count;
    size_t gone_next; /* once all are in use: the one that gives way */
};

struct dns_stream_query {
    struct dns_streams *owner;
    struct dns_stream_conn *conn; /* NULL: it waits for one, or is over */
    struct dns_stream_query *prev, *next;
    struct dns_stream_query *next_of_id; /* in the bucket */
    dns_stream_event_fn *fn;
    void *ctx;
    uint16_t id; /* on the wire */
    uint16_t caller_id;
    bool was_behind; /* others had been asked on the connection before */
    bool is_retry;
    size_t msg_len;
    uint8_t msg[DNS_STREAM_QUERY_MAX];
};

struct dns_streams {
    struct ev_loop *loop;
    struct dns_stream_config cfg;
    struct deadline_list *deadlines;
    struct dns_stream_conn *conns;
    size_t conn_count;
    size_t ending_count;            /* of them: failed, their turn of the loop is still to come */
    struct dns_stream_list retried; /* wait for a place, and had one on a connection that died; before … */
    struct dns_stream_list waiting; /* … those that had none yet */
    ev_timer serve;                 /* never active: what waits is served in a turn of the loop of its own */
    bool is_single; /* learned: this server answers one question a connection, or loses count */
    struct dns_stream_stats stats;
};

void dns_stream_list_add(struct dns_stream_list *l, struct dns_stream_query *q);
void dns_stream_list_remove(struct dns_stream_list *l, struct dns_stream_query *q);
/* Perhaps there is a place by now for those that wait. */
void dns_stream_serve_later(struct dns_streams *s);
/* A new connection that is being made, in the list. 0 or -errno. */
MUST_CHECK int dns_stream_conn_new(struct dns_streams *s, struct dns_stream_conn **out);
/* One more question is sure to fit in what waits to be written. */
bool dns_stream_conn_has_room(const struct dns_stream_conn *c);
/* Takes q on: an ID of its own, into the queue of bytes if the connection stands, else once it does. 0, or
 * -errno: q is as it was. Calls nobody back. */
MUST_CHECK int dns_stream_conn_put(struct dns_stream_conn *c, struct dns_stream_query *q);
/* Off the list, watcher, session and socket gone; its questions are still there, and it is not freed. */
void dns_stream_conn_close(struct dns_stream_conn *c);
void dns_stream_conn_unlink(struct dns_stream_query *q);
/* The same, and its answer, if it comes, is nothing to anybody. */
void dns_stream_conn_forget(struct dns_stream_query *q);
/* Unlinks the oldest open question; NULL: there is none. */
struct dns_stream_query *dns_stream_conn_pop(struct dns_stream_conn *c);
/* Ends it in a turn of the loop of its own. */
void dns_stream_conn_end_later(struct dns_stream_conn *c, int error);
/* The end of a connection: each question on it fails or moves. Frees c. */
void dns_stream_conn_end(struct dns_stream_conn *c, int error);
extern const struct dns_stream_ops dns_stream_plain;
