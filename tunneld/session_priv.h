/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a session, for session*.c only. */
#pragma once

#include "tunneld/dial.h"
#include "tunneld/http_head.h"
#include "tunneld/http_reply.h"
#include "tunneld/resolve.h"
#include "tunneld/session.h"

struct session_forward;

/* How a connection to a steer address names its host. */
enum steered { STEERED_NOT = 0, STEERED_UNKNOWN, STEERED_TLS, STEERED_HTTP };
struct session_refusal;
struct session_sni;
struct tls_sni;

struct session {
    struct reap_node reap;
    struct session *prev, *next;
    struct tunneld_worker *tw;
    enum session_state state;
    enum listen_kind kind;
    enum steered steered;
    uint16_t steered_port;                       /* that was connected to */
    bool is_counted, is_head_counted;            /* by limits */
    bool must_reset_client, must_reset_upstream; /* close(2) so that the side sees RST */
    bool is_forwarded;                           /* what goes on now began as a request for an http:// URL */
    bool is_kept;                                /* such a request has been answered; the next one may come */
    struct addr client;
    char *
        host_text; /* exactly as long as it is: most of an idle tunnel's memory otherwise; NULL until known */
    uint16_t port;
    int client_fd, upstream_fd;
    struct deadline deadline;

    /* STEER, READ_HEAD and LINGER */
    ev_io client_io;
    int64_t head_from_ms; /* STEER and READ_HEAD: the head timer counts from here */
    struct http_head *head;
    struct buf early; /* READ_HEAD: what was read of the head; later: bytes behind it */
    size_t discarded_bytes;

    /* DECIDE_NAME to DIAL; endpoint points into the worker's current policy */
    struct hangup_watch hangup; /* nothing is read meanwhile, a reset is noticed all the same */
    const struct policy_endpoint *endpoint;
    struct limits_rule *counted_rule; /* from a decision on; NULL: none, or rules have no limit */
    enum carriage carriage;
    struct tunnel_timers timers;
    struct tunnel_keepalive keepalive;
    struct resolve *resolve;
    struct dial *dial;
    struct dest_verdict refused; /* the first address that may not be dialled */
    struct addr refused_addr;
    int64_t asked_ms;            /* the whole request was there */
    struct session_chain *chain; /* CHAIN: what session_chain.c keeps */
    struct ip chained_ip;        /* CARRY_CHAIN: the address the proxy is asked for; none: the name itself */
    bool is_target_known;        /* CARRY_CHAIN: what is looked up now is the proxy */

    struct session_forward *forward; /* from its head to the end of its answer */
    struct session_steer *steer;     /* STEER */
    struct session_refusal *refusal; /* REFUSED */
    struct session_sni *sni;         /* PEEK_SNI */

    /* RELAY and HALF_CLOSED */
    struct addr upstream;
    struct relay relay;
    int64_t opened_ms;
    int64_t revoke_at_ms;             /* -1: the policy admits it */
    char *revoked_rule, *revoked_now; /* else: the rule that admitted it, and what decides now; may be NULL */
};

/* The session that embeds the member. */
#define SESSION_OF(ptr, member) ((struct session *)(void *)((char *)(ptr)-offsetof(struct session, member)))

/* Why a session fails before its tunnel stands. */
struct session_fault {
    enum reason reason;
    int status;                   /* 0 = the reason's own */
    int cause;                    /* positive errno, 0 = none */
    const char *why;              /* one clause, a literal or the caller's; NULL = none */
    int received_status;          /* the chain proxy's; 0 = none */
    const char *error_type;       /* RFC 9209; NULL = the reason's own */
    bool keeps_open, has_no_body; /* of the answer; session_forward's to set */
};

/* session.c */
/* Who is asked for. false: out of memory, and nobody is known. */
MUST_CHECK bool session_set_host(struct session *s, const struct host *host);
struct host session_host(const struct session *s); /* HOST_NONE until known */
void session_move(struct session *s, enum session_state state);
void session_fail(struct session *s, const struct session_fault *fault);
void session_established(struct session *s, int upstream_fd, const struct addr *upstream);
/* Both sides are open and all that was written to them is out: from now on bytes pass as they are. */
void session_tunnel_start(struct session *s, const char *rule);
/* Its last step. False: it could not, and the session is gone. */
MUST_CHECK bool session_relay_start(struct session *s);

/* session_decide.c: from the whole request to a connected upstream */
void session_decide_name(struct session *s);
/* Drops lookup and dial. */
void session_decide_stop(struct session *s);
/* The connect timer has run out. */
void session_decide_timeout(struct session *s);
/* May the name go upstream? Counts, and logs a new name. */
enum brakes_verdict session_ask_brakes(struct session *s);
/* What a lookup that found nothing comes to. */
struct session_fault session_resolve_fault(const struct resolve_result *r);

