#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `openshell-egress run` as a job on a terminal, several runs at once, and what it says where namespaces are not to be had.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
need "${CC:-cc}" gcc
enter_lab "$@"

mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$here/terminal.py" "$T/bin"
"${CC:-cc}" -O1 -Wall -Wextra -o "$T/bin/without" "$here/without.c" || fail "without.c does not compile"
run=("$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A")

as_root() {
  "$@"
}

# The test's python, which the user may not have, is the shell; the words of as_user are the job.
a_terminal_is_one() {
  local words=()
  if [ "$as" = as_user ]; then
    words=("$(command -v setpriv)" --reuid 65534 --regid 65534 --clear-groups)
    "${words[@]}" true 2>/dev/null || words=("$(command -v unshare)" --user --map-user=65534 --map-group=65534)
  fi
  out=$(python3 "$T/bin/terminal.py" "${words[@]}" "${run[@]}" 2>&1) || fail "$as: $out"
  grep -qx 'as without the fence' <<<"$out" || fail "$as: $out"
}

several_at_once() {
  local i jobs=()
  for i in 1 2 3 4; do
    # Each has the same ports to itself; none ends before all have begun.
    # shellcheck disable=SC2016
    "$as" "${run[@]}" -- sh -c ': >"$0/up.$1"; until [ "$(ls "$0" | wc -l)" = 4 ]; do sleep 0.05; done; exit "$1"' "$T/$as" "$i" \
      >"$T/$as.$i.out" 2>"$T/$as.$i.err" &
    jobs+=($!)
  done
  for i in 1 2 3 4; do
    local status=0
    wait "${jobs[i - 1]}" || status=$?
    [ "$status" = "$i" ] || fail "$as: run $i of 4 gave status $status: $(cat "$T/$as.$i.err")"
  done
}

ports_below_1024_as_on_the_host() {
  local host
  host=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
  out=$("$as" "${run[@]}" -- sh -c 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start' 2>&1) || fail "$as: $out"
  grep -qx "$host" <<<"$out" || fail "$as: $host on the host, inside: $out"
}

# refused WORDS COMMAND...: status 71, the words, and the command was not run.
refused() {
  local said=$1 status=0
  shift
  out=$("$@" "${run[@]}" -- echo started 2>&1) || status=$?
  [ "$status" = 71 ] || fail "$*: status $status: $out"
  ! grep -qx started <<<"$out" || fail "$*: the command ran: $out"
  grep -qF -- "$said" <<<"$out" || fail "$*: $out"
}

what_is_missing_is_told() {
  refused "no user namespace: Operation not permitted (a container's seccomp profile" as_user "$T/bin/without" userns --
  refused '--degraded goes on without' "$as" "$T/bin/without" pidns --
  out=$("$as" "$T/bin/without" pidns -- "${run[@]}" --degraded -- echo started 2>&1) || fail "$as: --degraded: $out"
  grep -qx started <<<"$out" || fail "$as: --degraded: $out"
}

# The limit is each user namespace's own: one that has none left.
no_namespace_left() {
  local inner='echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"'
  local nested=(unshare --user --map-user=65534 --map-group=65534 --keep-caps sh -c "$inner" sh)
  as_user "${nested[@]}" true 2>/dev/null || {
    say "note: no nested user namespace here: its limit is not tried"
    return
  }
  refused 'user namespaces are switched off here: sysctl user.max_user_namespaces=15000' as_user "${nested[@]}"
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  mkdir -m 1777 "$T/$as"
  a_terminal_is_one
  several_at_once
  ports_below_1024_as_on_the_host
  what_is_missing_is_told
  say "$as: passed"
done
no_namespace_left
say "what is missing is told"
