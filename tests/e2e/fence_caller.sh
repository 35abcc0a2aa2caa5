#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What a command behind `openshell-egress run` has of its caller: the sockets of programs outside are hidden, the variables
# that name them are gone, --keep, --keep-fd and --env give back or add, and root's command is not root's.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
enter_lab "$@"

mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$T/bin"
made_x11=
[ -d /tmp/.X11-unix ] || made_x11=$(mkdir -m 1777 /tmp/.X11-unix 2>/dev/null && echo yes) || skip "/tmp/.X11-unix cannot be made"
trap 'status=$?; [ -z "$made_x11" ] || { umount -l /tmp/.X11-unix; rmdir /tmp/.X11-unix; }; leave_lab $status' EXIT
for dir in /run /tmp/.X11-unix; do
  mount -t tmpfs -o mode=0755 tmpfs "$dir" || skip "$dir of the lab cannot be mounted over"
done
mkdir -m 755 /run/user /run/nobody
mkdir -m 777 /run/user/7

# Answers to everybody on the sockets that a machine has: each says who it is.
cat >"$T/outside.py" <<'END'
import os, socket, sys, threading

def serve(address, name):
    s = socket.socket(socket.AF_UNIX)
    s.bind(address)
    s.listen()
    if address[0] != "\0":
        os.chmod(address, 0o777)
    while True:
        c, _ = s.accept()
        c.sendall(name.encode())
        c.close()

sockets = ["/run/docker.sock", "/run/nobody/agent", "/run/user/7/bus", "/run/user/7/wayland-9", "/tmp/.X11-unix/X9", "\0outside"]
for a in sockets[1:]:
    threading.Thread(target=serve, args=(a, "outside"), daemon=True).start()
serve(sockets[0], "outside")
END
cat >"$T/bin/inside.py" <<'END'
import socket, sys

for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect("\0" + path[1:] if path[0] == "@" else path)
            print(path, s.recv(99).decode())
        except OSError as error:
            print(path, "no")
END
python3 "$T/outside.py" &
all_there() {
  [ -S /run/docker.sock ] && [ -S /run/nobody/agent ] && [ -S /run/user/7/bus ] && [ -S /run/user/7/wayland-9 ] &&
    [ -S /tmp/.X11-unix/X9 ] && grep -q '@outside' /proc/net/unix
}
wait_until 20 all_there || fail "the sockets of the host are not there"
sockets='/run/docker.sock /run/nobody/agent /run/user/7/bus /run/user/7/wayland-9 /tmp/.X11-unix/X9 @outside'
export SSH_AUTH_SOCK=/run/nobody/agent DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/7/bus,guid=7 DBUS_X=x DISPLAY=:9.0
export WAYLAND_DISPLAY=wayland-9 XAUTHORITY=$T/xauthority XDG_RUNTIME_DIR=/run/user/7

as_root() {
  "$@"
}

# inside STATUS [OPTION...] -- COMMAND...: its output is left in $out.
inside() {
  local wanted=$1 status=0
  shift
  out=$("$as" "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A" "$@" 2>&1) || status=$?
  [ "$status" = "$wanted" ] || fail "$as: '$*' gave status $status, not $wanted: $out"
}

found() {
  local line
  for line in "$@"; do
    grep -qxF -- "$line" <<<"$out" || fail "$as: '$line' is not in: $out"
  done
}

nobody_outside_listens() {
  local socket
  # shellcheck disable=SC2086 # the names are meant to be split
  as_root python3 "$T/bin/inside.py" $sockets | grep -qv ' outside$' && fail "not all answer outside: this proves nothing"
  # shellcheck disable=SC2086
  inside 0 -- python3 "$T/bin/inside.py" $sockets
  for socket in $sockets; do found "$socket no"; done
  inside 0 -- find /run /tmp/.X11-unix ! -type d
  ! grep -E '^/(run|tmp)/' <<<"$out" || fail "$as: to be seen: $out"
  # shellcheck disable=SC2016
  inside 0 -- sh -c 'env | sed "s/^/env /"; ls -ld "$XDG_RUNTIME_DIR"; : >"$XDG_RUNTIME_DIR/mine"'
  ! grep -E '^env (DBUS_|SSH_AUTH|DISPLAY|WAYLAND|XAUTH)' <<<"$out" || fail "$as: still set: $out"
  grep -q '^drwx------' <<<"$out" || fail "$as: no runtime directory of its own: $out"
  [ ! -e /run/user/7/mine ] || fail "$as: it wrote the host's"
}

