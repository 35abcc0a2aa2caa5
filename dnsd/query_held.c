/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_held.h"

#include "dnsd/from_resolver.h"

static bool find_answer(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                        struct resolver_answer *out)
{
    return resolver_peek(r, name, qtype, now_ms, out) || resolver_peek_stale(r, name, qtype, now_ms, out);
}

/* False: nothing is known. kept[0] is IPv4's, or that of the records. */
static bool find_all(struct resolver *r, const struct answer_question *q, int64_t now_ms,
                     struct resolver_answer kept[2], struct answer_lookup *out)
{
    if (dns_rrset_is_type(q->qtype)) {
        const bool is_known = find_answer(r, q->name, q->qtype, now_ms, &kept[0]);
        from_resolver(is_known ? &kept[0] : NULL, false, &out->records);
        return is_known;
    }
    const bool is_v4_known = find_answer(r, q->name, DNS_A, now_ms, &kept[0]);
    const bool is_v6_known = find_answer(r, q->name, DNS_AAAA, now_ms, &kept[1]);
    from_resolver(is_v4_known ? &kept[0] : NULL, false, &out->v4);
    from_resolver(is_v6_known ? &kept[1] : NULL, false, &out->v6);
    return is_v4_known || is_v6_known;
}

bool query_held(struct resolver *r, const struct answer_question *question, int64_t now_ms, struct answer *a)
{
    struct resolver_answer kept[2];
    struct answer_lookup lookup;
    if (!find_all(r, question, now_ms, kept, &lookup)) {
        return false;
    }
    struct answer stale;
    struct ip reverse;
    if (answer_decide(question, &stale, &reverse) != ANSWER_ROUTE_RESOLVE ||
        answer_from_lookup(question, &lookup, &stale) != 0) {
        return false;
    }
    *a = stale;
    return true;
}
