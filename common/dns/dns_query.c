/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_wire.h"

#include "common/dns/dns_rr.h"

#define UDP_MIN 512
#define OPTION_PADDING 12
#define OPTION_HEAD_LEN 4

/* The question (RFC 9619: exactly one), without compression. */
static bool question_read(struct cursor *c, struct dns_query *out)
{
    size_t start = c->pos;
    struct span qname = dns_qname_read(c);
    uint16_t qtype = cursor_u16(c);
    uint16_t qclass = cursor_u16(c);
    if (!cursor_is_ok(c)) {
        return false;
    }
    out->question = span_sub(c->bytes, start, c->pos - start);
    out->qname = qname;
    out->qtype = qtype;
    out->qclass = qclass;
    return true;
}

static void opt_take(const struct dns_records *found, struct dns_query *out)
{
    out->has_opt = found->has_opt;
    if (found->has_opt) {
        out->edns_version = found->opt_version;
        out->dnssec_ok = found->opt_do;
        out->udp_size = found->opt_size < UDP_MIN ? UDP_MIN : found->opt_size;
    }
}

/* Who asks with EDNS is answered with it, whatever else is wrong (RFC 6891 7), if all of it can be read. */
static void opt_find(struct cursor c, const struct dns_header *h, struct dns_query *out)
{
    struct dns_records found;
    for (uint16_t i = 0; i < h->qd_count && cursor_is_ok(&c); i++) {
        (void)dns_qname_read(&c);
        cursor_skip(&c, 4);
    }
    if (cursor_is_ok(&c) && dns_records_walk(&c, h, &found)) {
        opt_take(&found, out);
    }
}

/* A query holds nothing but its question, an OPT, a TSIG nobody can check, and the SOA of an IXFR (RFC 1995
 * 3). */
static bool records_read(struct cursor *c, const struct dns_header *h, struct dns_query *out)
{
    struct dns_records found;
    if (!dns_records_walk(c, h, &found)) {
        return false;
    }
    opt_take(&found, out);
    uint16_t authority_max = out->qtype == DNS_IXFR ? 1 : 0;
    return h->an_count == 0 && h->ns_count <= authority_max && found.plain_count == 0;
}

enum dns_query_result dns_query_parse(struct span msg, struct dns_query *out, enum dns_rcode *rcode)
{
    struct cursor c = cursor_make(msg);
    struct dns_header h;
    *out = (struct dns_query){.udp_size = UDP_MIN};
    *rcode = DNS_FORMERR;
    dns_header_read(&c, &h);
    if (!cursor_is_ok(&c) || (h.flags & DNS_FLAG_QR) != 0) {
        return DNS_QUERY_DROP;
    }
    out->id = h.id;
    out->opcode = dns_header_opcode(&h);
    out->rd = (h.flags & DNS_FLAG_RD) != 0;
    out->cd = (h.flags & DNS_FLAG_CD) != 0;
    if (out->opcode != 0 || h.qd_count != 1) {
        opt_find(c, &h, out);
        *rcode = out->opcode != 0 ? DNS_NOTIMP : DNS_FORMERR; /* what sections mean is up to the opcode */
        return DNS_QUERY_ERROR;
    }
    if (!question_read(&c, out) || !records_read(&c, &h, out)) {
        return DNS_QUERY_ERROR;
    }
    if (out->edns_version != 0) {
        *rcode = DNS_BADVERS; /* RFC 6891 6.1.3 */
        return DNS_QUERY_ERROR;
    }
    if (out->qclass != DNS_IN || out->qtype == DNS_AXFR || out->qtype == DNS_IXFR) {
        *rcode = DNS_REFUSED;
        return DNS_QUERY_ERROR;
    }
    *rcode = DNS_NOERROR;
    return DNS_QUERY_OK;
}

void dns_query_build(struct wbuf *w, uint16_t id, struct span qname_wire, uint16_t qtype, bool with_opt)
{
    /* between the ID and how many records are additional */
    static const uint8_t header[] = {DNS_FLAG_RD >> 8, DNS_FLAG_RD & 0xff, 0, 1, 0, 0, 0, 0};
    static const uint8_t opt[] = {0, 0, DNS_OPT, DNS_UDP_MAX >> 8, DNS_UDP_MAX & 0xff, 0, 0, 0, 0, 0, 0};
    wbuf_u16(w, id);
    wbuf_put(w, span_make(header, sizeof(header)));
    wbuf_u16(w, with_opt ? 1 : 0);
    wbuf_put(w, qname_wire);
    wbuf_u16(w, qtype);
    wbuf_u16(w, DNS_IN);
    if (with_opt) {
        wbuf_put(w, span_make(opt, sizeof(opt)));
    }
}

/* The OPT is the last record and has no options yet: its length is the last thing there. */
void dns_query_pad(struct wbuf *w, size_t block)
{
    if (!CHECK(w->len >= 2 && block > 0 && block <= UINT16_MAX)) {
        return;
    }
    size_t over = (w->len + OPTION_HEAD_LEN) % block;
    size_t pad = over == 0 ? 0 : block - over;
    w->len -= 2;
    wbuf_u16(w, (uint16_t)(OPTION_HEAD_LEN + pad));
    wbuf_u16(w, OPTION_PADDING);
    wbuf_u16(w, (uint16_t)pad);
    for (size_t i = 0; i < pad; i++) {
        wbuf_u8(w, 0);
    }
}
