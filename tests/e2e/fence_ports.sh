#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `openshell-egress run` without nf_tables: one listener for each port of the policy, and a reload that names a new port is
# obeyed by a program that goes on running. A port that goes is given up, and can come back; what cannot be listened on is
# told, with what to do. Nobody inside has a way to the process that makes the listeners, and it ends with the rest.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
need "${CC:-cc}" gcc
enter_lab "$@"
start_standin --port 444
"${CC:-cc}" -O1 -Wall -Wextra -o "$T/without" "$here/without.c" || fail "without.c does not compile"
mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$here/fence_ports.py" "$T/bin"
chmod 755 "$T/without"

as_root() {
  "$@"
}

# policy PORT...: of one host.
policy() {
  local port
  printf 'version: 1\nnetwork_policies:\n  some:\n    name: some\n    endpoints:\n' >"$T/policy.new"
  for port in "$@"; do printf '      - {host: discord.com, port: %s}\n' "$port" >>"$T/policy.new"; done
  printf '    binaries: [{path: /**}]\n' >>"$T/policy.new"
  chmod 644 "$T/policy.new"
  mv "$T/policy.new" "$T/policy.yaml"
}

# below PID: it and all that it has started.
below() {
  local child children=''
  echo "$1"
  read -r children 2>/dev/null <"/proc/$1/task/$1/children" || : # there is no end of line
  for child in $children; do below "$child"; done
}

# process NAME: of this run, by the first 15 letters.
process() {
  local pid
  for pid in $(below "$job"); do
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]; then
      echo "$pid"
      return 0
    fi
  done
  return 1
}

# start [WORD] [OPTION...]: the program, in the background, told what to do through descriptor 8; WORD as for $T/without.
start() {
  local without=()
  [ "${1:-}" != pidns ] || without=("$T/without" pidns --)
  [ "${1:-}" != pidns ] || shift
  out=$T/$as.out.log log=$T/$as/run.log
  rm -f "$T/tell" "$out" "$log"
  mkfifo "$T/tell"
  "$as" "${without[@]}" "$T/bin/openshell-egress" run --log "$log" --upstream "$V4_A" --capture anyip --policy "$T/policy.yaml" "$@" \
    -- python3 "$T/bin/fence_ports.py" <"$T/tell" >"$out" 2>"$T/$as.err" &
  job=$!
  exec 8>"$T/tell"
  wait_until 90 grep -q '^pid ' "$out" || fail "$as: the command did not start: $(cat "$T/$as.err")"
  told=0
  tunneld_pid=$(process openshell-tunne) || fail "$as: there is no tunneld"
  maker_pid=$(process openshell-ports) || fail "$as: nobody makes listeners"
}

# finish: the program ends as it would anyway, and was one program all the time.
finish() {
  exec 8>&-
  wait "$job" || fail "$as: status $?: $(cat "$T/$as.err")"
  [ "$(grep -c '^pid ' "$out")" = 1 ] || fail "$as: the program was started again: $(cat "$out")"
}

# tell WANTED VERB ARGUMENT...: the program's answer is WANTED.
tell() {
  local wanted=$1
  shift
  told=$((told + 1))
  echo "task$told $*" >&8
  wait_until 120 grep -q "^task$told " "$out" || fail "$as: no answer to: $*: $(tail -n 40 "$log")"
  grep -qx "task$told $wanted" "$out" || fail "$as: $*: $(grep "^task$told " "$out"), not $wanted: $(tail -n 20 "$log")"
}

# logged COUNT PATTERN: so many lines of the log at least, which may come after what they are about.
logged() {
  wait_until 30 enough_lines "$1" "$2" || fail "$as: not $1 times in the log: $2: $(tail -n 20 "$log")"
}

enough_lines() {
  [ "$(grep -cE -- "$2" "$log")" -ge "$1" ]
}

a_port_comes_goes_and_comes_back() {
  policy 443
  start --workers 3
  tell carried until carried discord.com 443
  tell ECONNREFUSED now discord.com 8443 4
  policy 443 444 8443
  tell carried until carried discord.com 8443
  tell carried until carried discord.com 444 # low, and nobody here is root inside
  tell 20 times 20 discord.com 8443
  [ -z "$V6_A" ] || tell carried now discord.com 8443 6
  logged 1 'info openshell-tunneld listening addr=0\.0\.0\.0:8443 kind=capture'
  nobody_else_has_the_channel
  policy 443 444
  tell ECONNREFUSED until ECONNREFUSED discord.com 8443
  [ -z "$V6_A" ] || tell ECONNREFUSED until ECONNREFUSED discord.com 8443 6
  tell carried now discord.com 443 4
  logged 1 'listen_closed addr=0\.0\.0\.0:8443 why="no rule names the port"'
  policy 443 444 8443
  tell carried until carried discord.com 8443
  [ -z "$V6_A" ] || tell carried until carried discord.com 8443 6
  tell 20 times 20 discord.com 8443
}

# May the descriptors of processes that cannot be traced be looked at? Not those of users of a lab that is itself a user's.
can_look() {
  ! ls "/proc/$maker_pid/fd" >/dev/null 2>&1 || return 0
  if [ "$as" = as_root ] || grep -q 4294967295 /proc/self/uid_map; then
    fail "$as: cannot look at the descriptors of the maker"
  fi
  return 1
}

