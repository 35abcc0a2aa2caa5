#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No C or shell file over 600 lines, tests included, no C function over 80; an SPDX line first in every source file.
set -eu
cd "${top_srcdir:-.}"
bad=0
for file in common/*/*.[ch] dnsd/*.[ch] tunneld/*.[ch] egress/*.[ch] tests/*/*.[ch] tests/*/*.sh tests/e2e/*/*.sh; do
  lines=$(wc -l <"$file")
  if [ "$lines" -gt 600 ]; then
    echo "$file: $lines lines (at most 600)" >&2
    bad=1
  fi
  # A function's body starts with a brace in the first column and ends with one.
  awk -v file="$file" '
    /^\{/ { start = NR }
    /^\}/ { if (start && NR - start - 1 > 80) { printf "%s:%d: function of %d lines (at most 80)\n", file, start, NR - start - 1; bad = 1 } start = 0 }
    END { exit bad }' "$file" >&2 || bad=1
done
for file in configure.ac Makefile.am m4/*.m4 scripts/* quickstart check .ci/run \
  common/*/* dnsd/* tunneld/* egress/* tests/*/*.c tests/*/*.h tests/*/*.sh tests/*/*.py tests/e2e/*.mjs \
  tests/e2e/clients/* tests/e2e/dns/* tests/e2e/matrix/* tests/e2e/protocols/*; do
  [ -f "$file" ] || continue
  case $file in *.o | *.a | *.json) continue ;; esac
  if ! head -3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0'; then
    echo "$file: no SPDX line among the first three" >&2
    bad=1
  fi
done
exit $bad
