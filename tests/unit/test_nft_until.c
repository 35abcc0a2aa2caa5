/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/nft_until.h"

static struct ip nth(size_t i)
{
    return ip_v4(45, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);
}

static void a_shorter_promise_takes_nothing_away(void **state)
{
    (void)state;
    struct nft_until *u = NULL;
    assert_int_equal(nft_until_new(&u), 0);
    const struct ip a = nth(1);
    assert_int_equal(nft_until_left_ms(u, &a, 443, 0), 0);
    nft_until_note(u, &a, 443, 300000);
    nft_until_note(u, &a, 443, 2000);
    assert_int_equal(nft_until_left_ms(u, &a, 443, 1000), 299000);
    nft_until_note(u, &a, 443, 400000);
    assert_int_equal(nft_until_left_ms(u, &a, 443, 1000), 399000);
    assert_int_equal(nft_until_left_ms(u, &a, 443, 399999), 1);
    assert_int_equal(nft_until_left_ms(u, &a, 443, 400000), 0);
    assert_int_equal(nft_until_left_ms(u, &a, 443, 900000), 0);
    nft_until_note(u, &a, 443, 900001); /* over, and promised again */
    assert_int_equal(nft_until_left_ms(u, &a, 443, 900000), 1);
    assert_int_equal(nft_until_count(u), 1);
    nft_until_free(u);
}

static void each_address_and_port_counts_by_itself(void **state)
{
    (void)state;
    struct nft_until *u = NULL;
    assert_int_equal(nft_until_new(&u), 0);
    const struct ip four = ip_v4(0x20, 1, 0xd, 0xb8);
    const struct ip six = {.family = IP_V6, .bytes = {0x20, 1, 0xd, 0xb8}}; /* the same bytes */
    const struct ip other = ip_v4(0x20, 1, 0xd, 0xb9);
    nft_until_note(u, &four, 0x0102, 100);
    assert_int_equal(nft_until_left_ms(u, &four, 0x0102, 0), 100);
    assert_int_equal(nft_until_left_ms(u, &four, 0x0201, 0), 0);
    assert_int_equal(nft_until_left_ms(u, &four, 0x0103, 0), 0);
    assert_int_equal(nft_until_left_ms(u, &other, 0x0102, 0), 0);
    assert_int_equal(nft_until_left_ms(u, &six, 0x0102, 0), 0);
    nft_until_note(u, &six, 0x0102, 200);
    assert_int_equal(nft_until_left_ms(u, &four, 0x0102, 0), 100);
    assert_int_equal(nft_until_left_ms(u, &six, 0x0102, 0), 200);
    nft_until_free(u);
}

static void is_bounded_and_drops_the_one_promised_longest_ago(void **state)
{
    (void)state;
    struct nft_until *u = NULL;
    assert_int_equal(nft_until_new(&u), 0);
    for (size_t i = 0; i < NFT_UNTIL_MAX; i++) {
        const struct ip a = nth(i);
        nft_until_note(u, &a, 443, 1000 + (int64_t)i);
    }
    const struct ip first = nth(0);
    nft_until_note(u, &first, 443, 5); /* promised again: the second is the oldest now */
    for (size_t i = NFT_UNTIL_MAX; i < (size_t)2 * NFT_UNTIL_MAX - 1; i++) {
        const struct ip a = nth(i);
        const struct ip gone = nth(i - NFT_UNTIL_MAX + 1);
        assert_int_equal(nft_until_left_ms(u, &gone, 443, 0), 1000 + i - NFT_UNTIL_MAX + 1);
        nft_until_note(u, &a, 443, 7);
        assert_int_equal(nft_until_left_ms(u, &gone, 443, 0), 0);
        assert_int_equal(nft_until_left_ms(u, &a, 443, 0), 7);
        assert_int_equal(nft_until_count(u), NFT_UNTIL_MAX);
    }
    assert_int_equal(nft_until_left_ms(u, &first, 443, 0), 1000);
    nft_until_free(u);
    nft_until_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shorter_promise_takes_nothing_away),
        cmocka_unit_test(each_address_and_port_counts_by_itself),
        cmocka_unit_test(is_bounded_and_drops_the_one_promised_longest_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
