/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolver between two pretended upstreams, for its tests. What the upstreams answer hangs on the first
 * label: silent, nxdomain, servfail, nodata, chain (a CNAME), big (64 addresses, only over TCP), cut (TCP
 * breaks off), brief (TTL 0), forged (two forgeries first); anything else has one address.
 */
#pragma once

#include "common/dns/resolver.h"
#include "tests/support/fake_upstream.h"

#define LIMIT_MS 5000
#define ATTEMPT_MS                                                                                           \
    60 /* of the tests that wait for silence; all others have the defaults, not to fail under load */
#define TOTAL_MS 400

struct resolver_scene {
    struct ev_loop *loop;
    struct fake_upstream first, second;
    struct resolver *resolver;
};

/* One question and what came of it. */
struct asked {
    resolver_ticket ticket;
    bool is_asking; /* resolver_ask() runs: no call back may come */
    bool is_done;
    unsigned calls;
    unsigned order; /* among all call backs of the test */
    unsigned *counter;
    struct resolver_answer answer;
};

int resolver_scene_set_up(void **state);
int resolver_scene_tear_down(void **state);
#define RESOLVER_CASE(fn) cmocka_unit_test_setup_teardown(fn, resolver_scene_set_up, resolver_scene_tear_down)

enum fake_verdict serve_by_label(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out);
enum fake_verdict serve_nothing(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out);
struct resolver_config config_of(const struct addr upstreams[2]);
/* A new resolver in place of the old one, with the defaults changed. */
void renew(struct resolver_scene *f, void (*change)(struct resolver_config *cfg));
void be_quick(struct resolver_config *cfg); /* ATTEMPT_MS, TOTAL_MS */
struct host_name name_of(const char *text);
void ask(struct resolver_scene *f, struct asked *q,
         const char *name); /* IPv4; fails if it is called back inside */
void ask_and_wait(struct resolver_scene *f, struct asked *q, const char *name);
void on_answer(void *ctx, const struct resolver_answer *a); /* of a struct asked */
