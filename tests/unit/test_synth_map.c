/* SPDX-License-Identifier: Apache-2.0 */
/* Which address each name is given, for how long, and who finds it. The file as such: test_synth_map_file. */
#include "tests/support/map_scene.h"

#include "common/base/log.h"
#include "common/run/synth_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void test_stable_in_both_families(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/15", "fd00:5e11::/64"), *r = map_reader();
    struct ip v4[300], v6[300];
    for (unsigned i = 0; i < 300; i++) {
        struct host_name n = map_numbered(i);
        assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S, &v4[i], &v6[i]), 0);
        assert_int_equal(v4[i].family, IP_V4);
        assert_int_equal(v6[i].family, IP_V6);
        for (unsigned j = 0; j < i; j++) {
            assert_false(ip_is_equal(&v4[i], &v4[j]) || ip_is_equal(&v6[i], &v6[j]));
        }
    }
    for (unsigned i = 0; i < 300; i++) {
        struct host_name n = map_numbered(i), found;
        struct ip again4, again6;
        assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S + 7, &again4, &again6), 0);
        assert_true(ip_is_equal(&again4, &v4[i]) && ip_is_equal(&again6, &v6[i]));
        assert_int_equal(map_look(r, v4[i], MAP_NOW_S, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
        assert_int_equal(map_look(r, v6[i], MAP_NOW_S, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
        assert_int_equal(map_look(w, v4[i], MAP_NOW_S, &found),
                         SYNTH_FOUND); /* dnsd asks its own map for PTR */
        assert_true(host_name_is_equal(&found, &n));
    }
    struct host_name found;
    assert_int_equal(map_look(r, ip_v4(10, 0, 0, 1), MAP_NOW_S, &found), SYNTH_NEVER);
    assert_int_equal(map_look(r, ip_v4(198, 18, 0, 0), MAP_NOW_S, &found), SYNTH_NEVER);
    synth_map_close(r);
    synth_map_close(w);
}

static void test_one_family(void **state)
{
    (void)state;
    struct ip v4, v6;
    struct host_name n = map_name("a.example.org");
    struct synth_map *w = map_writer("198.18.0.0/24", NULL);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S, &v4, &v6), 0);
    assert_true(v4.family == IP_V4 && v6.family == IP_NONE);
    synth_map_close(w);
    w = map_writer("fd00::/120", NULL);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S, &v4, &v6), 0);
    assert_true(v4.family == IP_NONE && v6.family == IP_V6);
    synth_map_close(w);
}

