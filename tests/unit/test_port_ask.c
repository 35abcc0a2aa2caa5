/* SPDX-License-Identifier: Apache-2.0 */
/* Asking for a listening socket, and what either half does with what is no question or no answer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "common/run/port_ask.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTACHED_MAX 12

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

struct scene {
    struct port_asker asker;
    int there; /* the other end */
    int served;
    pthread_t thread;
    int descriptors; /* before it began */
};

static void start(struct scene *s)
{
    int pair[2];
    *s = (struct scene){.descriptors = open_descriptors()};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    s->there = pair[1];
    assert_int_equal(port_ask_open(&s->asker, pair[0], NULL), 0);
}

/* Nothing that came is still open. */
static void end(struct scene *s)
{
    port_ask_fini(&s->asker);
    assert_int_equal(close(s->there), 0);
    assert_int_equal(open_descriptors(), s->descriptors);
}

static void *serve(void *arg)
{
    struct scene *s = arg;
    s->served = port_ask_serve(s->there);
    return NULL;
}

static void start_serving(struct scene *s)
{
    start(s);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end_serving(struct scene *s, int wanted)
{
    port_ask_fini(&s->asker);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    assert_int_equal(s->served, wanted);
    end(s);
}

/* A port of this address that no other test gets while *fd is open; ours may be bound beside it if shared. */
static struct addr reserve(struct ip ip, bool is_shared, int *fd)
{
    struct addr a = {.ip = ip};
    *fd = sock_listen_tcp(&a, is_shared, NULL);
    assert_true(*fd >= 0);
    assert_int_equal(sock_local_addr(*fd, &a), 0);
    return a;
}

static void assert_listens(int fd, const struct addr *a)
{
    struct addr local;
    bool is_listening = false;
    assert_true(fd >= 0);
    assert_int_equal(sock_local_addr(fd, &local), 0);
    assert_true(addr_is_equal(&local, a));
    assert_int_equal(sock_type(fd, &is_listening), SOCK_STREAM);
    assert_true(is_listening);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void test_gives_sockets(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    struct ip six = {.family = IP_V6};
    six.bytes[15] = 1;
    int reserved[2];
    const struct addr addrs[] = {reserve(ip_v4(127, 0, 0, 1), true, &reserved[0]),
                                 reserve(six, true, &reserved[1])};
    start_serving(&s);
    for (size_t i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) { /* given back, and asked for again */
            int fd = port_ask(&s.asker, &addrs[i], &err);
            assert_listens(fd, &addrs[i]);
            assert_int_equal(close(fd), 0);
        }
    }
    end_serving(&s, 0);
    assert_int_equal(close(reserved[0]), 0);
    assert_int_equal(close(reserved[1]), 0);
}

/* What the other half could not do is said in its words, and it is asked again the next time. */
static void test_passes_refusals_on(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    char text[ADDR_TEXT_CAP];
    const pid_t pid = getpid(); /* an address that no other process uses */
    int fd = -1;
    const struct ip own = ip_v4(127, (uint8_t)(1 + (pid >> 16) % 200), (uint8_t)(pid >> 8), (uint8_t)pid);
    const struct addr taken = reserve(own, false, &fd);
    start_serving(&s);
    assert_int_equal(port_ask(&s.asker, &taken, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, addr_text(&taken, text)));
    assert_non_null(strstr(err.text, strerror(EADDRINUSE)));
    assert_int_equal(close(fd), 0);
    fd = port_ask(&s.asker, &taken, &err);
    assert_listens(fd, &taken);
    assert_int_equal(close(fd), 0);
    s.descriptors--; /* the one that was closed in between */
    end_serving(&s, 0);
}

/* ---- messages of any form ---- */

static void transmit(int fd, const void *data, size_t len, const int *attached, size_t count)
{
    unsigned char bytes[512];
    memcpy(bytes, data, len);
    struct iovec iov = {.iov_base = bytes, .iov_len = len};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(ATTACHED_MAX * sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        header.msg_control = control.space;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), attached, count * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &header, MSG_NOSIGNAL), len);
}

