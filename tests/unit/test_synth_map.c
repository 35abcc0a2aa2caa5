/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_map.h"

#include "common/base/log.h"
#include "common/run/synth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define GRACE_S 100
#define TTL_S 30
#define NOW_S 5000

static char dir[64];
static char path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_synth_map.XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/egress.map", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char name[128];
    (void)unlink(path);
    snprintf(name, sizeof(name), "%s.new", path);
    (void)unlink(name);
    return rmdir(dir);
}

static struct synth_map_config config_of(const char *v4, const char *v6)
{
    struct synth_map_config cfg = {.path = path, .grace_s = GRACE_S};
    const char *items[3] = {v4, v6, NULL};
    struct str_list list = {.items = items, .count = v6 != NULL ? 2 : 1};
    assert_int_equal(guard_parse_pools(&list, &cfg.pools, NULL), 0);
    return cfg;
}

static struct synth_map *writer(const char *v4, const char *v6)
{
    struct synth_map_config cfg = config_of(v4, v6);
    struct synth_map *m = NULL;
    struct err err = {""};
    if (synth_map_open_writer(&cfg, NOW_S, &m, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return m;
}

static struct synth_map *reader(void)
{
    struct synth_map *m = NULL;
    struct err err = {""};
    if (synth_map_open_reader(path, &m, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return m;
}

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static struct host_name numbered(unsigned i)
{
    char text[32];
    snprintf(text, sizeof(text), "n%u.example.org", i);
    return name_of(text);
}

static struct ip give(struct synth_map *m, const struct host_name *n, int64_t now_s)
{
    struct ip v4, v6;
    assert_int_equal(synth_map_assign(m, n, TTL_S, now_s, &v4, &v6), 0);
    return v4;
}

static enum synth_found look(struct synth_map *m, struct ip ip, int64_t now_s, struct host_name *out)
{
    return synth_map_lookup(m, &ip, now_s, out);
}

static void test_stable_in_both_families(void **state)
{
    (void)state;
    struct synth_map *w = writer("198.18.0.0/15", "fd00:5e11::/64"), *r = reader();
    struct ip v4[300], v6[300];
    for (unsigned i = 0; i < 300; i++) {
        struct host_name n = numbered(i);
        assert_int_equal(synth_map_assign(w, &n, TTL_S, NOW_S, &v4[i], &v6[i]), 0);
        assert_int_equal(v4[i].family, IP_V4);
        assert_int_equal(v6[i].family, IP_V6);
        for (unsigned j = 0; j < i; j++) {
            assert_false(ip_is_equal(&v4[i], &v4[j]) || ip_is_equal(&v6[i], &v6[j]));
        }
    }
    for (unsigned i = 0; i < 300; i++) {
        struct host_name n = numbered(i), found;
        struct ip again4, again6;
        assert_int_equal(synth_map_assign(w, &n, TTL_S, NOW_S + 7, &again4, &again6), 0);
        assert_true(ip_is_equal(&again4, &v4[i]) && ip_is_equal(&again6, &v6[i]));
        assert_int_equal(look(r, v4[i], NOW_S, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
        assert_int_equal(look(r, v6[i], NOW_S, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
        assert_int_equal(look(w, v4[i], NOW_S, &found), SYNTH_FOUND); /* dnsd asks its own map for PTR */
        assert_true(host_name_is_equal(&found, &n));
    }
    struct host_name found;
    assert_int_equal(look(r, ip_v4(10, 0, 0, 1), NOW_S, &found), SYNTH_NEVER);
    assert_int_equal(look(r, ip_v4(198, 18, 0, 0), NOW_S, &found), SYNTH_NEVER);
    synth_map_close(r);
    synth_map_close(w);
}

static void test_one_family(void **state)
{
    (void)state;
    struct ip v4, v6;
    struct host_name n = name_of("a.example.org");
    struct synth_map *w = writer("198.18.0.0/24", NULL);
    assert_int_equal(synth_map_assign(w, &n, TTL_S, NOW_S, &v4, &v6), 0);
    assert_true(v4.family == IP_V4 && v6.family == IP_NONE);
    synth_map_close(w);
    w = writer("fd00::/120", NULL);
    assert_int_equal(synth_map_assign(w, &n, TTL_S, NOW_S, &v4, &v6), 0);
    assert_true(v4.family == IP_NONE && v6.family == IP_V6);
    synth_map_close(w);
}

static void test_restart_keeps(void **state)
{
    (void)state;
    struct ip before[50];
    struct stat old, new;
    struct synth_map *w = writer("198.18.0.0/24", NULL);
    struct synth_map *r = reader();
    for (unsigned i = 0; i < 50; i++) {
        struct host_name n = numbered(i);
        before[i] = give(w, &n, NOW_S);
    }
    synth_map_close(w);
    assert_int_equal(stat(path, &old), 0);
    w = writer("198.18.0.0/24", NULL);
    assert_int_equal(stat(path, &new), 0);
    assert_int_equal(old.st_ino, new.st_ino);
    for (unsigned i = 50; i-- > 0;) {
        struct host_name n = numbered(i), found;
        struct ip again = give(w, &n, NOW_S + 1);
        assert_true(ip_is_equal(&again, &before[i]));
        assert_int_equal(look(r, again, NOW_S + 1, &found), SYNTH_FOUND);
        assert_true(host_name_is_equal(&found, &n));
    }
    synth_map_close(w);
    synth_map_close(r);
}

static void test_hold(void **state)
{
    (void)state;
    struct synth_map *w = writer("198.18.0.0/24", NULL), *r = reader();
    struct host_name n = name_of("a.example.org"), found;
    struct ip ip = give(w, &n, NOW_S);
    const int64_t last = NOW_S + TTL_S + GRACE_S;
    assert_int_equal(look(r, ip, last, &found), SYNTH_FOUND);
    assert_int_equal(look(r, ip, last + 1, &found), SYNTH_EXPIRED);
    assert_true(host_name_is_equal(&found, &n));
    (void)give(w, &n, NOW_S + 50); /* an answer lengthens the hold, and never shortens it */
    assert_int_equal(look(r, ip, last + 50, &found), SYNTH_FOUND);
    (void)give(w, &n, NOW_S + 10);
    assert_int_equal(look(r, ip, last + 50, &found), SYNTH_FOUND);
    assert_int_equal(look(r, ip, last + 51, &found), SYNTH_EXPIRED);
    struct ip again = give(w, &n, last + 1000); /* its own address even after the hold */
    assert_true(ip_is_equal(&again, &ip));
    assert_int_equal(look(r, ip, last + 1000, &found), SYNTH_FOUND);
    struct ip v4, v6;
    assert_int_equal(synth_map_assign(w, &n, UINT32_MAX, INT64_C(1) << 40, &v4, &v6), 0); /* no wrap-around */
    assert_int_equal(look(r, ip, UINT32_MAX, &found), SYNTH_FOUND);
    synth_map_close(w);
    synth_map_close(r);
}

static void test_full_pool(void **state)
{
    (void)state;
    struct synth_map *w = writer("198.18.0.0/29", NULL), *r = reader();
    struct host_name n, found;
    struct ip first = {0}, v4, v6;
    for (unsigned i = 0; i < 6; i++) {
        n = numbered(i);
        v4 = give(w, &n, NOW_S + i);
        first = i == 0 ? v4 : first;
    }
    n = numbered(6);
    const int64_t last = NOW_S + TTL_S + GRACE_S; /* of n0 */
    assert_int_equal(synth_map_assign(w, &n, TTL_S, NOW_S + 6, &v4, &v6), -ENOSPC);
    assert_int_equal(v4.family, IP_NONE);
    assert_int_equal(synth_map_assign(w, &n, TTL_S, last, &v4, &v6), -ENOSPC);
    struct ip given = give(w, &n, last + 1); /* the one answered longest ago, and only that is free now */
    assert_true(ip_is_equal(&given, &first));
    assert_int_equal(look(r, first, last + 1, &found), SYNTH_FOUND);
    assert_true(host_name_is_equal(&found, &n));
    n = numbered(0);
    assert_int_equal(synth_map_assign(w, &n, TTL_S, last + 1, &v4, &v6), -ENOSPC);
    synth_map_close(w);
    w = writer("198.18.0.0/29", NULL); /* the order and the holds outlive the writer */
    assert_int_equal(synth_map_assign(w, &n, TTL_S, last + 1, &v4, &v6), -ENOSPC);
    given = give(w, &n, last + 2);
    n = numbered(1);
    assert_int_equal(look(r, given, last + 2, &found), SYNTH_FOUND);
    assert_int_equal(synth_map_assign(w, &n, TTL_S, last + 2, &v4, &v6), -ENOSPC); /* it was n1's */
    synth_map_close(w);
    synth_map_close(r);
}

static void flip(uint64_t at, uint8_t mask)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
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
    struct synth_map *w = writer("198.18.0.0/30", NULL), *r = reader();
    struct host_name n = name_of("gateway.discord.gg"), found;
    struct ip ip = give(w, &n, NOW_S);
    uint64_t at = SYNTH_HEADER_BYTES + (ip.bytes[3] - 1u) * (uint64_t)SYNTH_RECORD_BYTES;
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND);
    for (uint64_t i = 0; i < SYNTH_RECORD_BYTES; i++) {
        flip(at + i, 0x55);
        assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER);
        assert_int_equal(found.len, 0);
        flip(at + i, 0x55);
    }
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND);
    flip(at + SYNTH_RECORD_BYTES - 1, 1);
    synth_map_close(w);
    w = writer("198.18.0.0/30", NULL);
    /* the slot is kept back as long as any client may remember its address: one slot is left of two */
    struct host_name other = name_of("api.slack.com"), third = name_of("third.example.org");
    struct ip given = give(w, &other, NOW_S), v4, v6;
    assert_false(ip_is_equal(&given, &ip));
    assert_int_equal(synth_map_assign(w, &third, TTL_S, NOW_S + 3600 + GRACE_S, &v4, &v6), 0);
    assert_true(ip_is_equal(&v4, &given)); /* hold of the other over, the damaged one's not */
    assert_int_equal(synth_map_assign(w, &other, TTL_S, NOW_S + 3600 + GRACE_S + 1, &v4, &v6), 0);
    assert_true(ip_is_equal(&v4, &ip));
    synth_map_close(w);
    synth_map_close(r);
}

/* A record that is damaged while its writer lives is written anew with the next answer. */
static void test_damage_is_mended(void **state)
{
    (void)state;
    struct synth_map *w = writer("198.18.0.0/30", NULL), *r = reader();
    struct host_name n = name_of("gateway.discord.gg"), found;
    struct ip ip = give(w, &n, NOW_S);
    flip(SYNTH_HEADER_BYTES + (ip.bytes[3] - 1u) * (uint64_t)SYNTH_RECORD_BYTES + 30, 1);
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER);
    (void)give(w, &n, NOW_S + 1);
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND);
    assert_true(host_name_is_equal(&found, &n));
    synth_map_close(w);
    synth_map_close(r);
}

/* Opens for reading and expects a refusal that says text. */
static void refused(int errnum, const char *text)
{
    struct synth_map *m = NULL;
    struct err err = {""};
    assert_int_equal(synth_map_open_reader(path, &m, &err), -errnum);
    assert_null(m);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    }
}

static void writer_refused(int errnum, const char *text)
{
    struct synth_map_config cfg = config_of("198.18.0.0/29", NULL);
    struct synth_map *m = NULL;
    struct err err = {""};
    assert_int_equal(synth_map_open_writer(&cfg, NOW_S, &m, &err), -errnum);
    assert_null(m);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    }
}

