/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two dnsd write one map, whose few addresses go from name to name all the time, and are killed at it in
 * turn. Whatever they were at: the map can be read and taken over, no address is given to a second name while
 * it is held for the first, by its answer or by its use, and whoever looks finds the name that was answered.
 * Time is a number that the case counts up. OPENSHELL_TEST_LONG: ten times as many.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/map_scene.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define POOL "198.18.0.0/28"
#define SLOTS 14u
#define NAMES 40u
#define TTL_S 1u
#define GRACE_S 2u
#define ROUNDS 120u  /* each ends with a killed writer */
#define EPOCH 10u    /* rounds; then there is no map, and both begin at once */
#define ANSWERS 250u /* at most this many until the next one is killed */
#define LOG_CAP (1u << 18)
#define PATIENCE_MS 20000

struct answer {
    int64_t from_s, until_s; /* from: when it was out, which may be later than what it counted from */
    uint16_t name, slot;
};

/* Shared with the writers. */
static struct shared {
    _Atomic int64_t now_s;
    struct {
        _Atomic uint32_t count; /* answers that have gone out */
        struct answer answers[LOG_CAP];
    } logs[2];
} * shared;

/* What the reader knows: an address that was used while its name was held. */
static struct answer uses[1024];
static size_t use_count;
static unsigned given_anew; /* an address to another name than before */

static unsigned slot_of(const struct ip *ip)
{
    return ip->bytes[3] - 1u;
}

static struct ip address_of(unsigned slot)
{
    return ip_v4(198, 18, 0, (uint8_t)(slot + 1));
}

static struct synth_map *open_writer(void)
{
    struct synth_map_config cfg = map_config(POOL, NULL);
    struct synth_map *w = NULL;
    struct err err = {""};
    cfg.grace_s = GRACE_S;
    if (synth_map_open_writer(&cfg, atomic_load(&shared->now_s), &w, &err) != 0) {
        fail_msg("the map cannot be taken over: %s", err.text);
    }
    return w;
}

/* ---- a writer ---- */

/* Never returns. The answer goes out when assign has returned: only then it is in the log. */
static void answer_for_ever(unsigned who, unsigned seed)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the case fails */
    struct synth_map *w = open_writer();
    for (;;) {
        struct ip v4, v6;
        const unsigned name = (seed = seed * 1103515245u + 12345u) >> 16 & 0x7FFF;
        const struct host_name n = map_numbered(name % NAMES);
        const int64_t now_s = atomic_load(&shared->now_s);
        const int rc = map_ask(w, &n, TTL_S, now_s, &v4, &v6);
        const uint32_t at = atomic_load(&shared->logs[who].count);
        if (at == LOG_CAP) {
            (void)pause();
        }
        if (rc == 0) {
            shared->logs[who].answers[at] = (struct answer){.from_s = atomic_load(&shared->now_s),
                                                            .until_s = now_s + TTL_S + GRACE_S,
                                                            .name = (uint16_t)(name % NAMES),
                                                            .slot = (uint16_t)slot_of(&v4)};
            atomic_store(&shared->logs[who].count, at + 1);
        } else if (rc != -ENOSPC && rc != -EBUSY) {
            _exit(1);
        }
    }
}

static pid_t start_writer(unsigned who, unsigned seed)
{
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        answer_for_ever(who, seed);
    }
    assert_true(pid > 0);
    return pid;
}

static void kill_writer(pid_t pid)
{
    int status = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- what has been promised ---- */

static int by_slot_and_time(const void *a, const void *b)
{
    const struct answer *x = a, *y = b;
    if (x->slot != y->slot) {
        return x->slot < y->slot ? -1 : 1;
    }
    return (x->from_s > y->from_s) - (x->from_s < y->from_s);
}

/* All answers and uses so far, in order. The caller frees it. */
static struct answer *collect(size_t *count)
{
    const size_t counts[2] = {atomic_load(&shared->logs[0].count), atomic_load(&shared->logs[1].count)};
    struct answer *all = calloc(counts[0] + counts[1] + use_count + 1, sizeof(*all));
    assert_non_null(all);
    memcpy(all, shared->logs[0].answers, counts[0] * sizeof(*all));
    memcpy(all + counts[0], shared->logs[1].answers, counts[1] * sizeof(*all));
    memcpy(all + counts[0] + counts[1], uses, use_count * sizeof(*all));
    *count = counts[0] + counts[1] + use_count;
    qsort(all, *count, sizeof(*all), by_slot_and_time);
    return all;
}

static void check_promises(void)
{
    size_t count = 0;
    struct answer *all = collect(&count);
    struct answer last = {.slot = SLOTS};
    for (size_t i = 0; i < count; i++) {
        const struct answer *a = &all[i];
        if (a->from_s > a->until_s) {
            continue; /* its writer was held up so long that it holds nothing */
        }
        if (a->slot != last.slot || a->name == last.name) {
            const bool is_longer = a->slot != last.slot || a->until_s > last.until_s;
            last = is_longer ? *a : last;
            continue;
        }
        given_anew++;
        if (a->from_s <= last.until_s) {
            fail_msg("address %u: name %u at %lld, held for name %u until %lld", a->slot, a->name,
                     (long long)a->from_s, last.name, (long long)last.until_s);
        }
        last = *a;
    }
    free(all);
}

/* The name that the address is held for now, of those that were answered; NAMES: none. */
static unsigned held_for(const struct answer *all, size_t count, unsigned slot, int64_t now_s)
{
    unsigned name = NAMES;
    for (size_t i = 0; i < count; i++) {
        name = all[i].slot == slot && all[i].from_s <= now_s && all[i].until_s >= now_s ? all[i].name : name;
    }
    return name;
}

/* Time stands still: whoever has remembered nothing finds what was answered, and so does the next dnsd. */
static void check_map(void)
{
    size_t count = 0;
    const int64_t now_s = atomic_load(&shared->now_s);
    struct answer *all = collect(&count);
    struct synth_map *fresh = map_reader(), *next = open_writer();
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        struct host_name found;
        const unsigned name = held_for(all, count, slot, now_s);
        const enum synth_found seen = map_look(fresh, address_of(slot), now_s, &found);
        if (name < NAMES) {
            const struct host_name n = map_numbered(name);
            assert_int_equal(seen, SYNTH_FOUND);
            assert_true(host_name_is_equal(&found, &n));
            assert_int_equal(map_look(next, address_of(slot), now_s, &found), SYNTH_FOUND);
            assert_true(host_name_is_equal(&found, &n));
        } else {
            assert_true((seen == SYNTH_NEVER) == (found.len == 0));
        }
    }
    synth_map_close(next);
    synth_map_close(fresh);
    free(all);
}

