/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/synth_alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    char path[96];
    struct synth_map *map;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/synth-alloc.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/map", f->dir);
    struct synth_map_config cfg = {.path = f->path, .grace_s = 60};
    cfg.pools.has_v4 = true;
    struct err err = {0};
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/29"), &cfg.pools.v4), 0); /* six addresses */
    if (synth_map_open_writer(&cfg, 1000, &f->map, &err) != 0) {
        fail_msg("%s", err.text);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    synth_map_close(f->map);
    char use[sizeof(f->path) + 4];
    (void)snprintf(use, sizeof(use), "%s.use", f->path);
    (void)unlink(use);
    (void)unlink(f->path);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void assign(struct fixture *f, const char *name, uint16_t qtype, struct answer *out)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    const struct answer_question q = {.name = &n, .qtype = qtype};
    *out = (struct answer){.wants_synthetic = true, .ttl_s = 30, .ede = DNS_EDE_FORGED};
    synth_alloc_answer(f->map, &q, 1000, out);
}

static void gives_a_name_one_address_and_finds_it_again(void **state)
{
    struct fixture *f = *state;
    struct answer first;
    struct answer again;
    struct host_name found;
    assign(f, "gateway.discord.gg", DNS_A, &first);
    assert_int_equal(first.rcode, DNS_NOERROR);
    assert_int_equal(first.addr_count, 1);
    assert_int_equal(first.ede, DNS_EDE_FORGED);
    assert_false(first.wants_synthetic);
    assign(f, "gateway.discord.gg", DNS_A, &again);
    assert_true(ip_is_equal(&first.addrs[0], &again.addrs[0]));
    assert_ptr_equal(synth_alloc_name(f->map, &first.addrs[0], 1000, &found), &found);
    assert_string_equal(found.text, "gateway.discord.gg");
    const struct ip other = ip_v4(198, 18, 0, 6);
    assert_null(synth_alloc_name(f->map, &other, 1000, &found));
    assert_null(synth_alloc_name(f->map, &first.addrs[0], 1000 + 30 + 60 + 1, &found)); /* no longer held */
    assert_null(synth_alloc_name(NULL, &first.addrs[0], 1000, &found));
}

static void a_used_up_pool_is_a_failure_not_a_denial(void **state)
{
    struct fixture *f = *state;
    struct answer a = {0};
    for (int i = 0; i < 7; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "n%d.example.com", i);
        assign(f, name, DNS_A, &a);
    }
    assert_int_equal(a.rcode, DNS_SERVFAIL);
    assert_int_equal(a.addr_count, 0);
    assert_non_null(strstr(a.ede_text, "--pool"));
    assign(f, "n0.example.com", DNS_AAAA, &a); /* no pool of that family */
    assert_int_equal(a.rcode, DNS_SERVFAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_a_name_one_address_and_finds_it_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_used_up_pool_is_a_failure_not_a_denial, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
