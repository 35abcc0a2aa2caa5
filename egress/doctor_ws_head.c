/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_ws_head.h"

#include "egress/doctor_proxy.h"

/* What the fields of a 101 come to. */
struct fields {
    const char *accept; /* the right one */
    unsigned upgrades, accepts;
    bool is_websocket, has_connection, is_accepted;
    const char *why; /* the first thing that is wrong */
};

void doctor_ws_request(struct wbuf *w, const struct doctor_target *t, bool is_tls,
                       const char key[DOCTOR_WS_KEY_CAP])
{
    char host[HOST_TEXT_CAP];
    const char *path = t->ws_path == NULL ? "/" : t->ws_path;
    wbuf_printf(w, "GET %s%s HTTP/1.1\r\nHost: %s", path[0] == '/' ? "" : "/", path,
                host_text(&t->host, host));
    if (t->port != (is_tls ? 443 : 80)) { /* RFC 6455 4.1: without it where it is the scheme's own */
        wbuf_printf(w, ":%u", t->port);
    }
    wbuf_printf(w,
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                "Sec-WebSocket-Version: 13\r\nUser-Agent: openshell-egress-doctor\r\n\r\n",
                key);
}

static bool has_token(struct span list, struct span token)
{
    while (list.len > 0) {
        size_t comma = span_find(list, ',');
        if (span_is_equal_nocase(span_trim_ows(span_sub(list, 0, comma)), token)) {
            return true;
        }
        list = span_sub(list, comma + 1, list.len);
    }
    return false;
}

static bool is_token(struct span s)
{
    static const char marks[] = "!#$%&'*+-.^_`|~"; /* RFC 9110 5.6.2 */
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = ascii_lower(s.data[i]);
        bool is_mark = c != '\0' && strchr(marks, c) != NULL;
        if (!is_mark && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) {
            return false;
        }
    }
    return s.len > 0;
}

static void take_field(struct fields *f, struct span name, struct span value)
{
    if (span_is_equal_nocase(name, SPAN_LIT("Upgrade"))) {
        f->upgrades++;
        f->is_websocket = span_is_equal_nocase(value, SPAN_LIT("websocket"));
    } else if (span_is_equal_nocase(name, SPAN_LIT("Connection"))) {
        f->has_connection = f->has_connection || has_token(value, SPAN_LIT("Upgrade"));
    } else if (span_is_equal_nocase(name, SPAN_LIT("Sec-WebSocket-Accept"))) {
        f->accepts++;
        f->is_accepted = span_is_equal(value, span_str(f->accept));
    } else if (span_is_equal_nocase(name, SPAN_LIT("Sec-WebSocket-Extensions"))) {
        f->why = "an extension that was not asked for";
    } else if (span_is_equal_nocase(name, SPAN_LIT("Sec-WebSocket-Protocol"))) {
        f->why = "a subprotocol that was not asked for";
    }
}

static void take_line(struct fields *f, struct span line)
{
    size_t colon = span_find(line, ':');
    struct span name = span_sub(line, 0, colon);
    if (colon == line.len || !is_token(name)) { /* a folded line begins with a blank, which is no token */
        f->why = "a line that is no field";
        return;
    }
    take_field(f, name, span_trim_ows(span_sub(line, colon + 1, line.len)));
}

static const char *fault_of(const struct fields *f)
{
    if (f->why != NULL) {
        return f->why;
    }
    if (f->upgrades != 1 || !f->is_websocket) {
        return "no \"Upgrade: websocket\"";
    }
    if (!f->has_connection) {
        return "no \"Connection: Upgrade\"";
    }
    if (f->accepts != 1) {
        return f->accepts == 0 ? "no Sec-WebSocket-Accept" : "several Sec-WebSocket-Accept";
    }
    return f->is_accepted ? NULL : "a wrong Sec-WebSocket-Accept";
}

/* Bytes before the CRLF at or behind from, or the length of all where none came yet; *is_bad: a character
 * that no head has. */
static size_t line_len(struct span bytes, bool *is_bad)
{
    size_t i = 0;
    for (; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        if (c == '\r' && i + 1 < bytes.len && bytes.data[i + 1] == '\n') {
            break;
        }
        bool is_half = c == '\r' && i + 1 == bytes.len; /* its LF may follow */
        *is_bad = *is_bad || (!is_half && ((c < ' ' && c != '\t') || c == 0x7f));
    }
    return i;
}

/* As far as it came: is this the beginning of "HTTP/1.1 101 ...", or of another status? */
static bool is_status_line(struct span line, bool is_whole)
{
    const struct span start = SPAN_LIT("HTTP/1.");
    const size_t end = start.len + 5; /* "1 101" */
    size_t seen = line.len < start.len ? line.len : start.len;
    if (!span_is_equal(span_sub(line, 0, seen), span_sub(start, 0, seen)) ||
        (line.len > start.len && line.data[start.len] != '0' && line.data[start.len] != '1')) {
        return false;
    }
    bool is_ended = line.len == end || (line.len > end && line.data[end] == ' ');
    return !is_whole || (doctor_http_status(line) != 0 && is_ended);
}

static void take_status(struct fields *f, struct span line, struct doctor_ws_head *out)
{
    out->status = doctor_http_status(line);
    f->why = line.data[sizeof "HTTP/1." - 1] == '0' ? "HTTP/1.0" : NULL;
}

static void finish(const struct fields *f, size_t len, struct doctor_ws_head *out)
{
    out->len = len;
    out->answer = DOCTOR_WS_REFUSED;
    if (out->status == 101) {
        out->why = fault_of(f);
        out->answer = out->why == NULL ? DOCTOR_WS_UPGRADED : DOCTOR_WS_WRONG;
    }
}

void doctor_ws_head_read(struct span bytes, const char key[DOCTOR_WS_KEY_CAP], struct doctor_ws_head *out)
{
    char accept[DOCTOR_WS_ACCEPT_CAP];
    struct fields f = {.accept = accept};
    struct span head = span_sub(bytes, 0, DOCTOR_WS_HEAD_MAX);
    size_t at = 0;
    doctor_ws_accept(key, accept);
    *out = (struct doctor_ws_head){.answer = DOCTOR_WS_MORE};
    for (size_t number = 0;; number++) {
        bool is_bad = false;
        struct span rest = span_sub(head, at, head.len);
        struct span line = span_sub(rest, 0, line_len(rest, &is_bad));
        bool is_whole = line.len + 2 <= rest.len;
        if (number == 0 && (is_bad || !is_status_line(line, is_whole))) {
            out->answer = DOCTOR_WS_FOREIGN;
            return;
        }
        if (is_bad) {
            f.why = "a control character";
        }
        if (!is_whole) {
            break;
        }
        at += line.len + 2;
        if (number == 0) {
            take_status(&f, line, out);
        } else if (line.len > 0) {
            take_line(&f, line);
        } else {
            finish(&f, at, out);
            return;
        }
    }
    if (bytes.len >= DOCTOR_WS_HEAD_MAX) { /* its status is what there is */
        f.why = "a head that does not end";
        out->answer = DOCTOR_WS_FOREIGN;
        if (out->status != 0) {
            finish(&f, DOCTOR_WS_HEAD_MAX, out);
        }
    }
}
