/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_ws.h"

#include "common/base/clock.h"
#include "common/base/num.h"
#include "common/base/rng.h"
#include "common/base/shown.h"
#include "common/policy/reason.h"
#include "egress/doctor_io.h"
#include "egress/doctor_path.h"
#include "egress/doctor_proxy.h"
#include "egress/doctor_ws_frame.h"
#include "egress/doctor_ws_head.h"
#include "egress/doctor_wss.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REPLY_MS 500  /* for a few bytes that the kernel takes at once, or never */
#define REASON_MS 500 /* tunneld sends it with the head */
#define REQUEST_CAP 4096
#define READS_MAX 64 /* of one wake-up */
#define DURATION_CAP 24
#define BLIND_MS 250      /* less is not worth a word */
#define NORMAL_CLOSE 1000 /* RFC 6455 7.4.1 */

struct doctor_ws {
    int fd;
    struct doctor_wss *tls; /* NULL: plain */
    struct doctor_result *result;
    struct doctor_ws_frames frames;
    int64_t opened_ms, spoke_ms; /* the server did, last */
    int64_t longest_ms;          /* silence */
    int64_t blind_ms;            /* nobody looked for so long */
    size_t spoken;
    int64_t pinged_ms; /* 0: not yet */
    uint8_t ping[8];
    char distrust[80]; /* "" if the certificate is good */
    bool is_over;
};

static ssize_t receive(struct doctor_ws *ws, void *data, size_t cap, int64_t end_ms)
{
    return ws->tls != NULL ? doctor_wss_receive(ws->tls, data, cap, end_ms)
                           : doctor_io_receive(ws->fd, data, cap, end_ms);
}

static int send_bytes(struct doctor_ws *ws, struct span bytes, int64_t end_ms)
{
    return ws->tls != NULL ? doctor_wss_send(ws->tls, bytes, end_ms) : doctor_io_send(ws->fd, bytes, end_ms);
}

static int send_frame(struct doctor_ws *ws, enum doctor_ws_opcode opcode, struct span payload)
{
    uint8_t bytes[2 + 4 + DOCTOR_WS_CONTROL_MAX];
    uint8_t mask[4];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    rng_bytes(mask, sizeof mask);
    doctor_ws_frame_put(&w, opcode, payload, mask);
    return send_bytes(ws, wbuf_span(&w), clock_mono_ms() + REPLY_MS);
}

static void tell(struct doctor_ws *ws, enum doctor_state state, enum doctor_fault fault, const char *text)
{
    doctor_tell(ws->result, state, fault, "%s", text);
    ws->result->ms = clock_mono_ms() - ws->opened_ms;
    ws->is_over = true;
}

/* ---- the way to it ---- */

/* No answer that could be understood. */
static void tell_silence(struct doctor_ws *ws, ssize_t end)
{
    char text[DOCTOR_TEXT_CAP];
    enum doctor_fault fault = end == 0 ? DOCTOR_CONN_CUT : doctor_fault_of((int)end);
    (void)snprintf(text, sizeof text, "%s, without an answer to the upgrade",
                   end == 0            ? "closed"
                   : end == -ETIMEDOUT ? "still open"
                                       : strerror((int)-end));
    tell(ws, DOCTOR_FAILED, fault, text);
}

/* A reason that openshell-tunneld has: then it was not the server who refused. */
static bool is_ours(const char *reason)
{
    bool is_known = false;
    for (int r = 0; r < REASON_COUNT; r++) {
        is_known = is_known || strcmp(reason_text((enum reason)r), reason) == 0;
    }
    return is_known;
}

static void tell_refusal(struct doctor_ws *ws, const struct doctor_ws_head *head, struct span body)
{
    char text[DOCTOR_TEXT_CAP];
    char reason[DOCTOR_REASON_CAP];
    uint8_t bytes[1024];
    doctor_http_reason(body, reason);
    if (reason[0] == '\0' && head->status >= 400 && body.len < sizeof bytes) { /* it may come by itself */
        memcpy(bytes, body.data, body.len);
        ssize_t n = receive(ws, bytes + body.len, sizeof bytes - body.len, clock_mono_ms() + REASON_MS);
        doctor_http_reason(span_make(bytes, body.len + (n > 0 ? (size_t)n : 0)), reason);
    }
    if (is_ours(reason)) {
        (void)snprintf(text, sizeof text, "%d %s", head->status, reason);
        tell(ws, DOCTOR_FAILED, head->status == 403 ? DOCTOR_DENIED : DOCTOR_PROXY_STATUS, text);
        return;
    }
    (void)snprintf(text, sizeof text, "%d%s%s: the server is there, and no WebSocket at this path",
                   head->status, reason[0] == '\0' ? "" : " ", reason);
    tell(ws, DOCTOR_NOTED, DOCTOR_UPGRADE_REFUSED, text);
}

