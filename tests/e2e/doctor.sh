#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `openshell-egress doctor` in a healthy sandbox, and in sandboxes that are broken one way each: it finds what is broken,
# says what to change, and gives the exit status.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/doctor_lib.sh
. "$(dirname "$0")/doctor_lib.sh"
enter_lab "$@"
start_standin

policy=$top_srcdir/policy-examples/discord.yaml
examine=(timeout 60 "$egress" doctor) # whatever is broken, it ends

# Healthy: every way works, and a name that nobody has fails at once.
gateway=gateway.discord.gg:443
probe=doctor.openshell.invalid:443
doctor 0 fenced "$T/healthy.log" -- "${examine[@]}" --policy "$policy" --idle 500ms "$gateway"
row "$gateway" getaddrinfo 'ok .*198\.'
row "$gateway" 'own resolver, UDP' 'ok +127\.0\.0\.1:53: 198\.'
row "$gateway" 'own resolver, TCP' 'ok '
row "$gateway" CONNECT 'ok +200'
row "$gateway" 'TLS over CONNECT' 'ok +ServerHello'
row "$gateway" 'native TCP' 'ok +198\.'
row "$gateway" 'native TLS' 'ok +ServerHello'
row "$gateway" 'idle, over CONNECT' 'ok +still there after 500ms'
row "$gateway" 'idle, native' 'ok +still there after 500ms'
row "$probe" getaddrinfo 'ok +no such host \(ENOTFOUND\), as it should be'
row "$probe" 'own resolver, UDP' 'ok .*NXDOMAIN'
row "$probe" CONNECT 'ok +403 policy_denied'
grep -qx 'EAI_AGAIN means the resolver is ill; ENOTFOUND means policy.' "$T/said" || fail "the rule is not told"
! grep -q 'change:' "$T/said" || fail "there is something to change in a healthy sandbox: $(cat "$T/said")"
! grep -q doctor.openshell.invalid "$QUERIES" || fail "the probe was asked for upstream"
say "healthy: every way works"

# Without a target the hosts of the policy; as JSON.
doctor 0 fenced "$T/json.log" -- "${examine[@]}" --policy "$policy" --idle 0 --format json
python3 - "$T/said" <<'EOF' || fail "the JSON is another: $(cat "$T/said")"
import json, sys
said = json.load(open(sys.argv[1]))
targets = {t["host"]: t for t in said["targets"]}
assert said["works"] is True and targets["doctor.openshell.invalid"]["probe"] is True
assert {"gateway.discord.gg", "discord.com"} <= set(targets) and targets["discord.com"]["admitted"] is True
checks = {c["check"]: c for c in targets["discord.com"]["checks"]}
assert checks["native_tls"]["state"] == "ok" and checks["native_idle"]["state"] == "not_tested"
assert said["proxy"] == {"url": "http://127.0.0.1:3128", "from": "HTTPS_PROXY"}
assert said["resolv_conf"]["nameservers"] == ["127.0.0.1"] and said["notes"] == []
EOF
say "JSON: the policy's hosts, the names of the manual"

# A proxy that is dead: native connections go on, so that is no failure.
doctor 0 fenced "$T/proxy.log" -- env HTTPS_PROXY=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
  "${examine[@]}" --idle 0 "$gateway"
row "$gateway" CONNECT 'FAILED +http://127\.0\.0\.1:9: Connection refused'
row "$gateway" 'native TLS' 'ok '
change 'correct HTTPS_PROXY=http://127\.0\.0\.1:3128'
say "a dead proxy: found, and no failure while native connections work"

# A denied name, and a port that the policy has for another host: each face of the same refusal.
cat >"$T/other.yaml" <<'EOF'
version: 1
network_policies:
  other:
    endpoints:
      - { host: example.com, ports: [993, 8444] }
