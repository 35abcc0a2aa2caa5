/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/tls_sni.h"

#define RECORD_HEAD_BYTES 5U
#define RECORD_MAX_BYTES 16384U /* RFC 8446 5.1 */
#define CHANGE_CIPHER_SPEC 20U
#define ALERT 21U
#define HANDSHAKE 22U
#define SSL2_HELLO_BYTES 11U  /* the lengths and what is in front of them */
#define SSL2_FIRST_MAX 0xC1U  /* of its first byte: longer ones fit into no server's buffer */
#define VERSION_FIRST_MAX 15U /* of a record: no server accepts more */
#define CLIENT_HELLO 1U
#define HELLO_MIN_BYTES 41U
#define HELLO_EVER_BYTES 0x1FFFFU /* no server accepts more */
#define SESSION_ID_MAX_BYTES 32U
#define SERVER_NAME 0U
#define HOST_NAME 0U
#define ENCRYPTED_CLIENT_HELLO 0xFE0DU
#define IMPOSSIBLE UINT32_MAX /* a length that is never left: for a value that is not allowed */

const uint8_t tls_sni_access_denied[TLS_SNI_ALERT_BYTES] = {21, 3, 3, 0, 2, 2, 49};

enum step {
    STEP_TYPE = 0,
    STEP_LENGTH,
    STEP_VERSION,
    STEP_RANDOM,
    STEP_SESSION_LEN,
    STEP_SESSION,
    STEP_SUITES_LEN,
    STEP_SUITES,
    STEP_COMPRESSION_LEN,
    STEP_COMPRESSION,
    STEP_EXTENSIONS_LEN,
    STEP_EXTENSION_TYPE,
    STEP_EXTENSION_LEN,
    STEP_EXTENSION,
    STEP_NAMES_LEN,
    STEP_NAME_TYPE,
    STEP_NAME_LEN,
    STEP_NAME
};

void tls_sni_init(struct tls_sni *t)
{
    *t = (struct tls_sni){.is_number = true, .wanted = 1};
}

static void fail(struct tls_sni *t)
{
    t->status = t->is_odd ? TLS_SNI_NOT_TLS : TLS_SNI_MALFORMED;
}

/* n bytes come next, and there must be that many left. */
static void expect(struct tls_sni *t, enum step step, uint32_t *left, uint32_t n)
{
    if (n > *left) {
        fail(t);
        return;
    }
    *left -= n;
    t->step = (uint8_t)step;
    t->wanted = n;
    t->value = 0;
    t->is_number = false;
}

static void expect_number(struct tls_sni *t, enum step step, uint32_t *left, uint32_t n)
{
    expect(t, step, left, n);
    t->is_number = true;
}

/* ---- the ClientHello, step by step ---- */

static void conclude(struct tls_sni *t)
{
    if (!t->has_names) {
        t->status = TLS_SNI_NONE;
    } else if (t->is_several) {
        t->status = TLS_SNI_SEVERAL;
    } else if (t->fault == HOST_FAULT_NONE) {
        t->fault = host_parse(span_make(t->name, t->name_len), &t->host);
        t->status = t->fault == HOST_FAULT_NONE ? TLS_SNI_NAMED : TLS_SNI_BAD_NAME;
    } else {
        t->status = TLS_SNI_BAD_NAME;
    }
}

static void next_extension(struct tls_sni *t)
{
    if (t->left == 0) {
        conclude(t);
    } else {
        expect_number(t, STEP_EXTENSION_TYPE, &t->left, 2);
    }
}

static void next_name(struct tls_sni *t)
{
    if (t->list_left == 0) {
        next_extension(t);
    } else {
        expect_number(t, STEP_NAME_TYPE, &t->list_left, 1);
    }
}

static void begin_message(struct tls_sni *t)
{
    t->left = 3;
    expect_number(t, STEP_LENGTH, &t->left, t->value == CLIENT_HELLO ? 3 : IMPOSSIBLE);
}

static void begin_hello(struct tls_sni *t)
{
    if (t->is_odd && (t->value < HELLO_MIN_BYTES || t->value > HELLO_EVER_BYTES)) {
        fail(t);
        return;
    }
    t->is_odd = false;
    t->is_hello = true;
    t->left = t->value;
    if (t->left > TLS_SNI_HELLO_MAX_BYTES) {
        t->status = TLS_SNI_TOO_LONG;
        return;
    }
    expect(t, STEP_VERSION, &t->left, 2);
}

static void begin_extensions(struct tls_sni *t)
{
    if (t->value != t->left) {
        fail(t);
    } else {
        next_extension(t);
    }
}

static void finish_compression(struct tls_sni *t)
{
    if (t->left == 0) { /* no extensions at all: older than TLS 1.2 */
        conclude(t);
    } else {
        expect_number(t, STEP_EXTENSIONS_LEN, &t->left, 2);
    }
}

