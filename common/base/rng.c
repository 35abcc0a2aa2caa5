/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/rng.h"

#include "common/base/err.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define POOL_BYTES 4096U
#define DIRECT_BYTES 512U /* larger requests would mostly drain the pool: they go to the kernel */

/* Bytes [sizeof bytes - left, end) are unused randomness; those before them are zero. */
struct pool {
    uint8_t bytes[POOL_BYTES];
    size_t left;
    pid_t pid;
    unsigned fork_count;
};

static _Thread_local struct pool pool;
static _Atomic unsigned fork_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_fork_child(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static void watch_forks(void)
{
    REQUIRE(pthread_atfork(NULL, NULL, on_fork_child) == 0);
}

static void read_kernel(uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n < 0) {
            REQUIRE(errno == EINTR);
            continue;
        }
        out += n;
        len -= (size_t)n;
    }
}

/*
 * A child must not repeat its parent's numbers. The counter sees fork(2) even if parent and child have the
 * same number in their own pid namespaces; the number sees clone(2), which runs no handlers.
 */
static void discard_if_forked(void)
{
    (void)pthread_once(&once, watch_forks);
    unsigned forks = atomic_load_explicit(&fork_count, memory_order_relaxed);
    pid_t pid = getpid();
    if (pool.pid != pid || pool.fork_count != forks) {
        explicit_bzero(pool.bytes, sizeof pool.bytes);
        pool.left = 0;
        pool.pid = pid;
        pool.fork_count = forks;
    }
}

void rng_bytes(void *out, size_t len)
{
    if (len > DIRECT_BYTES) {
        read_kernel(out, len);
        return;
    }
    if (len == 0) {
        return;
    }
    discard_if_forked();
    if (pool.left < len) {
        read_kernel(pool.bytes, sizeof pool.bytes);
        pool.left = sizeof pool.bytes;
    }
    uint8_t *next = pool.bytes + (sizeof pool.bytes - pool.left);
    memcpy(out, next, len);
    explicit_bzero(next, len);
    pool.left -= len;
}

uint16_t rng_u16(void)
{
    uint16_t v;
    rng_bytes(&v, sizeof v);
    return v;
}

uint32_t rng_u32(void)
{
    uint32_t v;
    rng_bytes(&v, sizeof v);
    return v;
}

uint32_t rng_below(uint32_t bound)
{
    REQUIRE(bound >= 1);
    /* 2^32 mod bound values at the low end would make some results likelier: drawn again */
    uint32_t surplus = (UINT32_MAX - bound + 1) % bound;
    uint32_t v;
    do {
        v = rng_u32();
    } while (v < surplus);
    return v % bound;
}
