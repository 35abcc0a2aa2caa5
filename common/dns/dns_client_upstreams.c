/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_client_priv.h"

#include "common/base/clock.h"
#include "common/dns/upstream_watch.h"

/* What a call has open to upstreams that are gone is closed before their connections are. */
static void move_legs(struct dns_call *call, const uint8_t moved[UPSTREAM_MAX])
{
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct leg *leg = &call->legs[i];
        if (moved[leg->upstream] == UPSTREAM_GONE) {
            dns_client_close_leg(leg);
            leg->upstream = 0;
        } else {
            leg->upstream = moved[leg->upstream];
        }
    }
}

/* The connections go with their upstreams. */
static void move_streams(struct dns_client *c, const uint8_t moved[UPSTREAM_MAX])
{
    struct dns_streams *streams[UPSTREAM_MAX] = {NULL};
    struct dns_stream_transport transports[UPSTREAM_MAX] = {{.ops = NULL}};
    for (size_t i = 0; i < UPSTREAM_MAX; i++) {
        if (moved[i] < UPSTREAM_MAX) {
            streams[moved[i]] = c->streams[i];
            transports[moved[i]] = c->transports[i];
        } else {
            dns_streams_free(c->streams[i]); /* no question is on it any more */
        }
    }
    memcpy(c->streams, streams, sizeof(streams));
    memcpy(c->transports, transports, sizeof(transports));
}

int dns_client_set_upstreams(struct dns_client *c, const struct addr *upstreams, size_t count,
                             struct err *err)
{
    uint8_t moved[UPSTREAM_MAX];
    int rc = upstream_set_replace(&c->env.upstreams, upstreams, count, moved, err);
    if (rc != 0) {
        return rc;
    }
    int64_t now_ms = clock_mono_ms();
    for (struct dns_call *call = c->fresh.first; call != NULL; call = call->next) {
        dns_exchange_upstreams_moved(&call->exchange, moved);
    }
    for (struct dns_call *call = c->calls.first; call != NULL; call = call->next) {
        dns_exchange_upstreams_moved(&call->exchange, moved);
        move_legs(call, moved);
        /* In a turn of the loop of its own, which may call back. It is armed already, so this takes no
         * memory. */
        (void)CHECK(deadline_arm(c->deadlines, &call->deadline, now_ms) == 0);
    }
    if (c->watch != NULL) {
        upstream_watch_restart(c->watch); /* closes what it has on connections that go */
    }
    move_streams(c, moved);
    return 0;
}
