/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_CAP 4096U  /* PIPE_BUF on Linux: one write(2) of a line is never mixed with another */
#define LINE_TAIL 16U   /* kept back for what closes a line that was cut */
#define SPAN_CUT 256U   /* bytes of peers */
#define STR_CUT 1024U   /* texts of our own, which may quote a peer */
#define HEAD_CUT 64U    /* program and event */
#define CUT_MIN 16U     /* a value is halved down to this before it is left out */
#define TORN_WAIT_MS 20 /* for the rest of a line that the descriptor took in part */
#define TIME_TEXT_CAP 32U

/* Set by log_init() before threads start; only the two atomics change later. */
static struct {
    const char *program;
    enum log_level level;
    enum log_format format;
    int fd;
    bool is_socket;
    _Atomic uint64_t dropped; /* lines not written since the last one that was */
    atomic_bool is_torn;      /* the last line has no end */
} state = {.program = "openshell", .level = LOG_INFO, .format = LOG_TEXT, .fd = STDERR_FILENO};

void log_init(const char *program, enum log_level level, enum log_format format, int fd)
{
    struct stat st;
    state.program = program;
    state.level = level;
    state.format = format;
    state.fd = fd;
    state.is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    atomic_store(&state.dropped, 0);
    atomic_store(&state.is_torn, false);
}

bool log_is_on(enum log_level level)
{
    return level <= state.level;
}

static const char *level_text(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        break;
    }
    return "debug";
}

/* One byte inside the quotes of the text format. */
static void put_text_byte(struct wbuf *w, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        wbuf_u8(w, '\\');
        wbuf_u8(w, c);
    } else if (c == '\n') {
        wbuf_str(w, "\\n");
    } else if (c == '\r') {
        wbuf_str(w, "\\r");
    } else if (c == '\t') {
        wbuf_str(w, "\\t");
    } else if (c < 0x20 || c > 126) {
        wbuf_str(w, "\\x");
        wbuf_u8(w, (uint8_t)hex[c >> 4]);
        wbuf_u8(w, (uint8_t)hex[c & 15]);
    } else {
        wbuf_u8(w, c);
    }
}

static bool is_bare(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c <= ' ' || c > 126 || c == '"' || c == '\\' || c == '=') {
            return false;
        }
    }
    return s.len > 0;
}

/* The first max bytes of s as a value, with "..." behind them if there are more. */
static void put_string(struct wbuf *w, struct span s, size_t max)
{
    struct span shown = span_sub(s, 0, max);
    const char *more = s.len > max ? "..." : "";
    if (state.format == LOG_JSON) {
        wbuf_u8(w, '"');
        wbuf_json(w, shown);
        wbuf_str(w, more);
        wbuf_u8(w, '"');
    } else if (is_bare(shown)) {
        wbuf_put(w, shown);
        wbuf_str(w, more);
    } else {
        wbuf_u8(w, '"');
        for (size_t i = 0; i < shown.len; i++) {
            put_text_byte(w, shown.data[i]);
        }
        wbuf_str(w, more);
        wbuf_u8(w, '"');
    }
}

static void put_value(struct wbuf *w, const struct log_kv *kv, size_t max)
{
    char ip[IP_TEXT_CAP];
    switch (kv->kind) {
    case LOG_KIND_END:
        break;
    case LOG_KIND_STR:
        put_string(w, span_str(kv->v.str), max);
        break;
    case LOG_KIND_SPAN:
        put_string(w, kv->v.span, max < SPAN_CUT ? max : SPAN_CUT);
        break;
    case LOG_KIND_U64:
        wbuf_decimal(w, kv->v.u64, 1);
        break;
    case LOG_KIND_I64:
        if (kv->v.i64 < 0) {
            wbuf_u8(w, '-');
        }
        wbuf_decimal(w, kv->v.i64 < 0 ? 0 - (uint64_t)kv->v.i64 : (uint64_t)kv->v.i64, 1);
        break;
    case LOG_KIND_IP:
        put_string(w, span_str(kv->v.ip == NULL ? "-" : ip_text(kv->v.ip, ip)), max);
        break;
    case LOG_KIND_BOOL:
        wbuf_str(w, kv->v.flag ? "true" : "false");
        break;
    }
}

static void put_key(struct wbuf *w, const char *key)
{
    if (state.format == LOG_JSON) {
        wbuf_str(w, ",\"");
        wbuf_json(w, span_str(key));
        wbuf_str(w, "\":");
    } else {
        wbuf_u8(w, ' ');
        wbuf_str(w, key);
        wbuf_u8(w, '=');
    }
}

/* False if not even the shortest form of the pair fits; nothing of it is in w then. */
static bool put_kv(struct wbuf *w, const struct log_kv *kv)
{
    size_t before = w->len;
    for (size_t max = STR_CUT; max >= CUT_MIN; max /= 2) {
        put_key(w, kv->key);
        put_value(w, kv, max);
        if (!w->overflow) {
            return true;
        }
        w->len = before;
        w->overflow = false;
    }
    return false;
}

