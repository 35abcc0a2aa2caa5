/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket on which a client says nothing, and which it then asks for a sign of life: a ping. One thread.
 * Each function that finds something out tells it to the result that was given at the start.
 */
#pragma once

#include "egress/doctor.h"

struct doctor_ws;

/*
 * Takes fd, a connection to the target. *out is what waits in silence now; or NULL, and fd is closed: the
 * result says what came of it. 0 or -ENOMEM.
 */
MUST_CHECK int doctor_ws_open(int fd, const struct doctor_target *t, bool is_tls, int64_t end_ms,
                              struct doctor_result *result, struct doctor_ws **out);
int doctor_ws_fd(const struct doctor_ws *ws); /* to poll; still ws's */
/*
 * Something came, or so poll(2) says: reads it, answers the server's pings. It may have come up to blind_ms
 * ago.
 */
void doctor_ws_read(struct doctor_ws *ws, int64_t blind_ms);
/* The silence is over: asks. */
void doctor_ws_ping(struct doctor_ws *ws);
/* The result is there: it was cut or closed, or there was a pong. */
bool doctor_ws_is_over(const struct doctor_ws *ws);
/* "2s", or "2s to 7s" where nobody looked for the last blind_ms of it. Returns text. */
#define DOCTOR_WS_SPAN_CAP 64
const char *doctor_ws_span_text(int64_t ms, int64_t blind_ms, char text[DOCTOR_WS_SPAN_CAP]);
/* Tells, where it is not over, that no pong came; says goodbye and closes. NULL is nothing. */
void doctor_ws_finish(struct doctor_ws *ws);
