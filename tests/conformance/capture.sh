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
PYTHONPATH=$dir${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
# Root's own namespaces first, where there is root; then those of a user namespace, which is all that others have.
if [ "$(id -u)" -eq 0 ]; then
  python3 "$dir/capture.py" "$top_builddir"
fi
unshare -r true 2>/dev/null || {
  echo "SKIP: no user namespace to be had"
  exit 77
}
exec unshare -r python3 "$dir/capture.py" "$top_builddir"
