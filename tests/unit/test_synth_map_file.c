/* SPDX-License-Identifier: Apache-2.0 */
/* The map's file: damage, foreign files, owners, versions, another boot, a writer killed at any moment. */
#include "tests/support/map_scene.h"

#include "common/base/log.h"
#include "common/run/synth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void flip(uint64_t at, uint8_t mask)
{
    uint8_t byte = 0;
    int fd = open(map_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(synth_file_read(fd, &byte, 1, at), 0);
    byte ^= mask;
    assert_int_equal(synth_file_write(fd, &byte, 1, at), 0);
    close(fd);
}

/* Every byte of a record, flipped: the address counts as never handed out, for a reader and for the next
 * writer. */
static void test_damaged_record(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/30", NULL), *r = map_reader();
    struct host_name n = map_name("gateway.discord.gg"), found;
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    uint64_t at = SYNTH_HEADER_BYTES + (ip.bytes[3] - 1u) * (uint64_t)SYNTH_RECORD_BYTES;
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND);
    for (uint64_t i = 0; i < SYNTH_RECORD_BYTES; i++) {
        flip(at + i, 0x55);
        struct synth_map *late = map_reader(); /* one that has not seen it before */
        assert_int_equal(map_look(late, ip, MAP_NOW_S, &found), SYNTH_NEVER);
        assert_int_equal(found.len, 0);
        synth_map_close(late);
        flip(at + i, 0x55);
    }
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND);
    flip(at + SYNTH_RECORD_BYTES - 1, 1);
    synth_map_close(w);
    w = map_writer("198.18.0.0/30", NULL);
    /* the slot is kept back as long as any client may remember its address: one slot is left of two */
    struct host_name other = map_name("api.slack.com"), third = map_name("third.example.org");
    struct ip given = map_give(w, &other, MAP_NOW_S), v4, v6;
    assert_false(ip_is_equal(&given, &ip));
    assert_int_equal(map_ask(w, &third, MAP_TTL_S, MAP_NOW_S + 3600 + MAP_GRACE_S, &v4, &v6), 0);
    assert_true(ip_is_equal(&v4, &given)); /* hold of the other over, the damaged one's not */
    assert_int_equal(map_ask(w, &other, MAP_TTL_S, MAP_NOW_S + 3600 + MAP_GRACE_S + 1, &v4, &v6), 0);
    assert_true(ip_is_equal(&v4, &ip));
    synth_map_close(w);
    synth_map_close(r);
}

/* What is logged goes here until said() is asked. */
static int log_begin(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    log_init("test_synth_map_file", LOG_WARN, LOG_TEXT, fd);
    return fd;
}

/* How many lines held text since log_begin(). */
static size_t said(int fd, const char *text)
{
    char bytes[4096];
    const ssize_t len = pread(fd, bytes, sizeof bytes - 1, 0);
    assert_true(len >= 0);
    bytes[len] = '\0';
    close(fd);
    log_init("test_synth_map_file", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    size_t count = 0;
    for (const char *at = strstr(bytes, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

/* Both sides say that they do not believe it: the reader once, however often it is asked. */
static void test_damage_is_told(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/29", NULL);
    struct host_name n = map_name("gateway.discord.gg"), other = map_name("api.slack.com"), found;
    struct ip ip = map_give(w, &n, MAP_NOW_S), whole = map_give(w, &other, MAP_NOW_S);
    synth_map_close(w);
    flip(SYNTH_HEADER_BYTES + (ip.bytes[3] - 1u) * (uint64_t)SYNTH_RECORD_BYTES + 40, 1);
    int log = log_begin();
    struct synth_map *r = map_reader();
    for (int64_t at_s = 0; at_s < 3; at_s++) {
        assert_int_equal(map_look(r, ip, MAP_NOW_S + at_s, &found), SYNTH_NEVER);
        assert_int_equal(map_look(r, whole, MAP_NOW_S + at_s, &found), SYNTH_FOUND);
    }
    assert_int_equal(said(log, "map_refused why=\"a record is damaged"), 1);
    log = log_begin();
    w = map_writer("198.18.0.0/29", NULL);
    assert_int_equal(said(log, " records=1 "), 1);
    synth_map_close(w);
    synth_map_close(r);
}

/* A record that is damaged while its writer lives is written anew with the next answer. */
static void test_damage_is_mended(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/30", NULL), *r = map_reader();
    struct host_name n = map_name("gateway.discord.gg"), found;
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    flip(SYNTH_HEADER_BYTES + (ip.bytes[3] - 1u) * (uint64_t)SYNTH_RECORD_BYTES + 30, 1);
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_NEVER);
    (void)map_give(w, &n, MAP_NOW_S + 1);
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND);
    assert_true(host_name_is_equal(&found, &n));
    synth_map_close(w);
    synth_map_close(r);
}

/* Opens for reading and expects a refusal that says text. */
static void refused(int errnum, const char *text)
{
    struct synth_map *m = NULL;
    struct err err = {""};
    assert_int_equal(synth_map_open_reader(map_path, &m, &err), -errnum);
    assert_null(m);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    }
}

static void test_mode_and_owner(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/29", NULL), *r = map_reader();
    struct host_name n = map_name("a.example.org"), found;
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    static const mode_t bad[] = {0664, 0646, 0666};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chmod(map_path, bad[i]), 0);
        refused(EPERM, "written by others");
        assert_int_equal(map_look(r, ip, MAP_NOW_S, &found),
                         SYNTH_NEVER); /* and a reader that was there already */
        map_writer_refused(EPERM, "written by others");
    }
    assert_int_equal(chmod(map_path, 0644), 0);
    assert_int_equal(map_look(r, ip, MAP_NOW_S + 1, &found), SYNTH_FOUND);
    if (geteuid() == 0) {
        assert_int_equal(chown(map_path, 12345, 0), 0);
        refused(EPERM, "belongs to uid 12345");
        map_writer_refused(EPERM, "belongs to uid 12345");
        assert_int_equal(map_look(r, ip, MAP_NOW_S + 2, &found), SYNTH_NEVER);
    } else {
        print_message("NOT TESTED: a map of another owner (needs root)\n");
    }
    synth_map_close(w);
    synth_map_close(r);
}

