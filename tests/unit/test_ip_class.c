/* SPDX-License-Identifier: Apache-2.0 */
/* Which class each address and each prefix is of, IPv4 addresses inside IPv6 ones included. */
#include "tests/support/ip_must.h"

#include <stdio.h>

/*
 * The whole of each address space as a list of where a class begins; a run ends where the next begins. The
 * first and the last address of each run are tested, so every boundary of every prefix is, from both sides.
 */
struct run {
    const char *first;
    enum ip_class class; /* IP_CLASS_UNKNOWN: not of one class, tested elsewhere */
};

static const struct run v4_space[] = {
    {"0.0.0.0", IP_CLASS_UNSPECIFIED},      {"0.0.0.1", IP_CLASS_THIS_NETWORK},
    {"1.0.0.0", IP_CLASS_PUBLIC},           {"10.0.0.0", IP_CLASS_PRIVATE},
    {"11.0.0.0", IP_CLASS_PUBLIC},          {"100.64.0.0", IP_CLASS_SHARED},
    {"100.100.100.200", IP_CLASS_METADATA}, {"100.100.100.201", IP_CLASS_SHARED},
    {"100.128.0.0", IP_CLASS_PUBLIC},       {"127.0.0.0", IP_CLASS_LOOPBACK},
    {"128.0.0.0", IP_CLASS_PUBLIC},         {"168.63.129.16", IP_CLASS_METADATA},
    {"168.63.129.17", IP_CLASS_PUBLIC},     {"169.254.0.0", IP_CLASS_LINK_LOCAL},
    {"169.254.0.23", IP_CLASS_METADATA},    {"169.254.0.24", IP_CLASS_LINK_LOCAL},
    {"169.254.42.42", IP_CLASS_METADATA},   {"169.254.42.43", IP_CLASS_LINK_LOCAL},
    {"169.254.169.254", IP_CLASS_METADATA}, {"169.254.169.255", IP_CLASS_LINK_LOCAL},
    {"169.254.170.2", IP_CLASS_METADATA},   {"169.254.170.3", IP_CLASS_LINK_LOCAL},
    {"169.254.170.23", IP_CLASS_METADATA},  {"169.254.170.24", IP_CLASS_LINK_LOCAL},
    {"169.255.0.0", IP_CLASS_PUBLIC},       {"172.16.0.0", IP_CLASS_PRIVATE},
    {"172.32.0.0", IP_CLASS_PUBLIC},        {"192.0.0.0", IP_CLASS_SPECIAL},
    {"192.0.0.192", IP_CLASS_METADATA},     {"192.0.0.193", IP_CLASS_SPECIAL},
    {"192.0.1.0", IP_CLASS_PUBLIC},         {"192.0.2.0", IP_CLASS_DOCUMENTATION},
    {"192.0.3.0", IP_CLASS_PUBLIC},         {"192.88.99.0", IP_CLASS_SPECIAL},
    {"192.88.100.0", IP_CLASS_PUBLIC},      {"192.168.0.0", IP_CLASS_PRIVATE},
    {"192.169.0.0", IP_CLASS_PUBLIC},       {"198.18.0.0", IP_CLASS_BENCHMARK},
    {"198.20.0.0", IP_CLASS_PUBLIC},        {"198.51.100.0", IP_CLASS_DOCUMENTATION},
    {"198.51.101.0", IP_CLASS_PUBLIC},      {"203.0.113.0", IP_CLASS_DOCUMENTATION},
    {"203.0.114.0", IP_CLASS_PUBLIC},       {"224.0.0.0", IP_CLASS_MULTICAST},
    {"240.0.0.0", IP_CLASS_RESERVED},
};

