/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dns_oracle.h"

#include "common/dns/dns_rr.h"
#include "common/dns/dns_rrset.h"

#include <ldns/ldns.h>

#define HOPS_MAX 8

/*
 * ldns reads surplus RDATA of a type whose fields it knows as the next record. We compare only messages whose
 * types have fields that we check too, or that ldns takes as one opaque run.
 */
static bool ldns_keeps_bounds(uint16_t type)
{
    static const uint16_t checked[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  12, 13, 14, 15, 16, 17,
                                       18, 28, 33, 35, 36, 39, 41, 43, 46, 47, 48, 50, 51, 99, 250};
    for (size_t i = 0; i < sizeof checked / sizeof checked[0]; i++) {
        if (checked[i] == type) {
            return true;
        }
    }
    return type >= 300 && type < 32768; /* unassigned: opaque to both */
}

static bool is_comparable(struct span msg)
{
    struct cursor c = cursor_make(msg);
    struct dns_header h;
    struct dns_rr rr;
    dns_header_read(&c, &h);
    if (h.qd_count == 1) {
        (void)dns_qname_read(&c);
        cursor_skip(&c, 4);
    }
    size_t count = (size_t)h.an_count + h.ns_count + h.ar_count;
    for (size_t i = 0; i < count; i++) {
        dns_rr_read_checked(&c, &rr);
        if (!cursor_is_ok(&c) || !ldns_keeps_bounds(rr.type)) {
            return false;
        }
    }
    return true;
}

static struct span rdf_span(const ldns_rdf *rdf)
{
    return rdf == NULL ? span_make(NULL, 0) : span_make(ldns_rdf_data(rdf), ldns_rdf_size(rdf));
}

static const char *compare_query(const struct dns_query *q, const ldns_pkt *pkt)
{
    if (ldns_pkt_qdcount(pkt) != 1 || ldns_pkt_ancount(pkt) != 0 || ldns_pkt_nscount(pkt) != 0) {
        return "section counts";
    }
    const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
    if (rr == NULL || !span_is_equal(rdf_span(ldns_rr_owner(rr)), q->qname)) {
        return "qname";
    }
    if ((uint16_t)ldns_rr_get_type(rr) != q->qtype || (uint16_t)ldns_rr_get_class(rr) != q->qclass) {
        return "qtype or qclass";
    }
    if (ldns_pkt_id(pkt) != q->id || ldns_pkt_qr(pkt) || (uint8_t)ldns_pkt_get_opcode(pkt) != q->opcode ||
        ldns_pkt_rd(pkt) != q->rd || ldns_pkt_cd(pkt) != q->cd) {
        return "header";
    }
    if (ldns_pkt_edns(pkt) != q->has_opt) {
        return "OPT";
    }
    uint16_t size = ldns_pkt_edns_udp_size(pkt);
    if (q->has_opt && (ldns_pkt_edns_version(pkt) != q->edns_version ||
                       ldns_pkt_edns_do(pkt) != q->dnssec_ok || (size < 512 ? 512 : size) != q->udp_size)) {
        return "OPT fields";
    }
    return NULL;
}

const char *oracle_query(struct span msg)
{
    struct dns_query q;
    enum dns_rcode rcode;
    if (dns_query_parse(msg, &q, &rcode) != DNS_QUERY_OK) {
        return NULL;
    }
    ldns_pkt *pkt = NULL;
    if (ldns_wire2pkt(&pkt, msg.data, msg.len) != LDNS_STATUS_OK) {
        return "ldns rejects the query";
    }
    const char *difference = compare_query(&q, pkt);
    ldns_pkt_free(pkt);
    return difference;
}

static uint32_t ttl_of(uint32_t ttl)
{
    return (ttl & 0x80000000U) != 0 ? 0 : ttl;
}

/* What one look at the answer section for one name gives. */
struct look {
    size_t records, cnames;
    bool differs; /* two CNAMEs, two targets */
    const ldns_rdf *target;
};

static void add_addr(struct dns_reply *want, const ldns_rdf *rdf)
{
    struct span data = rdf_span(rdf);
    struct ip ip = {.family = data.len == 4 ? IP_V4 : IP_V6};
    memcpy(ip.bytes, data.data, data.len <= 16 ? data.len : 16);
    bool is_known = false;
    for (size_t i = 0; i < want->addr_count; i++) {
        is_known = is_known || ip_is_equal(&ip, &want->addrs[i]);
    }
    if (!is_known && want->addr_count < DNS_ADDRS_MAX) {
        want->addrs[want->addr_count++] = ip;
    }
}

