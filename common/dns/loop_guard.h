/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an upstream one of us? A dnsd answers `TXT loop.openshell.invalid` (a name that no server on earth has,
 * RFC 6761 6.4) with a marker of its process, whatever its policy says; whoever asks for it and gets a marker
 * has found a dnsd, and perhaps itself. Only the question and the comparison; loop_check asks. Pure, but that
 * loop_marker_init() draws random bits.
 */
#pragma once

#include "common/dns/dns_rrset.h"

#define LOOP_GUARD_NAME "loop.openshell.invalid"
#define LOOP_GUARD_QUERY_CAP 64

struct loop_marker {
    char text[64]; /* "openshell-dnsd=" and 32 hexadecimal digits */
};

enum loop_verdict {
    LOOP_MISMATCH = 0, /* no answer to this question: ignore it and keep waiting */
    LOOP_NONE,         /* whatever it is, it is no dnsd */
    LOOP_OTHER,
    LOOP_SELF
};

void loop_marker_init(struct loop_marker *m);
/* Writes the query; returns its length. */
size_t loop_guard_query(uint16_t id, uint8_t out[LOOP_GUARD_QUERY_CAP]);
/* own may be NULL: then no marker is our own. */
enum loop_verdict loop_guard_judge(struct span reply, uint16_t id, const struct loop_marker *own);

/* Is it this question? Of a query that dns_query_parse() found good. */
bool loop_guard_is_question(const struct dns_query *q);
/* The one TXT record that answers it. */
void loop_guard_records(const struct loop_marker *own, struct dns_rrset *out);
