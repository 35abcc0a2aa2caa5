/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host that a TLS client says it wants, from its ClientHello (RFC 8446 4.1.2, RFC 6066 3), which may be
 * cut into segments and records in any way. Fed with the first bytes of a connection as they come; linear in
 * them, keeps nothing of them but the name. What servers are known to take for the beginning of TLS is taken
 * for it here too, and more strictly: record versions are not looked at (RFC 8446 5.1), an alert or a
 * change_cipher_spec in front is malformed and not "no TLS", and a hello in the form of SSL 2 (RFC 5246 E.2)
 * is one without a name. Otherwise a client could pass for something else than TLS and be served all the
 * same. Pure.
 */
#pragma once

#include "common/base/host_name.h"

#define TLS_SNI_HELLO_MAX_BYTES 32768U /* of the ClientHello: post-quantum keys take a few thousand */
#define TLS_SNI_MAX_BYTES 65536U       /* and of all records until it is whole */
#define TLS_SNI_NAME_CAP (HOST_NAME_MAX_LEN + 1) /* with a trailing dot */
#define TLS_SNI_HEAD_CAP 11U

/* A fatal alert, access_denied (RFC 8446 6.2), as a record of its own: what a refused client is told. */
#define TLS_SNI_ALERT_BYTES 7U
extern const uint8_t tls_sni_access_denied[TLS_SNI_ALERT_BYTES];

enum tls_sni_status {
    TLS_SNI_MORE = 0,  /* not whole yet */
    TLS_SNI_MALFORMED, /* begins as TLS does, and is none that a server may accept */
    TLS_SNI_TOO_LONG,
    TLS_SNI_SEVERAL,  /* more than one name (RFC 6066 3 forbids it) */
    TLS_SNI_BAD_NAME, /* fault says why it is none */
    TLS_SNI_NONE,     /* a ClientHello that names no host */
    TLS_SNI_NAMED,    /* host */
    TLS_SNI_NOT_TLS
};

struct tls_sni {
    enum tls_sni_status status;
    enum host_fault fault;
    bool is_hello; /* there is a ClientHello, whole or not */
    bool has_ech;  /* with encrypted_client_hello (or GREASE that looks like it): the name is the outer one */
    struct host host;  /* HOST_IP: a literal, which RFC 6066 forbids and some clients send */
    size_t total;      /* bytes looked at */
    uint16_t name_len; /* of the first name as it was sent, cut to TLS_SNI_NAME_CAP */
    uint8_t name[TLS_SNI_NAME_CAP];

    /* The parser's own. */
    bool is_odd; /* a record version that only some servers accept: not surely TLS until the hello begins */
    bool is_number, has_names, is_several;
    uint8_t step, head_len, head[TLS_SNI_HEAD_CAP];
    uint16_t extension;
    uint32_t fragment_left;   /* of the record */
    uint32_t left, list_left; /* of the ClientHello; of its list of names */
    uint32_t wanted, value;   /* of the step */
};

void tls_sni_init(struct tls_sni *t);
/* bytes follow those given before. Behind a verdict nothing more is looked at. Returns the status. */
enum tls_sni_status tls_sni_feed(struct tls_sni *t, struct span bytes);
/*
 * May a connection that began like this go to the host? What is not TLS may; TLS that names another host,
 * none (unless granted is an address, for which RFC 6066 has no name), several, or that is broken or not
 * whole, may not.
 */
bool tls_sni_agrees(const struct tls_sni *t, const struct host *granted);
/* One clause on why not; also for TLS_SNI_MORE, of a client that has not sent the rest. */
const char *tls_sni_why(const struct tls_sni *t);
