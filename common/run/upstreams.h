/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nameservers that a daemon asks: those of --upstream, else those of resolv.conf as it is now.
 */
#pragma once

#include "common/net/addr.h"
#include "common/run/settings.h"

#define UPSTREAMS_MAX 16 /* one bit each in the resolver's sets */

/* The list of --upstream alone, which may be empty. 0, or -EINVAL with *err. */
MUST_CHECK int upstreams_parse(const struct str_list *list, struct addr out[UPSTREAMS_MAX], size_t *count,
                               struct err *err);
/* At least one, with resolv.conf where the list is empty. 0, or -EINVAL with *err. */
MUST_CHECK int upstreams_find(const struct str_list *list, const char *resolv_conf,
                              struct addr out[UPSTREAMS_MAX], size_t *count, struct err *err);
