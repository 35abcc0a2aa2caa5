/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/log.h"
#include "tests/support/json_flat.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIME_LEN 24 /* 2026-01-31T23:59:59.123Z */

static char output[1 << 20];
static size_t output_len;

/* A file that is read back with read_output(). */
static int open_file(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0); /* writes of threads to a memfd overlap otherwise */
    return fd;
}

static void read_output(int fd)
{
    ssize_t n = pread(fd, output, sizeof output - 1, 0);
    assert_true(n >= 0);
    output_len = (size_t)n;
    output[output_len] = '\0';
}

/* Logs one event at LOG_WARN to a file of its own; the line is in output. */
static void log_one(enum log_format format, const char *event, const struct log_kv *kv)
{
    int fd = open_file();
    log_init("openshell-test", LOG_INFO, format, fd);
    log_event(LOG_WARN, event, kv);
    read_output(fd);
    (void)close(fd);
    assert_true(output_len > 0 && output_len <= 4096);
    assert_ptr_equal(strchr(output, '\n'), output + output_len - 1); /* one line and all of it */
    assert_int_equal(strlen(output), output_len);                    /* no NUL inside */
}

/* What stands behind the time in a line of text. */
static const char *after_time(void)
{
    assert_int_equal(strspn(output, "0123456789-T:.Z"), TIME_LEN);
    assert_int_equal(output[TIME_LEN], ' ');
    return output + TIME_LEN + 1;
}

static void assert_member(size_t index, const char *key, char kind, struct span value)
{
    static struct json_member m;
    assert_true(json_flat_read(output, index, &m) > index);
    assert_string_equal(m.key, key);
    assert_int_equal(m.kind, kind);
    assert_int_equal(m.len, value.len);
    assert_memory_equal(m.bytes, value.data, value.len);
}

static void test_text(void **state)
{
    (void)state;
    struct ip v4 = ip_v4(192, 0, 2, 1);
    struct ip none = {0};
    struct host_name n;
    assert_int_equal(host_name_parse(SPAN_LIT("gateway.discord.gg"), &n), HOST_FAULT_NONE);
    log_one(LOG_TEXT, "tunnel_close",
            LOG_KV(kv_str("reason", "idle"), kv_name("host", &n), kv_u64("up", UINT64_MAX),
                   kv_i64("rc", INT64_MIN), kv_ip("to", &v4), kv_ip("via", &none), kv_ip("no", NULL),
                   kv_bool("a", true), kv_bool("b", false)));
    assert_string_equal(
        after_time(),
        "warn openshell-test tunnel_close reason=idle host=gateway.discord.gg up=18446744073709551615 "
        "rc=-9223372036854775808 to=192.0.2.1 via=- no=- a=true b=false\n");
    log_one(LOG_TEXT, "ready", NULL);
    assert_string_equal(after_time(), "warn openshell-test ready\n");
}

static void test_text_quoting(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"plain", "plain"},
        {"a/b:c,d;[e]", "a/b:c,d;[e]"},
        {"", "\"\""},
        {NULL, "\"\""},
        {"a b", "\"a b\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\r\n\tevent=fake", "\"line\\r\\n\\tevent=fake\""},
        {"\x1b[31m", "\"\\x1b[31m\""},
        {"\x7f", "\"\\x7f\""},
        {"\xc3\xbc", "\"\\xc3\\xbc\""},
        {"\xe2\x80\xae", "\"\\xe2\\x80\\xae\""}, /* right-to-left override */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        log_one(LOG_TEXT, "e", LOG_KV(kv_str("k", rows[i][0])));
        char expect[128];
        (void)snprintf(expect, sizeof expect, "warn openshell-test e k=%s\n", rows[i][1]);
        assert_string_equal(after_time(), expect);
    }
    log_one(LOG_TEXT, "e", LOG_KV(kv_span("k", SPAN_LIT("a\0b"))));
    assert_string_equal(after_time(), "warn openshell-test e k=\"a\\x00b\"\n");
}

