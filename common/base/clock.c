/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include "common/base/buf.h"
#include "common/base/err.h"

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

int64_t clock_mono_us(void)
{
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
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
    const struct {
        int value;
        size_t digits;
        char end;
    } parts[] = {{tm.tm_year + 1900, 4, '-'},
                 {tm.tm_mon + 1, 2, '-'},
                 {tm.tm_mday, 2, 'T'},
                 {tm.tm_hour, 2, ':'},
                 {tm.tm_min, 2, ':'},
                 {tm.tm_sec, 2, '.'},
                 {(int)(ts.tv_nsec / 1000000), 3, 'Z'}};
    struct wbuf w = wbuf_make(text, cap);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        wbuf_decimal(&w, parts[i].value < 0 ? 0 : (uint64_t)parts[i].value, parts[i].digits);
        wbuf_u8(&w, (uint8_t)parts[i].end);
    }
    wbuf_u8(&w, 0);
    (void)CHECK(!w.overflow);
    return text;
}
