/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is looked after beside the questions of a dns_client: whether an upstream turns out to be a dnsd
 * (asked at once, after 2 s and then every minute; one that says so is not used until it says otherwise, and
 * one that the news know to be one is not used from the beginning), whether one fails or does so no more, and
 * whether somebody forges replies. Writes log lines. One per dns_client, on its loop.
 */
#pragma once

#include "common/dns/loop_check.h"
#include "common/dns/upstream_news.h"

/* The connections to an upstream, or NULL: then it is asked over UDP, or not at all if it is stream only. */
typedef struct dns_streams *upstream_watch_streams_fn(void *ctx, size_t upstream);

struct upstream_watch_config {
    struct upstream_set *set; /* the client's; outlives the watch */
    const struct loop_marker *own;
    struct upstream_news *news; /* of the process; NULL: this one speaks for itself */
    upstream_watch_streams_fn *streams;
    void *ctx;
};

struct upstream_watch;
MUST_CHECK int upstream_watch_new(struct ev_loop *loop, const struct upstream_watch_config *cfg,
                                  struct upstream_watch **out); /* 0 or -ENOMEM */
void upstream_watch_free(struct upstream_watch *w);             /* before the connections; NULL-safe */
/* The set is about to change, and the connections with it: nothing is open afterwards, and all is asked anew.
 */
void upstream_watch_restart(struct upstream_watch *w);
/* What was learned of the upstreams may have changed: says which began to fail, and which do no more. */
void upstream_watch_health(struct upstream_watch *w, int64_t now_ms);
/* A message came on a UDP socket of the upstream's that answers nothing we asked. */
void upstream_watch_forged(struct upstream_watch *w, size_t upstream, int64_t now_ms);