static void test_mode_and_owner(void **state)
{
    (void)state;
    struct synth_map *w = writer("198.18.0.0/29", NULL), *r = reader();
    struct host_name n = name_of("a.example.org"), found;
    struct ip ip = give(w, &n, NOW_S);
    static const mode_t bad[] = {0664, 0646, 0666};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chmod(path, bad[i]), 0);
        refused(EPERM, "written by others");
        assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER); /* and a reader that was there already */
        writer_refused(EPERM, "written by others");
    }
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(look(r, ip, NOW_S + 1, &found), SYNTH_FOUND);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        refused(EPERM, "belongs to uid 12345");
        writer_refused(EPERM, "belongs to uid 12345");
        assert_int_equal(look(r, ip, NOW_S + 2, &found), SYNTH_NEVER);
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
    struct synth_map *w = writer("198.18.0.0/29", NULL);
    synth_map_close(w);
    snprintf(target, sizeof(target), "%s.target", path);
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink(target, path), 0);
    refused(ELOOP, "egress.map");
    writer_refused(ELOOP, "egress.map");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(target), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* neither blocks */
    refused(EPERM, "not a regular file");
    writer_refused(EPERM, "not a regular file");
    assert_int_equal(unlink(path), 0);
    char saved[sizeof(path)];
    memcpy(saved, path, sizeof(path));
    snprintf(path, sizeof(path), "%s/missing/egress.map", dir);
    writer_refused(ENOENT, "directory must exist");
    memcpy(path, saved, sizeof(path));
}

