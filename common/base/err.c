/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/err.h"

#include "common/base/shown.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first failures are all written; then only each power of two, so that a hot path cannot flood the log.
 */
#define CHECKS_WRITTEN 64U

/* The one word of state here: how often CHECK() failed, for the metrics. Any thread. */
static _Atomic uint64_t checks_failed;

void err_set(struct err *e, const char *fmt, ...)
{
    if (e == NULL) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        e->text[0] = '\0';
    }
    (void)shown_clean(e->text);
}

void err_prefix(struct err *e, const char *fmt, ...)
{
    if (e == NULL) {
        return;
    }
    char prefix[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    if (n <= 0) {
        return;
    }
    char said[sizeof e->text];
    memcpy(said, e->text, sizeof said);
    size_t len = strnlen(prefix, sizeof prefix - 1);
    memcpy(e->text, prefix, len + 1);
    if (snprintf(e->text + len, sizeof e->text - len, ": %s", said) < 0) {
        e->text[len] = '\0';
    }
    (void)shown_clean(e->text);
}

void err_add_hint(struct err *e, const char *hint)
{
    if (e == NULL || *hint == '\0') {
        return;
    }
    size_t len = strnlen(e->text, sizeof e->text - 1);
    (void)snprintf(e->text + len, sizeof e->text - len, ": %s", hint);
}

/* One write(2): whole lines even when several threads fail at once; no lock, no memory, no log. */
static void write_line(const char *kind, const char *what, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s failed: %s at %s:%d", kind, what, file, line);
    if (n < 0) {
        return;
    }
    size_t len = strnlen(text, sizeof text - 1);
    text[len++] = '\n';
    if (write(STDERR_FILENO, text, len) < 0) {
        return; /* nowhere left to say it */
    }
}

void err_require_failed(const char *what, const char *file, int line)
{
    write_line("REQUIRE", what, file, line);
    abort();
}

bool err_check_failed(const char *what, const char *file, int line)
{
    uint64_t n = atomic_fetch_add_explicit(&checks_failed, 1, memory_order_relaxed) + 1;
    if (n <= CHECKS_WRITTEN || (n & (n - 1)) == 0) {
        write_line("CHECK", what, file, line);
    }
#ifdef DEBUG_CHECKS
    abort();
#else
    return false;
#endif
}

uint64_t err_checks_failed(void)
{
    return atomic_load_explicit(&checks_failed, memory_order_relaxed);
}
