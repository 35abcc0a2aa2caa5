/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --transparent auto: which items of the option are one, and which addresses it is about. Plain data, no
 * socket.
 */
#pragma once

#include "common/net/addr.h"
#include "common/policy/policy.h"
#include "common/run/settings.h"

/* Each is a socket a worker and address family, and two descriptors. */
#define CAPTURE_AUTO_PORTS_MAX 1024

struct capture_hosts {
    struct ip *items; /* owned; the wildcards first, and none that one of them covers */
    size_t count;
    bool may_lack_v6; /* [::] is there only because of "auto", which takes what the host has */
};

/* Is it "auto", or ends it in ":auto"? Whether the rest is an address is not looked at. */
bool capture_auto_is(const char *item);
/* The addresses of all such items; others are passed over. 0; -EINVAL with the bad one in *err; -ENOMEM. */
MUST_CHECK int capture_auto_hosts(const struct str_list *list, struct capture_hosts *out, struct err *err);
void capture_auto_fini(struct capture_hosts *h);
/* Does the policy name no more ports than there may be? 0, or -EINVAL with *err. */
MUST_CHECK int capture_auto_check(const struct policy *p, struct err *err);
