#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2317,SC2153 # the functions are called by the names of cases; HTTP_PROXY and V4_B are given
#
# curl's cases of clients.sh, behind the fence: what its manual promises of a proxy, each as this one keeps it.
# Prints "ok CASE" or "FAIL CASE: why".
set -euo pipefail
web=http://web.example.org
tls=https://web.example.org
denied=www.example.com
gone=refused.example.org:81
proxy=$HTTPS_PROXY
http_proxy=$HTTP_PROXY
export http_proxy
unset CURL_HOME XDG_CONFIG_HOME

c() {
  curl --disable --silent --show-error --max-time 60 --cacert "$CA" "$@"
}

# is WANTED GOT
is() {
  [ "$1" = "$2" ] || {
    echo "'$2' instead of '$1'" >&2
    return 1
  }
}

# has PATTERN TEXT, hasnt PATTERN TEXT: a line of TEXT.
has() {
  grep -qiE -e "$1" <<<"$2" || {
    echo "no '$1' in: $2" >&2
    return 1
  }
}
hasnt() {
  ! grep -iE -e "$1" <<<"$2" >&2
}

# The status that CONNECT got, where the client itself fails.
connect_status() {
  c -o /dev/null -w '%{http_connect}' "$@" 2>/dev/null || true
}

json() {
  python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

sum() {
  sha256sum "$@" | cut -d ' ' -f 1
}

case_forward() {
  local seen
  seen=$(c "$web/seen?a=b&c=d")
  is 'GET /seen?a=b&c=d' "$(json method <<<"$seen") $(json url <<<"$seen")"
  has '"host":"web.example.org"' "$seen"
  has '"via":"1.1 ' "$seen"
  hasnt 'proxy-connection' "$seen"
}

case_connect() {
  local out
  out=$(c --include "$tls/hello")
  has '^HTTP/1.1 200 ' "$(head -n 1 <<<"$out")"
  hasnt '^(content-length|transfer-encoding|connection: *close)' "$(sed '/^\r*$/,$d' <<<"$out")"
  is hello "$(tail -n 1 <<<"$out")"
}

case_post() {
  local got
  got=$(c --data-binary "@$BLOB" "$web/digest")
  is "$(sum "$BLOB") length" "$(json sha256 <<<"$got") $(json framing <<<"$got")"
}

case_https_post() {
  is "$(sum "$BLOB")" "$(c --data-binary "@$BLOB" "$tls/digest" | json sha256)"
}

case_chunked_up() {
  local got
  got=$(c --upload-file - "$web/digest" <"$BLOB")
  is "$(sum "$BLOB") chunked" "$(json sha256 <<<"$got") $(json framing <<<"$got")"
}

case_chunked_down() {
  is "$CHUNKS" "$(c "$web/chunks" | sum)"
}

case_redirect() {
  is "hello 1 $tls/hello" "$(c --location -w '%{num_redirects} %{url_effective}' "$web/redirect" | tr '\n' ' ')"
}

case_denied_http() {
  local got
  got=$(c --include "http://$denied/")
  has '^HTTP/1.1 403 ' "$got"
  has '^content-type: application/json' "$got"
  has '^proxy-status: .*http_request_denied' "$got"
  got=$(sed '1,/^\r*$/d' <<<"$got")
  is policy_denied "$(json error <<<"$got")"
  has "$denied" "$(json rule_missing <<<"$got")"
}

case_denied_https() {
  local out
  is 403 "$(connect_status "https://$denied/")"
  out=$(c "https://$denied/" 2>&1) && return 1
  has '403' "$out"
  # curl does not show what else stands in an answer to CONNECT; asked for as if it were a page, it is the same JSON.
  out=$(c --request CONNECT --request-target "$denied:443" "$proxy/")
  is policy_denied "$(json error <<<"$out")"
}

case_no_proxy() {
  has '^hello (198\.1[89]|fd)' "$(c --noproxy web.example.org -w '%{remote_ip}' "$web/hello" | tr '\n' ' ')"
  has '^hello (198\.1[89]|fd)' "$(NO_PROXY=web.example.org no_proxy=web.example.org c -w '%{remote_ip}' "$tls/hello" | tr '\n' ' ')"
  has '^hello 127.0.0.1' "$(NO_PROXY=eb.example.org no_proxy=eb.example.org c -w '%{remote_ip}' "$tls/hello" | tr '\n' ' ')"
  # Past the proxy to a real address there is no way, admitted or not.
  c --max-time 5 --noproxy '*' "http://$V4_B/hello" 2>/dev/null && return 1
  is hello "$(c "http://$V4_B/hello")"
}

case_keep_alive() {
  local url
  for url in "http://keep.example.org/hello" "$tls/hello"; do
    is '1 0 0 ' "$(c -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects} ' "$url" "$url" "$url")"
  done
}

case_closes() {
  # A request that is refused whole leaves the connection fit for the next; one whose body was not read does not.
  is '403 1 200 0 ' "$(c -o /dev/null -o /dev/null -w '%{http_code} %{num_connects} ' "http://$denied/" "$web/hello")"
  is '403 1 200 1 ' "$(c -o /dev/null -w '%{http_code} %{num_connects} ' --data-binary "@$BLOB" "http://$denied/" \
    --next --silent -o /dev/null -w '%{http_code} %{num_connects} ' "$web/hello")"
  is '1 1 ' "$(c -o /dev/null -o /dev/null -w '%{num_connects} ' --header 'Connection: close' "$web/hello" "$web/hello")"
}

