/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_family.h"

#include "dnsd/from_resolver.h"

#include <stdlib.h>

uint16_t query_family_type(uint16_t qtype, enum ip_family family)
{
    if (dns_rrset_is_type(qtype)) {
        return qtype;
    }
    return family == IP_V4 ? DNS_A : DNS_AAAA;
}

void query_family_cancel(struct resolver *r, struct query_family *f)
{
    if (f->ticket != 0) {
        resolver_cancel(r, f->ticket);
        f->ticket = 0;
    }
}

void query_family_forget(struct query_family *f)
{
    f->is_silent = false;
    f->remembered = BAD_BESIDE_NOTHING;
    f->answer = NULL;
    free(f->kept);
    f->kept = NULL;
}

bool query_family_keep(struct query_family *f, const struct resolver_answer *a)
{
    const size_t records_len = a->records == NULL ? 0 : sizeof(*a->records);
    f->kept = malloc(sizeof(*f->kept) + records_len);
    f->answer = f->kept;
    if (f->kept == NULL) {
        return false;
    }
    resolver_answer_copy(f->kept, a);
    if (a->records != NULL) {
        struct dns_rrset *records = (struct dns_rrset *)(f->kept + 1);
        memcpy(records, a->records, dns_rrset_size(a->records));
        f->kept->records = records;
    }
    return true;
}

/*
 * What is remembered of a family is that it was bad while the other one was good, or while A knew no such
 * name. Where the other one turns out to be anything else, it is worth a question.
 */
static bool is_still_silent(const struct query_family *f, const struct query_family *other)
{
    if (!f->is_silent || f->remembered == BAD_BESIDE_NOTHING) {
        return f->is_silent;
    }
    if (other->answer == NULL) {
        return !other->is_silent;
    }
    return other->answer->status ==
           (f->remembered == BAD_BESIDE_NO_NAME ? RESOLVER_NXDOMAIN : RESOLVER_ADDRS);
}

void query_family_lookup(uint16_t qtype, const struct query_family *v4, const struct query_family *v6,
                         struct answer_lookup *out)
{
    if (dns_rrset_is_type(qtype)) {
        from_resolver(v4->answer, v4->is_silent, &out->records);
        return;
    }
    from_resolver(v4->answer, is_still_silent(v4, v6), &out->v4);
    from_resolver(v6->answer, is_still_silent(v6, v4), &out->v6);
    out->v4.is_old_news = query_family_is_old_news(v4);
    out->v6.is_old_news = query_family_is_old_news(v6);
}

void query_known_init(struct query_known *k, struct resolver *r, struct bad_family *bad, int64_t now_ms)
{
    k->resolver = r;
    k->bad = bad;
    k->now_ms = now_ms;
    k->v4 = (struct query_family){0};
    k->v6 = (struct query_family){0};
}

bool query_known_peek(struct query_known *k, const struct answer_question *question, enum ip_family family)
{
    struct query_family *f = family == IP_V4 ? &k->v4 : &k->v6;
    struct resolver_answer *answer = &k->answers[family == IP_V4 ? 0 : 1];
    const uint16_t qtype = query_family_type(question->qtype, family);
    f->answer = resolver_peek(k->resolver, question->name, qtype, k->now_ms, answer) ? answer : NULL;
    f->is_silent = false;
    if ((f->answer != NULL && answer->status != RESOLVER_FAILED) || dns_rrset_is_type(qtype)) {
        return f->answer != NULL;
    }
    const enum bad_beside beside = bad_family_get(k->bad, question->name, family, k->now_ms);
    if (beside != BAD_BESIDE_NOTHING) {
        f->is_silent = f->answer == NULL;
        f->remembered = f->is_silent ? beside : BAD_BESIDE_NOTHING;
        f->is_judged = beside == BAD_BESIDE_ADDRESSES;
        answer->is_nobody_there = false; /* the other family was good, and is worth a question */
    }
    return f->answer != NULL || f->is_silent;
}
