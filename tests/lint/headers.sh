#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone and is guarded.
set -eu
cd "${top_srcdir:-.}"
cc=${CC:-cc}
builddir=${top_builddir:-.}
bad=0
for header in common/*/*.h dnsd/*.h tunneld/*.h egress/*.h; do
  [ -f "$header" ] || continue
  grep -q '^#pragma once' "$header" || {
    echo "$header: no #pragma once" >&2
    bad=1
  }
  printf '#include "%s"\n' "$header" |
    "$cc" -std=gnu11 -fno-strict-aliasing -Wall -Wextra -Werror -fsyntax-only -include "$builddir/config.h" -I. -x c - || {
    echo "$header: does not compile alone" >&2
    bad=1
  }
done
exit $bad
