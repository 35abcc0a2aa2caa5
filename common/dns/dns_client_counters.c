/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_client_counters.h"

static inline void say(struct dns_client_counters *c, enum dns_client_counter which, uint64_t now)
{
    if (now != c->said[which]) {
        metrics_add(c->metrics, c->first + (size_t)which, now - c->said[which]);
        c->said[which] = now;
    }
}

void dns_client_counters_say(struct dns_client_counters *c, const struct dns_exchange_stats *now)
{
    if (c->metrics == NULL) {
        return;
    }
    say(c, DNS_CLIENT_COUNTER_UDP, now->sent_udp);
    say(c, DNS_CLIENT_COUNTER_TCP, now->sent_tcp);
    say(c, DNS_CLIENT_COUNTER_REPLIES, now->replies);
    say(c, DNS_CLIENT_COUNTER_FORGED, now->mismatches);
    say(c, DNS_CLIENT_COUNTER_TIMEOUTS, now->timeouts);
    say(c, DNS_CLIENT_COUNTER_FAILOVERS, now->failovers);
    say(c, DNS_CLIENT_COUNTER_HEDGES, now->hedges);
    say(c, DNS_CLIENT_COUNTER_HEDGE_WINS, now->hedge_wins);
}