static void test_restart_keeps(void **state)
{
    (void)state;
    struct ip before[50];
    struct stat old, new;
    struct synth_map *w = map_writer("198.18.0.0/24", NULL);
    struct synth_map *r = map_reader();
    for (unsigned i = 0; i < 50; i++) {
        struct host_name n = map_numbered(i);
        before[i] = map_give(w, &n, MAP_NOW_S);
    }
    synth_map_close(w);
    assert_int_equal(stat(map_path, &old), 0);
    w = map_writer("198.18.0.0/24", NULL);
    assert_int_equal(stat(map_path, &new), 0);
    assert_int_equal(old.st_ino, new.st_ino);
    for (unsigned i = 50; i-- > 0;) {
        struct host_name n = map_numbered(i), found;
        struct ip again = map_give(w, &n, MAP_NOW_S + 1);
        assert_true(ip_is_equal(&again, &before[i]));
        assert_int_equal(map_look(r, again, MAP_NOW_S + 1, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
    }
    synth_map_close(w);
    synth_map_close(r);
}

static void test_hold(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/24", NULL), *r = map_reader();
    struct host_name n = map_name("a.example.org"), found;
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    const int64_t last = MAP_NOW_S + MAP_TTL_S + MAP_GRACE_S;
    assert_int_equal(map_look(r, ip, last, &found), SYNTH_FOUND);
    assert_int_equal(map_look(r, ip, last + 1, &found), SYNTH_EXPIRED);
    assert_true(host_name_is_equal(&found, &n));
    (void)map_give(w, &n, MAP_NOW_S + 50); /* an answer lengthens the hold, and never shortens it */
    assert_int_equal(map_look(r, ip, last + 50, &found), SYNTH_FOUND);
    (void)map_give(w, &n, MAP_NOW_S + 10);
    assert_int_equal(map_look(r, ip, last + 50, &found), SYNTH_FOUND);
    assert_int_equal(map_look(r, ip, last + 51, &found), SYNTH_EXPIRED);
    struct ip again = map_give(w, &n, last + 1000); /* its own address even after the hold */
    assert_true(ip_is_equal(&again, &ip));
    assert_int_equal(map_look(r, ip, last + 1000, &found), SYNTH_FOUND);
    struct ip v4, v6;
    assert_int_equal(map_ask(w, &n, UINT32_MAX, INT64_C(1) << 40, &v4, &v6), 0); /* no wrap-around */
    assert_int_equal(map_look(r, ip, UINT32_MAX, &found), SYNTH_FOUND);
    synth_map_close(w);
    synth_map_close(r);
}

static void test_full_pool(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/29", NULL), *r = map_reader();
    struct host_name n, found;
    struct ip first = {0}, v4, v6;
    for (unsigned i = 0; i < 6; i++) {
        n = map_numbered(i);
        v4 = map_give(w, &n, MAP_NOW_S + i);
        first = i == 0 ? v4 : first;
    }
    n = map_numbered(6);
    const int64_t last = MAP_NOW_S + MAP_TTL_S + MAP_GRACE_S; /* of n0 */
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S + 6, &v4, &v6), -ENOSPC);
    assert_int_equal(v4.family, IP_NONE);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, last, &v4, &v6), -ENOSPC);
    struct ip given = map_give(w, &n, last + 1); /* the one answered longest ago, and only that is free now */
    assert_true(ip_is_equal(&given, &first));
    assert_int_equal(map_look(r, first, last + 1, &found), SYNTH_FOUND);
    assert_true(host_name_is_equal(&found, &n));
    n = map_numbered(0);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, last + 1, &v4, &v6), -ENOSPC);
    synth_map_close(w);
    w = map_writer("198.18.0.0/29", NULL); /* the order and the holds outlive the writer */
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, last + 1, &v4, &v6), -ENOSPC);
    given = map_give(w, &n, last + 2);
    n = map_numbered(1);
    assert_int_equal(map_look(r, given, last + 2, &found), SYNTH_FOUND);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, last + 2, &v4, &v6), -ENOSPC); /* it was n1's */
    synth_map_close(w);
    synth_map_close(r);
}

static void test_reader_comes_first(void **state)
{
    (void)state;
    struct synth_map *r = map_reader();
    struct host_name n = map_name("a.example.org"), found;
    assert_int_equal(map_look(r, ip_v4(198, 18, 0, 1), MAP_NOW_S, &found), SYNTH_NEVER);
    struct synth_map *w = map_writer("198.18.0.0/24", NULL);
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND); /* within the same second */
    synth_map_close(w);
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND); /* dnsd restarting does not matter */
    assert_int_equal(unlink(map_path), 0);
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND); /* what is held is not read again */
    assert_int_equal(map_look(r, ip_v4(198, 18, 0, 77), MAP_NOW_S, &found), SYNTH_NEVER);
    assert_int_equal(map_look(r, ip, MAP_NOW_S + 1, &found),
                     SYNTH_NEVER);       /* but within a second it is noticed */
    w = map_writer("10.9.0.0/24", NULL); /* another pool: the old addresses are nobody's */
    (void)map_give(w, &n, MAP_NOW_S);
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_NEVER);
    synth_map_close(w);
    synth_map_close(r);
}

