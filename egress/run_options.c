/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/run_options.h"

#include "common/base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* The same default as the daemons have (product contract), not below a build prefix. */
#define DEFAULT_POLICY "/etc/openshell/policy.yaml"

/* What `run` decides itself: a second opinion would break the fence, so it is refused, not ignored. */
static const char *const set_by_run[] = {"listen",   "transparent", "map",   "answer",      "user",
                                         "ready-fd", "check",       "admin", "dump-config", NULL};

void run_options_fini(struct run_options *o)
{
    free(o->policies.items);
    free(o->pools.items);
    free(o->env.items);
    free(o->keep.items);
    daemon_args_fini(&o->daemons);
    *o = (struct run_options){0};
}

static int take_capture(struct cli_option *o, struct cli *c, enum fence_capture *out, struct err *err)
{
    static const char *const words[] = {"auto", "redirect", "anyip"}; /* in the order of the enum */
    int rc = cli_take_once(o, c, err);
    for (size_t i = 0; rc == 0 && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(o->value, words[i]) == 0) {
            *out = (enum fence_capture)i;
            return 0;
        }
    }
    if (rc == 0) {
        err_set(err, "--capture: '%s' is none of auto, redirect and anyip", o->value);
    }
    return -EINVAL;
}

static int take_env(struct cli_option *o, struct cli *c, struct run_options *out, struct err *err)
{
    int rc = cli_take_value(o, c, err);
    if (rc == 0 && (strchr(o->value, '=') == NULL || o->value[0] == '=')) {
        err_set(err, "--env: '%s' is not of the form NAME=VALUE", o->value);
        rc = -EINVAL;
    }
    return rc == 0 ? arg_list_add(&out->env, o->value) : rc;
}

static int take_keep(struct cli_option *o, struct cli *c, struct run_options *out, struct err *err)
{
    int rc = cli_take_value(o, c, err);
    if (rc == 0 && o->value[0] != '/' && !fence_takes_variable(o->value)) {
        err_set(err, "--keep: '%s' is neither an absolute path nor a variable that is taken away", o->value);
        rc = -EINVAL;
    }
    return rc == 0 ? arg_list_add(&out->keep, o->value) : rc;
}

static int take_keep_fd(struct cli_option *o, struct cli *c, struct run_options *out, struct err *err)
{
    uint64_t fd = 0;
    int rc = cli_take_value(o, c, err);
    if (rc != 0) {
        return rc;
    }
    if (num_u64(span_str(o->value), 3, INT32_MAX, &fd) != 0 || fcntl((int)fd, F_GETFD) < 0) {
        err_set(err, "--keep-fd: '%s' is no open descriptor above 2", o->value);
        return -EINVAL;
    }
    if (out->keep_fd_count == RUN_KEEP_FDS_MAX) {
        err_set(err, "--keep-fd: at most %d descriptors", RUN_KEEP_FDS_MAX);
        return -EINVAL;
    }
    out->keep_fds[out->keep_fd_count++] = (int)fd;
    return 0;
}

/* What COMMAND is given of its caller: as own_option(). */
static int command_option(struct run_options *out, struct cli_option *o, struct cli *c, struct err *err)
{
    int rc = 0;
    if (cli_is_named(o, "env")) {
        rc = take_env(o, c, out, err);
    } else if (cli_is_named(o, "keep")) {
        rc = take_keep(o, c, out, err);
    } else if (cli_is_named(o, "keep-fd")) {
        rc = take_keep_fd(o, c, out, err);
    } else if (cli_is_named(o, "as")) {
        rc = cli_take_once(o, c, err);
        out->as = o->value;
    } else {
        return 0;
    }
    return rc == 0 ? 1 : rc;
}

