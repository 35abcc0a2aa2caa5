/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/first_bytes.h"

#include "tunneld/http_char.h"

#define METHOD_MAX 24U

static const char head_method[] = "HEAD";
static const char version[] = "HTTP/1.";

enum part { PART_METHOD = 0, PART_TARGET, PART_VERSION, PART_DIGIT, PART_CR, PART_LF };

void first_bytes_init(struct first_bytes *f)
{
    *f = (struct first_bytes){.kind = FIRST_BYTES_MORE, .may_be_http = true, .may_be_head = true};
    tls_sni_init(&f->tls);
}

static void next_part(struct first_bytes *f, enum part part)
{
    f->part = (uint8_t)part;
    f->at = 0;
}

static bool take_method(struct first_bytes *f, uint8_t c)
{
    const size_t head_len = sizeof head_method - 1;
    if (c == ' ' && f->at > 0) {
        f->may_be_head = f->may_be_head && f->at == head_len;
        next_part(f, PART_TARGET);
        return true;
    }
    f->may_be_head = f->may_be_head && f->at < head_len && c == (uint8_t)head_method[f->at];
    f->at++;
    return http_is_tchar(c) && f->at <= METHOD_MAX;
}

static bool take_target(struct first_bytes *f, uint8_t c)
{
    if (c == ' ' && f->at > 0) {
        next_part(f, PART_VERSION);
        return true;
    }
    f->at = 1;
    return c > ' ' && c < 127;
}

static bool take_version(struct first_bytes *f, uint8_t c)
{
    bool is_right = c == (uint8_t)version[f->at];
    f->at++;
    if (f->at == sizeof version - 1) {
        next_part(f, PART_DIGIT);
    }
    return is_right;
}

/* Can it still become a request line? */
static bool take_http(struct first_bytes *f, uint8_t c)
{
    f->total++;
    if (f->total > FIRST_BYTES_LINE_MAX) {
        return false;
    }
    switch ((enum part)f->part) {
    case PART_METHOD:
        return take_method(f, c);
    case PART_TARGET:
        return take_target(f, c);
    case PART_VERSION:
        return take_version(f, c);
    case PART_DIGIT:
        next_part(f, PART_CR);
        return c == '0' || c == '1';
    case PART_CR:
        next_part(f, PART_LF);
        return c == '\r';
    case PART_LF:
        if (c == '\n') {
            f->kind = f->may_be_head ? FIRST_BYTES_HTTP_HEAD : FIRST_BYTES_HTTP;
        }
        return c == '\n';
    }
    return false;
}

enum first_bytes_kind first_bytes_feed(struct first_bytes *f, struct span bytes)
{
    for (size_t i = 0; i < bytes.len && f->kind == FIRST_BYTES_MORE; i++) {
        (void)tls_sni_feed(&f->tls, span_sub(bytes, i, 1));
        f->may_be_http = f->may_be_http && take_http(f, bytes.data[i]);
        if (f->tls.is_hello) {
            f->kind = FIRST_BYTES_TLS;
        } else if (!f->may_be_http && f->tls.status != TLS_SNI_MORE) {
            f->kind = FIRST_BYTES_OTHER;
        }
    }
    return f->kind;
}
