#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# lab.sh: run a command on a small "host" of its own, cut off from every network.
#
#   lab.sh [--addresses N] [--resolv-conf ADDRESS] -- COMMAND [ARG...]
#
# The command runs in fresh network, mount and pid namespaces. The loopback interface is all there is; it carries N
# (default 4) addresses that look public, because the daemons rightly refuse to dial private and loopback ones:
#
#   45.45.45.1 ... 45.45.45.N   exported as LAB_V4, separated by blanks
#   2a0f:45::1 ... 2a0f:45::N   exported as LAB_V6, empty where the kernel has no IPv6
#
# No packet to them can leave the namespace. Any uid may bind any port in it. --resolv-conf makes ADDRESS the only name
# server of the command. Everything started in the lab is gone when COMMAND ends.
#
# Works as root, and as an ordinary user where user namespaces are allowed (COMMAND then sees itself as root).
# Exit status: COMMAND's; 77 where such namespaces cannot be made (a skipped test, said on stderr); 64 usage.
set -eu

usage() {
  echo "usage: lab.sh [--addresses N] [--resolv-conf ADDRESS] -- COMMAND [ARG...]" >&2
  exit 64
}

# The second stage, already inside: set the loopback interface up, then run the command.
inside() {
  addresses=$1 server=$2
  shift 2
  ip link set lo up
  LAB_V4='' LAB_V6='' i=1
  while [ "$i" -le "$addresses" ]; do
    ip address add "45.45.45.$i/32" dev lo
    LAB_V4="$LAB_V4${LAB_V4:+ }45.45.45.$i"
    if [ -e /proc/sys/net/ipv6 ] && ip -6 address add "2a0f:45::$i/128" dev lo nodad 2>/dev/null; then
      LAB_V6="$LAB_V6${LAB_V6:+ }2a0f:45::$i"
    fi
    i=$((i + 1))
  done
  export LAB_V4 LAB_V6
  # What is sent to a new IPv6 address comes back until a worker of the kernel has added its local route.
  for address in $LAB_V6; do
    i=0
    until ip -6 route show table local | grep -q "^local $address dev" || [ "$i" -ge 200 ]; do
      i=$((i + 1))
      sleep 0.05
    done
  done
  (echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start) 2>/dev/null ||
    echo "lab.sh: note: ports below 1024 stay with root here (/proc/sys cannot be written)" >&2
  if [ -n "$server" ]; then
    conf=$(mktemp)
    printf 'nameserver %s\noptions timeout:2 attempts:2\n' "$server" >"$conf"
    chmod 644 "$conf"
    mount --bind "$conf" /etc/resolv.conf
    rm -f "$conf" # the mount keeps the file itself
  fi
  # Not exec: as the first process of a pid namespace the command would be immune to its own signals.
  # The traps only keep this shell alive until the command, which gets the terminal's signals too, has ended.
  trap : INT TERM HUP
  status=0
  "$@" || status=$?
  exit "$status"
}

if [ "${1-}" = --inside ]; then
  shift
  inside "$@"
fi

addresses=4 server=''
while [ $# -gt 0 ]; do
  case $1 in
  --addresses | --resolv-conf)
    [ $# -ge 2 ] || usage
    if [ "$1" = --addresses ]; then addresses=$2; else server=$2; fi
    shift 2
    ;;
  --)
    shift
    break
    ;;
  *) usage ;;
  esac
done
[ $# -gt 0 ] || usage
case $addresses in '' | *[!0-9]* | 0* | ????*) usage ;; esac
[ "$addresses" -le 250 ] || usage

for tool in unshare ip mount mktemp; do
  command -v "$tool" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "lab.sh: SKIP: $tool not found (Debian: util-linux, iproute2, mount)" >&2
    exit 77
  fi
done
export PATH

# Root makes the namespaces directly; everyone else, and a root that may not, through a user namespace of its own.
self=$0
pids='--pid --fork --kill-child --mount-proc'
for way in '--net --mount' '--map-root-user --net --mount'; do
  [ "$(id -u)" = 0 ] || [ "$way" != '--net --mount' ] || continue
  # shellcheck disable=SC2086 # the options are meant to be split
  if why=$(unshare $way $pids true 2>&1); then
    # shellcheck disable=SC2086
    exec unshare $way $pids -- /bin/sh "$self" --inside "$addresses" "$server" "$@"
  fi
done
echo "lab.sh: SKIP: network, mount and pid namespaces cannot be made here: $why" >&2
exit 77
