/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/nft_set.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/net/netlink_ack.h"
#include "dnsd/nft_until.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_MAX_LEN 63      /* of the option; nft allows more */
#define MESSAGE_ELEMENTS 256 /* the length of a nested attribute has 16 bits */
#define BATCH_MAX_BYTES ((size_t)1 << 20)

struct nft_set {
    pthread_mutex_t lock;
    int fd;
    uint32_t sequence;
    struct nft_until *until; /* what was promised; by CLOCK_MONOTONIC, as the timeouts of sets run */
    char table[NAME_MAX_LEN + 1];
    char sets[2][NAME_MAX_LEN + 2]; /* of IPv4, of IPv6 */
};

/* What is put in: pairs that share a family, each for timeout_ms or for the rest of an earlier promise. */
struct pairs {
    const struct ip *addrs;
    size_t addr_count;
    const uint16_t *ports;
    size_t port_count;
    uint64_t timeout_ms;
    int64_t now_ms;
};

/* ---- names ---- */

static bool is_name(const char *text, size_t len)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return len > 0 && len <= NAME_MAX_LEN && strspn(text, good) >= len;
}

int nft_set_check(const char *option, struct err *err)
{
    const char *slash = strchr(option, '/');
    if (slash == NULL || !is_name(option, (size_t)(slash - option)) ||
        !is_name(slash + 1, strlen(slash + 1))) {
        err_set(err, "--direct-nft-set: \"%.80s\" is not TABLE/SET, names of letters, digits, _ and -",
                option);
        return -EINVAL;
    }
    return 0;
}

static void take_names(struct nft_set *s, const char *option)
{
    const char *slash = strchr(option, '/');
    (void)snprintf(s->table, sizeof s->table, "%.*s", (int)(slash - option), option);
    (void)snprintf(s->sets[0], sizeof s->sets[0], "%s4", slash + 1);
    (void)snprintf(s->sets[1], sizeof s->sets[1], "%s6", slash + 1);
}

/* ---- messages (linux/netfilter/nf_tables.h) ---- */

static int put(struct buf *b, const void *data, size_t len)
{
    static const uint8_t zeros[NLMSG_ALIGNTO];
    int rc = buf_append(b, span_make(data, len), BATCH_MAX_BYTES);
    if (rc == 0 && len % NLMSG_ALIGNTO != 0) {
        rc = buf_append(b, span_make(zeros, NLMSG_ALIGNTO - len % NLMSG_ALIGNTO), BATCH_MAX_BYTES);
    }
    return rc;
}

static int put_attr(struct buf *b, uint16_t type, const void *data, size_t len)
{
    const struct nlattr a = {.nla_len = (uint16_t)(sizeof a + len), .nla_type = type};
    int rc = put(b, &a, sizeof a);
    return rc == 0 ? put(b, data, len) : rc;
}

/* Begins a nested attribute, whose length nest_end() writes. */
static int nest(struct buf *b, uint16_t type, size_t *at)
{
    const struct nlattr a = {.nla_type = type | NLA_F_NESTED};
    *at = b->len;
    return put(b, &a, sizeof a);
}

static void nest_end(struct buf *b, size_t at)
{
    const uint16_t len = (uint16_t)(b->len - at);
    memcpy(b->data + b->start + at + offsetof(struct nlattr, nla_len), &len, sizeof len);
}

static int begin(struct nft_set *s, struct buf *b, uint16_t type, uint16_t flags, uint16_t resource,
                 size_t *at)
{
    s->sequence++;
    const struct nlmsghdr h = {
        .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = s->sequence};
    const bool is_batch = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;
    const struct nfgenmsg g = {.nfgen_family = is_batch ? AF_UNSPEC : 1 /* NFPROTO_INET */,
                               .version = NFNETLINK_V0,
                               .res_id = (uint16_t)(resource >> 8 | resource << 8)};
    *at = b->len;
    int rc = put(b, &h, sizeof h);
    return rc == 0 ? put(b, &g, sizeof g) : rc;
}

static void end(struct buf *b, size_t at)
{
    const uint32_t len = (uint32_t)(b->len - at);
    memcpy(b->data + b->start + at + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof len);
}

