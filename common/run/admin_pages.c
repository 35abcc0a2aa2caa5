/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/admin_pages.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define PAGE_MAX ((size_t)512 * 1024) /* bytes of a body */
#define LINE_CAP 1024U
#define TIME_CAP 24U /* "2026-11-24T03:45:25Z" */

/* Text that grows; the first failure is kept. */
struct text {
    struct buf *out;
    int rc;
};

static void say(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *fmt, ...)
{
    char line[LINE_CAP];
    va_list ap;
    if (t->rc != 0) {
        return;
    }
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    t->rc = CHECK(n >= 0 && (size_t)n < sizeof line)
                ? buf_append(t->out, span_make(line, (size_t)n), PAGE_MAX)
                : -E2BIG;
}

/* RFC 3339 UTC, or NULL for never. */
static const char *time_text(int64_t wall_s, char text[TIME_CAP])
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    if (wall_s == 0 || gmtime_r(&t, &tm) == NULL ||
        strftime(text, TIME_CAP, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        return NULL;
    }
    return text;
}

/* ---- /healthz and /readyz ---- */

static int write_healthz(struct admin_reply *out)
{
    struct text t = {.out = &out->body};
    say(&t, "ok\n");
    return t.rc;
}

/* A refused reload takes nothing out of rotation: what is served is still the last good policy. */
static int write_readyz(const struct admin_facts *f, struct admin_reply *out)
{
    const struct policy_health *h = f->health;
    struct text t = {.out = &out->body};
    out->status = f->is_draining ? 503 : 200;
    say(&t, f->is_draining ? "draining\n" : "ready\n");
    if (h->is_stale) {
        char since[TIME_CAP], refused[TIME_CAP];
        const char *a = time_text(h->loaded_wall_s, since), *b = time_text(h->failed_wall_s, refused);
        out->is_stale = true;
        say(&t, "policy stale: generation %ju in use since %s, a newer one refused at %s: %s\n",
            (uintmax_t)h->generation, a != NULL ? a : "-", b != NULL ? b : "-", h->error);
    }
    return t.rc;
}

/* ---- /status ---- */

static void status_policy(const struct admin_facts *f, struct json *j)
{
    const struct policy_health *h = f->health;
    char text[TIME_CAP];
    json_object(j, "policy");
    json_u64(j, "generation", h->generation);
    json_u64(j, "rules", h->rules);
    json_u64(j, "endpoints", h->endpoints);
    json_str(j, "loaded_at", time_text(h->loaded_wall_s, text));
    json_bool(j, "stale", h->is_stale);
    json_u64(j, "failures", h->failures);
    json_str(j, "failed_at", time_text(h->failed_wall_s, text));
    json_u64(j, "error_count", h->error_count);
    json_str(j, "error", h->is_stale ? h->error : NULL);
    json_array(j, "files");
    for (size_t i = 0; i < f->file_count; i++) {
        json_str(j, NULL, f->files[i]);
    }
    json_end(j);
    json_end(j);
}

/* Those that a daemon here may ever keep have names, the rest numbers. */
static void status_capabilities(uint64_t held, struct json *j)
{
    static const char *const names[64] = {[CAP_NET_BIND_SERVICE] = "net_bind_service",
                                          [CAP_SYS_PTRACE] = "sys_ptrace",
                                          [CAP_NET_ADMIN] = "net_admin"};
    json_array(j, "capabilities");
    for (unsigned i = 0; i < 64; i++) {
        char number[16];
        (void)snprintf(number, sizeof number, "%u", i);
        if ((held >> i & 1) != 0) {
            json_str(j, NULL, names[i] != NULL ? names[i] : number);
        }
    }
    json_end(j);
}

static void status_counters(const struct admin_facts *f, const char *key, enum metrics_kind kind,
                            struct json *j)
{
    json_object(j, key);
    for (size_t i = 0; i < f->counter_count; i++) {
        if (f->counters[i].kind == kind) {
            json_u64(j, f->counters[i].name, f->values[i]);
        }
    }
    json_end(j);
}

