#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Clients by ways out: each cell does what the table "Which client gets out by which way" of docs/testing.md says. A cell
# that is "ok" there and fails is a failure, and so is one that is "no" and works, or that hangs instead of failing.
#
#   matrix.sh [CLIENT...]    the default: those that need no large tool chain; the others: matrix_more.sh
#
# Each way is a column: a network namespace that holds both daemons, set up as an operator would, and the clients. What
# they reach is outside of it. matrix/cell.sh knows the clients, protocols/serve.sh most of the servers.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/protocols/serve.sh
. "$here/protocols/serve.sh"
light=(discord ws fetch curl asyncio redis ssh git openssl smtp musl musl-plain)
heavy=(go-http go-dial java java-socket psql psql-direct)
[ "$*" != heavy ] || set -- "${heavy[@]}"
[ $# -gt 0 ] || set -- "${light[@]}"
columns=(anyip redirect steer connect)

# server_of CLIENT: which server of protocols/serve.sh it needs.
server_of() {
  case $1 in
  ws | redis | ssh | git | smtp) echo "$1" ;;
  openssl) echo tls13 ;;
  psql | psql-direct) echo postgresql ;;
  musl-plain | go-dial | java-socket) echo redis ;;
  esac
}

# host_of CLIENT: whom it connects to, as the log has it.
host_of() {
  local server
  server=$(server_of "$1")
  if [ "$1" = discord ]; then echo gateway.discord.gg; else echo "${server:-$1}.example.org"; fi
}

need_node_modules
need nsenter util-linux
need ip iproute2
need nft nftables
servers=()
web=()
for client in "$@"; do
  case $client in
  discord | ws | redis | ssh | git | openssl | smtp | psql | psql-direct | fetch | asyncio) ;;
  curl) need curl curl ;;
  musl | musl-plain) need musl-gcc musl-tools ;;
  go-*) need go golang-go ;;
  java | java-socket) need javac default-jdk-headless ;;
  *) fail "no such client: $client" ;;
  esac
  server=$(server_of "$client")
  if [ -z "$server" ]; then
    [ "$client" = discord ] || web+=("$client")
  elif [[ " ${servers[*]} " != *" $server "* ]]; then
    servers+=("$server")
    "need_$server"
  fi
done
enter_lab "$@"

# psql 17 and later can begin with TLS: note 5 of the documentation.
begins_with_tls() {
  [ "$(psql --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')" -ge 17 ]
}

# expected COLUMN CLIENT: ok or no, from the documentation.
expected() {
  local at
  if [ "$2" = psql-direct ] && begins_with_tls; then
    echo ok
    return
  fi
  case $1 in
  anyip) at=4 ;;
  redirect) at=5 ;;
  steer) at=6 ;;
  connect) at=7 ;;
  esac
  sed -n '/^## Which client gets out/,/^## /p' "$top_srcdir/docs/testing.md" |
    awk -F '|' -v at="$at" -v client="$2" '{ gsub(/[ `]/, "", $2); sub(/^ */, "", $at) }
      $2 == client { split($at, word, " "); print word[1] }'
}

# shellcheck disable=SC2016 # the backquotes are Markdown's
documented=$(sed -n '/^## Which client gets out/,/^## /s/^| `\([a-z-]*\)` .*/\1/p' "$top_srcdir/docs/testing.md" | sort)
[ "$documented" = "$(printf '%s\n' "${light[@]}" "${heavy[@]}" | sort)" ] ||
  fail "docs/testing.md has other clients than this test: $documented"

QUIET_S=0.5
export QUIET_S SERVER=$V4_B FILES=$T/files DISCORD_TOKEN=not-a-real-token PYTHONDONTWRITEBYTECODE=1
make_files
write_zone "${servers[@]}" "${web[@]}"
start_standin --zone "$T/zone.json" --heartbeat-ms 500 --token "$DISCORD_TOKEN"
write_policy "${servers[@]}"
for name in "${web[@]}"; do
  printf '  %s:\n    name: %s\n    endpoints: [{ host: %s.example.org, ports: [80, 443] }]\n' "$name" "$name" "$name"
  printf '    binaries: [{ path: "/**" }]\n'