EOF
other=gateway.discord.gg:993
doctor 1 fenced "$T/denied.log" --policy "$T/other.yaml" -- "${examine[@]}" --policy "$policy" --idle 0 www.example.com "$other"
row www.example.com:443 getaddrinfo 'FAILED +no such host \(ENOTFOUND\)'
row www.example.com:443 'own resolver, UDP' 'FAILED .*NXDOMAIN'
row www.example.com:443 CONNECT 'FAILED +403 policy_denied'
row "$other" getaddrinfo 'ok '
row "$other" CONNECT 'FAILED +403 '
row "$other" 'native TLS' 'FAILED +alert access_denied\(49\)'
change '- \{ host: www\.example\.com, port: 443 \}'
change 'add 993 to the .ports:.'
grep -qx 'does not work: www.example.com:443' "$T/said" || fail "the verdict does not name it: $(cat "$T/said")"
other=gateway.discord.gg:8444
doctor 1 fenced "$T/refused.log" --policy "$T/other.yaml" -- "${examine[@]}" --idle 0 "$other"
row "$other" 'native TCP' 'ok +198'
row "$other" 'native TLS' 'FAILED +(closed|reset) before a byte was sent'
change "log has the reason"
say "a denied name and a denied port: the policy's line"

# A tunnel that is cut while it is idle.
doctor 1 fenced "$T/cut.log" --idle-timeout 1s -- "${examine[@]}" --idle 20s "$gateway"
row "$gateway" 'TLS over CONNECT' 'ok '
row "$gateway" 'idle, over CONNECT' 'FAILED +(closed|reset) .* after [0-9]+(ms|s) of silence'
row "$gateway" 'idle, native' 'FAILED +(closed|reset) .* after [0-9]+(ms|s) of silence'
change 'reason=idle is --idle-timeout'
grep -q 'reason=idle' "$T/cut.log" || fail "the log does not have the reason that is told"
say "a cut tunnel: when, how, and which switch"

# Outside of the fence, daemons by hand: no resolver where resolv.conf points to.
start_daemon tunneld --listen 127.0.0.1:3128 --upstream "$V4_A" --policy "$policy"
start_daemon dnsd --listen 127.0.0.1:53 --upstream "$V4_A" --policy "$policy" --answer synthetic --pool 127.64.0.0/10 \
  --map "$T/egress.map"
doctor 1 with_resolv_conf 'nameserver 127.0.0.53\noptions timeout:1 attempts:1\n' \
  "${examine[@]}" --idle 0 "$gateway"
row "$gateway" getaddrinfo 'FAILED +(EAI_AGAIN|no answer)'
row "$gateway" 'own resolver, UDP' 'FAILED +127\.0\.0\.53:53: Connection refused'
row "$gateway" CONNECT 'ok, but'
change "nameserver 127\.0\.0\.53. is the host's systemd-resolved"
change 'export HTTPS_PROXY=http://127\.0\.0\.1:3128'
say "resolv.conf that points nowhere: told from policy"

# A resolver that says nothing: it takes its time, and ends.
python3 -c 'import signal, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.77", 53))
open(sys.argv[1], "w").close()
signal.pause()' "$T/silent" &
wait_until 20 test -e "$T/silent" || fail "nothing holds port 53 of 127.0.0.77"
doctor 1 with_resolv_conf 'nameserver 127.0.0.77\noptions timeout:1 attempts:1\n' \
  env HTTPS_PROXY=http://127.0.0.1:3128 "${examine[@]}" --idle 0 "$gateway"
row "$gateway" 'own resolver, UDP' 'FAILED +127\.0\.0\.77:53: no answer'
row "$gateway" CONNECT 'ok +200'
change 'no DNS at 127\.0\.0\.77 port 53'
say "a silent resolver: told, and not waited for"

# Addresses that nothing captures, two name servers, a search list: CONNECT carries, the rest is told.
doctor 0 with_resolv_conf 'nameserver 127.0.0.1\nnameserver 127.0.0.99\nsearch a.test b.test\noptions ndots:5\n' \
  env HTTPS_PROXY=http://127.0.0.1:3128 "${examine[@]}" --idle 0 "$gateway"
row "$gateway" 'native TCP' 'FAILED +127\..*Connection refused'
row "$gateway" 'own resolver, UDP' 'ok, but +127.*; 127\.0\.0\.99:53: Connection refused'
row "$gateway" 'TLS over CONNECT' 'ok +ServerHello'
change 'nobody takes connections to port 443 of the pool'
change '2 nameservers'
change '2 search suffixes with ndots:5'
change 'NO_PROXY=localhost'
say "native connections refused: CONNECT carries, and the line to change"

doctor 64 "${examine[@]}" --idle soon
grep -q -e '--idle' "$T/doctor.err" || fail "the option is not named"
doctor 64 "${examine[@]}" https://discord.com/
doctor 78 "${examine[@]}" --policy "$T/nosuch.yaml"
say "usage 64, policy 78"
