/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels on which nobody says a word: when, and how, are they cut? And do they live behind it? */
#pragma once

#include "egress/doctor.h"

#define DOCTOR_PONG_MS 5000 /* what a ping is given to be answered */

/*
 * Opens one more connection for each way of each target that works, one after the other until open_end_ms,
 * and waits idle_ms, or until all are gone; WebSockets are then asked for a sign of life, all at once. Where
 * a target has no WebSocket, or none comes about, it is a TCP connection without a word; what the other end
 * says on it is read and thrown away. -ENOMEM.
 */
MUST_CHECK int doctor_idle_run(struct doctor_facts *f, int64_t open_end_ms);
