/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/map_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

char map_dir[64], map_path[96];

int map_set_up(void **state)
{
    (void)state;
    snprintf(map_dir, sizeof(map_dir), "/tmp/test_synth_map.XXXXXX");
    if (mkdtemp(map_dir) == NULL) {
        return -1;
    }
    snprintf(map_path, sizeof(map_path), "%s/egress.map", map_dir);
    return 0;
}

int map_tear_down(void **state)
{
    (void)state;
    char name[128];
    (void)unlink(map_path);
    static const char *const others[] = {"new", "use"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "%s.%s", map_path, others[i]);
        (void)unlink(name);
    }
    return rmdir(map_dir);
}

struct synth_map_config map_config(const char *v4, const char *v6)
{
    struct synth_map_config cfg = {.path = map_path, .grace_s = MAP_GRACE_S};
    const char *items[3] = {v4, v6, NULL};
    struct str_list list = {.items = items, .count = v6 != NULL ? 2 : 1};
    assert_int_equal(guard_parse_pools(&list, &cfg.pools, NULL), 0);
    return cfg;
}

struct synth_map *map_writer(const char *v4, const char *v6)
{
    struct synth_map_config cfg = map_config(v4, v6);
    struct synth_map *m = NULL;
    struct err err = {""};
    if (synth_map_open_writer(&cfg, MAP_NOW_S, &m, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return m;
}

struct synth_map *map_reader(void)
{
    struct synth_map *m = NULL;
    struct err err = {""};
    if (synth_map_open_reader(map_path, &m, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return m;
}

struct host_name map_name(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

struct host_name map_numbered(unsigned i)
{
    char text[32];
    snprintf(text, sizeof(text), "n%u.example.org", i);
    return map_name(text);
}

int map_ask(struct synth_map *m, const struct host_name *n, uint32_t ttl_s, int64_t now_s, struct ip *v4,
            struct ip *v6)
{
    return synth_map_assign(m, &(struct synth_request){.name = n, .ttl_s = ttl_s, .now_boot_s = now_s}, v4,
                            v6);
}

struct ip map_give(struct synth_map *m, const struct host_name *n, int64_t now_s)
{
    struct ip v4, v6;
    assert_int_equal(map_ask(m, n, MAP_TTL_S, now_s, &v4, &v6), 0);
    return v4;
}

int map_ask_wild(struct synth_map *m, const struct host_name *n, const char *pattern, int64_t now_s,
                 struct ip *v4)
{
    struct ip v6;
    struct host_name wildcard = {.len = (uint8_t)strlen(pattern)};
    memcpy(wildcard.text, pattern, strlen(pattern));
    const struct synth_request r = {
        .name = n, .wildcard = &wildcard, .ttl_s = MAP_TTL_S, .now_boot_s = now_s};
    return synth_map_assign(m, &r, v4, &v6);
}

enum synth_found map_look(struct synth_map *m, struct ip ip, int64_t now_s, struct host_name *out)
{
    return synth_map_lookup(m, &ip, now_s, out);
}

void map_writer_refused(int errnum, const char *text)
{
    struct synth_map_config cfg = map_config("198.18.0.0/29", NULL);
    struct synth_map *m = NULL;
    struct err err = {""};
    assert_int_equal(synth_map_open_writer(&cfg, MAP_NOW_S, &m, &err), -errnum);
    assert_null(m);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    }
}
