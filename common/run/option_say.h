/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with an option's value where an address or a prefix is wanted, and what to write: one wording
 * for all options of both daemons and the front door. Said only of what did not parse. Pure.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/span.h"

struct option_wanted {
    const char *option;  /* "--listen" */
    const char *form;    /* "ADDR[:PORT]" */
    const char *example; /* "127.0.0.1:53" */
    bool takes_prefix;
};

/*
 * -EINVAL, with *err naming option and value: a name or a URL where an address is wanted, an IPv6 zone, host
 * bits behind a prefix and what may have been meant, a prefix longer than the address, a port that is none,
 * or else the form.
 */
int option_say(const struct option_wanted *w, const char *text, struct err *err);
/* "::1:53", which parses and is no address of anybody: [::1]:53 was meant. 0, or -EINVAL as above. */
MUST_CHECK int option_check_brackets(const struct option_wanted *w, const char *text, struct err *err);
/* Is text a host name, perhaps with a port? False for addresses, and for what can be neither. */
bool option_is_name(struct span text);
