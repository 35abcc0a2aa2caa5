#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Ten thousand names through openshell-dnsd, unbound and dnsmasq, in front of the same authoritative server: where they do
# not say the same, a rule of dns_compare.py says why.
# shellcheck source=tests/e2e/lib.sh
PATH=$PATH:/usr/sbin:/sbin
. "$(dirname "$0")/lib.sh"
need unbound unbound
need dnsmasq dnsmasq-base
enter_lab "$@"
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/dns_compare.py" "$T" || fail "see above"
