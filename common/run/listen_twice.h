/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that one daemon is to listen on twice, found before anything is bound: the system would only say
 * that the address is in use, and not by whom.
 */
#pragma once

#include "common/base/err.h"
#include "common/run/settings.h"

#include <stdint.h>

struct listen_option {
    const char *name; /* "--listen" */
    const struct str_list *list;
    uint16_t default_port;
};

/*
 * 0, or -EINVAL with *err naming two items that cannot both be had over TCP: the same port and the same
 * address, or one of them every address of the family. Port 0 is the kernel's choice. What is no ADDR:PORT is
 * passed over.
 */
MUST_CHECK int listen_twice_check(const struct listen_option *options, size_t count, struct err *err);
