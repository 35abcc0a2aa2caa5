#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# openshell-tunneld when things go wrong around it: peers that stop, vanish or reset, a wire that loses, slows, delays and
# reorders, no descriptor, no memory, no DNS, a clock that is set. Each with what the log says of it. faults.py holds the
# cases; names of cases as arguments run only these.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
enter_lab "$@"
need nft nftables
need tc iproute2
need "${CC:-cc}" gcc
nft add table inet faults 2>/dev/null || skip "nft cannot add a table here: the kernel has no nf_tables"
"${CC:-cc}" -shared -fPIC -O2 -o "$T/inject.so" "$top_srcdir/tests/support/inject.c" || fail "inject.c does not compile"
export PYTHONDONTWRITEBYTECODE=1
ulimit -n "$(ulimit -Hn)"
status=0
INJECT=$T/inject.so python3 "$here/faults.py" "$@" || status=$?
[ "$status" != 77 ] || skip "see above; everything else passed"
[ "$status" = 0 ] || fail "see above"
