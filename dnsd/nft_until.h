/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Until when pairs of an address and a port have been let through, so that an answer with a short TTL does
 * not cut short what one with a longer TTL has promised: names share addresses. Bounded, and all of its
 * memory is had at the start: the pair that was promised longest ago goes first, and what an answer with it
 * says next then counts alone. Time is a parameter. Not thread-safe: nft_set owns it and has a lock.
 */
#pragma once

#include "common/base/ip.h"

#define NFT_UNTIL_MAX 16384 /* pairs; some 1.3 MB once all are in use, and four times the longest answer */

struct nft_until;
MUST_CHECK int nft_until_new(struct nft_until **out); /* 0 or -ENOMEM */
void nft_until_free(struct nft_until *u);             /* NULL-safe */
/* How long from now_ms on the pair is still promised, in milliseconds; 0: it is not. */
uint64_t nft_until_left_ms(const struct nft_until *u, const struct ip *addr, uint16_t port, int64_t now_ms);
/* The pair has been promised until then; an earlier promise that ends later stands. */
void nft_until_note(struct nft_until *u, const struct ip *addr, uint16_t port, int64_t until_ms);
size_t nft_until_count(const struct nft_until *u);
