#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `openshell-egress listen`: sockets of another network namespace, handed to a command of this one.
set -eu
: "${top_srcdir:?}" "${top_builddir:?}"
command -v python3 >/dev/null 2>&1 || {
  echo "SKIP: needs python3"
  exit 77
}
dir=$top_srcdir/tests/conformance
PYTHONPATH=$dir${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
as_root=
if [ "$(id -u)" -ne 0 ]; then # an ordinary user's capabilities do not outlive exec
  as_root="unshare -r"
  $as_root true 2>/dev/null || {
    echo "SKIP: no user namespace to be had"
    exit 77
  }
fi
# shellcheck disable=SC2086  # no word or two
exec $as_root python3 "$dir/listen.py" "$top_builddir"
