#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `--transparent auto`: listeners follow the policy; see auto.py.
set -eu
: "${top_srcdir:?}" "${top_builddir:?}"
for tool in python3 ip; do
  command -v "$tool" >/dev/null 2>&1 || {
    echo "SKIP: needs $tool"
    exit 77
  }
done
as_root=
if [ "$(id -u)" -ne 0 ]; then # ip keeps no capability of an ordinary user's over exec
  as_root="unshare -r"
  $as_root true 2>/dev/null || {
    echo "SKIP: no user namespace to be had"
    exit 77
  }
fi
export top_srcdir top_builddir
# shellcheck disable=SC2086  # no word or two
exec $as_root python3 -B "$top_srcdir/tests/conformance/auto.py" "$@"