static const struct run v6_space[] = {
    {"::", IP_CLASS_UNSPECIFIED},
    {"::1", IP_CLASS_LOOPBACK},
    {"::2", IP_CLASS_EMBEDDED},
    {"::1:0:0", IP_CLASS_RESERVED},
    {"::ffff:0:0", IP_CLASS_EMBEDDED},
    {"::1:0:0:0", IP_CLASS_RESERVED},
    {"::ffff:0:0:0", IP_CLASS_EMBEDDED},
    {"::ffff:1:0:0", IP_CLASS_RESERVED},
    {"64:ff9b::", IP_CLASS_UNSPECIFIED},
    {"64:ff9b::1", IP_CLASS_THIS_NETWORK},
    {"64:ff9b::100:0", IP_CLASS_PUBLIC},
    {"64:ff9b::a00:0", IP_CLASS_PRIVATE},
    {"64:ff9b::b00:0", IP_CLASS_UNKNOWN}, /* test_nat64 */
    {"64:ff9b::f000:0", IP_CLASS_RESERVED},
    {"64:ff9b:1::", IP_CLASS_UNSPECIFIED},
    {"64:ff9b:1::1", IP_CLASS_UNKNOWN}, /* test_nat64_local */
    {"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", IP_CLASS_EMBEDDED},
    {"64:ff9b:2::", IP_CLASS_RESERVED},
    {"100::", IP_CLASS_SPECIAL},
    {"100:0:0:2::", IP_CLASS_RESERVED},
    {"2000::", IP_CLASS_PUBLIC},
    {"2001::", IP_CLASS_EMBEDDED},
    {"2001:1::", IP_CLASS_SPECIAL},
    {"2001:2::", IP_CLASS_BENCHMARK},
    {"2001:2:1::", IP_CLASS_SPECIAL},
    {"2001:200::", IP_CLASS_PUBLIC},
    {"2001:db8::", IP_CLASS_DOCUMENTATION},
    {"2001:db9::", IP_CLASS_PUBLIC},
    {"2002::", IP_CLASS_EMBEDDED},
    {"2003::", IP_CLASS_PUBLIC},
    {"3fff::", IP_CLASS_DOCUMENTATION},
    {"3fff:1000::", IP_CLASS_PUBLIC},
    {"4000::", IP_CLASS_RESERVED},
    {"fc00::", IP_CLASS_PRIVATE},
    {"fd00:42::42", IP_CLASS_METADATA},
    {"fd00:42::43", IP_CLASS_PRIVATE},
    {"fd00:c1::a9fe:a9fe", IP_CLASS_METADATA},
    {"fd00:c1::a9fe:a9ff", IP_CLASS_PRIVATE},
    {"fd00:100::100:200", IP_CLASS_METADATA},
    {"fd00:100::100:201", IP_CLASS_PRIVATE},
    {"fd00:ec2::23", IP_CLASS_METADATA},
    {"fd00:ec2::24", IP_CLASS_PRIVATE},
    {"fd00:ec2::254", IP_CLASS_METADATA},
    {"fd00:ec2::255", IP_CLASS_PRIVATE},
    {"fd00:a9fe:a9fe::1", IP_CLASS_METADATA},
    {"fd00:a9fe:a9fe::2", IP_CLASS_PRIVATE},
    {"fd20:ce::254", IP_CLASS_METADATA},
    {"fd20:ce::255", IP_CLASS_PRIVATE},
    {"fe00::", IP_CLASS_RESERVED},
    {"fe80::", IP_CLASS_LINK_LOCAL},
    {"fe80::a9fe:a9fe", IP_CLASS_METADATA},
    {"fe80::a9fe:a9ff", IP_CLASS_LINK_LOCAL},
    {"fec0::", IP_CLASS_PRIVATE},
    {"ff00::", IP_CLASS_MULTICAST},
};

/* The address before a, or with nothing before it, the last of all. */
static struct ip one_less(struct ip a)
{
    for (size_t i = a.family == IP_V4 ? 4 : 16; i > 0; i--) {
        if (a.bytes[i - 1]-- != 0) {
            break;
        }
    }
    return a;
}

static void walk(const struct run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ip first = must_ip(runs[i].first);
        struct ip next = must_ip(runs[(i + 1) % count].first);
        struct ip last = one_less(next);
        assert_true(ip_compare(&first, &last) <= 0); /* the list itself is in order */
        if (runs[i].class != IP_CLASS_UNKNOWN) {
            assert_class(&first, runs[i].class);
            assert_class(&last, runs[i].class);
        }
    }
}

static void test_classes(void **state)
{
    (void)state;
    walk(v4_space, sizeof v4_space / sizeof v4_space[0]);
    walk(v6_space, sizeof v6_space / sizeof v6_space[0]);
}

static struct ip embed(const char *prefix, const struct ip *v4, const uint8_t at[4])
{
    struct ip a = must_ip(prefix);
    for (size_t i = 0; i < 4; i++) {
        a.bytes[at[i]] = v4->bytes[i];
    }
    return a;
}

static const uint8_t at_96[4] = {12, 13, 14, 15};
static const uint8_t at_48[4] = {6, 7, 9, 10};
static const uint8_t at_56[4] = {7, 9, 10, 11};
static const uint8_t at_64[4] = {9, 10, 11, 12};

