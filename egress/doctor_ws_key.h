/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question and the answer in a WebSocket's opening handshake (RFC 6455 4.1, 4.2.2): that the answer is
 * right shows that a WebSocket server read the request, not a cache. No secret hangs on the SHA-1 in it,
 * which is here because a build without OpenSSL does the handshake, too. Pure.
 */
#pragma once

#include <stdint.h>

#define DOCTOR_WS_KEY_CAP 25    /* 16 bytes in base64, and a NUL */
#define DOCTOR_WS_ACCEPT_CAP 29 /* 20 bytes, likewise */

/* Sec-WebSocket-Key: 16 random bytes in base64. */
void doctor_ws_key(const uint8_t random[16], char key[DOCTOR_WS_KEY_CAP]);
/* The Sec-WebSocket-Accept that belongs to it. */
void doctor_ws_accept(const char key[DOCTOR_WS_KEY_CAP], char accept[DOCTOR_WS_ACCEPT_CAP]);
