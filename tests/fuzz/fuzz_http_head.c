/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of the request head: how the bytes are cut into reads changes nothing, what was taken is within
 * the limit, and an accepted target reads back the same from its canonical form.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/buf.h"
#include "tunneld/http_head.h"

static void require_same(const struct http_head *a, const struct http_head *b)
{
    REQUIRE(a->status == b->status && a->fault == b->fault && a->port == b->port);
    REQUIRE(a->host.kind == b->host.kind);
    if (a->host.kind == HOST_DNS) {
        REQUIRE(host_name_is_equal(&a->host.name, &b->host.name));
    } else if (a->host.kind == HOST_IP) {
        REQUIRE(ip_is_equal(&a->host.ip, &b->host.ip));
    }
}

static void require_round_trip(const struct http_head *h)
{
    char host[HOST_TEXT_CAP];
    uint8_t text[HOST_TEXT_CAP + 64];
    struct wbuf w = wbuf_make(text, sizeof text);
    if (h->status == HTTP_HEAD_CONNECT) {
        wbuf_printf(&w, "CONNECT %s:%u HTTP/1.1\r\n\r\n", host_text(&h->host, host), (unsigned)h->port);
    } else {
        wbuf_printf(&w, "GET http://%s:%u HTTP/1.1\r\nHost:\r\n\r\n", host_text(&h->host, host),
                    (unsigned)h->port);
    }
    REQUIRE(!w.overflow);
    struct http_head back;
    http_head_init(&back);
    REQUIRE(http_head_feed(&back, wbuf_span(&w)) == w.len);
    require_same(h, &back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head whole;
    struct http_head bytes;
    http_head_init(&whole);
    http_head_init(&bytes);
    size_t taken = http_head_feed(&whole, span_make(data, size));
    REQUIRE(taken <= size && taken <= HTTP_HEAD_MAX_BYTES);
    size_t at = 0;
    while (at < size && http_head_feed(&bytes, span_make(data + at, 1)) == 1) {
        at++;
    }
    REQUIRE(at == taken);
    require_same(&whole, &bytes);
    REQUIRE((whole.status == HTTP_HEAD_BAD) == (whole.fault != HTTP_HEAD_FAULT_NONE));
    REQUIRE(http_head_feed(&whole, span_make(data, whole.status == HTTP_HEAD_MORE ? 0 : size)) == 0);
    if (whole.status == HTTP_HEAD_CONNECT || whole.status == HTTP_HEAD_FORWARD) {
        const struct http_framing *f = &whole.framing;
        REQUIRE(!f->is_bad && !(f->has_length && f->has_chunked) && f->length <= HTTP_LENGTH_MAX);
        REQUIRE(whole.port != 0 && whole.host.kind != HOST_NONE);
        REQUIRE(taken >= 4 && memcmp(data + taken - 4, "\r\n\r\n", 4) == 0);
        require_round_trip(&whole);
    }
    return 0;
}
