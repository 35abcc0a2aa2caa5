#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Clients that honour HTTPS_PROXY: curl, and node's own fetch, go through CONNECT with the variables that `run` sets.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need_node_modules
need curl curl
enter_lab "$@"
start_standin

url=https://discord.com/api/v10/gateway
fenced "$T/curl.log" -- curl -v -sS --max-time 10 "$url" >"$T/curl.out.log" 2>"$T/curl.err" || fail "curl ended with status $?"
grep -q '"url": "wss://gateway.discord.gg"' "$T/curl.out.log" || fail "curl got another answer"
grep -q '^> CONNECT discord.com:443 HTTP/1' "$T/curl.err" || fail "curl did not use CONNECT"
say "curl went through CONNECT"

fenced "$T/fetch.log" -- node --no-warnings "$here/fetch.mjs" "$url" >"$T/fetch.out.log" 2>"$T/fetch.err" ||
  fail "fetch ended with status $?"
grep -qx 'status 200' "$T/fetch.out.log" || fail "fetch got another status"
grep -q '"url":"wss://gateway.discord.gg"' "$T/fetch.out.log" || fail "fetch got another answer"
grep -qx 'remote 127.0.0.1 3128' "$T/fetch.out.log" || fail "fetch has no connection to the proxy"
! grep -qE '^remote .* 443$' "$T/fetch.out.log" || fail "fetch went past the proxy"
say "node's fetch went through CONNECT"

# The proxy says no in a way that a program can read.
fenced "$T/denied.log" -- curl -v -sS --max-time 10 https://www.example.com/ >"$T/denied.out.log" 2>"$T/denied.err" &&
  fail "curl reached a name that no rule admits"
# run's own word of the denial may stand between the "<" of curl's line and the rest
grep -q '^<\{0,1\} HTTP/1.1 403 ' "$T/denied.err" || fail "the proxy did not answer 403 for a name that no rule admits"
! grep -q www.example.com "$QUERIES" || fail "a name that no rule admits was asked for upstream"
say "a denied name got 403 from the proxy"
