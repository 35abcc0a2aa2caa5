/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of one type that holds no address, reduced to what an answer is rebuilt from: SRV (RFC 2782)
 * with its target as a canonical host name, and TXT (RFC 1035 3.3.14) as its bytes. Bounded: what does not
 * fit, and what no answer could hold, is left out and counted. Plain data; pure.
 */
#pragma once

#include "common/dns/dns_wire.h"

#define DNS_SRV_MAX 32
#define DNS_TXT_MAX 16
#define DNS_TXT_BYTES_MAX 2048 /* RDATA of all records */
#define DNS_RRSET_CAP 2560     /* 16 TXT records with all their bytes; 32 SRV records of ordinary names */

struct dns_rrset {
    uint16_t qtype;    /* DNS_SRV or DNS_TXT */
    uint16_t count;    /* of records kept, duplicates removed, order kept */
    uint16_t left_out; /* did not fit, behind a CNAME, or the target is no host name ("." among them) */
    uint16_t len;      /* of bytes used */
    uint8_t bytes[DNS_RRSET_CAP]; /* of each record: length in two bytes, RDATA without compression */
};

struct dns_srv {
    uint16_t priority, weight, port;
    struct host_name target;
};

/* Is it a type that these are made of? */
static inline bool dns_rrset_is_type(uint16_t qtype)
{
    return qtype == DNS_SRV || qtype == DNS_TXT;
}
void dns_rrset_start(struct dns_rrset *s, uint16_t qtype);
/* A record of a message that dns_records_walk() found good. */
void dns_rrset_read(struct dns_rrset *s, struct span msg, size_t rdata_at, size_t rdata_len);
/* A record as dns_rrset_next() gives it. */
void dns_rrset_add(struct dns_rrset *s, struct span rdata);
/* The record at *at, which starts at 0 and moves behind it. False behind the last one. */
bool dns_rrset_next(const struct dns_rrset *s, size_t *at, struct span *rdata);
/* What a record of an SRV set says. */
void dns_srv_read(struct span rdata, struct dns_srv *out);
/* How many bytes of the structure are in use: copying so many copies the set. */
size_t dns_rrset_size(const struct dns_rrset *s);
