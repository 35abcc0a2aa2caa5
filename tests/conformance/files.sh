#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What check, explain and export do with files that are none, too large, hostile or gone, with standard input and with
# a standard output that takes nothing: at once, with the promised exit status, and with a word about it.
set -u
: "${top_srcdir:?}" "${top_builddir:?}"
egress=$top_builddir/openshell-egress
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
esc=$(printf '\033')

fail() {
    echo "FAIL: $*"
    cat "$scratch/out" "$scratch/err"
    failed=$((failed + 1))
}

# STATUS PATTERN INPUT ARGUMENT...: nothing may hang, and nothing of a file may steer a terminal
expect() {
    status=$1 pattern=$2 input=$3
    shift 3
    found=0
    timeout 20 "$egress" "$@" <"$input" >"$scratch/out" 2>"$scratch/err" || found=$?
    [ "$found" = "$status" ] || fail "$*: status $found, not $status"
    cat "$scratch/out" "$scratch/err" >"$scratch/both"
    grep -q -e "$pattern" "$scratch/both" || fail "$*: \"$pattern\" is not said"
    if LC_ALL=C grep -q "$esc" "$scratch/both"; then fail "$*: an escape sequence"; fi
}

mkdir "$scratch/empty" "$scratch/mixed"
mkfifo "$scratch/fifo.yaml" "$scratch/mixed/fifo.yaml"
cat >"$scratch/good.yaml" <<'EOF'
version: 1
network_policies:
  "r\e[2J":
    endpoints: [{ host: a.example.com, port: 443 }]
    binaries: [{ path: "/**" }]
EOF
cp "$scratch/good.yaml" "$scratch/mixed/good.yaml"
name="$scratch/${esc}[2J
x.yaml"
sed 's/port: 443/prot: 443/' "$scratch/good.yaml" >"$name"
truncate -s 20G "$scratch/huge.yaml" 2>/dev/null || truncate -s 17M "$scratch/huge.yaml"
ln -s loop.yaml "$scratch/loop.yaml"
ln -s gone.yaml "$scratch/dangling.yaml"
: >"$scratch/zero.yaml"

for command in check export; do
    expect 1 'neither a regular file nor a directory' /dev/null $command "$scratch/fifo.yaml"
    expect 1 'neither a regular file nor a directory' /dev/null $command /dev/zero
    expect 1 'larger than 16 MiB' /dev/null $command "$scratch/huge.yaml"
    expect 1 'Too many levels' /dev/null $command "$scratch/loop.yaml"
    expect 1 'there is nothing of that name' /dev/null $command "$scratch/dangling.yaml"
    expect 2 'an empty FILE' /dev/null $command ''
    expect 1 'Not a directory' /dev/null $command "$scratch/good.yaml/x"
    expect 1 'the file is empty' /dev/null $command "$scratch/zero.yaml"
    expect 1 'unknown key "prot"' /dev/null $command "$name"
    # one that is wrong spoils the good one beside it, and both are told
    expect 1 'unknown key "prot"' /dev/null $command "$scratch/good.yaml" "$scratch/fifo.yaml" "$name"
    grep -q 'neither a regular' "$scratch/err" || fail "$command: not all are told"
    expect 2 'usage' /dev/null $command
    expect 2 'no such option' /dev/null $command "--${esc}[2J" "$scratch/good.yaml"
done
expect 0 'holds no' /dev/null check "$scratch/empty"
expect 0 'is passed over' /dev/null check "$scratch/mixed"
expect 0 '1 rules, 1 endpoints' "$scratch/good.yaml" check -
expect 1 'larger than 16 MiB' /dev/zero check -
expect 1 'the file is empty' /dev/null check -
expect 1 'Is a directory' "$scratch/empty" check -
expect 1 'u001b' /dev/null check --format json "$name"
expect 2 'neither a regular file nor a directory' /dev/null explain --policy "$scratch/fifo.yaml" a.example.com:443
expect 2 'larger than 16 MiB' /dev/null explain --policy "$scratch/huge.yaml" a.example.com:443
expect 2 'unknown key "prot"' /dev/null explain --live --policy "$name" a.example.com:443
expect 2 'no port' /dev/null explain --policy "$scratch/good.yaml" a.example.com:0
expect 2 'empty host' /dev/null explain --policy "$scratch/good.yaml" :443
expect 0 'r?\[2J' /dev/null explain --policy "$scratch/good.yaml" a.example.com:443
expect 1 'policy_denied' /dev/null explain --live --policy "$scratch/good.yaml" b.example.com:443
expect 1 'bad_request' /dev/null explain --live --policy "$scratch/good.yaml" "b${esc}[2J.example.com:443"
expect 64 'no command' /dev/null "${esc}[2J"

# an answer that nobody got is none
for command in 'check' 'check --format json' 'export' 'explain a.example.com:443 --policy' \
    'explain --format json a.example.com:443 --policy'; do
    found=0
    # shellcheck disable=SC2086
    "$egress" $command "$scratch/good.yaml" >/dev/full 2>"$scratch/err" || found=$?
    : >"$scratch/out"
    [ "$found" != 0 ] || fail "$command: status 0 with a full disk"
    [ -s "$scratch/err" ] || fail "$command: nothing is said of a full disk"
    found=0
    # shellcheck disable=SC2086
    "$egress" $command "$scratch/good.yaml" >&- 2>"$scratch/err" || found=$?
    [ "$found" != 0 ] || fail "$command: status 0 without standard output"
    [ -s "$scratch/err" ] || fail "$command: nothing is said of the lack of standard output"
done
for program in openshell-dnsd openshell-tunneld openshell-egress; do
    for option in --help --version; do
        found=0
        "$top_builddir/$program" $option >/dev/full 2>"$scratch/err" || found=$?
        [ "$found" = 71 ] || fail "$program $option: status $found with a full disk"
        [ -s "$scratch/err" ] || fail "$program $option: nothing is said of a full disk"
    done
done
for command in check export explain run capture listen doctor; do
    found=0
    "$egress" $command --help >/dev/full 2>"$scratch/err" || found=$?
    [ "$found" = 71 ] || fail "$command --help: status $found with a full disk"
    grep -q 'cannot write to standard output: No space' "$scratch/err" || fail "$command --help: nothing is said of it"
done
apart='' # doctor asks the resolver: only where none is
unshare -rn true 2>/dev/null && apart='unshare -rn'
for command in 'capture up --mode redirect --dry-run' 'doctor --idle 0' 'doctor --idle 0 --format json'; do
    case "$command/$apart" in doctor*/) continue ;; esac
    found=0
    # shellcheck disable=SC2086
    $apart "$egress" $command >/dev/full 2>"$scratch/err" || found=$?
    [ "$found" = 71 ] || fail "$command: status $found with a full disk"
    grep -q 'cannot write to standard output: No space' "$scratch/err" || fail "$command: nothing is said of it"
done
for program in openshell-dnsd openshell-tunneld; do
    for options in --dump-config '--dump-config --check' --check; do
        found=0
        # shellcheck disable=SC2086
        "$top_builddir/$program" --policy "$scratch/good.yaml" $options >/dev/full 2>"$scratch/err" || found=$?
        [ "$found" = 71 ] || fail "$program $options: status $found with a full disk"
        grep -q 'cannot write to standard output: No space' "$scratch/err" || fail "$program $options: nothing is said of it"
    done
done

[ "$failed" = 0 ]
