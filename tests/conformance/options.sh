#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the three programs say of a value that cannot be meant: which option, what is wrong, what is wanted. Nothing is
# opened or asked: --check, and command lines that are refused.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
egress=$top_builddir/openshell-egress
cat >"$scratch/good.yaml" <<'EOF'
version: 1
network_policies:
  r:
    endpoints: [{ host: a.example.com, port: 443 }]
EOF
printf 'nameserver 192.0.2.1\n' >"$scratch/resolv.conf"

# STATUS TEXT COMMAND...: the text is said, whole, and nothing is printed as (null)
expect() {
    status=$1 text=$2
    shift 2
    found=0
    timeout 20 "$@" </dev/null >"$scratch/out" 2>&1 || found=$?
    if [ "$found" != "$status" ] || ! grep -qF -e "$text" "$scratch/out" || grep -qF '(null)' "$scratch/out"; then
        echo "FAIL: $*: status $found, not $status, or \"$text\" is not said:"
        cat "$scratch/out"
        failed=$((failed + 1))
    fi
}

daemon() {
    program=$1 text=$2
    shift 2
    expect 64 "openshell-$program: $text" "$top_builddir/openshell-$program" --policy "$scratch/good.yaml" \
        --resolv-conf "$scratch/resolv.conf" --check "$@"
}

name='is a name, and an address is wanted:'
for d in dnsd tunneld; do
    daemon $d "--listen: \"localhost:53\" $name ADDR[:PORT], as 127.0.0.1:" --listen localhost:53
    daemon $d '--listen: "::1:53" lacks its brackets: [::1]:53' --listen ::1:53
    daemon $d '--listen: "127.0.0.1:65536" does not end with a port' --listen 127.0.0.1:65536
    daemon $d '--listen: the value is empty, and ADDR[:PORT] is wanted' --listen=
    daemon $d '--upstream localhost: a name, and an address is wanted' --upstream localhost
    daemon $d '--upstream tls://dns.example.net:853#x: a name, and an' --upstream tls://dns.example.net:853#x
    daemon $d '--upstream https://192.0.2.1/dns-query: not an address' --upstream https://192.0.2.1/dns-query
    daemon $d '--upstream ::1:53: lacks its brackets, as in [::1]:53' --upstream ::1:53
    daemon $d '--zone: a.example=::1:53: lacks its brackets, as in [::1]:53' --zone a.example=::1:53
    daemon $d '--never: "::1:443" lacks its brackets: [::1]:443' --never ::1:443
    daemon $d "--admin: \"localhost:9053\" $name ADDR:PORT or unix:PATH, as 127.0.0.1:9053" --admin localhost:9053
    daemon $d '--never: "10.0.0.1/8" has bits behind the prefix; did you mean 10.0.0.0/8 or 10.0.0.1/32?' \
        --never 10.0.0.1/8
    daemon $d '--never: "10.0.0.0/33" has a prefix longer than the address: at most /32' --never 10.0.0.0/33
    daemon $d "--never: \"a.example.com\" $name CIDR[:PORT]" --never a.example.com
    daemon $d '--allow-client: "fd00::1/8" has bits behind the prefix; did you mean fd00::/8 or fd00::1/128?' \
        --allow-client fd00::1/8
    daemon $d '--pool: "198.18.0.1/15" has bits behind the prefix; did you mean 198.18.0.0/15 or' --pool 198.18.0.1/15
    daemon $d "--steer-address: \"localhost\" $name ADDR" --steer-address localhost
    daemon $d '--steer-address: "10.0.0.1/8" is not ADDR' --steer-address 10.0.0.1/8
    daemon $d '--map: " x" begins with white space' --map ' x'
done
daemon dnsd '--cache-size: "102400GiB" is outside 64KiB..16GiB' --cache-size 102400GiB
daemon tunneld "--transparent: \"localhost:1\" $name ADDR:PORT, auto or ADDR:auto" --transparent localhost:1
daemon tunneld "--transparent: \"localhost:auto\" $name auto, ADDR:auto" --transparent localhost:auto
daemon tunneld '--chain-except: "10.0.0.1/8:5432" has bits behind the prefix; did you mean 10.0.0.0/8:5432 or' \
    --chain-proxy http://192.0.2.1:3128 --chain-except 10.0.0.1/8:5432

