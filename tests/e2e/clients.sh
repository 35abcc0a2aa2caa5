#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What clients of HTTP expect of a proxy, case by case and client by client: curl, node's fetch (undici) and http
# module, Python's urllib; and with large tool chains (clients_more.sh) Python's requests, Java's two, Go's net/http.
#
#   clients.sh [CLIENT...]
#
# Each client runs in a fence of its own and says "ok CASE" or "FAIL CASE: why"; at the end stands a table of it all.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || set -- curl fetch http urllib
need_node_modules
for client in "$@"; do
  case $client in
  curl) need curl curl ;;
  fetch | http | urllib) ;; # node and python3 are needed anyway
  requests) /usr/bin/python3 -c 'import requests' 2>/dev/null || skip "Python's requests not found (Debian: apt-get install python3-requests)" ;;
  java | urlconnection) need javac default-jdk-headless ;;
  go) need go golang-go ;;
  *) fail "no such client: $client" ;;
  esac
done
enter_lab "$@"
# shellcheck disable=SC2153 # lab.sh exports it
read -r _ V6_B _ <<<"$LAB_V6"
BLOB=$T/blob
export V6_B BLOB PYTHONDONTWRITEBYTECODE=1
python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(409).randbytes(1500000))' >"$BLOB"
# What origin.mjs sends in chunks.
CHUNKS=$(python3 -c 'import hashlib; print(hashlib.sha256(b"".join(bytes([i]) * (i * 371 + 1) for i in range(60))).hexdigest())')
export CHUNKS

cat >"$T/policy.yaml" <<POLICY
version: 1
network_policies:
  web:
    name: web
    endpoints:
      - { host: web.example.org, ports: [80, 443] }
      - { host: keep.example.org, port: 80 }
      - { host: direct.example.org, ports: [80, 443] }
      - { host: refused.example.org, port: 81 }
      - { host: nx.example.org, ports: [80, 443] }
      - { host: $V4_B, port: 80 }
      ${V6_B:+- { host: \"$V6_B\", port: 80 \}}
    binaries: [{ path: "/**" }]
POLICY
python3 - "$V4_B" "$V6_B" >"$T/zone.json" <<'ZONE'
import json, sys
ours = dict(A=sys.argv[1:2], AAAA=sys.argv[2:] if sys.argv[2] else "nodata")
print(json.dumps({name + ".example.org": ours for name in ("web", "keep", "direct", "refused")}))
ZONE
start_standin --zone "$T/zone.json"
node "$here/clients/origin.mjs" "$T/standin/server.pem" "$T/origin" "$V4_B" ${V6_B:+"$V6_B"} 2>"$T/origin.err" &
origin_pid=$!

# command_of CLIENT: sets the array `command`.
command_of() {
  case $1 in
  curl) command=("$here/clients/curl.sh") ;;
  fetch | http) command=(node "$here/clients/node.mjs" "$1") ;;
  urllib) command=(python3 "$here/clients/client.py" urllib) ;;
  requests) command=(/usr/bin/python3 "$here/clients/client.py" requests) ;; # where Debian's packages are
  java | urlconnection)
    [ -e "$T/java" ] || javac -d "$T/java" "$here/clients/Client.java" || fail "Client.java does not compile"
    command=(java -XX:TieredStopAtLevel=1 -cp "$T/java" Client "$1")
    ;;
  go)
    CGO_ENABLED=0 GO111MODULE=off GOCACHE=$T/go GOPATH=$T/gopath go build -o "$T/client-go" "$here/clients/client.go" ||
      fail "client.go does not compile"
    command=("$T/client-go")
    ;;
  esac
}

# run_client CLIENT COMMAND...
run_client() {
  local client=$1
  shift
  local none=localhost,127.0.0.1,::1,direct.example.org
  NODE_EXTRA_CA_CERTS=$CA "$egress" run --log "$T/$client.log" --policy "$T/policy.yaml" --upstream "$V4_A" -- \
    env NO_PROXY=$none no_proxy=$none timeout 300 "$@" >"$T/$client.cases" 2>"$T/$client.err"
}

origin_is_ready() {
  is_alive "$origin_pid" || fail "the web server ended: $(cat "$T/origin.err")"
  [ -e "$T/origin" ]
}

pids=()
status=0
for client in "$@"; do
  command_of "$client"
  wait_until 60 origin_is_ready || fail "the web server is not ready after 60 s"
  run_client "$client" "${command[@]}" &
  pids+=($!)
done
for pid in "${pids[@]}"; do
  wait "$pid" || status=1
done

# went CLIENT CASE: what the client cannot see is read from the log of its proxy.
went() {
  local log=$T/$1.log ports
  grep -qx "ok $2" "$T/$1.cases" || return 1
  # What was typed as a password is in no log.
  ! grep -qE 'hunter2|aHVudGVyMg|podW50ZXIy' "$log" || return 1
  case $1:$2 in
  curl:*) ;; # has looked itself
  *:keep_alive) # three requests, fewer connections: a pool may open a second before it knows that the first is free
    ports=$(grep -E ' (forward|tunnel_open) .*host=keep\.example\.org ' "$log" | grep -oE ' client=[^ ]+' | sort -u | wc -l)
    [ "$ports" -ge 1 ] && [ "$ports" -lt 3 ] || return 1
    ;;
  *:no_proxy)
    ports=$(grep -E ' (forward|tunnel_open) .*host=direct\.example\.org ' "$log" | grep -oE ' port=[0-9]+ | via=[a-z]+' | sort -u | tr -d '\n')
    [ "$ports" = ' port=443  port=80  via=capture' ] || return 1
    ;;
  esac
}

printf '%-18s' case
printf '%-14s' "$@"
echo
names=$(for client in "$@"; do sed -nE 's/^(ok|FAIL) ([a-zA-Z0-9_]+).*/\2/p' "$T/$client.cases"; done | awk '!seen[$0]++')
[ -n "$names" ] || fail "no case ran"
for name in $names; do
  printf '%-18s' "$name"
  for client in "$@"; do
    result=-
    if grep -qE "^(ok|FAIL) $name(:|\$)" "$T/$client.cases"; then
      if went "$client" "$name"; then
        result=ok
      else
        result=FAIL status=1
      fi
    fi
    printf '%-14s' "$result"
  done
  echo
done
for client in "$@"; do
  # Every client has these; a program that ended early has not.
  for name in forward connect post https_post chunked_up chunked_down redirect denied_http denied_https no_proxy; do
    grep -qx "ok $name" "$T/$client.cases" || status=1
  done
  sed -n "s/^FAIL /$client: /p" "$T/$client.cases" >&2
done
[ "$status" = 0 ] || fail "see the table, and above what the clients said"