static void test_json(void **state)
{
    (void)state;
    struct ip v6;
    assert_int_equal(ip_parse(SPAN_LIT("2001:db8::1"), &v6), 0);
    log_one(LOG_JSON, "dns_deny",
            LOG_KV(kv_str("reason", "a \"b\""), kv_u64("n", UINT64_MAX), kv_i64("i", -1), kv_ip("ip", &v6),
                   kv_bool("yes", true), kv_bool("no", false), kv_span("empty", span_make(NULL, 0))));
    struct json_member m;
    assert_int_equal(json_flat_read(output, 0, &m), 11);
    assert_string_equal(m.key, "time");
    assert_int_equal(m.len, TIME_LEN);
    assert_member(1, "level", 's', SPAN_LIT("warn"));
    assert_member(2, "program", 's', SPAN_LIT("openshell-test"));
    assert_member(3, "event", 's', SPAN_LIT("dns_deny"));
    assert_member(4, "reason", 's', SPAN_LIT("a \"b\""));
    assert_member(5, "n", 'n', SPAN_LIT("18446744073709551615"));
    assert_member(6, "i", 'n', SPAN_LIT("-1"));
    assert_member(7, "ip", 's', SPAN_LIT("2001:db8::1"));
    assert_member(8, "yes", 'b', SPAN_LIT("true"));
    assert_member(9, "no", 'b', SPAN_LIT("false"));
    assert_member(10, "empty", 's', SPAN_LIT(""));
    log_one(LOG_JSON, "ready", NULL);
    assert_int_equal(json_flat_read(output, 0, &m), 4);
}

/* Whatever bytes a peer sends: one line of plain ASCII, and in JSON the very bytes come back. */
static void test_every_byte(void **state)
{
    (void)state;
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    log_one(LOG_JSON, "e", LOG_KV(kv_span("k", span_make(all, sizeof all)), kv_u64("after", 1)));
    assert_member(4, "k", 's', span_make(all, sizeof all));
    assert_member(5, "after", 'n', SPAN_LIT("1"));
    log_one(LOG_TEXT, "e", LOG_KV(kv_span("k", span_make(all, sizeof all)), kv_u64("after", 1)));
    for (size_t i = 0; i + 1 < output_len; i++) {
        assert_in_range(output[i], 0x20, 0x7e);
    }
    assert_non_null(strstr(output, "\\xff\" after=1\n"));
    for (size_t i = 0; i < sizeof all; i++) {
        log_one(LOG_JSON, "e", LOG_KV(kv_span("k", span_make(all + i, 1))));
        assert_member(4, "k", 's', span_make(all + i, 1));
    }
    /* names are ours, but a bad one must not break the line either */
    log_one(LOG_JSON, "e\"\n", LOG_KV(kv_u64("k\"\\\n", 1)));
    assert_member(3, "event", 's', SPAN_LIT("e\"\n"));
    assert_member(4, "k\"\\\n", 'n', SPAN_LIT("1"));
}

static void test_values_are_cut(void **state)
{
    (void)state;
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    struct json_member m;

    log_one(LOG_JSON, "e", LOG_KV(kv_span("k", span_make(longer, 256))));
    assert_true(json_flat_read(output, 4, &m) == 5 && m.len == 256);
    log_one(LOG_JSON, "e", LOG_KV(kv_span("k", span_make(longer, 257))));
    assert_true(json_flat_read(output, 4, &m) == 5 && m.len == 256 + 3);
    assert_memory_equal(m.bytes + 255, "x...", 4);

    log_one(LOG_JSON, "e", LOG_KV(kv_str("k", longer), kv_u64("after", 1)));
    assert_true(json_flat_read(output, 4, &m) == 6 && m.len == 1024 + 3);
    log_one(LOG_TEXT, "e", LOG_KV(kv_str("k", longer), kv_u64("after", 1)));
    assert_non_null(strstr(output, "xxx... after=1\n"));
    longer[0] = ' ';
    log_one(LOG_TEXT, "e", LOG_KV(kv_str("k", longer), kv_u64("after", 1)));
    assert_non_null(strstr(output, "xxx...\" after=1\n"));
}