/* Every boundary of the IPv4 space once more, through each form that can hold an IPv4 address. */
static void test_nat64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof v4_space / sizeof v4_space[0]; i++) {
        struct ip inner = must_ip(v4_space[i].first);
        for (int step = 0; step < 2; step++) {
            enum ip_class class = ip_classify(&inner);
            struct ip a = embed("64:ff9b::", &inner, at_96);
            assert_class(&a, class);
            a = embed("64:ff9b:1::", &inner, at_96);
            assert_class(&a, inner.bytes[0] == 0 ? IP_CLASS_UNSPECIFIED : class);
            a = embed("2002::", &inner, (const uint8_t[]){2, 3, 4, 5});
            assert_class(&a, IP_CLASS_EMBEDDED);
            a = embed("2001::", &inner, at_96);
            assert_class(&a, IP_CLASS_EMBEDDED);
            a = embed("::ffff:0:0", &inner, at_96);
            assert_class(&a, IP_CLASS_EMBEDDED);
            a = embed("::ffff:0:0:0", &inner, at_96);
            assert_class(&a, IP_CLASS_EMBEDDED);
            inner = one_less(inner);
        }
    }
}

static void test_nat64_local(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ip_class class;
    } rows[] = {
        {"64:ff9b:1::8.8.8.8", IP_CLASS_PUBLIC},
        {"64:ff9b:1::10.0.0.1", IP_CLASS_PRIVATE},
        {"64:ff9b:1::127.0.0.1", IP_CLASS_LOOPBACK},
        {"64:ff9b:1::169.254.169.254", IP_CLASS_METADATA},
        {"64:ff9b:1:808:8:800::", IP_CLASS_PUBLIC},        /* 8.8.8.8 after /48 */
        {"64:ff9b:1:7f00:0:100::", IP_CLASS_LOOPBACK},     /* 127.0.0.1 after /48 */
        {"64:ff9b:1:8:8:808::", IP_CLASS_PUBLIC},          /* 8.8.8.8 after /56 */
        {"64:ff9b:1:7f:0:1::", IP_CLASS_LOOPBACK},         /* 127.0.0.1 after /56 */
        {"64:ff9b:1:0:8:808:800:0", IP_CLASS_PUBLIC},      /* 8.8.8.8 after /64 */
        {"64:ff9b:1::7f:0:100:0", IP_CLASS_LOOPBACK},      /* 127.0.0.1 after /64 */
        {"64:ff9b:1:a00:0:100:808:808", IP_CLASS_PRIVATE}, /* public after /96, 10.0.0.1 after /48 */
        {"64:ff9b:1:7f00:0:100:808:808", IP_CLASS_LOOPBACK},
        {"64:ff9b:1:808:8:800:7f00:1", IP_CLASS_LOOPBACK},    /* the other way round */
        {"64:ff9b:1:7f00:0:100:a9fe:101", IP_CLASS_LOOPBACK}, /* not link-local, though that stands first */
        {"64:ff9b:1:a9fe:a9:fe00:a9fe:101", IP_CLASS_METADATA},
        {"64:ff9b:1:a9fe:1:100:7f00:1", IP_CLASS_LOOPBACK},
        {"64:ff9b:1::a9fe:101", IP_CLASS_LINK_LOCAL},
        {"64:ff9b:1:0:100::808:808", IP_CLASS_EMBEDDED}, /* bits 64..71 are not zero */
        {"64:ff9b:1:0:ff00::a00:1", IP_CLASS_EMBEDDED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip a = must_ip(rows[i].text);
        assert_class(&a, rows[i].class);
    }
}

static void test_nat64_readings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *readings[IP_NAT64_READINGS_MAX];
    } rows[] = {
        {"64:ff9b::10.1.2.3", {"10.1.2.3"}},
        {"64:ff9b::", {"0.0.0.0"}},
        {"64:ff9b:1::10.1.2.3", {"10.1.2.3"}},
        {"64:ff9b:1:a01:2:300::", {"10.1.2.3", "1.2.3.0", "2.3.0.0"}},
        {"64:ff9b:1:a01:2:300:a01:203", {"10.1.2.3", "10.1.2.3", "1.2.3.0", "2.3.0.10"}},
        {"64:ff9b:1::", {NULL}},
        {"64:ff9b:2::10.1.2.3", {NULL}},
        {"::ffff:10.1.2.3", {NULL}},
        {"10.1.2.3", {NULL}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip a = must_ip(rows[i].text);
        struct ip readings[IP_NAT64_READINGS_MAX];
        size_t count = ip_nat64_readings(&a, readings);
        for (size_t k = 0; k < IP_NAT64_READINGS_MAX && rows[i].readings[k] != NULL; k++) {
            struct ip expect = must_ip(rows[i].readings[k]);
            assert_true(k < count && ip_is_equal(&readings[k], &expect));
        }
        assert_true(count == IP_NAT64_READINGS_MAX || rows[i].readings[count] == NULL);
    }
}

