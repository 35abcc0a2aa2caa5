/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of a pretend upstream, built by hand from the query it got, right or wrong on demand. For tests
 * only.
 */
#pragma once

#include "common/base/host_name.h"

#define FAKE_CNAMES_MAX 12
#define FAKE_ADDRS_MAX 70

struct fake_reply { /* zero = NOERROR, RA=1, the question echoed, nothing in it */
    uint16_t rcode;
    uint32_t ttl_s;
    bool tc;
    bool no_ra;
    bool has_soa; /* in authority, with soa_min_s as TTL and MINIMUM */
    uint32_t soa_min_s;
    bool bad_id;
    bool bad_question; /* another name, same length */
    bool other_case;   /* the case of each letter turned round */
    bool lower_case;
    bool no_question;
    bool not_response;  /* QR=0 */
    size_t cname_count; /* a chain from the name asked */
    struct host_name cnames[FAKE_CNAMES_MAX];
    const char *txt;   /* one TXT record of the name asked; NULL: none */
    size_t addr_count; /* of the last name of the chain */
    struct ip addrs[FAKE_ADDRS_MAX];
};

/* The question of a query of ours: name in lower case, type, whether it has an OPT, whether a letter is upper
 * case. */
struct fake_query {
    struct host_name name;
    uint16_t qtype;
    bool has_opt;
    bool is_mixed_case;
};

/* False if msg is no query that fake_reply_build() could answer. */
bool fake_query_read(struct span msg, struct fake_query *out);
/* Returns the length; aborts if it does not fit or the query is none. */
size_t fake_reply_build(const struct fake_reply *f, struct span query, uint8_t *out, size_t cap);
