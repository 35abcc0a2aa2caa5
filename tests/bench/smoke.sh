#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each benchmark once, with little to do: it must run and its decisions must be the expected ones.
set -eu
"${top_builddir:-.}/tests/bench/bench_policy" --smoke
"${top_builddir:-.}/tests/bench/bench_map" --smoke

# The tools of `make bench-dns` against each other: the load generator must see a right and a wrong answer.
dir=${top_builddir:-.}/tests/bench
port=$((20000 + $$ % 20000))
"$dir/dns_floor" answer "127.0.0.1:$port" 60 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true' EXIT
good=0
for _ in 1 2 3 4 5; do
  out=$("$dir/dns_load" --server "127.0.0.1:$port" --pattern n%06u.bench.example --names 100 --expect addr --seconds 1)
  good=$(printf '%s' "$out" | sed 's/.*"good":\([0-9]*\).*/\1/')
  [ "$good" -gt 0 ] && break
done
[ "$good" -gt 0 ]
out=$("$dir/dns_load" --server "127.0.0.1:$port" --pattern n%06u.bench.example --names 100 --expect nxdomain --seconds 1 --window 1)
case $out in
*'"good":0,'*) ;;
*) echo "dns_load took an address for NXDOMAIN: $out" >&2; exit 1 ;;
esac
