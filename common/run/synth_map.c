/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_map.h"

#include "common/run/synth_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_ATTEMPTS 8

struct synth_map *synth_map_new(const char *path)
{
    struct synth_map *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    m->fd = -1;
    m->use = SYNTH_USE_NONE;
    m->complained_s = INT64_MIN;
    m->checked_s = INT64_MIN;
    m->path = strdup(path);
    if (m->path == NULL || pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m->path);
        free(m);
        return NULL;
    }
    return m;
}

void synth_map_close(struct synth_map *m)
{
    if (m == NULL) {
        return;
    }
    synth_reader_detach(m); /* a writer's locks go with its descriptor */
    synth_slots_forget(m);
    free(m->slots);
    htab_fini(&m->names);
    htab_fini(&m->wildcards);
    (void)pthread_mutex_destroy(&m->lock);
    free(m->path);
    free(m);
}

/* One that stays bad was never handed out. */
enum synth_record_state synth_map_read(const struct synth_map *m, uint32_t slot, struct synth_record *out)
{
    enum synth_record_state found = SYNTH_RECORD_DAMAGED;
    for (int i = 0; i < READ_ATTEMPTS && found == SYNTH_RECORD_DAMAGED; i++) {
        uint8_t bytes[SYNTH_RECORD_BYTES];
        if (synth_file_read(m->fd, bytes, sizeof(bytes), synth_record_at(slot)) < 0) {
            break;
        }
        found = synth_record_decode(&m->header, slot, bytes, out);
    }
    return found;
}

uint32_t synth_map_hold(const struct synth_map *m, uint32_t slot, uint32_t until_s, uint32_t grace_s,
                        int64_t now_s)
{
    if (synth_is_held(until_s, now_s)) {
        return until_s;
    }
    const uint32_t used_s = synth_use_read(&m->use, slot, now_s);
    const uint32_t by_use_s = used_s == 0 ? 0 : synth_add_s(used_s, (uint64_t)grace_s + SYNTH_USE_EVERY_S);
    return by_use_s > until_s ? by_use_s : until_s;
}

/* The writer asks the file, too: what it does not say no reader believes. */
static enum synth_found writer_lookup(const struct synth_map *m, const struct ip *ip, int64_t now_s,
                                      struct host_name *out)
{
    struct synth_record r;
    uint32_t slot = 0;
    if (!synth_slot_of(&m->header, ip, &slot) || synth_map_read(m, slot, &r) != SYNTH_RECORD_GOOD) {
        return SYNTH_NEVER;
    }
    *out = r.name;
    const uint32_t until_s = synth_map_hold(m, slot, r.until_s, m->grace_s, now_s);
    return synth_is_held(until_s, now_s) ? SYNTH_FOUND : SYNTH_EXPIRED;
}

enum synth_found synth_map_lookup(struct synth_map *m, const struct ip *ip, int64_t now_boot_s,
                                  struct host_name *out)
{
    *out = (struct host_name){0};
    (void)pthread_mutex_lock(&m->lock);
    enum synth_found found =
        m->is_writer ? writer_lookup(m, ip, now_boot_s, out) : synth_reader_lookup(m, ip, now_boot_s, out);
    (void)pthread_mutex_unlock(&m->lock);
    return found;
}
