#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Which addresses the tunnel daemon dials, and no others; see destinations.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
if ! command -v python3 >/dev/null; then
    echo "SKIP: python3 is not installed"
    exit 77
fi
exec python3 -B "$top_srcdir/tests/conformance/destinations.py" "$@"
