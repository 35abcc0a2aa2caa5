/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_rr.h"

#define LABEL_MAX 63U
#define POINTER_BITS 0xC0U
#define POINTERS_MAX 16
#define CLASS_ANY 255

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

void dns_header_read(struct cursor *c, struct dns_header *out)
{
    struct span s = cursor_take(c, DNS_HEADER_LEN);
    if (!cursor_is_ok(c)) {
        *out = (struct dns_header){0};
        return;
    }
    out->id = be16(s.data);
    out->flags = be16(s.data + 2);
    out->qd_count = be16(s.data + 4);
    out->an_count = be16(s.data + 6);
    out->ns_count = be16(s.data + 8);
    out->ar_count = be16(s.data + 10);
}

struct span dns_qname_read(struct cursor *c)
{
    const struct span rest = span_sub(c->bytes, c->pos, DNS_NAME_MAX);
    size_t at = 0;
    /* What is longer than a label is a pointer, or one of the label types of RFC 6891 5 that nobody uses. */
    while (at < rest.len && rest.data[at] != 0 && rest.data[at] <= LABEL_MAX) {
        at += (size_t)rest.data[at] + 1;
    }
    if (c->bad || at >= rest.len || rest.data[at] != 0) {
        c->bad = true;
        return span_make(NULL, 0);
    }
    c->pos += at + 1;
    return span_sub(rest, 0, at + 1);
}

/* Goes through the labels of one name, following pointers. */
struct labels {
    struct span msg;
    size_t at;
    size_t run; /* where the labels being read began: a pointer has to lead to before it */
    size_t len; /* of the name so far */
    size_t end; /* behind the name in place, once known */
    unsigned pointers;
};

static struct labels labels_at(struct span msg, size_t at)
{
    return (struct labels){.msg = msg, .at = at, .run = at};
}

/* The next label, empty at the root. False if this is no name. */
static inline bool labels_next(struct labels *it, struct span *label)
{
    for (;;) {
        size_t left = it->msg.len - it->at;
        if (left == 0) {
            return false;
        }
        const uint8_t *p = it->msg.data + it->at;
        size_t len = p[0];
        if (len <= LABEL_MAX) {
            it->len += len + 1;
            if (len >= left || it->len > DNS_NAME_MAX) {
                return false;
            }
            *label = span_make(p + 1, len);
            it->at += len + 1;
            if (len == 0 && it->pointers == 0) {
                it->end = it->at;
            }
            return true;
        }
        if (len < POINTER_BITS || left < 2) {
            return false;
        }
        size_t target = ((len & 63U) << 8) | p[1];
        if (it->pointers == 0) {
            it->end = it->at + 2;
        }
        if (target < DNS_HEADER_LEN || target >= it->run || ++it->pointers > POINTERS_MAX) {
            return false;
        }
        it->at = it->run = target;
    }
}

/* Moves the cursor behind the name if the walk reached its end. */
static void name_end(struct cursor *c, const struct labels *it, bool is_whole)
{
    if (is_whole && cursor_is_ok(c)) {
        c->pos = it->end;
    } else {
        c->bad = true;
    }
}

static void name_check(struct cursor *c)
{
    struct labels it = labels_at(c->bytes, c->pos);
    struct span label;
    bool is_whole;
    do {
        is_whole = labels_next(&it, &label);
    } while (is_whole && label.len > 0);
    name_end(c, &it, is_whole);
}

void dns_name_read(struct cursor *c, struct dns_name *out)
{
    struct labels it = labels_at(c->bytes, c->pos);
    struct span label;
    bool is_whole;
    out->len = 0;
    do {
        is_whole = labels_next(&it, &label);
        if (is_whole) {
            /* the length byte is right before the label, and labels_next() has counted both */
            memcpy(out->wire + out->len, label.data - 1, label.len + 1);
            out->len += label.len + 1;
        }
    } while (is_whole && label.len > 0);
    name_end(c, &it, is_whole);
}

size_t dns_name_place(struct span msg, size_t at)
{
    const uint8_t *p = msg.data + at;
    return p[0] < POINTER_BITS ? at : ((size_t)(p[0] & 63U) << 8) | p[1];
}

bool dns_rr_owner_is(struct span msg, const struct dns_rr *rr, const struct dns_name *name)
{
    struct labels it = labels_at(msg, rr->owner_at);
    struct span label;
    size_t at = 0;
    do {
        if (!labels_next(&it, &label)) {
            return false;
        }
        struct span want = span_sub(dns_name_span(name), at + 1, label.len);
        if (at >= name->len || name->wire[at] != label.len || !span_is_equal_nocase(label, want)) {
            return false;
        }
        at += label.len + 1;
    } while (label.len > 0);
    return true; /* both roots: neither goes on */
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
    for (; *fields != '\0' && cursor_is_ok(c); fields++) {
        switch (*fields) {
        case 'n':
            name_check(c);
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

/* Behind the labels in place, up to the root or the first pointer. */
static void owner_skip(struct cursor *c)
{
    struct span s = c->bytes;
    size_t at = c->pos;
    while (at < s.len && s.data[at] != 0 && s.data[at] <= LABEL_MAX) {
        at += (size_t)s.data[at] + 1;
    }
    bool is_root = at < s.len && s.data[at] == 0;
    cursor_skip(c, at - c->pos + (is_root ? 1 : 2));
}

/* Type, class, TTL and RDLENGTH in one go: a message has many of them. */
static void fields_read(struct cursor *c, struct dns_rr *out)
{
    struct span s = cursor_take(c, 10);
    if (!cursor_is_ok(c)) {
        *out = (struct dns_rr){0};
        return;
    }
    out->type = be16(s.data);
    out->class = be16(s.data + 2);
    out->ttl = ((uint32_t)be16(s.data + 4) << 16) | be16(s.data + 6);
    out->rdata_len = be16(s.data + 8);
    out->rdata_at = c->pos;
    cursor_skip(c, out->rdata_len);
}

void dns_rr_read(struct cursor *c, struct dns_rr *out)
{
    out->owner_at = c->pos;
    owner_skip(c);
    fields_read(c, out);
}

void dns_rr_read_checked(struct cursor *c, struct dns_rr *out)
{
    out->owner_at = c->pos;
    name_check(c);
    fields_read(c, out);
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

static bool opt_note(const struct dns_rr *rr, struct span msg, struct dns_records *out)
{
    struct span rdata = span_sub(msg, rr->rdata_at, rr->rdata_len);
    if (out->has_opt || msg.data[rr->owner_at] != 0 || !options_are_whole(rdata)) {
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
    c.pos = rr->rdata_at;
    name_check(&c);
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
        dns_rr_read_checked(c, &rr);
        if (rr.type == DNS_OPT || rr.type == DNS_TSIG) {
            c->bad = true;
        }
    }
}

static void additional_walk(struct cursor *c, uint16_t count, struct dns_records *out)
{
    struct dns_rr rr;
    for (uint16_t i = 0; i < count && cursor_is_ok(c); i++) {
        dns_rr_read_checked(c, &rr);
        if (!cursor_is_ok(c)) {
            return;
        }
        bool fine = true;
        if (rr.type == DNS_OPT) {
            fine = opt_note(&rr, c->bytes, out);
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
    if ((size_t)h->an_count + h->ns_count + h->ar_count > DNS_RECORDS_MAX) {
        return false;
    }
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