done >>"$T/policy.yaml"
policies=(--policy "$T/policy.yaml" --policy "$top_srcdir/policy-examples/discord.yaml")
for server in "${servers[@]}"; do
  "serve_$server"
done
node "$here/clients/origin.mjs" "$T/standin/server.pem" "$T/origin" "$SERVER" 2>"$T/origin.err" &
ready+=("test -e $T/origin")

# What is compiled. Go is kept from its module proxy: there is nothing to fetch.
for client in "$@"; do
  case $client in
  musl*) [ -e "$T/dial-musl" ] || musl-gcc -static -O1 -Wall -Wextra -o "$T/dial-musl" "$here/matrix/dial.c" ;;
  go-*) [ -e "$T/dial-go" ] || CGO_ENABLED=0 GO111MODULE=off GOPROXY=off GOCACHE=$T/go GOPATH=$T/gopath \
    go build -o "$T/dial-go" "$here/matrix/dial.go" ;;
  java*) [ -e "$T/java" ] || javac -d "$T/java" "$here/clients/Client.java" "$here/matrix/Dial.java" ;;
  esac || fail "the client $client does not compile"
done

# What a program in a column reads. In the column "connect" nobody answers there.
printf 'nameserver 127.0.0.1\noptions timeout:2 attempts:1\n' >"$T/resolv.conf"
echo 'hosts: files dns' >"$T/nsswitch.conf"
chmod 644 "$T/resolv.conf" "$T/nsswitch.conf"
mount --bind "$T/resolv.conf" /etc/resolv.conf
[ ! -e /etc/nsswitch.conf ] || mount --bind "$T/nsswitch.conf" /etc/nsswitch.conf

declare -A holder
# make_column NAME NUMBER: a namespace, and a link from it to here.
make_column() {
  local net=10.77.$2
  # shellcheck disable=SC2016 # expanded over there
  unshare --net -- sh -c ': >"$0"; exec sleep infinity' "$T/$1.up" &
  holder[$1]=$!
  wait_until 20 test -e "$T/$1.up" || fail "$1: no namespace"
  ip link add "column$2" type veth peer name veth0 netns "${holder[$1]}"
  ip addr add "$net.1/24" dev "column$2"
  ip link set "column$2" up
  enter_column "$1"
  "${within[@]}" sh -e -c "ip link set lo up; ip addr add $net.2/24 dev veth0; ip link set veth0 up
    ip route add default via $net.1; ! test -e /proc/sys/net/ipv6 || ip -6 addr add fd00:77:$2::2/64 dev veth0 nodad"
}

# Sets ${within[@]} and ${prefix}.
enter_column() {
  within=(nsenter "--net=/proc/${holder[$1]}/ns/net")
  prefix=$1.
}

ports_of_policy() {
  {
    echo 443 # discord.yaml's
    sed -nE 's/.*ports?: \[?([0-9, ]+).*/\1/p' "$T/policy.yaml" | tr -d ' ' | tr , '\n'
  } | sort -un
}

