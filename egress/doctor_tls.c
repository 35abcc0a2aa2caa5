/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_tls.h"

#include "common/base/cursor.h"

#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22
#define HANDSHAKE_CLIENT_HELLO 1
#define HANDSHAKE_SERVER_HELLO 2
#define RECORD_MAX 16640U /* RFC 8446 5.2: 2^14 + 256 */

/* Reserves two bytes for the length of what follows; close_u16 fills them in. */
static size_t open_u16(struct wbuf *w)
{
    wbuf_u16(w, 0);
    return w->len;
}

static void close_u16(struct wbuf *w, size_t from)
{
    size_t len = w->len - from;
    if (!w->overflow) {
        w->data[from - 2] = (uint8_t)(len >> 8);
        w->data[from - 1] = (uint8_t)len;
    }
}

static void put_list(struct wbuf *w, uint16_t type, const uint16_t *items, size_t count)
{
    wbuf_u16(w, type);
    wbuf_u16(w, (uint16_t)(2 + 2 * count));
    wbuf_u16(w, (uint16_t)(2 * count));
    for (size_t i = 0; i < count; i++) {
        wbuf_u16(w, items[i]);
    }
}

static void put_extensions(struct wbuf *w, const struct host *host, const uint8_t key[32])
{
    static const uint16_t groups[] = {0x001d, 0x0017}; /* x25519, secp256r1 */
    static const uint16_t signatures[] = {0x0403, 0x0804, 0x0805, 0x0806, 0x0401,
                                          0x0503, 0x0501, 0x0603, 0x0601, 0x0807};
    if (host->kind == HOST_DNS) { /* RFC 6066 3: never an address */
        wbuf_u16(w, 0);
        wbuf_u16(w, (uint16_t)(host->name.len + 5U));
        wbuf_u16(w, (uint16_t)(host->name.len + 3U));
        wbuf_u8(w, 0);
        wbuf_u16(w, host->name.len);
        wbuf_put(w, host_name_span(&host->name));
    }
    put_list(w, 10, groups, sizeof groups / sizeof groups[0]);
    put_list(w, 13, signatures, sizeof signatures / sizeof signatures[0]);
    wbuf_put(w, SPAN_LIT("\x00\x0b\x00\x02\x01\x00"));             /* ec_point_formats: uncompressed */
    wbuf_put(w, SPAN_LIT("\x00\x2b\x00\x05\x04\x03\x04\x03\x03")); /* supported_versions: 1.3, 1.2 */
    wbuf_put(w, SPAN_LIT("\x00\x2d\x00\x02\x01\x01"));             /* psk_key_exchange_modes */
    wbuf_put(
        w,
        SPAN_LIT("\x00\x33\x00\x26\x00\x24\x00\x1d\x00\x20")); /* key_share, x25519: any 32 bytes are a key */
    wbuf_put(w, span_make(key, 32));
}

void doctor_tls_hello(struct wbuf *w, const struct host *host, const uint8_t random[64])
{
    static const uint16_t ciphers[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f,
                                       0xc02c, 0xc030, 0xcca9, 0xcca8};
    wbuf_u8(w, RECORD_HANDSHAKE);
    wbuf_u16(w, 0x0301);
    size_t record = open_u16(w);
    wbuf_u8(w, HANDSHAKE_CLIENT_HELLO);
    wbuf_u8(w, 0);
    size_t message = open_u16(w);
    wbuf_u16(w, 0x0303);
    wbuf_put(w, span_make(random, 32));
    wbuf_u8(w, 0); /* no session */
    size_t list = open_u16(w);
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
        wbuf_u16(w, ciphers[i]);
    }
    close_u16(w, list);
    wbuf_u16(w, 0x0100); /* one compression method: none */
    size_t extensions = open_u16(w);
    put_extensions(w, host, random + 32);
    close_u16(w, extensions);
    close_u16(w, message);
    close_u16(w, record);
}

void doctor_tls_read(struct span bytes, struct doctor_tls_answer *out)
{
    struct cursor c = cursor_make(bytes);
    *out = (struct doctor_tls_answer){.kind = DOCTOR_TLS_MORE};
    uint8_t type = cursor_u8(&c);
    if (!cursor_is_ok(&c)) {
        return;
    }
    uint8_t major = cursor_u8(&c);
    bool has_major = cursor_is_ok(&c);
    cursor_skip(&c, 1);
    uint16_t len = cursor_u16(&c);
    bool has_len = cursor_is_ok(&c);
    uint8_t first = cursor_u8(&c);
    bool has_first = cursor_is_ok(&c);
    uint8_t description = cursor_u8(&c);
    if ((type != RECORD_HANDSHAKE && type != RECORD_ALERT) || (has_major && major != 3) ||
        (has_len && (len < 2 || len > RECORD_MAX))) {
        out->kind = DOCTOR_TLS_FOREIGN;
    } else if (type == RECORD_HANDSHAKE && has_first) {
        out->kind = first == HANDSHAKE_SERVER_HELLO ? DOCTOR_TLS_HELLO : DOCTOR_TLS_FOREIGN;
    } else if (type == RECORD_ALERT && cursor_is_ok(&c)) {
        bool is_level = first == 1 || first == 2;
        out->kind = is_level && len == 2 ? DOCTOR_TLS_ALERTED : DOCTOR_TLS_FOREIGN;
        out->alert = out->kind == DOCTOR_TLS_ALERTED ? description : 0;
    }
}

const char *doctor_tls_alert_text(uint8_t description)
{
    static const struct {
        uint8_t number;
        const char *name;
    } alerts[] = {{0, "close_notify"},           {10, "unexpected_message"},
                  {40, "handshake_failure"},     {46, "certificate_unknown"},
                  {47, "illegal_parameter"},     {DOCTOR_TLS_ACCESS_DENIED, "access_denied"},
                  {50, "decode_error"},          {70, "protocol_version"},
                  {71, "insufficient_security"}, {80, "internal_error"},
                  {109, "missing_extension"},    {112, "unrecognized_name"},
                  {116, "certificate_required"}, {120, "no_application_protocol"}};
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++) {
        if (alerts[i].number == description) {
            return alerts[i].name;
        }
    }
    return "another alert";
}