static int put_element(struct buf *b, const struct ip *ip, uint16_t port, uint64_t timeout_ms)
{
    uint8_t key[20] = {0}; /* each part is padded to four bytes */
    const size_t addr_len = ip->family == IP_V4 ? 4 : 16;
    uint8_t timeout[8] = {0};
    size_t element = 0;
    size_t nested = 0;
    memcpy(key, ip->bytes, addr_len);
    key[addr_len] = (uint8_t)(port >> 8);
    key[addr_len + 1] = (uint8_t)port;
    int rc = nest(b, NFTA_LIST_ELEM, &element);
    rc = rc == 0 ? nest(b, NFTA_SET_ELEM_KEY, &nested) : rc;
    rc = rc == 0 ? put_attr(b, NFTA_DATA_VALUE, key, addr_len + 4) : rc;
    if (rc == 0) {
        nest_end(b, nested);
    }
    if (rc == 0 && timeout_ms > 0) {
        for (size_t i = 0; i < sizeof timeout; i++) {
            timeout[i] = (uint8_t)(timeout_ms >> (8 * (sizeof timeout - 1 - i)));
        }
        rc = put_attr(b, NFTA_SET_ELEM_TIMEOUT, timeout, sizeof timeout);
    }
    if (rc == 0) {
        nest_end(b, element);
    }
    return rc;
}

static uint64_t timeout_of(const struct nft_set *s, const struct pairs *p, const struct ip *addr,
                           uint16_t port)
{
    const uint64_t left_ms = nft_until_left_ms(s->until, addr, port, p->now_ms);
    return left_ms > p->timeout_ms ? left_ms : p->timeout_ms;
}

/* Message by message, each with as many elements as fit. */
static int put_elements(struct nft_set *s, struct buf *b, uint16_t type, const struct pairs *p)
{
    const char *set = s->sets[p->addrs[0].family == IP_V4 ? 0 : 1];
    const size_t total = p->addr_count * p->port_count;
    const uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < total; i += MESSAGE_ELEMENTS) {
        size_t message = 0;
        size_t list = 0;
        rc = begin(s, b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, 0, &message);
        rc = rc == 0 ? put_attr(b, NFTA_SET_ELEM_LIST_TABLE, s->table, strlen(s->table) + 1) : rc;
        rc = rc == 0 ? put_attr(b, NFTA_SET_ELEM_LIST_SET, set, strlen(set) + 1) : rc;
        rc = rc == 0 ? nest(b, NFTA_SET_ELEM_LIST_ELEMENTS, &list) : rc;
        for (size_t k = i; rc == 0 && k < total && k < i + MESSAGE_ELEMENTS; k++) {
            const struct ip *addr = &p->addrs[k / p->port_count];
            const uint16_t port = p->ports[k % p->port_count];
            rc = put_element(b, addr, port, type == NFT_MSG_NEWSETELEM ? timeout_of(s, p, addr, port) : 0);
        }
        if (rc == 0) {
            nest_end(b, list);
            end(b, message);
        }
    }
    return rc;
}

/* The first error among the answers, or -ENOBUFS if there is none at all: the last message asks for one. */
static int read_answers(const struct nft_set *s, uint32_t last)
{
    uint8_t bytes[8192];
    struct netlink_acks acks = {0};
    for (;;) {
        ssize_t got = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got > 0) {
            netlink_ack_read(&acks, span_make(bytes, (size_t)got), last);
        } else if (got == 0 || errno != EINTR) {
            return acks.error != 0 ? acks.error : acks.is_done ? 0 : -ENOBUFS;
        }
    }
}

/*
 * add, delete, add: older kernels leave the timeout of an element that is there as it was, and a delete of
 * one that is not there fails.
 */
static int transact(struct nft_set *s, const struct pairs *p, bool is_trial)
{
    struct buf b = {0};
    size_t at = 0;
    int rc = begin(s, &b, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES, &at);
    if (rc == 0) {
        end(&b, at);
        rc = put_elements(s, &b, NFT_MSG_NEWSETELEM, p);
    }
    rc = rc == 0 ? put_elements(s, &b, NFT_MSG_DELSETELEM, p) : rc;
    rc = rc == 0 && !is_trial ? put_elements(s, &b, NFT_MSG_NEWSETELEM, p) : rc;
    if (rc == 0) { /* the last message but the end is to be answered */
        const uint32_t last = s->sequence;
        size_t message = 0;
        for (size_t i = 0; i < b.len;) {
            struct nlmsghdr h;
            memcpy(&h, b.data + b.start + i, sizeof h);
            message = i;
            i += NLMSG_ALIGN(h.nlmsg_len);
        }
        const uint16_t flags = NLM_F_REQUEST | NLM_F_ACK | (is_trial ? 0 : NLM_F_CREATE);
        memcpy(b.data + b.start + message + offsetof(struct nlmsghdr, nlmsg_flags), &flags, sizeof flags);
        rc = begin(s, &b, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES, &at);
        if (rc == 0) {
            end(&b, at);
            const struct span text = buf_span(&b);
            rc = send(s->fd, text.data, text.len, 0) == (ssize_t)text.len ? read_answers(s, last) : -errno;
        }
    }
    buf_fini(&b);
    return rc;
}

