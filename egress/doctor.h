/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `openshell-egress doctor` finds out, as plain data. The doctor_* files that test (lookup, dns,
 * connect, tls, idle) fill it; doctor_advice, doctor_text and doctor_json only read it. One thread.
 */
#pragma once

#include "common/base/host_name.h"
#include "common/net/addr.h"

/* A check that was not made proves nothing: zero. */
enum doctor_state {
    DOCTOR_NOT_TESTED = 0,
    DOCTOR_FAILED,
    DOCTOR_NOTED, /* works, but something is to be said */
    DOCTOR_OK
};

enum doctor_check {
    DOCTOR_SYSTEM = 0,  /* getaddrinfo */
    DOCTOR_DNS_UDP,     /* a resolver of its own, each name server of resolv.conf */
    DOCTOR_DNS_TCP,     /* the same over TCP */
    DOCTOR_CONNECT,     /* CONNECT through the proxy */
    DOCTOR_CONNECT_TLS, /* ClientHello on that tunnel */
    DOCTOR_CONNECT_IDLE,
    DOCTOR_CONNECT_WEBSOCKET, /* idle, and alive behind it; the one before stands in where there is none */
    DOCTOR_NATIVE,            /* a connection to the address that the name has */
    DOCTOR_NATIVE_TLS,
    DOCTOR_NATIVE_IDLE,
    DOCTOR_NATIVE_WEBSOCKET
};
#define DOCTOR_CHECK_COUNT 11

/* What advice hangs on. */
enum doctor_fault {
    DOCTOR_FAULT_NONE = 0,
    /* lookups */
    DOCTOR_NO_SUCH_HOST,
    DOCTOR_NO_ADDRESS,
    DOCTOR_TRY_AGAIN,   /* EAI_AGAIN, SERVFAIL, REFUSED and whatever else is no answer */
    DOCTOR_LOOKUP_SLOW, /* a name that nobody has took long to fail */
    DOCTOR_ADDRCONFIG,  /* found only without AI_ADDRCONFIG */
    DOCTOR_FAMILY_ILL,  /* A is good and AAAA an error or silence, or the other way round */
    DOCTOR_SERVER_ILL,  /* one of several name servers */
    DOCTOR_NAME_EXISTS, /* a name that nobody has was found */
    /* connections */
    DOCTOR_TIMEOUT,
    DOCTOR_CONN_REFUSED,
    DOCTOR_UNREACHABLE,
    DOCTOR_CONN_CUT,   /* reset or closed at once */
    DOCTOR_HALF_IPV6,  /* one family connects, the other does not */
    DOCTOR_CONN_OTHER, /* another error of the system */
    /* the proxy */
    DOCTOR_PROXY_URL, /* not http://HOST:PORT */
    DOCTOR_PROXY_NAME,
    DOCTOR_NO_PROXY_THERE, /* none is set, and none listens where it would be */
    DOCTOR_PROXY_UNSET,    /* one listens, and nobody says so */
    DOCTOR_NO_HTTP,        /* what answers is no proxy */
    DOCTOR_DENIED,         /* 403 */
    DOCTOR_PROXY_AUTH,     /* 407 */
    DOCTOR_PROXY_GATEWAY,  /* 502, 503, 504: it may, but it could not */
    DOCTOR_PROXY_STATUS,   /* any other */
    /* TLS and time */
    DOCTOR_TLS_DENIED, /* fatal alert access_denied */
    DOCTOR_TLS_ALERT,  /* any other: the peer speaks TLS all the same */
    DOCTOR_NO_TLS,     /* what answers is not TLS, or nothing does */
    DOCTOR_CUT_IDLE,
    DOCTOR_OUT_OF_TIME,
    /* WebSocket */
    DOCTOR_TLS_FAILED,      /* a handshake was begun, and not finished */
    DOCTOR_DISTRUSTED,      /* nobody here trusts the certificate */
    DOCTOR_UPGRADE_REFUSED, /* an HTTP server that has no WebSocket there */
    DOCTOR_UPGRADE_WRONG,   /* 101, but no client may go on; or no HTTP at all */
    DOCTOR_SERVER_CLOSED,   /* a close frame: through a connection that lives */
    DOCTOR_NO_PONG,         /* nothing comes back, and nothing says so */
    DOCTOR_BAD_FRAME,
    DOCTOR_NOT_BUILT /* no OpenSSL in here */
};

