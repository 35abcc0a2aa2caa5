/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_reply.h"

#include "common/base/buf.h"

#include <errno.h>

#define BODY_CAP (HTTP_REPLY_CAP - 512U) /* the head takes less than the rest */

const char http_reply_established[] = "HTTP/1.1 200 Connection Established\r\n\r\n";

int http_reply_status(enum reason r)
{
    switch (r) {
    case REASON_POLICY_DENIED:
    case REASON_BINARY_DENIED:
    case REASON_L7_REQUIRED:
    case REASON_SSRF_DENIED:
    case REASON_CLIENT_NOT_ALLOWED:
    case REASON_NOT_MAPPED:
    case REASON_STEER_NO_NAME:
    case REASON_WILDCARD_BUDGET:
    case REASON_WILDCARD_LENGTH:
    case REASON_POLICY_CHANGED:
        return 403;
    case REASON_RATE_LIMITED:
        return 429;
    case REASON_BAD_REQUEST:
        return 400;
    case REASON_METHOD_NOT_ALLOWED:
        return 405;
    case REASON_HEAD_TIMEOUT:
        return 408;
    case REASON_HEAD_TOO_LARGE:
        return 431;
    case REASON_LIMIT_REACHED:
    case REASON_SHUTDOWN:
    case REASON_INTERNAL:
        return 503;
    case REASON_UPSTREAM_TIMEOUT:
        return 504;
    case REASON_NONE:
    case REASON_DNS_FAILED:
    case REASON_UPSTREAM_UNREACHABLE:
    case REASON_BAD_RESPONSE:
    case REASON_CHAIN_FAILED:
    case REASON_PROXY_LOOP:
    case REASON_CLIENT_CLOSED:
    case REASON_UPSTREAM_CLOSED:
    case REASON_CLIENT_RESET:
    case REASON_UPSTREAM_RESET:
    case REASON_PEER_VANISHED:
    case REASON_IDLE:
    case REASON_LIFETIME:
    case REASON_HALF_CLOSED:
    case REASON_SNI_MISMATCH:
    case REASON_COUNT:
        break;
    }
    return 502;
}

static const char *status_phrase(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return "Bad Gateway";
    }
}

/* RFC 9209 2.3: the registered error type. */
static const char *proxy_error(const struct http_reply *r)
{
    switch (r->reason) {
    case REASON_POLICY_DENIED:
    case REASON_BINARY_DENIED:
    case REASON_L7_REQUIRED:
    case REASON_CLIENT_NOT_ALLOWED:
    case REASON_NOT_MAPPED:
    case REASON_STEER_NO_NAME:
    case REASON_WILDCARD_BUDGET:
    case REASON_WILDCARD_LENGTH:
    case REASON_POLICY_CHANGED:
        return "http_request_denied";
    case REASON_SSRF_DENIED:
        return "destination_ip_prohibited";
    case REASON_DNS_FAILED:
        return r->cause == ETIMEDOUT ? "dns_timeout" : "dns_error";
    case REASON_UPSTREAM_UNREACHABLE:
        return r->cause == ECONNREFUSED ? "connection_refused" : "destination_ip_unroutable";
    case REASON_UPSTREAM_TIMEOUT:
        return "connection_timeout";
    case REASON_LIMIT_REACHED:
    case REASON_RATE_LIMITED:
        return "connection_limit_reached";
    case REASON_PROXY_LOOP:
        return "proxy_loop_detected";
    case REASON_BAD_REQUEST:
    case REASON_METHOD_NOT_ALLOWED:
    case REASON_HEAD_TIMEOUT:
    case REASON_HEAD_TOO_LARGE:
        return "http_request_error";
    case REASON_BAD_RESPONSE:
        return "http_protocol_error";
    case REASON_UPSTREAM_CLOSED:
    case REASON_UPSTREAM_RESET:
    case REASON_PEER_VANISHED:
        return "connection_terminated";
    case REASON_IDLE:
    case REASON_LIFETIME:
        return "http_response_timeout";
    case REASON_NONE:
    case REASON_CHAIN_FAILED:
    case REASON_CLIENT_CLOSED:
    case REASON_CLIENT_RESET:
    case REASON_HALF_CLOSED:
    case REASON_SNI_MISMATCH:
    case REASON_SHUTDOWN:
    case REASON_INTERNAL:
    case REASON_COUNT:
        break;
    }
    return "proxy_internal_error";
}

static void put_member(struct wbuf *w, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0') {
        return;
    }
    wbuf_printf(w, ",\"%s\":\"", name);
    wbuf_json(w, span_str(value));
    wbuf_str(w, "\"");
}

static struct wbuf write_body(const struct http_reply *r, void *out, size_t cap, bool brief)
{
    struct wbuf w = wbuf_make(out, cap);
    wbuf_printf(&w, "{\"error\":\"%s\"", reason_text(r->reason));
    if (!brief) {
        put_member(&w, "detail", r->detail);
        put_member(&w, "reason", r->why);
        put_member(&w, "rule_missing", r->rule_missing);
    }
    wbuf_str(&w, "}\n");
    return w;
}

size_t http_reply_write(const struct http_reply *r, void *out, size_t cap)
{
    uint8_t text[BODY_CAP];
    int status = r->status != 0 ? r->status : http_reply_status(r->reason);
    struct wbuf body = write_body(r, text, sizeof text, false);
    if (body.overflow) {
        body = write_body(r, text, sizeof text, true);
    }
    struct wbuf w = wbuf_make(out, cap);
    wbuf_printf(&w, "HTTP/1.1 %d %s\r\n", status, status_phrase(status));
    wbuf_str(&w, "Content-Type: application/json\r\n");
    wbuf_printf(&w, "Content-Length: %zu\r\n", body.len);
    wbuf_printf(&w, "Cache-Control: no-store\r\nConnection: %s\r\n", r->keeps_open ? "keep-alive" : "close");
    wbuf_printf(&w, "Proxy-Status: openshell-tunneld; error=%s; details=\"%s\"",
                r->error_type != NULL ? r->error_type : proxy_error(r), reason_text(r->reason));
    if (r->received_status != 0) {
        wbuf_printf(&w, "; received-status=%d", r->received_status);
    }
    wbuf_str(&w, "\r\n");
    if (status == 405) {
        wbuf_str(&w, "Allow: CONNECT, GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    }
    if (r->retry_after_s > 0) {
        wbuf_printf(&w, "Retry-After: %u\r\n", r->retry_after_s);
    }
    wbuf_str(&w, "\r\n");
    if (!r->has_no_body) {
        wbuf_put(&w, wbuf_span(&body));
    }
    return w.overflow ? 0 : w.len;
}
