#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cell.sh: one client of matrix.sh, started by it in the namespace of a column. Exit status 0: it got what it wanted.
#
#   cell.sh COLUMN CLIENT
#
# In the column "connect" the proxy variables are set and no name can be looked up; in the others it is the other way
# round. A client is given what its own options offer, nothing more; psql and redis-cli, which have none, are led
# through connect.py, a forwarder such as anybody would start for them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
column=$1 client=$2
host=$client.example.org

hello() {
  [ "$1" = hello ] || {
    echo "$client, $column: '$1' instead of hello" >&2
    exit 1
  }
}

# protocol NAME: the client of protocols.sh, with all that it asks for.
protocol() {
  local way=captured
  [ "$column" != connect ] || way=connect
  COLUMN=$column exec "$here/../protocols/inside.sh" "$way" "$1"
}

case $client in
discord) DISCORD_TOKEN=not-a-real-token exec node "$here/../bot.mjs" ;;
ws | redis | ssh | git | smtp) protocol "$client" ;;
openssl) protocol tls13 ;;
psql) protocol postgresql ;;
psql-direct) PSQL_NEGOTIATION=direct protocol postgresql ;;
fetch)
  hello "$(node -e 'fetch(process.argv[1]).then((a) => a.text()).then((t) => console.log(t.trim()),
    (e) => { console.error(e.cause ?? e); process.exitCode = 1; })' "https://$host/hello")"
  ;;
curl) hello "$(curl -sS --noproxy '*' --max-time 20 "https://$host/hello")" ;;
asyncio) exec python3 "$here/dial.py" "$host" "$CA" ;;
musl) hello "$("$T/dial-musl" "$host" 80 $'GET /hello HTTP/1.0\r\nHost: '"$host"$'\r\n\r\n' | tail -n 1)" ;;
musl-plain) [ "$("$T/dial-musl" redis.example.org 6379 $'PING\r\nQUIT\r\n' | head -n 1 | tr -d '\r')" = +PONG ] ;;
go-http) exec "$T/dial-go" http "https://$host/hello" ;;
go-dial) exec "$T/dial-go" dial redis.example.org:6379 ;;
java) exec java -XX:TieredStopAtLevel=1 -cp "$T/java" Dial http "https://$host/hello" ;;
java-socket) exec java -XX:TieredStopAtLevel=1 -cp "$T/java" Dial dial redis.example.org 6379 ;;
*)
  echo "cell.sh: no such client: $client" >&2
  exit 64
  ;;
esac
