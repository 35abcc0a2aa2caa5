/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_options.h"

#include "common/base/num.h"
#include "egress/explain_target.h"

#include <errno.h>
#include <stdlib.h>

#define IDLE_DEFAULT_MS 3000
#define IDLE_MAX_MS INT64_C(86400000)

void doctor_options_fini(struct doctor_options *o)
{
    free(o->policies.items);
    *o = (struct doctor_options){.help = false};
}

static int take_target(struct doctor_options *out, const char *text, struct err *err)
{
    struct explain_target parsed;
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
    out->targets[out->target_count++] = (struct doctor_target){.host = parsed.host, .port = parsed.port};
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
    int rc = cli_take_value(&o, c, err);
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