static void test_foreign_file_is_left_alone(void **state)
{
    (void)state;
    static const char text[] = "root:x:0:0:root:/root:/bin/bash\n";
    for (size_t len = 0; len <= sizeof(text) - 1; len += sizeof(text) - 1) {
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        struct stat st;
        assert_true(fd >= 0);
        assert_int_equal(synth_file_write(fd, text, len, 0), 0);
        refused(EINVAL, "not a map");
        writer_refused(EINVAL, "not a map");
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, len);
        assert_int_equal(st.st_nlink, 1);
        close(fd);
    }
}

static void test_other_version_and_damaged_header(void **state)
{
    (void)state;
    static const struct {
        uint64_t at;
        int errnum;
        const char *says;
    } damage[] = {{11, EPROTO, "restart both"}, {23, EBADMSG, "damaged"}, {60, EBADMSG, "damaged"}};
    struct host_name n = name_of("a.example.org"), found;
    for (size_t i = 0; i < 3; i++) {
        struct synth_map *w = writer("198.18.0.0/29", NULL), *r = reader();
        struct ip ip = give(w, &n, NOW_S);
        assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND);
        synth_map_close(w);
        flip(damage[i].at, 2);
        refused(damage[i].errnum, damage[i].says);
        w = writer("198.18.0.0/29", NULL); /* dnsd replaces it */
        assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER);
        ip = give(w, &n, NOW_S);
        assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND); /* and an old reader follows at once */
        synth_map_close(w);
        synth_map_close(r);
    }
    struct synth_map *w = writer("198.18.0.0/29", NULL);
    synth_map_close(w);
    assert_int_equal(truncate(path, SYNTH_HEADER_BYTES + 5), 0);
    refused(EBADMSG, "size");
    assert_int_equal(truncate(path, 100), 0);
    refused(EINVAL, "not a map");
}

