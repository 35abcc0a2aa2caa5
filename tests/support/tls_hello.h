/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos and their records for tests, built field by field so that each can be wrong. */
#pragma once

#include "common/base/buf.h"

#define TLS_HELLO_CAP 140000U

struct tls_hello {
    const char *names[4]; /* of the server_name extension; none: no such extension */
    size_t name_lens[4];  /* 0 = strlen */
    uint8_t name_type;
    size_t padding; /* bytes of a padding extension in front; 0 = none */
    bool has_ech, has_grease, has_no_extensions, has_names_twice, is_names_last;
    int session_len;                                            /* -1 = none, 0 = 32 */
    int suites_len, compression_len;                            /* 0 = the usual */
    int wrong_extensions, wrong_names, wrong_list, wrong_hello; /* added to that length field */
};

/* The handshake message. Returns its length. */
size_t tls_hello_write(const struct tls_hello *h, uint8_t out[TLS_HELLO_CAP]);
/* Cuts a message into records of at most fragment bytes; 0 = as few as can be. Returns the length. */
size_t tls_hello_records(struct span message, size_t fragment, uint8_t out[TLS_HELLO_CAP]);
/* Both: one record, or as few as can be. */
size_t tls_hello_bytes(const struct tls_hello *h, uint8_t out[TLS_HELLO_CAP]);
