#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each example of openshell-policy(5) loads, without a warning. In the page a line
#   .\" load: FILE [with OTHER ...]
# stands in front of each; OTHER are earlier ones that are loaded together with it.
set -eu
page="${top_srcdir:-.}/man/openshell-policy.5"
check="${top_builddir:-.}/openshell-egress"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
awk -v dir="$dir" '
  /^\.\\" load: / { file = $3; print file, $5, $6, $7 > (dir "/list"); next }
  /^\.Bd / && file != "" { inside = 1; next }
  /^\.Ed/ { inside = 0; file = ""; next }
  inside { gsub(/\\e/, "\\"); gsub(/\\&/, ""); gsub(/\\-/, "-"); print > (dir "/" file) }
' "$page"
count=0
bad=0
# each word is a file name
while read -r files; do
  count=$((count + 1))
  # shellcheck disable=SC2086
  if ! out=$(cd "$dir" && "$check" check $files 2>&1) || printf '%s\n' "$out" | grep -q ' warning: '; then
    printf '%s\n%s\n' "$files:" "$out" >&2
    bad=1
  fi
done <"$dir/list"
blocks=$(grep -c '^version: 1$\|^preset:$' "$page")
if [ "$count" -ne "$blocks" ] || [ "$count" -lt 5 ]; then
  echo "$blocks policies in the page, $count marked to be loaded" >&2
  bad=1
fi
exit $bad
