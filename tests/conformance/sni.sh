#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What --sni passes, refuses and says; see sni.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
for program in python3 openssl; do
    if ! command -v "$program" >/dev/null; then
        echo "SKIP: $program is not installed"
        exit 77
    fi
done
exec python3 -B "$top_srcdir/tests/conformance/sni.py" "$@"
