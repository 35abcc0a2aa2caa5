#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bad input gets the promised answer, never a crash, a hang or a silent default: policies, options, a port in use,
# DNS packets, CONNECT heads, and bursts of noise. Both daemons answer a good question afterwards.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
enter_lab "$@"
start_standin

# expect STATUS COMMAND...: the status, within 10 s; what it wrote goes to $T/said.err
expect() {
  local wanted=$1 status=0
  shift
  timeout 10 "$@" >"$T/said.err" 2>&1 </dev/null || status=$?
  [ "$status" = "$wanted" ] || fail "'$*' gave status $status, not $wanted: $(cat "$T/said.err")"
}

# said WHAT...: each of them stands in what the last command wrote.
said() {
  local what
  for what in "$@"; do
    grep -qF -e "$what" "$T/said.err" || fail "the message does not say '$what': $(cat "$T/said.err")"
  done
}

good=$top_srcdir/policy-examples/discord.yaml
bad=$T/bad.yaml
cat >"$bad" <<'EOF'
version: 1
network_policies:
  discord:
    endpoints:
      - host: gateway.discord.gg
        prot: 443
      - host: "*"
        port: 443
      - host: discord.com
        port: 0443
EOF
check_places() {
  said 'bad.yaml:6:9: error:' 'bad.yaml:7:15: error:' 'bad.yaml:10:15: error:'
}

# A policy error: 78, and every error with its place.
for daemon in "$dnsd" "$tunneld"; do
  expect 78 "$daemon" --listen 127.0.0.1:0 --upstream "$V4_A" --policy "$bad"
  check_places
  expect 78 "$daemon" --listen 127.0.0.1:0 --upstream "$V4_A" --policy "$bad" --check
  check_places
  expect 78 "$daemon" --listen 127.0.0.1:0 --upstream "$V4_A" --policy "$T/nosuch.yaml"
  said nosuch.yaml
  expect 0 "$daemon" --listen 127.0.0.1:0 --upstream "$V4_A" --policy "$good" --check
done
expect 78 "$egress" run --log "$T/run.log" --policy "$bad" --upstream "$V4_A" -- touch "$T/ran"
check_places
[ ! -e "$T/ran" ] || fail "the command ran under a policy that could not be read"
expect 1 "$egress" check "$bad"
check_places
expect 0 "$egress" check "$good"
say "policy errors: 78, every one with its place"

# A log that takes nothing stops neither daemon nor command, and one that cannot be read again is named.
expect 0 "$egress" run --log /dev/full --policy "$good" --upstream "$V4_A" -- true
said "/dev/full: No space left on device: what the daemons log is lost"
[ "$(grep -c "No space left" "$T/said.err")" = 1 ] || fail "told more than once: $(cat "$T/said.err")"
cat >"$T/binaries.yaml" <<'EOF'
version: 1
network_policies:
  web:
    endpoints: [{ host: www.example.org, port: 443 }]
    binaries: [{ path: /usr/bin/node }]
EOF
expect 78 "$egress" run --log "$T/binaries.log" --policy "$T/binaries.yaml" --upstream "$V4_A" -- true
said "binaries" "openshell-tunneld did not start; its words are above"
expect 78 "$egress" run --log /dev/full --policy "$T/binaries.yaml" --upstream "$V4_A" -- true
said "openshell-tunneld did not start; its words went to /dev/full"
say "a log that is full, or no file: told, and nothing else is lost"

# An option error: 64, and the option's name.
for daemon in "$dnsd" "$tunneld"; do
  expect 64 "$daemon" --no-such-option
  said no-such-option
  expect 64 "$daemon" --policy "$good" --listen somewhere
  said --listen
  expect 64 "$daemon" --policy
  said policy
done
expect 64 "$tunneld" --policy "$good" --idle-timeout soon
said --idle-timeout soon
expect 64 "$dnsd" --policy "$good" --deny-ttl soon
said --deny-ttl soon
expect 64 env OPENSHELL_TUNNELD_IDLE_TIMEOUT=soon "$tunneld" --policy "$good" --listen 127.0.0.1:0
said OPENSHELL_TUNNELD_IDLE_TIMEOUT soon
expect 64 "$egress" run --idle-timeout soon --policy "$good" -- true
said --idle-timeout
expect 64 "$egress" run --listen 127.0.0.1:1 --policy "$good" -- true
said --listen
expect 64 "$egress" run --policy "$good"
expect 64 "$egress" nosuch
said nosuch
expect 2 "$egress" check
expect 2 env OPENSHELL_DNSD_POLICY="$good" OPENSHELL_TUNNELD_POLICY="$bad" "$egress" explain gateway.discord.gg
said "$good" "$bad" --policy
say "option errors: 64, with the option's name"

# A port in use: 71, with the address.
python3 "$here/errors.py" hold 127.0.0.1 7001 "$T/held" &
wait_until 20 test -e "$T/held" || fail "nothing holds port 7001"
for daemon in "$dnsd" "$tunneld"; do
  expect 71 "$daemon" --listen 127.0.0.1:7001 --upstream "$V4_A" --policy "$good"
  said 127.0.0.1:7001
  expect 78 "$daemon" --listen '[fe80::1]:7002' --upstream "$V4_A" --policy "$good"
  said '[fe80::1]:7002' link-local 'use [::]'
done
say "a port in use: 71, an address that cannot be listened on: 78, with the address"

# Packets and heads.
start_daemon dnsd --listen 127.0.0.1:0 --upstream "$V4_A" --policy "$good"
dnsd_pid=$daemon_pid
start_daemon tunneld --listen 127.0.0.1:0 --upstream "$V4_A" --policy "$good"
tunneld_pid=$daemon_pid
python3 "$here/errors.py" packets "$T/dnsd.log" || fail "openshell-dnsd and bad packets"
python3 "$here/errors.py" heads "$T/tunneld.log" || fail "openshell-tunneld and bad heads"
for pid in "$dnsd_pid" "$tunneld_pid"; do
  is_alive "$pid" || fail "a daemon did not survive"
  kill -TERM "$pid"
  status=0
  wait "$pid" || status=$?
  [ "$status" = 0 ] || fail "a daemon ended with status $status on SIGTERM"
done
say "bad packets, bad heads and noise: answered as promised, and both daemons live on"
