/* SPDX-License-Identifier: Apache-2.0 */
/* From results to the one line that is to be changed. Pure. */
#pragma once

#include "egress/doctor.h"

#define DOCTOR_ADVICE_CAP 512
/* What to change for this check of this target: text, or NULL where there is nothing to change. */
const char *doctor_advice(const struct doctor_facts *f, const struct doctor_target *t, enum doctor_check c,
                          char text[DOCTOR_ADVICE_CAP]);
/*
 * What the surroundings have that works today and hurts tomorrow (name servers, search list, NO_PROXY): the
 * note with number i, from 0 on, or NULL behind the last.
 */
const char *doctor_note(const struct doctor_facts *f, size_t i, char text[DOCTOR_ADVICE_CAP]);
