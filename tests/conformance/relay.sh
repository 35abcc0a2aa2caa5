#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a tunnel carries arrives, whatever the order of the ends; and nothing is left of many tunnels; see relay.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
if ! command -v python3 >/dev/null; then
    echo "SKIP: python3 is not installed"
    exit 77
fi
exec python3 -B "$top_srcdir/tests/conformance/relay.py" "$@"
