/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf as it changes in practice, with real files and a real loop. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/resolv_watch.h"
#include "tests/support/scratch_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_S 20.0

struct scene {
    struct scratch_dir dir;
    struct ev_loop *loop;
    struct resolv_watch *watch;
    char path[SCRATCH_PATH_CAP];
    struct upstream_list told;
    unsigned changes;
    int log_fd;
    char log[8192];
};

static void on_change(void *ctx, const struct upstream_list *list)
{
    struct scene *s = ctx;
    s->told = *list;
    s->changes++;
    ev_break(s->loop, EVBREAK_ALL);
}

/* 127.0.0.1 is ours. */
static int check_own(void *ctx, const struct addr *upstream, struct err *err)
{
    (void)ctx;
    struct ip own = ip_v4(127, 0, 0, 1);
    if (!ip_is_equal(&upstream->ip, &own)) {
        return 0;
    }
    err_set(err, "upstream 127.0.0.1:53 is our own listener");
    return -EINVAL;
}

static void put(const struct scene *s, const char *name, const char *text)
{
    scratch_dir_write(&s->dir, name, text, strlen(text));
}

static void swap(const struct scene *s, const char *from, const char *to)
{
    char a[SCRATCH_PATH_CAP];
    char b[SCRATCH_PATH_CAP];
    assert_int_equal(rename(scratch_dir_path(&s->dir, from, a), scratch_dir_path(&s->dir, to, b)), 0);
}

static void begin(struct scene *s, const char *name)
{
    struct resolv_watch_config cfg = {.loop = s->loop,
                                      .check = check_own,
                                      .on_change = on_change,
                                      .ctx = s,
                                      .path = s->path,
                                      .quiet_ms = 10};
    struct err err = {""};
    const struct str_list none = {0};
    (void)scratch_dir_path(&s->dir, name, s->path);
    assert_int_equal(upstreams_find(&none, s->path, &cfg.in_use, &err), 0);
    assert_int_equal(resolv_watch_new(&cfg, &s->watch), 0);
}

