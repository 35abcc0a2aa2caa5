#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Real protocols, byte for byte, by both ways out of the fence: captured (the program opens its own connection to the
# name) and through CONNECT. Each is exchanged with a server that its own project ships, is quiet for a while, and
# goes on; a server that speaks first is heard at once. (silence.sh is quiet for longer than any timer was meant to last.)
#
#   protocols.sh [PROTOCOL...]    the default: those whose servers are small. postgresql, mariadb: protocols_more.sh
#
# protocols/serve.sh starts the servers, outside the fence; protocols/inside.sh holds the clients, behind it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/protocols/serve.sh
. "$here/protocols/serve.sh"
[ $# -gt 0 ] || set -- tls12 tls13 h2 ws ssh redis smtp mysql grpc git
for protocol in "$@"; do
  "need_$protocol"
done
enter_lab "$@"

QUIET_S=4
export QUIET_S SERVER=$V4_B FILES=$T/files
make_files
write_zone "$@"
start_standin --zone "$T/zone.json"
write_policy "$@"
for protocol in "$@"; do
  "serve_$protocol"
done
wait_for_servers
hear_banners "$@"

behind_fence() {
  NODE_EXTRA_CA_CERTS=$CA "$egress" run --log "$T/$1.log" --policy "$T/policy.yaml" --upstream "$V4_A" -- \
    timeout 300 "$here/protocols/inside.sh" "$@" 2>"$T/$1.err"
}

status=0
behind_fence captured "$@" &
captured=$!
behind_fence connect "$@" || status=1
wait "$captured" || status=1

# went WAY PROTOCOL: its clients said so, and the log of the proxy says that they went the way they should.
went() {
  local log=$T/$1.log via=$1 host=$2.example.org bad
  [ "$via" != captured ] || via=capture
  [ -e "$T/$1.$2.ok" ] || return 1
  grep -q "tunnel_close .*host=$host .*via=$via " "$log" || return 1
  # Every tunnel to it ended because one of its ends wanted it to, or with the last of the clients.
  bad=$(grep "tunnel_close .*host=$host " "$log" |
    grep -vE "reason=((client|upstream)_(closed|reset)|shutdown) .*via=$via ") || return 0
  echo "$2, $1: $bad" >&2
  return 1
}

show() {
  if went "$1" "$2"; then echo ok; else echo FAIL; fi
}

printf '%-46s %-9s %s\n' "protocol and clients" captured CONNECT
for protocol in "$@"; do
  captured=$(show captured "$protocol") connect=$(show connect "$protocol")
  printf '%-46s %-9s %s\n' "$protocol: $(clients_of "$protocol")" "$captured" "$connect"
  [ "$captured $connect" = 'ok ok' ] || status=1
done
[ "$status" = 0 ] || fail "see the table, and below what the clients said"
