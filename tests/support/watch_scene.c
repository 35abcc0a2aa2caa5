/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/watch_scene.h"

#include "common/base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

const char *watch_at(const struct watch_scene *f, const char *name)
{
    static char paths[4][SCRATCH_PATH_CAP];
    static unsigned next;
    next = (next + 1) % 4;
    return scratch_dir_path(&f->dir, name, paths[next]);
}

void watch_put(const struct watch_scene *f, const char *name, const char *text)
{
    scratch_dir_write(&f->dir, name, text, strlen(text));
}

static void on_change(void *ctx)
{
    struct watch_scene *f = ctx;
    f->changes++;
    path_watch_begin(f->watch);
    if (f->during_read_once) {
        f->during_read_once = false;
        watch_put(f, "policy.yaml", "meanwhile");
    }
    f->ended = path_watch_end(f->watch);
}

static void on_failure(void *ctx, const char *directory, int error)
{
    struct watch_scene *f = ctx;
    assert_true(directory[0] != '\0');
    f->failures++;
    f->error = error;
}

static bool wants_yaml(const char *name)
{
    size_t len = strlen(name);
    return name[0] != '.' && len > 5 && strcmp(name + len - 5, ".yaml") == 0;
}

void watch_open(struct watch_scene *f, const char *path)
{
    (void)snprintf(f->path, sizeof(f->path), "%s", path);
    f->paths[0] = f->path;
    const struct path_watch_config cfg = {.loop = f->loop,
                                          .paths = f->paths,
                                          .path_count = 1,
                                          .wants = wants_yaml,
                                          .quiet_ms = WATCH_QUIET_MS,
                                          .limit_ms = f->limit_ms,
                                          .on_change = on_change,
                                          .on_failure = on_failure,
                                          .ctx = f};
    assert_int_equal(path_watch_new(&cfg, &f->watch), 0);
    path_watch_arm(f->watch);
}

int watch_set_up(void **state)
{
    struct watch_scene *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->limit_ms = WATCH_LIMIT_MS;
    scratch_dir_make(&f->dir);
    f->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f->loop);
    watch_put(f, "policy.yaml", "0");
    *state = f;
    return 0;
}

int watch_tear_down(void **state)
{
    struct watch_scene *f = *state;
    if (geteuid() != getuid()) {
        assert_int_equal(seteuid(getuid()), 0);
        assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0); /* or the leak checker cannot look */
    }
    path_watch_free(f->watch);
    ev_loop_destroy(f->loop);
    scratch_dir_remove(&f->dir);
    free(f);
    return 0;
}

static void on_end_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)t;
    (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

/* Runs the loop until on_change came once more, or for ms. */
bool watch_run(struct watch_scene *f, int ms)
{
    unsigned before = f->changes;
    ev_timer end;
    ev_now_update(f->loop);
    ev_timer_init(&end, on_end_timer, ms / 1000.0, 0.0);
    ev_timer_start(f->loop, &end);
    while (f->changes == before && ev_is_active(&end)) {
        (void)ev_run(f->loop, EVRUN_ONCE);
    }
    ev_timer_stop(f->loop, &end);
    return f->changes != before;
}

/* The change is told, and the path then leads to text; NULL: to nothing. */
void watch_expect(struct watch_scene *f, const char *text)
{
    char got[64] = "";
    int64_t end_ms = clock_mono_ms() + WATCH_PATIENCE_MS;
    for (;;) {
        int fd = open(f->path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, got, sizeof(got) - 1);
        got[n > 0 ? n : 0] = '\0';
        bool is_right = text == NULL ? fd < 0 : fd >= 0 && strcmp(got, text) == 0;
        if (fd >= 0) {
            (void)close(fd);
        }
        if (!watch_run(f, WATCH_PATIENCE_MS) || clock_mono_ms() > end_ms) {
            fail_msg("not told that it is \"%s\" now", text == NULL ? "(absent)" : text);
        }
        if (is_right) {
            return;
        }
    }
}

void watch_expect_silence(struct watch_scene *f)
{
    assert_false(watch_run(f, WATCH_QUIET_MS * 4));
}

void watch_rename(const struct watch_scene *f, const char *from, const char *to)
{
    assert_int_equal(rename(watch_at(f, from), watch_at(f, to)), 0);
}

void watch_link(const struct watch_scene *f, const char *target, const char *name)
{
    assert_int_equal(symlink(target, watch_at(f, name)), 0);
}

void watch_make_dir(const struct watch_scene *f, const char *name)
{
    assert_int_equal(mkdir(watch_at(f, name), 0700), 0);
}
