/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/netlink.h"

#include "common/net/netlink_ack.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_CAP 256
#define REQUEST_SEQ 1 /* of the one request of a socket */

static size_t addr_len(const struct ip *a)
{
    return a->family == IP_V4 ? 4 : 16;
}

static unsigned char addr_family(const struct ip *a)
{
    return a->family == IP_V4 ? AF_INET : AF_INET6;
}

/* Appends one attribute; at is the offset of the next free byte. */
static size_t put_attr(uint8_t *out, size_t at, unsigned short type, const void *data, size_t len)
{
    struct rtattr attr = {.rta_len = (unsigned short)(sizeof(struct rtattr) + len), .rta_type = type};
    REQUIRE(at + NLMSG_ALIGN(sizeof attr + len) <= MESSAGE_CAP);
    memset(out + at, 0, NLMSG_ALIGN(sizeof attr + len));
    memcpy(out + at, &attr, sizeof attr);
    memcpy(out + at + sizeof attr, data, len);
    return at + NLMSG_ALIGN(sizeof attr + len);
}

static void put_header(uint8_t *out, size_t len, unsigned short type)
{
    struct nlmsghdr header = {.nlmsg_len = (uint32_t)len,
                              .nlmsg_type = type,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                              .nlmsg_seq = REQUEST_SEQ};
    memcpy(out, &header, sizeof header);
}

size_t netlink_build_addr(void *out, int ifindex, const struct ip *a)
{
    uint8_t *bytes = out;
    size_t at = NLMSG_HDRLEN;
    struct ifaddrmsg msg = {.ifa_family = addr_family(a),
                            .ifa_prefixlen = (unsigned char)(addr_len(a) * 8),
                            .ifa_flags = a->family == IP_V6 ? IFA_F_NODAD : 0,
                            .ifa_scope = RT_SCOPE_UNIVERSE,
                            .ifa_index = (unsigned)ifindex};
    memcpy(bytes + at, &msg, sizeof msg);
    at += NLMSG_ALIGN(sizeof msg);
    at = put_attr(bytes, at, IFA_LOCAL, a->bytes, addr_len(a));
    at = put_attr(bytes, at, IFA_ADDRESS, a->bytes, addr_len(a));
    put_header(bytes, at, RTM_NEWADDR);
    return at;
}

size_t netlink_build_route(void *out, int ifindex, const struct ip_prefix *p, const struct ip *prefsrc)
{
    uint8_t *bytes = out;
    size_t at = NLMSG_HDRLEN;
    int oif = ifindex;
    struct rtmsg msg = {.rtm_family = addr_family(&p->base),
                        .rtm_dst_len = p->bits,
                        .rtm_table = RT_TABLE_LOCAL,
                        .rtm_protocol = RTPROT_STATIC,
                        .rtm_scope = p->base.family == IP_V4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
                        .rtm_type = RTN_LOCAL};
    memcpy(bytes + at, &msg, sizeof msg);
    at += NLMSG_ALIGN(sizeof msg);
    at = put_attr(bytes, at, RTA_DST, p->base.bytes, addr_len(&p->base));
    at = put_attr(bytes, at, RTA_OIF, &oif, sizeof oif);
    if (prefsrc != NULL) {
        at = put_attr(bytes, at, RTA_PREFSRC, prefsrc->bytes, addr_len(prefsrc));
    }
    put_header(bytes, at, RTM_NEWROUTE);
    return at;
}

/* Sends one request and reads its acknowledgement. */
static int transact(const void *message, size_t len)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return -errno;
    }
    int result = 0;
    uint8_t reply[4096];
    if (send(fd, message, len, 0) != (ssize_t)len) {
        result = errno != 0 ? -errno : -EIO;
        goto out;
    }
    ssize_t got;
    do {
        got = recv(fd, reply, sizeof reply, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        result = -errno;
        goto out;
    }
    struct netlink_acks acks = {0};
    netlink_ack_read(&acks, span_make(reply, (size_t)got), REQUEST_SEQ);
    result = acks.error != 0 || acks.is_done ? acks.error : -EBADMSG;
out:
    (void)close(fd);
    return result == -EEXIST ? 0 : result;
}

int netlink_lo_up(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    struct ifreq request = {.ifr_name = "lo"};
    int result = 0;
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
        result = -errno;
    } else {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP | IFF_RUNNING);
        result = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
    }
    (void)close(fd);
    return result;
}

int netlink_lo_add_addr(const struct ip *a)
{
    uint8_t message[MESSAGE_CAP];
    unsigned index = if_nametoindex("lo");
    if (index == 0) {
        return -errno;
    }
    return transact(message, netlink_build_addr(message, (int)index, a));
}

int netlink_lo_add_local_route(const struct ip_prefix *p, const struct ip *prefsrc)
{
    uint8_t message[MESSAGE_CAP];
    unsigned index = if_nametoindex("lo");
    if (index == 0) {
        return -errno;
    }
    return transact(message, netlink_build_route(message, (int)index, p, prefsrc));
}
