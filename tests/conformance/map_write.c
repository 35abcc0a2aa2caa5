/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hands out synthetic addresses as dnsd does, for tests of what reads the map:
 * map_write MAP TTL POOL[,POOL] NAME... prints "NAME IPV4 IPV6" for each.
 */
#include "common/base/clock.h"
#include "common/base/num.h"
#include "common/run/synth_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_names(struct synth_map *map, uint32_t ttl_s, char **names)
{
    for (; *names != NULL; names++) {
        struct host_name name;
        struct ip v4;
        struct ip v6;
        char text4[IP_TEXT_CAP];
        char text6[IP_TEXT_CAP];
        if (host_name_parse(span_str(*names), &name) != HOST_FAULT_NONE ||
            synth_map_assign(
                map, &(struct synth_request){.name = &name, .ttl_s = ttl_s, .now_boot_s = clock_boot_s()},
                &v4, &v6) != 0) {
            fprintf(stderr, "map_write: %s: no address\n", *names);
            return 1;
        }
        printf("%s %s %s\n", *names, ip_text(&v4, text4), ip_text(&v6, text6));
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct err err = {""};
    uint64_t ttl = 0;
    if (argc < 5 || num_u64(span_str(argv[2]), 0, 86400, &ttl) != 0) {
        fprintf(stderr, "usage: map_write MAP TTL POOL[,POOL] NAME...\n");
        return 64;
    }
    char *comma = strchr(argv[3], ',');
    const char *pools[] = {argv[3], NULL, NULL};
    if (comma != NULL) {
        *comma = '\0';
        pools[1] = comma + 1;
    }
    struct str_list list = {.items = pools, .count = comma != NULL ? 2 : 1};
    struct synth_map_config cfg = {.path = argv[1], .grace_s = 0};
    struct synth_map *map = NULL;
    if (guard_parse_pools(&list, &cfg.pools, &err) != 0 ||
        synth_map_open_writer(&cfg, clock_boot_s(), &map, &err) != 0) {
        fprintf(stderr, "map_write: %s\n", err.text);
        return 71;
    }
    int status = write_names(map, (uint32_t)ttl, argv + 4);
    synth_map_close(map);
    return status;
}
