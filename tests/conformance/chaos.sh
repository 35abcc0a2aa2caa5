#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the conformance test of openshell-dnsd between upstreams that are broken at random.
command -v python3 >/dev/null 2>&1 || {
    echo "SKIP: python3 is missing"
    exit 77
}
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
exec python3 "${top_srcdir:-.}/tests/conformance/test_chaos.py" "$@"
