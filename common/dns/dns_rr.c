/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_rr.h"

#define LABEL_MAX 63U
#define POINTER_BITS 0xC0U
/* As many as a name can have labels; without it, pointers to pointers would cost more than the message is
 * long. */
#define POINTERS_MAX 127
#define CLASS_ANY 255

void dns_header_read(struct cursor *c, struct dns_header *out)
{
    out->id = cursor_u16(c);
    out->flags = cursor_u16(c);
    out->qd_count = cursor_u16(c);
    out->an_count = cursor_u16(c);
    out->ns_count = cursor_u16(c);
    out->ar_count = cursor_u16(c);
}

struct span dns_qname_read(struct cursor *c)
{
    size_t start = c->pos;
    for (;;) {
        uint8_t len = cursor_u8(c);
        if (len > LABEL_MAX) {
            c->bad = true; /* a pointer, or one of the label types of RFC 6891 5 that nobody uses */
        }
        cursor_skip(c, len);
        if (!cursor_is_ok(c) || c->pos - start > DNS_NAME_MAX) {
            c->bad = true;
            return span_make(NULL, 0);
        }
        if (len == 0) {
            return span_sub(c->bytes, start, c->pos - start);
        }
    }
}

/* Appends the label with its length byte. */
static void name_append(struct dns_name *n, struct cursor *at, uint8_t len)
{
    struct span label = cursor_take(at, len);
    if (!cursor_is_ok(at) || n->len + 1 + len > DNS_NAME_MAX) {
        at->bad = true;
        return;
    }
    n->wire[n->len] = len;
    if (len > 0) {
        memcpy(n->wire + n->len + 1, label.data, len);
    }
    n->len += (size_t)len + 1;
}

void dns_name_read(struct cursor *c, struct dns_name *out)
{
    struct cursor at = *c; /* follows the pointers; c stays in place */
    size_t run = at.pos;   /* where the labels being read began */
    int pointers = 0;
    out->len = 0;
    for (;;) {
        uint8_t len = cursor_u8(&at);
        if ((len & POINTER_BITS) == POINTER_BITS) {
            size_t target = ((size_t)(len & ~POINTER_BITS) << 8) | cursor_u8(&at);
            if (pointers == 0) {
                c->pos = at.pos;
            }
            if (!cursor_is_ok(&at) || target < DNS_HEADER_LEN || target >= run || ++pointers > POINTERS_MAX) {
                break;
            }
            at.pos = run = target;
            continue;
        }
        if (len > LABEL_MAX) {
            break;
        }
        name_append(out, &at, len);
        if (!cursor_is_ok(&at)) {
            break;
        }
        if (len == 0) {
            if (pointers == 0) {
                c->pos = at.pos;
            }
            return;
        }
    }
    c->bad = true;
}

/*
 * The fields of RDATA by type: a digit is that many bytes, n a name, s a character string, S one or more of
 * them, r whatever is left. Types that are not here are carried as they are (RFC 3597 3).
 */
struct layout {
    uint16_t type;
    const char *fields;
};

static const struct layout layouts[] = {
    {DNS_A, "4"},      {DNS_NS, "n"},        {3, "n"}, /* MD */
    {4, "n"},                                          /* MF */
    {DNS_CNAME, "n"},  {DNS_SOA, "nn44444"}, {7, "n"}, /* MB */
    {8, "n"},                                          /* MG */
    {9, "n"},                                          /* MR */
    {DNS_PTR, "n"},    {13, "ss"},                     /* HINFO */
    {14, "nn"},                                        /* MINFO */
    {15, "2n"},                                        /* MX */
    {DNS_TXT, "S"},    {17, "nn"},                     /* RP */
    {18, "2n"},                                        /* AFSDB */
    {DNS_AAAA, "88"},  {33, "222n"},                   /* SRV */
    {35, "22sssn"},                                    /* NAPTR */
    {36, "2n"},                                        /* KX */
    {39, "n"},                                         /* DNAME */
    {43, "211r"},                                      /* DS */
    {46, "2114442nr"},                                 /* RRSIG */
    {47, "nr"},                                        /* NSEC */
    {48, "211r"},                                      /* DNSKEY */
    {50, "112ssr"},                                    /* NSEC3 */
    {51, "112s"},                                      /* NSEC3PARAM */
    {99, "S"},                                         /* SPF */
};

static const char *layout_find(uint16_t type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (layouts[i].type == type) {
            return layouts[i].fields;
        }
    }
    return "r";
}