/* No choice of the other bytes makes a reading milder than the IPv4 address that stands there. */
static void test_nat64_local_is_never_milder(void **state)
{
    (void)state;
    static const uint8_t *const layouts[] = {at_96, at_48, at_56, at_64};
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        struct ip a = must_ip("64:ff9b:1::");
        for (size_t i = 6; i < 16; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            static const uint8_t often[8] = {0, 10, 127, 169, 254, 192, 168, 8};
            a.bytes[i] = (seed >> 60) < 8 ? often[seed >> 60] : (uint8_t)(seed >> 40);
        }
        a.bytes[8] = 0;
        enum ip_group group = ip_class_group(ip_classify(&a));
        for (size_t k = 0; k < 4; k++) {
            const uint8_t *at = layouts[k];
            struct ip inner = ip_v4(a.bytes[at[0]], a.bytes[at[1]], a.bytes[at[2]], a.bytes[at[3]]);
            assert_true(inner.bytes[0] == 0 || group <= ip_class_group(ip_classify(&inner)));
        }
    }
}

static void test_isatap(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ip_class class;
    } rows[] = {
        {"2606:4700::5efe:8.8.8.8", IP_CLASS_EMBEDDED},   {"2606:4700::200:5efe:8.8.8.8", IP_CLASS_EMBEDDED},
        {"2001:db8::5efe:10.0.0.1", IP_CLASS_EMBEDDED},   {"fd12:3456::5efe:10.0.0.1", IP_CLASS_EMBEDDED},
        {"fe80::5efe:10.0.0.1", IP_CLASS_EMBEDDED},       {"fec0::200:5efe:10.0.0.1", IP_CLASS_EMBEDDED},
        {"ff02::5efe:10.0.0.1", IP_CLASS_MULTICAST},      /* forbidden as what it is */
        {"2606:4700::100:5efe:8.8.8.8", IP_CLASS_PUBLIC}, /* the group bit: another identifier */
        {"2606:4700::1:5efe:8.8.8.8", IP_CLASS_PUBLIC},   {"2606:4700::5eff:8.8.8.8", IP_CLASS_PUBLIC},
        {"2606:4700::5ffe:8.8.8.8", IP_CLASS_PUBLIC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip a = must_ip(rows[i].text);
        assert_class(&a, rows[i].class);
    }
}

static void test_groups_and_names(void **state)
{
    (void)state;
    static const struct {
        enum ip_class class;
        enum ip_group group;
        const char *name;
    } rows[] = {
        {IP_CLASS_UNKNOWN, IP_GROUP_NEVER, "unknown"},
        {IP_CLASS_UNSPECIFIED, IP_GROUP_NEVER, "unspecified"},
        {IP_CLASS_THIS_NETWORK, IP_GROUP_NEVER, "this_network"},
        {IP_CLASS_LOOPBACK, IP_GROUP_NEVER, "loopback"},
        {IP_CLASS_LINK_LOCAL, IP_GROUP_NEVER, "link_local"},
        {IP_CLASS_METADATA, IP_GROUP_NEVER, "metadata"},
        {IP_CLASS_MULTICAST, IP_GROUP_NEVER, "multicast"},
        {IP_CLASS_RESERVED, IP_GROUP_NEVER, "reserved"},
        {IP_CLASS_EMBEDDED, IP_GROUP_NEVER, "embedded"},
        {IP_CLASS_PRIVATE, IP_GROUP_PRIVATE, "private"},
        {IP_CLASS_SHARED, IP_GROUP_PRIVATE, "shared"},
        {IP_CLASS_BENCHMARK, IP_GROUP_PRIVATE, "benchmark"},
        {IP_CLASS_DOCUMENTATION, IP_GROUP_PRIVATE, "documentation"},
        {IP_CLASS_SPECIAL, IP_GROUP_PRIVATE, "special"},
        {IP_CLASS_PUBLIC, IP_GROUP_PUBLIC, "public"},
    };
    assert_int_equal(sizeof rows / sizeof rows[0], IP_CLASS_PUBLIC + 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(rows[i].class, i);
        assert_int_equal(ip_class_group(rows[i].class), rows[i].group);
        assert_string_equal(ip_class_name(rows[i].class), rows[i].name);
    }
    assert_int_equal(IP_GROUP_NEVER, 0); /* zero is deny */
}

