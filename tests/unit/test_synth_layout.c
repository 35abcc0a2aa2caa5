/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct ip_prefix prefix_of(const char *text)
{
    struct ip_prefix p;
    assert_int_equal(ip_prefix_parse(span_str(text), &p), 0);
    return p;
}

static struct synth_header header_of(const char *v4, const char *v6)
{
    struct synth_header h = {.key = {1, 2}, .boot_id = {9, 8, 7}};
    if (v4 != NULL) {
        h.pools.has_v4 = true;
        h.pools.v4 = prefix_of(v4);
    }
    if (v6 != NULL) {
        h.pools.has_v6 = true;
        h.pools.v6 = prefix_of(v6);
    }
    h.capacity = synth_capacity(&h.pools);
    return h;
}

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static void test_capacity(void **state)
{
    (void)state;
    assert_int_equal(header_of("198.18.0.0/15", NULL).capacity, 65536);
    assert_int_equal(header_of("198.18.0.0/16", NULL).capacity, 65534);
    assert_int_equal(header_of("198.18.0.0/29", "fd00::/64").capacity, 6);
    assert_int_equal(header_of("198.18.0.0/15", "fd00::/126").capacity, 2);
    assert_int_equal(header_of(NULL, "fd00::/64").capacity, 65536);
    assert_int_equal(header_of("198.18.0.0/30", NULL).capacity, 2);
    assert_int_equal(header_of("198.18.0.0/31", NULL).capacity, 0);
    assert_int_equal(header_of(NULL, NULL).capacity, 0);
}

static void check_addresses(const char *v4, const char *v6, enum ip_family family)
{
    struct synth_header h = header_of(v4, v6);
    const struct ip_prefix *pool = family == IP_V4 ? &h.pools.v4 : &h.pools.v6;
    for (uint32_t slot = 0; slot < h.capacity; slot++) {
        uint32_t back = UINT32_MAX;
        struct ip ip = synth_address(&h.pools, family, slot);
        assert_true(ip_prefix_contains(pool, &ip));
        assert_true(synth_slot_of(&h, &ip, &back));
        assert_int_equal(back, slot);
    }
}

static void test_addresses_and_slots(void **state)
{
    (void)state;
    check_addresses("198.18.0.0/15", "fd00:5e11::/64", IP_V4);
    check_addresses("198.18.0.0/15", "fd00:5e11::/64", IP_V6);
    check_addresses("10.9.8.248/29", NULL, IP_V4);
    struct synth_header h = header_of("198.18.0.8/29", "fd00:5e11::/64");
    static const char *const outside[] = {
        "198.18.0.7",   "198.18.0.8",       "198.18.0.15",      "198.18.0.16",       "0.0.0.0", "fd00:5e11::",
        "fd00:5e11::7", "fd00:5e11::1:0:1", "fd00:5e11:0:1::1", "::ffff:198.18.0.9", "::1"};
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        struct ip ip;
        uint32_t slot = 0;
        assert_int_equal(ip_parse(span_str(outside[i]), &ip), 0);
        assert_false(synth_slot_of(&h, &ip, &slot));
    }
    struct ip none = {.family = IP_NONE};
    uint32_t slot = 0;
    assert_false(synth_slot_of(&h, &none, &slot));
    h = header_of("198.18.0.8/29", NULL);
    assert_int_equal(synth_address(&h.pools, IP_V6, 0).family, IP_NONE);
}

static void test_header_round_trip(void **state)
{
    (void)state;
    static const char *const pools[][2] = {
        {"198.18.0.0/15", "fd00:5e11::/64"}, {"127.64.0.0/10", NULL}, {NULL, "fd00::/126"}};
    for (size_t i = 0; i < 3; i++) {
        struct synth_header h = header_of(pools[i][0], pools[i][1]), back;
        uint8_t bytes[SYNTH_HEADER_BYTES], again[SYNTH_HEADER_BYTES];
        synth_header_encode(&h, bytes);
        assert_int_equal(synth_header_decode(bytes, &back), SYNTH_HEADER_GOOD);
        assert_int_equal(back.capacity, h.capacity);
        assert_int_equal(back.pools.has_v4, h.pools.has_v4);
        assert_int_equal(back.pools.has_v6, h.pools.has_v6);
        synth_header_encode(&back, again);
        assert_memory_equal(bytes, again, sizeof(bytes));
    }
}

/* Whatever byte changes, the header is refused, and as the right thing. */
static void test_header_damage(void **state)
{
    (void)state;
    struct synth_header h = header_of("198.18.0.0/15", "fd00:5e11::/64"), back;
    uint8_t bytes[SYNTH_HEADER_BYTES];
    synth_header_encode(&h, bytes);
    for (size_t i = 0; i < SYNTH_FIXED_BYTES; i += i < 128 ? 1 : 61) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] = (uint8_t)(bytes[i] ^ 1u << bit);
            enum synth_header_fault expected = i < 8    ? SYNTH_HEADER_FOREIGN
                                               : i < 12 ? SYNTH_HEADER_VERSION
                                                        : SYNTH_HEADER_DAMAGED;
            assert_int_equal(synth_header_decode(bytes, &back), expected);
            bytes[i] = (uint8_t)(bytes[i] ^ 1u << bit);
        }
    }
    memset(bytes + SYNTH_FIXED_BYTES, 0xa5,
           sizeof(bytes) - SYNTH_FIXED_BYTES); /* what changes is not looked at */
    assert_int_equal(synth_header_decode(bytes, &back), SYNTH_HEADER_GOOD);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(synth_header_decode(bytes, &back), SYNTH_HEADER_FOREIGN);
}