# start_column NAME: capture and daemons, as its way wants them.
start_column() {
  local column=$1 port capture=() listeners=() shared answer=(--answer synthetic --aaaa pass)
  enter_column "$column"
  shared=("${policies[@]}" --upstream "$V4_A" --workers 1)
  case $column in
  anyip)
    capture=(--mode anyip "${policies[@]}")
    for port in $(ports_of_policy); do
      listeners+=(--transparent "0.0.0.0:$port" --transparent "[::]:$port")
    done
    ;;
  redirect)
    capture=(--mode redirect)
    listeners=(--transparent 127.0.0.1:15001 --transparent "[::1]:15001")
    ;;
  steer) # no capability, no route, no map
    shared+=(--steer-address 127.0.0.9 --steer-address ::1)
    answer=(--answer steer --aaaa pass)
    for port in $(ports_of_policy); do
      listeners+=(--transparent "127.0.0.9:$port" --transparent "[::1]:$port")
    done
    listeners+=(--head-timeout 2s) # who waits for the server to speak first does so for no longer
    ;;
  esac
  if [ "${#capture[@]}" -gt 0 ]; then
    "${within[@]}" nft list tables >"$T/$column.capture.log" 2>&1 || skip "$column: $(cat "$T/$column.capture.log")"
    "${within[@]}" "$egress" capture up "${capture[@]}" >"$T/$column.capture.log" 2>&1 ||
      fail "$column: $(cat "$T/$column.capture.log")"
  fi
  [ "$column" = steer ] || shared+=(--map "$T/$column.map")
  [ "$column" = connect ] || start_daemon dnsd "${shared[@]}" "${answer[@]}"
  start_daemon tunneld "${shared[@]}" "${listeners[@]}"
}

# run_cell COLUMN CLIENT: leaves its exit status in $T/COLUMN.CLIENT.status.
run_cell() {
  local status=0 environment=("NODE_EXTRA_CA_CERTS=$CA" "CURL_CA_BUNDLE=$CA") proxy=http://127.0.0.1:3128 limit=60
  enter_column "$1"
  [ "$1" != connect ] || environment+=("HTTPS_PROXY=$proxy" "https_proxy=$proxy" "HTTP_PROXY=$proxy" "http_proxy=$proxy")
  [ "$(expected "$1" "$2")" != no ] || limit=20
  "${within[@]}" env "${environment[@]}" timeout "$limit" "$here/matrix/cell.sh" "$1" "$2" \
    >"$T/$1.$2.said" 2>&1 </dev/null || status=$?
  echo "$status" >"$T/$1.$2.status"
}

number=0
for column in "${columns[@]}"; do
  number=$((number + 1))
  make_column "$column" "$number"
  start_column "$column"
done
within=() prefix=''
wait_for_servers
hear_banners "${servers[@]}"

for column in "${columns[@]}"; do
  cells=()
  for client in "$@"; do
    run_cell "$column" "$client" &
    cells+=($!)
  done
  wait "${cells[@]}"
done

# outcome COLUMN CLIENT: ok only if the log of the proxy says as well that it went the way it should, and no where names
# are steered only if the log says why.
outcome() {
  local way=' via=capture '
  case $1 in
  connect) way=' via=connect ' ;;
  steer) way=' via=steer | forward status=200 ' ;; # of a request over plain HTTP, which is no tunnel
  esac
  case $(cat "$T/$1.$2.status") in
  0)
    if grep -E " host=$(host_of "$2") " "$T/$1.tunneld.log" | grep -qE "$way"; then echo ok; else echo 'another way'; fi
    ;;
  124) echo hung ;;
  *)
    if [ "$2" = psql-direct ]; then # refused by psql itself, and it says why
      if grep -q 'invalid connection option "sslnegotiation"' "$T/$1.$2.said"; then echo no; else echo unexplained; fi
    elif [ "$1" != steer ] || grep -q " reason=steer_no_name host=- port=$(ports_of "$(server_of "$2")") " "$T/steer.tunneld.log"; then
      echo no
    else
      echo unexplained
    fi
    ;;
  esac
}

status=0
printf '%-14s' client "${columns[@]}"
echo
for client in "$@"; do
  printf '%-14s' "$client"
  for column in "${columns[@]}"; do
    got=$(outcome "$column" "$client") wanted=$(expected "$column" "$client")
    if [ "$got" = "$wanted" ]; then
      printf '%-14s' "$got"
    else
      printf '%-14s' "FAIL: $got"
      sed "s/^/$column, $client: /" "$T/$column.$client.said" | tail -n 20 >&2
      status=1
    fi
  done
  echo
done
[ "$status" = 0 ] || fail "see the table, and above what the clients said"
