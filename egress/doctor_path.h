/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to a target: CONNECT through the proxy, and a connection of the program's own. */
#pragma once

#include "egress/doctor.h"
#include "egress/doctor_proxy.h"

/* What a way came to. fd is the caller's to close if it is >= 0. */
struct doctor_way {
    int fd;          /* or -errno */
    int status;      /* of CONNECT: 0 if no answer came in HTTP, or none at all */
    bool is_foreign; /* something came, and it is not HTTP */
    char reason[DOCTOR_REASON_CAP];
};
/* Ends at end_ms. The tunnel is open if status is 200 and fd >= 0. */
void doctor_connect_open(const struct doctor_proxy *p, const struct doctor_target *t, int64_t end_ms,
                         struct doctor_way *out);
/* Pure: the result that belongs to it. */
void doctor_connect_judge(const struct doctor_proxy *p, bool is_probe, const struct doctor_way *way,
                          struct doctor_result *out);

/* -errno as a fault. */
enum doctor_fault doctor_fault_of(int rc);

/* CONNECT and TLS on it; a descriptor that is left open goes nowhere: these close what they open. */
void doctor_connect_check(struct doctor_facts *f, struct doctor_target *t, int64_t end_ms);
/* Connects to one address of each family that the name has, and says ClientHello on what came about. */
void doctor_native_check(struct doctor_target *t, int64_t end_ms);