/* An option of run's own: 1 if it was one, 0 if not, -errno. */
static int own_option(struct run_options *out, struct cli *c, struct err *err)
{
    struct cli_option o = cli_option_at(c);
    int rc = 0;
    if (cli_is_named(&o, "help")) {
        out->help = true;
        rc = cli_no_value(&o, err);
    } else if (cli_is_named(&o, "degraded")) {
        out->degraded = true;
        rc = cli_no_value(&o, err);
    } else if (cli_is_named(&o, "summary")) {
        out->summary = true;
        rc = cli_no_value(&o, err);
    } else if (cli_is_named(&o, "policy")) {
        rc = cli_take_value(&o, c, err);
        rc = rc == 0 ? arg_list_add(&out->policies, o.value) : rc;
    } else if (cli_is_named(&o, "pool")) {
        rc = cli_take_value(&o, c, err);
        rc = rc == 0 ? arg_list_add(&out->pools, o.value) : rc;
    } else if (cli_is_named(&o, "log")) {
        rc = cli_take_once(&o, c, err);
        out->log = o.value;
    } else if (cli_is_named(&o, "capture")) {
        rc = take_capture(&o, c, &out->capture, err);
    } else if (cli_is_named(&o, "proxy-env")) {
        rc = cli_take_once(&o, c, err);
        if (rc == 0 && strcmp(o.value, "on") != 0 && strcmp(o.value, "off") != 0) {
            err_set(err, "--proxy-env: '%s' is neither on nor off", o.value);
            rc = -EINVAL;
        }
        out->no_proxy_env = rc == 0 && strcmp(o.value, "off") == 0;
    } else {
        return command_option(out, &o, c, err);
    }
    return rc == 0 ? 1 : rc;
}

/* The level that a daemon will log at, as far as it was said: the option's, else the variable's. */
static const char *level_said(const struct arg_list *args, const char *variable)
{
    static const char option[] = "--log-level";
    const char *level = getenv(variable);
    for (size_t i = 0; i < args->count; i++) {
        const char *rest = strncmp(args->items[i], option, sizeof option - 1) == 0
                               ? args->items[i] + sizeof option - 1
                               : "x";
        if (*rest == '=') {
            level = rest + 1;
        } else if (*rest == '\0' && i + 1 < args->count) {
            level = args->items[++i];
        }
    }
    return level;
}

static int check_summary(const struct run_options *o, struct err *err)
{
    const char *levels[] = {level_said(&o->daemons.dnsd, "OPENSHELL_DNSD_LOG_LEVEL"),
                            level_said(&o->daemons.tunneld, "OPENSHELL_TUNNELD_LOG_LEVEL")};
    for (size_t i = 0; o->summary && i < sizeof levels / sizeof levels[0]; i++) {
        if (levels[i] != NULL && (strcmp(levels[i], "warn") == 0 || strcmp(levels[i], "error") == 0)) {
            err_set(err,
                    "--summary is made from the log, and %s logs at level %s: leave --log-level at info, or "
                    "--summary out",
                    i == 0 ? "openshell-dnsd" : "openshell-tunneld", levels[i]);
            return -EINVAL;
        }
    }
    return 0;
}

int run_options_parse(int argc, char **argv, struct run_options *out, struct err *err)
{
    static const struct daemon_args_spec spec = {
        .command = "run", .refused = set_by_run, .refusal = "is set by run itself; leave it out"};
    *out = (struct run_options){0};
    struct cli c = {.argc = argc, .argv = argv, .at = 1};
    int rc = 0;
    for (; c.at < argc && rc == 0; c.at++) {
        const char *word = argv[c.at];
        if (strcmp(word, "--") == 0) {
            c.at++;
            break;
        }
        if (strncmp(word, "--", 2) != 0) {
            err_set(err, "'%s': put -- before the command to run", word);
            rc = -EINVAL;
            break;
        }
        int own = own_option(out, &c, err);
        rc = own < 0 ? own : own > 0 ? 0 : daemon_args_take(&out->daemons, &spec, &c, err);
    }
    if (rc == 0 && out->policies.count == 0) {
        rc = arg_list_add(&out->policies, DEFAULT_POLICY);
    }
    if (rc == 0 && !out->help && (c.at >= argc || argv[c.at][0] == '\0')) {
        err_set(err, "no command: openshell-egress run [OPTION]... -- COMMAND [ARGUMENT]...");
        rc = -EINVAL;
    }
    out->cmd = argv + c.at;
    rc = rc == 0 ? check_summary(out, err) : rc;
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    if (rc != 0) {
        run_options_fini(out);
    }
    return rc;
}
