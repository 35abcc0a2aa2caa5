/* SPDX-License-Identifier: Apache-2.0 */
/* What dns_exchange.c (whom to ask, and when) and dns_exchange_reply.c (what comes back) share. */
#pragma once

#include "common/dns/dns_exchange.h"

#define NO_SLOT DNS_EXCHANGE_SLOTS

static inline struct upstream *dns_exchange_slot_upstream(struct dns_exchange *x,
                                                          const struct dns_exchange_slot *s)
{
    return &x->env->upstreams.list[s->upstream];
}

/* A reply to this question from the slot's upstream over UDP fitted but for the case of the name. */
static inline bool dns_exchange_is_doubted(const struct dns_exchange *x, const struct dns_exchange_slot *s)
{
    return (x->case_doubted & 1U << s->upstream) != 0;
}

/* Of several reasons the highest is kept. */
void dns_exchange_note_why(struct dns_exchange *x, enum dns_exchange_fail why);
/* It is closed at the next opportunity; nothing more is wanted of it. */
void dns_exchange_drop_slot(struct dns_exchange *x, size_t i);
/* The result stands. */
void dns_exchange_finish(struct dns_exchange *x, enum dns_exchange_status status);
/* Nobody has been asked for x->name yet. */
void dns_exchange_begin_name(struct dns_exchange *x);
/* False: x->name has been asked before, or there are too many. */
bool dns_exchange_remember_name(struct dns_exchange *x);
/* Asks for a (re)opened socket in slot i; a socket that is there is closed first. */
void dns_exchange_want_open(struct dns_exchange *x, size_t i, size_t upstream, bool tcp, bool with_opt);
/* The question in wire form as the slot sends it; out has 255 bytes. */
struct span dns_exchange_slot_qname(const struct dns_exchange *x, const struct dns_exchange_slot *s,
                                    uint8_t out[255]);