# the front door: what is missing or empty, with what is wanted
# in a network of its own where that can be had: were one not refused, it would be carried out
apart=''
unshare -rn true 2>/dev/null && apart='unshare -rn'
front() {
    status=$1 command=$2 text=$3
    shift 3
    # shellcheck disable=SC2086
    expect "$status" "openshell-egress $command: $text" $apart "$egress" "$command" "$@"
}
front 2 check 'an empty FILE: name a policy file or a directory, as policy.yaml, or -' ''
front 2 check 'an empty FILE' "$scratch/good.yaml" ''
front 2 check '--format: given twice' --format=json --format=text "$scratch/good.yaml"
front 2 export 'an empty FILE: name a policy file or a directory, as policy.yaml' ''
for host in '' :443; do
    front 2 explain 'an empty host: type HOST[:PORT], as gateway.discord.gg:443' "$host"
    front 64 doctor 'an empty host: type HOST[:PORT], as gateway.discord.gg:443' "$host"
done
front 2 explain "' a.example.com' begins or ends with white space" ' a.example.com'
front 2 explain '--policy: the value is empty: a file or directory, as policy.yaml' --policy '' a.example.com
front 2 explain '--format: given twice' --format=json --format=json a.example.com
front 2 explain '--idle-timeout: a value is missing: DURATION' --idle-timeout
front 64 doctor '--proxy: the value is empty: a URL, as http://127.0.0.1:3128' --proxy ''
front 64 doctor '--proxy: the value is empty: a URL, as http://127.0.0.1:3128' --proxy=
front 64 doctor '--proxy: a value is missing: a URL, as' --proxy --format json
front 64 doctor '--proxy: the value begins or ends with white space: a URL, as' --proxy ' http://127.0.0.1:1'
front 64 doctor '--proxy: given twice' --proxy http://127.0.0.1:1 --proxy=http://127.0.0.1:2
front 64 doctor '--idle: given twice' --idle 1s --idle 2s
front 64 doctor '--policy: the value is empty: a file' --policy=
front 64 run '--log: the value is empty: a file, as egress.log' --policy "$scratch/good.yaml" --log '' -- true
front 64 run '--log: given twice' --log "$scratch/a" --log "$scratch/b" -- true
front 64 run '--as: the value is empty: a user' --as '' -- true
front 64 run '--capture: given twice' --capture auto --capture anyip -- true
front 64 run '--pool: the value is empty: ADDR/BITS, as 198.18.0.0/15' --pool '' -- true
front 64 run '--upstream: the value is empty: ADDR[:PORT]|tls' --upstream '' -- true
front 64 run '--workers: a value is missing: N' --workers -- true
front 64 run '--log-level: the value begins or ends with white space: error|warn|info|debug' --log-level ' warn' -- true
front 64 run 'no command: openshell-egress run' --policy "$scratch/good.yaml" -- ''
front 64 capture '--mode: the value is empty: anyip, redirect or tproxy' up --mode ''
front 64 capture "--mode: 'x' is none of anyip, redirect and tproxy" up --mode x
front 64 capture '--mode: given twice' up --dry-run --mode redirect --mode tproxy
front 64 capture '--to: given twice' up --dry-run --mode redirect --to 1 --to 2
front 64 listen '--netns: the value is empty: a network namespace, as /run/netns/NAME' --netns '' --dns 127.0.0.1 -- true
front 64 listen "--dns: \"localhost:53\" $name ADDR[:PORT], as 127.0.0.1:53" --netns /none --dns localhost:53 -- true
front 64 listen '--connect: "::1:5" lacks its brackets: [::1]:5' --netns /none --connect ::1:5 -- true
front 64 listen 'no command: put it' --netns /none --dns 127.0.0.1 -- ''

# the same of a policy
sed 's/port: 443/port: 443, allowed_ips: [10.0.0.1\/8]/' "$scratch/good.yaml" >"$scratch/allowed.yaml"
expect 1 'hint: write 10.0.0.0/8 or 10.0.0.1/32' "$egress" check "$scratch/allowed.yaml"
{
    cat "$scratch/good.yaml"
    echo 'egress: { never: ["[fd00::1/8]:443"] }'
} >"$scratch/never.yaml"
expect 1 'hint: write [fd00::/8]:443 or [fd00::1/128]:443' "$egress" check "$scratch/never.yaml"

[ "$failed" = 0 ]
