/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/sock.h"
#include "tunneld/listen.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int bind_text(struct listen_set *set, const char *text, enum listen_kind kind, struct err *err)
{
    const char *items[] = {text, NULL};
    struct str_list list = {.items = items, .count = 1};
    return listen_bind(set, &list, kind, err);
}

/* Port 0: every worker gets a socket on the one port the kernel chose. */
static void test_workers_share_a_port(void **state)
{
    (void)state;
    struct listen_set set = {.worker_count = 3};
    struct err err = {""};
    assert_int_equal(bind_text(&set, "127.0.0.1:0", LISTEN_CONNECT, &err), 0);
    assert_int_equal(bind_text(&set, "[::1]:0", LISTEN_CAPTURE, &err), 0);
    assert_int_equal(set.count, 2);
    assert_int_equal(set.items[0].kind, LISTEN_CONNECT);
    assert_int_equal(set.items[1].kind, LISTEN_CAPTURE);
    for (size_t i = 0; i < set.count; i++) {
        assert_true(set.items[i].addr.port != 0);
        assert_false(set.items[i].is_foreign);
        for (unsigned k = 0; k < set.worker_count; k++) {
            struct addr a;
            assert_int_equal(sock_local_addr(set.items[i].fds[k], &a), 0);
            assert_true(addr_is_equal(&a, &set.items[i].addr));
        }
    }
    listen_fini(&set);
}

static void test_bad_addresses(void **state)
{
    (void)state;
    const char *bad[] = {"",         "localhost:1", "127.0.0.1:x", "127.0.0.1:65536",
                         "127.1:80", "::1:80:",     "[::1%lo]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct listen_set set = {.worker_count = 1};
        struct err err = {""};
        assert_int_equal(bind_text(&set, bad[i], LISTEN_CONNECT, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--listen"));
        listen_fini(&set);
    }
    struct listen_set set = {.worker_count = 1};
    struct err err = {""};
    assert_int_equal(bind_text(&set, "127.0.0.1", LISTEN_CAPTURE, &err), -EINVAL); /* no default port there */
    assert_non_null(strstr(err.text, "--transparent"));
    listen_fini(&set);
}

/* What listen_auto is for is passed over; elsewhere the word is no address. */
static void test_auto_is_not_here(void **state)
{
    (void)state;
    struct listen_set set = {.worker_count = 1};
    struct err err = {""};
    const char *items[] = {"auto", "127.0.0.1:auto", "127.0.0.1:0", NULL};
    struct str_list list = {.items = items, .count = 3};
    assert_int_equal(listen_check(&list, LISTEN_CAPTURE, &err), 0);
    assert_int_equal(listen_bind(&set, &list, LISTEN_CAPTURE, &err), 0);
    assert_int_equal(set.count, 1);
    assert_false(set.items[0].is_auto);
    assert_int_equal(listen_check(&list, LISTEN_CONNECT, &err), -EINVAL);
    listen_fini(&set);
}

/* Another process there would take a part of our clients, and answer them by its own policy. */
static void test_port_in_use(void **state)
{
    (void)state;
    const unsigned workers[] = {1, 3};
    for (size_t i = 0; i < 4; i++) {
        struct listen_set one = {.worker_count = workers[i / 2]};
        struct listen_set two = {.worker_count = workers[i % 2]};
        struct err err = {""};
        char text[ADDR_TEXT_CAP];
        assert_int_equal(bind_text(&one, "127.0.0.1:0", LISTEN_CONNECT, &err), 0);
        assert_int_equal(bind_text(&two, addr_text(&one.items[0].addr, text), LISTEN_CONNECT, &err),
                         -EADDRINUSE);
        assert_non_null(strstr(err.text, text));
        assert_non_null(strstr(err.text, "--listen"));
        assert_non_null(strstr(err.text, "ss -lnp"));
        struct addr all = {.ip = {.family = IP_V4}, .port = one.items[0].addr.port};
        assert_int_equal(bind_text(&two, addr_text(&all, text), LISTEN_CONNECT, &err), -EADDRINUSE);
        listen_fini(&one);
        listen_fini(&two);
    }
}

/* The kernel shares connections out to all of them. */
static void test_workers_share_the_clients(void **state)
{
    (void)state;
    enum { CLIENTS = 64 };
    struct listen_set set = {.worker_count = 3};
    struct err err = {""};
    int clients[CLIENTS];
    unsigned used = 0, count = 0;
    assert_int_equal(bind_text(&set, "127.0.0.1:0", LISTEN_CONNECT, &err), 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = sock_connect_tcp(&set.items[0].addr);
        assert_true(clients[i] >= 0);
    }
    for (unsigned k = 0; k < set.worker_count; k++) {
        const unsigned before = count;
        for (int fd; (fd = accept(set.items[0].fds[k], NULL, NULL)) >= 0; count++) {
            (void)close(fd);
        }
        used += count > before;
    }
    assert_int_equal(count, CLIENTS);
    assert_true(used > 1);
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)close(clients[i]);
    }
    listen_fini(&set);
}

