/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one canonical form of a host: QNAME, CONNECT target, Host, SNI and policy all become this, and only
 * this is compared. ASCII lower case, one trailing dot removed, labels of letters, digits, '-' (not at the
 * ends) and '_', 1..63 bytes each, 253 in all (RFC 1035 2.3.4, RFC 1123 2.1; '_' as used by RFC 2782). A name
 * whose last label is all digits, or 0x and hex digits, is never a name: it is a strict dotted quad or an
 * error (WHATWG URL "ends in a number"). Pure.
 */
#pragma once

#include "common/base/ip.h"

#define HOST_NAME_MAX_LEN 253

struct host_name {
    uint8_t len;                      /* 0 = no name */
    uint8_t label_count;              /* >= 1 when len > 0 */
    char text[HOST_NAME_MAX_LEN + 1]; /* NUL-terminated; holds no NUL inside */
};

enum host_fault {
    HOST_FAULT_NONE = 0, /* fine */
    HOST_FAULT_EMPTY,
    HOST_FAULT_TOO_LONG,
    HOST_FAULT_EMPTY_LABEL,
    HOST_FAULT_LABEL_TOO_LONG,
    HOST_FAULT_BAD_BYTE,
    HOST_FAULT_NON_ASCII, /* hint: write xn--… */
    HOST_FAULT_HYPHEN,    /* a label begins or ends with '-' */
    HOST_FAULT_NUMERIC,   /* last label numeric and not a strict dotted quad */
    HOST_FAULT_ZONE_ID,   /* IPv6 zone */
    HOST_FAULT_BAD_IP     /* brackets without a valid IPv6 literal */
};

enum host_kind { HOST_NONE = 0, HOST_DNS, HOST_IP };

struct host {
    enum host_kind kind;
    struct host_name name; /* kind == HOST_DNS */
    struct ip ip;          /* kind == HOST_IP */
};

/* A DNS name only; a dotted quad is HOST_FAULT_NUMERIC. *out is zeroed on a fault. */
MUST_CHECK enum host_fault host_name_parse(struct span text, struct host_name *out);
/* A name, a dotted quad, or an IPv6 literal with or without brackets. */
MUST_CHECK enum host_fault host_parse(struct span text, struct host *out);
/*
 * From uncompressed wire labels ending in the root label, as dns_wire checked them. The root itself is
 * HOST_FAULT_EMPTY. A label with a dot, NUL, space or any other byte outside the set is HOST_FAULT_BAD_BYTE.
 */
MUST_CHECK enum host_fault host_name_from_wire(struct span wire, struct host_name *out);
/* Writes wire labels with the root; returns the length (len + 2, <= 255). */
size_t host_name_to_wire(const struct host_name *n, uint8_t out[255]);
const char *host_fault_text(enum host_fault f); /* "label longer than 63 bytes", … */
bool host_name_is_equal(const struct host_name *a, const struct host_name *b);
/* True if a is strictly below b ("x.b" below "b"). */
bool host_name_is_below(const struct host_name *a, const struct host_name *b);
/* RFC 6761 6.3: localhost and every name below it is this host, and is asked of nobody. */
bool host_name_is_localhost(const struct host_name *n);
static inline struct span host_name_span(const struct host_name *n)
{
    return (struct span){(const uint8_t *)n->text, n->len};
}
/* "name", "1.2.3.4" or "[v6]"; returns text. */
#define HOST_TEXT_CAP 256
const char *host_text(const struct host *h, char text[HOST_TEXT_CAP]);
