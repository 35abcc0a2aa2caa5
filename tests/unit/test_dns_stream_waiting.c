/* SPDX-License-Identifier: Apache-2.0 */
/* More questions than the connections to an upstream take: they wait. */
#include "tests/support/stream_scene.h"

#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define PLACES ((size_t)DNS_STREAM_CONNS_MAX * DNS_STREAM_PIPELINE_MAX)
#define SERVED_MAX 512 /* connections of a server that answers */

struct server {
    struct scene *scene;
    unsigned closes_after; /* so many answers; 0: never */
    int fds[SERVED_MAX];
    unsigned answered[SERVED_MAX]; /* on each of them */
    size_t count;
};

static struct asked *ask_many(struct scene *s, size_t count, size_t spare)
{
    struct asked *q = calloc(count + spare, sizeof(*q));
    assert_non_null(q);
    for (size_t i = 0; i < count + spare; i++) {
        q[i].scene = s;
    }
    for (size_t i = 0; i < count; i++) {
        ask(&q[i], (uint8_t)i);
    }
    return q;
}

static void free_all(struct scene *s, struct asked *q)
{
    dns_streams_free(s->streams); /* before what they call back with */
    s->streams = NULL;
    free(q);
}

static size_t count_done(const struct asked *q, size_t count, int error)
{
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        done += q[i].is_done && q[i].error == error ? 1 : 0;
    }
    return done;
}

/* What has come on a connection whole is answered. */
static void serve_conn(struct server *v, size_t k)
{
    int *fd = &v->fds[k];
    struct seen seen;
    while (*fd >= 0 && recv(*fd, seen.frame, sizeof(seen.frame), MSG_PEEK | MSG_DONTWAIT) ==
                           (ssize_t)sizeof(seen.frame)) {
        assert_int_equal(recv(*fd, seen.frame, sizeof(seen.frame), 0), sizeof(seen.frame));
        answer(*fd, &seen);
        if (++v->answered[k] == v->closes_after) {
            (void)shutdown(*fd, SHUT_RDWR);
            (void)close(*fd);
            *fd = -1;
        }
    }
}

