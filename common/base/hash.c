/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/hash.h"

#include "common/base/rng.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64U - n));
}

static inline void sip_round(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void absorb(struct state *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    sip_round(s);
    s->v0 ^= m;
}

/* Eight bytes as a little-endian number. Written so that compilers make one load of it. */
static inline uint64_t load8(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* Likewise less than eight, the missing ones zero. */
static inline uint64_t load_rest(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

void hash_key_init(struct hash_key *key)
{
    rng_bytes(key, sizeof *key);
}

uint64_t hash_siphash(const struct hash_key *key, struct span s)
{
    /* the constants spell "somepseudorandomlygeneratedbytes" */
    struct state st = {
        .v0 = key->k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d),
        .v2 = key->k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = key->k1 ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = s.len - s.len % 8;
    for (size_t i = 0; i < whole; i += 8) {
        absorb(&st, load8(s.data + i));
    }
    uint64_t tail = s.len == whole ? 0 : load_rest(s.data + whole, s.len - whole);
    absorb(&st, tail | ((uint64_t)(s.len & 0xff) << 56));
    st.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(&st);
    }
    return st.v0 ^ st.v1 ^ st.v2 ^ st.v3;
}