static void test_ends_at_what_is_no_question(void **state)
{
    (void)state;
    const struct port_question good = {.serial = 1, .family = 4, .port = 1, .ip = {127, 0, 0, 1}};
    struct port_question bad[] = {good, good, good};
    bad[0].family = 0;
    bad[1].family = 5;
    bad[2].port = 0;
    unsigned char longer[sizeof(good) + 1] = {0};
    memcpy(longer, &good, sizeof(good));
    int fds[ATTACHED_MAX];
    for (size_t i = 0; i < ATTACHED_MAX; i++) {
        fds[i] = STDIN_FILENO;
    }
    for (size_t len = 1; len <= sizeof(longer); len++) { /* every truncation, and one byte more */
        struct scene s;
        if (len != sizeof(good)) {
            start_serving(&s);
            transmit(s.asker.fd, longer, len, NULL, 0);
            end_serving(&s, -EPROTO);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        struct scene s;
        start_serving(&s);
        transmit(s.asker.fd, &bad[i], sizeof(bad[i]), NULL, 0);
        end_serving(&s, -EPROTO);
    }
    for (size_t count = 1; count <= ATTACHED_MAX; count++) {
        struct scene s;
        start_serving(&s);
        transmit(s.asker.fd, &good, sizeof(good), fds, count);
        end_serving(&s, -EPROTO);
    }
}

/* Nobody waits for it any more: a listener would only swallow connections until somebody looked. */
static void test_refuses_what_is_too_old(void **state)
{
    (void)state;
    struct scene s;
    int held = -1;
    struct addr a = reserve(ip_v4(127, 0, 0, 1), true, &held);
    struct port_question old = {.serial = 7, .family = 4, .port = a.port, .end_ms = clock_mono_ms()};
    struct port_answer answer = {.serial = 0};
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {.iov_base = &answer, .iov_len = sizeof(answer)};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    memcpy(old.ip, a.ip.bytes, 4);
    start_serving(&s);
    transmit(s.asker.fd, &old, sizeof(old), NULL, 0);
    struct pollfd p = {.fd = s.asker.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(recvmsg(s.asker.fd, &header, 0), sizeof(answer));
    assert_int_equal(header.msg_controllen, 0);
    assert_int_equal(answer.serial, 7);
    assert_int_equal(answer.error, ETIMEDOUT);
    end_serving(&s, 0);
    assert_int_equal(close(held), 0);
}

/* ---- answers that were there before the question: the serial is known ---- */

struct forged {
    int32_t error;
    const char *text;
    size_t len; /* 0: as it should be */
    int attached[ATTACHED_MAX];
    size_t count;
};

static void forge(struct scene *s, uint32_t serial, const struct forged *f)
{
    struct {
        struct port_answer answer;
        char more;
    } message = {.answer = {.serial = serial, .error = f->error}};
    if (f->text != NULL) {
        memcpy(message.answer.text, f->text, strlen(f->text) + 1);
    }
    transmit(s->there, &message, f->len != 0 ? f->len : sizeof(message.answer), f->attached, f->count);
}

/* A listener on wanted, one on another port, a bound socket that does not listen, UDP, and no socket. */
struct things {
    struct addr wanted;
    int right, other, bound, udp, file;
};

static struct things make_things(void)
{
    struct addr any = {.ip = ip_v4(127, 0, 0, 1)};
    struct things t = {.right = sock_listen_tcp(&any, true, NULL),
                       .other = sock_listen_tcp(&any, true, NULL)};
    assert_int_equal(sock_local_addr(t.right, &t.wanted), 0);
    t.udp = sock_listen_udp(&t.wanted, false, NULL);
    t.bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&t.wanted, &ss);
    assert_int_equal(setsockopt(t.bound, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    assert_int_equal(bind(t.bound, (const struct sockaddr *)&ss, len), 0);
    t.file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(t.other >= 0 && t.udp >= 0 && t.file >= 0);
    return t;
}

static void close_things(const struct things *t)
{
    const int fds[] = {t->right, t->other, t->bound, t->udp, t->file};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(close(fds[i]), 0);
    }
}

static void test_believes_no_other_answer(void **state)
{
    (void)state;
    const struct things t = make_things();
    const int r = t.right;
    const struct forged table[] = {
        {.count = 0},                                                    /* no descriptor */
        {.attached = {r, r}, .count = 2},                                /* one too many */
        {.attached = {r, r, r, r, r, r, r, r}, .count = 8},              /* as many as are looked at */
        {.attached = {r, r, r, r, r, r, r, r, r, r, r, r}, .count = 12}, /* and more */
        {.attached = {t.other}, .count = 1},                             /* what was not asked for */
        {.attached = {t.bound}, .count = 1},
        {.attached = {t.udp}, .count = 1},
        {.attached = {t.file}, .count = 1},
        {.error = EADDRINUSE, .text = "no", .attached = {r}, .count = 1}, /* a refusal, and a socket */
        {.error = EADDRINUSE},                                            /* without a word */
        {.error = -EADDRINUSE, .text = "no"},
        {.error = INT32_MIN, .text = "no"},
        {.error = 4096, .text = "no"},
        {.len = 1},
        {.len = 1, .attached = {r}, .count = 1},
        {.len = sizeof(struct port_answer) - 1, .attached = {r}, .count = 1},
        {.len = sizeof(struct port_answer) + 1, .attached = {r}, .count = 1},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct scene s;
        struct err err = {""};
        start(&s);
        forge(&s, 1, &table[i]);
        assert_int_equal(port_ask(&s.asker, &t.wanted, &err), -EPROTO);
        assert_non_null(strstr(err.text, "an answer that is none"));
        assert_false(s.asker.is_open);
        assert_int_equal(port_ask(&s.asker, &t.wanted, &err), -EPIPE); /* nobody is asked any more */
        end(&s);
    }
    close_things(&t);
}

static void test_takes_what_it_asked_for(void **state)
{
    (void)state;
    const struct things t = make_things();
    struct scene s;
    struct err err = {""};
    start(&s);
    /* answers to questions that were given up do not count, and what came with them is closed */
    forge(&s, 0, &(const struct forged){.attached = {t.right}, .count = 1});
    forge(&s, UINT32_MAX, &(const struct forged){.error = EIO, .text = "an old refusal"});
    forge(&s, 1, &(const struct forged){.attached = {t.right}, .count = 1});
    int fd = port_ask(&s.asker, &t.wanted, &err);
    assert_listens(fd, &t.wanted);
    assert_int_equal(close(fd), 0);
    struct port_answer endless = {.serial = 2, .error = EACCES};
    memset(endless.text, 'x', sizeof(endless.text));
    transmit(s.there, &endless, sizeof(endless), NULL, 0);
    assert_int_equal(port_ask(&s.asker, &t.wanted, &err), -EACCES);
    assert_int_equal(strlen(err.text), sizeof(endless.text) - 1);
    assert_true(s.asker.is_open);
    end(&s);
    close_things(&t);
}

/* Late once, it is not waited for again in this round; in the next the late answer is passed over. */
static void test_does_not_wait_for_ever(void **state)
{
    (void)state;
    const struct things t = make_things();
    const struct forged good = {.attached = {t.right}, .count = 1};
    struct scene s;
    struct err err = {""};
    start(&s);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(port_ask(&s.asker, &t.wanted, &err), -ETIMEDOUT);
    assert_true(clock_mono_ms() - begin_ms >= PORT_ASK_WAIT_MS);
    assert_non_null(strstr(err.text, "no answer"));
    forge(&s, 1, &good); /* the late one */
    assert_int_equal(port_ask(&s.asker, &t.wanted, &err), -ETIMEDOUT);
    port_ask_begin(&s.asker);
    forge(&s, 2, &good);
    int fd = port_ask(&s.asker, &t.wanted, &err);
    assert_listens(fd, &t.wanted);
    assert_int_equal(close(fd), 0);
    end(&s);
    close_things(&t);
}

static void *close_unread(void *arg)
{
    struct scene *s = arg;
    struct pollfd p = {.fd = s->there, .events = POLLIN};
    s->served = poll(&p, 1, 10000);
    (void)close(s->there);
    return NULL;
}

static void test_other_half_is_gone(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    const struct addr a = {.ip = ip_v4(127, 0, 0, 1), .port = 1};
    start(&s);
    assert_int_equal(shutdown(s.there, SHUT_RDWR), 0);
    assert_int_equal(port_ask(&s.asker, &a, &err), -EPIPE);
    assert_non_null(strstr(err.text, "has ended"));
    assert_false(s.asker.is_open);
    end(&s);
    start(&s); /* it ends with the question unread: a reset */
    assert_int_equal(pthread_create(&s.thread, NULL, close_unread, &s), 0);
    assert_int_equal(port_ask(&s.asker, &a, &err), -EPIPE);
    assert_int_equal(pthread_join(s.thread, NULL), 0);
    assert_int_equal(s.served, 1);
    assert_int_equal(open_descriptors(), s.descriptors);
    struct port_asker nobody = {.is_open = false};
    assert_int_equal(port_ask(&nobody, &a, &err), -EPIPE);
    port_ask_fini(&nobody);
}

/* The kernel drops the descriptor that does not fit; the talk goes on. */
static void test_no_descriptor_is_left(void **state)
{
    (void)state;
    const struct things t = make_things();
    const struct forged good = {.attached = {t.right}, .count = 1};
    struct rlimit before, few;
    struct scene s;
    struct err err = {""};
    start(&s);
    forge(&s, 1, &good);
    int lowest = dup(s.there);
    assert_true(lowest >= 0);
    assert_int_equal(close(lowest), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = port_ask(&s.asker, &t.wanted, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, -EMFILE);
    assert_non_null(strstr(err.text, "no descriptor is left"));
    forge(&s, 2, &good);
    int fd = port_ask(&s.asker, &t.wanted, &err);
    assert_listens(fd, &t.wanted);
    assert_int_equal(close(fd), 0);
    end(&s);
    close_things(&t);
}

static void test_opens_only_what_it_is_for(void **state)
{
    (void)state;
    int pair[2];
    struct addr any = {.ip = ip_v4(127, 0, 0, 1)};
    int before = open_descriptors();
    struct port_asker asker = {.is_open = false};
    struct err err = {""};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const int wrong[] = {pair[0], pair[1], sock_listen_tcp(&any, false, NULL),
                         open("/dev/null", O_RDONLY | O_CLOEXEC)};
    for (size_t i = 0; i < 4; i++) {
        assert_true(wrong[i] >= 0);
        assert_int_equal(port_ask_open(&asker, wrong[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, "SOCK_SEQPACKET"));
        assert_false(asker.is_open);
        assert_int_equal(close(wrong[i]), 0); /* still the caller's */
    }
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gives_sockets),
        cmocka_unit_test(test_passes_refusals_on),
        cmocka_unit_test(test_ends_at_what_is_no_question),
        cmocka_unit_test(test_refuses_what_is_too_old),
        cmocka_unit_test(test_believes_no_other_answer),
        cmocka_unit_test(test_takes_what_it_asked_for),
        cmocka_unit_test(test_does_not_wait_for_ever),
        cmocka_unit_test(test_other_half_is_gone),
        cmocka_unit_test(test_no_descriptor_is_left),
        cmocka_unit_test(test_opens_only_what_it_is_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
