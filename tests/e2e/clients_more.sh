#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# clients.sh for the clients whose tool chains are large. Part of ./check --all.
exec "$(dirname "$0")/clients.sh" requests java urlconnection go
