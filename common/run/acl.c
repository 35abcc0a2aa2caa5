/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/acl.h"

#include "common/run/option_say.h"

#include <errno.h>
#include <stdlib.h>

static int add_item(struct acl *a, const char *text, struct err *err)
{
    struct ip_prefix *item = &a->items[a->count];
    static const struct option_wanted wanted = {"--allow-client", "CIDR", "10.0.0.7 or 10.0.0.0/8", true};
    if (ip_prefix_parse(span_str(text), item) < 0) {
        return option_say(&wanted, text, err);
    }
    /* Clients with an IPv4-mapped address are seen as IPv4: such a prefix could never match. */
    const struct ip_prefix mapped = {.base = {.family = IP_V6, .bytes = {[10] = 0xff, [11] = 0xff}},
                                     .bits = 96};
    if (item->bits >= 96 && ip_prefix_contains(&mapped, &item->base)) {
        err_set(err, "--allow-client: %.80s: write it as IPv4", text);
        return -EINVAL;
    }
    a->count++;
    return 0;
}

int acl_build(const struct str_list *list, bool passed_sockets, struct acl *out, struct err *err)
{
    static const char *const loopback[] = {"127.0.0.0/8", "::1/128"};
    *out = (struct acl){.everybody = list->count == 0 && passed_sockets};
    if (out->everybody) {
        return 0;
    }
    size_t count = list->count > 0 ? list->count : 2;
    out->items = calloc(count, sizeof(*out->items));
    if (out->items == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        int rc = add_item(out, list->count > 0 ? list->items[i] : loopback[i], err);
        if (rc < 0) {
            acl_fini(out);
            return rc;
        }
    }
    return 0;
}

void acl_fini(struct acl *a)
{
    free(a->items);
    *a = (struct acl){0};
}

bool acl_admits(const struct acl *a, const struct ip *client)
{
    bool admitted = a->everybody;
    for (size_t i = 0; i < a->count && !admitted; i++) {
        admitted = ip_prefix_contains(&a->items[i], client);
    }
    return admitted;
}
