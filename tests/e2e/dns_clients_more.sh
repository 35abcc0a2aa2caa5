#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# dns_clients.sh for the clients whose tool chains are large: Go's own resolver, Java's InetAddress and Java's own DNS
# client. Part of ./check --all.
exec "$(dirname "$0")/dns_clients.sh" go java