static void test_another_boot(void **state)
{
    (void)state;
    uint8_t bytes[SYNTH_HEADER_BYTES];
    struct synth_header h;
    struct synth_map *w = writer("198.18.0.0/29", NULL), *r = NULL;
    struct host_name n = name_of("a.example.org"), found;
    struct ip ip = give(w, &n, NOW_S);
    synth_map_close(w);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(synth_file_read(fd, bytes, sizeof(bytes), 0), 0);
    assert_int_equal(synth_header_decode(bytes, &h), SYNTH_HEADER_GOOD);
    h.boot_id[0] ^= 1;
    synth_header_encode(&h, bytes);
    assert_int_equal(synth_file_write(fd, bytes, sizeof(bytes), 0), 0);
    close(fd);
    r = reader(); /* no error: dnsd is about to write a new one */
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER);
    w = writer("198.18.0.0/29", NULL);
    assert_int_equal(look(r, ip, NOW_S + 1, &found), SYNTH_NEVER); /* it starts anew */
    (void)give(w, &n, NOW_S);
    assert_int_equal(look(r, ip, NOW_S + 1, &found), SYNTH_FOUND); /* the name's place is the same again */
    synth_map_close(w);
    synth_map_close(r);
}

static void test_reader_comes_first(void **state)
{
    (void)state;
    struct synth_map *r = reader();
    struct host_name n = name_of("a.example.org"), found;
    assert_int_equal(look(r, ip_v4(198, 18, 0, 1), NOW_S, &found), SYNTH_NEVER);
    struct synth_map *w = writer("198.18.0.0/24", NULL);
    struct ip ip = give(w, &n, NOW_S);
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND); /* within the same second */
    synth_map_close(w);
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_FOUND); /* dnsd restarting does not matter */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER);
    w = writer("10.9.0.0/24", NULL); /* another pool: the old addresses are nobody's */
    (void)give(w, &n, NOW_S);
    assert_int_equal(look(r, ip, NOW_S, &found), SYNTH_NEVER);
    synth_map_close(w);
    synth_map_close(r);
}

