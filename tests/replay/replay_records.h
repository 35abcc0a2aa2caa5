/* SPDX-License-Identifier: Apache-2.0 */
/* Types and records as words of a scenario: SRV as HOST:PORT, TXT as its one string. For tests only. */
#pragma once

#include "common/dns/dns_rrset.h"
#include "tests/replay/replay_line.h"

uint16_t replay_type(const struct replay_line *w, size_t i); /* A, AAAA, SRV or TXT */
/* As an upstream's message brings it; the target is what host names are. */
void replay_add_record(const struct replay_line *w, const char *word, struct dns_rrset *out);
/* Ends the program unless both hold the same records in the same order. */
void replay_check_records(const struct replay_line *w, const struct dns_rrset *have,
                          const struct dns_rrset *want);
