/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of what a WebSocket server sends: how the bytes are cut into segments changes no verdict and no
 * frame, a head's length is inside of what came, and a client's own frame is none that a server may send.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "egress/doctor_ws_frame.h"
#include "egress/doctor_ws_head.h"

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";

struct told {
    uint64_t sum; /* of all events and payloads */
    size_t count;
};

static void add(struct told *t, uint64_t v)
{
    t->sum = (t->sum ^ v) * UINT64_C(1099511628211);
}

static void tell(struct told *t, const struct doctor_ws_frames *f, enum doctor_ws_event e)
{
    REQUIRE((e == DOCTOR_WS_BROKEN) == (f->why != NULL));
    REQUIRE(f->control_len <= DOCTOR_WS_CONTROL_MAX);
    if (e == DOCTOR_WS_NOTHING) {
        return;
    }
    add(t, e);
    for (size_t i = 0; e >= DOCTOR_WS_GOT_PING && e <= DOCTOR_WS_GOT_CLOSE && i < f->control_len; i++) {
        add(t, f->control[i]);
    }
    if (e == DOCTOR_WS_GOT_CLOSE) {
        REQUIRE(f->control_len != 1 && doctor_ws_close_code(f) <= UINT16_MAX);
        REQUIRE(doctor_ws_close_text(f).len <= DOCTOR_WS_CONTROL_MAX - 2);
    }
    t->count++;
}

static struct told read_frames(struct span bytes, size_t step)
{
    struct doctor_ws_frames f = {.head_len = 0};
    struct told t = {.count = 0};
    for (size_t at = 0; at < bytes.len && f.why == NULL; at += step) {
        struct span part = span_sub(bytes, at, step);
        while (part.len > 0 && f.why == NULL) {
            size_t before = part.len;
            enum doctor_ws_event e = doctor_ws_frames_next(&f, &part);
            REQUIRE(part.len < before);
            tell(&t, &f, e);
        }
    }
    return t;
}

static void check_head(struct span bytes)
{
    struct doctor_ws_head whole, cut;
    doctor_ws_head_read(bytes, key, &whole);
    REQUIRE(whole.len <= bytes.len && whole.len <= DOCTOR_WS_HEAD_MAX);
    REQUIRE((whole.answer == DOCTOR_WS_WRONG) == (whole.why != NULL));
    REQUIRE(whole.answer != DOCTOR_WS_UPGRADED || whole.status == 101);
    REQUIRE(whole.answer != DOCTOR_WS_REFUSED || (whole.status >= 100 && whole.status != 101));
    for (size_t i = 0; i < bytes.len && i < 512; i++) { /* the first verdict is the last */
        doctor_ws_head_read(span_sub(bytes, 0, i), key, &cut);
        REQUIRE(cut.answer == DOCTOR_WS_MORE || cut.answer == whole.answer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_make(data, size);
    uint8_t own[6 + DOCTOR_WS_CONTROL_MAX];
    struct wbuf w = wbuf_make(own, sizeof own);
    check_head(bytes);
    struct told whole = read_frames(bytes, size == 0 ? 1 : size);
    for (size_t step = 1; step < 4; step++) {
        struct told cut = read_frames(bytes, step);
        REQUIRE(cut.sum == whole.sum && cut.count == whole.count);
    }
    static const uint8_t mask[4] = {1, 2, 3, 4};
    doctor_ws_frame_put(&w, DOCTOR_WS_PING, span_sub(bytes, 0, DOCTOR_WS_CONTROL_MAX), mask);
    REQUIRE(!w.overflow && read_frames(wbuf_span(&w), sizeof own).count == 1);
    struct doctor_ws_frames f = {.head_len = 0};
    struct span mine = wbuf_span(&w);
    REQUIRE(doctor_ws_frames_next(&f, &mine) == DOCTOR_WS_BROKEN);
    return 0;
}
