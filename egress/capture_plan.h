/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which commands of iproute2 and nftables bring connections to synthetic addresses to openshell-tunneld, and
 * take that away again. Made in full before any is run; running them twice comes to the same as once. Pure
 * but for memory.
 */
#pragma once

#include "common/base/buf.h"
#include "common/run/guard.h"

enum capture_mode {
    CAPTURE_NONE = 0,
    CAPTURE_ANYIP,    /* the pool's addresses are this host's own: one listener a port */
    CAPTURE_REDIRECT, /* nft sends all ports to one listener, conntrack remembers the address */
    CAPTURE_TPROXY    /* likewise without conntrack; the listener needs IP_TRANSPARENT */
};

struct capture_config {
    enum capture_mode mode;
    struct synth_pools pools;
    uint16_t to_port;              /* REDIRECT, TPROXY: tunneld's listener */
    const char *const *interfaces; /* where the programs' packets come in */
    size_t interface_count;        /* 0: they are of this network namespace */
    const uint16_t *ports;         /* ANYIP: those that tunneld has listeners for */
    size_t port_count;
    bool is_exposed; /* ANYIP: no rule keeps the host's other services from the pool's addresses */
};

#define CAPTURE_TABLE "openshell_capture"
#define CAPTURE_MARK "0x6f736567" /* of packets for TPROXY, and the number of their routing table */
#define CAPTURE_ROUTES "1869833575"

struct capture_step {
    char *text;    /* a command, its words parted by one blank; or what `nft -f -` reads */
    bool is_nft;   /* the latter */
    bool may_fail; /* it takes away what may not be there */
};
struct capture_plan {
    struct capture_step *steps;
    size_t count, cap;
};

/* Up replaces what is there, of whichever mode; down takes away what any mode has set up for these pools.
 * 0 or -ENOMEM; capture_plan_fini() in any case. */
MUST_CHECK int capture_plan_up(const struct capture_config *cfg, struct capture_plan *out);
MUST_CHECK int capture_plan_down(const struct capture_config *cfg, struct capture_plan *out);
void capture_plan_fini(struct capture_plan *p);
