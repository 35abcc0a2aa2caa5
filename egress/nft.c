/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/nft.h"

#include "common/net/netlink_ack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define DNS_PORT 53
#define PRIORITY_DSTNAT (-100)
#define PRIORITY_FILTER 0
/* Offsets in the headers, which do not move. */
#define V4_DADDR 16
#define V6_DADDR 24
#define L4_DPORT 2

struct batch {
    uint8_t *bytes;
    size_t len;
    uint32_t seq;   /* of the last message */
    size_t message; /* where it begins */
};

/* --- netlink's own syntax --- */

static void put_bytes(struct batch *b, const void *data, size_t len)
{
    const size_t padded = (len + 3) / 4 * 4;
    REQUIRE(b->len + padded <= NFT_BATCH_CAP);
    memset(b->bytes + b->len, 0, padded);
    memcpy(b->bytes + b->len, data, len);
    b->len += padded;
}

static void put_attr(struct batch *b, uint16_t type, const void *data, size_t len)
{
    const struct nlattr head = {.nla_len = (uint16_t)(sizeof(struct nlattr) + len), .nla_type = type};
    put_bytes(b, &head, sizeof head);
    put_bytes(b, data, len);
}

static void put_str(struct batch *b, uint16_t type, const char *text)
{
    put_attr(b, type, text, strlen(text) + 1);
}

static void put_be32(struct batch *b, uint16_t type, uint32_t n)
{
    const uint32_t wire = htonl(n);
    put_attr(b, type, &wire, sizeof wire);
}

static size_t open_nest(struct batch *b, uint16_t type)
{
    const size_t at = b->len;
    put_attr(b, (uint16_t)(type | NLA_F_NESTED), "", 0);
    return at;
}

static void close_nest(struct batch *b, size_t at)
{
    const uint16_t len = (uint16_t)(b->len - at);
    memcpy(b->bytes + at, &len, sizeof len);
}

static void open_message(struct batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
    const struct nlmsghdr head = {
        .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = ++b->seq};
    const struct nfgenmsg gen = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res_id)};
    b->message = b->len;
    put_bytes(b, &head, sizeof head);
    put_bytes(b, &gen, sizeof gen);
}

static void close_message(struct batch *b)
{
    const uint32_t len = (uint32_t)(b->len - b->message);
    memcpy(b->bytes + b->message, &len, sizeof len);
}

static void put_mark(struct batch *b, uint16_t type)
{
    open_message(b, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    close_message(b);
}

static void open_nft(struct batch *b, int type, uint16_t flags)
{
    open_message(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), (uint16_t)(NLM_F_CREATE | flags),
                 NFPROTO_INET, 0);
}

/* --- expressions; each works on register 1 --- */

static size_t open_expr(struct batch *b, const char *name, size_t *element)
{
    *element = open_nest(b, NFTA_LIST_ELEM);
    put_str(b, NFTA_EXPR_NAME, name);
    return open_nest(b, NFTA_EXPR_DATA);
}

static void close_expr(struct batch *b, size_t data, size_t element)
{
    close_nest(b, data);
    close_nest(b, element);
}

static void put_data(struct batch *b, uint16_t type, const void *value, size_t len)
{
    const size_t nest = open_nest(b, type);
    put_attr(b, NFTA_DATA_VALUE, value, len);
    close_nest(b, nest);
}

static void expr_meta(struct batch *b, uint32_t key)
{
    size_t element = 0;
    const size_t data = open_expr(b, "meta", &element);
    put_be32(b, NFTA_META_KEY, key);
    put_be32(b, NFTA_META_DREG, NFT_REG_1);
    close_expr(b, data, element);
}

static void expr_ct_state(struct batch *b)
{
    size_t element = 0;
    const size_t data = open_expr(b, "ct", &element);
    put_be32(b, NFTA_CT_KEY, NFT_CT_STATE);
    put_be32(b, NFTA_CT_DREG, NFT_REG_1);
    close_expr(b, data, element);
}

static void expr_payload(struct batch *b, uint32_t base, uint32_t offset, uint32_t len)
{
    size_t element = 0;
    const size_t data = open_expr(b, "payload", &element);
    put_be32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
    put_be32(b, NFTA_PAYLOAD_BASE, base);
    put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    put_be32(b, NFTA_PAYLOAD_LEN, len);
    close_expr(b, data, element);
}

