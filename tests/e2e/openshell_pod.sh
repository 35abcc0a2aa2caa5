#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The recipe for a sandbox of OpenShell, docs/recipes/openshell.md, command by command, in both of its ways: a pod whose
# sandbox is a network namespace behind OpenShell's fence, with its proxy on 10.200.0.1:3128. The commands are taken from
# the recipe itself, by the headings they stand under, so that it cannot say anything else than what is tested here.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need nft nftables
need ip iproute2
need curl curl
need "${CC:-cc}" gcc
recipe_file=$(cd "$top_srcdir" && pwd)/docs/recipes/openshell.md
enter_lab "$@"
PATH=$top_builddir:$PATH
# The recipe's own names. The first two its reader knows, the others it sets.
export sandbox=bot pod=bot-0
dir='' netns='' nameserver=''
id=1a2b3c4d ns=sandbox-1a2b3c4d
done_steps=$T/steps.txt

# ---- what the recipe has, and the two programs it uses outside the pod ----

# step HEADING: the commands under it.
step() {
  awk -v "heading=$1" '
    /^#+ / && !code { on = 0; sub(/^#+ /, ""); on = $0 == heading; next }
    /^```/ { code = !code; take = code && $0 == "```sh"; next }
    on && take' "$recipe_file" >"$T/step.sh"
  [ -s "$T/step.sh" ] || fail "the recipe has no commands under '$1'"
  echo "$1" >>"$done_steps"
  # shellcheck source=/dev/null
  . "$T/step.sh"
}

openshell() {
  [ "$*" = 'policy get bot --full' ] || fail "the recipe asks openshell: $*"
  printf 'Version:      3\nStatus:       Loaded\n---\n'
  cat "$T/policy.yaml"
}

kubectl() {
  [ "$1 $2 $3 $5 $6" = "-n openshell exec $pod --" ] || fail "the recipe asks kubectl: $*"
  shift 6
  "$@"
}

# policy [HOST]: Discord with rules about requests, so that its proxy opens the gateway's TLS as well; and HOST.
policy() {
  cat <<END
version: 1
network_policies:
  discord:
    name: discord
    endpoints:
      - host: discord.com
        port: 443
        protocol: rest
        enforcement: enforce
        rules: [{ allow: { method: GET, path: "/**" } }]
      - host: gateway.discord.gg
        port: 443
        protocol: rest
        enforcement: enforce
        rules: [{ allow: { method: GET, path: "/**" } }]
      ${1:+- { host: $1, port: 443, access: full \}}
    binaries:
      - { path: /usr/bin/node }
END
}

# ---- the pod ----

# Addresses that look like a cluster's; 10.43.0.10 is its DNS, which only the pod reaches. No IPv6 on the veth, as there.
make_pod() {
  mount -t tmpfs none /run &&
    { [ /var/run -ef /run ] || mount --bind /run /var/run; } &&
    ip address add 10.43.0.10/32 dev lo &&
    printf 'search openshell.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.43.0.10\noptions ndots:5\n' \
      >"$T/resolv.conf" &&
    mount --bind "$T/resolv.conf" /etc/resolv.conf &&
    ip netns add "$ns" &&
    ip link add "veth-h-$id" type veth peer name "veth-s-$id" netns "$ns" &&
    ip link set "veth-h-$id" addrgenmode none &&
    ip -n "$ns" link set "veth-s-$id" addrgenmode none &&
    ip address add 10.200.0.1/24 dev "veth-h-$id" &&
    ip link set "veth-h-$id" up &&
    ip -n "$ns" link set lo up &&
    ip -n "$ns" address add 10.200.0.2/24 dev "veth-s-$id" &&
    ip -n "$ns" link set "veth-s-$id" up &&
    ip -n "$ns" route add default via 10.200.0.1 &&
    inside nft list ruleset
}

