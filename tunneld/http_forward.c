/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_forward.h"

#include "common/base/num.h"
#include "tunneld/http_response.h"

#include <inttypes.h>

#define ANSWER_HEAD_CAP (HTTP_RESPONSE_MAX_BYTES / 4 * 5 + 1024U) /* see HTTP_FORWARD_HEAD_CAP */
#define UPGRADE_MAX_BYTES 256U

static struct span take_word(struct span *rest)
{
    size_t end = span_find(*rest, ' ');
    struct span word = span_sub(*rest, 0, end);
    *rest = span_sub(*rest, end + 1, rest->len);
    return word;
}

/* The origin-form of an http:// target (RFC 9112 3.2.1), or the asterisk-form of 3.2.4; what is one already
 * stays. */
static void write_target(struct span target, bool is_options, struct wbuf *out)
{
    size_t at = sizeof "http://" - 1;
    if (target.len > 0 && (target.data[0] == '/' || target.data[0] == '*')) { /* of a steered request */
        wbuf_put(out, target);
        return;
    }
    while (at < target.len && target.data[at] != '/' && target.data[at] != '?') {
        at++;
    }
    struct span path = span_sub(target, at, target.len);
    if (path.len == 0) {
        wbuf_str(out, is_options ? "*" : "/");
        return;
    }
    if (path.data[0] == '?') {
        wbuf_str(out, "/");
    }
    wbuf_put(out, path);
}

/* The target is the one authority; what the client said in Host is dropped (RFC 9112 3.2.2). */
static void write_host(const struct http_head *h, struct wbuf *out)
{
    char text[HOST_TEXT_CAP];
    wbuf_str(out, "Host: ");
    wbuf_str(out, host_text(&h->host, text));
    if (h->port != 80) {
        wbuf_printf(out, ":%u", (unsigned)h->port);
    }
    wbuf_str(out, "\r\n");
}

static void write_upgrade(struct span protocol, struct wbuf *out)
{
    wbuf_str(out, "Connection: Upgrade\r\nUpgrade: ");
    wbuf_put(out, protocol);
    wbuf_str(out, "\r\n");
}

/* h2c asks for more than we look at, is deprecated (RFC 9113 3.1), and works without being granted. */
static bool wants_upgrade(const struct http_head *h, const struct http_options *o)
{
    return !h->is_http10 && o->has_upgrade && o->upgrade.len > 0 && o->upgrade.len <= UPGRADE_MAX_BYTES &&
           !http_list_has(o->upgrade, "h2c");
}

/* Max-Forwards of OPTIONS, of which this hop takes one (RFC 9110 7.6.2). False: none is left, or it is no
 * number, or there are two. *hops is what is left; UINT64_MAX: it has none. */
static bool take_hop(struct span fields, uint64_t *hops)
{
    struct http_field f;
    *hops = UINT64_MAX;
    while (http_field_next(&fields, &f) == HTTP_FIELD_ONE) {
        if (http_field_is(&f, "Max-Forwards")) {
            if (*hops != UINT64_MAX || num_u64(f.value, 1, UINT64_MAX, hops) != 0) {
                return false;
            }
            (*hops)--;
        }
    }
    return true;
}

static enum http_body_kind body_kind(const struct http_framing *f)
{
    if (f->has_chunked) {
        return HTTP_BODY_CHUNKED;
    }
    return f->has_length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
}

