#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manual is clean mdoc, speaks of every option and every environment variable the settings tables have, of every
# event of the log, and of every key of a policy that the loader knows, and of no other.
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

# Events: each name that log_event() is given, if the program has it. Those left out are in objects that both programs
# link, or are words of another list, and the program never logs them.
events=$(cat common/*/*.c dnsd/*.c tunneld/*.c | tr '\n' ' ' |
  grep -oE 'log_event\([^;"()]*, *([a-z_]+ \? )?"[a-z0-9_]+"( : "[a-z0-9_]+")?|LOG_(ERROR|WARN|INFO|DEBUG), *"[a-z0-9_]+"' |
  grep -oE '"[a-z0-9_]+"' | tr -d '"' | sort -u)
[ "$(printf '%s\n' "$events" | wc -l)" -gt 50 ] || {
  echo "no events found in common, dnsd and tunneld" >&2
  exit 1
}
for daemon in dnsd tunneld; do
  for event in $events; do
    case $daemon:$event in
    dnsd:map_refused | dnsd:map_use_refused | dnsd:sni_mismatch) continue ;;
    tunneld:dns_braked | tunneld:map_damaged | tunneld:upstream_ignored) continue ;;
    esac
    grep -aqE "(^|[^a-z_])$event([^a-z_]|\$)" "${top_builddir:-.}/openshell-$daemon" || continue
    grep -qE "Ql $event( |\$)" "man/openshell-$daemon.8" || {
      echo "openshell-$daemon.8 does not mention the event $event" >&2
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
