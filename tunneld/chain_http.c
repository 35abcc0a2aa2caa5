/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/chain_http.h"

#include "common/base/buf.h"
#include "common/base/err.h"

void chain_basic(struct span credentials, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;
    REQUIRE(credentials.len <= CHAIN_CREDENTIALS_CAP);
    for (size_t i = 0; i < credentials.len; i += 3) {
        struct span three = span_sub(credentials, i, 3);
        uint32_t bits = (uint32_t)three.data[0] << 16;
        bits |= three.len > 1 ? (uint32_t)three.data[1] << 8 : 0;
        bits |= three.len > 2 ? (uint32_t)three.data[2] : 0;
        text[len++] = digits[bits >> 18];
        text[len++] = digits[(bits >> 12) & 63];
        text[len++] = three.len > 1 ? digits[(bits >> 6) & 63] : '=';
        text[len++] = three.len > 2 ? digits[bits & 63] : '=';
    }
    text[len] = '\0';
}

size_t chain_request_write(const struct host *host, uint16_t port, const char *basic, void *out)
{
    char text[HOST_TEXT_CAP];
    struct wbuf w = wbuf_make(out, CHAIN_REQUEST_CAP);
    (void)host_text(host, text);
    wbuf_printf(&w, "CONNECT %s:%u HTTP/1.1\r\n", text, (unsigned)port);
    wbuf_printf(&w, "Host: %s:%u\r\n", text, (unsigned)port);
    if (basic[0] != '\0') {
        wbuf_str(&w, "Proxy-Authorization: Basic ");
        wbuf_str(&w, basic);
        wbuf_str(&w, "\r\n");
    }
    wbuf_str(&w, "\r\n");
    REQUIRE(!w.overflow);
    return w.len;
}

void chain_reply_init(struct chain_reply *r)
{
    *r = (struct chain_reply){.verdict = CHAIN_MORE};
    http_response_head_init(&r->head, CHAIN_REPLY_MAX_BYTES);
}

static void fail(struct chain_reply *r, enum chain_fault fault)
{
    r->verdict = CHAIN_FAILED;
    r->fault = fault;
}

static void end_head(struct chain_reply *r)
{
    r->code = r->head.code;
    r->total += r->head.total;
    if (r->code >= 200 && r->code <= 299) {
        r->verdict = CHAIN_ESTABLISHED;
    } else if (r->code >= 200 || r->code == 101) { /* nobody asked for another protocol */
        fail(r, CHAIN_FAULT_STATUS);
    } else {
        http_response_head_init(&r->head, CHAIN_REPLY_MAX_BYTES - r->total);
    }
}

size_t chain_reply_feed(struct chain_reply *r, struct span bytes)
{
    size_t taken = 0;
    while (r->verdict == CHAIN_MORE && taken < bytes.len) {
        taken += http_response_head_feed(&r->head, span_sub(bytes, taken, bytes.len));
        switch (r->head.status) {
        case HTTP_RESPONSE_DONE:
            end_head(r);
            break;
        case HTTP_RESPONSE_BAD:
            fail(r, r->head.fault == HTTP_RESPONSE_FAULT_TOO_LARGE ? CHAIN_FAULT_TOO_LARGE
                                                                   : CHAIN_FAULT_MALFORMED);
            break;
        case HTTP_RESPONSE_MORE:
            break;
        }
    }
    return taken;
}

void chain_reply_closed(struct chain_reply *r)
{
    if (r->verdict == CHAIN_MORE) {
        fail(r, CHAIN_FAULT_CLOSED);
    }
}

void chain_reply_timeout(struct chain_reply *r)
{
    if (r->verdict == CHAIN_MORE) {
        fail(r, CHAIN_FAULT_TIMEOUT);
    }
}

static const char *status_why(uint16_t code, const struct chain_words *w)
{
    switch (code) {
    case 407:
        return w->has_credentials ? "the chain proxy does not accept the credentials of --chain-auth-file"
                                  : "the chain proxy wants credentials: give --chain-auth-file";
    case 403:
        return w->by_name ? "the chain proxy refuses this host and port: its own rules must admit them too"
                          : "the chain proxy refuses this address and port: if its rules are about names, "
                            "--chain-target=name";
    case 400:
    case 404:
    case 405:
    case 501:
        return "the chain proxy does not take CONNECT for this target: is it a proxy?";
    case 429:
        return "the chain proxy is asked too often";
    case 502:
    case 503:
    case 504:
        return "the chain proxy could not reach the destination";
    default:
        return "the chain proxy answered with a status that opens no tunnel";
    }
}

const char *chain_reply_why(const struct chain_reply *r, const struct chain_words *w)
{
    switch (r->fault) {
    case CHAIN_FAULT_NONE:
        break;
    case CHAIN_FAULT_STATUS:
        return status_why(r->code, w);
    case CHAIN_FAULT_MALFORMED:
        return "what the chain proxy answered is not HTTP/1: its URL must name an HTTP proxy's port, without "
               "TLS";
    case CHAIN_FAULT_TOO_LARGE:
        return "the head of the chain proxy's answer is longer than 8192 bytes";
    case CHAIN_FAULT_CLOSED:
        return "the chain proxy closed the connection before its answer was complete";
    case CHAIN_FAULT_TIMEOUT:
        return "the chain proxy did not answer in time (--connect-timeout)";
    }
    return "";
}

const char *chain_reply_error_type(const struct chain_reply *r)
{
    switch (r->fault) {
    case CHAIN_FAULT_NONE:
        break;
    case CHAIN_FAULT_STATUS:
        return r->code == 407 ? "proxy_configuration_error" : "destination_unavailable";
    case CHAIN_FAULT_MALFORMED:
        return "http_protocol_error";
    case CHAIN_FAULT_TOO_LARGE:
        return "http_response_header_section_size";
    case CHAIN_FAULT_CLOSED:
        return "http_response_incomplete";
    case CHAIN_FAULT_TIMEOUT:
        return "http_response_timeout";
    }
    return "proxy_internal_error";
}
