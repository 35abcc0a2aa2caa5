#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The resolvers of glibc, musl, Python and node (both of its own: the C library's, and c-ares), each with openshell-dnsd
# as its only name server, for everything an upstream and a policy can do to a lookup. dns_clients.py holds the table.
#
#   dns_clients.sh [CLIENT...]    glibc musl python node (the default), go, java
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || set -- glibc musl python node
for client in "$@"; do
  case $client in
  glibc) need "${CC:-cc}" gcc ;;
  musl) need musl-gcc musl-tools ;;
  python) need python3 python3 ;;
  node) need node nodejs ;;
  go) need go golang-go ;;
  java) need javac default-jdk-headless ;;
  *) fail "no such client: $client" ;;
  esac
done
enter_lab "$@"
export PYTHONDONTWRITEBYTECODE=1

commands=()
for client in "$@"; do
  case $client in
  glibc)
    "${CC:-cc}" -O1 -Wall -Wextra -o "$T/lookup" "$here/dns/lookup.c" -lresolv || fail "lookup.c does not compile"
    commands+=("glibc=$T/lookup")
    ;;
  musl)
    musl-gcc -static -O1 -Wall -Wextra -o "$T/lookup-musl" "$here/dns/lookup.c" || fail "lookup.c does not compile with musl"
    commands+=("musl=$T/lookup-musl")
    ;;
  python) commands+=("python=python3 $here/dns/lookup.py") ;;
  node) commands+=("node=node $here/dns/lookup.mjs lookup" "c-ares=node $here/dns/lookup.mjs resolve") ;;
  go)
    # Nothing but the standard library: no module, no network. The cache stays ours.
    CGO_ENABLED=0 GOFLAGS=-mod=mod GO111MODULE=off GOCACHE=$T/go GOPATH=$T/gopath go build -o "$T/lookup-go" \
      "$here/dns/lookup.go" || fail "lookup.go does not compile"
    commands+=("go=$T/lookup-go")
    ;;
  java)
    javac -d "$T/java" "$here/dns/Lookup.java" || fail "Lookup.java does not compile"
    java="java -XX:TieredStopAtLevel=1 -cp $T/java Lookup"
    commands+=("java=$java inet" "jndi=$java jndi")
    ;;
  esac
done

python3 "$here/dns_clients.py" "$T" "${commands[@]}" || fail "see above"
