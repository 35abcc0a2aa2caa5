/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_idle.h"

#include "common/base/clock.h"
#include "common/base/num.h"
#include "egress/doctor_io.h"
#include "egress/doctor_path.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DURATION_CAP 32

struct idle {
    struct pollfd *polls; /* fd -1: gone */
    struct doctor_result **results;
    int64_t *since_ms;
    size_t count;
};

static void add(struct idle *all, int fd, struct doctor_result *result)
{
    if (fd < 0) {
        doctor_tell(result, DOCTOR_NOT_TESTED, doctor_fault_of(fd), "a second connection failed: %s",
                    strerror(-fd));
        return;
    }
    all->polls[all->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    all->results[all->count] = result;
    all->since_ms[all->count++] = clock_mono_ms();
}

static void open_all(struct doctor_facts *f, int64_t end_ms, struct idle *all)
{
    for (size_t i = 0; i < f->target_count; i++) {
        struct doctor_target *t = &f->targets[i];
        if (t->is_probe || clock_mono_ms() >= end_ms) {
            continue;
        }
        if (doctor_is_good(&t->results[DOCTOR_CONNECT])) {
            struct doctor_way way;
            doctor_connect_open(&f->proxy, t, end_ms, &way);
            add(all, way.fd, &t->results[DOCTOR_CONNECT_IDLE]);
        }
        if (doctor_is_good(&t->results[DOCTOR_NATIVE])) {
            add(all, doctor_io_connect(&t->native, end_ms), &t->results[DOCTOR_NATIVE_IDLE]);
        }
    }
}

static void note_end(struct idle *all, size_t i, const char *how)
{
    char after[DURATION_CAP];
    struct doctor_result *r = all->results[i];
    r->ms = clock_mono_ms() - all->since_ms[i];
    doctor_tell(r, DOCTOR_FAILED, DOCTOR_CUT_IDLE, "%s after %s of silence", how,
                num_duration_text(r->ms, after, sizeof after));
    (void)close(all->polls[i].fd);
    all->polls[i].fd = -1;
}

static void look_at(struct idle *all, size_t i)
{
    uint8_t bytes[4096];
    ssize_t n = recv(all->polls[i].fd, bytes, sizeof bytes, 0);
    if (n == 0) {
        note_end(all, i, "closed (FIN)");
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        note_end(all, i, errno == ECONNRESET ? "reset (RST)" : strerror(errno));
    } else if (n > 0) {
        all->since_ms[i] = clock_mono_ms(); /* a greeting: the silence begins behind it */
    }
}

static size_t count_alive(const struct idle *all)
{
    size_t alive = 0;
    for (size_t i = 0; i < all->count; i++) {
        alive += all->polls[i].fd >= 0 ? 1 : 0;
    }
    return alive;
}

static void wait_all(struct idle *all, int64_t end_ms)
{
    int64_t left = end_ms - clock_mono_ms();
    while (left > 0 && count_alive(all) > 0) {
        int n = poll(all->polls, (nfds_t)all->count, left > INT32_MAX ? INT32_MAX : (int)left);
        for (size_t i = 0; n > 0 && i < all->count; i++) {
            if (all->polls[i].fd >= 0 && all->polls[i].revents != 0) {
                look_at(all, i);
            }
        }
        left = end_ms - clock_mono_ms();
    }
}

static void finish(struct idle *all, int64_t idle_ms)
{
    char text[DURATION_CAP];
    for (size_t i = 0; i < all->count; i++) {
        if (all->polls[i].fd >= 0) {
            all->results[i]->ms = idle_ms;
            doctor_tell(all->results[i], DOCTOR_OK, DOCTOR_FAULT_NONE, "still there after %s",
                        num_duration_text(idle_ms, text, sizeof text));
            (void)close(all->polls[i].fd);
        }
    }
}

int doctor_idle_run(struct doctor_facts *f, int64_t open_end_ms)
{
    size_t cap = 2 * f->target_count;
    struct idle all = {.polls = calloc(cap, sizeof *all.polls),
                       .results = calloc(cap, sizeof *all.results),
                       .since_ms = calloc(cap, sizeof *all.since_ms)};
    int rc = all.polls == NULL || all.results == NULL || all.since_ms == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        open_all(f, open_end_ms, &all);
        wait_all(&all, clock_mono_ms() + f->idle_ms);
        finish(&all, f->idle_ms);
    }
    free(all.polls);
    free((void *)all.results);
    free(all.since_ms);
    return rc;
}
