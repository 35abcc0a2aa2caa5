#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What a command behind `openshell-egress run` must not get hold of, and what surroundings the fence must bear.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
enter_lab "$@"

mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$T/bin"

as_root() {
  "$@"
}

# No name is looked up here, so nobody needs to answer at this address.
run() {
  "$as" "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A" -- "$@"
}

# inside STATUS COMMAND...: its output is left in $out.
inside() {
  local wanted=$1 status=0
  shift
  out=$(run "$@" 2>&1) || status=$?
  [ "$status" = "$wanted" ] || fail "$as: '$*' gave status $status, not $wanted: $out"
}

# The caller's descriptor 9 must be neither in the command nor in its init, which has the same uid.
no_descriptor_leaks() {
  echo secret >"$T/secret"
  exec 9<"$T/secret"
  # shellcheck disable=SC2016
  inside 0 sh -c 'for fd in /proc/[0-9]*/fd/*; do readlink "$fd"; done; true'
  exec 9<&-
  ! grep -q "$T/secret" <<<"$out" || fail "$as: a descriptor of the caller is to be had inside: $out"
  inside 0 sh -c '! readlink /proc/1/fd/0 && ! cat /proc/1/environ && ! readlink /proc/1/root'
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  no_descriptor_leaks
  say "$as: passed"
done
