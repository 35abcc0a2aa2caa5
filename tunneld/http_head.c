/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_head.h"

#include "common/base/num.h"

enum head_state {
    STATE_METHOD = 0,
    STATE_TARGET,
    STATE_VERSION,
    STATE_REQUEST_LF,
    STATE_LINE_START,
    STATE_NAME,
    STATE_VALUE,
    STATE_VALUE_LF,
    STATE_END_LF,
    STATE_DONE
};

static void fail(struct http_head *h, enum http_head_fault fault)
{
    h->status = HTTP_HEAD_BAD;
    h->fault = fault;
}

static void word_add(struct http_head *h, uint8_t c)
{
    if (h->word_len < HTTP_HEAD_WORD_CAP) {
        h->word[h->word_len] = (char)c;
    }
    if (h->word_len <= HTTP_HEAD_WORD_CAP) {
        h->word_len++;
    }
}

static void text_add(struct http_head *h, uint8_t c)
{
    if (h->text_len < HTTP_HEAD_TEXT_CAP) {
        h->text[h->text_len] = (char)c;
    }
    if (h->text_len <= HTTP_HEAD_TEXT_CAP) {
        h->text_len++;
    }
}

/* What was kept of the word or text; a longer one matches nothing that is looked for. */
static struct span kept(const char *data, size_t len, size_t cap)
{
    return span_make(data, len < cap ? len : cap);
}

static bool is_word(const struct http_head *h, const char *name)
{
    return h->word_len <= HTTP_HEAD_WORD_CAP &&
           span_is_equal_nocase(span_make(h->word, h->word_len), span_str(name));
}

void http_head_init(struct http_head *h)
{
    *h = (struct http_head){.status = HTTP_HEAD_MORE};
}

void http_head_init_steered(struct http_head *h, uint16_t port)
{
    http_head_init(h);
    h->steered_port = port;
}

/*
 * Host on CONNECT is not used, so only what no honest client sends is refused: bytes that cannot be in
 * uri-host [":" port] (RFC 9110 7.2). It may be empty and may lack the port.
 */
static bool is_host_value(struct span v)
{
    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = v.data[i];
        if (c <= ' ' || c > '~' || memchr("\"#,/<>?@\\^`{|}", c, 14) != NULL) {
            return false;
        }
    }
    return true;
}

/* HOST:PORT of RFC 9112 3.2.3 into host and port; default_port 0: the port is mandatory. */
static enum http_head_fault read_authority(struct http_head *h, struct span target, uint16_t default_port)
{
    size_t colon = target.len;
    size_t bracket = 0; /* behind "]" */
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] == ']') {
            bracket = i + 1;
            colon = target.len; /* those before it are the address's own */
        } else if (target.data[i] == ':') {
            colon = i;
        } else if (memchr("/@?#", target.data[i], 4) != NULL) {
            return HTTP_HEAD_FAULT_AUTHORITY;
        }
    }
    struct span host = span_sub(target, 0, colon);
    bool has_brackets = target.len > 0 && target.data[0] == '[';
    if (host.len == 0 || bracket != (has_brackets ? host.len : 0) ||
        (!has_brackets && span_find(host, ':') != host.len) || /* an IPv6 address needs its brackets */
        (colon == target.len && default_port == 0)) {
        return HTTP_HEAD_FAULT_AUTHORITY;
    }
    h->port = default_port;
    if (colon < target.len && num_port(span_sub(target, colon + 1, target.len), &h->port) != 0) {
        return HTTP_HEAD_FAULT_PORT;
    }
    h->host_fault = host_parse(host, &h->host);
    return h->host_fault != HOST_FAULT_NONE ? HTTP_HEAD_FAULT_HOST : HTTP_HEAD_FAULT_NONE;
}

static void parse_authority(struct http_head *h, struct span target, uint16_t default_port)
{
    const enum http_head_fault fault = read_authority(h, target, default_port);
    if (fault != HTTP_HEAD_FAULT_NONE) {
        fail(h, fault);
    } else {
        h->status = default_port == 0 ? HTTP_HEAD_CONNECT : HTTP_HEAD_FORWARD;
    }
}

/* Where a steered request goes, unless its target says otherwise. */
static void keep_authority(struct http_head *h, struct span value)
{
    const enum http_head_fault fault = read_authority(h, value, h->steered_port);
    if (fault != HTTP_HEAD_FAULT_NONE) {
        fail(h, fault);
    }
    h->has_authority = fault == HTTP_HEAD_FAULT_NONE;
}

