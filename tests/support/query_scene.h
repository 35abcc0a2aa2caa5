/* SPDX-License-Identifier: Apache-2.0 */
/* An engine of dnsd's conversations with a real resolver, and an upstream in the same loop; the transport is
 * the test. */
#pragma once

#include "dnsd/dnsd_counters.h"
#include "dnsd/query.h"

extern const char query_policy_a[], query_policy_b[]; /* *.t.example.net, *.u.example.net */

struct query_scene {
    struct worker worker;
    struct answer_config answer;
    struct dest_guard guard;
    struct acl acl;
    struct dns_soa_template soa;
    struct resolver *resolver;
    struct brakes *brakes;
    struct query_engine *engine;
    ev_io upstream;
    int upstream_fd;
    bool is_silent;     /* the upstream reads and says nothing */
    bool is_aaaa_empty; /* it says NODATA to AAAA, for a minute, and gives A for a second */
    size_t upstream_count;
    size_t reply_count;
    uint8_t last[DNS_UDP_MAX];
    size_t last_len;
    bool is_idle;
};

/* Of a cmocka test: *state is a scene under query_policy_a. */
int query_scene_set_up(void **state);
int query_scene_tear_down(void **state);
struct policy *query_scene_policy(const char *text, uint64_t generation);
/* Another engine on the scene's resolver; the caller owns it. */
struct query_engine *query_scene_engine(struct query_scene *f);
/* What a reply's send is: its owner is the scene. */
void query_scene_take_reply(const struct reply *to, struct span message);
enum query_outcome query_scene_ask(struct query_scene *f, const char *name, uint16_t qtype);
/* Of the last answer. */
unsigned query_scene_rcode(const struct query_scene *f);
unsigned query_scene_answers(const struct query_scene *f);
void query_scene_run_until(struct query_scene *f, size_t replies);
uint64_t query_scene_counter(const struct query_scene *f, enum dnsd_counter c);
