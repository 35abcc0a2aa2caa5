/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/ip.h"

#include "common/base/buf.h"
#include "common/base/num.h"

#include <arpa/inet.h>
#include <errno.h>

/* An address as two numbers; an IPv4 address is the upper half of the first. */
struct words {
    uint64_t high, low;
};

struct class_row {
    struct words base;
    uint8_t bits; /* 0: no row */
    enum ip_class class;
};

#define V4(a, b, c, d)                                                                                       \
    {                                                                                                        \
        (uint64_t)(a) << 56 | (uint64_t)(b) << 48 | (uint64_t)(c) << 40 | (uint64_t)(d) << 32, 0             \
    }
#define GROUPS(a, b, c, d) ((uint64_t)(a) << 48 | (uint64_t)(b) << 32 | (uint64_t)(c) << 16 | (uint64_t)(d))
#define V6(a, b, c, d, e, f, g, h)                                                                           \
    {                                                                                                        \
        GROUPS(a, b, c, d), GROUPS(e, f, g, h)                                                               \
    }

/*
 * Sources: RFC 6890 and the IANA IPv4 and IPv6 Special-Purpose Address Registries it set up; metadata
 * services from the documentation of their operators. The first row that contains an address decides, so the
 * more specific row stands before the one around it. What no row holds is public in IPv4, and in IPv6 if it
 * is in 2000::/3 (RFC 4291). Rows lie under the first four bits of their addresses, which all share: every
 * answer is judged, and most addresses have few rows to be compared with.
 */
#define CLASS_LISTS 16
#define CLASS_ROWS 12

static const struct class_row v4_rows[CLASS_LISTS][CLASS_ROWS] = {
    [0x0] = {{V4(0, 0, 0, 0), 32, IP_CLASS_UNSPECIFIED}, /* RFC 1122 3.2.1.3: this host */
             {V4(0, 0, 0, 0), 8, IP_CLASS_THIS_NETWORK}, /* RFC 791 3.2 */
             {V4(10, 0, 0, 0), 8, IP_CLASS_PRIVATE}},    /* RFC 1918 */

    [0x6] = {{V4(100, 100, 100, 200), 32, IP_CLASS_METADATA}, /* Alibaba */
             {V4(100, 64, 0, 0), 10, IP_CLASS_SHARED}},       /* RFC 6598 */

    [0x7] = {{V4(127, 0, 0, 0), 8, IP_CLASS_LOOPBACK}}, /* RFC 1122 3.2.1.3 */

    [0xa] = {{V4(169, 254, 169, 254), 32, IP_CLASS_METADATA}, /* AWS, Google, Azure, OpenStack, Oracle, … */
             {V4(169, 254, 170, 2), 32, IP_CLASS_METADATA},   /* AWS ECS task credentials */
             {V4(169, 254, 170, 23), 32, IP_CLASS_METADATA},  /* AWS EKS Pod Identity */
             {V4(169, 254, 0, 23), 32, IP_CLASS_METADATA},    /* Tencent */
             {V4(169, 254, 42, 42), 32, IP_CLASS_METADATA},   /* Scaleway */
             {V4(168, 63, 129, 16), 32, IP_CLASS_METADATA},   /* Azure WireServer */
             {V4(169, 254, 0, 0), 16, IP_CLASS_LINK_LOCAL},   /* RFC 3927 */
             {V4(172, 16, 0, 0), 12, IP_CLASS_PRIVATE}},      /* RFC 1918 */

    [0xc] = {{V4(192, 0, 0, 192), 32, IP_CLASS_METADATA},       /* Oracle Classic */
             {V4(192, 0, 0, 0), 24, IP_CLASS_SPECIAL},          /* RFC 6890 2.1: IETF protocol assignments */
             {V4(192, 0, 2, 0), 24, IP_CLASS_DOCUMENTATION},    /* RFC 5737: TEST-NET-1 */
             {V4(192, 88, 99, 0), 24, IP_CLASS_SPECIAL},        /* RFC 7526: the former 6to4 relay anycast */
             {V4(192, 168, 0, 0), 16, IP_CLASS_PRIVATE},        /* RFC 1918 */
             {V4(198, 18, 0, 0), 15, IP_CLASS_BENCHMARK},       /* RFC 2544 */
             {V4(198, 51, 100, 0), 24, IP_CLASS_DOCUMENTATION}, /* RFC 5737: TEST-NET-2 */
             {V4(203, 0, 113, 0), 24, IP_CLASS_DOCUMENTATION}}, /* RFC 5737: TEST-NET-3 */

    [0xe] = {{V4(224, 0, 0, 0), 4, IP_CLASS_MULTICAST}}, /* RFC 5771 */

    [0xf] = {{V4(240, 0, 0, 0), 4, IP_CLASS_RESERVED}}, /* RFC 1112 4; holds broadcast, RFC 919 7 */
};

