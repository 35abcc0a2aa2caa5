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

# What bench-dns says of the targets, of figures that are given. A target of misses counts only with fresh source ports.
verdicts_of() { # PORTS: as many of ours has the authority seen
  python3 "${top_srcdir:-.}/tests/bench/bench_dns.py" --from-json /dev/stdin <<EOF_FIGURES
{"rounds": {"cached": {"floor: echo": [3.0, 6.0, 3.0], "unbound": [5.0, 10.0, 4.0],
                       "openshell-dnsd, 10000 rules": [3.6, 7.2, 2.7], "openshell-dnsd, 100000 rules": [4.0, 8.0, 3.0]},
            "miss": {"openshell-dnsd, 10000 rules": [9.0, 18.0, 9.0], "dnsmasq": [18.0, 36.0, 20.0],
                     "unbound": [30.0, 60.0, 30.0], "dnsdist": [7.5, 15.0, 9.0]}},
 "upstream": {"cached": {"unbound": {"answers": 10, "questions": 2, "ports": 2, "repeats": 0}},
              "miss": {"openshell-dnsd, 10000 rules": {"answers": 90000, "questions": 90000, "ports": $1, "repeats": 0},
                       "dnsmasq": {"answers": 90000, "questions": 90000, "ports": 28000, "repeats": 0},
                       "unbound": {"answers": 900, "questions": 900, "ports": 880, "repeats": 0},
                       "dnsdist": {"answers": 90000, "questions": 90000, "ports": 18, "repeats": 0}}}}
EOF_FIGURES
}
expect_line() { # VERDICTS LINE
  printf '%s\n' "$1" | grep -qxF "$2" || { echo "bench_dns.py does not say \"$2\":" >&2; printf '%s\n' "$1" >&2; exit 1; }
}
verdicts=$(verdicts_of 28000)
for line in \
  'met    cached: CPU to that of the echo server: at most 1.25, measured 1.20 (0.90 to 1.20)' \
  'MISSED cached: CPU to that of the best peer: at most 0.7, measured 0.72 (0.68 to 0.72) (unbound)' \
  'MISSED cached: 100000 rules to 10000 rules: at most 1.1, measured 1.11 (1.11 to 1.11)' \
  'met    miss, a fresh source port each: CPU to that of the best peer that does so too: at most 1, measured 0.50 (0.45 to 0.50) (dnsmasq)' \
  'MISSED miss: CPU to that of the best peer: at most 1, measured 1.20 (1.00 to 1.20) (dnsdist)' \
  'not measured: denied: CPU to that of the best peer'; do
  expect_line "$verdicts" "$line"
done
expect_line "$(verdicts_of 18)" \
  'MISSED miss, a fresh source port each: CPU to that of the best peer that does so too: at most 1, measured inf (openshell-dnsd, 10000 rules had too few ports)'

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
