/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/upstreams.h"

#include "common/dns/resolv_conf.h"

#include <errno.h>

#define DNS_PORT 53

/* An address that can be asked: one host, and a port. */
int upstreams_parse(const struct str_list *list, struct addr out[UPSTREAMS_MAX], size_t *count,
                    struct err *err)
{
    *count = 0;
    if (list->count > UPSTREAMS_MAX) {
        err_set(err, "--upstream: at most %d, not %zu", UPSTREAMS_MAX, list->count);
        return -EINVAL;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (addr_parse(span_str(list->items[i]), DNS_PORT, &out[i]) != 0 || out[i].port == 0 ||
            ip_classify(&out[i].ip) == IP_CLASS_UNSPECIFIED) {
            err_set(err, "--upstream %.80s: not an address (ADDR, ADDR:PORT, [IPV6]:PORT)", list->items[i]);
            return -EINVAL;
        }
    }
    *count = list->count;
    return 0;
}

int upstreams_find(const struct str_list *list, const char *resolv_conf, struct addr out[UPSTREAMS_MAX],
                   size_t *count, struct err *err)
{
    int rc = upstreams_parse(list, out, count, err);
    if (rc != 0 || *count > 0) {
        return rc;
    }
    if (resolv_conf_read(resolv_conf, out, UPSTREAMS_MAX, count, err) != 0) {
        err_prefix(err, "no --upstream, and --resolv-conf");
        return -EINVAL; /* a matter of configuration, not of the system */
    }
    if (*count == 0) {
        err_set(err, "no --upstream, and no nameserver in %s", resolv_conf);
        return -EINVAL;
    }
    return 0;
}
