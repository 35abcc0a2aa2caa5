/* SPDX-License-Identifier: Apache-2.0 */
/* The result for people and for programs. */
#pragma once

#include "egress/doctor.h"

#include <stdio.h>

void doctor_print_text(FILE *out, const struct doctor_facts *f);
/* 0, -ENOMEM or -EIO. */
MUST_CHECK int doctor_print_json(FILE *out, const struct doctor_facts *f);
