/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_ws_key.h"

#include <stddef.h>
#include <string.h>

#define BLOCK_LEN 64U
#define DIGEST_LEN 20U
#define KEY_LEN (DOCTOR_WS_KEY_CAP - 1U)

/* RFC 6455 1.3 */
static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static void put_base64(const uint8_t *bytes, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= i + 2 < len ? bytes[i + 2] : 0;
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = i + 1 < len ? digits[three >> 6 & 63] : '=';
        *out++ = i + 2 < len ? digits[three & 63] : '=';
    }
    *out = '\0';
}

static uint32_t rotated(uint32_t v, unsigned bits)
{
    return v << bits | v >> (32 - bits);
}

/* RFC 3174 6.1, one block */
static void sha1_block(uint32_t state[5], const uint8_t block[BLOCK_LEN])
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80];
    uint32_t v[5];
    memcpy(v, state, sizeof v);
    for (size_t t = 0; t < 80; t++) {
        if (t < 16) {
            const uint8_t *p = block + 4 * t;
            w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        } else {
            w[t] = rotated(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        }
        uint32_t f = v[1] ^ v[2] ^ v[3];
        if (t < 20) {
            f = (v[1] & v[2]) | (~v[1] & v[3]);
        } else if (t >= 40 && t < 60) {
            f = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
        }
        uint32_t next = rotated(v[0], 5) + f + v[4] + w[t] + constants[t / 20];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotated(v[1], 30);
        v[1] = v[0];
        v[0] = next;
    }
    for (size_t i = 0; i < 5; i++) {
        state[i] += v[i];
    }
}

void doctor_ws_key(const uint8_t random[16], char key[DOCTOR_WS_KEY_CAP])
{
    put_base64(random, 16, key);
}

/* The text has 60 bytes: with the bit behind it and its length that is two blocks, always. */
void doctor_ws_accept(const char key[DOCTOR_WS_KEY_CAP], char accept[DOCTOR_WS_ACCEPT_CAP])
{
    uint8_t text[2 * BLOCK_LEN] = {0};
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t digest[DIGEST_LEN];
    const size_t len = KEY_LEN + sizeof guid - 1;
    memcpy(text, key, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof guid - 1);
    text[len] = 0x80;
    text[sizeof text - 2] = (uint8_t)(8 * len >> 8);
    text[sizeof text - 1] = (uint8_t)(8 * len);
    sha1_block(state, text);
    sha1_block(state, text + BLOCK_LEN);
    for (size_t i = 0; i < DIGEST_LEN; i++) {
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    }
    put_base64(digest, sizeof digest, accept);
}