static void test_record_round_trip(void **state)
{
    (void)state;
    struct synth_header h = header_of("198.18.0.0/15", NULL);
    char longest[254];
    memset(longest, 'a', sizeof(longest));
    longest[63] = longest[127] = longest[191] = '.';
    longest[253] = '\0';
    const char *const names[] = {"a", "gateway.discord.gg", "_srv._tcp.example.org", longest};
    for (size_t i = 0; i < 4; i++) {
        struct synth_record r = {.sequence = 2 + 2 * i,
                                 .until_s = UINT32_MAX - (uint32_t)i,
                                 .wildcard = i * 77,
                                 .name = name_of(names[i])};
        struct synth_record back;
        uint8_t bytes[SYNTH_RECORD_BYTES];
        synth_record_encode(&h, 7, &r, bytes);
        assert_int_equal(synth_record_decode(&h, 7, bytes, &back), SYNTH_RECORD_GOOD);
        assert_true(host_name_is_equal(&back.name, &r.name));
        assert_int_equal(back.until_s, r.until_s);
        assert_int_equal(back.sequence, r.sequence);
        assert_int_equal(back.wildcard, r.wildcard);
        /* another slot's or another file's record is nobody's */
        assert_int_equal(synth_record_decode(&h, 8, bytes, &back), SYNTH_RECORD_DAMAGED);
        h.key.k1++;
        assert_int_equal(synth_record_decode(&h, 7, bytes, &back), SYNTH_RECORD_DAMAGED);
        h.key.k1--;
    }
}

static void test_record_damage(void **state)
{
    (void)state;
    struct synth_header h = header_of("198.18.0.0/15", NULL);
    struct synth_record r = {.sequence = 4, .until_s = 1000, .name = name_of("gateway.discord.gg")}, back;
    uint8_t bytes[SYNTH_RECORD_BYTES];
    synth_record_encode(&h, 3, &r, bytes);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] = (uint8_t)(bytes[i] ^ 1u << bit);
            enum synth_record_state found = synth_record_decode(&h, 3, bytes, &back);
            assert_int_equal(found, i == 7 && bit == 0 ? SYNTH_RECORD_TORN : SYNTH_RECORD_DAMAGED);
            assert_int_equal(back.name.len, 0);
            bytes[i] = (uint8_t)(bytes[i] ^ 1u << bit);
        }
    }
    /* the mixtures that a writer which died between its writes can leave behind */
    struct synth_record next = {.sequence = 6, .until_s = 2000, .name = name_of("api.slack.com")};
    uint8_t other[SYNTH_RECORD_BYTES], mixed[SYNTH_RECORD_BYTES];
    synth_record_encode(&h, 3, &next, other);
    for (size_t cut = 1; cut < sizeof(bytes); cut++) {
        memcpy(mixed, other, cut);
        memcpy(mixed + cut, bytes + cut, sizeof(bytes) - cut);
        enum synth_record_state found = synth_record_decode(&h, 3, mixed, &back);
        bool whole_old = memcmp(mixed, bytes, sizeof(bytes)) == 0,
             whole_new = memcmp(mixed, other, sizeof(other)) == 0;
        assert_true(found == (whole_old || whole_new ? SYNTH_RECORD_GOOD : SYNTH_RECORD_DAMAGED));
    }
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(synth_record_decode(&h, 3, bytes, &back), SYNTH_RECORD_FREE);
}

/* A name that is not canonical is refused although its checksum is right. */
static void test_record_canonical(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Gateway.discord.gg", "gateway.discord.gg.", "a..b", "1.2.3.4", "a b", ""};
    struct synth_header h = header_of("198.18.0.0/15", NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct synth_record r = {.sequence = 2, .until_s = 1}, back;
        uint8_t bytes[SYNTH_RECORD_BYTES];
        r.name.len = (uint8_t)strlen(bad[i]);
        memcpy(r.name.text, bad[i], strlen(bad[i]));
        synth_record_encode(&h, 3, &r, bytes);
        assert_int_equal(synth_record_decode(&h, 3, bytes, &back), SYNTH_RECORD_DAMAGED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capacity),          cmocka_unit_test(test_addresses_and_slots),
        cmocka_unit_test(test_header_round_trip), cmocka_unit_test(test_header_damage),
        cmocka_unit_test(test_record_round_trip), cmocka_unit_test(test_record_damage),
        cmocka_unit_test(test_record_canonical),
    };
    return cmocka_run_group_tests_name("synth_layout", tests, NULL, NULL);
}