enum http_forward_fault http_forward_start(struct http_forward *f, const struct http_head *h,
                                           struct span text, const struct http_forward_names *names,
                                           struct wbuf *out)
{
    struct http_options options;
    struct span rest = text;
    struct span method = take_word(&rest);
    struct span target = take_word(&rest);
    *f = (struct http_forward){.state = HTTP_FORWARD_HEAD, .names = *names, .is_http10 = h->is_http10};
    http_response_head_init(&f->answer, HTTP_RESPONSE_MAX_BYTES);
    f->is_head_request = span_is_equal(method, SPAN_LIT("HEAD"));
    http_body_init(&f->up, body_kind(&h->framing), h->framing.length);
    size_t end = span_find(rest, '\n');
    struct span fields = span_sub(rest, end + 1, rest.len);
    if (!http_options_read(fields, names->via, &options)) {
        f->must_close = true;
        return HTTP_FORWARD_FAULT_FIELDS;
    }
    f->must_close = h->is_http10 || options.has_close; /* RFC 9112 9.3 */
    f->wants_upgrade = wants_upgrade(h, &options);
    if (options.has_via) {
        return HTTP_FORWARD_FAULT_LOOP;
    }
    bool is_options = span_is_equal(method, SPAN_LIT("OPTIONS"));
    uint64_t hops = UINT64_MAX;
    if (is_options && !take_hop(fields, &hops)) {
        return HTTP_FORWARD_FAULT_HOPS;
    }
    options.drops_hops = hops != UINT64_MAX;
    wbuf_put(out, method);
    wbuf_str(out, " ");
    write_target(target, is_options, out);
    wbuf_str(out, " HTTP/1.1\r\n");
    write_host(h, out);
    http_copy_fields(fields, &options, false, out);
    if (options.drops_hops) {
        wbuf_printf(out, "Max-Forwards: %" PRIu64 "\r\n", hops);
    }
    http_copy_framing(&h->framing, out);
    wbuf_printf(out, "Via: 1.%c %s\r\n", h->is_http10 ? '0' : '1', names->via);
    if (f->wants_upgrade) {
        write_upgrade(options.upgrade, out);
    } else {
        wbuf_str(out, "Connection: close\r\n");
    }
    wbuf_str(out, "\r\n");
    (void)CHECK(!out->overflow);
    return HTTP_FORWARD_FAULT_NONE;
}

void http_forward_fini(struct http_forward *f)
{
    buf_fini(&f->head);
}

size_t http_forward_up(struct http_forward *f, struct span bytes)
{
    return http_body_take(&f->up, bytes, NULL);
}

static void break_off(struct http_forward *f, const char *why)
{
    f->state = HTTP_FORWARD_BAD;
    f->why = why;
}

static void write_persistence(const struct http_forward *f, struct wbuf *out)
{
    if (f->must_close) {
        wbuf_str(out, "Connection: close\r\n");
    } else if (f->names.idle_s > 0) { /* so that clients do not send a request just when we close */
        wbuf_printf(out, "Connection: keep-alive\r\nKeep-Alive: timeout=%" PRId64 "\r\n", f->names.idle_s);
    }
}

/* 200 and above, and how its body ends. */
static void start_final(struct http_forward *f, const struct http_response *r, struct wbuf *out)
{
    enum http_body_kind kind = http_response_body(r, f->is_head_request);
    struct http_framing framing = r->framing;
    if (kind == HTTP_BODY_NONE) { /* a length is then only information */
        framing.has_chunked = false;
        framing.has_length = framing.has_length && r->status != 204;
    } else if (kind == HTTP_BODY_CHUNKED && f->is_http10) { /* such a client knows no chunks */
        framing.has_chunked = false;
    }
    f->must_close = f->must_close || kind == HTTP_BODY_TO_CLOSE || f->up.status != HTTP_BODY_DONE;
    http_copy_framing(&framing, out);
    if (r->status == 426 && r->options.upgrade.len > 0) { /* says to what */
        wbuf_str(out, "Upgrade: ");
        wbuf_put(out, r->options.upgrade);
        wbuf_str(out, "\r\n");
    }
    write_persistence(f, out);
    http_body_init(&f->down, kind, framing.length);
    f->status = r->status;
    f->state = f->down.status == HTTP_BODY_DONE ? HTTP_FORWARD_DONE : HTTP_FORWARD_BODY;
}

static bool start_tunnel(struct http_forward *f, const struct http_response *r, struct wbuf *out)
{
    if (!f->wants_upgrade || f->up.status != HTTP_BODY_DONE || r->options.upgrade.len == 0) {
        break_off(f, "it changes to another protocol (101) unasked");
        return false;
    }
    write_upgrade(r->options.upgrade, out);
    f->status = r->status;
    f->state = HTTP_FORWARD_TUNNEL;
    return true;
}