/* tunneld: a connection to an address that is held. What it holds is longer than an answer does. */
static void use_one(struct synth_map *r, unsigned slot)
{
    struct host_name found;
    const struct ip ip = address_of(slot);
    const int64_t now_s = atomic_load(&shared->now_s);
    for (unsigned i = 0; i < NAMES && use_count < sizeof(uses) / sizeof(uses[0]); i++) {
        const struct host_name n = map_numbered(i);
        if (map_look(r, ip, now_s, &found) == SYNTH_FOUND && host_name_is_equal(&found, &n)) {
            synth_map_use(r, &ip, now_s);
            uses[use_count++] = (struct answer){.from_s = now_s,
                                                .until_s = now_s + GRACE_S + SYNTH_USE_EVERY_S,
                                                .name = (uint16_t)i,
                                                .slot = (uint16_t)slot};
            return;
        }
    }
}

/* Time passes until this writer has answered so much more. */
static void run_until(struct synth_map *r, unsigned who, uint32_t answers)
{
    const uint32_t end = atomic_load(&shared->logs[who].count) + answers;
    int idle_ms = 0;
    while (atomic_load(&shared->logs[who].count) < end && idle_ms < PATIENCE_MS) {
        const int64_t now_s = atomic_load(&shared->now_s);
        if (now_s % 500 == 0) {
            use_one(r, (unsigned)(now_s / 500) % SLOTS);
        }
        atomic_store(&shared->now_s, now_s + 1);
        (void)poll(NULL, 0, now_s % 8 == 0 ? 1 : 0);
        idle_ms += now_s % 8 == 0 ? 1 : 0;
    }
    assert_true(idle_ms < PATIENCE_MS);
}

/* A writer that answers has put FILE.use beside its map; a tunneld that found the map just before that would
 * look for it again a minute later. */
static void wait_for_first(void)
{
    int waited_ms = 0;
    while (atomic_load(&shared->logs[0].count) + atomic_load(&shared->logs[1].count) == 0 &&
           waited_ms++ < PATIENCE_MS) {
        (void)poll(NULL, 0, 1);
    }
    assert_true(waited_ms <= PATIENCE_MS);
}

static void forget_all(void)
{
    atomic_store(&shared->logs[0].count, 0);
    atomic_store(&shared->logs[1].count, 0);
    use_count = 0;
}

static void test_killed_in_turn(void **state)
{
    (void)state;
    const unsigned rounds = getenv("OPENSHELL_TEST_LONG") != NULL ? 10 * ROUNDS : ROUNDS;
    struct synth_map *r = map_reader();
    pid_t pids[2] = {-1, -1};
    for (unsigned round = 0; round < rounds; round++) {
        const unsigned who = round % 2;
        if (round % EPOCH == 0) { /* with the map what it promised is gone */
            for (unsigned i = 0; i < 2; i++) {
                if (pids[i] > 0) {
                    kill_writer(pids[i]);
                }
            }
            forget_all();
            (void)unlink(map_path);
            pids[0] = start_writer(0, round * 2 + 1);
            pids[1] = start_writer(1, round * 2 + 2);
            wait_for_first();
        }
        run_until(r, who, 1 + round * 37 % ANSWERS);
        kill_writer(pids[who]);
        check_promises();
        check_map();
        pids[who] = start_writer(who, round + 1000);
    }
    kill_writer(pids[0]);
    kill_writer(pids[1]);
    check_promises();
    check_map();
    synth_map_close(r);
    print_message("%u addresses given anew\n", given_anew);
    assert_true(given_anew > rounds);
}

static int set_up(void **state)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return -1;
    }
    atomic_store(&shared->now_s, MAP_NOW_S);
    return map_set_up(state);
}

static int tear_down(void **state)
{
    (void)munmap(shared, sizeof(*shared));
    return map_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_in_turn, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
