#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# --direct-nft-set: nft lets a real address through from the answer on, and not before; see nft_direct.py.
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
if [ "$(id -u)" -ne 0 ]; then # nft keeps no capability of an ordinary user's over exec
  as_root="unshare -r"
  $as_root true 2>/dev/null || {
    echo "SKIP: no user namespace to be had"
    exit 77
  }
fi
PYTHONPATH=$dir${PYTHONPATH:+:$PYTHONPATH} PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
# shellcheck disable=SC2086  # no word or two
exec $as_root python3 "$dir/nft_direct.py" "$top_builddir"
