/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemon options on a command line of ours: each goes to the daemon (or daemons) whose settings table has it.
 * Borrows argv. Pure but for memory.
 */
#pragma once

#include "common/base/err.h"
#include "common/run/settings_tables.h"

struct arg_list { /* NULL-terminated once used; strings borrowed or static */
    const char **items;
    size_t count, cap;
};
/* 0 or -ENOMEM */
MUST_CHECK int arg_list_add(struct arg_list *l, const char *item);

struct daemon_args {
    struct arg_list dnsd, tunneld; /* without argv[0] */
};
void daemon_args_fini(struct daemon_args *a);

#define CLI_ONCE_MAX 8 /* options of one command that can be given once */
struct cli {           /* a command line and how far it is read */
    int argc;
    char **argv;
    int at;
    struct span once[CLI_ONCE_MAX]; /* names that cli_take_once has seen */
    size_t once_count;
};
struct cli_option { /* argv[at] without the dashes */
    struct span name;
    const char *value; /* after '=', or NULL */
};
/* argv[at] begins with "--". */
struct cli_option cli_option_at(const struct cli *c);
bool cli_is_named(const struct cli_option *o, const char *name);
/*
 * The value of an option: behind '=', or the next argument, which is then read too. 0, or -EINVAL where there
 * is none, or it is empty or begins or ends with white space; *err says what is wanted.
 */
MUST_CHECK int cli_take_value(struct cli_option *o, struct cli *c, struct err *err);
/* The same of an option of ours that is given once; else -EINVAL. */
MUST_CHECK int cli_take_once(struct cli_option *o, struct cli *c, struct err *err);
MUST_CHECK int cli_no_value(const struct cli_option *o, struct err *err);

/* What a command does with options of the daemons. */
struct daemon_args_spec {
    const char *command;        /* "run" */
    const char *const *refused; /* NULL-terminated */
    const char *refusal;        /* "is set by run itself; leave it out" */
};
/* Gives argv[at], with its value, to whom it belongs. 0; -EINVAL with *err naming the option; -ENOMEM. */
MUST_CHECK int daemon_args_take(struct daemon_args *a, const struct daemon_args_spec *spec, struct cli *c,
                                struct err *err);
