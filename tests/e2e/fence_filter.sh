#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The seccomp filter of `openshell-egress run`: which sockets and calls a command has, and that there is no run without the
# filter unless --degraded says so.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
need "${CC:-cc}" gcc
enter_lab "$@"

mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$top_srcdir/policy-examples/discord.yaml" "$T/bin"
for program in without forbidden; do
  "${CC:-cc}" -O1 -D_GNU_SOURCE -Wall -Wextra -o "$T/bin/$program" "$here/$program.c" || fail "$program.c does not compile"
done
case $(uname -m) in
x86_64 | aarch64 | riscv64) ;;
*) skip "no filter is written for $(uname -m)" ;;
esac

as_root() {
  "$@"
}

# run COMMAND...
run() {
  "$as" "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A" "$@"
}

# found LINE...
found() {
  local line
  for line in "$@"; do
    grep -qx -- "$line" <<<"$out" || fail "$as: '$line' is not in: $out"
  done
}

the_command_has_what_it_needs() {
  out=$(run -- "$T/bin/forbidden" 2>&1) || fail "$as: status $?: $out"
  found 'unix: ok' 'inet: ok' 'inet6: ok' 'netlink: ok' 'socketpair: ok' 'pidfd_open: ok' 'fionread: ok'
}

and_nothing_that_leads_out() {
  found 'vsock: EAFNOSUPPORT' 'vsock above: EAFNOSUPPORT' 'packet: EAFNOSUPPORT' 'alg: EAFNOSUPPORT' 'can: EAFNOSUPPORT' \
    'bluetooth: EAFNOSUPPORT' 'io_uring_setup: ENOSYS' 'io_uring_enter: ENOSYS' 'io_uring_register: ENOSYS' 'tiocsti: EPERM' \
    'tiocsti above: EPERM' 'tioclinux: EPERM'
  [ "$(uname -m)" != x86_64 ] || found 'x32: ENOSYS'
  if "$T/bin/forbidden" | grep -qx 'i386: ok'; then found 'i386: SYS'; fi
  out=$(run -- grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status 2>&1)
  found $'Seccomp:\t2' $'NoNewPrivs:\t1'
}

without_seccomp() {
  local status=0
  local run=("$as" "$T/bin/without" seccomp -- "$T/bin/openshell-egress" run --policy "$T/bin/discord.yaml" --upstream "$V4_A")
  out=$("${run[@]}" -- echo started 2>&1) || status=$?
  [ "$status" = 71 ] || fail "$as: status $status without seccomp: $out"
  ! grep -qx started <<<"$out" || fail "$as: the command ran without the filter: $out"
  grep -q 'no seccomp filter: Invalid argument; --degraded ' <<<"$out" || fail "$as: $out"
  out=$("${run[@]}" --degraded -- echo started 2>&1) || fail "$as: --degraded: status $?: $out"
  found started
}

for as in as_root as_user; do
  "$as" true || skip "cannot become an ordinary user here; all but that passed"
  the_command_has_what_it_needs
  and_nothing_that_leads_out
  without_seccomp
  say "$as: passed"
done
