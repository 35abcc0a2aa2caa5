#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Timers and keepalive of the tunnel daemon, as its sockets have them; see timers.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
if ! command -v python3 >/dev/null; then
    echo "SKIP: python3 is not installed"
    exit 77
fi
exec python3 -B "$top_srcdir/tests/conformance/timers.py" "$@"
