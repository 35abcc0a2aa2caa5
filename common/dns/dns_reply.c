/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_wire.h"

#include "common/base/scratch.h"
#include "common/dns/dns_rr.h"
#include "common/dns/dns_rrset.h"

#define HOPS_MAX 8

/* Where the walk along the CNAMEs stands. */
struct chain {
    struct span msg;
    const struct dns_sent *sent;
    const struct dns_header *header;
    const struct dns_records *records;
    struct dns_name name; /* whose records count now */
    size_t name_at;       /* its place in the message (dns_name_place) */
    size_t target_at;     /* likewise of the target that link_read() found */
    uint32_t ttl_s;       /* minimum so far */
    struct dns_reply *out;
};

enum link { LINK_BAD = 0, LINK_END, LINK_FOUND, LINK_CNAME, LINK_LOCALHOST };

/* RFC 2181 8: a TTL with the top bit set counts as zero. */
static uint32_t ttl_of(uint32_t ttl)
{
    return ttl > INT32_MAX ? 0 : ttl;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void addr_note(struct dns_reply *out, uint8_t family, struct span rdata)
{
    struct ip ip = {.family = family};
    memcpy(ip.bytes, rdata.data, rdata.len); /* 4 or 16: the walk has checked */
    for (size_t i = 0; i < out->addr_count; i++) {
        if (ip_is_equal(&out->addrs[i], &ip)) {
            return;
        }
    }
    if (out->addr_count < DNS_ADDRS_MAX) {
        out->addrs[out->addr_count++] = ip;
    }
}

/* Takes the target; false if it differs from the one that is there. */
static bool target_note(struct chain *ch, const struct dns_rr *rr, struct dns_name *target)
{
    struct cursor c = cursor_make(ch->msg);
    SCRATCH struct dns_name name;
    c.pos = rr->rdata_at;
    dns_name_read(&c, &name);
    if (target->len > 0) {
        return dns_wire_name_is_equal(dns_name_span(&name), dns_name_span(target));
    }
    *target = name;
    ch->target_at = dns_name_place(ch->msg, rr->rdata_at);
    return true;
}

/* Most owners are a pointer to the QNAME, or into the CNAME before: then there is nothing to compare. */
static bool owner_is_name(const struct chain *ch, const struct dns_rr *rr)
{
    return dns_name_place(ch->msg, rr->owner_at) == ch->name_at || dns_rr_owner_is(ch->msg, rr, &ch->name);
}

static bool is_wanted(const struct dns_sent *sent, uint16_t type)
{
    return type == sent->qtype && (type == DNS_A || type == DNS_AAAA || dns_rrset_is_type(type));
}

static void record_note(struct chain *ch, const struct dns_rr *rr)
{
    if (rr->type == DNS_A || rr->type == DNS_AAAA) {
        addr_note(ch->out, rr->type == DNS_A ? IP_V4 : IP_V6, span_sub(ch->msg, rr->rdata_at, rr->rdata_len));
    } else if (ch->sent->records != NULL) {
        dns_rrset_read(ch->sent->records, ch->msg, rr->rdata_at, rr->rdata_len);
    }
}

/* All records of ch->name in the answer section: wanted ones, or one CNAME, never both (RFC 1034 3.6.2). */
static enum link link_read(struct chain *ch, struct dns_name *target)
{
    struct cursor c = cursor_make(ch->msg);
    struct dns_rr rr;
    c.pos = ch->records->answer_at;
    target->len = 0;
    bool is_found = false;
    if (ch->sent->records != NULL) {
        dns_rrset_start(ch->sent->records, ch->sent->qtype);
    }
    for (uint16_t i = 0; i < ch->header->an_count; i++) {
        dns_rr_read(&c, &rr);
        bool is_record = is_wanted(ch->sent, rr.type);
        if ((!is_record && rr.type != DNS_CNAME) || rr.class != DNS_IN || !owner_is_name(ch, &rr)) {
            continue;
        }
        if (is_record) {
            is_found = true;
            record_note(ch, &rr);
        } else if (!target_note(ch, &rr, target)) {
            return LINK_BAD;
        }
        ch->ttl_s = min_u32(ch->ttl_s, ttl_of(rr.ttl));
    }
    if (target->len > 0) {
        return is_found ? LINK_BAD : LINK_CNAME;
    }
    return is_found ? LINK_FOUND : LINK_END;
}

/*
 * Follows the CNAMEs inside the message to where they end; a loop runs into the limit. Only to an address:
 * records of other types are what their owner wrote, and an alias says whose they are, not that they may be
 * had.
 */
static enum link chain_follow(struct chain *ch)
{
    SCRATCH struct dns_name target;
    enum link link = link_read(ch, &target);
    while (link == LINK_CNAME) {
        ch->out->hop_count++;
        ch->name = target;
        ch->name_at = ch->target_at;
        if (ch->out->hop_count > HOPS_MAX ||
            host_name_from_wire(dns_name_span(&target), &ch->out->target) != HOST_FAULT_NONE) {
            return LINK_BAD;
        }
        if (dns_rrset_is_type(ch->sent->qtype)) {
            return LINK_CNAME;
        }
        link = host_name_is_localhost(&ch->out->target) ? LINK_LOCALHOST : link_read(ch, &target);
    }
    return link;
}

static bool owner_is_above(const struct chain *ch, const struct dns_rr *rr)
{
    struct cursor c = cursor_make(ch->msg);
    SCRATCH struct dns_name owner;
    c.pos = rr->owner_at;
    dns_name_read(&c, &owner);
    return dns_name_is_within(&ch->name, &owner);
}

/* RFC 2308 5: the SOA's TTL or its MINIMUM, whichever is less. Only a SOA of the name's own zone or above
 * counts. */
static bool soa_find(struct chain *ch)
{
    struct cursor c = cursor_make(ch->msg);
    struct dns_rr rr;
    bool found = false;
    c.pos = ch->records->authority_at;
    for (uint16_t i = 0; i < ch->header->ns_count; i++) {
        dns_rr_read(&c, &rr);
        if (rr.type != DNS_SOA || rr.class != DNS_IN || !owner_is_above(ch, &rr)) {
            continue;
        }
        struct cursor minimum = cursor_make(span_sub(ch->msg, rr.rdata_at + rr.rdata_len - 4, 4));
        ch->ttl_s = min_u32(ch->ttl_s, min_u32(ttl_of(rr.ttl), ttl_of(cursor_u32(&minimum))));
        found = true;
    }
    return found;
}

static void reply_fail(struct dns_reply *out)
{
    out->is_bad_chain = true;
    out->kind = DNS_REPLY_ERROR;
    out->rcode = DNS_SERVFAIL;
    out->addr_count = 0;
    out->ttl_s = 0;
    out->target.len = 0;
}

/* Whatever is behind it, and whether anything is: nothing to give out. */
static void reply_alias(struct chain *ch)
{
    struct dns_reply *out = ch->out;
    if (ch->sent->records != NULL) {
        dns_rrset_start(ch->sent->records, ch->sent->qtype);
        ch->sent->records->left_out = 1;
    }
    out->kind = DNS_REPLY_RECORDS;
    out->rcode = DNS_NOERROR;
    out->ttl_s = ch->ttl_s;
}

/* RFC 6761 6.3: nobody is asked for it, and what the message says of it is not heard either. */
static void reply_localhost(struct chain *ch)
{
    struct dns_reply *out = ch->out;
    const bool is_v6 = ch->sent->qtype == DNS_AAAA;
    out->kind = DNS_REPLY_ADDRS;
    out->rcode = DNS_NOERROR;
    out->ttl_s = ch->ttl_s;
    out->addr_count = 1;
    out->addrs[0] = is_v6 ? (struct ip){.family = IP_V6, .bytes = {[15] = 1}} : ip_v4(127, 0, 0, 1);
}

static void reply_reduce(struct chain *ch)
{
    struct dns_reply *out = ch->out;
    enum link link = chain_follow(ch);
    if (link == LINK_BAD) {
        reply_fail(out);
    } else if (link == LINK_CNAME) {
        reply_alias(ch);
    } else if (link == LINK_LOCALHOST) {
        reply_localhost(ch);
    } else if (out->rcode == DNS_NXDOMAIN || link == LINK_END) {
        /* NXDOMAIN is about the end of the chain (RFC 2308 2.1), so addresses beside it are a contradiction.
         */
        out->has_soa = soa_find(ch);
        out->ttl_s = out->has_soa ? ch->ttl_s : 0;
        out->addr_count = 0;
        if (out->rcode == DNS_NXDOMAIN) {
            out->kind = DNS_REPLY_NXDOMAIN;
        } else if (out->hop_count > 0 && !out->has_soa) {
            out->kind = DNS_REPLY_CNAME; /* the upstream did not look further */
            out->ttl_s = ch->ttl_s;
        } else {
            out->kind = DNS_REPLY_NODATA;
        }
    } else {
        out->kind = out->addr_count > 0 ? DNS_REPLY_ADDRS : DNS_REPLY_RECORDS;
        out->ttl_s = ch->ttl_s;
    }
}

/* True if the one question of the reply is the one that was sent. */
static bool question_matches(struct cursor *c, const struct dns_header *h, const struct dns_sent *sent)
{
    if (h->qd_count != 1) {
        return false;
    }
    struct span qname = dns_qname_read(c);
    uint16_t qtype = cursor_u16(c);
    uint16_t qclass = cursor_u16(c);
    bool is_same =
        sent->exact_case ? span_is_equal(qname, sent->qname) : dns_wire_name_is_equal(qname, sent->qname);
    return cursor_is_ok(c) && is_same && qtype == sent->qtype && qclass == DNS_IN;
}

/* A server that cannot parse what it got has no question to repeat. */
static bool is_bare_error(const struct dns_header *h)
{
    uint8_t rcode = dns_header_rcode(h);
    return (rcode == DNS_FORMERR || rcode == DNS_NOTIMP) && h->qd_count == 0 && h->an_count == 0 &&
           h->ns_count == 0;
}

/* All but the addresses, which are counted. */
static void reply_init(struct dns_reply *out)
{
    out->kind = DNS_REPLY_MISMATCH;
    out->rcode = 0;
    out->ra = false;
    out->has_opt = false;
    out->is_unreadable = false;
    out->is_bad_chain = false;
    out->has_soa = false;
    out->hop_count = 0;
    out->ttl_s = 0;
    out->addr_count = 0;
    out->target.len = 0;
}

void dns_reply_parse(struct span msg, const struct dns_sent *sent, struct dns_reply *out)
{
    struct cursor c = cursor_make(msg);
    struct dns_header h;
    struct dns_records records;
    reply_init(out);
    dns_header_read(&c, &h);
    if (!cursor_is_ok(&c) || (h.flags & DNS_FLAG_QR) == 0 || dns_header_opcode(&h) != 0 || h.id != sent->id) {
        return;
    }
    if (!is_bare_error(&h)) {
        if (!question_matches(&c, &h, sent)) {
            return;
        }
        if ((h.flags & DNS_FLAG_TC) != 0) {
            out->kind = DNS_REPLY_TRUNCATED; /* what follows may be cut anywhere: not read */
            return;
        }
    }
    if (!dns_records_walk(&c, &h, &records)) {
        out->is_unreadable = true;
        return;
    }
    out->ra = (h.flags & DNS_FLAG_RA) != 0;
    out->has_opt = records.has_opt;
    out->rcode = (uint16_t)((records.opt_rcode << 4) | dns_header_rcode(&h));
    if (out->rcode != DNS_NOERROR && out->rcode != DNS_NXDOMAIN) {
        out->kind = DNS_REPLY_ERROR;
        return;
    }
    SCRATCH struct chain ch;
    ch.msg = msg;
    ch.sent = sent;
    ch.header = &h;
    ch.records = &records;
    ch.ttl_s = INT32_MAX;
    ch.out = out;
    ch.name_at = DNS_HEADER_LEN;
    ch.name.len = sent->qname.len;
    memcpy(ch.name.wire, sent->qname.data, sent->qname.len); /* <= 255: it equals the QNAME just read */
    reply_reduce(&ch);
}
