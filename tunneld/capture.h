/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a captured connection wanted to go: the local address of the accepted socket is the synthetic address
 * that the program dialled (AnyIP, no NAT), and the map says which name it was handed out for. An address
 * that was never handed out, the listener's own among them, names nothing.
 */
#pragma once

#include "common/net/addr.h"
#include "common/run/synth_map.h"

/* *dialled is what the program dialled; *host is set unless the result is SYNTH_NEVER. */
enum synth_found capture_identify(int fd, struct synth_map *map, int64_t now_boot_s, struct addr *dialled,
                                  struct host *host);