static void note_promises(struct nft_set *s, const struct pairs *p)
{
    for (size_t i = 0; i < p->addr_count; i++) {
        for (size_t k = 0; k < p->port_count; k++) {
            nft_until_note(s->until, &p->addrs[i], p->ports[k], p->now_ms + (int64_t)p->timeout_ms);
        }
    }
}

int nft_set_admit(struct nft_set *s, const struct ip *addrs, size_t addr_count, const uint16_t *ports,
                  size_t port_count, uint32_t timeout_s)
{
    struct pairs p = {.addrs = addrs,
                      .addr_count = addr_count,
                      .ports = ports,
                      .port_count = port_count,
                      .timeout_ms = (uint64_t)(timeout_s == 0 ? 1 : timeout_s) * 1000};
    if (addr_count == 0 || port_count == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&s->lock);
    p.now_ms = clock_mono_ms();
    int rc = transact(s, &p, false);
    if (rc == 0) {
        note_promises(s, &p);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

/* An address of documentation in each set, which is taken out in the same transaction. */
static int try_out(struct nft_set *s, struct err *err)
{
    static const uint16_t port = 9; /* discard */
    const struct ip addrs[2] = {ip_v4(192, 0, 2, 1), {.family = IP_V6, .bytes = {0x20, 0x01, 0x0d, 0xb8}}};
    int rc = 0;
    size_t i = 0;
    for (; rc == 0 && i < 2; i++) {
        const struct pairs p = {
            .addrs = &addrs[i], .addr_count = 1, .ports = &port, .port_count = 1, .timeout_ms = 1000};
        rc = transact(s, &p, true);
    }
    const char *type = i == 1 ? "ipv4_addr" : "ipv6_addr";
    const char *set = s->sets[i == 1 ? 0 : 1];
    if (rc == -EPERM) {
        err_set(err, "--direct-nft-set needs CAP_NET_ADMIN in this network namespace");
    } else if (rc == -ENOENT) {
        err_set(
            err,
            "--direct-nft-set: there is no set %s in the table inet %s: nft add set inet %s %s '{ type %s . "
            "inet_service; flags timeout; }'",
            set, s->table, s->table, set, type);
    } else if (rc != 0) {
        err_set(err,
                "--direct-nft-set: inet %s %s: %s; its type must be %s . inet_service, with flags timeout",
                s->table, set, strerror(-rc), type);
    }
    return rc;
}

int nft_set_open(const char *option, struct nft_set **out, struct err *err)
{
    *out = NULL;
    int rc = nft_set_check(option, err);
    if (rc != 0) {
        return rc;
    }
    struct nft_set *s = calloc(1, sizeof *s);
    if (s == NULL || nft_until_new(&s->until) != 0 || pthread_mutex_init(&s->lock, NULL) != 0) {
        if (s != NULL) {
            nft_until_free(s->until);
        }
        free(s);
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    take_names(s, option);
    s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (s->fd < 0) {
        rc = -errno;
        err_set(err, "--direct-nft-set: netlink: %s", strerror(errno));
    } else {
        const int room = 1 << 21; /* a whole batch; the kernel gives what it may */
        (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, (socklen_t)sizeof room);
        const int yes = 1; /* else an error repeats its message, which may be longer than what we read */
        (void)setsockopt(s->fd, SOL_NETLINK, NETLINK_CAP_ACK, &yes, (socklen_t)sizeof yes);
        rc = try_out(s, err);
    }
    if (rc != 0) {
        nft_set_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void nft_set_close(struct nft_set *s)
{
    if (s == NULL) {
        return;
    }
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    (void)pthread_mutex_destroy(&s->lock);
    nft_until_free(s->until);
    free(s);
}