static void end_field(struct http_head *h)
{
    struct span value = span_trim_ows(kept(h->text, h->text_len, HTTP_HEAD_TEXT_CAP));
    bool is_long = h->text_len > HTTP_HEAD_TEXT_CAP;
    if (is_word(h, "Host")) {
        if (h->has_host) {
            fail(h, HTTP_HEAD_FAULT_TWO_HOSTS);
        } else if (is_long || !is_host_value(value)) {
            fail(h, HTTP_HEAD_FAULT_HOST_FIELD);
        }
        h->has_host = true;
        if (h->status == HTTP_HEAD_MORE && h->steered_port != 0 && value.len > 0) {
            keep_authority(h, value);
        }
    } else if (is_word(h, "Content-Length") || is_word(h, "Transfer-Encoding")) {
        const struct http_field field = {.name = span_make(h->word, h->word_len), .value = value};
        http_framing_add(&h->framing, &field);
        h->framing.is_bad = h->framing.is_bad || is_long;
    }
    h->word_len = 0;
    h->text_len = 0;
}

static bool has_scheme(struct span target, const char *scheme)
{
    struct span want = span_str(scheme);
    return span_is_equal_nocase(span_sub(target, 0, want.len), want);
}

static void end_connect(struct http_head *h, struct span target)
{
    const struct http_framing *f = &h->framing;
    if (f->is_bad || f->has_chunked || f->length != 0) {
        fail(h, HTTP_HEAD_FAULT_FRAMING);
    } else if (h->target_len > HTTP_HEAD_TEXT_CAP) {
        fail(h, HTTP_HEAD_FAULT_AUTHORITY);
    } else {
        parse_authority(h, target, 0);
    }
}

/* absolute-form of RFC 9112 3.2.2 */
static void end_forward(struct http_head *h, struct span target)
{
    static const char scheme[] = "http://";
    struct span behind = span_sub(target, sizeof scheme - 1, target.len);
    size_t end = 0;
    while (end < behind.len && behind.data[end] != '/' && behind.data[end] != '?') {
        end++;
    }
    struct span authority = span_sub(behind, 0, end);
    bool is_cut = end == behind.len && h->target_len > HTTP_HEAD_TEXT_CAP;
    if (h->has_fragment) {
        fail(h, HTTP_HEAD_FAULT_FRAGMENT);
    } else if (span_find(authority, '@') < authority.len) {
        fail(h, HTTP_HEAD_FAULT_USERINFO);
    } else if (h->framing.is_bad || (h->is_http10 && h->framing.has_chunked)) {
        fail(h, HTTP_HEAD_FAULT_BODY);
    } else if (!h->has_host && !h->is_http10) {
        fail(h, HTTP_HEAD_FAULT_NO_HOST);
    } else if (is_cut) {
        fail(h, HTTP_HEAD_FAULT_AUTHORITY);
    } else {
        parse_authority(h, authority, 80);
    }
}

/* What is asked for is this port of the host that Host or the target names. */
static void end_steered(struct http_head *h, struct span target, bool is_options)
{
    const uint16_t port = h->steered_port;
    if (has_scheme(target, "http://")) { /* RFC 9112 3.2.2: a server takes it, and it outweighs Host */
        end_forward(h, target);
    } else if (target.data[0] != '/' && !(is_options && span_is_equal(target, SPAN_LIT("*")))) {
        fail(h, has_scheme(target, "https://") ? HTTP_HEAD_FAULT_PLAIN_HTTPS : HTTP_HEAD_FAULT_SCHEME);
    } else if (h->has_fragment) {
        fail(h, HTTP_HEAD_FAULT_FRAGMENT);
    } else if (h->framing.is_bad || (h->is_http10 && h->framing.has_chunked)) {
        fail(h, HTTP_HEAD_FAULT_BODY);
    } else if (!h->has_authority) {
        fail(h, HTTP_HEAD_FAULT_STEERED_NO_HOST);
    } else {
        h->status = HTTP_HEAD_FORWARD;
    }
    if (h->status == HTTP_HEAD_FORWARD && h->port != port) {
        fail(h, HTTP_HEAD_FAULT_OTHER_PORT);
    }
}

bool http_head_is_connect(const struct http_head *h)
{
    return h->state > STATE_METHOD &&
           span_is_equal(kept(h->method, h->method_len, HTTP_HEAD_WORD_CAP), SPAN_LIT("CONNECT"));
}