/* True: it is a WebSocket now; *head.len bytes of the len at bytes are its head. */
static bool read_answer(struct doctor_ws *ws, const char *key, uint8_t *bytes, size_t *len, int64_t end_ms,
                        struct doctor_ws_head *head)
{
    char text[DOCTOR_TEXT_CAP];
    ssize_t n = 1;
    do {
        n = receive(ws, bytes + *len, DOCTOR_WS_HEAD_MAX - *len, end_ms);
        *len += n > 0 ? (size_t)n : 0;
        doctor_ws_head_read(span_make(bytes, *len), key, head);
    } while (n > 0 && head->answer == DOCTOR_WS_MORE);
    switch (head->answer) {
    case DOCTOR_WS_UPGRADED:
        return true;
    case DOCTOR_WS_MORE:
        tell_silence(ws, n);
        break;
    case DOCTOR_WS_REFUSED:
        tell_refusal(ws, head, span_sub(span_make(bytes, *len), head->len, *len));
        break;
    case DOCTOR_WS_WRONG:
        (void)snprintf(text, sizeof text, "101 with %s: no client may go on", head->why);
        tell(ws, DOCTOR_FAILED, DOCTOR_UPGRADE_WRONG, text);
        break;
    case DOCTOR_WS_FOREIGN:
        tell(ws, DOCTOR_FAILED, DOCTOR_UPGRADE_WRONG, "what answers the upgrade is not HTTP/1");
        break;
    }
    return false;
}

static bool open_tls(struct doctor_ws *ws, const struct doctor_target *t, int64_t end_ms, int *rc)
{
    struct err err = {""};
    *rc = doctor_wss_open(ws->fd, &t->host, end_ms, &ws->tls, &err);
    if (*rc == 0) {
        const char *distrust = doctor_wss_distrust(ws->tls);
        (void)snprintf(ws->distrust, sizeof ws->distrust, "%s", distrust == NULL ? "" : distrust);
        return true;
    }
    if (*rc != -ENOMEM) {
        char text[DOCTOR_TEXT_CAP];
        (void)snprintf(text, sizeof text, "TLS does not come about: %.180s",
                       err.text[0] == '\0' ? strerror(-*rc) : err.text);
        tell(ws, DOCTOR_FAILED, DOCTOR_TLS_FAILED, text);
        *rc = 0;
    }
    return false;
}

static void read_frames(struct doctor_ws *ws, struct span bytes);

static bool upgrade(struct doctor_ws *ws, const struct doctor_target *t, int64_t end_ms)
{
    uint8_t bytes[DOCTOR_WS_HEAD_MAX];
    uint8_t random[16];
    char key[DOCTOR_WS_KEY_CAP];
    size_t len = 0;
    struct doctor_ws_head head;
    struct wbuf w = wbuf_make(bytes, REQUEST_CAP);
    rng_bytes(random, sizeof random);
    doctor_ws_key(random, key);
    doctor_ws_request(&w, t, ws->tls != NULL, key);
    int rc = w.overflow ? -EMSGSIZE : send_bytes(ws, wbuf_span(&w), end_ms);
    if (rc != 0) {
        tell_silence(ws, rc);
        return false;
    }
    if (!read_answer(ws, key, bytes, &len, end_ms, &head)) {
        return false;
    }
    ws->opened_ms = ws->spoke_ms = clock_mono_ms();
    read_frames(ws, span_sub(span_make(bytes, len), head.len, len));
    doctor_ws_read(ws, 0); /* TLS may hold something that poll(2) does not see */
    return true;
}

