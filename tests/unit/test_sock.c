/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/sock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

static struct addr loopback(uint16_t port)
{
    return (struct addr){.ip = ip_v4(127, 0, 0, 1), .port = port};
}

static struct addr loopback6(uint16_t port)
{
    struct addr a = {.ip = {.family = IP_V6}, .port = port};
    a.ip.bytes[15] = 1;
    return a;
}

static bool has_ipv6(void)
{
    struct addr a = loopback6(0);
    struct err err = {0};
    int fd = sock_listen_udp(&a, false, &err);
    if (fd < 0) {
        print_message("no IPv6 loopback here: %s\n", err.text);
        return false;
    }
    (void)close(fd);
    return true;
}

static void assert_flags(int fd)
{
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = (socklen_t)sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 5000), 1);
}

/* A connected pair over loopback: client, server. */
static void make_pair(int pair[2])
{
    struct addr a = loopback(0);
    struct err err = {0};
    int listener = sock_listen_tcp(&a, false, &err);
    assert_flags(listener);
    assert_int_equal(sock_local_addr(listener, &a), 0);
    pair[0] = sock_connect_tcp(&a);
    assert_flags(pair[0]);
    wait_for(listener, POLLIN);
    pair[1] = accept(listener, NULL, NULL);
    assert_true(pair[1] >= 0);
    wait_for(pair[0], POLLOUT);
    assert_int_equal(sock_connect_result(pair[0]), 0);
    (void)close(listener);
}

static void check_listen_tcp(struct addr a)
{
    struct err err = {0};
    int fd = sock_listen_tcp(&a, false, &err);
    assert_flags(fd);
    bool is_listening = false;
    assert_int_equal(sock_type(fd, &is_listening), SOCK_STREAM);
    assert_true(is_listening);
    assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    struct addr bound;
    assert_int_equal(sock_local_addr(fd, &bound), 0);
    assert_true(ip_is_equal(&bound.ip, &a.ip));
    assert_int_not_equal(bound.port, 0);

    /* in use: -errno and a sentence with the address */
    char text[ADDR_TEXT_CAP];
    assert_int_equal(sock_listen_tcp(&bound, false, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, addr_text(&bound, text)));
    assert_int_equal(sock_listen_tcp(&bound, true, &err), -EADDRINUSE); /* both have to want to share */
    assert_int_equal(sock_listen_tcp(&bound, false, NULL), -EADDRINUSE);
    (void)close(fd);
}

static void test_listen_tcp(void **state)
{
    (void)state;
    check_listen_tcp(loopback(0));
    if (has_ipv6()) {
        check_listen_tcp(loopback6(0));
    }
}

static void test_listen_shared(void **state)
{
    (void)state;
    struct addr a = loopback(0);
    struct err err = {0};
    int first = sock_listen_tcp(&a, true, &err);
    assert_flags(first);
    assert_int_equal(sock_local_addr(first, &a), 0);
    int second = sock_listen_tcp(&a, true, &err);
    assert_flags(second);
    assert_int_equal(sock_listen_tcp(&a, false, &err), -EADDRINUSE);
    (void)close(first);
    (void)close(second);

    a = loopback(0);
    first = sock_listen_udp(&a, true, &err);
    assert_flags(first);
    assert_int_equal(sock_local_addr(first, &a), 0);
    second = sock_listen_udp(&a, true, &err);
    assert_flags(second);
    assert_int_equal(sock_listen_udp(&a, false, &err), -EADDRINUSE);
    (void)close(first);
    (void)close(second);
}

static void test_listen_udp(void **state)
{
    (void)state;
    struct addr a = loopback(0);
    struct err err = {0};
    int fd = sock_listen_udp(&a, false, &err);
    assert_flags(fd);
    bool is_listening = true;
    assert_int_equal(sock_type(fd, &is_listening), SOCK_DGRAM);
    assert_false(is_listening);
    assert_int_equal(option(fd, IPPROTO_IP, IP_PKTINFO), 1);
    assert_int_equal(sock_local_addr(fd, &a), 0);
    /* two UDP sockets with SO_REUSEADDR would share the port in silence */
    char text[ADDR_TEXT_CAP];
    assert_int_equal(sock_listen_udp(&a, false, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, addr_text(&a, text)));
    (void)close(fd);
    if (has_ipv6()) {
        a = loopback6(0);
        fd = sock_listen_udp(&a, false, &err);
        assert_flags(fd);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        (void)close(fd);
    }
}

static void test_listen_nowhere(void **state)
{
    (void)state;
    struct err err = {0};
    struct addr none = {0};
    assert_int_equal(sock_listen_tcp(&none, false, &err), -EAFNOSUPPORT);
    struct addr foreign = {.ip = ip_v4(192, 0, 2, 1), .port = 0};
    assert_int_equal(sock_listen_udp(&foreign, false, &err), -EADDRNOTAVAIL);
    assert_non_null(strstr(err.text, "192.0.2.1:0"));
}

