#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The defect this product exists for, at full length: a WebSocket that is silent for 150 seconds in both directions is
# alive afterwards, captured and through CONNECT. The same with `--idle-timeout 2s` is closed after 2 s, for that reason.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need_node_modules
enter_lab "$@"
start_standin

# Two clients share each fence, so that one policy, one pair of daemons and one timer setting is what they both see.
# shellcheck disable=SC2016 # expanded by the inner shell
both='node "$0" native "$1" "$2" & first=$!; node "$0" connect "$1" "$2"; second=$?; wait "$first" && exit "$second"'
fenced "$T/long.log" -- sh -c "$both" "$here/echo.mjs" 150 alive >"$T/long.out.log" 2>&1 &
long=$!

fenced "$T/short.log" --idle-timeout 2s -- sh -c "$both" "$here/echo.mjs" 2 dead >"$T/short.out.log" 2>&1 ||
  fail "with --idle-timeout 2s: $(cat "$T/short.out.log")"
cat "$T/short.out.log"
closed=$(grep -c 'reason=idle' "$T/short.log" || :)
[ "$closed" = 2 ] || fail "the log names the reason idle $closed times, not twice"

wait "$long" || fail "silent for 150 s: $(cat "$T/long.out.log")"
cat "$T/long.out.log"
! grep -q 'reason=idle' "$T/long.log" || fail "a tunnel without an idle timeout was closed as idle"
