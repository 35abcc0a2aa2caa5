/* SPDX-License-Identifier: Apache-2.0 */
/* What programs take from resolv.conf(5). Pure but for doctor_resolv_read(). */
#pragma once

#include "egress/doctor.h"

/* Name servers, the length of the search list (the last line counts), ndots. */
void doctor_resolv_parse(struct span text, struct doctor_resolv *out);
/* A file that cannot be read leaves is_read false: programs ask 127.0.0.1 then. */
void doctor_resolv_read(const char *path, struct doctor_resolv *out);
