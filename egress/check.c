/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"
#include "egress/printed.h"

#include "common/base/json.h"
#include "common/base/shown.h"
#include "common/policy/policy_files.h"
#include "common/run/exit_status.h"
#include "common/run/policy_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "openshell-egress check"
#define STATUS_CLEAN 0
#define STATUS_ERRORS 1
#define STATUS_USAGE 2
#define JSON_MAX_BYTES ((size_t)256 << 20) /* above a thousand findings, each with the longest line */

static void check_usage(FILE *out)
{
    (void)fprintf(out,
                  "usage: openshell-egress check [--format text|json] [--] FILE|DIRECTORY|-...\n"
                  "Loads the policy files together, as the daemons would, and lists every problem, and what\n"
                  "is likely to be one. The file - is standard input.\n"
                  "Exit status: 0 no errors, 1 errors, 2 usage.\n");
}

struct check_options {
    bool is_help;
    bool has_format;
    bool is_json;
    int first; /* argument that is a file */
};

static int refuse(const char *what, const char *argument)
{
    (void)fprintf(stderr, "openshell-egress check: %s%s\n", argument, what);
    check_usage(stderr);
    return -EINVAL;
}

/* "--format text", "--format=json" */
static int read_format(struct check_options *o, int argc, char **argv)
{
    const char *equals = strchr(argv[o->first], '=');
    const char *format = equals != NULL ? equals + 1 : o->first + 1 < argc ? argv[o->first + 1] : NULL;
    if (format == NULL || (strcmp(format, "text") != 0 && strcmp(format, "json") != 0)) {
        return refuse(": text or json", "--format");
    }
    if (o->has_format) {
        return refuse(": given twice", "--format");
    }
    o->has_format = true;
    o->is_json = strcmp(format, "json") == 0;
    o->first += equals != NULL ? 1 : 2;
    return 0;
}

static int read_options(struct check_options *o, int argc, char **argv)
{
    *o = (struct check_options){.first = 1};
    int rc = 0;
    while (rc == 0 && o->first < argc && argv[o->first][0] == '-' && argv[o->first][1] != '\0') {
        const char *argument = argv[o->first];
        if (strcmp(argument, "--") == 0) {
            o->first++;
            break;
        }
        if (strcmp(argument, "--help") == 0) {
            o->is_help = true;
            return 0;
        }
        bool is_format = strcmp(argument, "--format") == 0 || strncmp(argument, "--format=", 9) == 0;
        rc = is_format ? read_format(o, argc, argv) : refuse(": no such option", shown_clean(argv[o->first]));
    }
    if (rc == 0 && o->first >= argc) {
        return refuse("no file is given", "");
    }
    for (int i = o->first; rc == 0 && i < argc; i++) {
        rc = argv[i][0] != '\0'
                 ? 0
                 : refuse("an empty FILE: name a policy file or a directory, as policy.yaml, or - "
                          "for standard input",
                          "");
    }
    return rc;
}

static void count_endpoints(const struct policy_check *c, size_t *rules, size_t *endpoints)
{
    const struct policy_rules *r = c->policy == NULL ? NULL : policy_rules_of(c->policy);
    *rules = r == NULL ? 0 : r->rule_count;
    *endpoints = 0;
    for (size_t i = 0; i < *rules; i++) {
        *endpoints += r->rules[i].endpoint_count;
    }
}

static void print_text(const struct policy_check *c)
{
    size_t rules;
    size_t endpoints;
    count_endpoints(c, &rules, &endpoints);
    policy_report_print(&c->diags);
    if (c->policy != NULL) {
        (void)printf("%zu rules, %zu endpoints: ", rules, endpoints);
    }
    (void)printf("%zu errors, %zu warnings\n", c->diags.error_count, c->diags.warning_count);
}

static void write_diag(struct json *j, const struct policy_diag *d)
{
    json_object(j, NULL);
    json_str(j, "severity", d->severity == DIAG_ERROR ? "error" : "warning");
    json_str(j, "file", d->file);
    json_u64(j, "line", d->line);
    json_u64(j, "column", d->line == 0 ? 0 : d->col);
    json_u64(j, "length", d->line == 0 ? 0 : d->len);
    json_str(j, "message", d->message);
    json_str(j, "hint", d->hint);
    json_str(j, "source", d->source_line);
    json_end(j);
}

static int print_json(const struct policy_check *c)
{
    struct json j = {.limit = JSON_MAX_BYTES};
    struct span text;
    size_t rules;
    size_t endpoints;
    count_endpoints(c, &rules, &endpoints);
    json_object(&j, NULL);
    json_array(&j, "files");
    for (size_t i = 0; i < c->texts.count; i++) {
        json_str(&j, NULL, c->texts.items[i].file);
    }
    json_end(&j);
    json_u64(&j, "rules", rules);
    json_u64(&j, "endpoints", endpoints);
    json_u64(&j, "errors", c->diags.error_count);
    json_u64(&j, "warnings", c->diags.warning_count);
    json_array(&j, "diagnostics");
    for (size_t i = 0; i < c->diags.count; i++) {
        write_diag(&j, &c->diags.items[i]);
    }
    json_end(&j);
    json_end(&j);
    int rc = json_finish(&j, &text);
    if (rc == 0 && fwrite(text.data, 1, text.len, stdout) != text.len) {
        rc = -EIO;
    }
    json_fini(&j);
    return rc;
}

int command_check(int argc, char **argv)
{
    struct check_options options;
    if (read_options(&options, argc, argv) != 0) {
        return STATUS_USAGE;
    }
    if (options.is_help) {
        check_usage(stdout);
        return printed(PROGRAM, STATUS_CLEAN, EXIT_STATUS_OS);
    }
    struct policy_check c;
    int rc = policy_check_files((const char *const *)argv + options.first, (size_t)(argc - options.first),
                                true, &c);
    if (rc == -ENOMEM) {
        (void)fprintf(stderr, "openshell-egress: out of memory\n");
    }
    int print_rc = 0;
    if (options.is_json) {
        print_rc = print_json(&c);
    } else {
        print_text(&c);
    }
    if (print_rc != 0 && ferror(stdout) == 0) { /* else printed() tells */
        (void)fprintf(stderr, PROGRAM ": cannot write the findings: %s\n", strerror(-print_rc));
        rc = print_rc;
    }
    policy_check_fini(&c);
    /* an answer nobody got is no clean bill */
    return printed(PROGRAM, rc == 0 ? STATUS_CLEAN : STATUS_ERRORS, STATUS_ERRORS);
}