/* Values whose escapes are too long for the line are shortened until they fit. */
static void test_escapes_are_cut(void **state)
{
    (void)state;
    static char nasty[1200];
    memset(nasty, 0x01, sizeof nasty - 1);
    struct json_member m;
    log_one(LOG_JSON, "e", LOG_KV(kv_str("k", nasty), kv_u64("after", 1)));
    assert_int_equal(json_flat_read(output, 4, &m), 6);
    assert_int_equal(m.len, 512 + 3); /* 1024 of them would be 6 KiB */
    log_one(LOG_TEXT, "e", LOG_KV(kv_str("k", nasty), kv_u64("after", 1)));
    assert_non_null(strstr(output, "\\x01...\" after=1\n"));
}

static void test_lines_are_cut(void **state)
{
    (void)state;
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    struct log_kv many[400];
    for (size_t i = 0; i < 399; i++) {
        many[i] = i < 3 ? kv_str("long", longer) : kv_u64("number", 1234567890);
    }
    many[399] = (struct log_kv){.kind = LOG_KIND_END};
    struct json_member m;
    log_one(LOG_JSON, "e", many);
    size_t count = json_flat_read(output, 0, &m);
    assert_in_range(count, 10, 100);
    assert_member(count - 1, "cut", 'b', SPAN_LIT("true"));
    assert_member(count - 2, "number", 'n', SPAN_LIT("1234567890"));
    assert_in_range(output_len, 4096 - 64, 4096);
    log_one(LOG_TEXT, "e", many);
    assert_non_null(strstr(output, " number=1234567890 cut=true\n"));
    assert_in_range(output_len, 4096 - 64, 4096);

    log_one(LOG_TEXT, longer, LOG_KV(kv_u64("n", 1))); /* an absurd name of an event costs itself only */
    assert_non_null(strstr(output, "xxx... n=1\n"));
    memset(longer, 0x01, sizeof longer - 1);
    log_one(LOG_TEXT, longer, LOG_KV(kv_u64("n", 1)));
    assert_non_null(strstr(output, "\\x01...\" n=1\n"));
    log_one(LOG_JSON, longer, LOG_KV(kv_u64("n", 1)));
    assert_int_equal(json_flat_read(output, 0, &m), 5);
}

static void test_levels(void **state)
{
    (void)state;
    static const char *const names[] = {" error ", " warn ", " info ", " debug "};
    for (int set = LOG_ERROR; set <= LOG_DEBUG; set++) {
        int fd = open_file();
        log_init("p", (enum log_level)set, LOG_TEXT, fd);
        for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
            assert_int_equal(log_is_on((enum log_level)level), level <= set);
            log_event((enum log_level)level, "e", NULL);
        }
        read_output(fd);
        for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
            assert_int_equal(strstr(output, names[level]) != NULL, level <= set);
        }
        (void)close(fd);
    }
}

