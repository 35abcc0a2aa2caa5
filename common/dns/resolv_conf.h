/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nameserver lines of a resolv.conf(5) text: the default upstreams. Pure parser; port 53.
 */
#pragma once

#include "common/net/addr.h"

/* Takes the next word of a line off *rest; empty at its end. */
struct span resolv_conf_word(struct span *rest);
/*
 * Fills at most cap addresses in order, duplicates removed; those with a scope (fe80::1%eth0) are left out,
 * for struct addr has none. Returns how many.
 */
size_t resolv_conf_parse(struct span text, struct addr *out, size_t cap);
/* Reads the file (<= 64 KiB). 0 and at least one address; -ENODATA: it names none that is taken; or -errno;
 * with *err, which has the path. */
MUST_CHECK int resolv_conf_read(const char *path, struct addr *out, size_t cap, size_t *count,
                                struct err *err);
