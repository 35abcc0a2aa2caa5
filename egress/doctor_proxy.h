/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy that programs would use, from their environment; and what it answers to CONNECT. Pure. */
#pragma once

#include "egress/doctor.h"

struct doctor_env {     /* borrowed; NULL: not set. An empty variable is none, as clients have it. */
    const char *option; /* --proxy */
    const char *https_upper, *https_lower, *http_upper, *http_lower, *no_upper, *no_lower;
};
/* The first of them that is set decides; else 127.0.0.1:3128, where openshell-tunneld listens by default. */
void doctor_proxy_read(const struct doctor_env *env, struct doctor_proxy *out);
/* Does a NO_PROXY list name the host: itself, a domain above it, a prefix of addresses, or "*"? */
bool doctor_no_proxy_names(const char *list, const struct host *host);

/* The status of a response's first line, 100..999; 0: this is no HTTP. */
int doctor_http_status(struct span head);
/* The code in tunneld's JSON (its "error"), or "" if the body has none that is safe to show. */
#define DOCTOR_REASON_CAP 48
void doctor_http_reason(struct span body, char reason[DOCTOR_REASON_CAP]);