# The pair is made inside: /proc/PID/net/unix of the maker has both ends. One is the maker's, one tunneld's.
nobody_else_has_the_channel() {
  local inodes pid holders='' links
  [ "$(sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$maker_pid/status")" = 0000000000000400 ] ||
    fail "$as: the maker has more than CAP_NET_BIND_SERVICE: $(grep Cap "/proc/$maker_pid/status")"
  tell none peek openshell-ports
  if ! can_look; then
    say "$as: not seen in this lab: who holds the channel, and what the maker leaks (as_root passed; be root for both)"
    return
  fi
  inodes=$(awk '$5 == "0005" { print $7 }' "/proc/$maker_pid/net/unix" | paste -sd '|')
  for pid in $(below "$job"); do
    links=$(ls -l "/proc/$pid/fd") || fail "$as: cannot look at the descriptors of $pid"
    ! grep -qE "socket:\[($inodes)\]" <<<"$links" || holders="$holders $pid"
  done
  [ "$(tr ' ' '\n' <<<"$holders" | sort)" = "$(printf '\n%s\n%s' "$maker_pid" "$tunneld_pid" | sort)" ] ||
    fail "$as: the channel is open in$holders, not only in $maker_pid and $tunneld_pid"
  [ "$(find "/proc/$maker_pid/fd" -type l | wc -l)" = 4 ] || fail "$as: the maker holds more: $(ls -l "/proc/$maker_pid/fd")"
}

the_command_may_have_the_port() {
  policy 443 444
  tell ECONNREFUSED until ECONNREFUSED discord.com 8443
  tell bound bind 8443
  policy 443 444 8443
  logged 1 'listen_failed addr=0\.0\.0\.0:8443 why=".*Address already in use" hint="the command, or a program it started'
  tell carried now discord.com 443 4
  tell unbound unbind 8443
  kill -HUP "$tunneld_pid"
  tell carried until carried discord.com 8443
}

descriptors() {
  [ "$(find "/proc/$1/fd" -type l | wc -l)" = "$2" ]
}

a_storm_of_reloads_leaks_nothing() {
  local before i
  # Whatever the tunnels of the last task hold is gone soon; that some worker has not opened its share of a port yet is allowed
  # for, and less than one descriptor a reload.
  before=$(($(find "/proc/$tunneld_pid/fd" -type l | wc -l) + 12))
  for i in $(seq 60); do
    if [ $((i % 2)) = 0 ]; then policy 443 444 8443; else policy 443 $((9000 + i)); fi
    kill -HUP "$tunneld_pid"
    sleep 0.02 # or most of them would be one
  done
  tell carried until carried discord.com 8443
  tell carried until carried discord.com 444
  [ "$(grep -c 'listening addr=0\.0\.0\.0:90' "$log")" -gt 3 ] || fail "$as: this was no storm: $(grep -c reload "$log")"
  wait_until 30 fewer_descriptors "$tunneld_pid" "$before" || fail "$as: tunneld had $before descriptors: $(ls -l "/proc/$tunneld_pid/fd")"
  ! can_look || wait_until 30 descriptors "$maker_pid" 4 || fail "$as: the maker leaks: $(ls -l "/proc/$maker_pid/fd")"
}

fewer_descriptors() {
  [ "$(find "/proc/$1/fd" -type l | wc -l)" -le "$2" ]
}

a_maker_that_is_stopped_or_gone_is_told() {
  policy 443 444
  tell ECONNREFUSED until ECONNREFUSED discord.com 8443
  : >"$log"
  kill -STOP "$maker_pid"
  policy 443 444 8443
  logged 2 'listen_failed addr=.*:8443 why=".*no answer from the process .*" hint="is openshell-ports, .*stopped'
  tell carried now discord.com 443 4
  kill -CONT "$maker_pid"
  kill -HUP "$tunneld_pid"
  tell carried until carried discord.com 8443
  kill -KILL "$maker_pid"
  policy 443 444 8443 9999
  logged 2 'listen_failed addr=.*:9999 why=".*has ended" hint="start run again'
  tell carried now discord.com 8443 4
}

# kill -9 of the launcher leaves nothing.
nothing_is_left() {
  policy 443
  start
  local all pid
  all=$(below "$job")
  [ "$(wc -w <<<"$all")" -gt 5 ] || fail "$as: only these belong to the run: $all"
  kill -KILL "$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$tunneld_pid/status")"
  exec 8>&-
  wait "$job" 2>/dev/null || :
  for pid in $all; do
    wait_until 30 is_gone "$pid" || fail "$as: $(cat "/proc/$pid/comm") is still there"
  done
}

is_gone() {
  ! is_alive "$1"
}

# Where the command sees the maker it may not look into it.
without_a_pid_namespace() {
  policy 443
  start pidns --degraded
  tell EACCES peek openshell-ports
  policy 443 8443
  tell carried until carried discord.com 8443
  finish
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  mkdir -m 1777 "$T/$as"
  a_port_comes_goes_and_comes_back
  the_command_may_have_the_port
  a_storm_of_reloads_leaks_nothing
  a_maker_that_is_stopped_or_gone_is_told
  finish
  without_a_pid_namespace
  nothing_is_left
  say "$as: passed"
done
