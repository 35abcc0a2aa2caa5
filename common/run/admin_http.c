/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/admin_http.h"

#include "common/base/num.h"

#include <stdio.h>

static const struct {
    const char *path;
    enum admin_page page;
} pages[] = {
    {"/healthz", ADMIN_PAGE_HEALTHZ},
    {"/readyz", ADMIN_PAGE_READYZ},
    {"/status", ADMIN_PAGE_STATUS},
    {"/metrics", ADMIN_PAGE_METRICS},
};

static void refuse(struct admin_request *out, int status, const char *text)
{
    *out = (struct admin_request){.status = status, .text = text};
}

/* tchar of RFC 9110 5.6.2: what a method or a field name is made of. */
static bool is_token(struct span s)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        uint8_t lower = ascii_lower(c);
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') &&
            memchr(marks, c, sizeof marks - 1) == NULL) {
            return false;
        }
    }
    return s.len > 0;
}

/* Lines end with CR LF; a control character other than HTAB stands nowhere. */
static bool has_bad_byte(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool is_good = c == '\t' || (c >= 0x20 && c != 0x7f);
        if (c == '\r') { /* the last byte so far may be the first half of an end */
            is_good = i + 1 == s.len || s.data[i + 1] == '\n';
        } else if (c == '\n') {
            is_good = i > 0 && s.data[i - 1] == '\r';
        }
        if (!is_good) {
            return true;
        }
    }
    return false;
}

/* The head without the empty line; false if its end has not come. */
static bool find_head(struct span bytes, struct span *head)
{
    for (size_t i = 3; i < bytes.len; i++) {
        if (memcmp(bytes.data + i - 3, "\r\n\r\n", 4) == 0) {
            *head = span_sub(bytes, 0, i - 1);
            return true;
        }
    }
    return false;
}

/* Takes one line with its CR LF off the front. */
static struct span take_line(struct span *rest)
{
    size_t end = span_find(*rest, '\r');
    struct span line = span_sub(*rest, 0, end);
    *rest = span_sub(*rest, end + 2, rest->len);
    return line;
}

/* METHOD SP TARGET SP VERSION, one space each. */
static void read_request_line(struct span line, struct admin_request *out)
{
    size_t first = span_find(line, ' ');
    struct span method = span_sub(line, 0, first);
    struct span rest = span_sub(line, first + 1, line.len);
    size_t second = span_find(rest, ' ');
    struct span target = span_sub(rest, 0, second);
    struct span version = span_sub(rest, second + 1, rest.len);
    if (!is_token(method) || target.len == 0 || span_find(line, '\t') < line.len) {
        refuse(out, 400, "the request line is not METHOD PATH VERSION\n");
    } else if (!span_is_equal(version, SPAN_LIT("HTTP/1.1")) &&
               !span_is_equal(version, SPAN_LIT("HTTP/1.0"))) {
        refuse(out, 400, "HTTP/1.1 is spoken here\n");
    } else if (!span_is_equal(method, SPAN_LIT("GET"))) {
        refuse(out, 405, "only GET is answered here\n");
    } else {
        struct span path = span_sub(target, 0, span_find(target, '?'));
        refuse(out, 404, "no such page; there are /healthz, /readyz, /status and /metrics\n");
        for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
            if (span_is_equal(path, span_str(pages[i].path))) {
                *out = (struct admin_request){.status = 200, .page = pages[i].page};
            }
        }
    }
}

/* Host as RFC 9110 7.2 has it, without a port exactly if that is 80; localhost may leave it out. */
static bool is_own_host(struct span host, const struct addr *local)
{
    const struct span localhost = SPAN_LIT("localhost");
    struct span name = span_sub(host, 0, localhost.len);
    if (span_is_equal_nocase(name, localhost)) {
        struct span port = span_sub(host, localhost.len, host.len);
        uint16_t n = local->port;
        bool is_whole =
            port.len == 0 || (port.data[0] == ':' && num_port(span_sub(port, 1, port.len), &n) == 0);
        return is_whole && n == local->port;
    }
    struct addr named;
    return addr_parse(host, 80, &named) == 0 && addr_is_equal(&named, local);
}

/* Every field of the head; *host and *count are those of Host. */
static bool read_fields(struct span rest, struct span *host, size_t *count)
{
    *count = 0;
    while (rest.len > 0) {
        struct span line = take_line(&rest);
        size_t colon = span_find(line, ':');
        struct span name = span_sub(line, 0, colon);
        if (colon == line.len || !is_token(name)) { /* also a folded line: it begins with white space */
            return false;
        }
        if (span_is_equal_nocase(name, SPAN_LIT("Host"))) {
            *host = span_trim_ows(span_sub(line, colon + 1, line.len));
            (*count)++;
        }
    }
    return true;
}

void admin_http_parse(struct span bytes, const struct addr *local, struct admin_request *out)
{
    struct span seen = span_sub(bytes, 0, ADMIN_HTTP_HEAD_MAX);
    struct span head;
    bool is_whole = find_head(seen, &head);
    *out = (struct admin_request){.status = 0};
    if (has_bad_byte(is_whole ? head : seen)) { /* what comes behind the head is nobody's */
        refuse(out, 400, "the request is not HTTP: lines end with CR LF and hold no control characters\n");
        return;
    }
    if (!is_whole) {
        if (seen.len == ADMIN_HTTP_HEAD_MAX) {
            refuse(out, 431, "the request is longer than 2048 bytes\n");
        }
        return;
    }
    struct span host = {NULL, 0};
    size_t hosts = 0;
    struct span line = take_line(&head);
    read_request_line(line, out);
    if (!read_fields(head, &host, &hosts)) {
        refuse(out, 400, "a header field is not NAME: VALUE\n");
    } else if (hosts > 1) {
        refuse(out, 400, "there is more than one Host\n");
    } else if (local != NULL && hosts == 0) {
        refuse(out, 400, "there is no Host\n");
    } else if (local != NULL && !is_own_host(host, local)) {
        refuse(out, 421, "Host is not the address and port of this listener: ask by address, not by name\n");
    }
}

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *text;
    } phrases[] = {{200, "OK"},
                   {400, "Bad Request"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {421, "Misdirected Request"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {503, "Service Unavailable"}};
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].status == status) {
            return phrases[i].text;
        }
    }
    return "Error";
}

size_t admin_http_reply_head(int status, const char *type, size_t body_len, bool is_stale,
                             char out[ADMIN_HTTP_REPLY_HEAD])
{
    int n = snprintf(out, ADMIN_HTTP_REPLY_HEAD,
                     "HTTP/1.1 %d %s\r\n"
                     "Content-Type: %s\r\n"
                     "Content-Length: %zu\r\n"
                     "%s%s"
                     "Cache-Control: no-store\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "Connection: close\r\n\r\n",
                     status, reason_phrase(status), type, body_len, status == 405 ? "Allow: GET\r\n" : "",
                     is_stale ? "Policy: stale\r\n" : "");
    return CHECK(n > 0 && (size_t)n < ADMIN_HTTP_REPLY_HEAD) ? (size_t)n : 0;
}
