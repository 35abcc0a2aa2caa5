/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/settings_value.h"

#include "common/base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <strings.h>

/* Cuts what a message quotes, so that a long value cannot push the explanation out. */
#define QUOTE "\"%.80s\""

static void *field(const struct setting *row, void *settings)
{
    return (char *)settings + row->offset;
}

static const void *field_const(const struct setting *row, const void *settings)
{
    return (const char *)settings + row->offset;
}

void settings_value_unset(const struct setting *row, void *settings)
{
    void *at = field(row, settings);
    switch (row->kind) {
    case SETTING_DURATION:
    case SETTING_USER_TIMEOUT:
        *(int64_t *)at = TIMER_UNSET;
        break;
    case SETTING_KEEPALIVE:
        *(struct tunnel_keepalive *)at = (struct tunnel_keepalive){.mode = KEEPALIVE_UNSET};
        break;
    case SETTING_FLAG:
    case SETTING_STRING:
    case SETTING_LIST:
    case SETTING_DURATION_S:
    case SETTING_SIZE:
    case SETTING_NUMBER:
    case SETTING_CHOICE:
        break; /* the caller zeroed them */
    }
}

static int set_flag(const char *text, bool *out, struct err *err)
{
    static const char *const yes[] = {"1", "true", "yes"};
    static const char *const no[] = {"0", "false", "no"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *out = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    err_set(err, QUOTE " is neither true nor false", text);
    return -EINVAL;
}

static int parse_duration(struct span s, int64_t *out, struct err *err)
{
    int rc = num_duration_ms(s, out);
    if (rc == -ERANGE) {
        err_set(err, "\"%.*s\" is longer than 365d", (int)(s.len > 80 ? 80 : s.len), (const char *)s.data);
    } else if (rc < 0) {
        err_set(err, "\"%.*s\" is not a duration (write 250ms, 10s, 5m, 1h, 2d or 0)",
                (int)(s.len > 80 ? 80 : s.len), (const char *)s.data);
    }
    return rc < 0 ? -EINVAL : 0;
}

static int parse_seconds(struct span s, uint32_t min_s, uint32_t max_s, uint32_t *out, struct err *err)
{
    int64_t ms = 0;
    int rc = num_duration_ms(s, &ms);
    if (rc == -ERANGE) {
        ms = INT64_MAX / 1000 * 1000;
    } else if (rc < 0) {
        return parse_duration(s, &ms, err);
    }
    if (ms % 1000 != 0) {
        err_set(err, "\"%.*s\" is not a whole number of seconds", (int)(s.len > 80 ? 80 : s.len),
                (const char *)s.data);
        return -EINVAL;
    }
    if (ms / 1000 < min_s || ms / 1000 > max_s) {
        char low[32], high[32];
        err_set(err, "\"%.*s\" is outside %s..%s", (int)(s.len > 80 ? 80 : s.len), (const char *)s.data,
                num_duration_text((int64_t)min_s * 1000, low, sizeof(low)),
                num_duration_text((int64_t)max_s * 1000, high, sizeof(high)));
        return -EINVAL;
    }
    *out = (uint32_t)(ms / 1000);
    return 0;
}

static void size_text(uint64_t bytes, struct wbuf *out)
{
    static const char *const unit[] = {"", "KiB", "MiB", "GiB"};
    size_t i = 0;
    while (i < 3 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    wbuf_printf(out, "%" PRIu64 "%s", bytes, unit[i]);
}

static int set_size(const struct setting *row, const char *text, uint64_t *out, struct err *err)
{
    const uint64_t min = (uint64_t)row->min * 1024, max = (uint64_t)row->max * 1024;
    uint64_t bytes = 0;
    int rc = num_size_bytes(span_str(text), &bytes);
    if (rc == -EINVAL) {
        err_set(err, QUOTE " is not a size (write 65536, 64KiB, 10MiB or 1GiB)", text);
        return -EINVAL;
    }
    if (rc < 0 || bytes > max || (bytes < min && bytes != 0)) {
        char bounds[64];
        struct wbuf w = wbuf_make(bounds, sizeof(bounds));
        size_text(min, &w);
        wbuf_str(&w, "..");
        size_text(max, &w);
        err_set(err, QUOTE " is outside %.*s, and not 0", text, (int)w.len, bounds);
        return -EINVAL;
    }
    *out = bytes;
    return 0;
}

static int set_number(const struct setting *row, const char *text, uint32_t *out, struct err *err)
{
    uint64_t n = 0;
    if (num_u64(span_str(text), row->min, row->max, &n) < 0) {
        err_set(err, QUOTE " is not a number from %" PRIu32 " to %" PRIu32, text, row->min, row->max);
        return -EINVAL;
    }
    *out = (uint32_t)n;
    return 0;
}

static int set_choice(const struct setting *row, const char *text, int *out, struct err *err)
{
    char known[160];
    struct wbuf w = wbuf_make(known, sizeof(known));
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(text, row->choices[i]) == 0) {
            *out = i;
            return 0;
        }
        wbuf_printf(&w, "%s%s", i == 0 ? "" : ", ", row->choices[i]);
    }
    err_set(err, QUOTE " is none of: %.*s", text, (int)w.len, known);
    return -EINVAL;
}

