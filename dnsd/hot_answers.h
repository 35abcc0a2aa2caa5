/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that were given a moment ago, ready to be given again: it saves judging, looking up and filtering
 * for the names that are asked for all the time. An entry holds for one generation of the policy, and at most
 * until the cache's entry that it was made from is worth a renewal, which the cache then has to see. Only
 * answers that are the same for every client. Fixed memory: a question has eight places, and the entry that
 * ends first is given up. Pure (time is a parameter). One per worker.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/ip.h"

/* Longer answers and names are made anew each time, and long names with several IPv6 addresses. */
#define HOT_ADDRS_MAX 4
#define HOT_NAME_MAX 64

struct hot_answers;

struct hot_question {
    struct span qname; /* wire labels with the root, in any case */
    uint16_t qtype;
    uint64_t generation;
    uint32_t turn; /* resolver_turn(); as generation: of another one nothing is known */
    bool has_ipv6; /* as the answer was, or is to be, judged */
    uint64_t hash; /* what hot_answers_foresee() said of qname and qtype; 0: nobody asked it */
};

enum hot_kind {
    HOT_DENIED = 0,
    HOT_NOISE,
    HOT_ADMITTED,
    HOT_HIDDEN /* admitted, and empty whatever the name has: its TTL does not count down */
};

struct hot_answer {
    enum hot_kind kind;
    size_t addr_count;              /* HOT_ADMITTED, 0: NODATA */
    struct ip addrs[HOT_ADDRS_MAX]; /* of the family that the type asked for */
    int64_t expires_ms;             /* put: when its TTL ends; get: the same */
    int64_t until_ms; /* put: until when it may be given again, at most expires_ms; get: unset */
};

/* What a table of at most max_bytes takes. */
size_t hot_answers_bytes(size_t max_bytes);
/* At most max_bytes (less than a few slots: none, and nothing is ever kept). 0 or -ENOMEM. */
MUST_CHECK int hot_answers_new(size_t max_bytes, struct hot_answers **out);
void hot_answers_free(struct hot_answers *h); /* NULL-safe */
/* Says that the question comes soon: what is likely to be needed for it is fetched from memory meanwhile.
 * Returns its hash, so that it is not hashed again; 0 if it is never kept. */
uint64_t hot_answers_foresee(const struct hot_answers *h, struct span qname, uint16_t qtype);
/* A little later, with that hash: the same for the answer itself, if there is one. */
void hot_answers_fetch(const struct hot_answers *h, uint64_t hash);
bool hot_answers_get(const struct hot_answers *h, const struct hot_question *q, int64_t now_ms,
                     struct hot_answer *out);
/* Before a denial is put that was not found a moment ago, with the hash of its question: true if it is the
 * first time, and noted; then there is nothing to put. */
bool hot_answers_note_denied(struct hot_answers *h, uint64_t hash, int64_t now_ms);
/* Too long a name, too many addresses, or of another family: not kept, and what was there stays. A denial is
 * kept from the second time on, as a rule: names that nobody asks for twice take no memory from others. */
void hot_answers_put(struct hot_answers *h, const struct hot_question *q, int64_t now_ms,
                     const struct hot_answer *a);
