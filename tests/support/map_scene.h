/* SPDX-License-Identifier: Apache-2.0 */
/* A map of synthetic addresses in a directory of the case's own, its writer and its readers. For tests only.
 */
#pragma once

#include "common/run/synth_map.h"

#define MAP_GRACE_S 100
#define MAP_TTL_S 30
#define MAP_NOW_S 5000 /* when the writers below open */

extern char map_dir[64], map_path[96];

/* Of each case. */
int map_set_up(void **state);
int map_tear_down(void **state);

/* v6 may be NULL. */
struct synth_map_config map_config(const char *v4, const char *v6);
struct synth_map *map_writer(const char *v4, const char *v6);
struct synth_map *map_reader(void);
/* Opens for writing and expects a refusal that says text. */
void map_writer_refused(int errnum, const char *text);

struct host_name map_name(const char *text);
/* The i-th of as many names as wanted. */
struct host_name map_numbered(unsigned i);
/* What synth_map_assign says to a name that is admitted exactly, and through a pattern. */
int map_ask(struct synth_map *m, const struct host_name *n, uint32_t ttl_s, int64_t now_s, struct ip *v4,
            struct ip *v6);
int map_ask_wild(struct synth_map *m, const struct host_name *n, const char *pattern, int64_t now_s,
                 struct ip *v4);
/* The IPv4 address of n, answered at now_s. */
struct ip map_give(struct synth_map *m, const struct host_name *n, int64_t now_s);
enum synth_found map_look(struct synth_map *m, struct ip ip, int64_t now_s, struct host_name *out);
