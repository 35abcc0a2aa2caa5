#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What the policy does not name fails at once, and says so in the words a program understands: "no such host", never
# "try again". Under glibc, under musl, and in node; and not one packet for such a name goes upstream. Connections to
# where no name leads fail at once as well. "At once" is under 100 ms.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need_node_modules
need "${CC:-cc}" gcc
enter_lab "$@"
start_standin

denied='www.example.com example.com x.discord.com discord.com.example.com nosuch.test'
allowed='discord.com gateway.discord.gg'

# check_names LOG: every denied name was refused with the right word, and in time; every allowed one was found.
check_names() {
  local name
  for name in $denied; do
    check_refusals "$name" "$1" EAI_NONAME ENOTFOUND
  done
  for name in $allowed; do
    grep -qE "^$name (.* )?198\.1[89]\." "$1" || fail "$name: $(grep "^$name " "$1")"
  done
}

# resolve LIBC PROBE: the names in a fence of their own.
resolve() {
  # shellcheck disable=SC2086 # the names are meant to be split
  fenced "$T/$1.log" -- "$2" resolve $denied $allowed >"$T/$1.out.log" 2>"$T/$1.err" || fail "$1: status $?"
  check_names "$T/$1.out.log"
  for name in $denied; do
    ! grep -qF "$name\"" "$QUERIES" || fail "$1: $name was asked for upstream"
  done
  grep -q '"name": "discord.com"' "$QUERIES" || fail "$1: the stand-in saw no query at all: this proves nothing"
  say "$1: $(wc -w <<<"$denied") names denied in time, none of them asked for upstream"
}

"${CC:-cc}" -O1 -Wall -Wextra -o "$T/probe" "$here/probe.c" || fail "probe.c does not compile"
resolve glibc "$T/probe"
resolve node "$here/lookup.mjs"

# One fence, because an address means something only in the fence that handed it out.
never=198.18.77.77
# shellcheck disable=SC2016 # expanded by the inner shell
fenced "$T/connect.log" -- sh -ec '
  set -- "$1" "$2" "$3" "$4" "$("$1" resolve discord.com | head -n 1 | cut -d" " -f2)"
  echo "handed out $5"
  "$1" connect "$5" 443 "$5" 8443 "$2" 443 "$3" 443 $4' sh "$T/probe" "$never" "$V4_A" \
  "${V6_A:+$V6_A 443}" >"$T/connect.out.log" 2>"$T/connect.err" || fail "connect: status $?"
handed=$(sed -n 's/^handed out //p' "$T/connect.out.log")
grep -q "^$handed 443 open " "$T/connect.out.log" || fail "discord.com's own address does not work: this proves nothing"
check_refused() {
  check_refusals "$1" "$T/connect.out.log" ECONNREFUSED ECONNRESET ENETUNREACH EHOSTUNREACH
}
# The probe is silent. Who speaks is told in its own protocol why; who does not is reset after 250 ms.
limit=350 check_refused "$handed 8443"
check_refused "$never 443"
check_refused "$V4_A 443"
[ -z "$V6_A" ] || check_refused "$V6_A 443"
say "connections: a port no rule names, an address never handed out and the real address all fail at once"

command -v musl-gcc >/dev/null 2>&1 || skip "musl-gcc not found (Debian: apt-get install musl-tools); all but musl passed"
musl-gcc -static -O1 -Wall -Wextra -o "$T/probe-musl" "$here/probe.c" || fail "probe.c does not compile with musl"
resolve musl "$T/probe-musl"
