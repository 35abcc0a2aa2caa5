/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client on a connected socket, for the WebSocket that `doctor` tries; one thread, one thing at a time,
 * as doctor_io.h has it. A certificate that nobody here trusts is told and not refused: no secret goes this
 * way, and that somebody in between has another certificate is a finding (docs/decisions/0030).
 */
#pragma once

#include "common/base/err.h"
#include "common/base/host_name.h"
#include "common/base/span.h"

#include <sys/types.h>

struct doctor_wss;

/* Is OpenSSL in this build? If not, doctor_wss_open() fails with -ENOSYS. */
bool doctor_wss_is_built(void);
/*
 * The handshake, with host as SNI unless it is an address. fd stays the caller's and has to outlive *out. 0;
 * -errno of the connection; -EPROTO with *err: TLS did not come about; -ENOMEM.
 */
MUST_CHECK int doctor_wss_open(int fd, const struct host *host, int64_t end_ms, struct doctor_wss **out,
                               struct err *err);
/* Why the certificate is not to be trusted, or NULL: it is. */
const char *doctor_wss_distrust(const struct doctor_wss *w);
/* As doctor_io_send() and doctor_io_receive(), which returns 0 for the end of the TLS session as well. */
MUST_CHECK int doctor_wss_send(struct doctor_wss *w, struct span bytes, int64_t end_ms);
MUST_CHECK ssize_t doctor_wss_receive(struct doctor_wss *w, void *data, size_t cap, int64_t end_ms);
/* Says goodbye, if that goes out at once. NULL is nothing. */
void doctor_wss_free(struct doctor_wss *w);
