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

# The tools of `make bench-tunnel` against each other: through both floors all bytes arrive, and a load that is sent to
# no origin must not find anything good.
"$dir/tunnel_origin" "127.0.0.1:$((port + 1))" &
origin=$!
"$dir/tunnel_floor" copy "127.0.0.1:$((port + 2))" "127.0.0.1:$((port + 1))" &
copy=$!
"$dir/tunnel_floor" splice "127.0.0.1:$((port + 3))" "127.0.0.1:$((port + 1))" &
splice=$!
"$dir/tunnel_floor" copy "127.0.0.1:$((port + 4))" "127.0.0.1:$((port + 5))" &
nowhere=$!
trap 'kill "$pid" "$origin" "$copy" "$splice" "$nowhere" 2>/dev/null || true' EXIT
load() {
  "$dir/tunnel_load" "$1" --proxy "127.0.0.1:$2" --target 127.0.0.1 "$3" "$4"
}
for _ in 1 2 3 4 5 6 7 8 9 10; do
  load setup $((port + 2)) --count 1 2>/dev/null | grep -q '"good":1,"bad":0' && break
  sleep 0.2
done
for proxy in $((port + 2)) $((port + 3)); do
  load setup "$proxy" --count 20 | grep -q '"good":20,"bad":0'
  load frames "$proxy" --ms 20 | grep -q '"good":[1-9]'
  for mode in down up both; do
    load "$mode" "$proxy" --bytes 5000000 | grep -q '"good":5000000,"bad":0'
  done
  load idle "$proxy" --tunnels 10 </dev/null | grep -q '"good":10,"bad":0'
done
load setup $((port + 4)) --count 5 | grep -q '"good":0,"bad":5'
