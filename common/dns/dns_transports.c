/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_transports.h"

int dns_transports_init(struct dns_transports *t, const struct dns_transports_config *cfg, struct err *err)
{
    *t = (struct dns_transports){.tls = {NULL}};
    for (size_t i = 0; cfg->tls_names != NULL && i < cfg->count && i < UPSTREAM_MAX; i++) {
        struct span name = cfg->tls_names[i];
        if (name.len == 0) {
            continue;
        }
        /* Without a store there is no TLS, and never plain DNS instead. */
        const struct dns_tls_config tls = {.store = cfg->store,
                                           .to = cfg->addrs[i],
                                           .name = name,
                                           .news = cfg->news,
                                           .metrics = cfg->metrics,
                                           .metrics_first = cfg->metrics_first};
        int rc = cfg->store == NULL ? -EINVAL : dns_tls_new(&tls, &t->tls[i]);
        if (rc != 0) {
            char text[UPSTREAM_TEXT_CAP];
            err_set(err, "upstream %s: %s", upstream_text(&cfg->addrs[i], name, text), strerror(-rc));
            return rc;
        }
        t->list[i] = dns_tls_transport(t->tls[i]);
    }
    return 0;
}

void dns_transports_fini(struct dns_transports *t)
{
    for (size_t i = 0; i < UPSTREAM_MAX; i++) {
        dns_tls_free(t->tls[i]);
        t->tls[i] = NULL;
    }
}