int doctor_ws_open(int fd, const struct doctor_target *t, bool is_tls, int64_t end_ms,
                   struct doctor_result *result, struct doctor_ws **out)
{
    struct doctor_ws *ws = calloc(1, sizeof *ws);
    int rc = 0;
    *out = NULL;
    if (ws == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    *ws = (struct doctor_ws){.fd = fd, .result = result, .opened_ms = clock_mono_ms()};
    if ((!is_tls || open_tls(ws, t, end_ms, &rc)) && upgrade(ws, t, end_ms)) {
        *out = ws;
        return 0;
    }
    ws->is_over = true;
    doctor_ws_finish(ws);
    return rc;
}

/* ---- silence, and a sign of life ---- */

const char *doctor_ws_span_text(int64_t ms, int64_t blind_ms, char text[DOCTOR_WS_SPAN_CAP])
{
    char from[DURATION_CAP];
    char to[DURATION_CAP];
    blind_ms = blind_ms < ms ? blind_ms : ms;
    (void)snprintf(text, DOCTOR_WS_SPAN_CAP, "%s%s%s",
                   blind_ms > BLIND_MS ? num_duration_text(ms - blind_ms, from, sizeof from) : "",
                   blind_ms > BLIND_MS ? " to " : "", num_duration_text(ms, to, sizeof to));
    return text;
}

static void tell_cut(struct doctor_ws *ws, ssize_t end)
{
    char text[DOCTOR_TEXT_CAP];
    char quiet[DOCTOR_WS_SPAN_CAP];
    const char *how = end == 0 ? "closed (FIN)" : end == -ECONNRESET ? "reset (RST)" : strerror((int)-end);
    int64_t now_ms = clock_mono_ms();
    (void)doctor_ws_span_text(now_ms - ws->spoke_ms, ws->blind_ms, quiet);
    (void)snprintf(text, sizeof text, "%s %s%s of silence, without a close frame: programs see 1006", how,
                   ws->pinged_ms != 0 ? "at a ping after " : "after ", quiet);
    tell(ws, DOCTOR_FAILED, DOCTOR_CUT_IDLE, text);
    ws->result->ms = now_ms - ws->spoke_ms;
}

static void tell_alive(struct doctor_ws *ws)
{
    char text[DOCTOR_TEXT_CAP];
    char since[DURATION_CAP];
    char pong[DURATION_CAP];
    char spoken[80] = "";
    int64_t now_ms = clock_mono_ms();
    if (ws->spoken > 0) {
        (void)snprintf(spoken, sizeof spoken, "; the server spoke %zu time%s, the longest silence was %s",
                       ws->spoken, ws->spoken == 1 ? "" : "s",
                       num_duration_text(ws->longest_ms, since, sizeof since));
    }
    (void)num_duration_text(ws->pinged_ms - ws->opened_ms, since, sizeof since);
    (void)num_duration_text(now_ms - ws->pinged_ms, pong, sizeof pong);
    (void)snprintf(text, sizeof text, "alive after %s, a pong came in %s%s%s%.64s", since,
                   now_ms == ws->pinged_ms ? "<1ms" : pong, spoken,
                   ws->distrust[0] == '\0' ? "" : "; certificate: ", ws->distrust);
    tell(ws, ws->distrust[0] == '\0' ? DOCTOR_OK : DOCTOR_NOTED,
         ws->distrust[0] == '\0' ? DOCTOR_FAULT_NONE : DOCTOR_DISTRUSTED, text);
}

/* Whatever it means: it came through, so that nothing in between has cut. */
static void tell_closed(struct doctor_ws *ws)
{
    char text[DOCTOR_TEXT_CAP];
    char after[DOCTOR_WS_SPAN_CAP];
    char why[DOCTOR_WS_CONTROL_MAX + 1] = "";
    struct span said = doctor_ws_close_text(&ws->frames);
    unsigned code = doctor_ws_close_code(&ws->frames);
    memcpy(why, said.data, said.len);
    (void)doctor_ws_span_text(clock_mono_ms() - ws->opened_ms, ws->blind_ms, after);
    (void)snprintf(text, sizeof text,
                   "the server itself said goodbye after %s, with a close frame: %u%s%.80s", after, code,
                   why[0] == '\0' ? "" : " ", shown_clean(why));
    (void)send_frame(ws, DOCTOR_WS_CLOSE,
                     span_sub(span_make(ws->frames.control, ws->frames.control_len), 0, 2));
    tell(ws, DOCTOR_NOTED, DOCTOR_SERVER_CLOSED, text);
}

static void take_event(struct doctor_ws *ws, enum doctor_ws_event event)
{
    char text[DOCTOR_TEXT_CAP];
    struct span payload = span_make(ws->frames.control, ws->frames.control_len);
    switch (event) {
    case DOCTOR_WS_NOTHING:
    case DOCTOR_WS_GOT_DATA:
        break;
    case DOCTOR_WS_GOT_PING: /* RFC 6455 5.5.2: has to be answered */
        if (send_frame(ws, DOCTOR_WS_PONG, payload) != 0) {
            tell_cut(ws, -EPIPE);
        }
        break;
    case DOCTOR_WS_GOT_PONG: /* another's than our ping's is nothing, 5.5.3 */
        if (ws->pinged_ms != 0 && span_is_equal(payload, span_make(ws->ping, sizeof ws->ping))) {
            tell_alive(ws);
        }
        break;
    case DOCTOR_WS_GOT_CLOSE:
        tell_closed(ws);
        break;
    case DOCTOR_WS_BROKEN:
        (void)snprintf(text, sizeof text, "what comes are no WebSocket frames: %s", ws->frames.why);
        tell(ws, DOCTOR_FAILED, DOCTOR_BAD_FRAME, text);
        break;
    }
}

static void note_words(struct doctor_ws *ws)
{
    int64_t now_ms = clock_mono_ms();
    if (ws->pinged_ms == 0) {
        int64_t quiet_ms = now_ms - ws->spoke_ms;
        ws->longest_ms = quiet_ms > ws->longest_ms ? quiet_ms : ws->longest_ms;
        ws->spoken++;
    }
    ws->spoke_ms = now_ms;
}

static void read_frames(struct doctor_ws *ws, struct span bytes)
{
    if (bytes.len > 0) {
        note_words(ws);
    }
    while (bytes.len > 0 && !ws->is_over) {
        take_event(ws, doctor_ws_frames_next(&ws->frames, &bytes));
    }
}

void doctor_ws_read(struct doctor_ws *ws, int64_t blind_ms)
{
    uint8_t bytes[4096];
    ssize_t n = 1;
    ws->blind_ms = blind_ms;
    for (int i = 0; i < READS_MAX && n > 0 && !ws->is_over; i++) {
        n = receive(ws, bytes, sizeof bytes, 0);
        read_frames(ws, span_make(bytes, n > 0 ? (size_t)n : 0));
    }
    if (n <= 0 && n != -ETIMEDOUT && !ws->is_over) {
        tell_cut(ws, n);
    }
}

void doctor_ws_ping(struct doctor_ws *ws)
{
    int64_t now_ms = clock_mono_ms();
    int64_t quiet_ms = now_ms - ws->spoke_ms;
    ws->longest_ms = quiet_ms > ws->longest_ms ? quiet_ms : ws->longest_ms;
    ws->pinged_ms = now_ms;
    rng_bytes(ws->ping, sizeof ws->ping);
    int rc = send_frame(ws, DOCTOR_WS_PING, span_make(ws->ping, sizeof ws->ping));
    if (rc != 0) {
        tell_cut(ws, rc);
    }
}

bool doctor_ws_is_over(const struct doctor_ws *ws)
{
    return ws->is_over;
}

int doctor_ws_fd(const struct doctor_ws *ws)
{
    return ws->fd;
}

void doctor_ws_finish(struct doctor_ws *ws)
{
    static const uint8_t goodbye[] = {NORMAL_CLOSE >> 8, NORMAL_CLOSE & 0xff};
    if (ws == NULL) {
        return;
    }
    if (!ws->is_over) {
        char text[DOCTOR_TEXT_CAP];
        char waited[DURATION_CAP];
        char quiet[DURATION_CAP];
        int64_t now_ms = clock_mono_ms();
        (void)snprintf(text, sizeof text, "no pong within %s of a ping, after %s of silence: %s",
                       num_duration_text(now_ms - ws->pinged_ms, waited, sizeof waited),
                       num_duration_text(ws->longest_ms, quiet, sizeof quiet),
                       ws->spoke_ms > ws->pinged_ms
                           ? "something else came, so the server does not answer pings"
                           : "it looks open, and carries nothing");
        tell(ws, DOCTOR_FAILED, DOCTOR_NO_PONG, text);
    }
    if (ws->result->fault == DOCTOR_FAULT_NONE || ws->result->fault == DOCTOR_DISTRUSTED) {
        (void)send_frame(ws, DOCTOR_WS_CLOSE, span_make(goodbye, sizeof goodbye));
    }
    doctor_wss_free(ws->tls);
    (void)close(ws->fd);
    free(ws);
}