/* Two that overlap at a restart give every name one address, and no address two names. */
static void test_two_writers(void **state)
{
    (void)state;
    struct synth_map *a = map_writer("198.18.0.0/24", NULL), *b = map_writer("198.18.0.0/24", NULL);
    struct synth_map *r = map_reader();
    struct ip given[200];
    struct host_name found;
    for (unsigned i = 0; i < 200; i++) {
        struct host_name n = map_numbered(i);
        given[i] = map_give(i % 3 == 0 ? a : b, &n, MAP_NOW_S);
        for (unsigned j = 0; j < i; j++) {
            assert_false(ip_is_equal(&given[i], &given[j]));
        }
    }
    for (unsigned i = 0; i < 200; i++) {
        struct host_name n = map_numbered(i);
        struct ip again = map_give(i % 3 == 0 ? b : a, &n, MAP_NOW_S + 1);
        assert_true(ip_is_equal(&again, &given[i]));
        assert_int_equal(map_look(r, again, MAP_NOW_S + 1, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
    }
    synth_map_close(r);
    synth_map_close(b);
    synth_map_close(a);
}

/* A hold that the other one has lengthened is not over, and a slot that the other gave away is not one's own.
 */
static void test_two_writers_and_holds(void **state)
{
    (void)state;
    struct synth_map *a = map_writer("198.18.0.0/30", NULL), *b = map_writer("198.18.0.0/30", NULL);
    struct host_name first = map_numbered(1), second = map_numbered(2), third = map_numbered(3);
    const int64_t hold_s = MAP_TTL_S + MAP_GRACE_S;
    struct ip v4, v6;
    const struct ip one = map_give(a, &first, MAP_NOW_S);
    const struct ip two = map_give(a, &second, MAP_NOW_S);
    (void)map_give(b, &first, MAP_NOW_S + 50);
    const struct ip three = map_give(a, &third, MAP_NOW_S + hold_s + 1);
    assert_true(ip_is_equal(&three, &two));
    assert_int_equal(map_ask(b, &second, MAP_TTL_S, MAP_NOW_S + hold_s + 1, &v4, &v6), -ENOSPC);
    const struct ip again = map_give(b, &first, MAP_NOW_S + hold_s + 1);
    assert_true(ip_is_equal(&again, &one));
    synth_map_close(b);
    synth_map_close(a);
}

static void test_other_pools_beside_a_writer(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/29", NULL);
    struct synth_map_config other = map_config("10.9.0.0/29", NULL), none = {.path = map_path};
    struct synth_map *m = NULL;
    struct err err = {""};
    assert_int_equal(synth_map_open_writer(&other, MAP_NOW_S, &m, &err), -EBUSY); /* nor is it replaced */
    assert_non_null(strstr(err.text, "in use by another"));
    assert_int_equal(synth_map_open_writer(&none, MAP_NOW_S, &m, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--pool"));
    synth_map_close(w);
    assert_int_equal(synth_map_open_writer(&other, MAP_NOW_S, &m, &err), 0);
    synth_map_close(m);
}

/* One wildcard has a quarter of the slots, and no wildcard a slot of an exact name. */
static void test_wildcards(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/28", NULL); /* 14 slots: 4 are a quarter */
    struct host_name n;
    struct ip ip, last, first = {0};
    const int64_t later_s = MAP_NOW_S + 20 + MAP_TTL_S + MAP_GRACE_S + 1; /* every hold is over */
    for (unsigned i = 0; i < 4; i++) {
        n = map_numbered(i);
        assert_int_equal(map_ask_wild(w, &n, "*.example.org", MAP_NOW_S + i, &ip), 0);
        first = i == 0 ? ip : first;
    }
    n = map_numbered(4);
    assert_int_equal(map_ask_wild(w, &n, "*.example.org", MAP_NOW_S + 5, &ip), -EDQUOT);
    assert_int_equal(map_ask_wild(w, &n, "**.example.org", MAP_NOW_S + 5, &last),
                     0); /* another one has its own */
    for (unsigned i = 5; i < 14; i++) {
        n = map_numbered(i);
        (void)map_give(w, &n, MAP_NOW_S + 6);
    }
    n = map_numbered(20); /* the pool is full */
    assert_int_equal(map_ask_wild(w, &n, "*.example.net", MAP_NOW_S + 7, &ip), -ENOSPC);
    assert_int_equal(map_ask_wild(w, &n, "*.example.org", later_s, &ip), 0);
    assert_true(ip_is_equal(&ip, &first)); /* its own oldest */
    for (unsigned i = 0; i < 4; i++) {     /* the four of both wildcards whose holds are over */
        n = map_numbered(30 + i);
        assert_int_equal(map_ask_wild(w, &n, i % 2 == 0 ? "*.example.net" : "*.example.com", later_s, &ip),
                         0);
    }
    n = map_numbered(40); /* nine exact names are left, as much out of date */
    assert_int_equal(map_ask_wild(w, &n, "*.example.edu", later_s, &ip), -ENOSPC);
    synth_map_close(w);
    w = map_writer("198.18.0.0/28", NULL); /* the file knows it all */
    assert_int_equal(map_ask_wild(w, &n, "*.example.edu", later_s, &ip), -ENOSPC);
    assert_int_equal(map_ask_wild(w, &n, "*.example.org", later_s, &ip), -ENOSPC);
    for (unsigned i = 0; i < 9; i++) {
        n = map_numbered(50 + i);
        (void)map_give(w, &n, later_s);
    }
    synth_map_close(w);
}

/* A name that a new policy admits through a wildcard, or no longer so, counts as what it is now. */
static void test_name_changes_its_class(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/30", NULL);
    struct host_name a = map_numbered(1), b = map_numbered(2), c = map_numbered(3);
    const int64_t later_s = MAP_NOW_S + 1 + MAP_TTL_S + MAP_GRACE_S + 1;
    struct ip ip, again;
    const struct ip was = map_give(w, &a, MAP_NOW_S);
    (void)map_give(w, &b, MAP_NOW_S);
    assert_int_equal(map_ask_wild(w, &c, "*.example.org", later_s, &ip), -ENOSPC);
    assert_int_equal(map_ask_wild(w, &a, "*.example.org", MAP_NOW_S + 1, &again), 0);
    assert_true(ip_is_equal(&again, &was));
    assert_int_equal(map_ask_wild(w, &c, "*.example.net", later_s, &ip), 0);
    assert_true(ip_is_equal(&ip, &was));
    again = map_give(w, &c, later_s + 1); /* exact now */
    assert_true(ip_is_equal(&again, &ip));
    assert_int_equal(map_ask_wild(w, &a, "*.example.org", later_s + 1000, &ip), -ENOSPC);
    synth_map_close(w);
}

/* An address in use is held, for who gives addresses and for who looks them up. */
static void test_use(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/30", NULL), *r = map_reader();
    struct host_name a = map_numbered(1), b = map_numbered(2), c = map_numbered(3), found;
    struct ip v4, v6;
    const struct ip used = map_give(w, &a, MAP_NOW_S);
    const struct ip other = map_give(w, &b, MAP_NOW_S + 1);
    const int64_t over_s = MAP_NOW_S + MAP_TTL_S + MAP_GRACE_S + 2;
    assert_int_equal(map_look(r, used, MAP_NOW_S, &found), SYNTH_FOUND);
    synth_map_use(r, &used, over_s - 10);
    synth_map_use(r, &used, over_s - 10); /* once a second is enough */
    const int64_t last_s = over_s - 10 + MAP_GRACE_S + SYNTH_USE_EVERY_S;
    assert_int_equal(map_look(r, other, over_s, &found), SYNTH_EXPIRED);
    assert_int_equal(map_look(r, used, last_s, &found), SYNTH_FOUND);
    assert_true(host_name_is_equal(&found, &a));
    assert_int_equal(map_look(w, used, last_s, &found), SYNTH_FOUND);
    v4 = map_give(w, &c, over_s);
    assert_true(ip_is_equal(&v4, &other)); /* not the one answered longest ago */
    assert_int_equal(map_ask(w, &b, MAP_TTL_S, over_s, &v4, &v6), -ENOSPC);
    assert_int_equal(map_look(r, used, last_s + 1, &found), SYNTH_EXPIRED);
    assert_int_equal(map_look(w, used, last_s + 1, &found), SYNTH_EXPIRED);
    (void)map_give(w, &c, last_s + 1);
    v4 = map_give(w, &b, last_s + 1);
    assert_true(ip_is_equal(&v4, &used));
    synth_map_use(r, &used, INT64_C(1) << 31); /* a second that is yet to come holds nothing */
    assert_int_equal(map_look(r, used, last_s + 1 + MAP_TTL_S + MAP_GRACE_S + 1, &found), SYNTH_EXPIRED);
    synth_map_use(r, &(const struct ip){.family = IP_NONE}, over_s);
    synth_map_close(r);
    synth_map_close(w);
}

/* A dnsd with less grace gives away what is only held by its use sooner: then nobody goes by what he
 * remembers. */
static void test_less_grace(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/30", NULL), *r = map_reader(), *less = NULL;
    struct synth_map_config cfg = map_config("198.18.0.0/30", NULL);
    struct host_name a = map_numbered(1), b = map_numbered(2), c = map_numbered(3), found;
    struct err err = {""};
    struct ip v4, v6;
    const int64_t over_s = MAP_NOW_S + MAP_TTL_S + MAP_GRACE_S + 1;
    const struct ip used = map_give(w, &a, MAP_NOW_S);
    (void)map_give(w, &b, MAP_NOW_S + 1000);
    synth_map_use(r, &used, over_s);
    assert_int_equal(map_look(r, used, over_s, &found), SYNTH_FOUND);
    assert_int_equal(map_ask(w, &c, MAP_TTL_S, over_s, &v4, &v6), -ENOSPC); /* w has seen that it is in use */
    cfg.grace_s = 1;
    assert_int_equal(synth_map_open_writer(&cfg, over_s, &less, &err), 0);
    const int64_t sooner_s = over_s + 1 + SYNTH_USE_EVERY_S + 1;
    assert_int_equal(map_ask(less, &c, MAP_TTL_S, sooner_s, &v4, &v6), 0);
    assert_true(ip_is_equal(&v4, &used));
    assert_int_equal(map_look(r, used, sooner_s, &found), SYNTH_FOUND);
    assert_true(host_name_is_equal(&found, &c));
    assert_int_equal(map_ask(w, &a, 0, sooner_s, &v4, &v6), -ENOSPC);
    synth_map_close(less);
    synth_map_close(r);
    synth_map_close(w);
}

/* FILE.use is deleted: the dnsd that runs makes another one, and what is used is not given away. */
static void test_use_deleted(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/30", NULL), *r = map_reader();
    struct host_name a = map_numbered(1), b = map_numbered(2), c = map_numbered(3);
    struct ip v4, v6;
    char use[128];
    const int64_t over_s = MAP_NOW_S + MAP_TTL_S + MAP_GRACE_S + 1;
    const struct ip used = map_give(w, &a, MAP_NOW_S);
    (void)map_give(w, &b, MAP_NOW_S + 1000);
    snprintf(use, sizeof(use), "%s.use", map_path);
    assert_int_equal(unlink(use), 0);
    struct synth_map *next = map_writer("198.18.0.0/30", NULL); /* makes it; w must go by the same one */
    struct host_name found;
    assert_int_equal(map_look(r, used, over_s - 1, &found), SYNTH_FOUND);
    synth_map_use(r, &used, over_s - 1);
    assert_int_equal(map_ask(w, &c, MAP_TTL_S, over_s, &v4, &v6), -ENOSPC);
    assert_int_equal(map_ask(next, &c, MAP_TTL_S, over_s, &v4, &v6), -ENOSPC);
    assert_int_equal(unlink(use), 0);
    const int64_t later_s = over_s + MAP_GRACE_S + SYNTH_USE_EVERY_S; /* nobody knows of a use any more */
    assert_int_equal(map_ask(w, &c, MAP_TTL_S, later_s, &v4, &v6), 0);
    assert_int_equal(access(use, F_OK), 0); /* made anew by who needed it */
    synth_map_close(next);
    synth_map_close(r);
    synth_map_close(w);
}

/* A dnsd that does nothing but move a name between its rules, and never stops. */
static pid_t start_mover(void)
{
    const pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the case fails */
        struct synth_map *w = map_writer("198.18.0.0/24", NULL);
        struct host_name n = map_numbered(1);
        struct ip v4;
        for (;;) {
            (void)map_ask_wild(w, &n, "*.example.org", MAP_NOW_S, &v4);
            (void)map_ask_wild(w, &n, "*.example.net", MAP_NOW_S, &v4);
        }
    }
    assert_true(pid > 0);
    return pid;
}

/* While two dnsd move a name from one rule to another, and are killed at it, it is found all the time. */
static void test_killed_while_moving(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/24", NULL), *r = map_reader();
    struct host_name n = map_numbered(1), found;
    const struct ip ip = map_give(w, &n, MAP_NOW_S);
    synth_map_close(w);
    for (unsigned round = 0; round < 40; round++) {
        pid_t pids[2] = {start_mover(), start_mover()};
        for (unsigned i = 0; i < 2000 + round * 7; i++) {
            struct synth_map *fresh = i % 50 == 0 ? map_reader() : NULL; /* remembers nothing */
            assert_int_equal(map_look(fresh == NULL ? r : fresh, ip, MAP_NOW_S, &found), SYNTH_FOUND);
            assert_true(host_name_is_equal(&found, &n));
            synth_map_close(fresh);
        }
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(kill(pids[i], SIGKILL), 0);
            assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        }
        w = map_writer("198.18.0.0/24", NULL);
        const struct ip again = map_give(w, &n, MAP_NOW_S);
        assert_true(ip_is_equal(&again, &ip));
        synth_map_close(w);
    }
    synth_map_close(r);
}

struct crowd {
    struct synth_map *w, *r;
    struct ip seen[64];
    bool wrong;
};

static void *assign_and_look(void *arg)
{
    struct crowd *c = arg;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 64; i++) {
            struct host_name n = map_numbered(i), found;
            struct ip v4, v6;
            c->wrong |= map_ask(c->w, &n, MAP_TTL_S, MAP_NOW_S + round, &v4, &v6) < 0;
            c->wrong |= round > 0 && !ip_is_equal(&c->seen[i], &v4);
            c->seen[i] = v4;
            c->wrong |= synth_map_lookup(c->r, &v4, MAP_NOW_S + round, &found) != SYNTH_FOUND;
            c->wrong |= !host_name_is_equal(&found, &n);
        }
    }
    return NULL;
}

