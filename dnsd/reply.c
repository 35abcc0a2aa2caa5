/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/reply.h"

#include "common/base/scratch.h"

size_t reply_limit(const struct reply *to, const struct dns_query *query)
{
    if (to->is_stream) {
        return DNS_MESSAGE_MAX;
    }
    return query->udp_size < DNS_UDP_MAX ? query->udp_size : DNS_UDP_MAX;
}

void reply_answer(const struct reply *to, const struct dns_answer *a)
{
    SCRATCH uint8_t out[REPLY_MAX];
    size_t limit = reply_limit(to, a->query);
    size_t len = dns_answer_build(a, out, limit < sizeof(out) ? limit : sizeof(out));
    to->send(to, span_make(out, len));
}