/* Until all are answered. */
static void serve(struct server *v, const struct asked *q, size_t count)
{
    assert_true(fcntl(v->scene->listen_fd, F_SETFL, O_NONBLOCK) == 0);
    for (int i = 0; i < LIMIT_MS && count_done(q, count, 0) < count; i++) {
        fake_run_for(v->scene->loop, 1);
        int fd;
        while ((fd = accept4(v->scene->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
            assert_true(v->count < SERVED_MAX);
            v->answered[v->count] = 0;
            v->fds[v->count++] = fd;
        }
        for (size_t k = 0; k < v->count; k++) {
            serve_conn(v, k);
        }
    }
    assert_int_equal(count_done(q, count, 0), count);
    for (size_t k = 0; k < v->count; k++) {
        if (v->fds[k] >= 0) {
            (void)close(v->fds[k]);
        }
    }
}

static void test_many_to_one_that_pipelines(void **state)
{
    struct scene *s = *state;
    struct server v = {.scene = s};
    const size_t all = PLACES + 300;
    struct asked *q = ask_many(s, all, 0);
    serve(&v, q, all);
    assert_int_equal(dns_streams_stats(s->streams)->opened, DNS_STREAM_CONNS_MAX);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 0);
    free_all(s, q);
}

/* First it takes many on a connection with it, and all but one of them are asked again, one by one. */
static void test_many_to_one_that_answers_once(void **state)
{
    struct scene *s = *state;
    struct server v = {.scene = s, .closes_after = 1};
    const size_t all = 150;
    struct asked *q = ask_many(s, all, all);
    serve(&v, q, all);
    for (size_t i = all; i < 2 * all; i++) {
        ask(&q[i], (uint8_t)i); /* now that it is known for that */
    }
    v.count = 0;
    serve(&v, q, 2 * all);
    free_all(s, q);
}

/* As servers do that have a limit on the questions of a connection. */
static void test_many_to_one_that_answers_some(void **state)
{
    struct scene *s = *state;
    for (unsigned limit = 2; limit <= 11; limit += 3) {
        struct server v = {.scene = s, .closes_after = limit};
        struct asked *q = ask_many(s, 100, 0);
        serve(&v, q, 100);
        renew(s, 3000, 10000);
        free(q);
    }
}

/* All places are taken on the connections that are accepted into fds. */
static struct asked *fill(struct scene *s, int fds[DNS_STREAM_CONNS_MAX], size_t spare)
{
    struct asked *q = ask_many(s, PLACES, spare);
    for (size_t i = 0; i < DNS_STREAM_CONNS_MAX; i++) {
        fds[i] = accept_one(s);
    }
    return q;
}

static void close_all(const int fds[DNS_STREAM_CONNS_MAX])
{
    for (size_t i = 0; i < DNS_STREAM_CONNS_MAX; i++) {
        (void)close(fds[i]);
    }
}

static void test_first_come_first_served(void **state)
{
    struct scene *s = *state;
    int fds[DNS_STREAM_CONNS_MAX];
    struct asked *q = fill(s, fds, 3);
    struct asked *late = &q[PLACES];
    struct seen seen[DNS_STREAM_PIPELINE_MAX], next;
    ask(&late[0], 0xa0);
    ask(&late[1], 0xa1);
    ask(&late[2], 0xa2);
    for (size_t i = 0; i < DNS_STREAM_PIPELINE_MAX; i++) {
        read_query(s, fds[0], &seen[i]);
    }
    dns_stream_cancel(late[0].query);
    answer(fds[0], &seen[0]); /* makes room for one */
    read_query(s, fds[0], &next);
    assert_int_equal(tag_of(&next), 0xa1);
    for (size_t i = 0; i < PLACES; i++) {
        if (q[i].tag == tag_of(&seen[1]) && !q[i].is_done) {
            dns_stream_cancel(q[i].query); /* so does this, here or on another connection */
            break;
        }
    }
    for (size_t i = 1; i < DNS_STREAM_PIPELINE_MAX; i++) {
        answer(fds[0], &seen[i]);
    }
    answer(fds[0], &next);
    finish(s, &late[1]);
    close_all(fds); /* what is on them is asked again, and what waits on connections of their place */
    struct server v = {.scene = s};
    serve(&v, &late[2], 1);
    assert_false(late[0].is_done);
    free_all(s, q);
}

/* Those that wait are cancelled, from a call back too, and go with the streams: nobody hears of them. */
static void test_cancel_of_waiting(void **state)
{
    struct scene *s = *state;
    int fds[DNS_STREAM_CONNS_MAX];
    struct asked *q = fill(s, fds, 4);
    struct asked *late = &q[PLACES];
    struct seen seen;
    for (uint8_t i = 0; i < 3; i++) {
        ask(&late[i], (uint8_t)(0xa0 + i));
    }
    dns_stream_cancel(late[1].query);
    read_query(s, fds[0], &seen);
    for (size_t i = 0; i < PLACES; i++) {
        q[i].cancels = q[i].tag == tag_of(&seen) ? &late[0] : NULL;
        q[i].asks = q[i].tag == tag_of(&seen) ? &late[3] : NULL; /* behind those that wait */
    }
    answer(fds[0], &seen);
    for (int i = 0; i < LIMIT_MS && count_done(q, PLACES, 0) == 0; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(count_done(q, PLACES, 0), 1);
    dns_streams_free(s->streams);
    s->streams = NULL;
    fake_run_for(s->loop, 5);
    assert_int_equal(count_done(late, 4, 0), 0);
    close_all(fds);
    free(q);
}

/* They do not wait for connections that nobody takes. */
static void test_nobody_is_there(void **state)
{
    struct scene *s = *state;
    (void)close(s->listen_fd);
    s->listen_fd = -1;
    const size_t all = PLACES + 300;
    struct asked *q = ask_many(s, all, 0);
    finish(s, &q[all - 1]);
    assert_int_equal(count_done(q, all, -ECONNREFUSED), all);
    free_all(s, q);
}

static struct rlimit old_limit;

static void take_descriptors(void)
{
    struct rlimit none = {0};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
    none.rlim_max = old_limit.rlim_max;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static bool give_descriptors(void *ctx)
{
    (void)ctx;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old_limit), 0);
    return true;
}

/* All connections end, and there is no descriptor for another one. */
static void test_no_descriptor_is_left(void **state)
{
    struct scene *s = *state;
    int fds[DNS_STREAM_CONNS_MAX];
    struct asked *q = fill(s, fds, 3);
    for (size_t i = 0; i < 3; i++) {
        ask(&q[PLACES + i], (uint8_t)i);
    }
    take_descriptors();
    close_all(fds);
    for (int i = 0; i < LIMIT_MS && !q[PLACES + 2].is_done; i++) {
        (void)ev_run(s->loop, EVRUN_ONCE);
    }
    (void)give_descriptors(s);
    assert_int_equal(count_done(&q[PLACES], 3, -EMFILE), 3);
    free_all(s, q);
}

/* A connection that is busy is better than none, and so is a place in the line where all are full. */
static void test_no_descriptor_for_another_connection(void **state)
{
    struct scene *s = *state;
    struct server v = {.scene = s};
    const size_t busy = DNS_STREAM_BUSY;
    const size_t all = DNS_STREAM_PIPELINE_MAX + 1;
    struct asked *q = ask_many(s, busy, all - busy);
    (void)has_connection_waiting(s); /* it stands */
    take_descriptors();
    for (size_t i = busy; i < all; i++) {
        ask(&q[i], (uint8_t)i);
    }
    fake_run_for(s->loop, 5);
    (void)give_descriptors(s);
    assert_int_equal(count_done(q, all, -EMFILE), 0);
    serve(&v, q, all);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 0);
    free_all(s, q);
}

