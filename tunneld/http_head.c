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

/* tchar of RFC 9110 5.6.2 */
static bool is_tchar(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z')) {
        return true;
    }
    return c != 0 && memchr("!#$%&'*+-.^_`|~", c, 15) != NULL;
}

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
    } else if (is_word(h, "Content-Length")) {
        if (h->has_length || is_long || !span_is_equal(value, SPAN_LIT("0"))) {
            h->bad_framing = true;
        }
        h->has_length = true;
    } else if (is_word(h, "Transfer-Encoding")) {
        h->bad_framing = true;
    }
    h->word_len = 0;
    h->text_len = 0;
}

static bool has_scheme(struct span target, const char *scheme)
{
    struct span want = span_str(scheme);
    return span_is_equal_nocase(span_sub(target, 0, want.len), want);
}

/* authority-form of RFC 9112 3.2.3; the port is mandatory. */
static void parse_authority(struct http_head *h, struct span target)
{
    size_t colon = target.len;
    for (size_t i = 0; i < target.len; i++) {
        if (target.data[i] == ':') {
            colon = i;
        } else if (memchr("/@?#", target.data[i], 4) != NULL) {
            fail(h, HTTP_HEAD_FAULT_AUTHORITY);
            return;
        }
    }
    bool has_brackets = target.len > 0 && target.data[0] == '[';
    bool bracket_at_end = colon > 0 && colon < target.len && target.data[colon - 1] == ']';
    if (colon == target.len || colon == 0 || has_brackets != bracket_at_end) {
        fail(h, HTTP_HEAD_FAULT_AUTHORITY);
        return;
    }
    struct span host = span_sub(target, 0, colon);
    if (!has_brackets && span_find(host, ':') != host.len) {
        fail(h, HTTP_HEAD_FAULT_AUTHORITY); /* an IPv6 address needs its brackets */
        return;
    }
    if (num_port(span_sub(target, colon + 1, target.len), &h->port) != 0) {
        fail(h, HTTP_HEAD_FAULT_PORT);
        return;
    }
    h->host_fault = host_parse(host, &h->host);
    if (h->host_fault != HOST_FAULT_NONE) {
        fail(h, HTTP_HEAD_FAULT_HOST);
        return;
    }
    h->status = HTTP_HEAD_CONNECT;
}

static void end_head(struct http_head *h)
{
    struct span method = kept(h->method, h->method_len, HTTP_HEAD_WORD_CAP);
    struct span target = kept(h->target, h->target_len, HTTP_HEAD_TEXT_CAP);
    h->state = STATE_DONE;
    if (span_is_equal(method, SPAN_LIT("TRACE"))) {
        fail(h, HTTP_HEAD_FAULT_TRACE);
    } else if (span_is_equal(method, SPAN_LIT("CONNECT"))) {
        if (h->bad_framing) {
            fail(h, HTTP_HEAD_FAULT_FRAMING);
        } else if (h->target_len > HTTP_HEAD_TEXT_CAP) {
            fail(h, HTTP_HEAD_FAULT_AUTHORITY);
        } else {
            parse_authority(h, target);
        }
    } else if (has_scheme(target, "http://")) {
        fail(h, HTTP_HEAD_FAULT_PLAIN_HTTP);
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
        } else if (is_tchar(c)) {
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
            text_add(h, c);
        } else {
            fail(h, HTTP_HEAD_FAULT_REQUEST_LINE);
        }
    } else if (c == '\r') {
        struct span version = kept(h->text, h->text_len, HTTP_HEAD_TEXT_CAP);
        if (span_is_equal(version, SPAN_LIT("HTTP/1.1")) || span_is_equal(version, SPAN_LIT("HTTP/1.0"))) {
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
        } else if (is_tchar(c)) {
            word_add(h, c);
            h->state = STATE_NAME;
        } else {
            fail(h, c == '\n' ? HTTP_HEAD_FAULT_LINE_END : HTTP_HEAD_FAULT_FIELD);
        }
    } else if (h->state == STATE_NAME) {
        if (c == ':') {
            h->state = STATE_VALUE;
        } else if (is_tchar(c)) {
            word_add(h, c);
        } else {
            fail(h, HTTP_HEAD_FAULT_FIELD);
        }
    } else if (c == '\r') {
        h->state = STATE_VALUE_LF;
    } else if (c == '\t' || (c >= ' ' && c != 127)) {
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
    case HTTP_HEAD_FAULT_FRAMING:
        return "CONNECT has no body: no Transfer-Encoding, and no Content-Length but one 0";
    case HTTP_HEAD_FAULT_TRACE:
        return "TRACE is not served";
    case HTTP_HEAD_FAULT_PLAIN_HTTP:
        return "this version of the proxy carries CONNECT only; plain HTTP works without a proxy inside the "
               "fence";
    case HTTP_HEAD_FAULT_PLAIN_HTTPS:
        return "an https:// target needs CONNECT: ask for \"CONNECT host:443 HTTP/1.1\" and speak TLS "
               "through it";
    case HTTP_HEAD_FAULT_NOT_PROXIED:
        return "this is a proxy, not a web server: use CONNECT host:port";
    case HTTP_HEAD_FAULT_SCHEME:
        return "this is a proxy for CONNECT host:port; the request's method and target are something else";
    case HTTP_HEAD_FAULT_AUTHORITY:
        return "the target of CONNECT is not host:port or [IPv6]:port";
    case HTTP_HEAD_FAULT_PORT:
        return "the port of CONNECT is not a number from 1 to 65535";
    case HTTP_HEAD_FAULT_HOST:
        return "the host of CONNECT is not a name or an address";
    }
    return "";
}