static void on_patience(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)w;
    (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

static void run(struct scene *s, double limit_s)
{
    ev_timer timer;
    ev_timer_init(&timer, on_patience, limit_s, 0.0);
    ev_now_update(s->loop);
    ev_timer_start(s->loop, &timer);
    (void)ev_run(s->loop, 0);
    ev_timer_stop(s->loop, &timer);
}

/* The next change that is told is this one. */
static void expect(struct scene *s, const char *texts)
{
    char text[UPSTREAMS_TEXT_CAP];
    unsigned before = s->changes;
    run(s, PATIENCE_S);
    assert_int_equal(s->changes, before + 1);
    assert_string_equal(upstreams_text(s->told.addrs, NULL, s->told.count, text), texts);
}

static const char *read_log(struct scene *s)
{
    ssize_t n = pread(s->log_fd, s->log, sizeof(s->log) - 1, 0);
    assert_true(n >= 0);
    s->log[n] = '\0';
    return s->log;
}

static unsigned logged(struct scene *s, const char *text)
{
    unsigned count = 0;
    for (const char *p = strstr(read_log(s), text); p != NULL; p = strstr(p + 1, text)) {
        count++;
    }
    return count;
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    char path[SCRATCH_PATH_CAP];
    assert_non_null(s);
    scratch_dir_make(&s->dir);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    s->log_fd = open(scratch_dir_path(&s->dir, "log", path), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    assert_true(s->log_fd >= 0);
    log_init("test", LOG_INFO, LOG_TEXT, s->log_fd);
    put(s, "resolv.conf", "nameserver 192.0.2.1\n");
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    resolv_watch_free(s->watch);
    ev_loop_destroy(s->loop);
    (void)close(s->log_fd);
    scratch_dir_remove(&s->dir);
    free(s);
    return 0;
}

static void test_rename_and_write(void **state)
{
    struct scene *s = *state;
    begin(s, "resolv.conf");
    resolv_watch_start(s->watch);
    assert_int_equal(s->changes, 0);
    put(s, "resolv.conf.tmp", "nameserver 192.0.2.2\nnameserver 2001:db8::2\n");
    swap(s, "resolv.conf.tmp", "resolv.conf");
    expect(s, "192.0.2.2:53,[2001:db8::2]:53");
    put(s, "resolv.conf", "nameserver 192.0.2.3\n");
    expect(s, "192.0.2.3:53");
    assert_int_equal(logged(s, "upstreams_changed old=192.0.2.1:53 new=192.0.2.2:53,[2001:db8::2]:53"), 1);
    assert_int_equal(logged(s, "upstreams_changed "), 2);
}

/* systemd-resolved and resolvconf: a link, whose target or itself is replaced. */
static void test_symbolic_links(void **state)
{
    struct scene *s = *state;
    char link_path[SCRATCH_PATH_CAP];
    char dir[SCRATCH_PATH_CAP];
    assert_int_equal(mkdir(scratch_dir_path(&s->dir, "run", dir), 0700), 0);
    put(s, "run/stub", "nameserver 127.0.0.53\n");
    put(s, "run/real", "nameserver 192.0.2.4\n");
    assert_int_equal(symlink("run/stub", scratch_dir_path(&s->dir, "link", link_path)), 0);
    begin(s, "link");
    resolv_watch_start(s->watch);
    put(s, "run/new", "nameserver 192.0.2.5\n");
    swap(s, "run/new", "run/stub");
    expect(s, "192.0.2.5:53");
    assert_int_equal(symlink("run/real", scratch_dir_path(&s->dir, "link2", link_path)), 0);
    swap(s, "link2", "link");
    expect(s, "192.0.2.4:53");
}

/* What changed between the start and the first look. */
static void test_first_look(void **state)
{
    struct scene *s = *state;
    begin(s, "resolv.conf");
    put(s, "resolv.conf", "nameserver 192.0.2.6\n");
    resolv_watch_start(s->watch);
    assert_int_equal(s->changes, 1);
}

/* Whatever is wrong, the list stays, and each reason is told once. */
static void test_last_good_stays(void **state)
{
    struct scene *s = *state;
    begin(s, "resolv.conf");
    resolv_watch_start(s->watch);
    assert_int_equal(unlink(s->path), 0);
    resolv_watch_look(s->watch);
    resolv_watch_look(s->watch);
    assert_int_equal(logged(s, "upstreams_kept "), 1);
    assert_int_equal(logged(s, "No such file"), 1);
    put(s, "resolv.conf", "");
    resolv_watch_look(s->watch);
    resolv_watch_look(s->watch);
    assert_int_equal(logged(s, "no nameserver in "), 1);
    put(s, "resolv.conf", "nameserver 127.0.0.1\nnameserver 0.0.0.0\n"); /* both are us */
    resolv_watch_look(s->watch);
    resolv_watch_look(s->watch);
    assert_int_equal(logged(s, "our own listener"), 1);
    assert_int_equal(logged(s, "upstreams_kept "), 3);
    assert_int_equal(logged(s, "upstreams=192.0.2.1:53"), 3);
    assert_int_equal(unlink(s->path), 0);
    assert_int_equal(mkdir(s->path, 0700), 0); /* a directory in its place */
    resolv_watch_look(s->watch);
    assert_int_equal(logged(s, "upstreams_kept "), 4);
    assert_int_equal(rmdir(s->path), 0);
    put(s, "resolv.conf", "nameserver 192.0.2.1\n");
    resolv_watch_look(s->watch);
    resolv_watch_look(s->watch);
    assert_int_equal(logged(s, "upstreams_restored upstreams=192.0.2.1:53"), 1);
    assert_int_equal(s->changes, 0);
    assert_int_equal(unlink(s->path), 0);
    resolv_watch_look(s->watch);
    put(s, "resolv.conf", "nameserver 192.0.2.8\n"); /* it comes back as another one */
    resolv_watch_look(s->watch);
    assert_int_equal(s->changes, 1);
}

static void test_our_own_is_left_out(void **state)
{
    struct scene *s = *state;
    begin(s, "resolv.conf");
    resolv_watch_start(s->watch);
    put(s, "resolv.conf", "nameserver 127.0.0.1\nnameserver 192.0.2.9\n");
    resolv_watch_look(s->watch);
    resolv_watch_look(s->watch);
    assert_int_equal(s->changes, 1);
    assert_int_equal(s->told.count, 1);
    assert_int_equal(logged(s, "upstream_ignored addr=127.0.0.1:53"), 1);
}

/* The same list, in the same order, is no change; another order is. */
static void test_order(void **state)
{
    struct scene *s = *state;
    put(s, "resolv.conf", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    begin(s, "resolv.conf");
    resolv_watch_start(s->watch);
    put(s, "resolv.conf", "search x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.1\n");
    resolv_watch_look(s->watch);
    assert_int_equal(s->changes, 0);
    put(s, "resolv.conf", "nameserver 192.0.2.2\nnameserver 192.0.2.1\n");
    resolv_watch_look(s->watch);
    assert_int_equal(s->changes, 1);
    resolv_watch_free(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_rename_and_write), CASE(test_symbolic_links),      CASE(test_first_look),
        CASE(test_last_good_stays),  CASE(test_our_own_is_left_out), CASE(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
