#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Native connections to synthetic addresses, brought to the real daemons in every way there is: the routes and rules of
# `openshell-egress capture`, one network namespace and two, IPv4 and IPv6.
set -eu
: "${top_srcdir:?}" "${top_builddir:?}"
for tool in python3 ip nft; do
  command -v "$tool" >/dev/null 2>&1 || {
    echo "SKIP: needs $tool"
    exit 77
  }
done
dir=$top_srcdir/tests/conformance
as_root=
if [ "$(id -u)" -ne 0 ]; then # ip and nft keep no capability of an ordinary user's over exec
  as_root="unshare -r"
  $as_root true 2>/dev/null || {
    echo "SKIP: no user namespace to be had"
    exit 77
  }
fi
PYTHONPATH=$dir${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
# shellcheck disable=SC2086  # no word or two
exec $as_root python3 "$dir/capture.py" "$top_builddir"
