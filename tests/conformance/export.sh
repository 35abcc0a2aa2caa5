#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The promises of `openshell-egress export` to scripts: exit statuses, and nothing on standard output unless all is well.
set -eu
: "${top_srcdir:?}" "${top_builddir:?}"
egress=$top_builddir/openshell-egress
cases=$top_srcdir/tests/policy
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "export: $*" >&2
  cat "$scratch/err" >&2
  exit 1
}

# expect STATUS ARGUMENT...
expect() {
  wanted=$1
  status=0
  shift
  "$egress" export "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  [ "$status" = "$wanted" ] || fail "'$*' gave status $status, not $wanted"
  [ "$wanted" = 0 ] || [ ! -s "$scratch/out" ] || fail "'$*' failed, and wrote something"
}

said() {
  grep -q -e "$1" "$scratch/err" || fail "nothing was said of $1"
}

expect 2
said usage
expect 2 --
expect 2 --no-such-option
said --no-such-option
expect 0 --help
grep -q usage "$scratch/out" || fail "--help goes to standard output"

expect 0 "$cases/export/block.yaml"
cmp "$scratch/out" "$cases/export/block.expected" || fail "not the text expected"
said 'block.yaml:33:[0-9]*: note: "timeouts" is dropped'
! grep -v ': note: ' "$scratch/err" || fail "a note is one line"
expect 0 -- "$cases/export/merged.1.yaml" "$cases/export/merged.2.yaml" "$cases/export/merged.3.yaml" \
  "$cases/export/merged.4.yaml"
cmp "$scratch/out" "$cases/export/merged.expected" || fail "not the text expected"

mkdir "$scratch/dir"
expect 0 "$scratch/dir"
[ "$(cat "$scratch/out")" = "version: 1" ] || fail "no files are a policy without rules"
cp "$cases/export/into-empty.1.yaml" "$scratch/dir/1.yaml"
cp "$cases/export/into-empty.2.yaml" "$scratch/dir/2.yml"
expect 0 "$scratch/dir"
cmp "$scratch/out" "$cases/export/into-empty.expected" || fail "not the text expected"

expect 1 "$scratch/no-such-file.yaml"
said no-such-file
expect 1 "$cases/invalid/host-url.yaml" "$cases/export/block.yaml"
said 'host-url.yaml:[0-9]*:[0-9]*: error: '
said hint

status=0
"$egress" export "$cases/export/block.yaml" >/dev/full 2>"$scratch/err" || status=$?
[ "$status" = 71 ] || fail "a full disk gave status $status, not 71"
said 'standard output'
