/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one nf_tables rule set that the fence needs, as netlink messages of our own, so that no external
 * program has to be there and to hold a capability. In the caller's network namespace, which must be the
 * fence's:
 *
 *   capture, nat output    TCP to a pool goes to the capture listener whatever its port, so that a policy may
 *                          gain ports while the command runs; port 53, UDP and TCP, of any address goes to
 *                          openshell-dnsd, so that a name server written into a program is answered
 *   refuse, filter input   what is neither loopback nor part of a connection is refused at once
 *
 * The second acts on arrival, since a packet refused on its way out is EPERM for who sent it, and no client
 * takes that for "refused"; so every address must be local (netlink_lo_add_local_route() of all of them).
 */
#pragma once

#include "common/run/guard.h"

#define NFT_TABLE "openshell_run"

struct nft_config {
    struct synth_pools pools; /* without those of a family that the kernel lacks */
    bool has_v6;              /* the kernel has IPv6 */
    uint16_t capture_port;    /* of the listeners on 127.0.0.1 and ::1 */
};

/* All of it or nothing. 0 or -errno: what the kernel lacks or forbids. */
MUST_CHECK int nft_apply(const struct nft_config *cfg);

/* The messages, apart from the socket, for the tests. Returns the length; out holds NFT_BATCH_CAP bytes. */
#define NFT_BATCH_CAP 8192
size_t nft_build(void *out, const struct nft_config *cfg);
