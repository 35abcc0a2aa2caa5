/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on a steered connection: the input is the port, two bytes, and what the client says. Properties:
 * cuts change nothing; a head that is taken was known for HTTP before; it goes to the port that was connected
 * to and to the host of its one Host field, or of its target where that is an http:// URL, as another reader
 * of the same bytes finds them; the head for the server names that host and port alone.
 */
#include "tests/fuzz/fuzz.h"

#include "tunneld/first_bytes.h"
#include "tunneld/http_forward.h"

#include <stdio.h>

static void require_same(const struct http_head *a, const struct http_head *b)
{
    char one[HOST_TEXT_CAP], other[HOST_TEXT_CAP];
    REQUIRE(a->status == b->status && a->fault == b->fault);
    if (a->status == HTTP_HEAD_FORWARD) {
        REQUIRE(a->port == b->port);
        REQUIRE(strcmp(host_text(&a->host, one), host_text(&b->host, other)) == 0);
    }
}

/* HOST[:PORT], where a port is this one, and its host is h's. */
static void require_authority(const struct http_head *h, struct span text, uint16_t port)
{
    struct host host;
    char host_is[HOST_TEXT_CAP], port_is[8];
    const bool has_brackets = text.len > 0 && text.data[0] == '[';
    size_t end = has_brackets ? span_find(text, ']') + 1 : span_find(text, ':');
    REQUIRE(host_parse(span_sub(text, 0, end), &host) == HOST_FAULT_NONE);
    REQUIRE(strcmp(host_text(&host, host_is), host_text(&h->host, (char[HOST_TEXT_CAP]){0})) == 0);
    if (end < text.len) {
        struct span digits = span_sub(text, end + 1, text.len);
        (void)snprintf(port_is, sizeof port_is, "%u", (unsigned)port);
        REQUIRE(text.data[end] == ':' && span_is_equal(digits, span_str(port_is)));
    }
}

/* The only Host field of a head; behind its first line. */
static struct span find_host(struct span head)
{
    struct http_field f;
    struct span host = {NULL, 0};
    unsigned count = 0;
    struct span rest = span_sub(head, span_find(head, '\n') + 1, head.len);
    enum http_field_status status;
    while ((status = http_field_next(&rest, &f)) == HTTP_FIELD_ONE) {
        if (http_field_is(&f, "Host")) {
            host = f.value;
            count++;
        }
    }
    REQUIRE(status == HTTP_FIELD_END && count <= 1);
    return host;
}

static void require_target(const struct http_head *h, struct span head, uint16_t port)
{
    static const char scheme[] = "http://";
    const size_t method = span_find(head, ' ');
    struct span target = span_sub(head, method + 1, head.len);
    target = span_sub(target, 0, span_find(target, ' '));
    if (target.data[0] == '/' || target.data[0] == '*') {
        require_authority(h, find_host(head), port);
        return;
    }
    REQUIRE(span_is_equal_nocase(span_sub(target, 0, sizeof scheme - 1), span_str(scheme)));
    target = span_sub(target, sizeof scheme - 1, target.len);
    const size_t path = span_find(target, '/');
    const size_t query = span_find(target, '?');
    require_authority(h, span_sub(target, 0, path < query ? path : query), port);
}

static void require_forwarded(const struct http_head *h, struct span head, uint16_t port)
{
    static const struct http_forward_names names = {.via = "fuzz-tunneld", .idle_s = 60};
    uint8_t text[HTTP_FORWARD_HEAD_CAP];
    struct wbuf w = wbuf_make(text, sizeof text);
    struct http_forward f;
    if (http_forward_start(&f, h, head, &names, &w) == HTTP_FORWARD_FAULT_NONE) {
        REQUIRE(!w.overflow && w.len > 0);
        const struct span host = find_host(wbuf_span(&w));
        REQUIRE(host.len > 0);
        require_authority(h, host, port);
        struct http_head server; /* to whom the connection is, and who goes by Host as well */
        http_head_init_steered(&server, port);
        REQUIRE(http_head_feed(&server, wbuf_span(&w)) == w.len);
        require_same(h, &server);
    }
    http_forward_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    const uint16_t sent = (uint16_t)(data[0] << 8 | data[1]);
    const uint16_t port = sent == 0 ? 80 : sent;
    const struct span said = span_make(data + 2, size - 2);
    struct http_head whole, bytes;
    struct first_bytes first, first_cut;
    http_head_init_steered(&whole, port);
    http_head_init_steered(&bytes, port);
    first_bytes_init(&first);
    first_bytes_init(&first_cut);
    const size_t taken = http_head_feed(&whole, said);
    size_t at = 0;
    while (at < said.len && http_head_feed(&bytes, span_sub(said, at, 1)) == 1) {
        at++;
    }
    REQUIRE(at == taken && taken <= HTTP_HEAD_MAX_BYTES);
    require_same(&whole, &bytes);
    const enum first_bytes_kind kind = first_bytes_feed(&first, said);
    for (size_t i = 0; i < said.len; i++) {
        (void)first_bytes_feed(&first_cut, span_sub(said, i, 1));
    }
    REQUIRE(first_cut.kind == kind);
    REQUIRE(whole.status != HTTP_HEAD_CONNECT);
    REQUIRE((whole.status == HTTP_HEAD_BAD) == (whole.fault != HTTP_HEAD_FAULT_NONE));
    if (whole.status == HTTP_HEAD_FORWARD) {
        const struct span head = span_sub(said, 0, taken);
        REQUIRE(whole.port == port && whole.host.kind != HOST_NONE);
        REQUIRE(kind == FIRST_BYTES_HTTP || kind == FIRST_BYTES_HTTP_HEAD ||
                whole.method_len > HTTP_HEAD_WORD_CAP); /* of so long a method it is not said */
        require_target(&whole, head, port);
        require_forwarded(&whole, head, port);
    }
    return 0;
}
