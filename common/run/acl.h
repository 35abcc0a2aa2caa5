/* SPDX-License-Identifier: Apache-2.0 */
/* Which clients are served (--allow-client). Immutable once built. */
#pragma once

#include "common/base/ip.h"
#include "common/run/settings.h"

struct acl {
    struct ip_prefix *items; /* owned */
    size_t count;
    bool everybody;
};
/* From --allow-client; an empty list: everybody on passed sockets, else loopback. -EINVAL names the bad item.
 */
MUST_CHECK int acl_build(const struct str_list *list, bool passed_sockets, struct acl *out, struct err *err);
void acl_fini(struct acl *a);
bool acl_admits(const struct acl *a, const struct ip *client);