static void test_one_writer(void **state)
{
    (void)state;
    struct synth_map *w = writer("198.18.0.0/29", NULL);
    writer_refused(EBUSY, "in use by another");
    struct synth_map_config other = config_of("10.9.0.0/29", NULL), none = {.path = path};
    struct synth_map *m = NULL;
    struct err err = {""};
    assert_int_equal(synth_map_open_writer(&other, NOW_S, &m, NULL), -EBUSY); /* nor is it replaced */
    assert_int_equal(synth_map_open_writer(&none, NOW_S, &m, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--pool"));
    synth_map_close(w);
    w = writer("198.18.0.0/29", NULL);
    synth_map_close(w);
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
            struct host_name n = numbered(i), found;
            struct ip v4, v6;
            c->wrong |= synth_map_assign(c->w, &n, TTL_S, NOW_S + round, &v4, &v6) < 0;
            c->wrong |= round > 0 && !ip_is_equal(&c->seen[i], &v4);
            c->seen[i] = v4;
            c->wrong |= synth_map_lookup(c->r, &v4, NOW_S + round, &found) != SYNTH_FOUND;
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
    struct synth_map *w = writer("198.18.0.0/24", NULL), *r = reader();
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

/* The child: assigns names for ever and reports each only when it was given. */
static void assign_for_ever(int out, uint32_t first)
{
    struct synth_map_config cfg = config_of("198.18.0.0/25", NULL);
    struct synth_map *m = NULL;
    if (synth_map_open_writer(&cfg, NOW_S, &m, NULL) < 0) {
        _exit(1);
    }
    for (uint32_t i = first;; i++) {
        struct host_name n = numbered(i % 1000);
        struct ip v4, v6;
        /* every hold is over at once, so that each assignment takes a slot from another name */
        int64_t now_s = NOW_S + (int64_t)i * (TTL_S + GRACE_S + 1);
        uint32_t report[2] = {i, 0};
        if (synth_map_assign(m, &n, TTL_S, now_s, &v4, &v6) < 0) {
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

        struct synth_map *r = reader();
        struct host_name expected = numbered(last[0] % 1000), found;
        struct ip ip = {.family = IP_V4};
        memcpy(ip.bytes, &last[1], 4);
        /* what was answered last is there; one assignment later its slot may have been taken, but not by then
         */
        int64_t then_s = NOW_S + (int64_t)last[0] * (TTL_S + GRACE_S + 1);
        enum synth_found seen = look(r, ip, then_s, &found);
        assert_true(seen == SYNTH_FOUND && host_name_is_equal(&found, &expected));
        for (unsigned i = 1; i < 127; i++) { /* everything else is a name that was given, or nothing */
            seen = look(r, ip_v4(198, 18, 0, (uint8_t)i), then_s, &found);
            assert_true((seen == SYNTH_NEVER) == (found.len == 0));
            assert_true(found.len == 0 ||
                        (found.text[0] == 'n' && strstr(found.text, ".example.org") != NULL));
        }
        struct synth_map *w = writer("198.18.0.0/25", NULL);
        struct ip again = give(w, &expected, then_s);
        assert_true(ip_is_equal(&again, &ip));
        synth_map_close(w);
        synth_map_close(r);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_stable_in_both_families),
        CASE(test_one_family),
        CASE(test_restart_keeps),
        CASE(test_hold),
        CASE(test_full_pool),
        CASE(test_damaged_record),
        CASE(test_damage_is_mended),
        CASE(test_mode_and_owner),
        CASE(test_symlink_and_directory),
        CASE(test_foreign_file_is_left_alone),
        CASE(test_other_version_and_damaged_header),
        CASE(test_another_boot),
        CASE(test_reader_comes_first),
        CASE(test_one_writer),
        CASE(test_threads),
        CASE(test_killed_writer),
    };
    log_init("test_synth_map", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests_name("synth_map", tests, NULL, NULL);
}