/* Any thread may assign and look up: each name has one address, whoever asks. */
static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    static struct crowd crowds[4];
    struct synth_map *w = map_writer("198.18.0.0/24", NULL), *r = map_reader();
    for (size_t i = 0; i < 4; i++) {
        crowds[i] = (struct crowd){.w = w, .r = r};
        assert_int_equal(pthread_create(&threads[i], NULL, assign_and_look, &crowds[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(crowds[i].wrong);
        for (size_t j = 0; j < 64; j++) {
            assert_true(ip_is_equal(&crowds[i].seen[j], &crowds[0].seen[j]));
        }
    }
    synth_map_close(w);
    synth_map_close(r);
}

/* Whatever the counter of changes says, for no checksum covers it: a writer reads the file before it gives.
 */
static void test_counter_at_its_end(void **state)
{
    (void)state;
    static const uint8_t end[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct synth_map *w = map_writer("198.18.0.0/30", NULL);
    struct host_name a = map_numbered(1), b = map_numbered(2), c = map_numbered(3);
    const struct ip first = map_give(w, &a, MAP_NOW_S);
    (void)map_give(w, &b, MAP_NOW_S);
    synth_map_close(w);
    int fd = open(map_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, end, sizeof(end), SYNTH_CHANGES_OFFSET), sizeof(end));
    close(fd);
    w = map_writer("198.18.0.0/30", NULL);
    struct ip v4, v6;
    assert_int_equal(map_ask(w, &c, MAP_TTL_S, MAP_NOW_S, &v4, &v6), -ENOSPC);
    v4 = map_give(w, &a, MAP_NOW_S + 1);
    assert_true(ip_is_equal(&v4, &first));
    synth_map_close(w);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, map_set_up, map_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_stable_in_both_families),
        CASE(test_one_family),
        CASE(test_restart_keeps),
        CASE(test_hold),
        CASE(test_full_pool),
        CASE(test_reader_comes_first),
        CASE(test_two_writers),
        CASE(test_two_writers_and_holds),
        CASE(test_other_pools_beside_a_writer),
        CASE(test_wildcards),
        CASE(test_name_changes_its_class),
        CASE(test_use),
        CASE(test_counter_at_its_end),
        CASE(test_less_grace),
        CASE(test_use_deleted),
        CASE(test_killed_while_moving),
        CASE(test_threads),
    };
    log_init("test_synth_map", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests_name("synth_map", tests, NULL, NULL);
}
