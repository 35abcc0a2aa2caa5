/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lookup by the system's resolver, as programs do it: nsswitch, /etc/hosts, resolv.conf, search list and
 * all. It is done in a child process, because nothing else bounds it (docs/decisions/0027).
 */
#pragma once

#include "common/base/host_name.h"

#define DOCTOR_LOOKUP_MAX 8

struct doctor_lookup {
    int rc;                             /* 0 or EAI_*; DOCTOR_LOOKUP_SILENT */
    int plain_rc;                       /* without AI_ADDRCONFIG, if rc is not 0 */
    struct ip addrs[DOCTOR_LOOKUP_MAX]; /* in the system's order; those without AI_ADDRCONFIG if only that
                                           found some */
    size_t count;
};
/* No EAI_ has it. */
#define DOCTOR_LOOKUP_SILENT 30000

/* 0, or -errno if the child could not be made. Ends at end_ms (clock_mono_ms()), with DOCTOR_LOOKUP_SILENT.
 */
MUST_CHECK int doctor_lookup(const struct host_name *name, int64_t end_ms, struct doctor_lookup *out);
