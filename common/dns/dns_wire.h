/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages, strictly, by hand (RFC 1035, 2181, 6891, 8914). Own code because ldns_wire2pkt on untrusted
 * bytes takes hundreds of megabytes for one message and reads records that other parsers do not see
 * (docs/decisions). Names: no compression in questions; in replies only pointers that point strictly
 * backwards to at least offset 12, at most 16 in a name. At most 1000 records in a message. Lengths are
 * exact: surplus RDATA, trailing bytes, a second OPT, an OPT off the root or outside the additional section,
 * a TSIG that is not last, are errors. A query holds no other records than OPT and TSIG. Pure; allocates
 * nothing. dns_query.c, dns_reply.c and dns_answer.c implement the three directions over dns_rr.h, the reader
 * of names and records.
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/cursor.h"
#include "common/base/host_name.h"

#define DNS_HEADER_LEN 12
#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_MAX 1232 /* our EDNS size in both directions (DNS flag day 2020) */
#define DNS_ADDRS_MAX 64

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_SVCB = 64,
    DNS_HTTPS = 65,
    DNS_TSIG = 250,
    DNS_IXFR = 251,
    DNS_AXFR = 252,
    DNS_ANY = 255
};
enum dns_class { DNS_IN = 1 };
enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16
};
/* Extended DNS Errors, RFC 8914 4; DNS_EDE_NONE = add none */
enum dns_ede {
    DNS_EDE_NONE = -1,
    DNS_EDE_OTHER = 0,
    DNS_EDE_STALE = 3,
    DNS_EDE_FORGED = 4,
    DNS_EDE_CACHED_ERROR = 13,
    DNS_EDE_BLOCKED = 15,
    DNS_EDE_PROHIBITED = 18,
    DNS_EDE_STALE_NX = 19,
    DNS_EDE_NO_REACHABLE = 22,
    DNS_EDE_NETWORK = 23
};

/* What a client asked. Spans borrow the message. */
struct dns_query {
    uint16_t id;
    uint8_t opcode;
    bool rd, cd;
    struct span question; /* QNAME, QTYPE, QCLASS as received; empty if the question could not be read */
    struct span qname;    /* wire labels with the root, as received */
    uint16_t qtype, qclass;
    bool has_opt;
    uint8_t edns_version;
    bool dnssec_ok;
    uint16_t udp_size; /* client's EDNS size, at least 512; 512 without OPT */
};

enum dns_query_result {
    DNS_QUERY_DROP = 0, /* fewer than 12 bytes, or a response: say nothing */
    DNS_QUERY_ERROR,    /* answer with *rcode (FORMERR, NOTIMP, REFUSED, BADVERS) */
    DNS_QUERY_OK
};
enum dns_query_result dns_query_parse(struct span msg, struct dns_query *out, enum dns_rcode *rcode);

/* An upstream query of ours: id, RD=1, one question in wire form (already cased), our OPT if with_opt. Fits
 * 300 bytes. */
void dns_query_build(struct wbuf *w, uint16_t id, struct span qname_wire, uint16_t qtype, bool with_opt);
/* Behind dns_query_build() with an OPT: makes the length a multiple of block with the option of RFC 7830. */
void dns_query_pad(struct wbuf *w, size_t block);

enum dns_reply_kind {
    DNS_REPLY_MISMATCH = 0, /* not an answer to this question, or malformed: ignore it and keep waiting */
    DNS_REPLY_TRUNCATED,    /* TC=1: ask again over TCP */
    DNS_REPLY_ADDRS,        /* addrs of the asked family */
    DNS_REPLY_RECORDS,      /* records of the asked type, which is SRV or TXT; none are left behind a CNAME */
    DNS_REPLY_CNAME,        /* the chain ends at *target without an address: ask for that */
    DNS_REPLY_NODATA,
    DNS_REPLY_NXDOMAIN,
    DNS_REPLY_ERROR /* rcode says what */
};