/* session_chain.c: likewise through the chain proxy */
void session_chain_start(struct session *s);
void session_chain_stop(struct session *s);
void session_chain_timeout(struct session *s);
/* "HOST:PORT" that the proxy is, or was, asked for. Returns text. */
#define SESSION_CHAIN_TEXT_CAP (HOST_TEXT_CAP + 8)
const char *session_chain_text(const struct session *s, char text[SESSION_CHAIN_TEXT_CAP]);

/* session_limits.c: each that takes is true, or says in *fault why nothing is left; giving is idempotent. */
/* Is the client served at all? If so the connection, and its request head, are counted. */
MUST_CHECK bool session_take_place(struct session *s, struct session_fault *fault);
void session_give_place(struct session *s);
/* A request head on a connection that was kept. */
MUST_CHECK bool session_take_head(struct session *s, struct session_fault *fault);
void session_give_head(struct session *s);
/* A tunnel, or a request, that s->endpoint admits; the one before is given back. */
MUST_CHECK bool session_take_rule(struct session *s, struct session_fault *fault);
void session_give_rule(struct session *s);

/* session_revoke.c */
/* Judges what stands by the new policy. True if revoke_at_ms has changed. */
MUST_CHECK bool session_revoke(struct session *s, const struct policy *previous);
void session_revoke_forget(struct session *s);

/* session_head.c: what is read from a client that has no tunnel */
int session_head_start(struct session *s);
void session_linger_start(struct session *s);
void session_head_stop(struct session *s);
/* A request has been answered and its connection is kept: the next one. */
void session_head_again(struct session *s);

/* session_steer.c: a connection to a steer address, until it has named its host */
/* Has the client dialled a steer address? Then *port is the port. */
bool session_is_steered(const struct session *s, uint16_t *port);
void session_steer_start(struct session *s, uint16_t port);
void session_steer_read(struct session *s);
void session_steer_due(struct session *s);
/* Tells the client, where that is another thing than for others. False: nothing was done. */
bool session_steer_refuse(struct session *s);
void session_steer_stop(struct session *s);
/* session_head.c: HTTP it is; s->early holds how it begins */
void session_head_steered(struct session *s);

/* session_sni.c: the first bytes of a tunnel, which stands */
bool session_sni_is_wanted(const struct session *s);
void session_sni_start(struct session *s);
void session_sni_read(struct session *s);
int64_t session_sni_due_ms(const struct session *s); /* -1: no ClientHello has begun, or it has no limit */
void session_sni_due(struct session *s);
void session_sni_stop(struct session *s);

/* session_refuse.c: a captured connection that is refused */
#define SESSION_REFUSAL_LOOK_MS 250
void session_refusal_start(struct session *s, const struct session_fault *fault);
void session_refusal_read(struct session *s);
void session_refusal_due(struct session *s);
void session_refusal_stop(struct session *s);
/* The last that the client is told; then LINGER. */
void session_answer(struct session *s, struct span bytes);

/* session_forward.c: a request for an http:// URL and its answer */
/* text: the head that s->head was fed. NONE as the reason, or why it fails. */
struct session_fault session_forward_begin(struct session *s, struct span text);
void session_forward_established(struct session *s);
/* The request ends with an answer of ours, which is fault. */
void session_forward_refuse(struct session *s, const struct session_fault *fault);
/* The state is FORWARD and a deadline has passed. */
void session_forward_due(struct session *s, enum reason reason);
int64_t session_forward_last_ms(const struct session *s); /* when a byte last moved */
const char *
session_forward_rule(const struct session *s); /* its rule's key; NULL before a server was reached */
/* Stops and frees it; the descriptors stay. reason: why, if it is cut off in the middle. */
void session_forward_stop(struct session *s, enum reason reason);

/* session_log.c */
void session_log_open(struct session *s, const char *rule, int64_t now_ms);
void session_log_close(struct session *s, enum reason reason, int64_t now_ms);
struct session_exchange { /* for the log */
    const char *method, *rule;
    unsigned status;    /* of the server's answer; 0 = none was passed on */
    enum reason reason; /* why it was cut off; NONE = it was not */
    uint64_t bytes_up, bytes_down;
};
void session_log_forward(struct session *s, const struct session_exchange *x, int64_t now_ms);
void session_log_fault(struct session *s, const struct session_fault *fault);
/* What the client began to send does not go to the host; is_enforced: and ends the tunnel. */
void session_log_sni(struct session *s, const struct tls_sni *hello, bool is_enforced);
/* It names the host, in the open; what is inside is not seen. */
void session_log_ech(struct session *s, const struct tls_sni *hello);
/* The HTTP answer to a fault; returns its length. */
size_t session_write_reply(const struct session *s, const struct session_fault *fault, void *out, size_t cap);
