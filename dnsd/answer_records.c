/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/answer_records.h"

#include "common/policy/judge_name.h"
#include "dnsd/answer_parts.h"

#include <stdio.h>

static void filter(const struct answer_question *q, const struct dns_rrset *all, struct answer *out)
{
    size_t at = 0;
    struct span rdata;
    dns_rrset_start(&out->records, all->qtype);
    out->left_out = all->left_out;
    while (dns_rrset_next(all, &at, &rdata)) {
        struct dns_srv srv;
        if (all->qtype == DNS_SRV) {
            dns_srv_read(rdata, &srv);
            if (!judge_target(q->policy, &srv.target, srv.port)) {
                if (out->target.len == 0) {
                    out->target = srv.target;
                    out->target_port = srv.port;
                }
                out->left_out++;
                continue;
            }
        }
        dns_rrset_add(&out->records, rdata);
    }
}

static void block(const struct answer_question *q, struct answer *out)
{
    answer_no_data(out, q->cfg->deny_ttl_s);
    out->event = ANSWER_EVENT_DENIED;
    out->reason = REASON_POLICY_DENIED;
    out->ede = DNS_EDE_BLOCKED;
    if (out->target.len > 0) {
        out->why = "no endpoint admits the target of the SRV record, with its port";
        (void)snprintf(out->ede_text, sizeof(out->ede_text),
                       "%s: no endpoint admits the SRV target %.120s:%u", reason_text(out->reason),
                       out->target.text, (unsigned)out->target_port);
    } else {
        out->why = "no record can be given out: behind an alias, no host name as target, or too long";
        (void)snprintf(out->ede_text, sizeof(out->ede_text), "%s: %s", reason_text(out->reason), out->why);
    }
}

void answer_records(const struct answer_question *q, const struct answer_family *f, struct answer *out)
{
    filter(q, f->records, out);
    if (out->records.count == 0) {
        block(q, out);
        return;
    }
    out->has_records = true;
    out->ttl_s = f->ttl_s;
}
