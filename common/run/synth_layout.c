/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_layout.h"

#include "common/base/buf.h"

#define MAGIC "OSEGMAP\n"
#define NAME_BYTES 256u
#define CHECKSUM_OFFSET 16u
#define WILDCARD_OFFSET 24u
#define NAME_OFFSET 32u

_Static_assert(NAME_OFFSET + NAME_BYTES == SYNTH_RECORD_BYTES, "record layout");
_Static_assert(1 + HOST_NAME_MAX_LEN <= NAME_BYTES, "every name fits");
_Static_assert(SYNTH_RECORD_BYTES % SYNTH_TIMES_BYTES == 0 && SYNTH_HEADER_BYTES % SYNTH_TIMES_BYTES == 0,
               "until and check stay in one aligned word");

static void put_u64(struct wbuf *w, uint64_t v)
{
    wbuf_u32(w, (uint32_t)(v >> 32));
    wbuf_u32(w, (uint32_t)v);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

static void put_pool(struct wbuf *w, bool present, const struct ip_prefix *p, size_t bytes)
{
    static const uint8_t zero[16];
    wbuf_u8(w, present ? 1 : 0);
    wbuf_u8(w, present ? p->bits : 0);
    wbuf_u16(w, 0);
    wbuf_put(w, span_make(present ? p->base.bytes : zero, bytes));
}

void synth_header_encode(const struct synth_header *h, uint8_t out[SYNTH_HEADER_BYTES])
{
    static const struct hash_key fixed = {
        0, 0}; /* against damage only: whoever writes the file may write names */
    memset(out, 0, SYNTH_HEADER_BYTES);
    struct wbuf w = wbuf_make(out, SYNTH_HEADER_BYTES);
    wbuf_put(&w, SPAN_LIT(MAGIC));
    wbuf_u32(&w, SYNTH_VERSION);
    wbuf_u32(&w, SYNTH_HEADER_BYTES);
    wbuf_u32(&w, SYNTH_RECORD_BYTES);
    wbuf_u32(&w, h->capacity);
    put_pool(&w, h->pools.has_v4, &h->pools.v4, 4);
    put_pool(&w, h->pools.has_v6, &h->pools.v6, 16);
    wbuf_put(&w, span_make(h->boot_id, sizeof(h->boot_id)));
    put_u64(&w, h->key.k0);
    put_u64(&w, h->key.k1);
    put_u64(&w, hash_siphash(&fixed, wbuf_span(&w)));
}

static void get_pool(const uint8_t *p, enum ip_family family, size_t bytes, bool *present,
                     struct ip_prefix *out)
{
    *present = p[0] == 1;
    *out = (struct ip_prefix){.base = {.family = IP_NONE}};
    if (*present) {
        out->base.family = (uint8_t)family;
        out->bits = p[1];
        memcpy(out->base.bytes, p + 4, bytes);
    }
}

enum synth_header_fault synth_header_decode(const uint8_t in[SYNTH_HEADER_BYTES], struct synth_header *out)
{
    *out = (struct synth_header){0};
    if (memcmp(in, MAGIC, 8) != 0) {
        return SYNTH_HEADER_FOREIGN;
    }
    if (get_u32(in + 8) != SYNTH_VERSION) {
        return SYNTH_HEADER_VERSION;
    }
    struct synth_header h = {.capacity = get_u32(in + 20)};
    get_pool(in + 24, IP_V4, 4, &h.pools.has_v4, &h.pools.v4);
    get_pool(in + 32, IP_V6, 16, &h.pools.has_v6, &h.pools.v6);
    memcpy(h.boot_id, in + 52, sizeof(h.boot_id));
    h.key = (struct hash_key){get_u64(in + 68), get_u64(in + 76)};
    /* Canonical or damaged: what these fields encode to must be the very bytes. Covers checksum, sizes and
     * zeros. */
    uint8_t again[SYNTH_HEADER_BYTES];
    synth_header_encode(&h, again);
    if (memcmp(in, again, SYNTH_FIXED_BYTES) != 0 || h.capacity != synth_capacity(&h.pools)) {
        return SYNTH_HEADER_DAMAGED;
    }
    *out = h;
    return SYNTH_HEADER_GOOD;
}

static uint32_t times_check(const struct synth_header *h, uint32_t slot, const uint8_t *record)
{
    uint8_t text[17] = {'T'};
    struct wbuf w = wbuf_make(text + 1, sizeof(text) - 1);
    wbuf_u32(&w, slot);
    wbuf_put(&w, span_make(record, SYNTH_TIMES_OFFSET + 4)); /* sequence, until */
    return (uint32_t)hash_siphash(&h->key, span_make(text, sizeof(text)));
}

static uint64_t name_checksum(const struct synth_header *h, uint32_t slot, const uint8_t *record)
{
    uint8_t text[1 + 4 + 8 + 8 + NAME_BYTES] = {'N'};
    struct wbuf w = wbuf_make(text + 1, sizeof(text) - 1);
    wbuf_u32(&w, slot);
    wbuf_put(&w, span_make(record, SYNTH_TIMES_OFFSET)); /* sequence */
    wbuf_put(&w, span_make(record + WILDCARD_OFFSET, 8 + NAME_BYTES));
    return hash_siphash(&h->key, span_make(text, sizeof(text)));
}

void synth_record_encode(const struct synth_header *h, uint32_t slot, const struct synth_record *r,
                         uint8_t out[SYNTH_RECORD_BYTES])
{
    memset(out, 0, SYNTH_RECORD_BYTES);
    out[NAME_OFFSET] = r->name.len;
    memcpy(out + NAME_OFFSET + 1, r->name.text, r->name.len);
    struct wbuf wildcard = wbuf_make(out + WILDCARD_OFFSET, 8);
    put_u64(&wildcard, r->wildcard);
    struct wbuf w = wbuf_make(out, WILDCARD_OFFSET);
    put_u64(&w, r->sequence);
    wbuf_u32(&w, r->until_s);
    wbuf_u32(&w, times_check(h, slot, out));
    put_u64(&w, name_checksum(h, slot, out));
}

enum synth_record_state synth_record_decode(const struct synth_header *h, uint32_t slot,
                                            const uint8_t in[SYNTH_RECORD_BYTES], struct synth_record *out)
{
    static const uint8_t zero[SYNTH_RECORD_BYTES];
    *out = (struct synth_record){.sequence = get_u64(in)};
    if (memcmp(in, zero, SYNTH_RECORD_BYTES) == 0) {
        return SYNTH_RECORD_FREE;
    }
    if (out->sequence % 2 == 1) {
        return SYNTH_RECORD_TORN;
    }
    const uint8_t *name = in + NAME_OFFSET;
    if (times_check(h, slot, in) != get_u32(in + SYNTH_TIMES_OFFSET + 4) ||
        name_checksum(h, slot, in) != get_u64(in + CHECKSUM_OFFSET) || name[0] > HOST_NAME_MAX_LEN) {
        return SYNTH_RECORD_DAMAGED;
    }
    /* Only a canonical name may come out, whoever computed the checksum. */
    struct host_name n;
    if (host_name_parse(span_make(name + 1, name[0]), &n) != HOST_FAULT_NONE ||
        !span_is_equal(host_name_span(&n), span_make(name + 1, name[0]))) {
        return SYNTH_RECORD_DAMAGED;
    }
    out->name = n;
    out->until_s = get_u32(in + SYNTH_TIMES_OFFSET);
    out->wildcard = get_u64(in + WILDCARD_OFFSET);
    return SYNTH_RECORD_GOOD;
}

static uint32_t prefix_slots(const struct ip_prefix *p)
{
    unsigned host_bits = (p->base.family == IP_V4 ? 32u : 128u) - p->bits;
    if (host_bits < 2 || host_bits > 128) {
        return 0;
    }
    return host_bits > 16 ? SYNTH_MAP_CAPACITY : (UINT32_C(1) << host_bits) - 2;
}

uint32_t synth_capacity(const struct synth_pools *pools)
{
    uint32_t v4 = pools->has_v4 ? prefix_slots(&pools->v4) : UINT32_MAX;
    uint32_t v6 = pools->has_v6 ? prefix_slots(&pools->v6) : UINT32_MAX;
    uint32_t least = v4 < v6 ? v4 : v6;
    return least == UINT32_MAX ? 0 : least;
}

struct ip synth_address(const struct synth_pools *pools, enum ip_family family, uint32_t slot)
{
    bool v4 = family == IP_V4;
    struct ip ip = {.family = IP_NONE};
    if (v4 ? !pools->has_v4 : !pools->has_v6) {
        return ip;
    }
    ip = v4 ? pools->v4.base : pools->v6.base;
    uint8_t *tail = ip.bytes + (v4 ? 0 : 12);
    uint32_t n = get_u32(tail) + 1 + slot; /* no carry beyond: the base's host bits are zero */
    struct wbuf w = wbuf_make(tail, 4);
    wbuf_u32(&w, n);
    return ip;
}

bool synth_slot_of(const struct synth_header *h, const struct ip *ip, uint32_t *slot)
{
    bool v4 = ip->family == IP_V4;
    const struct ip_prefix *pool = v4 ? &h->pools.v4 : &h->pools.v6;
    if ((v4 ? !h->pools.has_v4 : !h->pools.has_v6) || !ip_prefix_contains(pool, ip)) {
        return false;
    }
    size_t tail = v4 ? 0 : 12;
    uint32_t n = get_u32(ip->bytes + tail) - get_u32(pool->base.bytes + tail);
    if (memcmp(ip->bytes, pool->base.bytes, tail) != 0 || n == 0 || n > h->capacity) {
        return false;
    }
    *slot = n - 1;
    return true;
}

uint32_t synth_preferred_slot(const struct host_name *name, uint32_t capacity)
{
    static const struct hash_key fixed = {0x6f70656e7368656cu, 0x6c2d656772657373u};
    return (uint32_t)(hash_siphash(&fixed, host_name_span(name)) % capacity);
}

uint64_t synth_wildcard_of(const struct host_name *pattern)
{
    static const struct hash_key fixed = {0x77696c6463617264u, 0x6f70656e7368656cu};
    const uint64_t h = hash_siphash(&fixed, host_name_span(pattern));
    return h == 0 ? 1 : h;
}

uint64_t synth_file_bytes(uint32_t capacity)
{
    return SYNTH_HEADER_BYTES + (uint64_t)capacity * SYNTH_RECORD_BYTES;
}