static void expr_mask(struct batch *b, const void *mask, size_t len)
{
    static const uint8_t zero[16];
    size_t element = 0;
    const size_t data = open_expr(b, "bitwise", &element);
    put_be32(b, NFTA_BITWISE_SREG, NFT_REG_1);
    put_be32(b, NFTA_BITWISE_DREG, NFT_REG_1);
    put_be32(b, NFTA_BITWISE_LEN, (uint32_t)len);
    put_data(b, NFTA_BITWISE_MASK, mask, len);
    put_data(b, NFTA_BITWISE_XOR, zero, len);
    close_expr(b, data, element);
}

static void expr_cmp(struct batch *b, uint32_t op, const void *value, size_t len)
{
    size_t element = 0;
    const size_t data = open_expr(b, "cmp", &element);
    put_be32(b, NFTA_CMP_SREG, NFT_REG_1);
    put_be32(b, NFTA_CMP_OP, op);
    put_data(b, NFTA_CMP_DATA, value, len);
    close_expr(b, data, element);
}

static void expr_accept(struct batch *b)
{
    size_t element = 0;
    const size_t data = open_expr(b, "immediate", &element);
    put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    const size_t value = open_nest(b, NFTA_IMMEDIATE_DATA);
    const size_t verdict = open_nest(b, NFTA_DATA_VERDICT);
    put_be32(b, NFTA_VERDICT_CODE, NF_ACCEPT);
    close_nest(b, verdict);
    close_nest(b, value);
    close_expr(b, data, element);
}

static void expr_redirect(struct batch *b, uint16_t port)
{
    const uint16_t wire = htons(port);
    size_t element = 0;
    size_t data = open_expr(b, "immediate", &element);
    put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_1);
    put_data(b, NFTA_IMMEDIATE_DATA, &wire, sizeof wire);
    close_expr(b, data, element);
    data = open_expr(b, "redir", &element);
    put_be32(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
    close_expr(b, data, element);
}

static void expr_reject(struct batch *b, uint32_t type, uint8_t code)
{
    size_t element = 0;
    const size_t data = open_expr(b, "reject", &element);
    put_be32(b, NFTA_REJECT_TYPE, type);
    put_attr(b, NFTA_REJECT_ICMP_CODE, &code, sizeof code);
    close_expr(b, data, element);
}

/* --- matches --- */

static void match_protocol(struct batch *b, uint8_t protocol)
{
    expr_meta(b, NFT_META_L4PROTO);
    expr_cmp(b, NFT_CMP_EQ, &protocol, sizeof protocol);
}

static void match_daddr(struct batch *b, const struct ip_prefix *p)
{
    const bool is_v4 = p->base.family == IP_V4;
    const uint8_t family = is_v4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    const uint32_t len = is_v4 ? 4 : 16;
    uint8_t mask[16] = {0};
    for (unsigned bit = 0; bit < p->bits; bit++) {
        mask[bit / 8] |= (uint8_t)(0x80U >> (bit % 8));
    }
    expr_meta(b, NFT_META_NFPROTO);
    expr_cmp(b, NFT_CMP_EQ, &family, sizeof family);
    expr_payload(b, NFT_PAYLOAD_NETWORK_HEADER, is_v4 ? V4_DADDR : V6_DADDR, len);
    expr_mask(b, mask, len);
    expr_cmp(b, NFT_CMP_EQ, p->base.bytes, len);
}

static void match_port(struct batch *b, uint16_t port)
{
    const uint16_t wire = htons(port);
    expr_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, L4_DPORT, sizeof wire);
    expr_cmp(b, NFT_CMP_EQ, &wire, sizeof wire);
}

static void match_known(struct batch *b)
{
    const uint32_t known = NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED);
    const uint32_t none = 0;
    expr_ct_state(b);
    expr_mask(b, &known, sizeof known);
    expr_cmp(b, NFT_CMP_NEQ, &none, sizeof none);
}

/* --- the rule set --- */

static const char chain_capture[] = "capture";
static const char chain_refuse[] = "refuse";

static void put_chain(struct batch *b, const char *name, const char *type, uint32_t hook, int priority)
{
    open_nft(b, NFT_MSG_NEWCHAIN, NLM_F_EXCL);
    put_str(b, NFTA_CHAIN_TABLE, NFT_TABLE);
    put_str(b, NFTA_CHAIN_NAME, name);
    const size_t nest = open_nest(b, NFTA_CHAIN_HOOK);
    put_be32(b, NFTA_HOOK_HOOKNUM, hook);
    put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    close_nest(b, nest);
    put_be32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
    put_str(b, NFTA_CHAIN_TYPE, type);
    close_message(b);
}