static void test_symlink_and_directory(void **state)
{
    (void)state;
    char target[128];
    struct synth_map *w = map_writer("198.18.0.0/29", NULL);
    synth_map_close(w);
    snprintf(target, sizeof(target), "%s.target", map_path);
    assert_int_equal(rename(map_path, target), 0);
    assert_int_equal(symlink(target, map_path), 0);
    refused(ELOOP, "egress.map");
    map_writer_refused(ELOOP, "egress.map");
    assert_int_equal(unlink(map_path), 0);
    assert_int_equal(unlink(target), 0);
    assert_int_equal(mkfifo(map_path, 0600), 0); /* neither blocks */
    refused(EPERM, "not a regular file");
    map_writer_refused(EPERM, "not a regular file");
    assert_int_equal(unlink(map_path), 0);
    char saved[sizeof(map_path)];
    memcpy(saved, map_path, sizeof(map_path));
    snprintf(map_path, sizeof(map_path), "%s/missing/egress.map", map_dir);
    map_writer_refused(ENOENT, "directory must exist");
    memcpy(map_path, saved, sizeof(map_path));
}

static void test_foreign_file_is_left_alone(void **state)
{
    (void)state;
    static const char text[] = "root:x:0:0:root:/root:/bin/bash\n";
    for (size_t len = 0; len <= sizeof(text) - 1; len += sizeof(text) - 1) {
        int fd = open(map_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct stat st;
        assert_true(fd >= 0);
        assert_int_equal(synth_file_write(fd, text, len, 0), 0);
        refused(EINVAL, "not a map");
        map_writer_refused(EINVAL, "not a map");
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, len);
        assert_int_equal(st.st_nlink, 1);
        close(fd);
    }
}

/* It puts a new map in place: "restart openshell-dnsd" is for the reader alone. */
static void is_said_to_a_writer_without_remedy(void)
{
    struct stat st;
    struct synth_header h;
    struct err err = {""};
    int fd = -1;
    assert_true(synth_file_open(map_path, O_RDWR, &fd, &st, &h, &err) < 0);
    assert_true(fd >= 0);
    assert_true(err.text[0] != '\0');
    assert_null(strstr(err.text, "restart"));
    close(fd);
}

static void test_other_version_and_damaged_header(void **state)
{
    (void)state;
    static const struct {
        uint64_t at;
        int errnum;
        const char *says;
    } damage[] = {{11, EPROTO, "restart both"},
                  {23, EBADMSG, "damaged: restart openshell-dnsd"},
                  {60, EBADMSG, "damaged: restart openshell-dnsd"}};
    struct host_name n = map_name("a.example.org"), found;
    for (size_t i = 0; i < 3; i++) {
        struct synth_map *w = map_writer("198.18.0.0/29", NULL), *r = map_reader();
        struct ip ip = map_give(w, &n, MAP_NOW_S);
        assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND);
        synth_map_close(w);
        flip(damage[i].at, 2);
        refused(damage[i].errnum, damage[i].says);
        is_said_to_a_writer_without_remedy();
        w = map_writer("198.18.0.0/29", NULL); /* dnsd replaces it */
        assert_int_equal(map_look(r, ip, MAP_NOW_S + 1, &found), SYNTH_NEVER);
        ip = map_give(w, &n, MAP_NOW_S);
        assert_int_equal(map_look(r, ip, MAP_NOW_S + 1, &found),
                         SYNTH_FOUND); /* and an old reader follows within a second */
        synth_map_close(w);
        synth_map_close(r);
    }
    struct synth_map *w = map_writer("198.18.0.0/29", NULL);
    synth_map_close(w);
    assert_int_equal(truncate(map_path, SYNTH_HEADER_BYTES + 5), 0);
    refused(EBADMSG, "size");
    assert_int_equal(truncate(map_path, 100), 0);
    refused(EINVAL, "not a map");
}

