#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What a command behind `openshell-egress run` must not get hold of, and what surroundings the fence must bear.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
need pgrep procps
enter_lab "$@"

mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$T/bin"

as_root() {
  "$@"
}

# No name is looked up here, so nobody needs to answer at this address.
run() {
  XDG_RUNTIME_DIR='' TMPDIR=$T/$as "$as" "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A" -- "$@"
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
  run sh -c "echo up; exec sleep 60" >"$T/$as.up" 2>/dev/null &
  local job=$! pid holders=0 status=0
  exec 9<&-
  wait_until 20 grep -qsx up "$T/$as.up" || fail "$as: the command did not start"
  for pid in $(pgrep '^openshell-'); do
    [ -z "$(find "/proc/$pid/fd" -lname "$T/secret")" ] || holders=$((holders + 1))
  done
  kill -s TERM "$(pgrep -o -x openshell-egres)"
  wait "$job" || status=$?
  [ "$status" = 143 ] || fail "$as: ended by SIGTERM, run gave $status"
  [ "$holders" = 1 ] || fail "$as: $holders processes of ours hold the caller's descriptor; the launcher alone may"
  ! grep -q "$T/secret" <<<"$out" || fail "$as: a descriptor of the caller is to be had inside: $out"
  inside 0 sh -c '! readlink /proc/1/fd/0 && ! cat /proc/1/environ && ! readlink /proc/1/root'
}

# The map is what tunneld believes, and belongs to the uid of the command: it must not find it.
private_dir_is_hidden() {
  # shellcheck disable=SC2016
  inside 0 env "D=$T/$as" sh -c 'cd "$D"/openshell-run.* && ls -A . && ! touch x && ! ls "$D"/*/etc &&
    ! find /proc/[0-9]*/root/"$D" /proc/[0-9]*/cwd/"$D" -name egress.map | grep .'
  # in namespaces of its own, where it has every capability
  # shellcheck disable=SC2016
  inside 0 env "D=$T/$as" sh -c 'unshare --user --map-root-user --mount true || exit 0
    unshare --user --map-root-user --mount sh -c "umount \"\$D\"/openshell-run.*; umount -l /etc; ls -A \"\$D\"/openshell-run.*" |
      grep . && exit 1; exit 0'
  ! grep -q 'egress\.map' <<<"$out" || fail "$as: the private directory shows: $out"
  [ -z "$(ls -A "$T/$as")" ] || fail "$as: left behind: $(ls -AR "$T/$as")"
}

# Its options are separated by commas, its lower directories by colons.
odd_directories_will_do() {
  local name
  for name in 'a b' 'a,b' 'a:b' 'a\b' 'a=b,c:d' "a'\"b"; do
    mkdir -m 1777 "$T/$name"
    out=$(XDG_RUNTIME_DIR='' TMPDIR=$T/$name "$as" "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" \
      --upstream "$V4_A" -- cat /etc/resolv.conf 2>&1) || fail "$as: TMPDIR $name: $out"
    grep -qx 'nameserver 127.0.0.1' <<<"$out" || fail "$as: TMPDIR $name: the host's resolv.conf: $out"
    rmdir "$T/$name" || fail "$as: TMPDIR $name: left behind"
  done
}

# A working directory in /etc is the fence's /etc, and one that is gone or may not be entered is no obstacle.
any_working_directory_will_do() {
  local back=$PWD
  cd /etc
  inside 0 sh -c 'cat resolv.conf; ! touch fence-was-here'
  cd "$back"
  grep -qx 'nameserver 127.0.0.1' <<<"$out" || fail "$as: in /etc the host's resolv.conf is read: $out"
  [ ! -e /etc/fence-was-here ] || fail "$as: the host's /etc was written"
  mkdir "$T/gone"
  cd "$T/gone"
  rmdir "$T/gone"
  inside 3 sh -c 'exit 3'
  mkdir -m 700 "$T/closed"
  cd "$T/closed"
  inside 3 sh -c 'exit 3'
  cd "$back"
  rmdir "$T/closed"
}

# A daemon that is never ready: the launcher still listens to who wants it to end.
start_can_be_interrupted() {
  local status=0 job
  mkdir -p "$T/slow"
  printf '#!/bin/sh\n: >"%s"\nexec sleep 4242\n' "$T/$as/asked" >"$T/slow/openshell-dnsd"
  chmod 755 "$T/slow/openshell-dnsd"
  OPENSHELL_EGRESS_DAEMON_DIR=$T/slow run echo started >"$T/$as.out.log" 2>&1 &
  job=$!
  wait_until 20 test -e "$T/$as/asked" || fail "$as: the slow daemon was not started"
  kill -s TERM "$(pgrep -o -x openshell-egres)"
  wait "$job" || status=$?
  [ "$status" = 143 ] || fail "$as: SIGTERM before the command ran gave status $status"
  ! grep -q started "$T/$as.out.log" || fail "$as: the command ran after SIGTERM"
  ! pgrep -f 'sleep 4242' || fail "$as: the slow daemon is left"
  rm "$T/$as/asked"
  [ -z "$(ls -A "$T/$as")" ] || fail "$as: left behind: $(ls -AR "$T/$as")"
}

