/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_held.h"

#include "dnsd/from_resolver.h"

static bool find_family(struct resolver *r, const struct host_name *name, enum ip_family family,
                        int64_t now_ms, struct resolver_answer *kept, struct answer_family *out)
{
    const bool is_known =
        resolver_peek(r, name, family, now_ms, kept) || resolver_peek_stale(r, name, family, now_ms, kept);
    from_resolver(is_known ? kept : NULL, false, out);
    return is_known;
}

void query_held(struct resolver *r, const struct answer_question *question, int64_t now_ms, struct answer *a)
{
    struct resolver_answer kept[2];
    struct answer_lookup lookup;
    const bool is_v4_known = find_family(r, question->name, IP_V4, now_ms, &kept[0], &lookup.v4);
    const bool is_v6_known = find_family(r, question->name, IP_V6, now_ms, &kept[1], &lookup.v6);
    if (!is_v4_known && !is_v6_known) {
        return;
    }
    struct answer stale;
    struct ip reverse;
    if (answer_decide(question, &stale, &reverse) == ANSWER_ROUTE_RESOLVE &&
        answer_from_lookup(question, &lookup, &stale) == 0) {
        *a = stale;
    }
}