/* The fields as ldns has taken them apart, one after another; a target that is no host name is left out. */
static void add_record(struct dns_rrset *want, const ldns_rr *rr)
{
    static uint8_t bytes[DNS_MESSAGE_MAX];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *rdf = ldns_rr_rdf(rr, i);
        struct host_name target;
        uint8_t wire[255];
        if (ldns_rdf_get_type(rdf) != LDNS_RDF_TYPE_DNAME) {
            wbuf_put(&w, rdf_span(rdf));
        } else if (host_name_from_wire(rdf_span(rdf), &target) == HOST_FAULT_NONE) {
            size_t len = host_name_to_wire(&target, wire);
            wbuf_put(&w, span_make(wire, len));
        } else {
            want->left_out++;
            return;
        }
    }
    dns_rrset_add(want, wbuf_span(&w));
}

static struct look look_up(const ldns_pkt *pkt, const ldns_rdf *name, uint16_t qtype, struct dns_reply *want,
                           struct dns_rrset *records)
{
    struct look found = {0};
    dns_rrset_start(records, qtype);
    const ldns_rr_list *answer = ldns_pkt_answer(pkt);
    for (size_t i = 0; i < ldns_rr_list_rr_count(answer); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(answer, i);
        uint16_t type = (uint16_t)ldns_rr_get_type(rr);
        bool is_addr = type == qtype && (type == DNS_A || type == DNS_AAAA);
        bool is_record = type == qtype && (type == DNS_SRV || type == DNS_TXT);
        if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN || (!is_addr && !is_record && type != DNS_CNAME) ||
            ldns_dname_compare(ldns_rr_owner(rr), name) != 0) {
            continue;
        }
        const ldns_rdf *rdf = ldns_rr_rdf(rr, 0);
        if (rdf == NULL) {
            continue; /* shows as a difference */
        }
        if (is_addr) {
            found.records++;
            add_addr(want, rdf);
        } else if (is_record) {
            found.records++;
            add_record(records, rr);
        } else {
            found.differs = found.differs || (found.cnames > 0 && ldns_dname_compare(found.target, rdf) != 0);
            found.cnames++;
            found.target = rdf;
        }
        if (ttl_of(ldns_rr_ttl(rr)) < want->ttl_s) {
            want->ttl_s = ttl_of(ldns_rr_ttl(rr));
        }
    }
    return found;
}

static bool find_soa(const ldns_pkt *pkt, const ldns_rdf *name, uint32_t *ttl_s)
{
    const ldns_rr_list *authority = ldns_pkt_authority(pkt);
    bool found = false;
    for (size_t i = 0; i < ldns_rr_list_rr_count(authority); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(authority, i);
        const ldns_rdf *zone = ldns_rr_owner(rr);
        if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
            ldns_rr_rd_count(rr) != 7 ||
            (ldns_dname_compare(name, zone) != 0 && !ldns_dname_is_subdomain(name, zone))) {
            continue;
        }
        uint32_t minimum = ttl_of(ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)));
        uint32_t ttl = ttl_of(ldns_rr_ttl(rr));
        found = true;
        *ttl_s = ttl < *ttl_s ? ttl : *ttl_s;
        *ttl_s = minimum < *ttl_s ? minimum : *ttl_s;
    }
    return found;
}

static void fail(struct dns_reply *want)
{
    want->kind = DNS_REPLY_ERROR;
    want->rcode = DNS_SERVFAIL;
    want->ttl_s = 0;
    want->addr_count = 0;
}

static void reduce(const ldns_pkt *pkt, const ldns_rdf *name, uint16_t qtype, struct dns_reply *want,
                   struct dns_rrset *records)
{
    struct look found = look_up(pkt, name, qtype, want, records);
    while (found.cnames > 0 && !found.differs && found.records == 0) {
        name = found.target;
        want->hop_count++;
        if (want->hop_count > HOPS_MAX ||
            host_name_from_wire(rdf_span(name), &want->target) != HOST_FAULT_NONE) {
            fail(want);
            return;
        }
        if (qtype == DNS_SRV || qtype == DNS_TXT) { /* an alias leads to addresses only */
            dns_rrset_start(records, qtype);
            records->left_out = 1;
            want->kind = DNS_REPLY_RECORDS;
            want->rcode = DNS_NOERROR;
            return;
        }
        if (host_name_is_localhost(&want->target)) {
            const struct ip loopback = {.family = IP_V6, .bytes = {[15] = 1}};
            want->kind = DNS_REPLY_ADDRS;
            want->rcode = DNS_NOERROR;
            want->addr_count = 1;
            want->addrs[0] = qtype == DNS_A ? ip_v4(127, 0, 0, 1) : loopback;
            return;
        }
        found = look_up(pkt, name, qtype, want, records);
    }
    if (found.cnames > 0) {
        fail(want);
        return;
    }
    if (found.records > 0 && want->rcode == DNS_NOERROR) {
        want->kind = qtype == DNS_A || qtype == DNS_AAAA ? DNS_REPLY_ADDRS : DNS_REPLY_RECORDS;
        return;
    }
    uint32_t chain_ttl = want->ttl_s;
    bool has_soa = find_soa(pkt, name, &want->ttl_s);
    want->addr_count = 0;
    want->kind = want->rcode == DNS_NXDOMAIN ? DNS_REPLY_NXDOMAIN : DNS_REPLY_NODATA;
    if (want->rcode == DNS_NOERROR && want->hop_count > 0 && !has_soa) {
        want->kind = DNS_REPLY_CNAME;
        want->ttl_s = chain_ttl;
    } else if (!has_soa) {
        want->ttl_s = 0;
    }
}

