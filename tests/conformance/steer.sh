#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names that are steered to tunneld, and told apart by SNI and Host; see steer.py.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
for program in python3 openssl nft; do
    if ! command -v "$program" >/dev/null; then
        echo "SKIP: $program is not installed"
        exit 77
    fi
done
exec python3 -B "$top_srcdir/tests/conformance/steer.py" "$@"
