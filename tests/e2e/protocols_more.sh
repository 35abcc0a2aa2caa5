#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# protocols.sh for the servers that are large. Part of ./check --all.
exec "$(dirname "$0")/protocols.sh" postgresql mariadb