static void test_descriptors_are_freed(void **state)
{
    struct scene *s = *state;
    struct server v = {.scene = s};
    s->free_descriptors = give_descriptors;
    renew(s, 3000, 10000);
    take_descriptors();
    struct asked *q = ask_many(s, 1, 0);
    serve(&v, q, 1);
    free_all(s, q);
}

/* What waits can become another question, for another one, and keeps its place. */
static void test_renewed_while_it_waits(void **state)
{
    struct scene *s = *state;
    int fds[DNS_STREAM_CONNS_MAX];
    struct asked *q = fill(s, fds, 3);
    struct asked *late = &q[PLACES];
    struct seen seen;
    uint8_t msg[QUERY_LEN] = {0xab, 0xb0};
    msg[QUERY_LEN - 1] = 0xb0;
    ask(&late[0], 0xa0);
    ask(&late[1], 0xa1);
    late[2].tag = 0xb0;
    assert_false(dns_stream_renew(late[0].query, span_make(msg, 4), &late[2]));
    assert_true(dns_stream_renew(late[0].query, span_make(msg, sizeof(msg)), &late[2]));
    for (size_t i = 0; i < DNS_STREAM_PIPELINE_MAX; i++) {
        read_query(s, fds[0], &seen);
    }
    answer(fds[0], &seen);
    read_query(s, fds[0], &seen);
    assert_int_equal(tag_of(&seen), 0xb0);
    assert_false(
        dns_stream_renew(late[0].query, span_make(msg, sizeof(msg)), &late[0])); /* it is on its way */
    answer(fds[0], &seen);
    finish(s, &late[2]);
    assert_false(late[0].is_done);
    close_all(fds);
    free_all(s, q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_CASE(test_many_to_one_that_pipelines),
        STREAM_CASE(test_many_to_one_that_answers_once),
        STREAM_CASE(test_many_to_one_that_answers_some),
        STREAM_CASE(test_first_come_first_served),
        STREAM_CASE(test_cancel_of_waiting),
        STREAM_CASE(test_nobody_is_there),
        STREAM_CASE(test_no_descriptor_is_left),
        STREAM_CASE(test_no_descriptor_for_another_connection),
        STREAM_CASE(test_descriptors_are_freed),
        STREAM_CASE(test_renewed_while_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
