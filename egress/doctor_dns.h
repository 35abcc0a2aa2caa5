/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolver as c-ares and Go have one of their own: it asks a name server of resolv.conf itself. What it was
 * told is judged by pure functions.
 */
#pragma once

#include "common/dns/dns_wire.h"
#include "egress/doctor.h"

struct doctor_dns_answer {
    int rc; /* 0, or -errno: -ETIMEDOUT, -ECONNREFUSED, ...; -EPROTO: what came over TCP is no answer */
    struct dns_reply reply; /* if rc is 0 */
};
/* Asks one server once, over UDP twice if need be. Ends at end_ms. */
void doctor_dns_ask(const struct addr *server, bool is_tcp, const struct dns_sent *question, int64_t end_ms,
                    struct doctor_dns_answer *out);

/* A and AAAA of one server. */
struct doctor_dns_pair {
    struct addr server;
    struct doctor_dns_answer a, aaaa;
    int64_t ms;
};
/* One result for all the servers; a probe is a name that must not be found. Pure. */
void doctor_dns_judge(const struct doctor_dns_pair *pairs, size_t count, bool is_probe,
                      struct doctor_result *out);

/* Asks every server of f for the target's name and fills its two results; its addresses, where it has none
 * yet. */
void doctor_dns_check(const struct doctor_facts *f, struct doctor_target *t, int64_t end_ms);
