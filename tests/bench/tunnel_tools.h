/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs of `make bench-tunnel` share: the origin's language and the bytes that bulk is made of.
 *
 * A connection to the origin begins with one byte: 'E', and everything from this byte on is sent back; 'S'
 * and a count (8 bytes, network order), and so many bytes come, then FIN; 'K' and a count, and so many bytes
 * are taken and compared, then 'k' comes. Bulk repeats with a period that no buffer size divides, so a buffer
 * that is lost, doubled or out of place is seen.
 */
#pragma once

#include "common/base/err.h"
#include "common/net/addr.h"

#define TUNNEL_ORDER_BYTES 9U
#define TUNNEL_PERIOD 65521U
#define TUNNEL_CHUNK (4U * TUNNEL_PERIOD) /* the most that tunnel_bulk() gives in one piece */

void tunnel_die(const char *what); /* says errno, ends the program */
uint64_t tunnel_now_ns(void);
/* TUNNEL_CHUNK bytes of bulk from this position on. */
const uint8_t *tunnel_bulk(uint64_t position);
void tunnel_order_write(uint8_t order[TUNNEL_ORDER_BYTES], char kind, uint64_t count);
uint64_t tunnel_order_count(const uint8_t order[TUNNEL_ORDER_BYTES]);
/* As many descriptors as the hard limit allows. */
void tunnel_raise_limit(void);
/* epoll_ctl, or the end of the program. */
void tunnel_watch(int epoll, int op, int fd, uint32_t events, void *ptr);
