/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a conversation knows and waits for: of an address question each family, of a question for SRV or TXT
 * the one answer there is, which takes the place of IPv4. Owned by the conversation; one worker.
 */
#pragma once

#include "common/dns/resolver.h"
#include "dnsd/answer.h"
#include "dnsd/bad_family.h"

struct query_family {
    resolver_ticket ticket;               /* 0: not in flight */
    bool is_silent;                       /* given up, now or within the last 30 s … */
    enum bad_beside remembered;           /* … and then this time it has not been asked */
    bool is_judged;                       /* it has been found to be bad beside the other family */
    const struct resolver_answer *answer; /* NULL: not known; kept, or borrowed for one step */
    struct resolver_answer *kept;         /* only while the other family is waited for */
};

/* What is known of both families before anything is asked. */
struct query_known {
    struct resolver *resolver; /* both borrowed */
    struct bad_family *bad;
    int64_t now_ms;
    struct answer_decided decided;
    struct query_family v4, v6;
    size_t route;                      /* of the resolver; set by who asks */
    unsigned wants;                    /* what is to be asked with this known (answer_from_lookup) */
    struct resolver_answer answers[2]; /* large: set only where a family points into it */
};

/* What the resolver is asked for a family of the question. */
uint16_t query_family_type(uint16_t qtype, enum ip_family family);

static inline bool query_family_is_pending(const struct query_family *f)
{
    return f->ticket != 0;
}

/*
 * Remembered to have failed, but not beside the other family, nor asked again since: if that one is good now,
 * the failure may be one of a time when nobody answered anything.
 */
static inline bool query_family_is_old_news(const struct query_family *f)
{
    return f->answer != NULL && f->answer->status == RESOLVER_FAILED && f->answer->from_cache &&
           !f->answer->is_nobody_there && !f->answer->is_confirmed && !f->is_judged;
}

/* Nothing is known of it that would do. */
static inline bool query_family_is_unasked(const struct query_family *f)
{
    return f->ticket == 0 && !f->is_silent && (f->answer == NULL || query_family_is_old_news(f));
}

/* Under way, known, or given up by this conversation: not to be asked again. */
static inline bool query_family_is_settled(const struct query_family *f)
{
    return f->ticket != 0 || (f->answer != NULL && !query_family_is_old_news(f)) ||
           (f->is_silent && f->remembered == BAD_BESIDE_NOTHING);
}

/* What was remembered of it: it is asked now. */
void query_family_forget(struct query_family *f);

void query_family_cancel(struct resolver *r, struct query_family *f);
/* Keeps a borrowed answer, with its records, beyond this step; to be freed. False: no memory. */
MUST_CHECK bool query_family_keep(struct query_family *f, const struct resolver_answer *a);
/* *out borrows the answers. */
void query_family_lookup(uint16_t qtype, const struct query_family *v4, const struct query_family *v6,
                         struct answer_lookup *out);

void query_known_init(struct query_known *k, struct resolver *r, struct bad_family *bad, int64_t now_ms);
/* CACHE: what is known without asking. True if the family is. */
bool query_known_peek(struct query_known *k, const struct answer_question *question, enum ip_family family);