static void put_head(struct wbuf *w, enum log_level level, const char *event)
{
    char now[TIME_TEXT_CAP];
    (void)clock_wall_text(now, sizeof now);
    if (state.format == LOG_JSON) {
        wbuf_str(w, "{\"time\":\"");
        wbuf_str(w, now);
        wbuf_str(w, "\"");
        (void)put_kv(w, &(struct log_kv){.key = "level", .kind = LOG_KIND_STR, .v.str = level_text(level)});
        (void)put_kv(w, &(struct log_kv){.key = "program", .kind = LOG_KIND_STR, .v.str = state.program});
        (void)put_kv(w, &(struct log_kv){.key = "event", .kind = LOG_KIND_STR, .v.str = event});
    } else {
        wbuf_str(w, now);
        wbuf_u8(w, ' ');
        wbuf_str(w, level_text(level));
        wbuf_u8(w, ' ');
        put_string(w, span_str(state.program), HEAD_CUT);
        wbuf_u8(w, ' ');
        put_string(w, span_str(event), HEAD_CUT);
    }
}

/* Fills line (LINE_CAP bytes) with one whole line and returns its length. */
static size_t format_line(uint8_t *line, enum log_level level, const char *event, const struct log_kv *kv)
{
    struct wbuf w = wbuf_make(line, LINE_CAP - LINE_TAIL);
    put_head(&w, level, event);
    bool is_cut = false;
    for (; kv != NULL && kv->kind != LOG_KIND_END && !is_cut; kv++) {
        is_cut = !put_kv(&w, kv);
    }
    w.cap = LINE_CAP;
    if (is_cut) {
        wbuf_str(&w, state.format == LOG_JSON ? ",\"cut\":true" : " cut=true");
    }
    wbuf_str(&w, state.format == LOG_JSON ? "}\n" : "\n");
    (void)CHECK(!w.overflow);
    return w.len;
}

/*
 * As much as the descriptor takes now: its count, or -1. A descriptor that is shared must not be made
 * non-blocking for all who have it, so a socket is asked not to wait and anything else is asked whether it
 * would.
 */
static ssize_t write_some(const uint8_t *data, size_t len, int wait_ms)
{
    struct pollfd p = {.fd = state.fd, .events = POLLOUT};
    if (!state.is_socket || wait_ms > 0) {
        if (poll(&p, 1, wait_ms) != 1 || (p.revents & POLLOUT) == 0 || (p.revents & POLLERR) != 0) {
            return -1; /* full, or a pipe without a reader, which would cost a SIGPIPE to find out */
        }
    }
    ssize_t n;
    do {
        n = state.is_socket ? send(state.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                            : write(state.fd, data, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

static bool write_line(const uint8_t *data, size_t len)
{
    if (atomic_load_explicit(&state.is_torn, memory_order_relaxed)) {
        if (write_some((const uint8_t *)"\n", 1, 0) != 1) {
            return false;
        }
        atomic_store_explicit(&state.is_torn, false, memory_order_relaxed);
    }
    ssize_t n = write_some(data, len, 0);
    if (n <= 0) {
        return false;
    }
    while ((size_t)n < len) {
        data += n;
        len -= (size_t)n;
        n = write_some(data, len, TORN_WAIT_MS);
        if (n <= 0) {
            atomic_store_explicit(&state.is_torn, true, memory_order_relaxed);
            return false;
        }
    }
    return true;
}

/* True if nothing was dropped, or if that is said now. */
static bool report_dropped(void)
{
    uint64_t count = atomic_exchange_explicit(&state.dropped, 0, memory_order_relaxed);
    if (count == 0) {
        return true;
    }
    uint8_t line[LINE_CAP];
    size_t len = format_line(line, LOG_WARN, "log_dropped", LOG_KV(kv_u64("lines", count)));
    if (write_line(line, len)) {
        return true;
    }
    atomic_fetch_add_explicit(&state.dropped, count, memory_order_relaxed);
    return false;
}

void log_event(enum log_level level, const char *event, const struct log_kv *kv)
{
    if (!log_is_on(level)) {
        return;
    }
    int saved_errno = errno;
    uint8_t line[LINE_CAP];
    size_t len = format_line(line, level, event, kv);
    if (!report_dropped() || !write_line(line, len)) {
        atomic_fetch_add_explicit(&state.dropped, 1, memory_order_relaxed);
    }
    errno = saved_errno;
}

bool log_limit_take(struct log_limit *l, int64_t now_ms, uint64_t *suppressed)
{
    *suppressed = 0;
    if (l->rate == 0) {
        return true; /* no limit */
    }
    double burst = 2.0 * l->rate;
    if (l->last_ms == 0) {
        l->tokens = burst; /* the first use */
    } else if (now_ms > l->last_ms) {
        l->tokens += (double)(now_ms - l->last_ms) * l->rate / 1000.0;
        l->tokens = l->tokens > burst ? burst : l->tokens;
    }
    l->last_ms = now_ms > 0 ? now_ms : 1;
    if (l->tokens < 1.0) {
        l->refused++;
        return false;
    }
    l->tokens -= 1.0;
    *suppressed = l->refused;
    l->refused = 0;
    return true;
}