case_never_407() {
  local how
  for how in --proxy-basic --proxy-digest --proxy-anyauth --proxy-ntlm; do
    curl --version | grep -q NTLM || [ "$how" != --proxy-ntlm ] || continue
    is '200 200' "$(c "$how" --proxy-user somebody:hunter2 -o /dev/null -w '%{http_connect} %{http_code}' "$tls/hello")"
    hasnt 'proxy-authorization|hunter2' "$(c "$how" --proxy-user somebody:hunter2 "$web/seen")"
  done
}

case_ipv6_literal() {
  [ -n "$V6_B" ] || return 0
  is hello "$(c "http://[$V6_B]/hello")"
  is 'hello 200' "$(c --proxytunnel -w '%{http_connect}' "http://[$V6_B]/hello" | tr '\n' ' ' | sed 's/ $//')"
}

case_big_heads() {
  local big small
  big=$(printf '%09000d' 0) small=$(printf '%07000d' 0)
  is 431 "$(c -o /dev/null -w '%{http_code}' --header "X-Big: $big" "$web/hello")"
  is 431 "$(connect_status --proxy-header "X-Big: $big" "$tls/hello")"
  is hello "$(c --header "X-Big: $small" "$web/hello")"
  is hello "$(c --proxy-header "X-Big: $small" "$tls/hello")"
  is hello "$(c --header "X-Big: $big" "$tls/hello")" # inside the tunnel it is none of the proxy's business
}

case_100_continue() {
  local got
  got=$(c --include --header 'Expect: 100-continue' --expect100-timeout 15 --upload-file "$BLOB" "$web/digest")
  has '^HTTP/1.1 100 ' "$got"
  has "\"sha256\":\"$(sum "$BLOB")\",\"framing\":\"length\",\"expected\":true" "$got"
  is 417 "$(c -o /dev/null -w '%{http_code}' --header 'Expect: 100-continue' --expect100-timeout 15 --upload-file "$BLOB" "$web/refuse")"
}

case_http10() {
  local out
  out=$(c --verbose --proxy1.0 "$proxy" "$tls/hello" 2>&1)
  has '^> CONNECT web.example.org:443 HTTP/1.0' "$out"
  has '^hello' "$out"
  is hello "$(c --http1.0 "$web/hello")"
  is "$CHUNKS" "$(c --http1.0 "$web/chunks" | sum)"
}