static int write_status(const struct admin_facts *f, struct admin_reply *out)
{
    struct json j = {.limit = PAGE_MAX};
    struct span text;
    out->type = "application/json";
    json_object(&j, NULL);
    json_str(&j, "program", f->program);
    json_str(&j, "version", PACKAGE_VERSION);
    json_i64(&j, "pid", f->pid);
    json_i64(&j, "uptime_s", f->uptime_s);
    json_str(&j, "state", f->is_draining ? "draining" : "ready");
    json_u64(&j, "workers", f->workers);
    json_str(&j, "admin", f->listen);
    status_policy(f, &j);
    status_capabilities(f->capabilities, &j);
    status_counters(f, "counters", METRICS_COUNTER, &j);
    status_counters(f, "gauges", METRICS_GAUGE, &j);
    if (f->status != NULL) {
        f->status(f->ctx, &j);
    }
    json_end(&j);
    int rc = json_finish(&j, &text);
    rc = rc == 0 ? buf_append(&out->body, text, PAGE_MAX) : rc;
    json_fini(&j);
    return rc;
}

/* ---- /metrics: Prometheus text format 0.0.4 ---- */

struct sample {
    const char *name; /* behind the program's prefix */
    enum metrics_kind kind;
    const char *help, *labels;
    uint64_t value;
};

static void say_sample(struct text *t, const char *prefix, const struct sample *s)
{
    const char *suffix = s->kind == METRICS_COUNTER ? "_total" : "";
    const char *type = s->kind == METRICS_COUNTER ? "counter" : "gauge";
    say(t, "# HELP %s_%s%s %s.\n# TYPE %s_%s%s %s\n%s_%s%s%s %ju\n", prefix, s->name, suffix, s->help, prefix,
        s->name, suffix, type, prefix, s->name, suffix, s->labels, (uintmax_t)s->value);
}

static int write_metrics(const struct admin_facts *f, struct admin_reply *out)
{
    const struct policy_health *h = f->health;
    struct text t = {.out = &out->body};
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "%s", f->program);
    for (char *c = prefix; *c != '\0'; c++) {
        *c = *c == '-' ? '_' : *c;
    }
    const struct sample own[] = {
        {"build_info", METRICS_GAUGE, "Which build this is; always 1", "{version=\"" PACKAGE_VERSION "\"}",
         1},
        {"uptime_seconds", METRICS_GAUGE, "Since this process began to serve", "", (uint64_t)f->uptime_s},
        {"draining", METRICS_GAUGE, "1 after it was asked to stop", "", f->is_draining ? 1 : 0},
        {"policy_generation", METRICS_GAUGE, "The policy in use by every worker", "", h->generation},
        {"policy_rules", METRICS_GAUGE, "Rules of that policy", "", h->rules},
        {"policy_endpoints", METRICS_GAUGE, "Endpoints of that policy", "", h->endpoints},
        {"policy_loaded_timestamp_seconds", METRICS_GAUGE, "When that policy came into use, since 1970", "",
         (uint64_t)h->loaded_wall_s},
        {"policy_stale", METRICS_GAUGE, "1 while a newer policy is refused and the last good one stays", "",
         h->is_stale ? 1 : 0},
        {"policy_reload_failures", METRICS_COUNTER, "Reloads of the policy that were refused", "",
         h->failures},
    };
    out->type = "text/plain; version=0.0.4; charset=utf-8";
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        say_sample(&t, prefix, &own[i]);
    }
    for (size_t i = 0; i < f->counter_count; i++) {
        const struct metrics_info *c = &f->counters[i];
        const struct sample s = {c->name, c->kind, c->help, "", f->values[i]};
        say_sample(&t, prefix, &s);
    }
    return t.rc;
}

int admin_pages_write(const struct admin_facts *f, enum admin_page page, struct admin_reply *out)
{
    out->status = 200;
    out->type = "text/plain; charset=utf-8";
    switch (page) {
    case ADMIN_PAGE_HEALTHZ:
        return write_healthz(out);
    case ADMIN_PAGE_READYZ:
        return write_readyz(f, out);
    case ADMIN_PAGE_STATUS:
        return write_status(f, out);
    case ADMIN_PAGE_METRICS:
        return write_metrics(f, out);
    case ADMIN_PAGE_NONE:
        break;
    }
    return -EINVAL;
}
