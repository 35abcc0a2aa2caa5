#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs what RFC 8906 section 8 asks of a server, and the EDNS compliance cases, with dig against openshell-dnsd.
for tool in python3 dig; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "SKIP: $tool is missing (Debian: python3, bind9-dnsutils)"
        exit 77
    }
done
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
exec python3 "${top_srcdir:-.}/tests/conformance/test_dig.py" "$@"
