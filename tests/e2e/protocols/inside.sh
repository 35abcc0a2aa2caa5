#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2317,SC2094 # the functions are called by the names of protocols; silence() only watches a file
#
# inside.sh: the clients of protocols.sh, started by it behind the fence.
#
#   inside.sh captured|connect PROTOCOL...
#
# captured: the program knows nothing of a proxy. connect: it uses the one of HTTPS_PROXY if it can, and otherwise the
# tunnel that connect.py makes for it. All at once, because each has its silence. $T/WAY.PROTOCOL.ok is a success.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
way=$1
column=${COLUMN:-$way} # of matrix.sh, which has several that are captured
shift
if [ "$way" = captured ]; then
  unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy NO_PROXY no_proxy NODE_USE_ENV_PROXY
fi
export PYTHONDONTWRITEBYTECODE=1
blob=$FILES/blob

wrong() {
  echo "$protocol, $way: $*" >&2
  exit 1
}

same() {
  cmp "$blob" "$1" >&2 || wrong "$2: other bytes came than were sent"
}

# silence FILE: begins when something has come back, so that it is the tunnel's and not that of a slow start.
silence() {
  until [ -s "$1" ]; do sleep 0.02; done
  sleep "$QUIET_S"
}

# endpoint HOST PORT: sets $address and $port, where a client that knows no proxy has to connect to.
endpoint() {
  address=$1 port=$2
  [ "$way" = connect ] || return 0
  local file=$dir/shim.$2
  python3 "$here/connect.py" listen "$file" "$1" "$2" &
  until [ -e "$file" ]; do sleep 0.02; done
  address=127.0.0.1 port=$(cat "$file")
}

# s_client PORT [OPTION...]: natively, or with its own -proxy.
s_client() {
  local at=$1 proxy=()
  shift
  [ "$way" = captured ] || proxy=(-proxy "${HTTPS_PROXY#http://}")
  openssl s_client -connect "$host:$at" "${proxy[@]}" -servername "$host" -verify_hostname "$host" -CAfile "$CA" \
    -verify_return_error -ign_eof "$@"
}

tls() {
  local version=$1 own=$2
  {
    echo "before the silence"
    silence "$dir/lines"
    echo "after it"
    echo CLOSE
  } | s_client "$own" -brief >"$dir/lines" 2>"$dir/brief"
  [ "$(cat "$dir/lines")" = "$(printf 'ecnelis eht erofeb\nti retfa')" ] || wrong "the lines came back as $(cat "$dir/lines")"
  grep -qx "Protocol version: $version" "$dir/brief" || wrong "another version: $(cat "$dir/brief")"
  printf 'GET /blob HTTP/1.0\r\n\r\n' | s_client "$3" -quiet >"$dir/blob" 2>"$dir/quiet"
  same "$dir/blob" "a file"
}
do_tls12() { if [ "$way" = captured ]; then tls TLSv1.2 8012 8212; else tls TLSv1.2 8112 8212; fi; }
do_tls13() { if [ "$way" = captured ]; then tls TLSv1.3 8013 8213; else tls TLSv1.3 8113 8213; fi; }

do_h2() {
  node "$here/h2.mjs" "$way" "$QUIET_S" "$host" 8443 /blob "$blob"
  endpoint "$host" 8443
  nghttp -y -H ":authority: $host:8443" "https://$address:$port/blob" >"$dir/nghttp"
  same "$dir/nghttp" "nghttp, a file"
  nghttp -y -H ":authority: $host:8443" -d "$blob" "https://$address:$port/" >"$dir/nghttp"
  same "$dir/nghttp" "nghttp, an upload that is sent back"
  curl -sS --http2 --cacert "$CA" --max-time 60 -w '%{stderr}%{http_version}' -o "$dir/curl" "https://$host:8443/blob" 2>"$dir/version"
  [ "$(cat "$dir/version")" = 2 ] || wrong "curl: $(cat "$dir/version") instead of HTTP/2"
  same "$dir/curl" "curl, a file"
}

