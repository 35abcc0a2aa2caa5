/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets, non-blocking and close-on-exec from birth. All functions return a descriptor or 0, or -errno;
 * *err, where taken, gets a sentence with the address in it.
 */
#pragma once

#include "common/net/addr.h"

struct sock_keepalive { /* 0 idle_s = off */
    int idle_s, interval_s, probes;
    unsigned user_timeout_ms; /* TCP_USER_TIMEOUT; 0 = the kernel's */
};

/*
 * SO_REUSEADDR always, SO_REUSEPORT if reuseport, IPV6_V6ONLY on IPv6. Backlog 1024. The first listener of an
 * address is made without reuseport, so that one of another process there is an error; sock_allow_sharing()
 * then lets others of the same user join it.
 */
MUST_CHECK int sock_listen_tcp(const struct addr *a, bool reuseport, struct err *err);
/* With IP_PKTINFO / IPV6_RECVPKTINFO so that answers leave from the address asked. */
MUST_CHECK int sock_listen_udp(const struct addr *a, bool reuseport, struct err *err);
MUST_CHECK int sock_allow_sharing(int fd, struct err *err);
#define SOCK_EMFILE_HINT "raise the limit of open files (LimitNOFILE=), or start with fewer --workers"
/* What to do about a listener that could not be had, as half a sentence; "" if there is nothing to say. */
const char *sock_listen_hint(int error);
MUST_CHECK int sock_local_addr(int fd, struct addr *out);
MUST_CHECK int sock_peer_addr(int fd, struct addr *out);
/*
 * Where an accepted connection went before the kernel redirected it (SO_ORIGINAL_DST of nf_conntrack: nft's
 * redirect and dnat). family is that of the local address; IPv4 on an IPv6 socket is IPv4. One that was not
 * redirected gives its local address. 0 or -errno (-ENOENT: there is no entry for it, -ENOPROTOOPT: no
 * conntrack).
 */
MUST_CHECK int sock_original_dst(int fd, enum ip_family family, struct addr *out);
/* Lets a listener take what TPROXY sends it (IP_TRANSPARENT; needs CAP_NET_RAW or CAP_NET_ADMIN). 0 or
 * -errno. */
MUST_CHECK int sock_set_transparent(int fd, enum ip_family family);
/* Non-blocking connect: a descriptor in progress or connected, or -errno at once. TCP_NODELAY is set. */
MUST_CHECK int sock_connect_tcp(const struct addr *to);
/* A connected UDP socket on a random source port of the kernel's choice. */
MUST_CHECK int sock_connect_udp(const struct addr *to);
/* Takes peer and port from such a socket; what it has received already stays in it. 0 or -errno. */
MUST_CHECK int sock_disconnect_udp(int fd);
/* Connects one that has neither, from another random port. 0 or -errno. */
MUST_CHECK int sock_reconnect_udp(int fd, const struct addr *to);
/* Its packets leave from own from now on, whatever a route would choose; the port stays the kernel's choice.
 * If the kernel refuses, nothing has changed. */
void sock_bind_address(int fd, const struct ip *own);
/* SO_ERROR of a finished non-blocking connect: 0 or -errno. */
MUST_CHECK int sock_connect_result(int fd);
void sock_set_nodelay(int fd);
/* 0 or -errno of the first option the kernel refused. */
MUST_CHECK int sock_set_keepalive(int fd, const struct sock_keepalive *k);
/* From now on close(2) of it sends RST. */
void sock_set_reset(int fd);
/* close(2) so that the peer sees RST. */
void sock_close_reset(int fd);
/* Sets O_NONBLOCK and FD_CLOEXEC on an inherited descriptor. */
MUST_CHECK int sock_adopt(int fd);
/* SO_TYPE, SO_ACCEPTCONN of an inherited descriptor: type or -errno. */
MUST_CHECK int sock_type(int fd, bool *is_listening);
/* The network namespace's cookie (SO_NETNS_COOKIE, Linux 5.14); 0 if the kernel does not tell. */
uint64_t sock_netns_cookie(int fd);