/* IDLE,INTERVAL,PROBES: the ranges are the kernel's (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT). */
static int set_keepalive(const char *text, struct tunnel_keepalive *out, struct err *err)
{
    if (strcmp(text, "off") == 0) {
        *out = (struct tunnel_keepalive){.mode = KEEPALIVE_OFF};
        return 0;
    }
    struct span s = span_str(text);
    struct span part[3];
    for (size_t i = 0; i < 3; i++) {
        size_t comma = span_find(s, ',');
        if ((i < 2) != (comma < s.len)) {
            err_set(err, QUOTE " is neither IDLE,INTERVAL,PROBES (as 60s,15s,4) nor off", text);
            return -EINVAL;
        }
        part[i] = span_sub(s, 0, comma);
        s = span_sub(s, comma + 1, s.len);
    }
    uint32_t idle = 0, interval = 0;
    uint64_t probes = 0;
    if (parse_seconds(part[0], 1, 32767, &idle, err) < 0 ||
        parse_seconds(part[1], 1, 32767, &interval, err) < 0) {
        return -EINVAL;
    }
    if (num_u64(part[2], 1, 127, &probes) < 0) {
        err_set(err, QUOTE ": the number of probes is not from 1 to 127", text);
        return -EINVAL;
    }
    *out = (struct tunnel_keepalive){.mode = KEEPALIVE_ON,
                                     .idle_s = (uint16_t)idle,
                                     .interval_s = (uint16_t)interval,
                                     .probes = (uint8_t)probes};
    return 0;
}

static int set_user_timeout(const char *text, int64_t *out, struct err *err)
{
    if (strcmp(text, "auto") == 0) {
        *out = TIMER_AUTO;
        return 0;
    }
    int64_t ms = 0;
    int rc = parse_duration(span_str(text), &ms, err);
    if (rc == 0 && ms > INT_MAX) { /* TCP_USER_TIMEOUT is an int of milliseconds */
        err_set(err, QUOTE " is longer than 24d, the kernel's limit", text);
        rc = -EINVAL;
    }
    if (rc == 0) {
        *out = ms;
    }
    return rc;
}

/* What no value of any kind can be: a variable of a script that is not set, a quote too far to one side. */
static int check_ends(const struct setting *row, const char *text, struct err *err)
{
    static const char space[] = " \t\r\n\v\f";
    size_t len = strlen(text);
    if (text[strspn(text, space)] == '\0') {
        char arg[64] = "true or false";
        struct wbuf w = wbuf_make(arg, sizeof(arg) - 1);
        if (row->kind != SETTING_FLAG) {
            settings_arg_text(row, &w);
            arg[w.len] = '\0';
        }
        err_set(err, "the value is empty, and %s is wanted", arg);
        return -EINVAL;
    }
    const bool at_start = strchr(space, text[0]) != NULL;
    if (at_start || strchr(space, text[len - 1]) != NULL) {
        err_set(err, QUOTE " %s with white space: leave that out", text, at_start ? "begins" : "ends");
        return -EINVAL;
    }
    return 0;
}

