/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/policy_report.h"

#include "common/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOGGED_MAX 100

bool policy_report_wants_colour(int fd)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool is_dumb = term == NULL || *term == '\0' || strcmp(term, "dumb") == 0; /* such as an editor's */
    return isatty(fd) == 1 && !is_dumb && (no_colour == NULL || *no_colour == '\0');
}

void policy_report_print(const struct policy_diags *diags)
{
    bool colour = policy_report_wants_colour(STDERR_FILENO);
    for (size_t i = 0; i < diags->count; i++) {
        char *text = policy_diag_text(&diags->items[i], colour);
        fputs(text != NULL ? text : "out of memory\n", stderr);
        free(text);
    }
    if (diags->overflowed) {
        fprintf(stderr, "… and more: %zu errors, %zu warnings in all\n", diags->error_count,
                diags->warning_count);
    }
}

static void log_one(const struct policy_diag *d)
{
    const char *hint = d->hint != NULL ? d->hint : "-";
    bool is_error = d->severity == DIAG_ERROR;
    log_event(is_error ? LOG_ERROR : LOG_WARN, is_error ? "policy_error" : "policy_warning",
              LOG_KV(kv_str("file", d->file), kv_u64("line", d->line), kv_u64("col", d->col),
                     kv_str("message", d->message), kv_str("hint", hint)));
}

void policy_report_log(const struct policy_diags *diags, enum diag_severity severity)
{
    size_t logged = 0;
    for (size_t i = 0; i < diags->count && logged < LOGGED_MAX; i++) {
        if (diags->items[i].severity == severity) {
            log_one(&diags->items[i]);
            logged++;
        }
    }
    size_t total = severity == DIAG_ERROR ? diags->error_count : diags->warning_count;
    if (total > logged) {
        log_event(severity == DIAG_ERROR ? LOG_ERROR : LOG_WARN, "policy_findings_suppressed",
                  LOG_KV(kv_u64("suppressed", total - logged)));
    }
}

void policy_report_changes(const struct policy_changes *changes)
{
    static const char *const events[] = {[POLICY_RULE_ADDED] = "policy_rule_added",
                                         [POLICY_RULE_REMOVED] = "policy_rule_removed",
                                         [POLICY_RULE_CHANGED] = "policy_rule_changed",
                                         [POLICY_EGRESS_CHANGED] = "policy_egress_changed"};
    for (size_t i = 0; i < changes->count; i++) {
        const struct policy_change *c = &changes->items[i];
        const char *what = c->kind == POLICY_EGRESS_CHANGED ? "part" : "rule";
        log_event(LOG_INFO, events[c->kind], LOG_KV(kv_str(what, c->key), kv_str("detail", c->detail)));
    }
    size_t total = changes->added + changes->removed + changes->changed + changes->egress_changed;
    if (total > changes->count) {
        log_event(LOG_INFO, "policy_changes_suppressed",
                  LOG_KV(kv_u64("suppressed", total - changes->count)));
    }
}
