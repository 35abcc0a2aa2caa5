#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Every way past the fence that we know of, tried by a program behind `openshell-egress run`, as an ordinary user. What it
# wants to reach is there: each trap outside is seen to answer before the fence goes up, and must not be touched after.
# bypass.py holds the traps, the rows and the verdicts, bypass_attempts.py what is tried.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need setpriv util-linux
need curl curl
enter_lab "$@"
export PYTHONDONTWRITEBYTECODE=1

cat >"$T/policy.yaml" <<'POLICY'
version: 1
network_policies:
  web:
    name: web
    endpoints:
      - { host: web.example.org, ports: [80, 443] }
      - { host: "*.wild.example.org", port: 443 }
      - { host: loop.example.org, ports: [80, 443, 3128] }
      - { host: meta.example.org, port: 80 }
      - { host: pool.example.org, port: 443 }
      - { host: mapped.example.org, port: 443 }
      - { host: nat64.example.org, port: 80 }
    binaries: [{ path: "/**" }]
POLICY
cat >"$T/zone.json" <<ZONE
{ "web.example.org": { "A": ["$V4_B"] }, "denied.example.org": { "A": ["$V4_B"] },
  "inside.wild.example.org": { "A": ["10.0.0.1"] }, "loop.example.org": { "A": ["127.0.0.1"] },
  "meta.example.org": { "A": ["169.254.169.254"] }, "pool.example.org": { "A": ["198.18.0.77"] },
  "mapped.example.org": { "AAAA": ["::ffff:127.0.0.1"] }, "nat64.example.org": { "AAAA": ["64:ff9b::a9fe:a9fe"] },
  "dns.google": { "A": ["8.8.8.8"] } }
ZONE
chmod 644 "$T/policy.yaml" "$T/zone.json"
for address in 8.8.8.8 10.0.0.1 169.254.169.254; do
  ip address add "$address/32" dev lo
done
mkdir -m 755 "$T/bin"
cp "$egress" "$dnsd" "$tunneld" "$here/bypass.py" "$here/bypass_attempts.py" "$T/bin"
start_standin --zone "$T/zone.json"

# shellcheck disable=SC2153 # lab.sh exports it
read -r _ SERVER6 _ <<<"$LAB_V6"
export SERVER=$V4_B SERVER6
python3 "$here/bypass.py" serve "$T/touched.jsonl" "$T/serving" 2>"$T/traps.err" &
wait_until 20 test -e "$T/serving" || fail "the traps are not ready: $(cat "$T/traps.err")"
python3 "$here/bypass.py" control || fail "a trap does not answer even without a fence"

as_user true || skip "cannot become an ordinary user here"
# behind SNI PART: the rows of a part, with tunneld told so about server names.
behind() {
  as_user "$T/bin/openshell-egress" run --log "$T/tmp/$1.log" --policy "$T/policy.yaml" --upstream "$V4_A" --sni "$1" -- \
    timeout 120 env OUTSIDE_PIDS="$$ $standin_pid" python3 "$T/bin/bypass.py" "$2" >"$T/$1.jsonl" 2>"$T/$1.err" ||
    fail "the rows of --sni $1 ended with status $?"
}
: >"$T/touched.jsonl"
behind enforce try
behind warn try-sni
for sni in enforce warn; do
  mv "$T/tmp/$sni.log" "$T/$sni.log" # leave_lab shows it
done
python3 "$here/bypass.py" judge "$T" || fail "see the table"
