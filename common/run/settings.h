/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table row per setting feeds the command line, the environment, the default, --help, --dump-config and
 * the test that the man page mentions it. A setting is --NAME (also --NAME=VALUE), PREFIX_NAME in the
 * environment (upper case,
 * '-' as '_'; lists separated by white space), and its default. Option beats environment beats default. An
 * option given twice (unless a list), an unknown option, a bad value (also one that is empty, or begins or
 * ends with white space) and a stray argument are usage errors naming the option. An empty environment
 * variable counts as not set.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/policy/timers.h"

struct str_list {
    const char **items; /* NULL-terminated; owned array, strings owned by the settings */
    size_t count;
};

enum setting_kind {
    SETTING_FLAG = 0,    /* bool; --NAME, or environment 1/0/true/false/yes/no */
    SETTING_STRING,      /* const char * (NULL if unset) */
    SETTING_LIST,        /* struct str_list */
    SETTING_DURATION,    /* int64_t milliseconds */
    SETTING_DURATION_S,  /* uint32_t whole seconds, written as a duration */
    SETTING_SIZE,        /* uint64_t bytes */
    SETTING_NUMBER,      /* uint32_t within min..max */
    SETTING_CHOICE,      /* int: index into choices */
    SETTING_KEEPALIVE,   /* struct tunnel_keepalive: IDLE,INTERVAL,PROBES (durations) or off */
    SETTING_USER_TIMEOUT /* int64_t: duration or "auto" (TIMER_AUTO) */
};

struct setting {
    const char *name; /* "idle-timeout"; NULL ends a table */
    enum setting_kind kind;
    size_t offset;        /* into the settings struct */
    const char *fallback; /* default as text; NULL = unset (TIMER_UNSET, KEEPALIVE_UNSET, NULL, empty) */
    const char *arg;      /* "DURATION", "ADDR[:PORT]", … for --help */
    const char *help;     /* one line */
    const char *const *choices; /* NULL-terminated, for SETTING_CHOICE */
    uint32_t min, max;          /* for SETTING_NUMBER, SETTING_DURATION_S (seconds) and SETTING_SIZE (KiB;
                                   0 is taken whatever min is) */
    bool
        option_only; /* not read from the environment (an image's own PREFIX_VERSION must not stop a start) */
    const char *(*derive)(
        void); /* a further source below the own variable; returns NULL if it says nothing */
};

struct settings_arena; /* owns every string */

enum settings_origin { ORIGIN_DEFAULT = 0, ORIGIN_ENVIRONMENT, ORIGIN_OPTION };

/*
 * Reads defaults, environment and argv[1..] into *out (a settings struct, zeroed by the caller). 0, or
 * -EINVAL with *err naming the option or variable, or -ENOMEM. *arena is to be freed with settings_free after
 * the last use, also after a failure. stop_at_dashes: "--" ends the options and *rest (may be NULL) is the
 * index of the next argument (egress run); otherwise a non-option is an error. Options are read before the
 * environment, and up to the first bad one: a caller that finds its help or version flag set after -EINVAL
 * may answer that.
 */
struct settings_source {
    const struct setting *table;
    const char *env_prefix; /* "OPENSHELL_TUNNELD" */
    int argc;
    char **argv;
    bool stop_at_dashes;
};
MUST_CHECK int settings_read(const struct settings_source *src, void *out, struct settings_arena **arena,
                             int *rest, struct err *err);
void settings_free(struct settings_arena *arena);
/* "NAME VALUE  # from option|environment|default" lines to stdout for --dump-config. */
void settings_dump(const struct settings_source *src, const void *settings,
                   const struct settings_arena *arena);
/* Where the value of the named row came from; ORIGIN_DEFAULT also for a name that the table does not have. */
enum settings_origin settings_origin(const struct setting *table, const struct settings_arena *a,
                                     const char *name);
/* The row's variable, "OPENSHELL_TUNNELD_IDLE_TIMEOUT"; returns text. */
#define SETTINGS_VARIABLE_CAP 128
const char *settings_variable(const char *env_prefix, const char *name, char text[SETTINGS_VARIABLE_CAP]);
/* Usage text to stdout. */
void settings_help(const struct setting *table, const char *program, const char *summary);