static void test_another_boot(void **state)
{
    (void)state;
    uint8_t bytes[SYNTH_HEADER_BYTES];
    struct synth_header h;
    struct synth_map *w = map_writer("198.18.0.0/29", NULL), *r = NULL;
    struct host_name n = map_name("a.example.org"), found;
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    synth_map_close(w);
    int fd = open(map_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(synth_file_read(fd, bytes, sizeof(bytes), 0), 0);
    assert_int_equal(synth_header_decode(bytes, &h), SYNTH_HEADER_GOOD);
    h.boot_id[0] ^= 1;
    synth_header_encode(&h, bytes);
    assert_int_equal(synth_file_write(fd, bytes, sizeof(bytes), 0), 0);
    close(fd);
    r = map_reader(); /* no error: dnsd is about to write a new one */
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_NEVER);
    w = map_writer("198.18.0.0/29", NULL);
    assert_int_equal(map_look(r, ip, MAP_NOW_S + 1, &found), SYNTH_NEVER); /* it starts anew */
    (void)map_give(w, &n, MAP_NOW_S);
    assert_int_equal(map_look(r, ip, MAP_NOW_S + 1, &found),
                     SYNTH_FOUND); /* the name's place is the same again */
    synth_map_close(w);
    synth_map_close(r);
}

/* The child: assigns names for ever and reports each only when it was given. */
static void assign_for_ever(int out, uint32_t first)
{
    struct synth_map_config cfg = map_config("198.18.0.0/25", NULL);
    struct synth_map *m = NULL;
    if (synth_map_open_writer(&cfg, MAP_NOW_S, &m, NULL) < 0) {
        _exit(1);
    }
    for (uint32_t i = first;; i++) {
        struct host_name n = map_numbered(i % 1000);
        struct ip v4, v6;
        /* every hold is over at once, so that each assignment takes a slot from another name */
        int64_t now_s = MAP_NOW_S + (int64_t)i * (MAP_TTL_S + MAP_GRACE_S + 1);
        uint32_t report[2] = {i, 0};
        if (map_ask(m, &n, MAP_TTL_S, now_s, &v4, &v6) < 0) {
            _exit(2);
        }
        memcpy(&report[1], v4.bytes, 4);
        if (write(out, report, sizeof(report)) != sizeof(report)) {
            _exit(3);
        }
    }
}

static uint32_t kill_after(pid_t pid, int in, uint32_t reports, uint32_t last[2])
{
    uint32_t seen = 0, report[2];
    bool killed = false;
    while (read(in, report, sizeof(report)) == sizeof(report)) {
        memcpy(last, report, sizeof(report));
        if (++seen >= reports && !killed) {
            assert_int_equal(kill(pid, SIGKILL), 0);
            killed = true;
        }
    }
    assert_true(killed);
    return seen;
}

static void test_killed_writer(void **state)
{
    (void)state;
    uint32_t last[2] = {0, 0};
    for (uint32_t round = 0; round < 25; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(ends[0]);
            assign_for_ever(ends[1], last[0] + 2); /* each takes over from the one before */
        }
        close(ends[1]);
        (void)kill_after(pid, ends[0], 1 + round * 37, last);
        close(ends[0]);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        struct synth_map *r = map_reader();
        struct host_name expected = map_numbered(last[0] % 1000), found;
        struct ip ip = {.family = IP_V4};
        memcpy(ip.bytes, &last[1], 4);
        /* what was answered last is there; one assignment later its slot may have been taken, but not by then
         */
        int64_t then_s = MAP_NOW_S + (int64_t)last[0] * (MAP_TTL_S + MAP_GRACE_S + 1);
        enum synth_found seen = map_look(r, ip, then_s, &found);
        assert_true(seen == SYNTH_FOUND && host_name_is_equal(&found, &expected));
        for (unsigned i = 1; i < 127; i++) { /* everything else is a name that was given, or nothing */
            seen = map_look(r, ip_v4(198, 18, 0, (uint8_t)i), then_s, &found);
            assert_true((seen == SYNTH_NEVER) == (found.len == 0));
            assert_true(found.len == 0 ||
                        (found.text[0] == 'n' && strstr(found.text, ".example.org") != NULL));
        }
        struct synth_map *w = map_writer("198.18.0.0/25", NULL);
        struct ip again = map_give(w, &expected, then_s);
        assert_true(ip_is_equal(&again, &ip));
        synth_map_close(w);
        synth_map_close(r);
    }
}

