#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Inside the lab: starts the stand-in, then first_contact.py behind the fence. usage: first_contact.sh BUILD-DIR
set -eu
build=$1
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
chmod 755 "$dir"
trap 'kill "$standin" 2>/dev/null; rm -rf "$dir"' EXIT
address=${LAB_V4%% *}
python3 "$top/tests/support/standin.py" --dir "$dir" --address "$address" --ready-file "$dir/ready" &
standin=$!
tries=0
while [ ! -e "$dir/ready" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 150 ] || ! kill -0 "$standin" 2>/dev/null; then
    echo "first_contact.sh: the stand-in did not start" >&2
    exit 1
  fi
  sleep 0.1
done
NODE_EXTRA_CA_CERTS=$dir/ca.pem
export NODE_EXTRA_CA_CERTS
"$build/openshell-egress" run --policy "$top/policy-examples/discord.yaml" --upstream "$address" --log "$dir/egress.log" -- \
  python3 "$top/tests/support/first_contact.py" || {
  status=$?
  echo "the daemons' log:" >&2
  tail -n 40 "$dir/egress.log" >&2 || :
  exit "$status"
}