/* Fills whatever stands between the two ends. */
static void stuff(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    static const char filler[4096];
    while (write(fd, filler, sizeof filler) > 0) {
    }
    while (write(fd, filler, 1) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
}

static size_t drain(int fd, char *into, size_t cap)
{
    size_t len = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (len < cap && poll(&p, 1, 0) == 1) {
        ssize_t n = read(fd, into + len, cap - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    return len;
}

/* A reader that does not read costs lines, never time; how many is said as soon as there is room. */
static void log_to_full(int reader, int writer)
{
    (void)alarm(20); /* were log_event() to block, this test would never end */
    log_init("p", LOG_INFO, LOG_TEXT, writer);
    stuff(writer);
    errno = ENOTTY;
    log_event(LOG_INFO, "lost1", NULL);
    log_event(LOG_INFO, "lost2", NULL);
    log_event(LOG_DEBUG, "off", NULL);
    log_event(LOG_INFO, "lost3", NULL);
    assert_int_equal(errno, ENOTTY); /* callers log before they look at errno */
    while (drain(reader, output, sizeof output) > 0) {
    }
    log_event(LOG_INFO, "seen1", NULL);
    log_event(LOG_INFO, "seen2", NULL);
    output_len = drain(reader, output, sizeof output - 1);
    output[output_len] = '\0';
    assert_null(strstr(output, "lost"));
    const char *dropped = strstr(output, " warn p log_dropped lines=3\n");
    const char *seen1 = strstr(output, " info p seen1\n");
    const char *seen2 = strstr(output, " info p seen2\n");
    assert_true(dropped != NULL && seen1 != NULL && seen2 != NULL && dropped < seen1 && seen1 < seen2);
    assert_null(strstr(seen1, "log_dropped")); /* said once */
    (void)alarm(0);
    (void)close(reader);
    (void)close(writer);
}

static void test_full_pipe(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    log_to_full(fds[0], fds[1]);
}

static void test_full_socket(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    log_to_full(fds[0], fds[1]);
}

/* No SIGPIPE, whose default would end the program, and no line lost in the count. */
static void test_no_reader(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        int fds[2];
        assert_int_equal(kind == 0 ? pipe(fds) : socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        (void)close(fds[0]);
        if (kind == 2) {
            (void)close(fds[1]);
        }
        log_init("p", LOG_INFO, LOG_TEXT, fds[1]);
        log_event(LOG_INFO, "lost", NULL);
        log_event(LOG_INFO, "lost", NULL);
        if (kind < 2) {
            (void)close(fds[1]);
        }
        int fd = open_file();
        if (fd != fds[1]) {
            assert_int_equal(dup2(fd, fds[1]), fds[1]);
            (void)close(fd);
        }
        if (kind == 0) { /* as a pipe it was no socket, so the file in its place works */
            log_event(LOG_INFO, "seen", NULL);
            read_output(fds[1]);
            assert_non_null(strstr(output, " log_dropped lines=2\n"));
            assert_non_null(strstr(output, " seen\n"));
        }
        (void)close(fds[1]);
    }
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int small = 4608;
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(connect(fds[1], (const struct sockaddr *)&a, sizeof a), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    (void)close(listener);
}

/*
 * A stream socket may take half a line. The next line begins on a line of its own, and the reader's count is
 * right: what arrived whole and what was reported as dropped is all that was logged.
 */
static void test_torn_line(void **state)
{
    (void)state;
    (void)alarm(20);
    int fds[2];
    tcp_pair(fds);
    log_init("p", LOG_INFO, LOG_TEXT, fds[1]);
    static char text[1000];
    memset(text, 'x', sizeof text - 1);
    const unsigned total = 300;
    for (unsigned i = 0; i < total; i++) {
        log_event(LOG_INFO, "e", LOG_KV(kv_str("a", text), kv_str("b", text), kv_str("c", text)));
    }
    output_len = 0;
    struct pollfd out = {.fd = fds[1], .events = POLLOUT};
    while (poll(&out, 1, 0) == 0) {
        output_len += drain(fds[0], output + output_len, sizeof output - 1 - output_len);
    }
    log_event(LOG_INFO, "last", NULL);
    (void)close(fds[1]);
    ssize_t n;
    while ((n = read(fds[0], output + output_len, sizeof output - 1 - output_len)) > 0) {
        output_len += (size_t)n;
    }
    output[output_len] = '\0';
    (void)close(fds[0]);

    unsigned whole = 0;
    unsigned dropped = 0;
    for (const char *line = output; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_non_null(strchr(line, '\n'));
        assert_int_equal(strspn(line, "0123456789-T:.Z"), TIME_LEN); /* each line begins as a line does */
        size_t len = strcspn(line, "\n");
        whole += len == TIME_LEN + 1 + strlen("info p e a= b= c=") + 3 * (sizeof text - 1);
        unsigned count = 0; /* more than one report if the socket took some in between */
        (void)sscanf(line + TIME_LEN, " warn p log_dropped lines=%u\n", &count);
        dropped += count;
    }
    assert_true(whole > 0 && dropped > 0);
    assert_int_equal(whole + dropped, total);
    assert_non_null(strstr(output, " info p last\n"));
    (void)alarm(0);
}

static void *log_many(void *arg)
{
    for (unsigned i = 0; i < 500; i++) {
        log_event(LOG_INFO, "thread",
                  LOG_KV(kv_str("who", arg), kv_u64("i", i), kv_str("pad", "some more text")));
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    int fd = open_file();
    log_init("p", LOG_INFO, LOG_JSON, fd);
    static char names[4][2] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    read_output(fd);
    (void)close(fd);
    unsigned next[4] = {0};
    struct json_member m;
    for (const char *line = output; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_int_equal(json_flat_read(line, 4, &m), 7);
        size_t who = (size_t)(m.bytes[0] - 'a');
        assert_true(who < 4);
        (void)json_flat_read(line, 5, &m);
        m.bytes[m.len] = '\0';
        assert_int_equal(strtoul((const char *)m.bytes, NULL, 10), next[who]);
        next[who]++;
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(next[i], 500);
    }
}

static void test_limit(void **state)
{
    (void)state;
    struct log_limit l = {.rate = 5};
    uint64_t suppressed = 99;
    int64_t now = 1000000;
    for (int i = 0; i < 10; i++) { /* the burst */
        assert_true(log_limit_take(&l, now, &suppressed));
        assert_int_equal(suppressed, 0);
    }
    for (int i = 0; i < 7; i++) {
        assert_false(log_limit_take(&l, now, &suppressed));
        assert_int_equal(suppressed, 0);
    }
    assert_false(log_limit_take(&l, now + 199, &suppressed));
    assert_true(log_limit_take(&l, now + 200, &suppressed)); /* five in a second */
    assert_int_equal(suppressed, 8);
    assert_false(log_limit_take(&l, now + 200, &suppressed));
    assert_true(log_limit_take(&l, now + 400, &suppressed));
    assert_int_equal(suppressed, 1);
    now += 1000000; /* the bucket holds a burst and no more */
    for (int i = 0; i < 10; i++) {
        assert_true(log_limit_take(&l, now, &suppressed));
        assert_int_equal(suppressed, 0);
    }
    assert_false(log_limit_take(&l, now, &suppressed));
    assert_false(log_limit_take(&l, now - 5000, &suppressed)); /* time that steps back earns nothing */
}

static void test_limit_edges(void **state)
{
    (void)state;
    uint64_t suppressed;
    struct log_limit none = {.rate = 0};
    for (int i = 0; i < 1000; i++) {
        assert_true(log_limit_take(&none, 5, &suppressed));
    }
    struct log_limit zero = {.rate = 1};
    assert_true(log_limit_take(&zero, 0, &suppressed));
    assert_true(log_limit_take(&zero, 0, &suppressed));
    assert_false(log_limit_take(&zero, 0, &suppressed)); /* a clock that begins at 0 */
    struct log_limit most = {.rate = UINT32_MAX};
    assert_true(log_limit_take(&most, INT64_MAX, &suppressed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),           cmocka_unit_test(test_text_quoting),
        cmocka_unit_test(test_json),           cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_values_are_cut), cmocka_unit_test(test_escapes_are_cut),
        cmocka_unit_test(test_lines_are_cut),  cmocka_unit_test(test_levels),
        cmocka_unit_test(test_full_pipe),      cmocka_unit_test(test_full_socket),
        cmocka_unit_test(test_no_reader),      cmocka_unit_test(test_torn_line),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_edges),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