/* The head is whole: what the client is to see of it. False: it is broken. */
static bool write_answer(struct http_forward *f, struct wbuf *out)
{
    struct http_response r;
    const char *why = http_response_read(&f->answer, buf_span(&f->head), &r);
    if (why != NULL) {
        break_off(f, why);
        return false;
    }
    if (r.status < 200 && r.status != 101 && f->is_http10) {
        return true; /* such a client knows no interim answers */
    }
    wbuf_printf(out, "HTTP/1.1 %u ", r.status);
    wbuf_put(out, r.reason);
    wbuf_str(out, "\r\n");
    http_copy_fields(r.fields, &r.options, true, out);
    wbuf_printf(out, "Via: 1.%c %s\r\n", r.is_http10 ? '0' : '1', f->names.via);
    if (r.status == 101) {
        if (!start_tunnel(f, &r, out)) {
            return false;
        }
    } else if (r.status >= 200) {
        start_final(f, &r, out);
    }
    wbuf_str(out, "\r\n");
    return true;
}

static void end_answer_head(struct http_forward *f, struct buf *out)
{
    uint8_t text[ANSWER_HEAD_CAP];
    struct wbuf w = wbuf_make(text, sizeof text);
    if (write_answer(f, &w)) {
        if (!CHECK(!w.overflow) || buf_append(out, wbuf_span(&w), out->len + w.len) != 0) {
            break_off(f, "out of memory");
        }
    }
    if (f->state == HTTP_FORWARD_BAD) {
        f->status = 0;
    }
    buf_fini(&f->head);
    http_response_head_init(&f->answer, HTTP_RESPONSE_MAX_BYTES);
}

static size_t take_head(struct http_forward *f, struct span bytes, struct buf *out)
{
    size_t taken = http_response_head_feed(&f->answer, bytes);
    if (f->answer.status == HTTP_RESPONSE_BAD) {
        break_off(f, http_response_fault_text(f->answer.fault));
    } else if (buf_append(&f->head, span_sub(bytes, 0, taken), HTTP_RESPONSE_MAX_BYTES) != 0) {
        break_off(f, "out of memory");
    } else if (f->answer.status == HTTP_RESPONSE_DONE) {
        end_answer_head(f, out);
    }
    return taken;
}

size_t http_forward_down(struct http_forward *f, struct span bytes, struct buf *out, struct span *pass)
{
    *pass = (struct span){NULL, 0};
    if (f->state == HTTP_FORWARD_HEAD) {
        return take_head(f, bytes, out);
    }
    if (f->state != HTTP_FORWARD_BODY) {
        return 0;
    }
    size_t taken = http_body_take(&f->down, bytes, f->is_http10 ? pass : NULL);
    if (f->down.status == HTTP_BODY_BAD) {
        *pass = (struct span){NULL, 0};
        break_off(f, "the chunks of its answer are malformed");
        return taken;
    }
    if (!f->is_http10) {
        *pass = span_sub(bytes, 0, taken);
    }
    if (f->down.status == HTTP_BODY_DONE) {
        f->state = HTTP_FORWARD_DONE;
    }
    return taken;
}

void http_forward_down_end(struct http_forward *f)
{
    if (f->state == HTTP_FORWARD_HEAD) {
        break_off(f,
                  f->head.len > 0 ? "it ended inside the head of its answer" : "it ended without an answer");
    } else if (f->state == HTTP_FORWARD_BODY) {
        http_body_end(&f->down);
        if (f->down.status == HTTP_BODY_DONE) {
            f->state = HTTP_FORWARD_DONE;
        } else {
            break_off(f, "it ended inside its answer");
        }
    }
}

bool http_forward_ends_by_close(const struct http_forward *f)
{
    return f->status != 0 &&
           (f->down.kind == HTTP_BODY_TO_CLOSE || (f->down.kind == HTTP_BODY_CHUNKED && f->is_http10));
}
