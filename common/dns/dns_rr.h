/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of dns_wire: the one reader of headers, names and records (RFC 1035 3 and 4) that queries and
 * replies share. All of it works on untrusted bytes and allocates nothing. The cost is bounded: a pointer has
 * to lead to before the run of labels it ends, so every name terminates; a name is cut off at 255 bytes or 16
 * pointers (Go's resolver allows 10), a message at DNS_RECORDS_MAX records. Pure.
 */
#pragma once

#include "common/dns/dns_wire.h"

#define DNS_NAME_MAX 255
#define DNS_RECORDS_MAX 1000 /* in all sections; more than 64 addresses are not kept anyway */

struct dns_header {
    uint16_t id;
    uint16_t flags;
    uint16_t qd_count, an_count, ns_count, ar_count;
};

#define DNS_FLAG_QR 0x8000U
#define DNS_FLAG_TC 0x0200U
#define DNS_FLAG_RD 0x0100U
#define DNS_FLAG_RA 0x0080U
#define DNS_FLAG_CD 0x0010U

static inline uint8_t dns_header_opcode(const struct dns_header *h)
{
    return (uint8_t)((h->flags >> 11) & 15U);
}
static inline uint8_t dns_header_rcode(const struct dns_header *h)
{
    return (uint8_t)(h->flags & 15U);
}

/* A name with its pointers resolved: labels as received (case kept) and the root. */
struct dns_name {
    size_t len; /* >= 1 when it was read */
    uint8_t wire[DNS_NAME_MAX];
};

static inline struct span dns_name_span(const struct dns_name *n)
{
    return span_make(n->wire, n->len);
}

struct dns_rr {
    size_t owner_at;
    uint16_t type;
    uint16_t class; /* of OPT: the sender's UDP size */
    uint32_t ttl;   /* as received; of OPT: extended rcode, version, flags */
    size_t rdata_at;
    size_t rdata_len;
};

/* What a walk over all records found. */
struct dns_records {
    size_t answer_at, authority_at; /* offsets of the sections */
    size_t plain_count;             /* records of the additional section that are neither OPT nor TSIG */
    bool has_opt;
    uint8_t opt_rcode; /* the upper eight bits */
    uint8_t opt_version;
    bool opt_do;
    uint16_t opt_size;
};

/* The cursor's bytes are always the whole message. All of these leave the sticky error set when something is
 * wrong. */
void dns_header_read(struct cursor *c, struct dns_header *out);
/* The QNAME of the question, without pointers, as a span of the message; empty on an error. */
struct span dns_qname_read(struct cursor *c);
/* A name that may be compressed; the cursor ends behind it in place. *out is whole only if the cursor is
 * fine. */
void dns_name_read(struct cursor *c, struct dns_name *out);
/*
 * One record, the cursor ends behind it. Reads where the parts are, not what they say: for a second look at a
 * message that dns_records_walk() found good.
 */
void dns_rr_read(struct cursor *c, struct dns_rr *out);
/* Checks owner and RDATA as well: of a known type it has exactly the fields of that type. */
void dns_rr_read_checked(struct cursor *c, struct dns_rr *out);
/*
 * Where the name at that offset, which has been checked, really is: there, or where the pointer leads that is
 * all of it. Two names that are in the same place are equal; of others nothing is said.
 */
size_t dns_name_place(struct span msg, size_t at);
/* True if the record's owner is that name, without case. */
bool dns_rr_owner_is(struct span msg, const struct dns_rr *rr, const struct dns_name *name);

/*
 * Walks the records of all sections from the cursor (behind the question) to the end of the message and
 * checks each: nothing may be left over; at most one OPT, with the root as owner, in the additional section,
 * with whole options (RFC 6891 6.1); a TSIG only as the last record of all (RFC 8945 5.1). False if anything
 * is wrong.
 */
bool dns_records_walk(struct cursor *c, const struct dns_header *h, struct dns_records *out);

/* True if name is zone or below it, without case. */
bool dns_name_is_within(const struct dns_name *name, const struct dns_name *zone);
