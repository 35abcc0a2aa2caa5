/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first two messages of a TLS handshake (RFC 8446), enough to see whether somebody answers: no key is
 * agreed on and nothing is verified. Pure.
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/host_name.h"

/* A ClientHello of TLS 1.3 and 1.2; with server_name unless host is an address. random: 64 bytes. Fits 600
 * bytes. */
void doctor_tls_hello(struct wbuf *w, const struct host *host, const uint8_t random[64]);

enum doctor_tls_kind {
    DOCTOR_TLS_MORE = 0, /* not enough to tell */
    DOCTOR_TLS_HELLO,
    DOCTOR_TLS_ALERTED,
    DOCTOR_TLS_FOREIGN /* the bytes are of another protocol */
};
struct doctor_tls_answer {
    enum doctor_tls_kind kind;
    uint8_t alert; /* its description */
};
void doctor_tls_read(struct span bytes, struct doctor_tls_answer *out);
/* "access_denied", "handshake_failure", ...; "another alert" */
const char *doctor_tls_alert_text(uint8_t description);
#define DOCTOR_TLS_ACCESS_DENIED 49
