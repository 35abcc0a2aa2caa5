#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What `openshell-egress run` tells of a run: each distinct denial once on standard error, --summary at the end, with
# either form of log lines, and the log itself in full.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
enter_lab "$@"
start_standin

cat >"$T/busy.py" <<'END'
import socket, ssl, sys

def resolve(name):
    try:
        return socket.getaddrinfo(name, 443, socket.AF_UNSPEC, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None

for _ in range(3):
    assert resolve("www.example.com") is None
assert resolve("bad\nname.example") is None
context = ssl.create_default_context(cafile=sys.argv[1])
with socket.create_connection((resolve("discord.com"), 443), timeout=10) as s:
    with context.wrap_socket(s, server_hostname="discord.com") as t:
        t.sendall(b"GET /api/v10/gateway HTTP/1.0\r\nHost: discord.com\r\n\r\n")
        assert t.read().startswith(b"HTTP/1.")
for target in ("discord.com:8443", "api.example.org:443", "api.example.org:443"):
    with socket.create_connection(("127.0.0.1", 3128), timeout=10) as s:
        s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert b" 403 " in s.makefile("rb").readline()
print("done")
END

# told PATTERN [COUNT]: as many lines of standard error are like that.
told() {
  local count
  count=$(grep -cE -- "$1" "$T/run.err") || :
  [ "$count" = "${2:-1}" ] || fail "$format: $count lines are like '$1': $(cat "$T/run.err")"
}

for format in text json; do
  : >"$T/all.log"
  fenced "$T/all.log" --log-format "$format" --summary -- python3 "$T/busy.py" "$CA" >"$T/run.out" 2>"$T/run.err" ||
    fail "$format: status $?: $(cat "$T/run.err")"
  [ "$(cat "$T/run.out")" = "done" ] || fail "$format: standard output: $(cat "$T/run.out")"
  told '^openshell-egress: denied: www\.example\.com policy_denied$'
  told '^openshell-egress: denied: discord\.com:8443 policy_denied'
  told '^openshell-egress: denied: api\.example\.org:443 policy_denied'
  told '^    www\.example\.com [1-9][0-9]* times policy_denied$'
  told '^    api\.example\.org:443 2 times policy_denied$'
  told '^    discord\.com$'
  told '^    discord\.com:443 1 connection, [1-9][0-9]* bytes up, [1-9][0-9]* down, [0-9]+\.[0-9]{3} s$'
  # no name was split by the line end in it
  told '^name'  0
  # The rules are a policy, and admit what was denied.
  { echo 'version: 1'; sed -n '/^network_policies:/,$p' "$T/run.err"; } >"$T/suggested.yaml"
  "$egress" check "$T/suggested.yaml" >"$T/check.out" 2>&1 || fail "$format: the rules are no policy: $(cat "$T/check.out")"
  for target in discord.com:8443 api.example.org:443 www.example.com:443; do
    "$egress" explain --policy "$T/suggested.yaml" "$target" >/dev/null || fail "$format: $target is not admitted"
  done
  ! "$egress" explain --policy "$T/suggested.yaml" discord.com:443 >/dev/null || fail "$format: the rules are too wide"
  [ "$format" = text ] || python3 -c "
import json, sys
for line in open(sys.argv[1]): json.loads(line)" "$T/all.log" || fail "the log is not JSON, line by line"
  grep -q tunnel_open "$T/all.log" || fail "$format: the log is not whole"
done

# Without --summary, and without --log, only the denials.
NODE_EXTRA_CA_CERTS=$CA "$egress" run --policy "$top_srcdir/policy-examples/discord.yaml" --upstream "$V4_A" -- \
  python3 "$T/busy.py" "$CA" >"$T/run.out" 2>"$T/run.err" || fail "status $?: $(cat "$T/run.err")"
told '^openshell-egress: denied: www\.example\.com policy_denied$'
told summary 0

# Where nothing was run there is nothing to sum up.
status=0
"$egress" run --summary --policy "$top_srcdir/policy-examples/discord.yaml" --upstream "$V4_A" --idle-timeout 99999999999h -- true \
  2>"$T/run.err" || status=$?
[ "$status" = 64 ] || fail "a bad option of a daemon: status $status: $(cat "$T/run.err")"
told summary 0
told 'did not start; its words are above'
told 'idle-timeout'
say "denials and summary are told in both forms of the log"
