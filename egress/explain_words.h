/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How explain's facts are said: the pieces that the text and the JSON form share. Every function writes a
 * NUL-terminated text of at most cap bytes, cut if it is longer, and returns it.
 */
#pragma once

#include "egress/explain_facts.h"

#define EXPLAIN_WORDS_CAP 512U

/* "idle", and the option that sets it, "idle-timeout". */
const char *explain_value_name(enum explain_value v);
const char *explain_option_name(enum explain_value v);
/* "10s", "0 (never)", "60s,15s,4". */
const char *explain_value_text(const struct explain_tunnel *t, enum explain_value v, char *out, size_t cap);
/* "policy.yaml:12 (endpoint)", "--idle-timeout", "built in". */
const char *explain_source_text(const struct explain_facts *f, const struct explain_source *s,
                                enum explain_value v, char *out, size_t cap);
const char *explain_level_word(const struct explain_source *s); /* "endpoint", "option", … for scripts */

/* Text of others for a terminal: what is not printable becomes "?". */
const char *explain_clean(struct span text, char *out, size_t cap);
/* rule "discord" (policy.yaml:12) */
const char *explain_rule(const struct explain_facts *f, const struct policy_endpoint *ep, char *out,
                         size_t cap);
/* "policy.yaml:12" */
const char *explain_place(const struct explain_facts *f, const struct policy_pos *pos, char *out, size_t cap);
/* The host as the rule writes it; "allowed_ips" of a hostless endpoint. */
const char *explain_host(const struct policy_endpoint *ep, char *out, size_t cap);
/* "443, 8443" */
const char *explain_ports(const struct policy_endpoint *ep, char *out, size_t cap);

const char *explain_fate_word(enum explain_fate fate); /* "less_specific", for scripts */
const char *explain_fate_text(enum explain_fate fate);
/* Why a raw tunnel would widen the endpoint. */
const char *explain_l7_why(const struct policy_endpoint *ep);
/* Why the tunnel is denied before any address is known. */
void explain_why(const struct explain_facts *f, const struct explain_tunnel *t, char *out, size_t cap);
const char *explain_address_rule_word(enum address_rule r);
const char *explain_address_rule_text(const struct explain_facts *f, const struct explain_tunnel *t,
                                      char *out, size_t cap);

const char *explain_mode_word(const struct explain_facts *f); /* "real", "synthetic" */
const char *explain_type_text(const struct explain_dns *d);   /* "AAAA"; "other" */
/* What dnsd answers. */
const char *explain_dns_text(const struct explain_facts *f, const struct explain_dns *d, char *out,
                             size_t cap);
/* What a daemon's brakes are for a name that only a wildcard admits. */
const char *explain_brakes_text(const struct settings_shared *s, char *out, size_t cap);
const char *explain_name_word(const struct explain_facts *f); /* "admitted", "static", "parent", … */

const char *explain_dial_word(enum explain_dial d); /* "connected", for scripts */
const char *explain_dial_text(const struct explain_addr *a, char *out, size_t cap);
/* What asking for one family gave, "2 addresses", "NXDOMAIN", "failed: …". */
const char *explain_lookup_text(const struct resolver_answer *a, char *out, size_t cap);

/* An overlay that says proxy: direct for the endpoint on port; "" for a hostless one. */
void explain_suggest_direct(const struct policy_endpoint *ep, uint16_t port, char *out, size_t cap);