/* c is cut off at the end of the RDATA; what it says has to end exactly there. */
static bool rdata_is_whole(struct cursor *c, const char *fields)
{
    struct dns_name name;
    for (; *fields != '\0' && cursor_is_ok(c); fields++) {
        switch (*fields) {
        case 'n':
            dns_name_read(c, &name);
            break;
        case 's':
            cursor_skip(c, cursor_u8(c));
            break;
        case 'S':
            do {
                cursor_skip(c, cursor_u8(c));
            } while (cursor_is_ok(c) && cursor_left(c) > 0);
            break;
        case 'r':
            cursor_skip(c, cursor_left(c));
            break;
        default:
            cursor_skip(c, (size_t)(*fields - '0'));
            break;
        }
    }
    return cursor_is_ok(c) && cursor_left(c) == 0;
}

void dns_rr_read(struct cursor *c, struct dns_rr *out)
{
    dns_name_read(c, &out->owner);
    out->type = cursor_u16(c);
    out->class = cursor_u16(c);
    out->ttl = cursor_u32(c);
    out->rdata_len = cursor_u16(c);
    out->rdata_at = c->pos;
    cursor_skip(c, out->rdata_len);
    if (!cursor_is_ok(c)) {
        return;
    }
    struct cursor rdata = cursor_make(span_sub(c->bytes, 0, c->pos));
    rdata.pos = out->rdata_at;
    if (!rdata_is_whole(&rdata, layout_find(out->type))) {
        c->bad = true;
    }
}

/* RFC 6891 6.1.2: {code, length, data}* to the end */
static bool options_are_whole(struct span rdata)
{
    struct cursor c = cursor_make(rdata);
    while (cursor_is_ok(&c) && cursor_left(&c) > 0) {
        (void)cursor_u16(&c);
        cursor_skip(&c, cursor_u16(&c));
    }
    return cursor_is_ok(&c);
}

static bool opt_note(const struct dns_rr *rr, struct span rdata, struct dns_records *out)
{
    if (out->has_opt || rr->owner.len != 1 || !options_are_whole(rdata)) {
        return false;
    }
    out->has_opt = true;
    out->opt_size = rr->class;
    out->opt_rcode = (uint8_t)(rr->ttl >> 24);
    out->opt_version = (uint8_t)(rr->ttl >> 16);
    out->opt_do = (rr->ttl & 0x8000U) != 0;
    return true;
}

/* RFC 8945 4.2: algorithm, time, fudge, MAC, original ID, error, other. Nobody here has a key: only its form
 * counts. */
static bool tsig_is_whole(const struct dns_rr *rr, struct span msg)
{
    struct cursor c = cursor_make(span_sub(msg, 0, rr->rdata_at + rr->rdata_len));
    struct dns_name algorithm;
    c.pos = rr->rdata_at;
    dns_name_read(&c, &algorithm);
    cursor_skip(&c, 6 + 2);
    cursor_skip(&c, cursor_u16(&c));
    cursor_skip(&c, 2 + 2);
    cursor_skip(&c, cursor_u16(&c));
    return cursor_is_ok(&c) && cursor_left(&c) == 0 && rr->class == CLASS_ANY && rr->ttl == 0;
}

/* Walks count records of the answer or the authority section. */
static void section_walk(struct cursor *c, uint16_t count)
{
    struct dns_rr rr;
    for (uint16_t i = 0; i < count && cursor_is_ok(c); i++) {
        dns_rr_read(c, &rr);
        if (rr.type == DNS_OPT || rr.type == DNS_TSIG) {
            c->bad = true;
        }
    }
}

static void additional_walk(struct cursor *c, uint16_t count, struct dns_records *out)
{
    struct dns_rr rr;
    for (uint16_t i = 0; i < count && cursor_is_ok(c); i++) {
        dns_rr_read(c, &rr);
        if (!cursor_is_ok(c)) {
            return;
        }
        bool fine = true;
        if (rr.type == DNS_OPT) {
            fine = opt_note(&rr, span_sub(c->bytes, rr.rdata_at, rr.rdata_len), out);
        } else if (rr.type == DNS_TSIG) {
            fine = i + 1 == count && tsig_is_whole(&rr, c->bytes);
        } else {
            out->plain_count++;
        }
        if (!fine) {
            c->bad = true;
        }
    }
}

bool dns_records_walk(struct cursor *c, const struct dns_header *h, struct dns_records *out)
{
    *out = (struct dns_records){0};
    out->answer_at = c->pos;
    section_walk(c, h->an_count);
    out->authority_at = c->pos;
    section_walk(c, h->ns_count);
    additional_walk(c, h->ar_count, out);
    return cursor_is_ok(c) && cursor_left(c) == 0;
}

bool dns_name_is_within(const struct dns_name *name, const struct dns_name *zone)
{
    size_t at = 0;
    while (name->len - at > zone->len) {
        at += (size_t)name->wire[at] + 1;
    }
    return dns_wire_name_is_equal(span_make(name->wire + at, name->len - at), dns_name_span(zone));
}
