/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels on which nobody says a word: when, and how, are they cut? */
#pragma once

#include "egress/doctor.h"

/*
 * Opens one more connection for each way of each target that works, all side by side, and waits idle_ms, or
 * until all are gone. What the other end says meanwhile is read and thrown away. -ENOMEM.
 */
MUST_CHECK int doctor_idle_run(struct doctor_facts *f, int64_t open_end_ms);
