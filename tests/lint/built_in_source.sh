#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In a directory that was configured itself nothing can be built beside it (autoconf refuses): ./quickstart and ./check say
# at once what to do.
set -eu
cd "${top_srcdir:-.}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp quickstart check "$dir"
: >"$dir/config.status"
for script in quickstart check; do
  status=0
  said=$("$dir/$script" 2>&1 </dev/null) || status=$?
  case $status:$said in
    1:*"make distclean"*) ;;
    *)
      echo "$script in a configured source directory: status $status: $said" >&2
      exit 1
      ;;
  esac
done
