/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that stand for a name: a synthetic one, or tunneld's own. */
#include "dnsd/answer_parts.h"

/* A synthetic address does not expire with what it stands for: its TTL and EDE stay, the log tells. */
static void say_stale_behind(const struct answer_family *f, struct answer *out)
{
    if (f->is_stale) {
        out->is_stale = true;
        out->why = f->text;
    }
}

/* tunneld's own address, whatever the name: what the client says first tells it which one. */
static void answer_steer(const struct answer_question *q, struct answer *out)
{
    const struct ip *ip = q->qtype == DNS_A ? &q->cfg->steer.v4 : &q->cfg->steer.v6;
    if (ip->family == IP_NONE) {
        answer_no_data(out, q->cfg->deny_ttl_s);
        return;
    }
    out->addrs[0] = *ip;
    out->addr_count = 1;
    out->ttl_s = q->cfg->synthetic_ttl_s;
    answer_say(out, DNS_EDE_FORGED,
               "steered to openshell-tunneld, which carries TLS by SNI and HTTP by Host");
}

static void answer_synthetic(const struct answer_question *q, struct answer *out)
{
    if ((q->qtype == DNS_A && !q->cfg->pools.has_v4) || (q->qtype == DNS_AAAA && !q->cfg->pools.has_v6)) {
        answer_no_data(out, q->cfg->deny_ttl_s);
        return;
    }
    out->wants_synthetic = true;
    out->ttl_s = q->cfg->synthetic_ttl_s;
    answer_say(out, DNS_EDE_FORGED, "synthetic address: connections to it are carried by openshell-tunneld");
}

void answer_standin(const struct answer_question *q, enum answer_mode mode,
                    const struct answer_family *behind, struct answer *out)
{
    if (mode == ANSWER_STEER) {
        answer_steer(q, out);
    } else {
        answer_synthetic(q, out);
    }
    say_stale_behind(behind, out);
}
