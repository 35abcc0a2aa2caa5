#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manual is clean mdoc, speaks of every option and every environment variable the settings tables have, and of
# every key of a policy that the loader knows, and of no other.
set -eu
cd "${top_srcdir:-.}"
command -v mandoc >/dev/null 2>&1 || {
  echo "SKIP: mandoc is not installed" >&2
  exit 77
}
bad=0
for page in man/*.[1-9]; do
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

# Keys: a row of a table of keys there, the macro Ic here. With a dot (egress.hosts) it is a way to a key.
loader=$(grep -ohE '\{"[a-z_]+", KEY_[A-Z0-9_]+\}' common/policy/*.c | cut -d'"' -f2 | sort -u)
page=$(sed -nE 's/^\.(It )?Ic //p' man/openshell-policy.5 | tr ' ' '\n' | grep -E '^[a-z_]+$' | sort -u)
[ "$(printf '%s\n' "$loader" | wc -l)" -gt 50 ] || {
  echo "no keys found in common/policy" >&2
  exit 1
}
for key in $loader; do
  printf '%s\n' "$page" | grep -qx "$key" || {
    echo "openshell-policy.5 does not mention the key $key" >&2
    bad=1
  }
done
for key in $page; do
  printf '%s\n' "$loader" | grep -qx "$key" || {
    echo "openshell-policy.5 speaks of $key, which no policy can have" >&2
    bad=1
  }
done
exit $bad
