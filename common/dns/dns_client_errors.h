/* SPDX-License-Identifier: Apache-2.0 */
/* What an error of a socket or a connection to an upstream means for the question. Pure. */
#pragma once

#include "common/dns/dns_exchange.h"

/* error: an errno, positive. It is our own: the upstream has no part in it. */
bool dns_client_error_is_local(int error);
/* What a connection tells more of than that it failed. */
enum dns_exchange_fail dns_client_error_why(int error);
