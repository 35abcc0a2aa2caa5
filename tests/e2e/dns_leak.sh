#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A packet counter between openshell-dnsd and its upstream: what the policy does not admit costs no packet, and of what it
# does admit nothing goes out but the name and the type. dns_leak.py holds the rows.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
enter_lab "$@"
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/dns_leak.py" "$V4_A" || fail "see above"
