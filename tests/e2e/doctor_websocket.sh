#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The idle WebSocket of `openshell-egress doctor`, through CONNECT and natively, over TLS and plain: servers that behave,
# cut, refuse, lie, say goodbye or go deaf, each told from the others. A build without OpenSSL says that it has no wss://.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/doctor_lib.sh
. "$(dirname "$0")/doctor_lib.sh"
enter_lab "$@"
name=ws.example.com
printf '{"%s": {"A": ["%s"]}}' "$name" "$V4_B" >"$T/zone.json"
start_standin --zone "$T/zone.json"
python3 "$here/doctor_websocket.py" "$V4_B" "$T/standin/server.pem" "$T/ws-ready" 2>"$T/websocket.err" &
wait_until 20 test -e "$T/ws-ready" || fail "the WebSocket servers are not ready: $(cat "$T/websocket.err")"

cat >"$T/sockets.yaml" <<YAML
version: 1
network_policies:
  sockets:
    endpoints:
      - { host: $name, ports: [80, 443] }
YAML
examine=(timeout 120 env SSL_CERT_FILE="$CA" "$egress" doctor)

# both TARGET PATTERN: the WebSocket's line of both ways.
both() {
  row "$1" 'WebSocket, CONNECT' "$2"
  row "$1" 'WebSocket, native' "$2"
}
# stands_in TARGET PATTERN: the idle TCP connection's, where no WebSocket came about.
stands_in() {
  row "$1" 'idle, over CONNECT' "$2"
  row "$1" 'idle, native' "$2"
}

# As long as --idle 4s, and longer where connections are slow to open.
long='([4-9]s|[4-9][0-9]{3}ms|[1-9][0-9]+s|[1-9][0-9]{4,}ms)'

# each SCHEME PORT: every server, all in one run.
each() {
  local scheme=$1 port=$2 path urls=() at
  for path in / /chatty?v=10 /cut /fin /close /deaf /parrot /masked /refuse /moved /accept /foreign; do
    urls+=("$scheme://$name$path")
  done
  at="$name:$port, a WebSocket at "
  doctor 1 fenced "$T/$scheme.log" --policy "$T/sockets.yaml" -- "${examine[@]}" --idle 4s "${urls[@]}"
  grep -qE 'done within 1m9s|done within 69s' "$T/doctor.err" || fail "it does not say how long: $(cat "$T/doctor.err")"
  [ "$scheme" = ws ] || row "$at/" 'native TLS' 'ok +ServerHello'
  both "$at/" 'ok +alive after '"$long"', a pong came in <?[0-9]+m?s'
  ! (row "$at/" 'idle, native' '') 2>/dev/null || fail "a TCP connection stood in for a WebSocket that lives"
  both "$at/chatty" 'ok +alive after .*; the server spoke [0-9]+ times, the longest silence was '
  both "$at/cut" 'FAILED +reset \(RST\) after [0-9]+(ms|s)( to [0-9]+m?s)? of silence, without a close frame: programs see 1006'
  both "$at/fin" 'FAILED +closed \(FIN\) after [0-9]+(ms|s)( to [0-9]+m?s)? of silence, without a close frame'
  both "$at/close" 'ok, but +the server itself said goodbye after .*: 4009 Session timed out\.'
  both "$at/deaf" 'FAILED +no pong within [0-9]+(ms|s) of a ping, after '"$long"' of silence: it looks open'
  both "$at/parrot" 'FAILED +no pong within .*: something else came'
  both "$at/masked" 'FAILED +what comes are no WebSocket frames: a masked frame from a server'
  both "$at/refuse" 'ok, but +426: the server is there'
  stands_in "$at/refuse" 'ok +still there after 4s'
  both "$at/moved" 'ok, but +301: '
  both "$at/accept" 'FAILED +101 with a wrong Sec-WebSocket-Accept'
  stands_in "$at/accept" 'ok +still there after 4s'
  both "$at/foreign" 'FAILED +what answers the upgrade is not HTTP/1'
  change 'reason=idle is --idle-timeout or .timeouts: \{ idle: 0 \}'
  change 'a proxy in between that is not ours'
  change 'nothing in the network: the server closed it'
  change 'a NAT or firewall forgot the connection'
  change 'name the path of its WebSocket'
  ! grep -q 'v=10' "$T/said" || fail "the query is shown: $(cat "$T/said")"
  doctor 1 fenced "$T/$scheme.log" --policy "$T/sockets.yaml" -- "${examine[@]}" --idle 1s "$scheme://$name/mute"
  both "$at/mute" 'FAILED +still open, without an answer to the upgrade'
  stands_in "$at/mute" 'ok +still there after 1s'
  say "$scheme: each server is told from the others, both ways"
}

