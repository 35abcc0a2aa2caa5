/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define SOCK_BACKLOG 1024

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14; missing in older headers */
#endif
#ifndef SO_ORIGINAL_DST
#define SO_ORIGINAL_DST 80 /* of linux/netfilter_ipv4.h, and of netfilter_ipv6 under another name */
#endif

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, (socklen_t)sizeof(value)) == 0 ? 0 : -errno;
}

static int get_int(int fd, int name, int *out)
{
    socklen_t len = (socklen_t)sizeof(*out);
    return getsockopt(fd, SOL_SOCKET, name, out, &len) == 0 ? 0 : -errno;
}

static int new_socket(const struct addr *a, int type)
{
    if (a->ip.family != IP_V4 && a->ip.family != IP_V6) {
        return -EAFNOSUPPORT;
    }
    int fd = socket(a->ip.family == IP_V4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int bind_addr(int fd, const struct addr *a)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(a, &ss);
    return bind(fd, (const struct sockaddr *)&ss, len) == 0 ? 0 : -errno;
}

static int connect_addr(int fd, const struct addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(to, &ss);
    return connect(fd, (const struct sockaddr *)&ss, len) == 0 ? 0 : -errno;
}

static int fail_listen(int fd, const struct addr *a, const char *proto, int rc, struct err *err)
{
    char text[ADDR_TEXT_CAP];
    err_set(err, "cannot listen on %s (%s): %s", addr_text(a, text), proto, strerror(-rc));
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

int sock_listen_tcp(const struct addr *a, bool reuseport, struct err *err)
{
    int fd = new_socket(a, SOCK_STREAM);
    if (fd < 0) {
        return fail_listen(-1, a, "tcp", fd, err);
    }
    int rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && reuseport) {
        rc = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (rc == 0 && a->ip.family == IP_V6) {
        rc = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (rc == 0) {
        rc = bind_addr(fd, a);
    }
    if (rc == 0 && listen(fd, SOCK_BACKLOG) != 0) {
        rc = -errno;
    }
    return rc == 0 ? fd : fail_listen(fd, a, "tcp", rc, err);
}

int sock_listen_udp(const struct addr *a, bool reuseport, struct err *err)
{
    int fd = new_socket(a, SOCK_DGRAM);
    if (fd < 0) {
        return fail_listen(-1, a, "udp", fd, err);
    }
    /* No SO_REUSEADDR here: on Linux two UDP sockets that have it share a port, and one of them gets nothing.
     */
    int rc = reuseport ? set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    if (rc == 0 && a->ip.family == IP_V4) {
        rc = set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    if (rc == 0 && a->ip.family == IP_V6) {
        rc = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (rc == 0 && a->ip.family == IP_V6) {
        rc = set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
    if (rc == 0) {
        rc = bind_addr(fd, a);
    }
    return rc == 0 ? fd : fail_listen(fd, a, "udp", rc, err);
}

int sock_allow_sharing(int fd, struct err *err)
{
    int rc = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc != 0) {
        err_set(err, "SO_REUSEPORT: %s", strerror(-rc));
    }
    return rc;
}

const char *sock_listen_hint(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "another program has it (ss -lnp names it): end that, or listen on another address";
    case EADDRNOTAVAIL:
        return "no interface here has this address";
    case EACCES:
        return "a port below net.ipv4.ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE: start as root "
               "(with --user), give the capability, lower that number, or listen on a higher port";
    case EINVAL:
        return "a link-local or IPv4-mapped IPv6 address cannot be listened on: use [::], or another address "
               "of this host";
    case EMFILE:
        return SOCK_EMFILE_HINT;
    default:
        return "";
    }
}

int sock_local_addr(int fd, struct addr *out)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = (socklen_t)sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        return -errno;
    }
    return addr_from_sockaddr((const struct sockaddr *)&ss, len, out);
}

int sock_peer_addr(int fd, struct addr *out)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = (socklen_t)sizeof(ss);
    if (getpeername(fd, (struct sockaddr *)&ss, &len) != 0) {
        return -errno;
    }
    return addr_from_sockaddr((const struct sockaddr *)&ss, len, out);
}

int sock_original_dst(int fd, enum ip_family family, struct addr *out)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = family == IP_V4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (getsockopt(fd, family == IP_V4 ? IPPROTO_IP : IPPROTO_IPV6, SO_ORIGINAL_DST, &ss, &len) != 0) {
        return -errno;
    }
    return addr_from_sockaddr((const struct sockaddr *)&ss, len, out);
}

int sock_set_transparent(int fd, enum ip_family family)
{
    return family == IP_V4 ? set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1)
                           : set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
}

int sock_connect_tcp(const struct addr *to)
{
    int fd = new_socket(to, SOCK_STREAM);
    if (fd < 0) {
        return fd;
    }
    sock_set_nodelay(fd);
    int rc = connect_addr(fd, to);
    if (rc != 0 && rc != -EINPROGRESS) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

int sock_connect_udp(const struct addr *to)
{
    int fd = new_socket(to, SOCK_DGRAM);
    if (fd < 0) {
        return fd;
    }
    int rc = connect_addr(fd, to);
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

int sock_disconnect_udp(int fd)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    return connect(fd, &nobody, (socklen_t)sizeof(nobody)) == 0 ? 0 : -errno;
}

int sock_reconnect_udp(int fd, const struct addr *to)
{
    return connect_addr(fd, to);
}

void sock_bind_address(int fd, const struct ip *own)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&(struct addr){.ip = *own}, &ss);
    if (set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) == 0) {
        (void)bind(fd, (const struct sockaddr *)&ss, len); /* only a matter of speed: a failure is no error */
    }
}

int sock_connect_result(int fd)
{
    int error = 0;
    int rc = get_int(fd, SO_ERROR, &error);
    return rc != 0 ? rc : -error;
}

void sock_set_nodelay(int fd)
{
    (void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* only a matter of speed: a failure is no error */
}

int sock_set_keepalive(int fd, const struct sock_keepalive *k)
{
    int rc = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, k->idle_s > 0 ? 1 : 0);
    if (rc == 0 && k->idle_s > 0) {
        rc = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, k->idle_s);
        if (rc == 0) {
            rc = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, k->interval_s);
        }
        if (rc == 0) {
            rc = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, k->probes);
        }
    }
    if (rc == 0) {
        unsigned timeout_ms = k->user_timeout_ms;
        if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, (socklen_t)sizeof(timeout_ms)) != 0) {
            rc = -errno;
        }
    }
    return rc;
}

void sock_set_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, (socklen_t)sizeof(linger));
}

void sock_close_reset(int fd)
{
    sock_set_reset(fd);
    (void)close(fd);
}

int sock_adopt(int fd)
{
    int status = fcntl(fd, F_GETFL);
    if (status < 0 || fcntl(fd, F_SETFL, status | O_NONBLOCK) != 0) {
        return -errno;
    }
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0) {
        return -errno;
    }
    return 0;
}

int sock_type(int fd, bool *is_listening)
{
    int type = 0;
    int listening = 0;
    int rc = get_int(fd, SO_TYPE, &type);
    if (rc == 0) {
        rc = get_int(fd, SO_ACCEPTCONN, &listening);
    }
    if (rc != 0) {
        return rc;
    }
    *is_listening = listening != 0;
    return type;
}

uint64_t sock_netns_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = (socklen_t)sizeof(cookie);
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) != 0 || len != sizeof(cookie)) {
        return 0;
    }
    return cookie;
}
