/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the synthetic map, and which address is which slot. Private to synth_*.c and their tests.
 * Pure.
 *
 * File: a header of 4096 bytes, then capacity records of 288 bytes; all numbers in network order.
 * Header: magic[8] version[4] header bytes[4] record bytes[4] capacity[4]; per family: present[1] bits[1]
 * zero[2] and the pool's base (4 and 16 bytes); boot id[16] key[16] checksum[8] of all before; zeros. The
 * last 16 bytes change and no checksum covers them: zero[4] grace[4] (the writer's, in seconds) changes[8]
 * (counts the records given to a name, for writers that overlap at a restart). Record: sequence[8] until[4]
 * check[4] checksum[8] wildcard[8] name[256]: length, text, zeros. sequence: odd while the record is being
 * given to another name. until and check are one aligned word, written with one write, so that renewing a
 * hold can never tear the name. wildcard: a hash of the pattern that admits the name, 0 for a name that is
 * admitted exactly. check covers slot, sequence and until; checksum covers slot, sequence, wildcard and name;
 * both with the file's key.
 */
#pragma once

#include "common/base/hash.h"
#include "common/run/synth_map.h"

#define SYNTH_VERSION 2u
#define SYNTH_HEADER_BYTES 4096u
#define SYNTH_FIXED_BYTES 4080u /* of the header */
#define SYNTH_GRACE_OFFSET 4084u
#define SYNTH_CHANGES_OFFSET 4088u
#define SYNTH_RECORD_BYTES 288u
#define SYNTH_TIMES_OFFSET 8u /* until and check */
#define SYNTH_TIMES_BYTES 8u
#define SYNTH_HEAD_BYTES 32u /* all before the name; a record begins at a multiple of it */

struct synth_header {
    uint32_t capacity;
    struct synth_pools pools;
    uint8_t boot_id[16];
    struct hash_key key;
};

enum synth_header_fault {
    SYNTH_HEADER_FOREIGN = 0, /* no map at all */
    SYNTH_HEADER_VERSION,     /* a map of another version */
    SYNTH_HEADER_DAMAGED,
    SYNTH_HEADER_GOOD
};

struct synth_record {
    uint64_t sequence;
    uint32_t until_s; /* last second of the hold */
    uint64_t wildcard;
    struct host_name name;
};

enum synth_record_state {
    SYNTH_RECORD_DAMAGED = 0,
    SYNTH_RECORD_FREE, /* all zeros: never used */
    SYNTH_RECORD_TORN, /* its writer died, or is at it */
    SYNTH_RECORD_GOOD
};

/* The bytes that change are written as 0, and not looked at. */
void synth_header_encode(const struct synth_header *h, uint8_t out[SYNTH_HEADER_BYTES]);
enum synth_header_fault synth_header_decode(const uint8_t in[SYNTH_HEADER_BYTES], struct synth_header *out);

void synth_record_encode(const struct synth_header *h, uint32_t slot, const struct synth_record *r,
                         uint8_t out[SYNTH_RECORD_BYTES]);
enum synth_record_state synth_record_decode(const struct synth_header *h, uint32_t slot,
                                            const uint8_t in[SYNTH_RECORD_BYTES], struct synth_record *out);

/* How many slots the pools have: at most SYNTH_MAP_CAPACITY, and as many as the smaller pool; 0 without a
 * pool. */
uint32_t synth_capacity(const struct synth_pools *pools);
/* IP_NONE if the pool of that family is missing. */
struct ip synth_address(const struct synth_pools *pools, enum ip_family family, uint32_t slot);
/* False if ip is no slot's address. */
bool synth_slot_of(const struct synth_header *h, const struct ip *ip, uint32_t *slot);
/* Where a name is put if nobody is there: the same in every file, so that a lost map does little harm. */
uint32_t synth_preferred_slot(const struct host_name *name, uint32_t capacity);
/* How a record refers to the pattern that admits its name; never 0. */
uint64_t synth_wildcard_of(const struct host_name *pattern);
uint64_t synth_file_bytes(uint32_t capacity);