static int passed_listener(void)
{
    struct addr a = {.ip = ip_v4(127, 0, 0, 1)};
    int fd = sock_listen_tcp(&a, false, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void test_passed_sockets(void **state)
{
    (void)state;
    int fds[] = {passed_listener(), passed_listener()};
    const char *names[] = {"connect", "capture"};
    struct listen_fds passed = {.fds = fds, .names = names, .count = 2};
    struct listen_set set = {.worker_count = 2};
    struct err err = {""};
    assert_int_equal(listen_adopt(&set, &passed, &err), 0);
    assert_int_equal(set.count, 2);
    assert_int_equal(set.items[0].kind, LISTEN_CONNECT);
    assert_int_equal(set.items[1].kind, LISTEN_CAPTURE);
    assert_int_equal(set.items[0].fds[0], fds[0]);
    assert_true(set.items[0].fds[1] >= 0 && set.items[0].fds[1] != fds[0]);
    assert_false(set.items[0].is_foreign);
    listen_fini(&set);
    struct addr a;
    assert_int_equal(sock_local_addr(fds[0], &a), -EBADF); /* the set owned them */
}

static void want_refused(int fd, const char *name, const char *in_message)
{
    struct listen_fds passed = {.fds = &fd, .names = &name, .count = 1};
    struct listen_set set = {.worker_count = 1};
    struct err err = {""};
    assert_int_equal(listen_adopt(&set, &passed, &err), -EINVAL);
    assert_non_null(strstr(err.text, in_message));
    listen_fini(&set);
}

static void test_wrong_passed_sockets(void **state)
{
    (void)state;
    struct addr a = {.ip = ip_v4(127, 0, 0, 1)};
    int tcp = passed_listener();
    int udp = sock_listen_udp(&a, false, NULL);
    assert_true(udp >= 0);
    int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    assert_int_equal(bind(local, (const struct sockaddr *)&any, sizeof(any.sun_family)), 0);
    assert_int_equal(listen(local, 1), 0);
    want_refused(tcp, "dns", "dns");
    want_refused(udp, "connect", "not a listening TCP socket");
    want_refused(local, "connect", "not a listening TCP socket");
    want_refused(tcp, "ports", "(ports): not a unix SOCK_SEQPACKET socket");
    assert_int_equal(close(tcp), 0);
    assert_int_equal(close(udp), 0);
    assert_int_equal(close(local), 0);
}

/* One place to ask is enough. */
static void test_passed_askers(void **state)
{
    (void)state;
    int fds[2];
    const char *names[] = {"ports", "ports"};
    struct listen_set set = {.worker_count = 1};
    struct err err = {""};
    struct addr a;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    struct listen_fds passed = {.fds = fds, .names = names, .count = 2};
    assert_int_equal(listen_adopt(&set, &passed, &err), -EINVAL);
    assert_non_null(strstr(err.text, "there is one named ports already"));
    listen_fini(&set);
    assert_int_equal(sock_local_addr(fds[0], &a), -EBADF); /* the set owned it */
    passed = (struct listen_fds){.fds = &fds[1], .names = names, .count = 1};
    set.worker_count = 1;
    assert_int_equal(listen_adopt(&set, &passed, &err), 0);
    assert_true(set.is_asking);
    assert_int_equal(set.count, 0);
    listen_fini(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_share_a_port),
        cmocka_unit_test(test_auto_is_not_here),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_workers_share_the_clients),
        cmocka_unit_test(test_passed_sockets),
        cmocka_unit_test(test_wrong_passed_sockets),
        cmocka_unit_test(test_passed_askers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
