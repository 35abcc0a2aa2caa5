/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event per line on standard error (or the fd given): text "TIME LEVEL program event key=value …" or
 * JSON. Values from peers are escaped and cut at 256 bytes. Lines are written with one write(2), without
 * blocking for long: if the descriptor would block the line is dropped and counted, and the count is logged
 * when there is room. The only mutable file-scope state of base. Any thread. Pure code never logs.
 *
 *   log_event(LOG_WARN, "tunnel_close", LOG_KV(kv_str("reason", r), kv_u64("bytes_up", n)));
 */
#pragma once

#include "common/base/host_name.h"

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT = 0, LOG_JSON };

enum log_kind {
    LOG_KIND_END = 0,
    LOG_KIND_STR,
    LOG_KIND_SPAN,
    LOG_KIND_U64,
    LOG_KIND_I64,
    LOG_KIND_IP,
    LOG_KIND_BOOL
};

struct log_kv {
    const char *key;
    enum log_kind kind;
    union {
        const char *str;
        struct span span;
        uint64_t u64;
        int64_t i64;
        const struct ip *ip;
        bool flag;
    } v;
};

static inline struct log_kv kv_str(const char *key, const char *s)
{
    return (struct log_kv){.key = key, .kind = LOG_KIND_STR, .v.str = s};
}
static inline struct log_kv kv_span(const char *key, struct span s)
{
    return (struct log_kv){.key = key, .kind = LOG_KIND_SPAN, .v.span = s};
}
static inline struct log_kv kv_u64(const char *key, uint64_t n)
{
    return (struct log_kv){.key = key, .kind = LOG_KIND_U64, .v.u64 = n};
}
static inline struct log_kv kv_i64(const char *key, int64_t n)
{
    return (struct log_kv){.key = key, .kind = LOG_KIND_I64, .v.i64 = n};
}
static inline struct log_kv kv_ip(const char *key, const struct ip *a)
{
    return (struct log_kv){.key = key, .kind = LOG_KIND_IP, .v.ip = a};
}
static inline struct log_kv kv_name(const char *key, const struct host_name *n)
{
    return kv_span(key, host_name_span(n));
}
static inline struct log_kv kv_bool(const char *key, bool b)
{
    return (struct log_kv){.key = key, .kind = LOG_KIND_BOOL, .v.flag = b};
}

#define LOG_KV(...) ((const struct log_kv[]){__VA_ARGS__, {.key = NULL, .kind = LOG_KIND_END, .v.u64 = 0}})

/* Before threads start. program is kept (a string literal). Default: LOG_INFO, LOG_TEXT, fd 2. */
void log_init(const char *program, enum log_level level, enum log_format format, int fd);
bool log_is_on(enum log_level level);
void log_event(enum log_level level, const char *event, const struct log_kv *kv); /* kv may be NULL */

/*
 * A token bucket for one kind of event: log_limit_take() is true while the bucket has tokens; when it refills
 * after refusing, it returns true and *suppressed is how many were refused (log them as suppressed=N). Owner:
 * the caller, one per worker; not thread-safe. rate per second, burst = 2 x rate.
 */
struct log_limit {
    uint32_t rate;
    double tokens;
    int64_t last_ms;
    uint64_t refused;
};
bool log_limit_take(struct log_limit *l, int64_t now_ms, uint64_t *suppressed);