static const struct class_row v6_rows[CLASS_LISTS][CLASS_ROWS] = {
    [0x0] = {{V6(0, 0, 0, 0, 0, 0, 0, 0), 128, IP_CLASS_UNSPECIFIED},  /* RFC 4291 2.5.2 */
             {V6(0, 0, 0, 0, 0, 0, 0, 1), 128, IP_CLASS_LOOPBACK},     /* RFC 4291 2.5.3 */
             {V6(0, 0, 0, 0, 0, 0, 0, 0), 96, IP_CLASS_EMBEDDED},      /* RFC 4291 2.5.5.1: compatible */
             {V6(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, IP_CLASS_EMBEDDED}, /* RFC 4291 2.5.5.2: mapped */
             {V6(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, IP_CLASS_EMBEDDED}, /* RFC 2765 2.1: ::ffff:0:a.b.c.d */
             {V6(0x0100, 0, 0, 0, 0, 0, 0, 0), 64, IP_CLASS_SPECIAL},  /* RFC 6666: discard-only */
             {V6(0x0100, 0, 0, 1, 0, 0, 0, 0), 64, IP_CLASS_SPECIAL}}, /* RFC 9780: dummy prefix */

    [0x2] = {{V6(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, IP_CLASS_EMBEDDED},           /* RFC 4380: Teredo */
             {V6(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, IP_CLASS_BENCHMARK},          /* RFC 5180 */
             {V6(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, IP_CLASS_SPECIAL},            /* RFC 2928: ORCHIDv2, … */
             {V6(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32, IP_CLASS_DOCUMENTATION}, /* RFC 3849 */
             {V6(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, IP_CLASS_EMBEDDED},           /* RFC 3056: 6to4 */
             {V6(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, IP_CLASS_PUBLIC}},             /* RFC 4291 2.4, RFC 3587 */

    [0x3] = {{V6(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, IP_CLASS_DOCUMENTATION}, /* RFC 9637 */
             {V6(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, IP_CLASS_PUBLIC}},        /* the other half of 2000::/3 */

    [0xf] = {{V6(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), 128, IP_CLASS_METADATA},      /* AWS */
             {V6(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023), 128, IP_CLASS_METADATA},      /* AWS EKS */
             {V6(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254), 128, IP_CLASS_METADATA},      /* Google */
             {V6(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, IP_CLASS_METADATA}, /* Oracle */
             {V6(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042), 128, IP_CLASS_METADATA},      /* Scaleway */
             {V6(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1), 128, IP_CLASS_METADATA},      /* Linode */
             {V6(0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200), 128, IP_CLASS_METADATA}, /* Alibaba */
             {V6(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, IP_CLASS_METADATA},      /* OpenStack */
             {V6(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, IP_CLASS_PRIVATE},                   /* RFC 4193 */
             {V6(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, IP_CLASS_LINK_LOCAL},               /* RFC 4291 2.5.6 */
             {V6(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, IP_CLASS_PRIVATE},   /* RFC 3879: the former site-local */
             {V6(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, IP_CLASS_MULTICAST}}, /* RFC 4291 2.7 */
};

static const struct words nat64_prefix = V6(0x0064, 0xff9b, 0, 0, 0, 0, 0, 0);       /* RFC 6052 2.1, /96 */
static const struct words nat64_local_prefix = V6(0x0064, 0xff9b, 1, 0, 0, 0, 0, 0); /* RFC 8215, /48 */

static size_t family_len(uint8_t family)
{
    return family == IP_V4 ? 4 : family == IP_V6 ? 16 : 0;
}

static inline uint64_t load_u64(const uint8_t *p)
{
    return (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
           (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | (uint64_t)p[7];
}

static inline struct words words_of(const struct ip *a)
{
    return (struct words){load_u64(a->bytes), load_u64(a->bytes + 8)};
}

static inline bool has_prefix(struct words a, struct words prefix, uint8_t bits)
{
    uint64_t high = a.high ^ prefix.high;
    if (bits <= 64) {
        return bits == 0 || high >> (64U - bits) == 0;
    }
    return high == 0 && (a.low ^ prefix.low) >> (128U - bits) == 0;
}

static size_t count_digits(struct span s)
{
    size_t n = 0;
    while (n < s.len && s.data[n] >= '0' && s.data[n] <= '9') {
        n++;
    }
    return n;
}

static bool is_nat64(struct words a)
{
    return has_prefix(a, nat64_prefix, 96);
}

int ip_parse(struct span text, struct ip *out)
{
    char copy[IP_TEXT_CAP];
    if (text.len == 0 || text.len >= sizeof copy || span_find(text, 0) != text.len) {
        return -EINVAL;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    bool is_v6 = span_find(text, ':') != text.len;
    struct ip parsed = {.family = is_v6 ? IP_V6 : IP_V4};
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, copy, parsed.bytes) != 1) {
        return -EINVAL;
    }
    *out = parsed;
    return 0;
}

int ip_prefix_parse(struct span text, struct ip_prefix *out)
{
    size_t slash = span_find(text, '/');
    struct ip_prefix p;
    int rc = ip_parse(span_sub(text, 0, slash), &p.base);
    if (rc != 0) {
        return rc;
    }
    uint64_t max = family_len(p.base.family) * 8;
    uint64_t bits = max;
    if (slash < text.len && num_u64(span_sub(text, slash + 1, text.len), 0, max, &bits) != 0) {
        return -EINVAL;
    }
    p.bits = (uint8_t)bits;
    for (size_t i = p.bits; i < max; i++) {
        if (((unsigned)p.base.bytes[i / 8] >> (7U - i % 8U)) & 1U) {
            return -EDOM;
        }
    }
    *out = p;
    return 0;
}

static struct ip masked(const struct ip *a, uint64_t bits)
{
    struct ip m = *a;
    for (size_t i = (size_t)bits; i < family_len(a->family) * 8; i++) {
        m.bytes[i / 8] = (uint8_t)(m.bytes[i / 8] & ~(0x80U >> (i % 8)));
    }
    return m;
}

const char *ip_prefix_meant(struct span text, char out[IP_MEANT_CAP])
{
    const bool has_bracket = text.len > 0 && text.data[0] == '[';
    const size_t slash = span_find(text, '/');
    const struct span behind = span_sub(text, slash + 1, text.len);
    const struct span digits = span_sub(behind, 0, count_digits(behind));
    const struct span tail = span_sub(behind, digits.len, behind.len);
    struct ip ip;
    uint64_t bits = 0;
    char whole[IP_TEXT_CAP];
    char network[IP_TEXT_CAP];
    out[0] = '\0';
    if (tail.len > sizeof("]:65535") - 1 ||
        ip_parse(span_sub(text, has_bracket, slash - has_bracket), &ip) != 0 ||
        num_u64(digits, 0, family_len(ip.family) * 8, &bits) != 0) {
        return out;
    }
    const struct ip base = masked(&ip, bits);
    const char *const bracket = has_bracket ? "[" : "";
    struct wbuf w = wbuf_make(out, IP_MEANT_CAP);
    wbuf_printf(&w, "%s%s/%u%.*s or %s%s/%u%.*s", bracket, ip_text(&base, network), (unsigned)bits,
                (int)tail.len, (const char *)tail.data, bracket, ip_text(&ip, whole),
                (unsigned)family_len(ip.family) * 8, (int)tail.len, (const char *)tail.data);
    wbuf_u8(&w, 0);
    (void)CHECK(!w.overflow);
    return out;
}

/* The first longest run of two or more zero groups (RFC 5952 4.2), as [*start, *start + the result). */
static size_t longest_zero_run(const uint16_t groups[8], size_t *start)
{
    size_t best = 0;
    size_t run = 0;
    *start = 0;
    for (size_t i = 0; i < 8; i++) {
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > best) {
            best = run;
            *start = i + 1 - run;
        }
    }
    return best >= 2 ? best : 0;
}

static void put_v4(struct wbuf *w, const uint8_t *b)
{
    for (size_t i = 0; i < 4; i++) {
        if (i > 0) {
            wbuf_u8(w, '.');
        }
        wbuf_decimal(w, b[i], 1);
    }
}

static void put_v6(struct wbuf *w, const uint8_t bytes[16])
{
    uint16_t groups[8];
    for (size_t i = 0; i < 8; i++) {
        groups[i] = (uint16_t)((bytes[2 * i] << 8) | bytes[2 * i + 1]);
    }
    size_t start;
    size_t run = longest_zero_run(groups, &start);
    for (size_t i = 0; i < 8; i++) {
        if (run > 0 && i == start) {
            wbuf_str(w, "::");
            i += run - 1;
            continue;
        }
        bool follows_run = run > 0 && i == start + run;
        wbuf_printf(w, i == 0 || follows_run ? "%x" : ":%x", (unsigned)groups[i]);
    }
}

const char *ip_text(const struct ip *a, char text[IP_TEXT_CAP])
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    struct wbuf w = wbuf_make(text, IP_TEXT_CAP);
    if (a->family == IP_V4) {
        put_v4(&w, a->bytes);
    } else if (a->family == IP_V6 && memcmp(a->bytes, mapped, sizeof mapped) == 0) {
        wbuf_str(&w, "::ffff:"); /* RFC 5952 5 */
        put_v4(&w, a->bytes + 12);
    } else if (a->family == IP_V6) {
        put_v6(&w, a->bytes);
    } else {
        wbuf_str(&w, "-");
    }
    wbuf_u8(&w, 0);
    (void)CHECK(!w.overflow);
    return text;
}

bool ip_is_equal(const struct ip *a, const struct ip *b)
{
    size_t len = family_len(a->family);
    return len > 0 && a->family == b->family && memcmp(a->bytes, b->bytes, len) == 0;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    int order = memcmp(a->bytes, b->bytes, family_len(a->family));
    return (order > 0) - (order < 0);
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip *a)
{
    size_t len = family_len(a->family);
    return len > 0 && a->family == p->base.family && p->bits <= len * 8 &&
           has_prefix(words_of(a), words_of(&p->base), p->bits);
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
    return a->bits <= b->bits ? ip_prefix_contains(a, &b->base) : ip_prefix_contains(b, &a->base);
}

struct ip ip_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct ip){.family = IP_V4, .bytes = {a, b, c, d}};
}

static enum ip_class find_row(const struct class_row lists[CLASS_LISTS][CLASS_ROWS], struct words a,
                              enum ip_class other)
{
    const struct class_row *rows = lists[a.high >> 60];
    for (size_t i = 0; i < CLASS_ROWS && rows[i].bits != 0; i++) {
        if (has_prefix(a, rows[i].base, rows[i].bits)) {
            return rows[i].class;
        }
    }
    return other;
}

static enum ip_class classify_v4(struct words a)
{
    return find_row(v4_rows, a, IP_CLASS_PUBLIC);
}

/*
 * 64:ff9b:1::/48 is for prefixes of the operator's choice (RFC 8215), so an address does not say whether its
 * IPv4 address stands as after a /48, /56, /64 or /96 (RFC 6052 2.2; bits 64..71 are always zero). The
 * strictest reading counts, or a forged answer would hide a private address in one layout behind a public one
 * in another. A reading in 0.0.0.0/8 is only the padding of another layout, and no translator sends to it: it
 * counts only if all are such.
 */
static size_t read_nat64_local(const uint8_t bytes[16], struct ip out[IP_NAT64_READINGS_MAX])
{
    static const uint8_t layouts[IP_NAT64_READINGS_MAX][4] = {
        {12, 13, 14, 15}, {6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}};
    size_t count = 0;
    for (size_t i = 0; i < IP_NAT64_READINGS_MAX; i++) {
        const uint8_t *at = layouts[i];
        if (bytes[at[0]] != 0) {
            out[count++] = ip_v4(bytes[at[0]], bytes[at[1]], bytes[at[2]], bytes[at[3]]);
        }
    }
    return count;
}

static bool is_nat64_local(struct words a)
{
    return has_prefix(a, nat64_local_prefix, 48);
}

static enum ip_class classify_nat64_local(const uint8_t bytes[16])
{
    if (bytes[8] != 0) {
        return IP_CLASS_EMBEDDED;
    }
    struct ip inner[IP_NAT64_READINGS_MAX];
    size_t count = read_nat64_local(bytes, inner);
    enum ip_class strictest = count == 0 ? IP_CLASS_UNSPECIFIED : classify_v4(words_of(&inner[0]));
    for (size_t i = 1; i < count; i++) {
        enum ip_class class = classify_v4(words_of(&inner[i]));
        /* of what is never dialled, link-local is the mildest: egress.hosts may name it */
        bool is_worse = strictest == IP_CLASS_LINK_LOCAL && ip_class_group(class) == IP_GROUP_NEVER;
        if (is_worse || ip_class_group(class) < ip_class_group(strictest)) {
            strictest = class;
        }
    }
    return strictest;
}

size_t ip_nat64_readings(const struct ip *a, struct ip out[IP_NAT64_READINGS_MAX])
{
    if (a->family != IP_V6) {
        return 0;
    }
    struct words w = words_of(a);
    if (is_nat64(w)) {
        out[0] = ip_v4(a->bytes[12], a->bytes[13], a->bytes[14], a->bytes[15]);
        return 1;
    }
    return is_nat64_local(w) ? read_nat64_local(a->bytes, out) : 0;
}

/* RFC 5214 6.1: the interface identifier is [00-00 or 02-00]-5E-FE and the IPv4 address. */
static bool is_isatap(struct words a)
{
    return (a.low >> 32 & 0xfdffffffU) == 0x00005efe;
}

static enum ip_class classify_v6(const struct ip *a)
{
    struct words w = words_of(a);
    if (is_nat64(w)) {
        return classify_v4((struct words){w.low << 32, 0});
    }
    if (is_nat64_local(w)) {
        return classify_nat64_local(a->bytes);
    }
    enum ip_class class = find_row(v6_rows, w, IP_CLASS_RESERVED);
    /* link-local too, the home of ISATAP: a static entry may admit link-local, never an embedded form */
    if (is_isatap(w) && (ip_class_group(class) != IP_GROUP_NEVER || class == IP_CLASS_LINK_LOCAL)) {
        return IP_CLASS_EMBEDDED;
    }
    return class;
}

enum ip_class ip_classify(const struct ip *a)
{
    if (a->family == IP_V4) {
        return classify_v4(words_of(a));
    }
    return a->family == IP_V6 ? classify_v6(a) : IP_CLASS_UNKNOWN;
}

/* Rows around the prefix are not asked: they were judged with its address. */
static const struct class_row *find_never_row(const struct class_row lists[CLASS_LISTS][CLASS_ROWS],
                                              struct words prefix, uint8_t bits)
{
    for (size_t i = 0; i < (size_t)CLASS_LISTS * CLASS_ROWS; i++) {
        const struct class_row *row = &lists[i / CLASS_ROWS][i % CLASS_ROWS];
        bool is_inner = row->bits > bits && has_prefix(row->base, prefix, bits);
        if (is_inner && ip_class_group(row->class) == IP_GROUP_NEVER) {
            return row;
        }
    }
    return NULL;
}

static struct ip last_address(const struct ip_prefix *p)
{
    struct ip last = p->base;
    size_t bits = last.family == IP_V4 ? 32 : 128;
    for (size_t i = p->bits; i < bits; i++) {
        last.bytes[i / 8] = (uint8_t)(last.bytes[i / 8] | (0x80U >> (i % 8)));
    }
    return last;
}

/* The row's prefix: IPv4, IPv6, or IPv4 inside of NAT64. */
static struct ip_prefix prefix_of(const struct class_row *row, const struct ip_prefix *around, bool is_inside)
{
    struct ip_prefix p = {.base = around->base, .bits = row->bits};
    size_t at = 0;
    if (is_inside) {
        at = 12;
        p.bits = (uint8_t)(p.bits + 96);
    }
    for (size_t i = at; i < sizeof p.base.bytes; i++) {
        uint64_t word = i - at < 8 ? row->base.high : row->base.low;
        p.base.bytes[i] = (uint8_t)(word >> (56U - 8U * ((i - at) % 8U)));
    }
    return p;
}

enum ip_class ip_prefix_never_class(const struct ip_prefix *p, struct ip_prefix *which)
{
    enum ip_class class = ip_classify(&p->base);
    struct words base = words_of(&p->base);
    bool is_inside = p->base.family == IP_V6 && p->bits >= 96 && is_nat64(base);
    struct ip last = last_address(p);
    struct ip_prefix found = *p;
    if (ip_classify(&last) != class) {
        found.bits = p->base.family == IP_V4 ? 32 : 128;
    }
    if (ip_class_group(class) != IP_GROUP_NEVER) {
        const struct class_row *row = NULL;
        if (is_inside) {
            row = find_never_row(v4_rows, (struct words){base.low << 32, 0}, (uint8_t)(p->bits - 96));
        } else {
            row = find_never_row(p->base.family == IP_V4 ? v4_rows : v6_rows, base, p->bits);
        }
        class = row == NULL ? IP_CLASS_UNKNOWN : row->class;
        found = row == NULL ? found : prefix_of(row, p, is_inside);
    }
    if (which != NULL) {
        *which = found;
    }
    return class;
}

enum ip_group ip_class_group(enum ip_class c)
{
    switch (c) {
    case IP_CLASS_PRIVATE:
    case IP_CLASS_SHARED:
    case IP_CLASS_BENCHMARK:
    case IP_CLASS_DOCUMENTATION:
    case IP_CLASS_SPECIAL:
        return IP_GROUP_PRIVATE;
    case IP_CLASS_PUBLIC:
        return IP_GROUP_PUBLIC;
    case IP_CLASS_UNKNOWN:
    case IP_CLASS_UNSPECIFIED:
    case IP_CLASS_THIS_NETWORK:
    case IP_CLASS_LOOPBACK:
    case IP_CLASS_LINK_LOCAL:
    case IP_CLASS_METADATA:
    case IP_CLASS_MULTICAST:
    case IP_CLASS_RESERVED:
    case IP_CLASS_EMBEDDED:
        break;
    }
    return IP_GROUP_NEVER;
}

const char *ip_class_name(enum ip_class c)
{
    static const char *const names[] = {
        [IP_CLASS_UNKNOWN] = "unknown",
        [IP_CLASS_UNSPECIFIED] = "unspecified",
        [IP_CLASS_THIS_NETWORK] = "this_network",
        [IP_CLASS_LOOPBACK] = "loopback",
        [IP_CLASS_LINK_LOCAL] = "link_local",
        [IP_CLASS_METADATA] = "metadata",
        [IP_CLASS_MULTICAST] = "multicast",
        [IP_CLASS_RESERVED] = "reserved",
        [IP_CLASS_EMBEDDED] = "embedded",
        [IP_CLASS_PRIVATE] = "private",
        [IP_CLASS_SHARED] = "shared",
        [IP_CLASS_BENCHMARK] = "benchmark",
        [IP_CLASS_DOCUMENTATION] = "documentation",
        [IP_CLASS_SPECIAL] = "special",
        [IP_CLASS_PUBLIC] = "public",
    };
    size_t i = (size_t)c;
    return i < sizeof names / sizeof names[0] ? names[i] : names[IP_CLASS_UNKNOWN];
}
