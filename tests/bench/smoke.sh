#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each benchmark once, with little to do: it must run and its decisions must be the expected ones.
set -eu
"${top_builddir:-.}/tests/bench/bench_policy" --smoke
"${top_builddir:-.}/tests/bench/bench_map" --smoke

# The tools of `make bench-dns` against each other: the load generator must see a right and a wrong answer.
dir=${top_builddir:-.}/tests/bench
port=$((10000 + $$ % 20000)) # below those that the kernel gives out
"$dir/dns_floor" answer "127.0.0.1:$port" 60 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true' EXIT
good=0
for _ in 1 2 3 4 5; do
  out=$("$dir/dns_load" --server "127.0.0.1:$port" --pattern n%07u.bench.example --names 100 --expect addr --seconds 1)
  good=$(printf '%s' "$out" | sed 's/.*"good":\([0-9]*\).*/\1/')
  [ "$good" -gt 0 ] && break
done
[ "$good" -gt 0 ]
for expect in nxdomain echo; do
  out=$("$dir/dns_load" --server "127.0.0.1:$port" --pattern n%07u.bench.example --names 100 --expect "$expect" --seconds 1 --window 1)
  case $out in
  *'"good":0,'*) ;;
  *) echo "dns_load took an address for $expect: $out" >&2; exit 1 ;;
  esac
done

# What bench-dns says of the targets, of figures that are given.
figures='
{"rounds": {"cached": {"floor: echo": [3.0, 6.0, 3.0], "unbound": [5.0, 10.0, 4.0],
                       "openshell-dnsd, 10000 rules": [3.6, 7.2, 2.7], "openshell-dnsd, 100000 rules": [4.0, 8.0, 3.0]}},
 "upstream": {"cached": {"unbound": {"answers": 10, "questions": 2, "ports": 2, "repeats": 0}}}}
'
verdicts=$(python3 "${top_srcdir:-.}/tests/bench/bench_dns.py" --from-json /dev/stdin <<EOF_FIGURES
$figures
EOF_FIGURES
)
for line in \
  'met    cached: CPU to that of the echo server: at most 1.25, measured 1.20 (0.90 to 1.20)' \
  'MISSED cached: CPU to that of the best peer: at most 0.7, measured 0.72 (0.68 to 0.72) (unbound)' \
  'MISSED cached: 100000 rules to 10000 rules: at most 1.1, measured 1.11 (1.11 to 1.11)' \
  'not measured: miss: CPU to that of the best peer'; do
  printf '%s\n' "$verdicts" | grep -qxF "$line" || { echo "bench_dns.py does not say \"$line\":" >&2; printf '%s\n' "$verdicts" >&2; exit 1; }
done

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