static void test_connect_tcp(void **state)
{
    (void)state;
    int pair[2];
    make_pair(pair);
    assert_int_equal(option(pair[0], IPPROTO_TCP, TCP_NODELAY), 1);
    struct addr local;
    struct addr peer;
    assert_int_equal(sock_local_addr(pair[0], &local), 0);
    assert_int_equal(sock_peer_addr(pair[1], &peer), 0);
    assert_true(addr_is_equal(&local, &peer));
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void test_connect_refused(void **state)
{
    (void)state;
    struct addr a = loopback(0);
    struct err err = {0};
    int listener = sock_listen_tcp(&a, false, &err);
    assert_int_equal(sock_local_addr(listener, &a), 0);
    (void)close(listener); /* nobody is there now */
    int fd = sock_connect_tcp(&a);
    if (fd >= 0) {
        wait_for(fd, POLLOUT);
        assert_int_equal(sock_connect_result(fd), -ECONNREFUSED);
        struct addr peer;
        assert_int_equal(sock_peer_addr(fd, &peer), -ENOTCONN);
        (void)close(fd);
    } else {
        assert_int_equal(fd, -ECONNREFUSED);
    }
    struct addr none = {0};
    assert_int_equal(sock_connect_tcp(&none), -EAFNOSUPPORT);
    assert_int_equal(sock_connect_udp(&none), -EAFNOSUPPORT);
}

static void test_connect_udp(void **state)
{
    (void)state;
    struct addr a = loopback(0);
    struct err err = {0};
    int server = sock_listen_udp(&a, false, &err);
    assert_int_equal(sock_local_addr(server, &a), 0);
    int stranger = sock_connect_udp(&a);
    int client = sock_connect_udp(&a);
    assert_flags(client);
    struct addr source;
    struct addr other;
    assert_int_equal(sock_local_addr(client, &source), 0);
    assert_int_equal(sock_local_addr(stranger, &other), 0);
    assert_int_not_equal(source.port, other.port);

    /* connected: what comes from another port never arrives */
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&source, &ss);
    int third = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(third, "x", 1, 0, (struct sockaddr *)&ss, len), 1);
    assert_int_equal(sendto(server, "y", 1, 0, (struct sockaddr *)&ss, len), 1);
    char byte = 0;
    wait_for(client, POLLIN);
    assert_int_equal(recv(client, &byte, 1, 0), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(recv(client, &byte, 1, 0), -1);
    (void)close(third);
    (void)close(client);
    (void)close(stranger);
    (void)close(server);
}

static void test_keepalive(void **state)
{
    (void)state;
    int pair[2];
    make_pair(pair);
    struct sock_keepalive k = {.idle_s = 60, .interval_s = 15, .probes = 4, .user_timeout_ms = 120000};
    assert_int_equal(sock_set_keepalive(pair[0], &k), 0);
    assert_int_equal(option(pair[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(pair[0], IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(pair[0], IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(option(pair[0], IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(option(pair[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);

    struct sock_keepalive off = {0};
    assert_int_equal(sock_set_keepalive(pair[0], &off), 0);
    assert_int_equal(option(pair[0], SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(option(pair[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 0);

    struct sock_keepalive most = {.idle_s = 32767, .interval_s = 32767, .probes = 127};
    assert_int_equal(sock_set_keepalive(pair[0], &most), 0);
    struct sock_keepalive too_many = {.idle_s = 60, .interval_s = 15, .probes = 128};
    assert_int_equal(sock_set_keepalive(pair[0], &too_many), -EINVAL);
    struct sock_keepalive no_interval = {.idle_s = 60, .interval_s = 0, .probes = 4};
    assert_int_equal(sock_set_keepalive(pair[0], &no_interval), -EINVAL);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void test_close_reset(void **state)
{
    (void)state;
    int pair[2];
    char byte;
    make_pair(pair);
    sock_close_reset(pair[1]);
    wait_for(pair[0], POLLIN);
    assert_int_equal(recv(pair[0], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    (void)close(pair[0]);
}

static void test_adopt(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(sock_adopt(fd), 0);
    assert_flags(fd);
    bool is_listening = true;
    assert_int_equal(sock_type(fd, &is_listening), SOCK_STREAM);
    assert_false(is_listening);
    (void)close(fd);
    assert_int_equal(sock_adopt(fd), -EBADF);
    assert_int_equal(sock_type(fd, &is_listening), -EBADF);

    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(sock_type(file, &is_listening), -ENOTSOCK);
    struct addr a;
    assert_int_equal(sock_local_addr(file, &a), -ENOTSOCK);
    (void)close(file);
}

static void test_netns_cookie(void **state)
{
    (void)state;
    int a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int b = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(a >= 0 && b >= 0);
    assert_int_equal(sock_netns_cookie(a), sock_netns_cookie(b)); /* both 0 before Linux 5.14 */
    (void)close(a);
    (void)close(b);
    assert_int_equal(sock_netns_cookie(-1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_tcp),   cmocka_unit_test(test_listen_shared),
        cmocka_unit_test(test_listen_udp),   cmocka_unit_test(test_listen_nowhere),
        cmocka_unit_test(test_connect_tcp),  cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_connect_udp),  cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_close_reset),  cmocka_unit_test(test_adopt),
        cmocka_unit_test(test_netns_cookie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