case_proxytunnel() {
  is 'hello 200' "$(c --proxytunnel -w '%{http_connect}' "$web/hello" | tr '\n' ' ')"
  is "$CHUNKS" "$(c --proxytunnel "$web/chunks" | sum)"
}

case_no_upgrade() {
  is 'hello 1.1' "$(c --http2 -w '%{http_version}' "$web/hello" | tr '\n' ' ')" # h2c was offered and not wanted
}

case_to_the_end() {
  is 109989 "$(c "$web/to-end" | wc -c)"
}

case_no_bodies() {
  has '^content-length: 6' "$(c --head "$web/hello")"
  is '204 0 ' "$(c -w '%{http_code} %{size_download} ' "$web/status/204")"
  is '304 0 200 1 ' "$(c -o /dev/null -w '%{http_code} %{size_download} ' "$web/status/304")$(c -o /dev/null -w '%{http_code} %{num_connects} ' "$web/hello")"
}

case_early_answer() {
  is 413 "$(c -o /dev/null -w '%{http_code}' --header Expect: --upload-file "$BLOB" "$web/early")"
}

case_methods() {
  local out
  out=$(c --include --request TRACE "$web/")
  has '^HTTP/1.1 405 ' "$out"
  has '^allow: ' "$out"
  is 'DELETE 200' "$(c --request DELETE -w '%{http_code}' "$web/seen" | sed 's/.*"method":"\([A-Z]*\)".*}/\1 /')"
  # RFC 9112 3.2.4: without a path it is the server as a whole that is asked.
  is '*' "$(c --request OPTIONS --request-target "$web" "$web" | json url)"
}

case_not_for_a_proxy() {
  local out
  out=$(c --include "$proxy/")
  has '^HTTP/1.1 400 ' "$out"
  has 'proxy' "$(sed '1,/^\r*$/d' <<<"$out")"
  out=$(c --include --request-target "$tls/hello" "$web/")
  has '^HTTP/1.1 400 ' "$out"
  has CONNECT "$(sed '1,/^\r*$/d' <<<"$out")"
  is 400 "$(c -o /dev/null -w '%{http_code}' --proxy "$proxy" ftp://web.example.org/file)"
  is 400 "$(c -o /dev/null -w '%{http_code}' --haproxy-protocol "$web/hello")"
  c --proxy "https://${proxy#*://}" "$tls/hello" 2>/dev/null && return 1
  c --max-time 15 --proxy "socks5h://${proxy#*://}" "$tls/hello" 2>/dev/null && return 1
  is 403 "$(connect_status "$tls:8443/hello")"
}

case_failures() {
  local out
  out=$(c "http://$gone/")
  is upstream_unreachable "$(json error <<<"$out")"
  is 502 "$(connect_status "https://$gone/")"
  out=$(c "http://nx.example.org/")
  is dns_failed "$(json error <<<"$out")"
  is 502 "$(connect_status "https://nx.example.org/")"
}

case_parallel() {
  is 40 "$(c --parallel --parallel-max 20 "$tls/hello?[1-40]" | grep -cx hello)"
  is 40 "$(c --parallel --parallel-max 20 "$web/hello?[1-40]" | grep -cx hello)"
}

case_spellings() {
  is hello "$(c "HTTPS://WEB.Example.ORG:443/hello")"
  is hello "$(c "https://web.example.org./hello")"
  is hello "$(c "http://web.example.org.:80/hello")"
  has '"authorization":"basic dXNlcjpodW50ZXIy"' "$(c "http://user:hunter2@web.example.org/seen")"
}

if [ $# = 1 ]; then
  "$1"
  exit
fi
for name in $(compgen -A function case_); do
  # A process of its own: "set -e" means nothing inside a condition.
  if why=$("$0" "$name" 2>&1); then
    echo "ok ${name#case_}"
  else
    echo "FAIL ${name#case_}: ${why:-no words}"
  fi
done
