#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manual is clean mdoc and speaks of every option and every environment variable the settings tables have.
set -eu
cd "${top_srcdir:-.}"
command -v mandoc >/dev/null 2>&1 || {
  echo "SKIP: mandoc is not installed" >&2
  exit 77
}
bad=0
for page in man/*.[158]; do
  mandoc -Tlint -W warning "$page" || bad=1
done
for daemon in dnsd tunneld; do
  program="${top_builddir:-.}/openshell-$daemon"
  text=$(mandoc -Tascii "man/openshell-$daemon.8" | sed 's/.\x08//g')
  options=$("$program" --help | grep -oE -e '--[a-z][a-z-]+' | sort -u)
  [ -n "$options" ] || {
    echo "openshell-$daemon --help lists no options" >&2
    exit 1
  }
  for option in $options; do
    printf '%s\n' "$text" | grep -q -e "$option" || {
      echo "openshell-$daemon.8 does not mention $option" >&2
      bad=1
    }
  done
done
exit $bad