int settings_value_set(struct settings_arena *a, const struct setting *row, void *settings, const char *text,
                       struct err *err)
{
    void *at = field(row, settings);
    int rc = check_ends(row, text, err);
    if (rc < 0) {
        return rc;
    }
    switch (row->kind) {
    case SETTING_FLAG:
        return set_flag(text, at, err);
    case SETTING_STRING: {
        char *copy = settings_keep(a, text, strlen(text));
        if (copy == NULL) {
            return -ENOMEM;
        }
        *(const char **)at = copy;
        return 0;
    }
    case SETTING_LIST:
        return settings_list_add(a, at, text, strlen(text));
    case SETTING_DURATION:
        return parse_duration(span_str(text), at, err);
    case SETTING_DURATION_S:
        return parse_seconds(span_str(text), row->min, row->max, at, err);
    case SETTING_SIZE:
        return set_size(row, text, at, err);
    case SETTING_NUMBER:
        return set_number(row, text, at, err);
    case SETTING_CHOICE:
        return set_choice(row, text, at, err);
    case SETTING_KEEPALIVE:
        return set_keepalive(text, at, err);
    case SETTING_USER_TIMEOUT:
        return set_user_timeout(text, at, err);
    }
    return -EINVAL;
}

static void duration_text(int64_t ms, struct wbuf *out)
{
    char text[32];
    if (ms == TIMER_UNSET) {
        wbuf_str(out, "(unset)");
    } else if (ms == TIMER_AUTO) {
        wbuf_str(out, "auto");
    } else {
        wbuf_str(out, num_duration_text(ms, text, sizeof(text)));
    }
}

static void keepalive_text(const struct tunnel_keepalive *k, struct wbuf *out)
{
    switch (k->mode) {
    case KEEPALIVE_UNSET:
        wbuf_str(out, "(unset)");
        break;
    case KEEPALIVE_OFF:
        wbuf_str(out, "off");
        break;
    case KEEPALIVE_ON:
        duration_text((int64_t)k->idle_s * 1000, out);
        wbuf_str(out, ",");
        duration_text((int64_t)k->interval_s * 1000, out);
        wbuf_printf(out, ",%u", k->probes);
        break;
    }
}

static void list_text(const struct str_list *list, struct wbuf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        wbuf_str(out, i == 0 ? "" : " ");
        wbuf_str(out, list->items[i]);
    }
    if (list->count == 0) {
        wbuf_str(out, "(unset)");
    }
}

void settings_value_text(const struct setting *row, const void *settings, struct wbuf *out)
{
    const void *at = field_const(row, settings);
    switch (row->kind) {
    case SETTING_FLAG:
        wbuf_str(out, *(const bool *)at ? "true" : "false");
        break;
    case SETTING_STRING: {
        const char *s = *(const char *const *)at;
        wbuf_str(out, s != NULL ? s : "(unset)");
        break;
    }
    case SETTING_LIST:
        list_text(at, out);
        break;
    case SETTING_DURATION:
    case SETTING_USER_TIMEOUT:
        duration_text(*(const int64_t *)at, out);
        break;
    case SETTING_DURATION_S:
        duration_text((int64_t) * (const uint32_t *)at * 1000, out);
        break;
    case SETTING_SIZE:
        size_text(*(const uint64_t *)at, out);
        break;
    case SETTING_NUMBER:
        wbuf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case SETTING_CHOICE:
        wbuf_str(out, row->choices[*(const int *)at]);
        break;
    case SETTING_KEEPALIVE:
        keepalive_text(at, out);
        break;
    }
}
