/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include "common/base/err.h"

#include <stdio.h>
#include <time.h>

static struct timespec read_clock(clockid_t id)
{
    struct timespec ts = {0};
    /* fails only for a clock that the kernel does not have; every Linux this runs on has these three */
    REQUIRE(clock_gettime(id, &ts) == 0);
    return ts;
}

int64_t clock_mono_ms(void)
{
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_boot_s(void)
{
    return (int64_t)read_clock(CLOCK_BOOTTIME).tv_sec;
}

const char *clock_wall_text(char *text, size_t cap)
{
    struct timespec ts = read_clock(CLOCK_REALTIME);
    struct tm tm = {0};
    if (gmtime_r(&ts.tv_sec, &tm) == NULL) {
        tm = (struct tm){.tm_year = 70, .tm_mday = 1}; /* a year that does not fit an int */
    }
    int n = snprintf(text, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ts.tv_nsec / 1000000));
    (void)CHECK(n > 0 && (size_t)n < cap);
    return text;
}
