/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/listen_twice.h"

#include "common/net/addr.h"

#include <errno.h>

static bool is_any(const struct ip *ip)
{
    return ip_classify(ip) == IP_CLASS_UNSPECIFIED;
}

static bool is_clash(const struct addr *a, const struct addr *b)
{
    return a->port != 0 && a->port == b->port && a->ip.family == b->ip.family &&
           (ip_is_equal(&a->ip, &b->ip) || is_any(&a->ip) || is_any(&b->ip));
}

/* Item number index of option against those behind it in the same list and all of the option other. */
static int check_item(const struct listen_option *option, size_t index, const struct listen_option *other,
                      struct err *err)
{
    struct addr a;
    struct addr b;
    if (addr_parse(span_str(option->list->items[index]), option->default_port, &a) != 0) {
        return 0;
    }
    for (size_t i = other == option ? index + 1 : 0; i < other->list->count; i++) {
        if (addr_parse(span_str(other->list->items[i]), other->default_port, &b) == 0 && is_clash(&a, &b)) {
            err_set(err,
                    "%s %.80s and %s %.80s cannot both be listened on: leave one out, or give another port",
                    option->name, option->list->items[index], other->name, other->list->items[i]);
            return -EINVAL;
        }
    }
    return 0;
}

int listen_twice_check(const struct listen_option *options, size_t count, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i; k < count; k++) {
            for (size_t n = 0; rc == 0 && n < options[i].list->count; n++) {
                rc = check_item(&options[i], n, &options[k], err);
            }
        }
    }
    return rc;
}
