#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# matrix.sh for the clients whose tool chains or servers are large. Part of ./check --all.
exec "$(dirname "$0")/matrix.sh" heavy
