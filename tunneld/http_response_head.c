/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_response_head.h"

#include "tunneld/http_char.h"

enum response_state {
    STATE_VERSION = 0, /* at: how much of "HTTP/1.x " is there */
    STATE_CODE,        /* at: how many digits are there */
    STATE_BEHIND_CODE,
    STATE_PHRASE,
    STATE_STATUS_LF,
    STATE_LINE_START,
    STATE_NAME,
    STATE_VALUE,
    STATE_VALUE_LF,
    STATE_END_LF,
    STATE_DONE
};

static const char version_text[] = "HTTP/1.1 ";
#define VERSION_LEN (sizeof version_text - 1)
#define VERSION_MINOR 7U /* where the digit is that may also be 0 */

static void fail(struct http_response_head *h, enum http_response_fault fault)
{
    h->status = HTTP_RESPONSE_BAD;
    h->fault = fault;
}

void http_response_head_init(struct http_response_head *h, size_t limit)
{
    *h = (struct http_response_head){.status = HTTP_RESPONSE_MORE, .limit = limit};
}

static void step_version(struct http_response_head *h, uint8_t c)
{
    if (h->at == VERSION_MINOR && c == '0') {
        h->is_http_1_0 = true;
    } else if (c != (uint8_t)version_text[h->at]) {
        fail(h, HTTP_RESPONSE_FAULT_VERSION);
        return;
    }
    h->at++;
    if (h->at == VERSION_LEN) {
        h->at = 0;
        h->state = STATE_CODE;
    }
}

static void step_code(struct http_response_head *h, uint8_t c)
{
    bool is_digit = c >= '0' && c <= '9';
    if (!is_digit || (h->at == 0 && (c < '1' || c > '5'))) {
        fail(h, HTTP_RESPONSE_FAULT_STATUS_LINE);
        return;
    }
    h->code = (uint16_t)(h->code * 10 + (c - '0'));
    h->at++;
    if (h->at == 3) {
        h->state = STATE_BEHIND_CODE;
    }
}

static void step_phrase(struct http_response_head *h, uint8_t c)
{
    if (c == '\r') {
        h->state = STATE_STATUS_LF;
    } else if (h->state == STATE_BEHIND_CODE ? c == ' ' : http_is_text(c)) {
        h->state = STATE_PHRASE;
    } else {
        fail(h, c == '\n' ? HTTP_RESPONSE_FAULT_LINE_END : HTTP_RESPONSE_FAULT_STATUS_LINE);
    }
}

static void step_field(struct http_response_head *h, uint8_t c)
{
    if (h->state == STATE_LINE_START) {
        if (c == '\r') {
            h->state = STATE_END_LF;
        } else if (c == ' ' || c == '\t') {
            fail(h, HTTP_RESPONSE_FAULT_FOLDING);
        } else if (http_is_tchar(c)) {
            h->state = STATE_NAME;
        } else {
            fail(h, c == '\n' ? HTTP_RESPONSE_FAULT_LINE_END : HTTP_RESPONSE_FAULT_FIELD);
        }
    } else if (h->state == STATE_NAME) {
        if (c == ':') {
            h->state = STATE_VALUE;
        } else if (!http_is_tchar(c)) {
            fail(h, HTTP_RESPONSE_FAULT_FIELD);
        }
    } else if (c == '\r') {
        h->state = STATE_VALUE_LF;
    } else if (!http_is_text(c)) {
        fail(h, c == '\n' ? HTTP_RESPONSE_FAULT_LINE_END : HTTP_RESPONSE_FAULT_FIELD);
    }
}

static void step_lf(struct http_response_head *h, uint8_t c)
{
    if (c != '\n') {
        fail(h, HTTP_RESPONSE_FAULT_LINE_END);
    } else if (h->state == STATE_END_LF) {
        h->state = STATE_DONE;
        h->status = HTTP_RESPONSE_DONE;
    } else {
        h->state = STATE_LINE_START;
    }
}

static void step(struct http_response_head *h, uint8_t c)
{
    switch ((enum response_state)h->state) {
    case STATE_VERSION:
        step_version(h, c);
        break;
    case STATE_CODE:
        step_code(h, c);
        break;
    case STATE_BEHIND_CODE:
    case STATE_PHRASE:
        step_phrase(h, c);
        break;
    case STATE_LINE_START:
    case STATE_NAME:
    case STATE_VALUE:
        step_field(h, c);
        break;
    case STATE_STATUS_LF:
    case STATE_VALUE_LF:
    case STATE_END_LF:
        step_lf(h, c);
        break;
    case STATE_DONE:
        break;
    }
}

size_t http_response_head_feed(struct http_response_head *h, struct span bytes)
{
    size_t taken = 0;
    while (h->status == HTTP_RESPONSE_MORE && taken < bytes.len) {
        if (h->total == h->limit) {
            fail(h, HTTP_RESPONSE_FAULT_TOO_LARGE);
            break;
        }
        h->total++;
        step(h, bytes.data[taken]);
        taken++;
    }
    return taken;
}

const char *http_response_fault_text(enum http_response_fault f)
{
    switch (f) {
    case HTTP_RESPONSE_FAULT_NONE:
        break;
    case HTTP_RESPONSE_FAULT_TOO_LARGE:
        return "the head of its answer is too long";
    case HTTP_RESPONSE_FAULT_VERSION:
        return "its answer does not begin with HTTP/1.0 or HTTP/1.1";
    case HTTP_RESPONSE_FAULT_STATUS_LINE:
        return "the status line of its answer is broken";
    case HTTP_RESPONSE_FAULT_LINE_END:
        return "a line of its answer does not end with CR LF";
    case HTTP_RESPONSE_FAULT_FOLDING:
        return "a header line of its answer begins with white space (obsolete line folding)";
    case HTTP_RESPONSE_FAULT_FIELD:
        return "a header line of its answer is not NAME: VALUE, or holds a control character";
    }
    return "";
}
