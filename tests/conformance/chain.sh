#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tunnels through a chain proxy, over real sockets; see chain.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
if ! command -v python3 >/dev/null; then
    echo "SKIP: python3 is not installed"
    exit 77
fi
exec python3 -B "$top_srcdir/tests/conformance/chain.py" "$@"
