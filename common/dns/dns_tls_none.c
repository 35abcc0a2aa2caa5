/* SPDX-License-Identifier: Apache-2.0 */
/* dns_tls where there is no OpenSSL: everything is refused, and nobody gets as far as to have a session. */
#include "common/dns/dns_tls.h"

bool dns_tls_is_built(void)
{
    return false;
}

int dns_tls_store_new(struct dns_tls_store **out, struct err *err)
{
    *out = NULL;
    err_set(err, "this build has no DNS over TLS (configure it --with-openssl)");
    return -EINVAL;
}

void dns_tls_store_free(struct dns_tls_store *s)
{
    (void)s;
}

int dns_tls_new(const struct dns_tls_config *cfg, struct dns_tls **out)
{
    (void)cfg;
    *out = NULL;
    return -EINVAL;
}

void dns_tls_free(struct dns_tls *t)
{
    (void)t;
}

struct dns_stream_transport dns_tls_transport(struct dns_tls *t)
{
    REQUIRE(t != NULL && dns_tls_is_built()); /* plain TCP instead is what must never be */
    return (struct dns_stream_transport){.ops = NULL};
}