static void end_head(struct http_head *h)
{
    struct span method = kept(h->method, h->method_len, HTTP_HEAD_WORD_CAP);
    struct span target = kept(h->target, h->target_len, HTTP_HEAD_TEXT_CAP);
    h->state = STATE_DONE;
    if (span_is_equal(method, SPAN_LIT("TRACE"))) {
        fail(h, HTTP_HEAD_FAULT_TRACE);
    } else if (h->steered_port != 0 && span_is_equal(method, SPAN_LIT("CONNECT"))) {
        fail(h, HTTP_HEAD_FAULT_STEERED);
    } else if (span_is_equal(method, SPAN_LIT("CONNECT"))) {
        end_connect(h, target);
    } else if (span_is_equal_nocase(method, SPAN_LIT("TRACE")) ||
               span_is_equal_nocase(method, SPAN_LIT("CONNECT"))) {
        fail(h, HTTP_HEAD_FAULT_METHOD);
    } else if (h->steered_port != 0) {
        end_steered(h, target, span_is_equal(method, SPAN_LIT("OPTIONS")));
    } else if (has_scheme(target, "http://")) {
        end_forward(h, target);
    } else if (has_scheme(target, "https://")) {
        fail(h, HTTP_HEAD_FAULT_PLAIN_HTTPS);
    } else if (target.data[0] == '/' || span_is_equal(target, SPAN_LIT("*"))) {
        fail(h, HTTP_HEAD_FAULT_NOT_PROXIED);
    } else {
        fail(h, HTTP_HEAD_FAULT_SCHEME);
    }
}

static void step_request_line(struct http_head *h, uint8_t c)
{
    if (h->state == STATE_METHOD) {
        if (c == ' ' && h->word_len > 0) {
            memcpy(h->method, h->word, sizeof h->method);
            h->method_len = h->word_len;
            h->word_len = 0;
            h->state = STATE_TARGET;
        } else if (http_is_tchar(c)) {
            word_add(h, c);
        } else {
            fail(h, HTTP_HEAD_FAULT_REQUEST_LINE);
        }
    } else if (h->state == STATE_TARGET) {
        if (c == ' ' && h->text_len > 0) {
            memcpy(h->target, h->text, sizeof h->target);
            h->target_len = h->text_len;
            h->text_len = 0;
            h->state = STATE_VERSION;
        } else if (c > ' ' && c <= '~') {
            h->has_fragment = h->has_fragment || c == '#';
            text_add(h, c);
        } else {
            fail(h, HTTP_HEAD_FAULT_REQUEST_LINE);
        }
    } else if (c == '\r') {
        struct span version = kept(h->text, h->text_len, HTTP_HEAD_TEXT_CAP);
        if (span_is_equal(version, SPAN_LIT("HTTP/1.1")) || span_is_equal(version, SPAN_LIT("HTTP/1.0"))) {
            h->is_http10 = span_is_equal(version, SPAN_LIT("HTTP/1.0"));
            h->text_len = 0;
            h->state = STATE_REQUEST_LF;
        } else {
            fail(h, HTTP_HEAD_FAULT_VERSION);
        }
    } else if (c > ' ' && c <= '~') {
        text_add(h, c);
    } else {
        fail(h, c == '\n' ? HTTP_HEAD_FAULT_LINE_END : HTTP_HEAD_FAULT_REQUEST_LINE);
    }
}

static void step_field(struct http_head *h, uint8_t c)
{
    if (h->state == STATE_LINE_START) {
        if (c == '\r') {
            h->state = STATE_END_LF;
        } else if (c == ' ' || c == '\t') {
            fail(h, HTTP_HEAD_FAULT_FOLDING);
        } else if (http_is_tchar(c)) {
            word_add(h, c);
            h->state = STATE_NAME;
        } else {
            fail(h, c == '\n' ? HTTP_HEAD_FAULT_LINE_END : HTTP_HEAD_FAULT_FIELD);
        }
    } else if (h->state == STATE_NAME) {
        if (c == ':') {
            h->state = STATE_VALUE;
        } else if (http_is_tchar(c)) {
            word_add(h, c);
        } else {
            fail(h, HTTP_HEAD_FAULT_FIELD);
        }
    } else if (c == '\r') {
        h->state = STATE_VALUE_LF;
    } else if (http_is_text(c)) {
        if (h->text_len > 0 || (c != ' ' && c != '\t')) {
            text_add(h, c);
        }
    } else {
        fail(h, c == '\n' ? HTTP_HEAD_FAULT_LINE_END : HTTP_HEAD_FAULT_FIELD);
    }
}

