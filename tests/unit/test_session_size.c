/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an idle tunnel holds of the process's memory: at most 1 KiB, its share of the loop's tables included.
 * The benchmark (make bench-tunnel) measures the same as resident memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/session_priv.h"

#define IDLE_TUNNEL_BYTES 1024U
#define MALLOC_BYTES 24U /* of an allocation: its size, and what it is rounded up by */
#define LOOP_BYTES 32U   /* libev's table of descriptors, which grows by doubling: two at twice its 8 bytes */

static void test_idle_tunnel(void **state)
{
    (void)state;
    const size_t heap_slot = 2 * sizeof(void *);
    const size_t longest_name = HOST_NAME_MAX_LEN + 1;
    const size_t usual_name = 32;
    const size_t fixed = sizeof(struct session) + 2 * MALLOC_BYTES + 2 * LOOP_BYTES + heap_slot;
    print_message("session %zu, relay %zu, in all %zu bytes\n", sizeof(struct session), sizeof(struct relay),
                  fixed + usual_name);
    assert_true(fixed + usual_name <= IDLE_TUNNEL_BYTES);
    assert_true(fixed + longest_name <= IDLE_TUNNEL_BYTES + 256);
    assert_true(sizeof(struct relay) <= 384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_tunnel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
