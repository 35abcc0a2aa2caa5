/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/reply.h"

size_t reply_limit(const struct reply *to, const struct dns_query *query)
{
    if (to->is_stream) {
        return DNS_MESSAGE_MAX;
    }
    return query->udp_size < DNS_UDP_MAX ? query->udp_size : DNS_UDP_MAX;
}
