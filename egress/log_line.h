/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of the daemons' logs, text or JSON (common/base/log.h), taken apart again. Pure. What peers sent
 * stands in the values: who prints one escapes it.
 */
#pragma once

#include "common/base/span.h"

#include <stdbool.h>

#define LOG_LINE_CAP 4096
#define LOG_LINE_FIELDS_MAX 32

struct log_line {
    char text[LOG_LINE_CAP]; /* of all keys and values */
    struct {
        const char *key, *value;
    } fields[LOG_LINE_FIELDS_MAX];
    size_t count;
};

/* False if it is neither of the two forms. The event is the value of "event". */
bool log_line_parse(struct span line, struct log_line *out);
/* The value of key; NULL if there is none. */
const char *log_line_get(const struct log_line *l, const char *key);
/* The same as a number; 0 if it is none. */
uint64_t log_line_number(const struct log_line *l, const char *key);