struct dns_reply {
    enum dns_reply_kind kind;
    uint16_t rcode; /* 12 bits: the header's four and the OPT's eight (RFC 6891 6.1.3) */
    bool ra;
    bool has_opt;
    bool is_unreadable; /* MISMATCH: ID and question are those that were sent, what follows cannot be used */
    bool is_bad_chain;  /* ERROR: CNAMEs that loop, are too many, contradict each other or lead to no host */
    bool has_soa;       /* of a negative: without one nobody has said that there is nothing (RFC 2308 2.2) */
    uint8_t
        hop_count; /* CNAMEs followed inside the message; more than 8 or a loop is DNS_REPLY_ERROR/SERVFAIL */
    uint32_t ttl_s; /* minimum over the chain and the addresses; for negatives RFC 2308 5 (SOA minimum), 0 if
                       no SOA */
    size_t addr_count;              /* <= DNS_ADDRS_MAX, duplicates removed, order kept */
    struct ip addrs[DNS_ADDRS_MAX]; /* only the first addr_count are set */
    struct host_name target;        /* where the CNAMEs of the message lead; len 0: there are none */
};

struct dns_rrset; /* dns_rrset.h */

/* The question of ours that a reply has to answer. The span is borrowed. */
struct dns_sent {
    uint16_t id;
    uint16_t qtype;
    bool exact_case;           /* the upstream echoes case: QNAME has to come back byte for byte (0x20) */
    struct span qname;         /* wire labels with the root, as sent */
    struct dns_rrset *records; /* SRV and TXT: filled on DNS_REPLY_RECORDS, else undefined; may be NULL */
};

/*
 * Validates a reply: QR, ID, opcode, and one question equal byte for byte to the one sent (exact_case) or
 * equal without case. A FORMERR or NOTIMP may come without a question (servers that choke on OPT send the
 * bare header). Only records on the chain from QNAME count; others are skipped, strictly parsed. A CNAME
 * target that is no canonical host name, two different CNAMEs of one name, or a CNAME beside an address or
 * record end in DNS_REPLY_ERROR/SERVFAIL. A CNAME leads to addresses only: to a question for SRV or TXT it is
 * the last that is read, and the answer is DNS_REPLY_RECORDS with one record left out. A chain that leads to
 * localhost, or below it, has the loopback address, whatever the message says of it (RFC 6761 6.3).
 */
void dns_reply_parse(struct span msg, const struct dns_sent *sent, struct dns_reply *out);

/*
 * A SOA record as wire bytes, to be copied and patched per answer; dns_ldns builds it once at start.
 * Immutable, shared by all threads.
 */
struct dns_soa_template {
    uint8_t wire[128];
    size_t len;
    size_t ttl_at, serial_at, minimum_at;
};

/* Our answers. Everything but the records comes from the query. AA=AD=Z=0, RA=1, RD and CD copied. */
struct dns_answer {
    const struct dns_query *query;
    enum dns_rcode rcode;
    const struct ip *addrs; /* A or AAAA by the family of each; one record each, owner 0xC00C */
    size_t addr_count;
    uint32_t ttl_s;
    const struct dns_soa_template *soa; /* negatives; NULL = none */
    uint32_t soa_serial;                /* policy generation */
    uint32_t soa_ttl_s;                 /* TTL and MINIMUM */
    const struct host_name *ptr;        /* one PTR record */
    const struct dns_rrset *records;    /* SRV or TXT; NULL = none. Names in them are never compressed */
    enum dns_ede ede;                   /* only sent if the query had OPT */
    const char *ede_text;               /* NULL or text, cut to what fits */
};
/*
 * Writes the answer into out, at most limit bytes; if not everything fits: TC=1 with as many addresses or
 * records as fit. Returns the length, or 0 if not even header and question fit.
 */
size_t dns_answer_build(const struct dns_answer *a, uint8_t *out, size_t limit);

/* Compares wire names without case. */
bool dns_wire_name_is_equal(struct span a, struct span b);
/* Randomises the case of letters with the bits of rnd (32 bytes), RFC draft "0x20". In place, wire labels. */
void dns_wire_name_randomise(uint8_t *wire, size_t len, const uint8_t rnd[32]);
/* "1.0.18.198.in-addr.arpa" and ip6.arpa (RFC 3596 2.5): true and *out if n is a full reverse name. */
bool dns_reverse_parse(const struct host_name *n, struct ip *out);