each ws 80
if "$egress" doctor --help | grep -q 'no wss://'; then
  doctor 0 fenced "$T/none.log" --policy "$T/sockets.yaml" -- "${examine[@]}" --idle 1s "wss://$name/"
  both "$name:443, a WebSocket at /" '- +not tested: this build has no TLS \(configure it --with-openssl\)'
  stands_in "$name:443, a WebSocket at /" 'ok +still there after 1s'
  say "built without OpenSSL: it says so, and a TCP connection stands in"
  exit 0
fi
each wss 443

# What tunneld itself cuts, and its log's reason.
doctor 1 fenced "$T/idle.log" --policy "$T/sockets.yaml" --idle-timeout 1s -- "${examine[@]}" --idle 30s "wss://$name/"
both "$name:443, a WebSocket at /" 'FAILED +(reset|closed) \((RST|FIN)\) after [0-9]+(ms|s)( to [0-9]+m?s)? of silence'
change 'reason=idle is --idle-timeout'
wait_until 20 grep -q 'reason=idle' "$T/idle.log" || fail "the log does not have the reason that is told"
say "tunneld's own idle timer: found, and named"

# The policy's `protocol: websocket` is enough; as JSON. A certificate that nobody trusts is told.
cat >"$T/websocket.yaml" <<YAML
version: 1
network_policies:
  sockets:
    endpoints:
      - { host: $name, port: 443, protocol: websocket, access: full }
YAML
doctor 0 fenced "$T/json.log" --policy "$T/sockets.yaml" -- timeout 120 "$egress" doctor --policy "$T/websocket.yaml" \
  --idle 1s --format json
python3 - "$T/said" <<'PYTHON' || fail "the JSON is another: $(cat "$T/said")"
import json, sys
target = {t["host"]: t for t in json.load(open(sys.argv[1]))["targets"]}
assert target["doctor.openshell.invalid"]["websocket"] is None
target = target["ws.example.com"]
checks = {c["check"]: c for c in target["checks"]}
assert target["websocket"] == "/" and target["works"] is True
for way in "connect", "native":
    check = checks[way + "_websocket"]
    assert check["state"] == "noted" and check["fault"] == "certificate" and "SSL_CERT_FILE" in check["change"]
    assert "alive" in check["text"] and checks[way + "_idle"]["state"] == "not_tested"
PYTHON
say "protocol: websocket is tried by itself; a certificate that is not trusted is told"

# Discord as it is: HELLO, and a goodbye to who does not beat; or a gateway that is silent.
doctor 0 fenced "$T/discord.log" -- "${examine[@]}" --idle 1s 'wss://gateway.discord.gg/?v=10&encoding=json' \
  wss://gateway.discord.gg/silent
both 'gateway.discord.gg:443, a WebSocket at /silent' 'ok +alive after '
both 'gateway.discord.gg:443, a WebSocket at /' 'ok +alive after .*; the server spoke 1 time, '
say "Discord's gateway: HELLO is no silence, and lives"

# Names steered to tunneld: TLS by SNI, and the upgrade of plain HTTP by Host, where a refusal is tunneld's own.
cat >"$T/steered.yaml" <<YAML
version: 1
network_policies:
  sockets:
    endpoints:
      - { host: $name, ports: [80, 443] }
      - { host: gateway.discord.gg, port: 443 }
YAML
start_daemon tunneld --listen 127.0.0.1:3128 --transparent 127.0.0.9:80 --transparent 127.0.0.9:443 \
  --steer-address 127.0.0.9 --upstream "$V4_A" --policy "$T/steered.yaml"
start_daemon dnsd --listen 127.0.0.1:53 --answer steer --steer-address 127.0.0.9 --upstream "$V4_A" \
  --policy "$T/steered.yaml"
doctor 1 with_resolv_conf 'nameserver 127.0.0.1\n' env HTTPS_PROXY=http://127.0.0.1:3128 "${examine[@]}" --idle 1s \
  "ws://$name/" "wss://$name/" ws://gateway.discord.gg/
for port in 80 443; do
  row "$name:$port, a WebSocket at /" 'native TCP' 'ok +127\.0\.0\.9:'
  both "$name:$port, a WebSocket at /" 'ok +alive after '
done
row 'gateway.discord.gg:80, a WebSocket at /' 'WebSocket, native' 'FAILED +403 policy_denied'
change 'add .- \{ host: gateway\.discord\.gg, port: 80 \}'
say "steered names: alive, and tunneld's own refusal is not the server's"

doctor 64 "${examine[@]}" 'wss://user@ws.example.com/'
doctor 64 "${examine[@]}" 'ws://ws.example.com/#part'
doctor 64 "${examine[@]}" https://ws.example.com/
say "usage 64"