static size_t open_rule(struct batch *b, const char *chain, uint16_t flags)
{
    open_nft(b, NFT_MSG_NEWRULE, (uint16_t)(NLM_F_APPEND | flags));
    put_str(b, NFTA_RULE_TABLE, NFT_TABLE);
    put_str(b, NFTA_RULE_CHAIN, chain);
    return open_nest(b, NFTA_RULE_EXPRESSIONS);
}

static void close_rule(struct batch *b, size_t nest)
{
    close_nest(b, nest);
    close_message(b);
}

static void put_pool(struct batch *b, const struct ip_prefix *pool, uint16_t port)
{
    const size_t rule = open_rule(b, chain_capture, 0);
    match_daddr(b, pool);
    match_protocol(b, IPPROTO_TCP);
    expr_redirect(b, port);
    close_rule(b, rule);
}

static void put_dns(struct batch *b, uint8_t protocol)
{
    const size_t rule = open_rule(b, chain_capture, 0);
    match_protocol(b, protocol);
    match_port(b, DNS_PORT);
    expr_redirect(b, DNS_PORT);
    close_rule(b, rule);
}

/* The order tells: loopback is the command's own, what is left is refused in TCP's words or in ICMP's. */
static void put_refusals(struct batch *b, bool has_v6)
{
    const struct ip_prefix loopback4 = {.base = ip_v4(127, 0, 0, 0), .bits = 8};
    struct ip_prefix loopback6 = {.base = {.family = IP_V6}, .bits = 128};
    loopback6.base.bytes[15] = 1;
    size_t rule = open_rule(b, chain_refuse, 0);
    match_daddr(b, &loopback4);
    expr_accept(b);
    close_rule(b, rule);
    if (has_v6) {
        rule = open_rule(b, chain_refuse, 0);
        match_daddr(b, &loopback6);
        expr_accept(b);
        close_rule(b, rule);
    }
    rule = open_rule(b, chain_refuse, 0);
    match_known(b);
    expr_accept(b);
    close_rule(b, rule);
    rule = open_rule(b, chain_refuse, 0);
    match_protocol(b, IPPROTO_TCP);
    expr_reject(b, NFT_REJECT_TCP_RST, 0);
    close_rule(b, rule);
    rule = open_rule(b, chain_refuse, NLM_F_ACK); /* the last one: all else is only heard of if it fails */
    expr_reject(b, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH);
    close_rule(b, rule);
}

static struct batch build(void *out, const struct nft_config *cfg, uint32_t *last)
{
    struct batch b = {.bytes = out};
    put_mark(&b, NFNL_MSG_BATCH_BEGIN);
    open_nft(&b, NFT_MSG_NEWTABLE, NLM_F_EXCL);
    put_str(&b, NFTA_TABLE_NAME, NFT_TABLE);
    close_message(&b);
    put_chain(&b, chain_capture, "nat", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT);
    put_chain(&b, chain_refuse, "filter", NF_INET_LOCAL_IN, PRIORITY_FILTER);
    if (cfg->pools.has_v4) {
        put_pool(&b, &cfg->pools.v4, cfg->capture_port);
    }
    if (cfg->pools.has_v6 && cfg->has_v6) {
        put_pool(&b, &cfg->pools.v6, cfg->capture_port);
    }
    put_dns(&b, IPPROTO_UDP);
    put_dns(&b, IPPROTO_TCP);
    put_refusals(&b, cfg->has_v6);
    *last = b.seq;
    put_mark(&b, NFNL_MSG_BATCH_END);
    return b;
}

size_t nft_build(void *out, const struct nft_config *cfg)
{
    uint32_t last = 0;
    return build(out, cfg, &last).len;
}

/* The kernel has answered by the time send() returns: an error for each message at fault, and that the last
 * one is done. */
static int read_answers(int fd, uint32_t last)
{
    struct netlink_acks acks = {0};
    while (acks.error == 0 && !acks.is_done) {
        uint8_t reply[NFT_BATCH_CAP];
        const ssize_t got = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
        if (got > 0) {
            netlink_ack_read(&acks, span_make(reply, (size_t)got), last);
        } else if (got == 0 || errno == EAGAIN) {
            return -EBADMSG;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return acks.error;
}

int nft_apply(const struct nft_config *cfg)
{
    uint8_t message[NFT_BATCH_CAP];
    uint32_t last = 0;
    const struct batch b = build(message, cfg, &last);
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0) {
        return -errno;
    }
    int rc = 0;
    if (send(fd, b.bytes, b.len, 0) != (ssize_t)b.len) {
        rc = errno != 0 ? -errno : -EIO;
    } else {
        rc = read_answers(fd, last);
    }
    (void)close(fd);
    return rc;
}
