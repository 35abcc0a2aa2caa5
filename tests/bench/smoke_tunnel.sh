#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make bench-tunnel` once, with little to do and without peers: every byte must arrive, and what does not depend on
# the machine's speed must hold.
set -eu
src=${top_srcdir:-.} build=${top_builddir:-.}
command -v python3 >/dev/null 2>&1 || {
  echo "SKIP: python3 not found" >&2
  exit 77
}
"$src/tests/support/lab.sh" -- sh -c 'ip address show lo >/dev/null' || exit $?
out=$("$src/tests/support/lab.sh" -- python3 "$src/tests/bench/bench_tunnel.py" --build "$build" --rounds 1 \
  --seconds 0.1 --bulk-mib 16 --idle 60 --window 0.1 --peers --parts setup bulk frames idle)
printf '%s\n' "$out"
for met in 'pipes held by all idle tunnels' 'idle tunnels lost'; do
  printf '%s\n' "$out" | grep -q "^met *$met" || {
    echo "not met: $met" >&2
    exit 1
  }
done