do_ws() {
  node "$here/ws.mjs" "$way" "$QUIET_S" "ws://$host:8001/" &
  node "$here/ws.mjs" "$way" "$QUIET_S" "wss://$host:8002/"
  wait $! || wrong "ws: failed"
}

# banner PORT MS: the server itself takes MS to say it.
banner() {
  # As the server says it to whoever is not behind the fence.
  python3 "$here/connect.py" first "$way" "$host" "$1" "$FILES/banner.$1" "$2"
}

do_ssh() {
  local options=(-F none -i "$T/ssh_key" -o IdentitiesOnly=yes -o "UserKnownHostsFile=$T/known_hosts" -o HostKeyAlias=lab
    -o StrictHostKeyChecking=yes -o BatchMode=yes -o LogLevel=ERROR -p 2222)
  [ "$way" = captured ] || options+=(-o "ProxyCommand=python3 $here/connect.py pipe %h %p")
  banner 2222 0
  {
    echo before
    silence "$dir/lines"
    echo after
  } | ssh "${options[@]}" "tester@$host" cat >"$dir/lines"
  [ "$(cat "$dir/lines")" = "$(printf 'before\nafter')" ] || wrong "the lines came back as $(cat "$dir/lines")"
  ssh "${options[@]}" "tester@$host" cat <"$blob" >"$dir/blob"
  same "$dir/blob" "a file both ways"
}

do_redis() {
  endpoint "$host" 6379
  redis() { redis-cli -h "$address" -p "$port" "$@"; }
  [ "$(redis -x SET "$column" <"$blob")" = OK ] || wrong "SET was refused"
  redis --raw GET "$column" | head -c -1 >"$dir/blob" # redis-cli adds a line feed
  same "$dir/blob" "a value"
  # A subscriber waits in silence for what somebody else says.
  redis --raw SUBSCRIBE "$column" >"$dir/heard" &
  local subscriber=$!
  until grep -qx 1 "$dir/heard"; do sleep 0.02; done
  {
    printf 'SET %s.n 41\n' "$column"
    silence "$dir/said"
    printf 'INCR %s.n\nPUBLISH %s news\n' "$column" "$column"
  } | redis >"$dir/said"
  [ "$(tr '\n' ' ' <"$dir/said")" = 'OK 42 1 ' ] || wrong "redis said: $(cat "$dir/said")"
  until grep -qx news "$dir/heard"; do sleep 0.02; done
  kill "$subscriber"
}

do_smtp() {
  banner 2525 100
  node "$here/smtp.mjs" "$way" "$QUIET_S" "$host" 2525 "$CA"
  local proxy=()
  [ "$way" = captured ] || proxy=(--proxytunnel --proxy "$HTTPS_PROXY") # of itself it uses one for HTTP alone
  printf 'Subject: curl\r\n\r\n.one dot\r\n' >"$dir/mail"
  curl -sSv "${proxy[@]}" --ssl-reqd --cacert "$CA" --max-time 60 --mail-from a@example.org --mail-rcpt b@example.org \
    -T "$dir/mail" "smtp://$host:2525" 2>"$dir/curl" || wrong "curl: $(tail -n 3 "$dir/curl")"
  grep -q "< 250 sha256=$(sha256sum <"$dir/mail" | cut -d ' ' -f 1)" "$dir/curl" || wrong "curl: $(grep '< ' "$dir/curl")"
}

do_mysql() { banner 3306 0; }

do_grpc() { node "$here/grpc.mjs" "$QUIET_S" "$host:50051" "$CA"; }