#define DOCTOR_TEXT_CAP 240
struct doctor_result {
    enum doctor_state state;
    enum doctor_fault fault;
    int64_t ms;                 /* what it took */
    char text[DOCTOR_TEXT_CAP]; /* one line; "" if not tested */
};

enum doctor_websocket {
    DOCTOR_WEBSOCKET_NONE = 0,
    DOCTOR_WEBSOCKET_AS_FOUND, /* over TLS, unless the TLS check found that the port has none */
    DOCTOR_WEBSOCKET_PLAIN,    /* ws:// */
    DOCTOR_WEBSOCKET_TLS       /* wss:// */
};

#define DOCTOR_ADDRS_MAX 8
struct doctor_target {
    struct host host;
    uint16_t port;
    bool is_probe;        /* a name that nobody has: it must not be found */
    bool has_policy;      /* the next two are known */
    bool is_admitted;     /* on this port */
    bool has_other_ports; /* the host is, on others */
    bool passes_proxy_by; /* NO_PROXY names it */
    enum doctor_websocket websocket;
    const char *ws_path; /* borrowed, what is behind HOST:PORT in the URL; NULL or "": "/" */
    struct doctor_result results[DOCTOR_CHECK_COUNT];
    struct ip addrs[DOCTOR_ADDRS_MAX]; /* as the system has them, else as DNS */
    size_t addr_count;
    struct addr native; /* what was connected to */
};

#define DOCTOR_SERVERS_MAX 3 /* as many as the C library asks */
struct doctor_resolv {
    struct addr servers[DOCTOR_SERVERS_MAX];
    size_t server_count; /* 0: programs ask 127.0.0.1 then */
    size_t search_count; /* suffixes */
    unsigned ndots;      /* 1 unless it says otherwise */
    bool is_read;        /* the file was there */
};

#define DOCTOR_URL_CAP 300
struct doctor_proxy {
    char url[DOCTOR_URL_CAP]; /* as it was set, without a password */
    const char *from;         /* "--proxy", a variable, or NULL: the place where one would be */
    enum doctor_fault fault;  /* it cannot be used */
    struct host host;
    struct addr addr;
    bool exempts_loopback; /* NO_PROXY names localhost and 127.0.0.1 */
    bool has_conflict;     /* HTTPS_PROXY and https_proxy differ */
    bool was_heard;        /* something answered there in HTTP */
};

struct doctor_facts {
    struct doctor_resolv resolv;
    struct doctor_proxy proxy;
    bool has_policy;
    int64_t idle_ms;               /* of silence; 0: not wanted */
    struct doctor_target *targets; /* owned; the probe is the last */
    size_t target_count;
    size_t left_out; /* hosts of the policy beyond the limit */
};

static inline bool doctor_is_good(const struct doctor_result *r)
{
    return r->state == DOCTOR_OK || r->state == DOCTOR_NOTED;
}
/* Stores a result with its line. */
void doctor_tell(struct doctor_result *r, enum doctor_state state, enum doctor_fault fault, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));
/* The name resolves, and natively or through the proxy a connection came about and was not cut. */
bool doctor_target_works(const struct doctor_target *t);
/* All targets do, and the probe is not found, without "try again". */
bool doctor_all_works(const struct doctor_facts *f);
/* Of a WebSocket, as it may be shown: without the query, in which a ticket may be. */
struct span doctor_ws_path(const struct doctor_target *t);
const char *doctor_check_name(enum doctor_check c); /* for people */
const char *doctor_check_word(enum doctor_check c); /* for JSON */
const char *doctor_state_word(enum doctor_state s);
const char *doctor_fault_word(enum doctor_fault f); /* NULL for none */