but_those_that_are_kept() {
  # shellcheck disable=SC2086
  inside 0 --keep SSH_AUTH_SOCK --keep DBUS_SESSION_BUS_ADDRESS --keep=DISPLAY -- python3 "$T/bin/inside.py" $sockets
  found '/run/docker.sock no' '/run/nobody/agent outside' '/run/user/7/bus outside' '/run/user/7/wayland-9 no' \
    '/tmp/.X11-unix/X9 outside' '@outside no'
  # shellcheck disable=SC2086
  inside 0 --keep WAYLAND_DISPLAY --keep /run/docker.sock -- python3 "$T/bin/inside.py" $sockets
  found '/run/docker.sock outside' '/run/nobody/agent no' '/run/user/7/wayland-9 outside'
  inside 0 --keep SSH_AUTH_SOCK --keep /run/user/7 -- env
  found SSH_AUTH_SOCK=/run/nobody/agent
  ! grep -E '^(DBUS_|DISPLAY)' <<<"$out" || fail "$as: still set: $out"
  inside 71 --keep /run/nosuch -- true
  found 'openshell-egress: --keep: /run/nosuch: No such file or directory'
  inside 64 --keep HOME -- true
}

variables_and_descriptors() {
  inside 0 --env 'A=b = c' --env EMPTY= --env HTTPS_PROXY=mine --env DISPLAY=:1 -- env
  found 'A=b = c' EMPTY= HTTPS_PROXY=mine DISPLAY=:1
  inside 64 --env =x -- true
  inside 64 --keep-fd 99 -- true
  inside 64 --keep-fd 2 -- true
  exec 8<<<eight 9<<<nine
  inside 0 --keep-fd 9 -- sh -c 'cat <&9; cat <&8 || echo no eight'
  exec 8<&- 9<&-
  found nine 'no eight'
}

a_hidden_working_directory_is_told() {
  cd /run/nobody
  inside 71 -- true
  grep -qF 'the working directory /run/nobody: No such file or directory (hidden from the command; --keep leaves it)' <<<"$out" ||
    fail "$as: $out"
  inside 0 --keep /run/nobody -- pwd
  found /run/nobody
  cd /
}

root_becomes_somebody() {
  local as=as_root id
  setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null || return 0 # nobody else is mapped here
  id=$(setpriv --reuid 65534 --regid 65534 --init-groups id)
  # shellcheck disable=SC2016 # expanded by the inner shell
  SUDO_UID=65534 SUDO_GID=65534 inside 0 -- sh -c 'id; grep ^Cap /proc/self/status | cut -f 2 | sort -u
    echo "HOME=$HOME"; stat -c "%u %a" "$XDG_RUNTIME_DIR"; (echo x >/proc/1/comm) 2>/dev/null || echo no init'
  found "$id" 0000000000000000 "HOME=$(getent passwd 65534 | cut -d: -f6)" '65534 700' 'no init'
  ! grep -q warning <<<"$out" || fail "a warning with SUDO_UID: $out"
  SUDO_UID=12345678 SUDO_GID=12345679 inside 0 -- id
  found 'uid=12345678 gid=12345679 groups=12345679'
  inside 0 --as 65534 -- id
  found "$id"
  SUDO_UID=65534 SUDO_GID=65534 inside 0 --as root -- id -u
  found 0
  grep -q 'warning: the command runs as root' <<<"$out" || fail "no warning: $out"
  inside 64 --as nosuchuser -- true
  found 'openshell-egress run: --as: there is no user nosuchuser'
  as=as_user
  inside 64 --as root -- true
  found 'openshell-egress run: --as: only root can run a command as another user'
  SUDO_UID=7 inside 0 -- id -u # a variable makes nobody root, nor anybody else
  found 65534
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  nobody_outside_listens
  but_those_that_are_kept
  variables_and_descriptors
  a_hidden_working_directory_is_told
  say "$as: passed"
done
root_becomes_somebody
say "root becomes somebody: passed"
