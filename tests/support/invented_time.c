/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/invented_time.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define START_MONO_S 1000
#define START_WALL_S 1893456000 /* 2030-01-01 */

static int64_t passed_ns;

void invented_time_reset(void)
{
    passed_ns = 0;
}

void invented_time_pass(int64_t ms)
{
    passed_ns += ms * 1000000;
}

void invented_time_tick(void)
{
    passed_ns++;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int64_t start_s = START_MONO_S;
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        start_s = START_WALL_S;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        break;
    default: /* what a process has used of a CPU is not time of ours */
        return (int)syscall(SYS_clock_gettime, id, out);
    }
    out->tv_sec = (time_t)(start_s + passed_ns / 1000000000);
    out->tv_nsec = (long)(passed_ns % 1000000000);
    return 0;
}
