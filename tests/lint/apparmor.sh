#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The AppArmor profiles of deploy/ compile, without a kernel that has AppArmor and without loading anything; broken ones
# do not, or this would be no test.
#
# They are written for AppArmor 4. An older parser (Debian 12 has 3.0) knows neither `userns` nor abi/4.0: those two lines,
# letter by letter, are then taken out before it compiles the rest, so that a slip in them fails all the same.
set -eu
cd "${top_srcdir:-.}"
PATH=$PATH:/usr/sbin:/sbin
command -v apparmor_parser >/dev/null 2>&1 || {
  echo "SKIP: apparmor_parser is not installed (Debian: apt-get install apparmor)" >&2
  exit 77
}
version=$(apparmor_parser --version | sed -n 's/^AppArmor parser version //p')
case ${version%%.*} in
'' | *[!0-9]*)
  echo "apparmor_parser does not tell its version" >&2
  exit 1
  ;;
esac
is_older=no
[ "${version%%.*}" -ge 4 ] || is_older=yes
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# compiles FILE: with the words of the parser in $work/said, and what it read in $work/source.
compiles() {
  cp "$1" "$work/source"
  grep -qx '  userns,' "$1" || {
    echo 'no "userns,": it allows nothing' >"$work/said"
    return 1
  }
  if [ "$is_older" = yes ]; then
    grep -qx 'abi <abi/4.0>,' "$1" || {
      echo 'no "abi <abi/4.0>,"' >"$work/said"
      return 1
    }
    sed -e 's,^abi <abi/4\.0>,abi <abi/3.0>,' -e '/^  userns,$/d' "$1" >"$work/source"
  fi
  apparmor_parser --skip-kernel-load --skip-cache --ofile "$work/compiled" "$work/source" >"$work/said" 2>&1 &&
    [ -s "$work/compiled" ]
}

bad=0
for profile in deploy/apparmor/*; do
  compiles "$profile" || {
    echo "$profile does not compile:" >&2
    cat "$work/said" >&2
    bad=1
    continue
  }
  # The file is named for the profile, as who installs it has it.
  name=$(apparmor_parser --skip-kernel-load --names "$work/source" 2>/dev/null)
  [ "$name" = "${profile##*/}" ] || {
    echo "$profile holds a profile of another name: $name" >&2
    bad=1
  }
  # With any one of these slips it must not compile.
  # shellcheck disable=SC2016 # of sed
  for slip in 's/userns,/userns/' 's/userns,/usernss,/' '/userns,/d' 's/(unconfined)/(unconfind)/' '$s/}//' 's,abi/4.0,abi/none,' \
    's,include <tunables/global>,include <tunables/none>,' 's/^  userns,/&\n  capability none_such,/'; do
    sed "$slip" "$profile" >"$work/broken"
    ! cmp -s "$profile" "$work/broken" || {
      echo "$profile: the slip '$slip' changes nothing: mend this list" >&2
      bad=1
    }
    ! compiles "$work/broken" || {
      echo "$profile compiles with '$slip', too: nothing is tested here" >&2
      bad=1
    }
  done
done
[ "$is_older" = no ] || echo "note: apparmor_parser $version; \"userns,\" and abi/4.0 were compared, the rest compiled"
exit $bad
