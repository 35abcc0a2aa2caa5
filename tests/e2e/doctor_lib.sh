# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# doctor_lib.sh: reads what `openshell-egress doctor` says. Sourced behind lib.sh.

# doctor STATUS COMMAND...: what it says goes to $T/said.
doctor() {
  local wanted=$1 status=0
  shift
  "$@" >"$T/said" 2>"$T/doctor.err" </dev/null || status=$?
  [ "$status" = "$wanted" ] || fail "'$*' gave status $status, not $wanted: $(cat "$T/said" "$T/doctor.err")"
}

# row TARGET CHECK PATTERN: that line of that target.
row() {
  awk -v target="$1" 'index($0, target) == 1 && substr($0, length(target) + 1, 1) ~ /^,?$/ { on = 1; next } /^[^ ]/ || /^$/ { on = 0 } on' "$T/said" |
    grep -qE -- "^  $2 +$3" || fail "no line '$2: $3' for $1 in: $(cat "$T/said")"
}

# change PATTERN: some line to be changed is this one.
change() {
  grep -qE -- "^ +change: .*$1" "$T/said" || fail "nothing is said about '$1': $(cat "$T/said")"
}

# with_resolv_conf TEXT COMMAND...: that file is the command's alone.
with_resolv_conf() {
  printf '%b' "$1" >"$T/resolv.conf"
  shift
  # shellcheck disable=SC2016
  unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$T/resolv.conf" "$@"
}
