/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/ipv6_route.h"

#include "common/base/log.h"
#include "common/dns/dns_client_errors.h"
#include "common/net/sock.h"

#include <unistd.h>

#define RECHECK_MS 10000

enum route_answer { ROUTE_NONE = 0, ROUTE_THERE, ROUTE_UNKNOWN };

/* Connecting a datagram socket looks the route up and sends nothing. 3fff::/20 is documentation (RFC 9637):
 * only a default route leads there. */
static enum route_answer ask_kernel(void)
{
    struct addr to = {.ip = {.family = IP_V6, .bytes = {0x3f, 0xff}}, .port = 53};
    to.ip.bytes[15] = 1;
    int fd = sock_connect_udp(&to);
    if (fd >= 0) {
        (void)close(fd);
        return ROUTE_THERE;
    }
    return dns_client_error_is_local(-fd) ? ROUTE_UNKNOWN : ROUTE_NONE;
}

/* Workers ask one after the other, so each change is found first by one of them. */
static void tell(struct ipv6_route_news *news, enum route_answer answer)
{
    if (atomic_exchange(&news->said, 1 + (int)answer) != 1 + (int)answer) {
        const bool has = answer == ROUTE_THERE;
        log_event(
            LOG_INFO, "ipv6_route",
            LOG_KV(kv_str("state", has ? "there" : "none"),
                   kv_str("effect", has ? "AAAA is given out" : "AAAA is not given out (--aaaa auto)")));
    }
}

bool ipv6_route_has(struct ipv6_route *r, int64_t now_ms)
{
    if (!r->is_known || now_ms - r->asked_ms >= RECHECK_MS) {
        const enum route_answer answer = ask_kernel();
        if (answer != ROUTE_UNKNOWN) {
            r->has = answer == ROUTE_THERE;
            r->is_known = true;
            r->asked_ms = now_ms;
            if (r->news != NULL) {
                tell(r->news, answer);
            }
        }
    }
    return r->has;
}