# OpenShell's rules. Flushed and written anew, as it does.
fence_up() {
  inside nft -f - <<'END'
table inet openshell_bypass
flush table inet openshell_bypass
table inet openshell_bypass {
  chain output {
    type filter hook output priority 0; policy accept;
    ip daddr 10.200.0.1 tcp dport 3128 accept
    oifname "lo" accept
    ct state established,related accept
    meta nfproto ipv4 meta l4proto tcp reject with icmp type port-unreachable
    meta nfproto ipv6 meta l4proto tcp reject with icmpv6 type port-unreachable
    meta nfproto ipv4 meta l4proto udp reject with icmp type port-unreachable
    meta nfproto ipv6 meta l4proto udp reject with icmpv6 type port-unreachable
  }
}
END
}

# inside COMMAND...: in the sandbox.
inside() {
  nsenter --net="/var/run/netns/$ns" "$@"
}

start_proxy() {
  python3 "$here/openshell_pod.py" proxy 10.200.0.1 3128 "$V4_A" "$T/proxy.log" 2>"$T/proxy.err" &
  wait_until 20 grep -qsx READY "$T/proxy.log" || fail "the stand-in for OpenShell's proxy is not ready"
}

# What a step may have changed, to be compared after the step that undoes it.
state() {
  inside nft list ruleset
  inside ip -4 -o address show
  inside ip -4 route show table all
  nft list ruleset
  cat /etc/resolv.conf
}

# ---- the daemons, which the recipe starts ----

# is_serving NAME: since its log was last emptied.
is_serving() {
  is_alive "$(cat "$dir/$1.pid")" || fail "openshell-$1 ended: $(cat "$dir/$1.log")"
  grep -q ' ready$' "$dir/$1.log"
}

# start NAME STEP: by the recipe's step.
start() {
  : >"$dir/$1.log"
  step "$2"
  wait_until 20 is_serving "$1" || fail "openshell-$1 is not ready: $(cat "$dir/$1.log")"
}

# stop NAME: as if it had ended by itself.
stop() {
  local pid
  pid=$(cat "$dir/$1.pid")
  kill "$pid"
  wait "$pid" 2>/dev/null || :
}

# undo STEP: and nothing of it is left.
undo() {
  local pids
  pids="$(cat "$dir/dnsd.pid") $(cat "$dir/tunneld.pid")"
  step "$1"
  # shellcheck disable=SC2086 # two words
  wait $pids 2>/dev/null || :
  state >"$T/state.after"
  diff "$T/state.before" "$T/state.after" >"$T/state.log" || fail "'$1' leaves something behind"
}

# ---- what holds in the sandbox ----

resolves() {
  inside "$1" resolve "$2" >"$T/resolve.out.log"
  grep -qE "^$2 198\.1[89]\." "$T/resolve.out.log"
}

# check_denied PROBE: NXDOMAIN, at once, and the cluster's DNS hears nothing of it.
check_denied() {
  inside "$1" resolve www.example.com >"$T/denied.out.log"
  check_refusals www.example.com "$T/denied.out.log" EAI_NONAME
  ! grep -qF www.example.com "$QUERIES" || fail "a denied name was asked for upstream"
  ! grep -qF cluster.local "$QUERIES" || fail "a name made with a search domain was asked for upstream"
}

# try_all TARGET...: connects from the sandbox; the outcomes are in try.out.log.
try_all() {
  inside python3 "$here/openshell_pod.py" try "$@" >"$T/try.out.log"
}

# All that must stay closed. TLS, port 8443 and name servers are open in the pod at both addresses. (OpenShell's fence
# refuses with ICMP, of which TCP takes notice when it sends again, a second later: no matter of ours.)
check_fence() {
  local handed
  handed=$(inside "$T/probe" resolve gateway.discord.gg | head -n 1 | cut -d' ' -f2)
  try_all "tcp:$handed:443" "tcp:$handed:8443" tcp:198.18.77.77:443 "udp:$handed:443" udp:198.18.77.77:53 \
    "tcp:$V4_A:443" "tcp:$V4_A:8443" "tcp:$V4_A:53" "udp:$V4_A:53" "udp:$V4_A:443" \
    tcp:10.43.0.10:443 tcp:10.43.0.10:8443 tcp:10.200.0.1:53 udp:10.200.0.1:53 tcp:10.200.0.1:15002
  grep -qx "tcp:$handed:443 open" "$T/try.out.log" || fail "the gateway's own address does not work: this proves nothing"
  ! grep -v "^tcp:$handed:443 " "$T/try.out.log" | grep -vE ' (ECONNREFUSED|ECONNRESET|EPERM)$' >"$T/try.log" ||
    fail "not closed: $(cat "$T/try.log")"
}