/* FILE.use that is of no use to a reader, or not to be trusted: names are found all the same. */
static void test_use_file(void **state)
{
    (void)state;
    char use[sizeof(map_path) + 4];
    struct host_name a = map_numbered(1), b = map_numbered(2), c = map_numbered(3), found;
    struct stat st;
    struct ip v4, v6;
    const int64_t over_s = MAP_NOW_S + MAP_TTL_S + MAP_GRACE_S + 1;
    snprintf(use, sizeof(use), "%s.use", map_path);
    for (int kind = 0; kind < 4; kind++) {
        struct synth_map *w = map_writer("198.18.0.0/30", NULL);
        assert_int_equal(stat(use, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0660);
        const struct ip ip = map_give(w, &a, MAP_NOW_S);
        (void)map_give(w, &b, MAP_NOW_S);
        if (kind == 1) {
            assert_int_equal(unlink(use), 0);
        } else if (kind == 2) {
            assert_int_equal(chmod(use, 0666), 0);
        } else if (kind == 3) {
            assert_int_equal(truncate(use, 70), 0);
        }
        struct synth_map *r = map_reader();
        assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND);
        synth_map_use(r, &ip, over_s - 1);
        assert_int_equal(map_look(r, ip, over_s, &found), kind == 0 ? SYNTH_FOUND : SYNTH_EXPIRED);
        synth_map_close(w);
        w = map_writer("198.18.0.0/30", NULL); /* takes over what is good, and makes what is not anew */
        (void)map_give(w, &b, over_s);
        assert_int_equal(map_ask(w, &c, MAP_TTL_S, over_s, &v4, &v6), kind == 0 ? -ENOSPC : 0);
        if (kind != 0) { /* c has a's slot now; a reader that was there finds the new file after a while */
            assert_int_equal(map_look(r, v4, over_s + 61, &found), SYNTH_FOUND);
            synth_map_use(r, &v4, over_s + MAP_TTL_S + MAP_GRACE_S);
            assert_int_equal(map_look(r, v4, over_s + MAP_TTL_S + MAP_GRACE_S + 1, &found), SYNTH_FOUND);
        }
        synth_map_close(r);
        synth_map_close(w);
        assert_int_equal(unlink(use), 0);
        assert_int_equal(unlink(map_path), 0);
    }
}

/* A writer that died between two names of its new file: the next one does not fill the map anew. */
static void test_two_names_of_one_file(void **state)
{
    (void)state;
    char name[sizeof(map_path) + 4];
    struct host_name n = map_name("a.example.org"), found;
    snprintf(name, sizeof(name), "%s.new", map_path);
    struct synth_map *w = map_writer("198.18.0.0/29", NULL);
    struct ip ip = map_give(w, &n, MAP_NOW_S);
    synth_map_close(w);
    assert_int_equal(link(map_path, name), 0);
    flip(11, 1); /* so that it would be replaced */
    w = map_writer("198.18.0.0/29", NULL);
    (void)map_give(w, &n, MAP_NOW_S);
    assert_int_equal(access(name, F_OK), -1);
    struct synth_map *r = map_reader();
    assert_int_equal(map_look(r, ip, MAP_NOW_S, &found), SYNTH_FOUND);
    synth_map_close(r);
    synth_map_close(w);
}

/* Another dnsd that is stopped in the middle of a change: this one says so instead of waiting for ever. */
static void test_locked_by_another(void **state)
{
    (void)state;
    struct synth_map *w = map_writer("198.18.0.0/29", NULL);
    struct host_name n = map_name("a.example.org");
    struct ip v4, v6;
    int fd = open(map_path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(synth_file_lock(fd, SYNTH_LOCK_CHANGE, false), 0);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S, &v4, &v6), -EBUSY);
    close(fd);
    assert_int_equal(map_ask(w, &n, MAP_TTL_S, MAP_NOW_S, &v4, &v6), 0);
    synth_map_close(w);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, map_set_up, map_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_damaged_record),
        CASE(test_damage_is_told),
        CASE(test_damage_is_mended),
        CASE(test_mode_and_owner),
        CASE(test_symlink_and_directory),
        CASE(test_foreign_file_is_left_alone),
        CASE(test_other_version_and_damaged_header),
        CASE(test_another_boot),
        CASE(test_killed_writer),
        CASE(test_use_file),
        CASE(test_two_names_of_one_file),
        CASE(test_locked_by_another),
    };
    log_init("test_synth_map_file", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests_name("synth_map_file", tests, NULL, NULL);
}
