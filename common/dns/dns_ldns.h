/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to ldns: type and rcode names for logs and options, and static templates built once at start.
 * Never used on bytes from the network. Returned strings are static or written into the caller's buffer.
 */
#pragma once

#include "common/dns/dns_wire.h"

/* "AAAA", "HTTPS", "TYPE65400"; returns text. */
const char *dns_type_text(uint16_t type, char *text, size_t cap);
const char *dns_rcode_text(uint16_t rcode);
/*
 * The authority SOA of every negative answer as wire bytes (owner ".", MNAME dnsd.openshell.invalid., RNAME
 * nobody.invalid., refresh, retry, expire fixed), with serial, TTL and MINIMUM zero and their offsets, to be
 * patched per answer. 0 or -errno.
 */
MUST_CHECK int dns_soa_template_build(struct dns_soa_template *out);
