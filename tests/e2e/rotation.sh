#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Names whose addresses change every 2 s, and clients that keep an address for 10 minutes. rotation.py tells how.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
enter_lab "$@"
export PYTHONDONTWRITEBYTECODE=1
status=0
# shellcheck disable=SC2086,SC2153 # lab.sh exports it, separated by blanks
python3 "$here/rotation.py" $LAB_V4 || status=$?
[ "$status" = 0 ] || [ "$status" = 77 ] || fail "see above"
exit "$status"
