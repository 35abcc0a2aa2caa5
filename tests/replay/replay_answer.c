/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/replay/replay_answer.h"

static enum resolver_fail read_fail(const struct replay_line *w, const char *word)
{
    for (int f = RESOLVER_FAIL_NONE; f <= RESOLVER_FAIL_MEMORY; f++) {
        if (replay_is(word, resolver_fail_text((enum resolver_fail)f))) {
            return (enum resolver_fail)f;
        }
    }
    replay_fail(w, "%s is no reason", word);
}

const char *const replay_statuses[] = {"failed", "addrs", "records", "nodata", "nxdomain"};

void replay_check_resolver(const struct replay_line *w, const struct resolver_answer *a, int64_t at_ms,
                           size_t i)
{
    if (!replay_is(replay_word(w, i), replay_statuses[a->status])) {
        replay_fail(w, "it is %s", replay_statuses[a->status]);
    }
    struct dns_rrset want;
    size_t addrs = 0;
    dns_rrset_start(&want, a->records != NULL ? a->records->qtype : 0);
    for (i++; i < w->count; i++) {
        const char *word = w->words[i];
        struct ip ip;
        bool is_right;
        if (replay_is(word, "ttl")) {
            is_right = replay_number(w, ++i) == a->ttl_s;
        } else if (replay_is(word, "at")) {
            is_right = replay_number(w, ++i) == at_ms;
        } else if (replay_is(word, "why")) {
            is_right = read_fail(w, replay_word(w, ++i)) == a->why;
        } else if (replay_is(word, "stale") || replay_is(word, "fresh")) {
            is_right = a->is_stale == replay_is(word, "stale");
        } else if (replay_is(word, "cached") || replay_is(word, "new")) {
            is_right = a->from_cache == replay_is(word, "cached");
        } else if (replay_is(word, "nobody") || replay_is(word, "somebody")) {
            is_right = a->is_nobody_there == replay_is(word, "nobody");
        } else if (replay_is(word, "confirmed") || replay_is(word, "unconfirmed")) {
            is_right = a->is_confirmed == replay_is(word, "confirmed");
        } else if (a->records != NULL) {
            replay_add_record(w, word, &want);
            is_right = true;
        } else {
            is_right = ip_parse(span_str(word), &ip) == 0 && addrs < a->addr_count &&
                       ip_is_equal(&ip, &a->addrs[addrs]);
            addrs++;
        }
        if (!is_right) {
            replay_fail(w, "not so: %s (%zu addresses, ttl %u, %s, %s, why %s, at %lld ms)", w->words[i],
                        a->addr_count, a->ttl_s, a->is_stale ? "stale" : "fresh",
                        a->from_cache ? "cached" : "new", resolver_fail_text(a->why), (long long)at_ms);
        }
    }
    if (a->status == RESOLVER_ADDRS && addrs != a->addr_count) {
        replay_fail(w, "it has %zu addresses", a->addr_count);
    }
    if (a->records != NULL) {
        replay_check_records(w, a->records, &want);
    }
}

void replay_check_dnsd(const struct replay_line *w, const struct answer *a, int64_t at_ms)
{
    static const char *const rcodes[] = {"noerror", "formerr", "servfail", "nxdomain", "notimp", "refused"};
    if (!replay_is(replay_word(w, 2), rcodes[a->rcode])) {
        replay_fail(w, "it is %s (%s)", rcodes[a->rcode], a->why);
    }
    struct dns_rrset want;
    size_t addrs = 0;
    dns_rrset_start(&want, a->has_records ? a->records.qtype : 0);
    for (size_t i = 3; i < w->count; i++) {
        const char *word = w->words[i];
        struct ip ip;
        bool is_right;
        if (replay_is(word, "ttl")) {
            is_right = replay_number(w, ++i) == (a->has_soa ? a->soa_ttl_s : a->ttl_s);
        } else if (replay_is(word, "ede")) {
            i++;
            is_right = replay_is(replay_word(w, i), "none") ? a->ede == DNS_EDE_NONE
                                                            : replay_number(w, i) == (int64_t)a->ede;
        } else if (replay_is(word, "at")) {
            is_right = replay_number(w, ++i) == at_ms;
        } else if (replay_is(word, "left-out")) {
            is_right = replay_number(w, ++i) == (int64_t)a->left_out;
        } else if (a->has_records) {
            replay_add_record(w, word, &want);
            is_right = true;
        } else {
            is_right = ip_parse(span_str(word), &ip) == 0 && addrs < a->addr_count &&
                       ip_is_equal(&ip, &a->addrs[addrs]);
            addrs++;
        }
        if (!is_right) {
            replay_fail(w, "not so: %s (%zu addresses, ttl %u, soa ttl %u, ede %d, at %lld ms)", w->words[i],
                        a->addr_count, a->ttl_s, a->soa_ttl_s, (int)a->ede, (long long)at_ms);
        }
    }
    if (addrs != a->addr_count) {
        replay_fail(w, "it has %zu addresses", a->addr_count);
    }
    if (a->has_records) {
        replay_check_records(w, &a->records, &want);
    }
}
