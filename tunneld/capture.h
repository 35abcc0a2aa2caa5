/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a captured connection wanted to go: the synthetic address that the program dialled, and what name the
 * map says it was handed out for. AnyIP and TPROXY leave that address as the local one of the accepted
 * socket; nft's redirect replaces it by the listener's own, and conntrack remembers it. An address that was
 * never handed out, the listener's own among them, names nothing.
 */
#pragma once

#include "common/net/addr.h"
#include "common/run/synth_map.h"

/* *dialled is what the program dialled; *host is set unless the result is SYNTH_NEVER. */
enum synth_found capture_identify(int fd, struct synth_map *map, int64_t now_boot_s, struct addr *dialled,
                                  struct host *host);
/* Tells the map that the captured connection exists now (synth_map_use). */
void capture_use(int fd, struct synth_map *map, int64_t now_boot_s);