# check_verify: the recipe's own commands find what it says they find.
check_verify() {
  : >"$T/proxy.log"
  step Verify >"$T/verify.out.log" 2>&1 || fail "the commands under Verify: $(cat "$T/verify.out.log")"
  grep -qE '^198\.1[89]\.[0-9.]+ +STREAM gateway.discord.gg' "$T/verify.out.log" || fail "getent: $(cat "$T/verify.out.log")"
  grep -qi '^Verification: OK' "$T/verify.out.log" || fail "s_client: $(cat "$T/verify.out.log")"
  grep -q '"url": "wss://gateway.discord.gg"' "$T/verify.out.log" || fail "curl: $(cat "$T/verify.out.log")"
  grep -qx 'CONNECT discord.com:443' "$T/proxy.log" || fail "REST did not go through OpenShell's proxy"
  ! grep -q gateway "$T/proxy.log" || fail "the gateway went through OpenShell's proxy, though it is proxy: direct"
}

# hold_open NAME SECONDS: a tunnel that says nothing for so long; hold_end: and is there all the same.
hold_open() {
  coproc HOLD { inside python3 "$here/openshell_pod.py" hold "$1" "$2" 2>"$T/hold.err"; }
  hold_pid=${HOLD_PID:?}
  read -r line <&"${HOLD[0]}" || fail "no tunnel to $1: $(cat "$T/hold.err")"
  [[ $line = 'open 198.18.'* || $line = 'open 198.19.'* ]] || fail "the tunnel to $1: $line"
}

hold_end() {
  echo >&"${HOLD[1]}"
  read -r line <&"${HOLD[0]}" || fail "$1: the idle tunnel was cut: $(cat "$T/hold.err")"
  [ "$line" = alive ] || fail "$1: the idle tunnel says: $line"
  wait "$hold_pid"
}

# new_policy [HOST]: by the recipe's own step; returns when both daemons have it.
new_policy() {
  local before
  before=$(cat "$dir"/dnsd.log "$dir"/tunneld.log | grep -c policy_loaded || :)
  policy "$@" >"$T/policy.yaml"
  (cd "$T" && mkdir -p station && cd station && step Policy)
  wait_until 20 have_loaded "$((before + 2))" || fail "the new policy was not loaded: $(tail "$dir"/*.log)"
}

have_loaded() {
  [ "$(cat "$dir"/dnsd.log "$dir"/tunneld.log | grep -c policy_loaded)" -ge "$1" ]
}

# check_way NAME DNSD-STEP TUNNELD-STEP PROBE...
check_way() {
  local way=$1 dnsd_step=$2 tunneld_step=$3 probe before
  shift 3
  for probe in "$@"; do
    resolves "$probe" gateway.discord.gg || fail "$way: $probe: $(cat "$T/resolve.out.log")"
    check_denied "$probe"
  done
  check_verify
  check_fence
  say "$way: names, the raw gateway, REST through OpenShell's proxy; all else stays closed"

  # An idle tunnel outlives dnsd and two policies.
  hold_open gateway.discord.gg 4
  before=$(inside getent ahostsv4 gateway.discord.gg | head -n 1)
  stop dnsd
  start dnsd "$dnsd_step"
  resolves "$T/probe" gateway.discord.gg || fail "$way: after a restart of dnsd: $(cat "$T/resolve.out.log")"
  [ "$(inside getent ahostsv4 gateway.discord.gg | head -n 1)" = "$before" ] || fail "$way: the name has another address now"
  new_policy api.slack.com
  resolves "$T/probe" api.slack.com || fail "$way: after a reload: $(cat "$T/resolve.out.log")"
  new_policy
  ! resolves "$T/probe" api.slack.com || fail "$way: a name that left the policy resolves"
  hold_end "$way"
  stop tunneld
  start tunneld "$tunneld_step"
  hold_open gateway.discord.gg 0
  hold_end "$way"
  say "$way: an idle tunnel outlives dnsd and two policies; both daemons can be restarted"
}

