#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the conformance test of stale answers, remembered failures and renewal.
command -v python3 >/dev/null 2>&1 || {
    echo "SKIP: python3 is missing"
    exit 77
}
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
tests="${top_srcdir:-.}/tests/conformance/test_stale.py"
# Both mostly wait.
python3 "$tests" TestRenewal &
rc=0
python3 "$tests" TestStale || rc=1
wait $! || rc=1
exit $rc