do_git() {
  export GIT_SSL_CAINFO=$CA GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
  local url=https://$host:8418/repo.git
  git init --quiet "$dir/out"
  cp "$blob" "$dir/out/blob"
  git -C "$dir/out" add blob
  git -C "$dir/out" -c user.name=T -c user.email=t@example.org commit --quiet --message "$column"
  # More than postBuffer: the upload is chunked.
  git -C "$dir/out" push --quiet "$url" "HEAD:refs/heads/$column"
  git clone --quiet --branch "$column" "$url" "$dir/in"
  same "$dir/in/blob" "what was pushed"
  [ "$(git -C "$dir/in" rev-parse HEAD)" = "$(git -C "$dir/out" rev-parse HEAD)" ] || wrong "another commit was cloned"
  git -C "$dir/in" fsck --strict 2>"$dir/fsck" || wrong "fsck: $(cat "$dir/fsck")"
}

do_postgresql() {
  endpoint "$host" 5432
  local address_only=() negotiation=()
  [ "$way" = captured ] || address_only=("hostaddr=$address")
  [ -z "${PSQL_NEGOTIATION:-}" ] || negotiation=("sslnegotiation=$PSQL_NEGOTIATION")
  psql "host=$host ${address_only[*]} ${negotiation[*]} port=$port user=tester dbname=postgres sslmode=verify-full sslrootcert=$CA" \
    --no-psqlrc --quiet --tuples-only --no-align -v ON_ERROR_STOP=1 >"$dir/said" <<SQL
SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid();
CREATE TEMP TABLE t AS SELECT i, md5(i::text) AS m FROM generate_series(1, 50000) AS i;
SELECT md5(string_agg(m, '' ORDER BY i)) FROM t;
SELECT 'after ' || pg_sleep($QUIET_S) || 'the silence';
\\copy t TO '$dir/t'
CREATE TEMP TABLE u (LIKE t);
\\copy u FROM '$dir/t'
SELECT count(*) FROM (TABLE t EXCEPT TABLE u) AS lost;
SELECT 'x' || repeat('y', 3000000) || 'z';
SQL
  local want
  want=$(python3 -c 'import hashlib
md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
print(md5("".join(md5(str(i)) for i in range(1, 50001))))
print("after the silence", 0, "x" + "y" * 3000000 + "z", sep="\n")')
  grep -q '^TLSv1' "$dir/said" || wrong "no TLS"
  [ "$(tail -n +2 "$dir/said")" = "$want" ] || wrong "other rows: $(cut -c 1-80 "$dir/said")"
}

do_mariadb() {
  local want rows=20000
  endpoint "$host" 3307
  seq 1 "$rows" >"$dir/t"
  mariadb --no-defaults --protocol=TCP --host="$address" --port="$port" --user=tester --ssl --ssl-ca="$CA" --batch \
    --skip-column-names --local-infile=1 --max-allowed-packet=64M test >"$dir/said" <<SQL
SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_VERSION';
CREATE TEMPORARY TABLE t (i INT);
LOAD DATA LOCAL INFILE '$dir/t' INTO TABLE t;
SET SESSION group_concat_max_len = 1000000000;
SELECT MD5(GROUP_CONCAT(MD5(i) ORDER BY i SEPARATOR '')) FROM t;
SELECT CONCAT('after ', SLEEP($QUIET_S), ' the silence');
SELECT CONCAT('x', REPEAT('y', 3000000), 'z');
SQL
  want=$(python3 -c 'import hashlib, sys
md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
print(md5("".join(md5(str(i)) for i in range(1, int(sys.argv[1]) + 1))))
print("after 0 the silence", "x" + "y" * 3000000 + "z", sep="\n")' "$rows")
  grep -q '^TLSv1' "$dir/said" || wrong "no TLS"
  [ "$(tail -n +2 "$dir/said")" = "$want" ] || wrong "other rows: $(cut -c 1-80 "$dir/said")"
}

pids=()
for protocol in "$@"; do
  (
    host=$protocol.example.org
    dir=$(mktemp -d)
    "do_$protocol"
    rm -rf "$dir"
    : >"$T/$column.$protocol.ok"
  ) &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || status=1
done
exit "$status"
