/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/capture.h"

#include "common/net/sock.h"

enum synth_found capture_identify(int fd, struct synth_map *map, int64_t now_boot_s, struct addr *dialled,
                                  struct host *host)
{
    struct addr before = {0};
    *dialled = (struct addr){0};
    *host = (struct host){0};
    if (sock_local_addr(fd, dialled) != 0 || dialled->port == 0) {
        return SYNTH_NEVER;
    }
    enum synth_found found = synth_map_lookup(map, &dialled->ip, now_boot_s, &host->name);
    if (found == SYNTH_NEVER && sock_original_dst(fd, dialled->ip.family, &before) == 0 && before.port != 0 &&
        !addr_is_equal(&before, dialled)) {
        *dialled = before;
        found = synth_map_lookup(map, &dialled->ip, now_boot_s, &host->name);
    }
    if (found != SYNTH_NEVER) { /* an expired one is worth a name in the log */
        host->kind = HOST_DNS;
    }
    return found;
}

void capture_use(int fd, struct synth_map *map, int64_t now_boot_s)
{
    struct addr dialled;
    struct host host;
    if (capture_identify(fd, map, now_boot_s, &dialled, &host) != SYNTH_NEVER) {
        synth_map_use(map, &dialled.ip, now_boot_s);
    }
}
