/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_client_errors.h"

#include "common/dns/dns_tls.h"

#include <errno.h>

bool dns_client_error_is_local(int error)
{
    /* EAGAIN: no source port is free */
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS || error == EAGAIN;
}

enum dns_exchange_fail dns_client_error_why(int error)
{
    switch (error) {
    case ETIMEDOUT:
        return DNS_EXCHANGE_FAIL_TIMEOUT;
    case EBADMSG:
        return DNS_EXCHANGE_FAIL_MALFORMED;
    case DNS_TLS_REFUSED:
        return DNS_EXCHANGE_FAIL_TLS;
    case DNS_TLS_UNTRUSTED:
        return DNS_EXCHANGE_FAIL_TLS_UNTRUSTED;
    case DNS_TLS_EXPIRED:
        return DNS_EXCHANGE_FAIL_TLS_EXPIRED;
    case DNS_TLS_WRONG_NAME:
        return DNS_EXCHANGE_FAIL_TLS_NAME;
    default:
        return DNS_EXCHANGE_FAIL_NETWORK;
    }
}
