# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# lib.sh: what the end-to-end tests share. Sourced by each of them, first thing; leaves the test inside the lab.
#
# A test is a script for automake: exit status 0 is a pass, 77 a skip (said aloud, with what was missing), anything else
# a failure.
# Inside the lab (tests/support/lab.sh) the machine outside the fence has only made-up addresses, and everything a test
# starts is gone when it ends.
#
#   T                  scratch directory of this test, removed at the end, readable by every user
#   V4_A V4_B V6_A     public-looking addresses of the lab
#   egress dnsd tunneld   paths of the programs under test
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top_srcdir=${top_srcdir:-$(cd "$here/../.." && pwd)}
top_builddir=$(cd "${top_builddir:-$PWD}" && pwd)
export top_srcdir top_builddir
egress=$top_builddir/openshell-egress
dnsd=$top_builddir/openshell-dnsd
tunneld=$top_builddir/openshell-tunneld
test_name=$(basename "$0" .sh)

skip() {
  echo "$test_name: SKIP: $*" >&2
  exit 77
}

fail() {
  echo "$test_name: FAIL: $*" >&2
  exit 1
}

say() {
  echo "$test_name: $*"
}

# need COMMAND PACKAGE: the test cannot run without it.
need() {
  command -v "$1" >/dev/null 2>&1 || skip "$1 not found (Debian: apt-get install $2)"
}

need_node_modules() {
  need node nodejs
  local package
  for package in discord.js ws undici @grpc/grpc-js smtp-server; do
    [ -d "$here/node_modules/$package" ] || skip "the npm packages are not installed (npm ci --prefix $here)"
  done
}

# Begin again inside the lab. The caller's proxies and certificate stores stay outside: they are not under test.
enter_lab() {
  local program
  for program in "$egress" "$dnsd" "$tunneld"; do
    [ -x "$program" ] || fail "$program has not been built"
  done
  need python3 python3
  need openssl openssl
  if [ -z "${LAB_V4:-}" ]; then
    exec "$top_srcdir/tests/support/lab.sh" --addresses 4 -- "$0" "$@"
  fi
  read -r V4_A V4_B _ <<<"$LAB_V4"
  # shellcheck disable=SC2153 # lab.sh exports it
  read -r V6_A _ <<<"$LAB_V6"
  export V4_A V4_B V6_A
  local name
  for name in $(compgen -e); do
    case $name in
    *_proxy | *_PROXY | *_CA_* | SSL_CERT_* | NODE_OPTIONS | OPENSHELL_*) unset "$name" ;;
    esac
  done
  T=$(mktemp -d)
  chmod 755 "$T"
  mkdir -m 1777 "$T/tmp" # a launcher that is killed outright leaves its private files behind: let it be here
  unset XDG_RUNTIME_DIR
  TMPDIR=$T/tmp
  export T TMPDIR
  trap 'leave_lab $?' EXIT
  trap 'exit 143' TERM
  trap 'exit 130' INT
}

# After a failure: what the programs said. Nothing needs to be killed, the lab takes it all along.
leave_lab() {
  local status=$1 file
  if [ "$status" = 0 ] && grep -lE 'runtime error:|ERROR: [A-Za-z]+Sanitizer' "$T"/*.log "$T"/*.err 2>/dev/null; then
    echo "$test_name: FAIL: a sanitizer spoke up in a test that passed otherwise" >&2
    status=1
  fi
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    for file in "$T"/*.log "$T"/*.err "$T"/standin/*.jsonl; do
      [ -s "$file" ] || continue
      echo "--- the end of ${file##*/}"
      tail -n 40 "$file"
    done
  fi
  rm -rf "$T" || :
  exit "$status"
}

# wait_until SECONDS COMMAND...: true as soon as COMMAND is, false after SECONDS.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.02
  done
}

# shellcheck disable=SC2120 # most tests need no option
# start_standin [OPTION...]: the Discord, and the DNS, of the lab. Sets CA, QUERIES and REQUESTS.
start_standin() {
  local addresses=(--address "$V4_A")
  [ -z "$V6_A" ] || addresses+=(--address "$V6_A")
  mkdir -p "$T/standin"
  CA=$T/standin/ca.pem
  QUERIES=$T/standin/queries.jsonl
  REQUESTS=$T/standin/requests.jsonl
  export CA QUERIES REQUESTS
  # 8443 is open, and never in a policy: a test of "no such port" must not pass because nobody listens.
  python3 "$top_srcdir/tests/support/standin.py" --dir "$T/standin" "${addresses[@]}" --port 443 --port 8443 \
    --ready-file "$T/standin/ready" "$@" 2>"$T/standin.err" &
  standin_pid=$!
  wait_until 60 standin_is_ready || fail "the stand-in is not ready after 60 s"
}

standin_is_ready() {
  is_alive "$standin_pid" || fail "the stand-in ended: $(cat "$T/standin.err")"
  [ -e "$T/standin/ready" ]
}

# start_daemon NAME OPTION...: openshell-NAME in the lab, outside any fence; its log is $T/NAME.log, its pid $daemon_pid.
# Returns when it says that it is ready. ${within[@]} is what starts it elsewhere, ${prefix} precedes NAME in its files.
within=() prefix=''
start_daemon() {
  local name=$1 file=$T/$prefix$1
  shift
  rm -f "$file.ready"
  "${within[@]}" "$top_builddir/openshell-$name" --ready-fd 9 "$@" 2>"$file.log" 9>"$file.ready" &
  daemon_pid=$!
  wait_until 20 daemon_is_ready "$name" || fail "openshell-$name is not ready after 20 s"
}

daemon_is_ready() {
  is_alive "$daemon_pid" || fail "openshell-$1 ended: $(cat "$T/$prefix$1.log")"
  grep -qsx READY "$T/$prefix$1.ready"
}

# A child that has ended is a zombie until it is waited for, and kill -0 would still find it.
is_alive() {
  grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"
}

# fenced LOG [OPTION...] -- COMMAND...: COMMAND behind the fence, with the Discord example as its policy.
fenced() {
  local log=$1
  shift
  NODE_EXTRA_CA_CERTS=$CA CURL_CA_BUNDLE=$CA "$egress" run --log "$log" --policy "$top_srcdir/policy-examples/discord.yaml" \
    --upstream "$V4_A" "$@"
}

# check_refusals WHAT LOG RIGHT-WORD...: three lines of the probe (probe.c) begin with WHAT, each goes on with one of the words, and the fastest
# took less than $limit ms, 100 if it is not set. (The machine may be busy; what is slow by itself is slow three times.)
check_refusals() {
  local what=$1 log=$2 word took count=0 fastest=
  shift 2
  while read -r word took _; do
    [[ " $* " == *" $word "* ]] || fail "$what: $word, not one of $*"
    took=${took%.*}
    if [ -z "$fastest" ] || [ "$took" -lt "$fastest" ]; then fastest=$took; fi
    count=$((count + 1))
  done < <(sed -n "s/^$what //p" "$log")
  [ "$count" = 3 ] || fail "$what: $count answers, not three"
  [ "$fastest" -lt "${limit:-100}" ] || fail "$what: refused after $fastest ms at best"
}

# as_user COMMAND...: as an ordinary user; in a lab that an ordinary user made, as one that is not root in there.
as_user() {
  if setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
    setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
  else
    unshare --user --map-user=65534 --map-group=65534 "$@"
  fi
}