static void begin_extension(struct tls_sni *t)
{
    const uint32_t len = t->value;
    t->has_ech = t->has_ech || t->extension == ENCRYPTED_CLIENT_HELLO;
    if (t->extension != SERVER_NAME) {
        expect(t, STEP_EXTENSION, &t->left, len);
        return;
    }
    if (t->has_names || len > t->left) { /* RFC 8446 4.2: one of a type */
        fail(t);
        return;
    }
    t->has_names = true;
    t->left -= len;
    t->list_left = len;
    expect_number(t, STEP_NAMES_LEN, &t->list_left, 2);
}

static void begin_names(struct tls_sni *t)
{
    if (t->value != t->list_left || t->list_left == 0) {
        fail(t);
    } else {
        next_name(t);
    }
}

static void begin_name(struct tls_sni *t)
{
    const uint32_t len = t->value;
    t->is_several = t->is_several || t->name_len > 0;
    if (len > TLS_SNI_NAME_CAP) {
        t->fault = HOST_FAULT_TOO_LONG;
    }
    expect(t, STEP_NAME, &t->list_left, len > 0 ? len : IMPOSSIBLE);
}

/* The step is whole: what follows? */
static void finish_step(struct tls_sni *t)
{
    switch ((enum step)t->step) {
    case STEP_TYPE:
        begin_message(t);
        break;
    case STEP_LENGTH:
        begin_hello(t);
        break;
    case STEP_VERSION: /* servers go by an extension instead, some without looking at this */
        expect(t, STEP_RANDOM, &t->left, 32);
        break;
    case STEP_RANDOM:
        expect_number(t, STEP_SESSION_LEN, &t->left, 1);
        break;
    case STEP_SESSION_LEN:
        expect(t, STEP_SESSION, &t->left, t->value <= SESSION_ID_MAX_BYTES ? t->value : IMPOSSIBLE);
        break;
    case STEP_SESSION:
        expect_number(t, STEP_SUITES_LEN, &t->left, 2);
        break;
    case STEP_SUITES_LEN:
        expect(t, STEP_SUITES, &t->left, t->value > 0 && t->value % 2 == 0 ? t->value : IMPOSSIBLE);
        break;
    case STEP_SUITES:
        expect_number(t, STEP_COMPRESSION_LEN, &t->left, 1);
        break;
    case STEP_COMPRESSION_LEN:
        expect(t, STEP_COMPRESSION, &t->left, t->value > 0 ? t->value : IMPOSSIBLE);
        break;
    case STEP_COMPRESSION:
        finish_compression(t);
        break;
    case STEP_EXTENSIONS_LEN:
        begin_extensions(t);
        break;
    case STEP_EXTENSION_TYPE:
        t->extension = (uint16_t)t->value;
        expect_number(t, STEP_EXTENSION_LEN, &t->left, 2);
        break;
    case STEP_EXTENSION_LEN:
        begin_extension(t);
        break;
    case STEP_EXTENSION:
        next_extension(t);
        break;
    case STEP_NAMES_LEN:
        begin_names(t);
        break;
    case STEP_NAME_TYPE: /* of another type not even the length is known (RFC 6066 3) */
        expect_number(t, STEP_NAME_LEN, &t->list_left, t->value == HOST_NAME ? 2 : IMPOSSIBLE);
        break;
    case STEP_NAME_LEN:
        begin_name(t);
        break;
    case STEP_NAME:
        next_name(t);
        break;
    }
}

static void keep_name(struct tls_sni *t, struct span s)
{
    size_t room = t->is_several ? 0 : (size_t)TLS_SNI_NAME_CAP - t->name_len;
    size_t n = s.len < room ? s.len : room;
    if (n > 0) {
        memcpy(t->name + t->name_len, s.data, n);
        t->name_len = (uint16_t)(t->name_len + n);
    }
}

/* Bytes of a record's fragment; returns how many were looked at. */
static size_t take_fragment(struct tls_sni *t, struct span s)
{
    size_t n = s.len < t->fragment_left ? s.len : t->fragment_left;
    n = n < t->wanted ? n : t->wanted;
    s = span_sub(s, 0, n);
    if (t->is_number) {
        for (size_t i = 0; i < n; i++) {
            t->value = t->value << 8 | s.data[i];
        }
    } else if (t->step == STEP_NAME) {
        keep_name(t, s);
    }
    t->fragment_left -= (uint32_t)n;
    t->wanted -= (uint32_t)n;
    while (t->wanted == 0 && t->status == TLS_SNI_MORE) {
        finish_step(t);
    }
    return n;
}

/* ---- records ---- */

static uint32_t head_u16(const struct tls_sni *t, size_t at)
{
    return (uint32_t)t->head[at] << 8 | t->head[at + 1];
}

