/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include "common/net/sock.h"
#include "egress/netlink.h"
#include "egress/nft.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CAPTURE_PORT 15001 /* of the one listener a family, where nft brings everything to it */

static struct ip first_host(const struct ip_prefix *p)
{
    struct ip a = p->base;
    size_t last = a.family == IP_V4 ? 3 : 15;
    a.bytes[last] = (uint8_t)(a.bytes[last] | 1);
    return a;
}

static int network_family(const struct ip_prefix *pool, const struct ip *prefsrc, struct err *err)
{
    char text[IP_TEXT_CAP];
    struct ip own = first_host(pool);
    int rc = netlink_lo_add_addr(&own);
    if (rc == 0) {
        rc = netlink_lo_add_local_route(pool, prefsrc);
    }
    if (rc != 0) {
        err_set(err, "the pool %s/%u on lo: %s", ip_text(&pool->base, text), pool->bits, strerror(-rc));
    }
    return rc;
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

static int all_pools(const struct synth_pools *pools, bool has_v6, struct err *err)
{
    const struct ip source = ip_v4(127, 0, 0, 1);
    int rc = netlink_lo_up();
    if (rc != 0) {
        err_set(err, "lo: %s", strerror(-rc));
        return rc;
    }
    if (pools->has_v4) {
        rc = network_family(&pools->v4, &source, err);
    }
    if (rc == 0 && pools->has_v6 && has_v6) {
        rc = network_family(&pools->v6, NULL, err);
    }
    return rc;
}

/* All addresses but the last of bits bits that are all ones, 0/1, 10/2, 110/3 and so on: those are multicast.
 */
static int all_of_family(enum ip_family family, unsigned bits, const struct ip *prefsrc)
{
    struct ip_prefix p = {.base = {.family = (uint8_t)family}};
    int rc = 0;
    for (p.bits = 1; rc == 0 && p.bits <= bits; p.bits++) {
        rc = netlink_lo_add_local_route(&p, prefsrc);
        p.base.bytes[0] = (uint8_t)(p.base.bytes[0] | 0x100U >> p.bits);
    }
    return rc;
}

/*
 * Every other address arrives here, too, to be refused or, on port 53, answered. The preferred source is what
 * a client has towards the pools as well.
 */
static int all_addresses(bool has_v6, struct err *err)
{
    const struct ip source = ip_v4(127, 0, 0, 1);
    int rc = all_of_family(IP_V4, 3, &source);
    rc = rc == 0 && has_v6 ? all_of_family(IP_V6, 8, NULL) : rc;
    if (rc != 0) {
        err_set(err, "a route for all addresses on lo: %s", strerror(-rc));
    }
    return rc;
}

/* Creates one listener and hands it over. */
static int listen_and_send(int sock, enum fence_kind kind, const struct addr *a, bool udp, struct err *err)
{
    /* Reuseport: a policy port equal to one of ours (53, 3128) may then be captured beside it on the pool. */
    int fd = udp ? sock_listen_udp(a, false, err) : sock_listen_tcp(a, true, err);
    if (fd < 0) {
        return fd;
    }
    int rc = fence_send(sock, kind, 0, NULL, fd);
    if (rc != 0) {
        err_set(err, "handing a listening socket over: %s", strerror(-rc));
    }
    (void)close(fd);
    return rc;
}

static int dns_listeners(const struct ip *ip, int sock, struct err *err)
{
    const struct addr dns = {.ip = *ip, .port = 53};
    int rc = listen_and_send(sock, FENCE_DNS, &dns, true, err);
    return rc == 0 ? listen_and_send(sock, FENCE_DNS, &dns, false, err) : rc;
}

/* What nft's rules lead to. */
static int redirect_listeners(bool has_v6, int sock, struct err *err)
{
    struct addr capture4 = {.ip = ip_v4(127, 0, 0, 1), .port = CAPTURE_PORT};
    struct addr capture6 = {.ip = {.family = IP_V6}, .port = CAPTURE_PORT};
    capture6.ip.bytes[15] = 1;
    int rc = listen_and_send(sock, FENCE_CAPTURE, &capture4, false, err);
    if (rc == 0 && has_v6) {
        rc = listen_and_send(sock, FENCE_CAPTURE, &capture6, false, err);
        rc = rc == 0 ? dns_listeners(&capture6.ip, sock, err) : rc;
    }
    return rc;
}

/* 0, also where nf_tables is not to be had and need not be: *is_redirect tells. */
static int try_redirect(const struct fence_config *cfg, bool has_v6, int sock, bool *is_redirect,
                        struct err *err)
{
    char text[160];
    const struct nft_config nft = {.pools = cfg->pools, .has_v6 = has_v6, .capture_port = CAPTURE_PORT};
    *is_redirect = false;
    if (cfg->capture == FENCE_CAPTURE_ANYIP) {
        return 0;
    }
    int rc = nft_apply(&nft);
    if (rc == 0) {
        *is_redirect = true;
        return all_addresses(has_v6, err);
    }
    if (cfg->capture == FENCE_CAPTURE_REDIRECT) {
        err_set(err, "nf_tables: %s (--capture auto goes on with one listener a port)", strerror(-rc));
        return rc;
    }
    (void)snprintf(text, sizeof text, "nf_tables: %s", strerror(-rc));
    rc = fence_send(sock, FENCE_NOTE, 0, text, -1);
    if (rc != 0) {
        err_set(err, "the launcher is gone");
    }
    return rc;
}

int fence_network(const struct fence_config *cfg, int sock, struct err *err)
{
    const struct addr connect = {.ip = ip_v4(127, 0, 0, 1), .port = 3128};
    const bool has_v6 = has_ipv6();
    bool is_redirect = false;
    int rc = all_pools(&cfg->pools, has_v6, err);
    rc = rc == 0 ? try_redirect(cfg, has_v6, sock, &is_redirect, err) : rc;
    rc = rc == 0 ? dns_listeners(&connect.ip, sock, err) : rc;
    rc = rc == 0 ? listen_and_send(sock, FENCE_CONNECT, &connect, false, err) : rc;
    if (rc != 0) {
        return rc;
    }
    /* Without nft tunneld has one listener a port on every address, and asks for each. */
    return is_redirect ? redirect_listeners(has_v6, sock, err) : fence_ports(sock, err);
}