static const char *compare_reply(const struct dns_reply *have, const struct dns_reply *want)
{
    if (have->kind != want->kind) {
        return "kind";
    }
    if (have->rcode != want->rcode || have->ra != want->ra || have->has_opt != want->has_opt) {
        return "rcode, RA or OPT";
    }
    if (have->kind == DNS_REPLY_ERROR) {
        return NULL;
    }
    if (have->hop_count != want->hop_count || have->ttl_s != want->ttl_s) {
        return "hops or TTL";
    }
    if (have->addr_count != want->addr_count) {
        return "number of addresses";
    }
    for (size_t i = 0; i < have->addr_count; i++) {
        if (!ip_is_equal(&have->addrs[i], &want->addrs[i])) {
            return "addresses";
        }
    }
    if (have->hop_count > 0 && !host_name_is_equal(&have->target, &want->target)) {
        return "target";
    }
    return NULL;
}

static const char *compare_records(const struct dns_rrset *have, const struct dns_rrset *want)
{
    if (have->count != want->count || have->left_out != want->left_out || have->qtype != want->qtype) {
        return "number of records";
    }
    return span_is_equal(span_make(have->bytes, have->len), span_make(want->bytes, want->len)) ? NULL
                                                                                               : "records";
}

static const char *compare_question(const ldns_pkt *pkt, const struct dns_sent *sent)
{
    const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_question(pkt), 0);
    if (!ldns_pkt_qr(pkt) || ldns_pkt_id(pkt) != sent->id || ldns_pkt_get_opcode(pkt) != LDNS_PACKET_QUERY) {
        return "header";
    }
    if (ldns_pkt_qdcount(pkt) == 0) {
        return NULL; /* a bare error: rcode and kind are compared */
    }
    if (ldns_pkt_qdcount(pkt) != 1 || rr == NULL || (uint16_t)ldns_rr_get_type(rr) != sent->qtype ||
        !dns_wire_name_is_equal(rdf_span(ldns_rr_owner(rr)), sent->qname)) {
        return "question";
    }
    return NULL;
}

const char *oracle_reply(struct span msg, const struct dns_sent *question)
{
    struct dns_rrset have_records;
    struct dns_rrset want_records;
    struct dns_sent with_records = *question;
    const struct dns_sent *sent = &with_records;
    struct dns_reply have;
    with_records.records = &have_records;
    dns_reply_parse(msg, sent, &have);
    if (have.kind == DNS_REPLY_MISMATCH || have.kind == DNS_REPLY_TRUNCATED || !is_comparable(msg)) {
        return NULL;
    }
    ldns_pkt *pkt = NULL;
    if (ldns_wire2pkt(&pkt, msg.data, msg.len) != LDNS_STATUS_OK) {
        return "ldns rejects the reply";
    }
    struct dns_reply want = {.ttl_s = INT32_MAX, .ra = ldns_pkt_ra(pkt), .has_opt = ldns_pkt_edns(pkt)};
    uint32_t rcode = (uint32_t)ldns_pkt_get_rcode(pkt);
    want.rcode = (uint16_t)(((uint32_t)ldns_pkt_edns_extended_rcode(pkt) << 4) | rcode);
    const char *difference = compare_question(pkt, sent);
    ldns_rdf *name = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, sent->qname.len, sent->qname.data);
    if (want.rcode != DNS_NOERROR && want.rcode != DNS_NXDOMAIN) {
        want.kind = DNS_REPLY_ERROR;
    } else if (name != NULL) {
        reduce(pkt, name, sent->qtype, &want, &want_records);
    }
    if (difference == NULL) {
        difference = compare_reply(&have, &want);
    }
    if (difference == NULL && have.kind == DNS_REPLY_RECORDS) {
        difference = compare_records(&have_records, &want_records);
    }
    ldns_rdf_deep_free(name);
    ldns_pkt_free(pkt);
    return difference;
}

bool oracle_sent_from(struct span msg, struct dns_sent *out)
{
    struct cursor c = cursor_make(msg);
    struct dns_header h;
    dns_header_read(&c, &h);
    out->id = h.id;
    out->qname = dns_qname_read(&c);
    out->qtype = cursor_u16(&c);
    out->exact_case = true;
    out->records = NULL;
    return cursor_is_ok(&c);
}
