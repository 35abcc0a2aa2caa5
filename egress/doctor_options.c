/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_options.h"

#include "common/base/num.h"
#include "egress/explain_target.h"

#include <errno.h>
#include <stdlib.h>

#define IDLE_DEFAULT_MS 3000
#define IDLE_MAX_MS INT64_C(86400000)
#define WS_PATH_MAX 2048U /* a session's ticket in it may be long */
#define WS_PORT 80U
#define WSS_PORT 443U

void doctor_options_fini(struct doctor_options *o)
{
    free(o->policies.items);
    *o = (struct doctor_options){.help = false};
}

static bool has_scheme(struct span text, struct span scheme)
{
    return span_is_equal_nocase(span_sub(text, 0, scheme.len), scheme);
}

/* Visible ASCII, as a request line has it; no fragment (RFC 6455 3). */
static bool is_ws_path(const char *path)
{
    struct span s = span_str(path);
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] <= ' ' || s.data[i] > '~' || s.data[i] == '#') {
            return false;
        }
    }
    return s.len <= WS_PATH_MAX;
}

/* ws://HOST[:PORT][/PATH] or wss://: *path is borrowed from text, and what is before it goes to authority. */
static int split_url(const char *text, struct doctor_target *t, char *authority, size_t cap, struct err *err)
{
    struct span all = span_str(text);
    bool is_tls = has_scheme(all, SPAN_LIT("wss://"));
    size_t start = is_tls ? sizeof "wss://" - 1 : sizeof "ws://" - 1;
    size_t len = strcspn(text + start, "/?#");
    const char *path = text + start + len;
    if (len >= cap || memchr(text + start, '@', len) != NULL) {
        err_set(err, "'%.80s': type %s://HOST[:PORT]/PATH, without a user", text, is_tls ? "wss" : "ws");
        return -EINVAL;
    }
    if (!is_ws_path(path)) {
        err_set(err, "'%.80s': the path is visible ASCII without \"#\", at most %u bytes", text, WS_PATH_MAX);
        return -EINVAL;
    }
    memcpy(authority, text + start, len);
    authority[len] = '\0';
    t->websocket = is_tls ? DOCTOR_WEBSOCKET_TLS : DOCTOR_WEBSOCKET_PLAIN;
    t->ws_path = path;
    return 0;
}

static int take_target(struct doctor_options *out, const char *text, struct err *err)
{
    struct explain_target parsed;
    struct doctor_target t = {.port = 0};
    char authority[HOST_TEXT_CAP + 8];
    if (has_scheme(span_str(text), SPAN_LIT("ws://")) || has_scheme(span_str(text), SPAN_LIT("wss://"))) {
        int bad = split_url(text, &t, authority, sizeof authority, err);
        if (bad != 0) {
            return bad;
        }
        text = authority;
    }
    int rc = explain_target_parse(text, &parsed, err);
    if (rc != 0) {
        return rc;
    }
    if (parsed.fault != HOST_FAULT_NONE) {
        err_set(err, "'%.200s' is no host: %s", text, host_fault_text(parsed.fault));
        return -EINVAL;
    }
    if (out->target_count >= DOCTOR_TARGETS_MAX) {
        err_set(err, "'%.200s': at most %d targets", text, DOCTOR_TARGETS_MAX);
        return -EINVAL;
    }
    t.host = parsed.host;
    t.port = parsed.port;
    if (t.port == 0 && t.websocket != DOCTOR_WEBSOCKET_NONE) {
        t.port = t.websocket == DOCTOR_WEBSOCKET_TLS ? WSS_PORT : WS_PORT;
    }
    out->targets[out->target_count++] = t;
    return 0;
}

static int take_idle(struct doctor_options *out, const char *value, struct err *err)
{
    if (num_duration_ms(span_str(value), &out->idle_ms) != 0 || out->idle_ms > IDLE_MAX_MS) {
        err_set(err, "--idle: '%.80s' is no duration (250ms, 10s, 5m, at most 1d; 0: no such test)", value);
        return -EINVAL;
    }
    return 0;
}

static int take_format(struct doctor_options *out, const char *value, struct err *err)
{
    out->is_json = strcmp(value, "json") == 0;
    if (!out->is_json && strcmp(value, "text") != 0) {
        err_set(err, "--format: '%.80s' is neither text nor json", value);
        return -EINVAL;
    }
    return 0;
}

static int take_option(struct doctor_options *out, struct cli *c, struct err *err)
{
    struct cli_option o = cli_option_at(c);
    if (cli_is_named(&o, "help")) {
        out->help = true;
        return cli_no_value(&o, err);
    }
    bool is_known = cli_is_named(&o, "policy") || cli_is_named(&o, "proxy") || cli_is_named(&o, "idle") ||
                    cli_is_named(&o, "format");
    if (!is_known) {
        err_set(err, "'%.80s': no such option", c->argv[c->at]);
        return -EINVAL;
    }
    int rc = cli_is_named(&o, "policy") ? cli_take_value(&o, c, err) : cli_take_once(&o, c, err);
    if (rc != 0) {
        return rc;
    }
    if (cli_is_named(&o, "policy")) {
        return arg_list_add(&out->policies, o.value);
    }
    if (cli_is_named(&o, "proxy")) {
        out->proxy = o.value;
        return 0;
    }
    return cli_is_named(&o, "idle") ? take_idle(out, o.value, err) : take_format(out, o.value, err);
}

int doctor_options_parse(int argc, char **argv, struct doctor_options *out, struct err *err)
{
    struct cli c = {.argc = argc, .argv = argv, .at = 1};
    bool has_ended = false;
    int rc = 0;
    *out = (struct doctor_options){.idle_ms = IDLE_DEFAULT_MS};
    for (; rc == 0 && c.at < argc; c.at++) {
        if (!has_ended && strcmp(argv[c.at], "--") == 0) {
            has_ended = true;
        } else if (has_ended || argv[c.at][0] != '-') {
            rc = take_target(out, argv[c.at], err);
        } else if (argv[c.at][1] != '-') {
            err_set(err, "'%.80s': options begin with --", argv[c.at]);
            rc = -EINVAL;
        } else {
            rc = take_option(out, &c, err);
        }
    }
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    if (rc != 0) {
        doctor_options_fini(out);
    }
    return rc;
}
