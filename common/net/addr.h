/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket addresses as values: an ip and a port, and the text forms "1.2.3.4:53" and "[::1]:53". Pure.
 */
#pragma once

#include "common/base/ip.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct addr {
    struct ip ip;
    uint16_t port;
};

#define ADDR_TEXT_CAP (IP_TEXT_CAP + 8)

/* "IP:PORT", "[IP6]:PORT"; "IP" alone takes default_port unless that is 0. Port 0 is allowed (listen on any).
 */
MUST_CHECK int addr_parse(struct span text, uint16_t default_port, struct addr *out);
/* "::1:53", which parses as an address that is nobody's: [::1]:53 was meant. */
bool addr_lacks_brackets(struct span text);
const char *addr_text(const struct addr *a, char text[ADDR_TEXT_CAP]);
bool addr_is_equal(const struct addr *a, const struct addr *b);
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);
/* An IPv4-mapped IPv6 address becomes IPv4 (it is the same peer on a dual-stack socket). -EAFNOSUPPORT
 * otherwise. */
MUST_CHECK int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *out);