# ^C reaches the command from the terminal, so the init in between must not be in its process group and pass it on again.
signals_are_as_without_the_fence() {
  # shellcheck disable=SC2016 # it leaves the group just after it started the command
  inside 0 sh -c 'i=0; until [ "$(cut -d " " -f 5 /proc/1/stat)" = 1 ] || [ "$i" = 500 ]; do i=$((i + 1)); sleep 0.01; done
    cut -d " " -f 5 /proc/1/stat'
  grep -qx 1 <<<"$out" || fail "$as: the init is in the process group of the command: $out"
  out=$(env --ignore-signal=HUP true 2>&1) || return 0 # coreutils before 8.31
  out=$(XDG_RUNTIME_DIR='' TMPDIR=$T/$as timeout 60 env --ignore-signal=HUP --ignore-signal=CHLD \
    "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A" -- grep SigIgn /proc/self/status 2>&1) ||
    fail "with SIGHUP and SIGCHLD ignored: $out"
  grep -q '^SigIgn:.*1$' <<<"$out" || fail "the command does not ignore SIGHUP as its caller wanted: $out"
}

closed_standard_descriptors_will_do() {
  local status=0
  (
    exec <&- >&- 2>&-
    run sh -c 'exit 5'
  ) || status=$?
  [ "$status" = 5 ] || fail "$as: with 0, 1 and 2 closed the status is $status, not 5"
}

# Many ports without nf_tables, under the usual soft limit, which is not raised for the command.
many_ports_will_do() {
  local i status=0
  {
    printf 'version: 1\nnetwork_policies:\n  many:\n    name: many\n    endpoints:\n'
    for i in $(seq 2000 2507) 53 3128; do printf '      - {host: many.example.com, port: %s}\n' "$i"; done
    printf '    binaries: [{path: /**}]\n'
  } >"$T/bin/many.yaml"
  [ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -ge 4096 ] || return 0
  out=$(
    ulimit -Sn 1024
    "$as" "$T/bin/openshell-egress" run --capture anyip --policy "$T/bin/many.yaml" --upstream "$V4_A" -- sh -c 'ulimit -Sn' 2>&1
  ) || fail "$as: 510 ports: $out"
  grep -qx 1024 <<<"$out" || fail "$as: the command's limit of descriptors changed: $out"
  out=$(
    ulimit -n 256
    "$as" "$T/bin/openshell-egress" run --capture anyip --policy "$T/bin/many.yaml" --upstream "$V4_A" -- true 2>&1
  ) || status=$?
  [ "$status" = 71 ] || fail "$as: status $status where 510 ports do not fit: $out"
  grep -q 'more than half of the 256 descriptors: raise the limit of open files (ulimit -Hn)' <<<"$out" ||
    fail "$as: 510 ports in 256 files: $out"
}

a_log_that_cannot_be_written_is_said() {
  local status=0
  out=$("$as" "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --log "$T/nosuch/log" -- echo started 2>&1) ||
    status=$?
  [ "$status" = 71 ] || fail "$as: --log in no directory: status $status: $out"
  grep -qF -- "--log: $T/nosuch/log: No such file or directory" <<<"$out" || fail "$as: --log in no directory: $out"
}

# As in a container, where the engine mounts its own resolv.conf.
a_mounted_resolv_conf_will_do() {
  echo 'nameserver 192.0.2.1' >"$T/resolv.conf"
  chmod 644 "$T/resolv.conf"
  export -f as_root as_user run
  # shellcheck disable=SC2016
  out=$(export as T V4_A && unshare --mount bash -c 'mount --bind "$T/resolv.conf" /etc/resolv.conf && run cat /etc/resolv.conf' 2>&1) ||
    fail "$as: with a mounted resolv.conf: $out"
  grep -qx 'nameserver 127.0.0.1' <<<"$out" || fail "$as: the mounted resolv.conf is read: $out"
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  mkdir -m 1777 "$T/$as"
  no_descriptor_leaks
  private_dir_is_hidden
  odd_directories_will_do
  any_working_directory_will_do
  closed_standard_descriptors_will_do
  many_ports_will_do
  a_log_that_cannot_be_written_is_said
  a_mounted_resolv_conf_will_do
  start_can_be_interrupted
  signals_are_as_without_the_fence
  say "$as: passed"
done
