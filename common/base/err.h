/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct err: one sentence for a person, filled beside a -errno result. Every function accepts NULL. What it
 * quotes may be hostile: a character that would steer a terminal is shown as "?".
 * REQUIRE: memory is corrupt if false: abort, always on. CHECK: a bug of ours that is survivable: logged and
 * counted, aborts only with --enable-debug-checks; evaluates to the condition. Neither is for peer input.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct err {
    char text[512]; /* no newline at the end; "" = nothing said */
};

void err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " in front of what is there. */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts ": hint" behind it, unless the hint is empty. */
void err_add_hint(struct err *e, const char *hint);

void err_require_failed(const char *what, const char *file, int line) __attribute__((noreturn));
bool err_check_failed(const char *what, const char *file, int line); /* returns false */
uint64_t err_checks_failed(void); /* how many CHECKs failed so far, of all threads */

#define REQUIRE(x) ((x) ? (void)0 : err_require_failed(#x, __FILE__, __LINE__))
#define CHECK(x) ((x) ? true : err_check_failed(#x, __FILE__, __LINE__))
#define MUST_CHECK __attribute__((warn_unused_result))
