/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request and its answer: the input is a request head, its body, a NUL, and what the server sends.
 * Properties: cuts change nothing; what goes to the server has one Host, one way at most to tell the length
 * of its body, and ends with its head; what goes to the client is read by a strict reader of the same
 * grammar as the same messages, to the same byte.
 */
#include "tests/fuzz/fuzz.h"

#include "tunneld/http_forward.h"
#include "tunneld/http_response.h"

static const struct http_forward_names names = {.via = "fuzz-tunneld", .idle_s = 60};

struct exchange {
    struct http_forward f;
    struct http_head h;
    enum http_forward_fault fault;
    uint8_t head[HTTP_FORWARD_HEAD_CAP];
    struct wbuf w;
    size_t body_len;
    struct buf down;
    size_t behind;
};

static bool start(struct exchange *x, struct span request)
{
    http_head_init(&x->h);
    size_t taken = http_head_feed(&x->h, request);
    if (x->h.status != HTTP_HEAD_FORWARD) {
        return false;
    }
    x->w = wbuf_make(x->head, sizeof x->head);
    x->fault = http_forward_start(&x->f, &x->h, span_sub(request, 0, taken), &names, &x->w);
    x->down = (struct buf){.data = NULL};
    x->behind = 0;
    REQUIRE(!x->w.overflow);
    if (x->fault != HTTP_FORWARD_FAULT_NONE) {
        http_forward_fini(&x->f);
        return false;
    }
    x->body_len = http_forward_up(&x->f, span_sub(request, taken, request.len));
    return true;
}

static void feed(struct exchange *x, struct span bytes, size_t step)
{
    while (bytes.len > 0 && (x->f.state == HTTP_FORWARD_HEAD || x->f.state == HTTP_FORWARD_BODY)) {
        struct span pass;
        size_t n = http_forward_down(&x->f, span_sub(bytes, 0, step), &x->down, &pass);
        REQUIRE(n > 0 && n <= bytes.len);
        REQUIRE(buf_append(&x->down, pass, SIZE_MAX) == 0);
        bytes = span_sub(bytes, n, bytes.len);
    }
    x->behind = bytes.len;
}

static void stop(struct exchange *x)
{
    http_forward_fini(&x->f);
    buf_fini(&x->down);
}

static void require_clean_request(const struct exchange *x)
{
    struct span rest = wbuf_span(&x->w);
    struct http_framing framing = {.is_bad = false};
    struct http_field f;
    unsigned hosts = 0;
    size_t line = span_find(rest, '\n');
    rest = span_sub(rest, line + 1, rest.len);
    enum http_field_status status;
    while ((status = http_field_next(&rest, &f)) == HTTP_FIELD_ONE) {
        hosts += http_field_is(&f, "Host") ? 1 : 0;
        http_framing_add(&framing, &f);
        REQUIRE(!http_field_is(&f, "Proxy-Authorization") && !http_field_is(&f, "TE"));
    }
    REQUIRE(status == HTTP_FIELD_END && rest.len == 0 && hosts == 1);
    REQUIRE(!framing.is_bad && framing.length == x->h.framing.length);
    REQUIRE(framing.has_chunked == x->h.framing.has_chunked);
}

/* The client's view: another exchange reads what this one wrote. */
static void require_same_answers(const struct exchange *x, struct span request)
{
    struct exchange client;
    if (x->down.len > HTTP_RESPONSE_MAX_BYTES || !start(&client, request)) {
        return; /* heads may have grown beyond what we take ourselves */
    }
    feed(&client, buf_span(&x->down), SIZE_MAX);
    REQUIRE(client.behind == 0 && client.f.status == x->f.status);
    if (x->f.state == HTTP_FORWARD_DONE) { /* the end is told, or the connection's */
        REQUIRE(client.f.state == HTTP_FORWARD_DONE || x->f.must_close);
        http_forward_down_end(&client.f);
        REQUIRE(client.f.state == HTTP_FORWARD_DONE);
    } else if (x->f.state == HTTP_FORWARD_TUNNEL) {
        REQUIRE(client.f.state == HTTP_FORWARD_TUNNEL);
    } else { /* never a whole answer where there was none */
        REQUIRE(client.f.state != HTTP_FORWARD_DONE && client.f.state != HTTP_FORWARD_TUNNEL);
        REQUIRE(client.f.state != HTTP_FORWARD_BAD);
    }
    stop(&client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span all = span_make(data, size);
    size_t nul = span_find(all, 0);
    struct span request = span_sub(all, 0, nul);
    struct span answer = span_sub(all, nul + 1, size);
    struct exchange whole;
    struct exchange bytes;
    if (!start(&whole, request)) {
        return 0;
    }
    require_clean_request(&whole);
    REQUIRE(start(&bytes, request));
    feed(&whole, answer, SIZE_MAX);
    feed(&bytes, answer, 1);
    REQUIRE(whole.f.state == bytes.f.state && whole.f.status == bytes.f.status);
    REQUIRE(whole.f.must_close == bytes.f.must_close && whole.f.why == bytes.f.why);
    if (whole.f.state != HTTP_FORWARD_BAD) { /* else the bytes before the fault may have gone or not */
        REQUIRE(whole.behind == bytes.behind);
        REQUIRE(span_is_equal(buf_span(&whole.down), buf_span(&bytes.down)));
    }
    require_same_answers(&whole, request);
    stop(&whole);
    stop(&bytes);
    return 0;
}
