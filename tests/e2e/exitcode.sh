#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `openshell-egress run` is a good parent: its exit status is the command's, as root and as an ordinary user, and when
# it is killed nothing of what it started is left.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
enter_lab "$@"
start_standin

# Where an ordinary user can read them, wherever the tree itself lies.
mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$T/bin"
printf '#!/bin/sh\n' >"$T/bin/not-executable"
chmod 644 "$T/bin/not-executable"

run() {
  "$as" "$T/bin/openshell-egress" run --log "$logs/run.log" --policy "$T/bin/discord.yaml" --upstream "$V4_A" -- "$@"
}

as_root() {
  "$@"
}

# expect STATUS COMMAND...
expect() {
  local wanted=$1 status=0
  shift
  run "$@" >"$T/$as.out.log" 2>"$T/$as.err" || status=$?
  [ "$status" = "$wanted" ] || fail "$as: '$*' gave status $status, not $wanted"
}

# Nothing of a run is left: neither our programs nor the command, whose sleep is of a length of its own.
nothing_is_left() {
  ! grep -qs '^openshell-' /proc/[0-9]*/comm && ! grep -qsz '^4242$' /proc/[0-9]*/cmdline
}

list_processes() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    tr '\0' ' ' <"$file" 2>/dev/null && echo
  done
}

is_running() {
  grep -qsz '^4242$' /proc/[0-9]*/cmdline
}

# killed_by SIGNAL: the launcher gets it while the command runs; nothing may be left of either.
killed_by() {
  nothing_is_left || fail "$as: left behind by what ended by itself: $(list_processes)"
  run sh -c 'sleep 4242 & wait' >"$T/$as.out.log" 2>"$T/$as.err" &
  local job=$! launcher
  wait_until 20 is_running || fail "$as: the command did not start"
  launcher=$(oldest_launcher)
  kill -s "$1" "$launcher"
  wait "$job" && fail "$as: status 0 after SIG$1"
  wait_until 10 nothing_is_left || fail "$as: left behind after SIG$1: $(list_processes)"
}

# The launcher is the oldest of our processes: the others are its children.
oldest_launcher() {
  local file oldest=''
  for file in /proc/[0-9]*/comm; do
    if grep -qs '^openshell-egres' "$file"; then
      file=${file#/proc/}
      file=${file%/comm}
      if [ -z "$oldest" ] || [ "$file" -lt "$oldest" ]; then oldest=$file; fi
    fi
  done
  echo "$oldest"
}

for as in as_root as_user; do
  logs=$T/$as
  mkdir -m 1777 "$logs"
  if ! "$as" true; then
    skip "cannot become an ordinary user here; all but that passed"
  fi
  expect 0 true
  expect 7 sh -c 'exit 7'
  expect 127 nosuch-command-anywhere
  expect 127 "$T/bin/nosuch"
  expect 126 "$T/bin/not-executable"
  # shellcheck disable=SC2016
  expect 143 sh -c 'kill -TERM $$'
  [ "$(echo through | run cat 2>/dev/null)" = through ] || fail "$as: standard input and output are not the command's"
  # shellcheck disable=SC2016
  expect 0 sh -c 'test "$#" = 3 && test "$2" = "a  b" && test -z "$3"' sh x 'a  b' ''
  killed_by TERM
  ! compgen -G "$TMPDIR/openshell-run.*" >/dev/null || fail "$as: private files are left: $(ls "$TMPDIR")"
  killed_by KILL
  ! compgen -G "$TMPDIR/openshell-run.*" >/dev/null || fail "$as: private files are left: $(ls "$TMPDIR")"
  say "$as: exit statuses are the command's, and nothing is left after SIGTERM and SIGKILL"
done