static void step(struct http_head *h, uint8_t c)
{
    switch ((enum head_state)h->state) {
    case STATE_METHOD:
    case STATE_TARGET:
    case STATE_VERSION:
        step_request_line(h, c);
        return;
    case STATE_LINE_START:
    case STATE_NAME:
    case STATE_VALUE:
        step_field(h, c);
        return;
    case STATE_REQUEST_LF:
    case STATE_VALUE_LF:
    case STATE_END_LF:
        break;
    case STATE_DONE:
        return;
    }
    if (c != '\n') {
        fail(h, HTTP_HEAD_FAULT_LINE_END);
    } else if (h->state == STATE_END_LF) {
        end_head(h);
    } else {
        if (h->state == STATE_VALUE_LF) {
            end_field(h);
        }
        h->state = STATE_LINE_START;
    }
}

size_t http_head_feed(struct http_head *h, struct span bytes)
{
    size_t taken = 0;
    while (h->status == HTTP_HEAD_MORE && taken < bytes.len) {
        if (h->total == HTTP_HEAD_MAX_BYTES) {
            fail(h, HTTP_HEAD_FAULT_TOO_LARGE);
            break;
        }
        h->total++;
        step(h, bytes.data[taken]);
        taken++;
    }
    return taken;
}

int http_head_fault_http_status(enum http_head_fault f)
{
    if (f == HTTP_HEAD_FAULT_TOO_LARGE) {
        return 431;
    }
    return f == HTTP_HEAD_FAULT_TRACE ? 405 : 400;
}

const char *http_head_fault_text(enum http_head_fault f)
{
    switch (f) {
    case HTTP_HEAD_FAULT_NONE:
        break;
    case HTTP_HEAD_FAULT_TOO_LARGE:
        return "the request head is longer than 8192 bytes";
    case HTTP_HEAD_FAULT_REQUEST_LINE:
        return "the request line is not METHOD, target and version with one space between them";
    case HTTP_HEAD_FAULT_VERSION:
        return "the protocol version is not HTTP/1.0 or HTTP/1.1";
    case HTTP_HEAD_FAULT_LINE_END:
        return "a line does not end with CR LF";
    case HTTP_HEAD_FAULT_FOLDING:
        return "a header line begins with white space (obsolete line folding)";
    case HTTP_HEAD_FAULT_FIELD:
        return "a header line is not NAME: VALUE, or holds a control character";
    case HTTP_HEAD_FAULT_TWO_HOSTS:
        return "there is more than one Host header";
    case HTTP_HEAD_FAULT_HOST_FIELD:
        return "the Host header is not a host with an optional port";
    case HTTP_HEAD_FAULT_NO_HOST:
        return "an HTTP/1.1 request needs a Host header";
    case HTTP_HEAD_FAULT_STEERED_NO_HOST:
        return "the request names no host: this connection was steered here, so that only a Host header "
               "tells "
               "which server it is for, in HTTP/1.0 as well";
    case HTTP_HEAD_FAULT_FRAMING:
        return "CONNECT has no body: no Transfer-Encoding, and no Content-Length but one 0";
    case HTTP_HEAD_FAULT_BODY:
        return "the end of the body is not clear: give one Content-Length, a plain number, or (HTTP/1.1) one "
               "Transfer-Encoding, chunked, not both";
    case HTTP_HEAD_FAULT_TRACE:
        return "TRACE is not served";
    case HTTP_HEAD_FAULT_METHOD:
        return "CONNECT and TRACE are written in capitals";
    case HTTP_HEAD_FAULT_PLAIN_HTTPS:
        return "an https:// target needs CONNECT: ask for \"CONNECT host:443 HTTP/1.1\" and speak TLS "
               "through it";
    case HTTP_HEAD_FAULT_STEERED:
        return "this connection was steered here by its name, so it takes no CONNECT: the proxy has a port "
               "of its own";
    case HTTP_HEAD_FAULT_NOT_PROXIED:
        return "this is a proxy, not a web server: use CONNECT host:port, or an http:// URL as the target";
    case HTTP_HEAD_FAULT_SCHEME:
        return "this is a proxy for CONNECT host:port and http:// URLs; the request's method and target are "
               "something else";
    case HTTP_HEAD_FAULT_AUTHORITY:
        return "the target is not host:port or [IPv6]:port (CONNECT), or http://host[:port]/path";
    case HTTP_HEAD_FAULT_USERINFO:
        return "the target holds a user name: send credentials in an Authorization header";
    case HTTP_HEAD_FAULT_FRAGMENT:
        return "the target holds a fragment (#), which is never sent";
    case HTTP_HEAD_FAULT_PORT:
        return "the port of the target is not a number from 1 to 65535";
    case HTTP_HEAD_FAULT_OTHER_PORT:
        return "the request names another port than was connected to";
    case HTTP_HEAD_FAULT_HOST:
        return "the host of the target is not a name or an address";
    }
    return "";
}