/* RFC 5246 E.2: three lengths that must add up, and no name. */
static void take_ssl2(struct tls_sni *t)
{
    if ((t->head_len == 3 && t->head[2] != CLIENT_HELLO) || (t->head_len == 4 && t->head[3] != 3)) {
        t->status = TLS_SNI_NOT_TLS;
    } else if (t->head_len == SSL2_HELLO_BYTES) {
        const uint32_t len = head_u16(t, 0) & 0x7FFFU;
        const uint32_t sum = SSL2_HELLO_BYTES - 2 + head_u16(t, 5) + head_u16(t, 7) + head_u16(t, 9);
        t->is_hello = sum == len;
        t->status = t->is_hello ? TLS_SNI_NONE : TLS_SNI_NOT_TLS;
    }
}

/* Some servers read over these in front of a hello; no client has a reason to send them. */
static void take_other_record(struct tls_sni *t)
{
    if (t->head_len <= RECORD_HEAD_BYTES) {
        return;
    }
    const uint32_t len = head_u16(t, 3);
    const uint8_t body = t->head[RECORD_HEAD_BYTES];
    bool is_record = t->head[0] == ALERT ? len == 2 && (body == 1 || body == 2) : len == 1 && body == 1;
    t->status = is_record ? TLS_SNI_MALFORMED : TLS_SNI_NOT_TLS;
}

static void take_handshake_head(struct tls_sni *t, bool is_first)
{
    if (is_first && t->head_len == 2) {
        t->is_odd = t->head[1] != 3;
        t->status = t->head[1] > VERSION_FIRST_MAX ? TLS_SNI_NOT_TLS : TLS_SNI_MORE;
    } else if (t->head_len == RECORD_HEAD_BYTES) {
        t->fragment_left = head_u16(t, 3);
        t->head_len = 0;
        if (t->fragment_left == 0 || t->fragment_left > RECORD_MAX_BYTES) {
            fail(t);
        }
    }
}

/* One byte in front of a record's fragment. */
static void take_head(struct tls_sni *t, uint8_t byte)
{
    const bool is_first = t->total == t->head_len;
    t->head[t->head_len] = byte;
    t->head_len++;
    if (t->head[0] == HANDSHAKE) {
        take_handshake_head(t, is_first);
    } else if (!is_first) {
        fail(t); /* a message may not be interrupted (RFC 8446 5.1) */
    } else if (t->head[0] == ALERT || t->head[0] == CHANGE_CIPHER_SPEC) {
        take_other_record(t);
    } else if (t->head[0] >= 0x80 && t->head[0] <= SSL2_FIRST_MAX) {
        take_ssl2(t);
    } else {
        t->status = TLS_SNI_NOT_TLS;
    }
}

enum tls_sni_status tls_sni_feed(struct tls_sni *t, struct span bytes)
{
    const struct span s = span_sub(bytes, 0, TLS_SNI_MAX_BYTES - t->total);
    size_t at = 0;
    while (t->status == TLS_SNI_MORE && at < s.len) {
        size_t n = 1;
        if (t->fragment_left > 0) {
            n = take_fragment(t, span_sub(s, at, s.len));
        } else {
            take_head(t, s.data[at]);
        }
        at += n;
        t->total += n;
    }
    if (t->status == TLS_SNI_MORE && t->total == TLS_SNI_MAX_BYTES) {
        t->status = TLS_SNI_TOO_LONG;
    }
    return t->status;
}

/* ---- what it means ---- */

static bool is_same(const struct host *a, const struct host *b)
{
    if (a->kind != b->kind || a->kind == HOST_NONE) {
        return false;
    }
    return a->kind == HOST_DNS ? host_name_is_equal(&a->name, &b->name) : ip_compare(&a->ip, &b->ip) == 0;
}

bool tls_sni_agrees(const struct tls_sni *t, const struct host *granted)
{
    switch (t->status) {
    case TLS_SNI_NOT_TLS:
        return true;
    case TLS_SNI_NAMED:
        return is_same(&t->host, granted);
    case TLS_SNI_NONE:
        return granted->kind == HOST_IP;
    case TLS_SNI_MORE:
    case TLS_SNI_MALFORMED:
    case TLS_SNI_TOO_LONG:
    case TLS_SNI_SEVERAL:
    case TLS_SNI_BAD_NAME:
        break;
    }
    return false;
}

const char *tls_sni_why(const struct tls_sni *t)
{
    switch (t->status) {
    case TLS_SNI_MORE:
        return "the rest of the ClientHello did not come (--sni-wait)";
    case TLS_SNI_MALFORMED:
        return "it begins like TLS and is malformed";
    case TLS_SNI_TOO_LONG:
        return "the ClientHello is too long to be looked at";
    case TLS_SNI_SEVERAL:
        return "the ClientHello names several hosts";
    case TLS_SNI_BAD_NAME:
        return host_fault_text(t->fault);
    case TLS_SNI_NONE:
        return "the ClientHello names no host";
    case TLS_SNI_NAMED:
        return "the ClientHello names another host";
    case TLS_SNI_NOT_TLS:
        break;
    }
    return "not TLS";
}
