/* SPDX-License-Identifier: Apache-2.0 */
/* The admin listener's socket and its connections; the pages themselves are elsewhere. */
#include "common/run/admin.h"
#include "tests/support/scratch_dir.h"

#include "common/net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#define GET "GET /status HTTP/1.1\r\n\r\n"
#define LONG_BODY (500U * 1024U)

struct place { /* a directory with a path for the socket */
    struct scratch_dir dir;
    char path[SCRATCH_PATH_CAP];
    char option[SCRATCH_PATH_CAP + 8];
};

static void place_make(struct place *p)
{
    scratch_dir_make(&p->dir);
    (void)scratch_dir_path(&p->dir, "admin.sock", p->path);
    (void)snprintf(p->option, sizeof p->option, "unix:%s", p->path);
}

static int open_at(const char *option, struct admin_socket *out, struct err *err)
{
    struct listen_fds none = {.count = 0};
    *err = (struct err){""};
    return admin_socket_open(option, &none, out, err);
}

static struct sockaddr_un un_of(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const size_t len = strlen(path);
    assert_true(len < sizeof un.sun_path);
    memcpy(un.sun_path, path, len);
    return un;
}

static int bound(const char *path, int type)
{
    struct sockaddr_un un = un_of(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

static void test_check(void **state)
{
    (void)state;
    char longest[128], longer[128];
    memset(longest, 'a', sizeof longest);
    memset(longer, 'a', sizeof longer);
    memcpy(longest, "unix:/", 6);
    memcpy(longer, "unix:/", 6);
    longest[5 + 107] = '\0';
    longer[5 + 108] = '\0';
    const char *const good[] = {NULL, "127.0.0.1:9090", "[::1]:9090", "0.0.0.0:0", "unix:/a", longest};
    const char *const bad[] = {"",       "127.0.0.1", ":9090", "localhost:9090", "127.0.0.1:70000", "unix:",
                               "unix:a", "unix:@a",   "/a",    "UNIX:/a",        "[127.0.0.1]:1",   longer};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(admin_socket_check(good[i], NULL), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {""};
        assert_int_equal(admin_socket_check(bad[i], &err), -EINVAL);
        assert_int_equal(strncmp(err.text, "--admin: ", 9), 0);
    }
}

static void test_file(void **state)
{
    (void)state;
    static const mode_t masks[] = {0, 0022, 0777};
    struct place p;
    struct stat st;
    struct err err;
    struct admin_socket s;
    place_make(&p);
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        mode_t former = umask(masks[i]);
        assert_int_equal(open_at(p.option, &s, &err), 0);
        assert_int_equal(umask(former), masks[i]); /* as it was before */
        assert_int_equal(lstat(p.path, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 07777, 0660);
        assert_true(s.is_open && !s.is_tcp);
        assert_string_equal(s.text, p.option);
        admin_socket_fini(&s);
        assert_int_equal(lstat(p.path, &st), -1);
        admin_socket_fini(&s);
    }
    scratch_dir_remove(&p.dir);
}

static void test_what_is_there_already(void **state)
{
    (void)state;
    struct place p;
    struct admin_socket s, second;
    struct err err;
    struct stat st;
    place_make(&p);

    assert_int_equal(close(bound(p.path, SOCK_STREAM)), 0); /* left behind: nobody listens */
    assert_int_equal(open_at(p.option, &s, &err), 0);
    assert_int_equal(open_at(p.option, &second, &err), -EADDRINUSE); /* somebody does */
    assert_non_null(strstr(err.text, p.path));
    assert_int_equal(lstat(p.path, &st), 0);
    admin_socket_fini(&second);
    assert_int_equal(lstat(p.path, &st), 0);
    admin_socket_fini(&s);

    int fd = bound(p.path, SOCK_DGRAM); /* somebody's, though not of streams */
    assert_int_equal(open_at(p.option, &s, &err), -EADDRINUSE);
    assert_int_equal(lstat(p.path, &st), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(p.path), 0);

    scratch_dir_write(&p.dir, "admin.sock", "precious", 8);
    assert_int_equal(open_at(p.option, &s, &err), -EINVAL);
    assert_non_null(strstr(err.text, "is not a socket"));
    assert_int_equal(lstat(p.path, &st), 0);
    assert_int_equal(st.st_size, 8);
    assert_int_equal(unlink(p.path), 0);

    assert_int_equal(symlink("elsewhere", p.path), 0);
    assert_int_equal(open_at(p.option, &s, &err), -EINVAL);
    assert_int_equal(lstat(p.path, &st), 0);
    scratch_dir_remove(&p.dir);
    assert_int_equal(open_at(p.option, &s, &err), -ENOENT); /* no such directory */
    assert_int_equal(strncmp(err.text, "--admin: ", 9), 0);
    admin_socket_fini(&s);
}

/* A successor replaced the file: it is not ours to remove. */
static void test_not_ours_any_more(void **state)
{
    (void)state;
    struct place p;
    struct admin_socket s;
    struct err err;
    struct stat st;
    place_make(&p);
    assert_int_equal(open_at(p.option, &s, &err), 0);
    assert_int_equal(unlink(p.path), 0);
    int fd = bound(p.path, SOCK_STREAM);
    admin_socket_fini(&s);
    assert_int_equal(lstat(p.path, &st), 0);
    assert_int_equal(close(fd), 0);
    scratch_dir_remove(&p.dir);
}

static void test_tcp(void **state)
{
    (void)state;
    struct admin_socket s, second;
    struct err err;
    char text[ADDR_TEXT_CAP];
    assert_int_equal(open_at("127.0.0.1:0", &s, &err), 0);
    assert_true(s.is_open && s.is_tcp && !s.has_file);
    assert_int_not_equal(s.addr.port, 0);
    assert_string_equal(s.text, addr_text(&s.addr, text));
    assert_int_equal(open_at(s.text, &second, &err), -EADDRINUSE);
    assert_int_equal(strncmp(err.text, "--admin", 7), 0);
    admin_socket_fini(&s);
    admin_socket_fini(&second);
    assert_int_equal(open_at(NULL, &s, &err), 0);
    assert_false(s.is_open);
    admin_socket_fini(&s);
}

static int listening(bool is_tcp, const char *path)
{
    if (is_tcp) {
        return sock_listen_tcp(&(struct addr){.ip = ip_v4(127, 0, 0, 1)}, false, NULL);
    }
    int fd = bound(path, SOCK_STREAM);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void test_passed(void **state)
{
    (void)state;
    struct place p;
    struct stat st;
    struct err err = {""};
    struct admin_socket s;
    place_make(&p);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        int fds[] = {-10, listening(is_tcp != 0, p.path), -11};
        const char *names[] = {"connect", "admin", "capture"};
        struct listen_fds passed = {.fds = fds, .names = names, .count = 3};
        int fd = fds[1];
        assert_int_equal(admin_socket_open("127.0.0.1:1", &passed, &s, &err), 0); /* before the option */
        assert_int_equal(s.fd, fd);
        assert_int_equal(s.is_tcp, is_tcp);
        assert_int_equal(passed.count, 2);
        assert_true(fds[0] == -10 && fds[1] == -11);
        assert_string_equal(names[1], "capture");
        if (is_tcp == 0) {
            assert_string_equal(s.text, p.option);
        }
        admin_socket_fini(&s);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        assert_int_equal(lstat(p.path, &st), 0); /* its file is who made it's */
    }
    int two[] = {listening(true, NULL), listening(true, NULL)};
    const char *both[] = {"admin", "admin"};
    struct listen_fds passed = {.fds = two, .names = both, .count = 2};
    assert_int_equal(admin_socket_open(NULL, &passed, &s, &err), -EINVAL);
    assert_int_equal(fcntl(two[0], F_GETFD), -1);
    assert_int_equal(fcntl(two[1], F_GETFD), -1);
    int odd[] = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    passed = (struct listen_fds){.fds = odd, .names = both, .count = 1};
    assert_int_equal(admin_socket_open(NULL, &passed, &s, &err), -EINVAL); /* it does not listen */
    assert_int_equal(fcntl(odd[0], F_GETFD), -1);
    scratch_dir_remove(&p.dir);
}

/* ---- connections ---- */

struct scene {
    struct place place;
    struct ev_loop *loop;
    struct admin_socket socket;
    struct admin *admin;
    size_t body_len;
    int rc;
    unsigned asked;
};

static int write_page(void *ctx, enum admin_page page, struct admin_reply *out)
{
    static uint8_t body[LONG_BODY];
    struct scene *s = ctx;
    assert_int_equal(page, ADMIN_PAGE_STATUS);
    s->asked++;
    memset(body, 'b', sizeof body);
    out->status = 200;
    out->type = "text/plain";
    assert_int_equal(buf_append(&out->body, span_make(body, s->body_len), LONG_BODY), 0);
    return s->rc;
}

static int setup(void **state)
{
    static struct scene s;
    struct err err;
    s = (struct scene){.body_len = 5};
    place_make(&s.place);
    s.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s.loop);
    assert_int_equal(open_at(s.place.option, &s.socket, &err), 0);
    assert_int_equal(admin_new(s.loop, &s.socket, write_page, &s, &s.admin), 0);
    assert_int_equal(s.socket.fd, -1);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    admin_socket_fini(&s->socket);
    admin_free(s->admin);
    ev_loop_destroy(s->loop);
    scratch_dir_remove(&s->place.dir);
    return 0;
}

static void pump(struct scene *s)
{
    for (int i = 0; i < 8; i++) {
        (void)ev_run(s->loop, EVRUN_NOWAIT);
    }
}

static int dial(struct scene *s)
{
    struct sockaddr_un un = un_of(s->place.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

static void say(int fd, const char *text, size_t len)
{
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* Reads to the end of the answer and closes. Returns its status; *len, if wanted, is its length with the
 * head. */
static int answer(struct scene *s, int fd, size_t *len)
{
    char text[16384] = "";
    size_t total = 0;
    int status = 0;
    for (;;) {
        pump(s);
        char more[65536];
        ssize_t n = recv(fd, more, sizeof more, 0);
        assert_true(n >= 0 || errno == EAGAIN);
        if (n <= 0) {
            assert_int_equal(n, 0); /* nothing comes of itself: EAGAIN would be for ever */
            break;
        }
        size_t room = sizeof text - 1 - (total < sizeof text - 1 ? total : sizeof text - 1);
        memcpy(text + (sizeof text - 1 - room), more, (size_t)n < room ? (size_t)n : room);
        total += (size_t)n;
    }
    assert_int_equal(close(fd), 0);
    pump(s);
    if (total > 0) {
        assert_int_equal(strncmp(text, "HTTP/1.1 ", 9), 0);
        status = (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0');
    }
    if (len != NULL) {
        *len = total;
    }
    return status;
}

static void test_one_request(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < 3 * ADMIN_CONNECTIONS; i++) { /* a slot is free again each time */
        int fd = dial(s);
        say(fd, GET, sizeof GET - 1);
        assert_int_equal(answer(s, fd, NULL), 200);
    }
    int fd = dial(s);
    for (size_t i = 0; i < sizeof GET - 1; i++) {
        say(fd, &GET[i], 1);
        pump(s);
        assert_int_equal(s->asked, 3 * ADMIN_CONNECTIONS + (i + 2 == sizeof GET));
    }
    assert_int_equal(answer(s, fd, NULL), 200);
    fd = dial(s);
    say(fd, "GET /nowhere HTTP/1.1\r\n\r\n", 25);
    assert_int_equal(answer(s, fd, NULL), 404);
    fd = dial(s);
    say(fd, GET GET, 2 * (sizeof GET - 1)); /* the second one is nobody's */
    assert_int_equal(answer(s, fd, NULL), 200);
    assert_int_equal(s->asked, 3 * ADMIN_CONNECTIONS + 2);
}

static void test_page_that_fails(void **state)
{
    struct scene *s = *state;
    s->rc = -ENOMEM;
    int fd = dial(s);
    say(fd, GET, sizeof GET - 1);
    assert_int_equal(answer(s, fd, NULL), 500);
}

static void test_too_many(void **state)
{
    struct scene *s = *state;
    int fds[ADMIN_CONNECTIONS];
    char byte;
    for (size_t i = 0; i < ADMIN_CONNECTIONS; i++) {
        fds[i] = dial(s);
        say(fds[i], GET, 3);
        pump(s);
    }
    for (int i = 0; i < 4; i++) { /* closed at once */
        int fd = dial(s);
        pump(s);
        assert_int_equal(recv(fd, &byte, 1, 0), 0);
        assert_int_equal(close(fd), 0);
    }
    for (size_t i = 0; i < ADMIN_CONNECTIONS; i += 2) { /* a client that goes makes room */
        assert_int_equal(close(fds[i]), 0);
    }
    pump(s);
    int fd = dial(s);
    say(fd, GET, sizeof GET - 1);
    assert_int_equal(answer(s, fd, NULL), 200);
    for (size_t i = 1; i < ADMIN_CONNECTIONS; i += 2) { /* and those that were there are served */
        say(fds[i], &GET[3], sizeof GET - 4);
        assert_int_equal(answer(s, fds[i], NULL), 200);
    }
}

static void test_long_answer(void **state)
{
    struct scene *s = *state;
    size_t len = 0;
    s->body_len = LONG_BODY; /* more than a socket holds */
    int fd = dial(s);
    say(fd, GET, sizeof GET - 1);
    pump(s);
    assert_int_equal(answer(s, fd, &len), 200);
    assert_in_range(len, LONG_BODY + 1, LONG_BODY + ADMIN_HTTP_REPLY_HEAD);
    fd = dial(s); /* gone in the middle of it */
    say(fd, GET, sizeof GET - 1);
    pump(s);
    assert_int_equal(close(fd), 0);
    pump(s);
    assert_int_equal(s->asked, 2);
}

/* A body that nobody reads: the answer arrives all the same, whole, and not as a reset. */
static void test_body(void **state)
{
    struct scene *s = *state;
    static char body[32768];
    static const char head[] = "POST /status HTTP/1.1\r\nContent-Length: 65536\r\n\r\n";
    int fd = dial(s);
    memset(body, 'x', sizeof body);
    say(fd, head, sizeof head - 1);
    say(fd, body, sizeof body);
    pump(s);
    say(fd, body, sizeof body);
    assert_int_equal(answer(s, fd, NULL), 405);
    assert_int_equal(s->asked, 0);
    fd = dial(s); /* without an end: cut after a while */
    say(fd, head, sizeof head - 1);
    size_t sent = 0;
    for (ssize_t n = 1; n > 0 && sent < 64 * sizeof body; pump(s)) {
        n = send(fd, body, sizeof body, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_in_range(sent, 1, 32 * sizeof body);
    assert_int_equal(close(fd), 0);
}

static void test_end_with_open_connections(void **state)
{
    struct scene *s = *state;
    int reading = dial(s), writing = dial(s), lingering = dial(s);
    char byte;
    say(lingering, GET, sizeof GET - 1);
    pump(s);
    s->body_len = LONG_BODY;
    say(reading, GET, 3);
    say(writing, GET, sizeof GET - 1);
    pump(s);
    admin_socket_fini(&s->socket);
    admin_free(s->admin);
    s->admin = NULL;
    assert_int_equal(recv(reading, &byte, 1, 0), 0);
    assert_int_equal(close(reading), 0);
    assert_int_equal(close(writing), 0);
    assert_int_equal(close(lingering), 0);
    pump(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_what_is_there_already),
        cmocka_unit_test(test_not_ours_any_more),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_passed),
        cmocka_unit_test_setup_teardown(test_one_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_page_that_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_with_open_connections, setup, teardown),
    };
    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
