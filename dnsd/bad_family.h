/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remembers for 30 s which family of which name the upstream does not answer while it answers the other one,
 * so that a dead AAAA costs its second of waiting once and not with every query. Bounded: the least recently
 * used goes first. Time is a parameter. One per worker.
 */
#pragma once

#include "common/base/host_name.h"

#define BAD_FAMILY_MAX 1024
#define BAD_FAMILY_KEEP_MS 30000

/* What the other family was when this one was found to be bad. */
enum bad_beside {
    BAD_BESIDE_NOTHING = 0, /* this family is not known to be bad */
    BAD_BESIDE_ADDRESSES,
    BAD_BESIDE_NO_NAME /* A is NXDOMAIN: there can be no AAAA either (RFC 8020) */
};

struct bad_family;
MUST_CHECK int bad_family_new(struct bad_family **out); /* 0 or -ENOMEM */
void bad_family_free(struct bad_family *b);
/*
 * Best effort: without memory nothing is remembered. What is remembered already is not remembered for longer:
 * answers made from this memory say so again and again, and the upstream has to be asked once it is over.
 * Beside something else it is news.
 */
void bad_family_put(struct bad_family *b, const struct host_name *name, enum ip_family family,
                    enum bad_beside beside, int64_t now_ms);
enum bad_beside bad_family_get(struct bad_family *b, const struct host_name *name, enum ip_family family,
                               int64_t now_ms);
/* How long it will be remembered, in seconds rounded up; 0: it is not. */
uint32_t bad_family_left_s(struct bad_family *b, const struct host_name *name, enum ip_family family,
                           int64_t now_ms);
void bad_family_forget(struct bad_family *b); /* all: there are other upstreams now */
size_t bad_family_count(const struct bad_family *b);
