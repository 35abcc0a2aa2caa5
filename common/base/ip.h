/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses and prefixes as values, and the class of each address (product: destinations).
 * Text forms are strict: dotted quad without leading zeros (RFC 6943 3.1.1), RFC 4291 2.2 for IPv6, no zone
 * id. Pure.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/span.h"

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

struct ip {
    uint8_t family;    /* enum ip_family; IP_NONE compares equal to nothing */
    uint8_t bytes[16]; /* network order; IPv4 in the first four, the rest zero */
};

struct ip_prefix {
    struct ip base; /* host bits are zero */
    uint8_t bits;
};

#define IP_TEXT_CAP 46

/* 0 or -EINVAL. IPv4-mapped text stays IPv6: judging unwraps it, parsing does not. */
MUST_CHECK int ip_parse(struct span text, struct ip *out);
/* "ADDR" or "ADDR/BITS". -EINVAL on bad text, -EDOM if host bits are set. */
MUST_CHECK int ip_prefix_parse(struct span text, struct ip_prefix *out);
/*
 * What text, refused for its host bits, may have meant: of "10.0.0.1/8" "10.0.0.0/8 or 10.0.0.1/32". A "[" in
 * front and a "]" and a port behind are kept. "" if it is not of that kind. Returns out.
 */
#define IP_MEANT_CAP 128
const char *ip_prefix_meant(struct span text, char out[IP_MEANT_CAP]);
const char *ip_text(const struct ip *a, char text[IP_TEXT_CAP]); /* RFC 5952 for IPv6; "-" for IP_NONE */
bool ip_is_equal(const struct ip *a, const struct ip *b);
int ip_compare(const struct ip *a, const struct ip *b); /* total order: family, then bytes */
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip *a);
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
struct ip ip_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);

/* 0 is the safe one: an address nobody classified is never dialled. */
enum ip_class {
    IP_CLASS_UNKNOWN = 0,
    /* never: nothing but a static hosts: entry (link-local only) overrides them */
    IP_CLASS_UNSPECIFIED,
    IP_CLASS_THIS_NETWORK, /* 0.0.0.0/8 */
    IP_CLASS_LOOPBACK,
    IP_CLASS_LINK_LOCAL,
    IP_CLASS_METADATA, /* 169.254.169.254, 169.254.170.2, fd00:ec2::254, 168.63.129.16, 100.100.100.200, … */
    IP_CLASS_MULTICAST,
    IP_CLASS_RESERVED, /* 240.0.0.0/4, broadcast, and IPv6 outside 2000::/3 that is nothing else */
    IP_CLASS_EMBEDDED, /* mapped, compatible, 6to4, Teredo, ISATAP: never dialled in that form */
    /* private: only for an exact declared host, or through allowed_ips */
    IP_CLASS_PRIVATE,       /* RFC 1918, ULA, site-local fec0::/10 */
    IP_CLASS_SHARED,        /* 100.64.0.0/10 */
    IP_CLASS_BENCHMARK,     /* 198.18.0.0/15, 2001:2::/48 */
    IP_CLASS_DOCUMENTATION, /* TEST-NET-1..3, 2001:db8::/32, 3fff::/20 */
    IP_CLASS_SPECIAL,       /* 192.0.0.0/24, 192.88.99.0/24, 100::/64, 2001::/23 rest */
    IP_CLASS_PUBLIC
};

enum ip_group { IP_GROUP_NEVER = 0, IP_GROUP_PRIVATE, IP_GROUP_PUBLIC };

/*
 * The IPv4 addresses that a translator may send a NAT64 address to: the one inside of 64:ff9b::/96, and one
 * for each layout of 64:ff9b:1::/48, since the address does not say which is in use. Returns how many; 0: it
 * is no NAT64 address, or one that stands for no address.
 */
#define IP_NAT64_READINGS_MAX 4
size_t ip_nat64_readings(const struct ip *a, struct ip out[IP_NAT64_READINGS_MAX]);
/* NAT64 (64:ff9b::/96, 64:ff9b:1::/48) takes the class of the IPv4 address inside (RFC 6052 2.2). */
enum ip_class ip_classify(const struct ip *a);
static inline bool ip_is_unspecified(const struct ip *a) /* 0.0.0.0, :: */
{
    return ip_classify(a) == IP_CLASS_UNSPECIFIED;
}
/* The class of some address inside that is never dialled, or IP_CLASS_UNKNOWN if the prefix holds no such
 * address. *which (may be NULL) is then where such addresses are: the first of p, a range inside p, or p. */
enum ip_class ip_prefix_never_class(const struct ip_prefix *p, struct ip_prefix *which);
enum ip_group ip_class_group(enum ip_class c);
const char *ip_class_name(enum ip_class c); /* "loopback", "link_local", … for logs and messages */
