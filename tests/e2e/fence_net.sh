#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The network behind `openshell-egress run`: every address but the pools' refuses at once, every name server is ours, the
# command keeps its own ports, and a policy that gains a port or a host is obeyed while the command runs. Where nf_tables
# is missing, one listener a port does what it can, and the log says so.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
need "${CC:-cc}" gcc
enter_lab "$@"
start_standin
"${CC:-cc}" -O1 -Wall -Wextra -o "$T/without" "$here/without.c" || fail "without.c does not compile"

mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$here/fence_net.py" "$T/bin"
chmod 755 "$T/without"

as_root() {
  "$@"
}

# policy HOST PORT [HOST PORT]...
policy() {
  printf 'version: 1\nnetwork_policies:\n  some:\n    name: some\n    endpoints:\n' >"$T/policy.new"
  while [ $# -gt 0 ]; do
    printf '      - {host: %s, port: %s}\n' "$1" "$2" >>"$T/policy.new"
    shift 2
  done
  printf '    binaries: [{path: /**}]\n' >>"$T/policy.new"
  chmod 644 "$T/policy.new"
  mv "$T/policy.new" "$T/policy.yaml"
}

# run WITHOUT [OPTION...] -- COMMAND...: as $as, on a kernel without what the first word says (- : nothing is missing).
run() {
  local without=()
  [ "$1" = - ] || without=("$T/without" "$1" --)
  shift
  "$as" "${without[@]}" "$T/bin/openshell-egress" run --log "$T/$as/run.log" --upstream "$V4_A" "$@"
}

# found LINE...: exactly these are in the output.
found() {
  local line
  for line in "$@"; do
    grep -qx -- "$line" "$T/$as.out.log" || fail "$as: '$line' is not in: $(cat "$T/$as.out.log")"
  done
}

everything_else_is_refused() {
  run - --policy "$T/policy.yaml" --capture redirect -- python3 "$T/bin/fence_net.py" all "$V4_A" "$V6_A" \
    >"$T/$as.out.log" 2>"$T/$as.err" || fail "$as: status $?: $(cat "$T/$as.err")"
  local address pooled
  for address in "$V4_A" 8.8.8.8 10.0.0.1 169.254.169.254 223.255.255.254 $V6_A; do
    found "tcp $address 443 ECONNREFUSED" "udp $address 443 ECONNREFUSED"
  done
  found "tcp $V4_A 8443 ECONNREFUSED" "udp 224.0.0.251 5353 ENETUNREACH" 'tcp 127.0.0.1 15001 ECONNRESET'
  [ -z "$V6_A" ] || found 'tcp fe00::1 443 ECONNREFUSED'
  pooled=$(sed -n 's/^pooled //p' "$T/$as.out.log")
  found "udp $pooled 443 ECONNREFUSED" 'own 127.0.0.1 ok' 'own 0.0.0.0 ok'
  for address in 8.8.8.8 127.0.0.1 127.0.0.53 "$V4_A"; do
    found "dns udp $address discord.com 0 synthetic" "dns tcp $address discord.com 0 synthetic" \
      "dns udp $address www.example.com 3" "dns tcp $address www.example.com 3"
  done
  [ -z "$V6_A" ] || found 'dns udp 2001:4860:4860::8888 discord.com 0 synthetic' \
    'dns tcp 2001:4860:4860::8888 discord.com 0 synthetic'
  # $V4_A is the upstream itself: who asks it is answered by us, and it hears nothing.
  grep -q '"discord\.com"' "$QUERIES" || fail "$as: the stand-in saw no query at all: this proves nothing"
  ! grep -q 'www\.example\.com' "$QUERIES" || fail "$as: a denied name was asked for upstream"
  ! grep -q capture_by_port "$T/$as/run.log" || fail "$as: the log tells of the fallback"
}

a_policy_may_grow() {
  policy discord.com 443
  mkdir -m 1777 "$T/$as/marks"
  run - --policy "$T/policy.yaml" --capture redirect -- python3 "$T/bin/fence_net.py" reload "$T/$as/marks" \
    >"$T/$as.out.log" 2>"$T/$as.err" &
  local job=$!
  wait_until 30 test -e "$T/$as/marks/port" || fail "$as: the command did not start: $(cat "$T/$as.err")"
  policy discord.com 443 discord.com 8443
  wait_until 60 test -e "$T/$as/marks/host" || fail "$as: the new port: $(cat "$T/$as.out.log")"
  policy discord.com 443 discord.com 8443 gateway.discord.gg 443
  wait "$job" || fail "$as: status $?: $(cat "$T/$as.err")"
  found 'before port False' 'after port True' 'before host False' 'after host True'
}

without_nf_tables() {
  local status=0
  policy discord.com 443 discord.com 8443
  : >"$T/$as/run.log"
  run nft --policy "$T/policy.yaml" --log-format json -- true 2>"$T/$as.err" || fail "$as: $(cat "$T/$as.err")"
  run nft --policy "$T/policy.yaml" -- python3 -c "
import socket
socket.create_connection(('discord.com', 443), 10); socket.create_connection(('discord.com', 8443), 10)" 2>"$T/$as.err" ||
    fail "$as: without nf_tables: $(cat "$T/$as.err")"
  grep -q 'warn openshell-egress capture_by_port why="nf_tables: Protocol not supported"' "$T/$as/run.log" ||
    fail "$as: the log says nothing of nf_tables: $(cat "$T/$as/run.log")"
  grep -q '"event":"capture_by_port"' "$T/$as/run.log" || fail "$as: not in JSON"
  out=$(run nft --policy "$T/policy.yaml" --capture redirect -- true 2>&1) || status=$?
  [ "$status" = 71 ] || fail "$as: --capture redirect without nf_tables: status $status: $out"
  grep -q 'nf_tables: Protocol not supported (--capture auto ' <<<"$out" || fail "$as: $out"
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  mkdir -m 1777 "$T/$as"
  policy discord.com 443 discord.com 8443
  everything_else_is_refused
  a_policy_may_grow
  without_nf_tables
  say "$as: passed"
done
