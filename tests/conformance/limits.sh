#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How much one client, one rule and all together may hold of the tunnel daemon; see limits.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
if ! command -v python3 >/dev/null; then
    echo "SKIP: python3 is not installed"
    exit 77
fi
exec python3 -B "$top_srcdir/tests/conformance/limits.py" "$@"