# ---- the story ----

"${CC:-cc}" -O1 -Wall -Wextra -o "$T/probe" "$here/probe.c" || fail "probe.c does not compile"
probes=("$T/probe")
if command -v musl-gcc >/dev/null 2>&1; then
  musl-gcc -static -O1 -Wall -Wextra -o "$T/probe-musl" "$here/probe.c" || fail "probe.c does not compile with musl"
  probes+=("$T/probe-musl")
fi

why=$(make_pod 2>&1) || skip "no pod can be made here: $why"
start_standin --address 10.43.0.10
export CURL_CA_BUNDLE=$CA SSL_CERT_FILE=$CA
start_proxy

# Without the fence all of it would be reachable, with it not even a name: this is where the bug was reported.
try_all "tcp:$V4_A:443" "tcp:$V4_A:8443" "tcp:$V4_A:53" tcp:10.43.0.10:443 tcp:10.43.0.10:8443
[ "$(grep -c ' open$' "$T/try.out.log")" = 5 ] || fail "without a fence the pod is not reachable: $(cat "$T/try.out.log")"
fence_up
inside "$T/probe" resolve gateway.discord.gg >"$T/before.out.log"
grep -q '^gateway.discord.gg EAI_AGAIN ' "$T/before.out.log" || fail "before: $(cat "$T/before.out.log")"
state >"$T/state.before"
: >"$QUERIES"

policy >"$T/policy.yaml"
mkdir "$T/station"
cd "$T/station"
step Policy
step Names
[ "$netns $nameserver" = "/var/run/netns/$ns 10.43.0.10" ] || fail "the recipe finds $netns and $nameserver"
ln -s "$dir/dnsd.log" "$dir/tunneld.log" "$T" # where lib.sh looks after a failure, and for sanitizers
step Overlay >"$T/explain.out.log" 2>&1 || fail "the commands under Overlay: $(cat "$T/explain.out.log")"
cd "$T"

step 'A1. The name server'\''s address, in the sandbox alone'
start dnsd 'A2. dnsd'
start tunneld 'A3. tunneld'
step 'A4. Native connections'
check_way 'way A' 'A2. dnsd' 'A3. tunneld' "${probes[@]}"
inside curl -sS --noproxy '' --proxy http://127.0.0.1:3128 https://discord.com/api/v10/gateway >"$T/loopback.out.log" 2>&1 ||
  fail "way A: CONNECT on the sandbox's loopback: $(cat "$T/loopback.out.log")"
fence_up # OpenShell renews it: nothing happens
resolves "$T/probe" gateway.discord.gg || fail "way A: after OpenShell renewed its fence: $(cat "$T/resolve.out.log")"
undo 'A5. Undo'

start dnsd 'B1. dnsd'
start tunneld 'B2. tunneld'
step 'B3. What comes in from the sandbox'
step 'B4. OpenShell'\''s fence, opened for that much'
check_way 'way B' 'B1. dnsd' 'B2. tunneld' "${probes[@]}"
fence_up
! resolves "$T/probe" gateway.discord.gg || fail "way B: the recipe says that a renewed fence has no rules of ours"
grep -q '^gateway.discord.gg EAI_AGAIN ' "$T/resolve.out.log" || fail "way B: a renewed fence: $(cat "$T/resolve.out.log")"
step 'B4. OpenShell'\''s fence, opened for that much'
resolves "$T/probe" gateway.discord.gg || fail "way B: after B4 was done again: $(cat "$T/resolve.out.log")"
undo 'B5. Undo'

# Nothing in the recipe that was not done.
awk '/^#+ / && !code { sub(/^#+ /, ""); heading = $0 } /^```/ { code = !code; if ($0 == "```sh") print heading }' \
  "$recipe_file" | sort -u >"$T/headings.txt"
sort -u "$done_steps" | diff "$T/headings.txt" - >"$T/headings.log" || fail "commands of the recipe that were not run"
[ "${#probes[@]}" = 2 ] || skip "musl-gcc not found (Debian: apt-get install musl-tools); all but musl passed"