/* A prefix is as bad as the worst address inside that is never dialled. */
static void test_prefix_never_class(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ip_class expect;
    } rows[] = {
        {"10.0.0.0/8", IP_CLASS_UNKNOWN},
        {"192.168.0.0/16", IP_CLASS_UNKNOWN},
        {"8.8.8.8", IP_CLASS_UNKNOWN},
        {"100.96.0.0/11", IP_CLASS_METADATA},
        {"100.64.0.0/11", IP_CLASS_UNKNOWN},
        {"168.0.0.0/8", IP_CLASS_METADATA},
        {"169.0.0.0/8", IP_CLASS_METADATA},
        {"169.254.8.0/24", IP_CLASS_LINK_LOCAL},
        {"169.254.169.254", IP_CLASS_METADATA},
        {"126.0.0.0/7", IP_CLASS_LOOPBACK},
        {"0.0.0.0/0", IP_CLASS_UNSPECIFIED},
        {"0.1.0.0/16", IP_CLASS_THIS_NETWORK},
        {"128.0.0.0/1", IP_CLASS_METADATA},
        {"192.0.0.0/24", IP_CLASS_METADATA},
        {"192.0.0.0/28", IP_CLASS_UNKNOWN},
        {"192.0.0.0/2", IP_CLASS_METADATA},
        {"208.0.0.0/4", IP_CLASS_UNKNOWN},
        {"224.0.0.0/4", IP_CLASS_MULTICAST},
        {"255.255.255.255", IP_CLASS_RESERVED},
        {"::/0", IP_CLASS_UNSPECIFIED},
        {"fc00::/7", IP_CLASS_METADATA},
        {"fd12::/16", IP_CLASS_UNKNOWN},
        {"fe80::/64", IP_CLASS_LINK_LOCAL},
        {"fe00::/8", IP_CLASS_RESERVED},
        {"2000::/3", IP_CLASS_EMBEDDED},
        {"2606:4700::/32", IP_CLASS_UNKNOWN},
        {"2002::/16", IP_CLASS_EMBEDDED},
        {"4000::/2", IP_CLASS_RESERVED},
        {"64:ff9b::/96", IP_CLASS_UNSPECIFIED},
        {"64:ff9b::a00:0/104", IP_CLASS_UNKNOWN},
        {"64:ff9b::a000:0/100", IP_CLASS_METADATA},
        {"64:ff9b::7f00:1", IP_CLASS_LOOPBACK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_prefix p = must_prefix(rows[i].text);
        enum ip_class class = ip_prefix_never_class(&p, NULL);
        if (class != rows[i].expect) {
            fail_msg("%s: %s, not %s", rows[i].text, ip_class_name(class), ip_class_name(rows[i].expect));
        }
        assert_int_equal(ip_class_group(class), IP_GROUP_NEVER);
    }
}

static void test_prefix_never_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *which;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1/32"},
        {"169.254.0.0/16", "169.254.0.0/16"},
        {"0.0.0.0/0", "0.0.0.0/32"},
        {"96.0.0.0/4", "100.100.100.200/32"},
        {"fc00::/7", "fd00:ec2::254/128"},
        {"2000::/3", "2001::/32"},
        {"::/0", "::/128"},
        {"64:ff9b::a000:0/100", "64:ff9b::a9fe:a9fe/128"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_prefix p = must_prefix(rows[i].text);
        struct ip_prefix which;
        char address[IP_TEXT_CAP];
        char text[IP_TEXT_CAP + 8];
        assert_int_equal(ip_class_group(ip_prefix_never_class(&p, &which)), IP_GROUP_NEVER);
        (void)snprintf(text, sizeof text, "%s/%u", ip_text(&which.base, address), (unsigned)which.bits);
        assert_string_equal(text, rows[i].which);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_nat64),
        cmocka_unit_test(test_nat64_local),
        cmocka_unit_test(test_nat64_readings),
        cmocka_unit_test(test_nat64_local_is_never_milder),
        cmocka_unit_test(test_isatap),
        cmocka_unit_test(test_groups_and_names),
        cmocka_unit_test(test_prefix_never_class),
        cmocka_unit_test(test_prefix_never_place),
    };
    return cmocka_run_group_tests_name("ip_class", tests, NULL, NULL);
}
