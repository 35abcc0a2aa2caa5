/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --direct-nft-set TABLE/SET: addresses and ports that nftables is to let through, put into the sets SET4 and
 * SET6 of the table inet TABLE before an answer with them leaves. Elements are ADDRESS . PORT with a timeout;
 * an element that is there already is renewed in the same transaction, and not cut short: what was promised
 * of a pair stands, whichever name it is answered for next. Known are the promises of the last NFT_UNTIL_MAX
 * pairs, not those of this daemon before it was started anew, nor what another process puts in or takes out.
 * One socket behind a mutex, any thread. A transaction is carried out by the kernel within the call and takes
 * some ten microseconds an address; no peer is waited for, but whoever else is changing nf_tables is, up to
 * some hundred milliseconds where that is a very large set. Needs CAP_NET_ADMIN as long as it lives.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/ip.h"

#include <stdbool.h>

struct nft_set;

/* "TABLE/SET", names as nft has them. -EINVAL with *err. */
MUST_CHECK int nft_set_check(const char *option, struct err *err);
/* Tries both sets out. 0 or -errno with *err, which says what to do: -EPERM no capability, -ENOENT no set. */
MUST_CHECK int nft_set_open(const char *option, struct nft_set **out, struct err *err);
void nft_set_close(struct nft_set *s); /* NULL-safe; what is in the sets stays until its timeout */

/*
 * Every address with every port, from now on for timeout_s, or for what is left of an earlier promise if that
 * is longer. All of them or, with -errno, none.
 */
MUST_CHECK int nft_set_admit(struct nft_set *s, const struct ip *addrs, size_t addr_count,
                             const uint16_t *ports, size_t port_count, uint32_t timeout_s);
