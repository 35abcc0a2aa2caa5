#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The rules of the house: arrows point down only, one door for each library, pure files stay pure.
set -eu
cd "${top_srcdir:-.}"
bad=0
complain() {
  echo "$1" >&2
  bad=1
}

# allowed INCLUDER-DIR LAYERS...: project includes of that directory may only come from these directories.
allowed() {
  dir=$1
  shift
  pattern=$(printf '%s|' "$@")
  pattern="^(${pattern%|})/"
  for file in "$dir"/*.c "$dir"/*.h; do
    [ -f "$file" ] || continue
    sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file" | grep -Ev "$pattern" | while read -r header; do
      echo "$file: includes $header: not a layer below $dir"
    done
  done
}
# explain asks the code that decides in the daemons, and nothing else of them (docs/decisions/0011).
deciders='^egress/explain[a-z_]*\.[ch]: includes (dnsd/(answer|from_resolver|ipv6_route)|tunneld/(admit|dial_plan))\.h:'
out=$(
  allowed common/base common/base
  allowed common/policy common/policy common/base
  allowed common/net common/net common/base
  allowed common/dns common/dns common/net common/base
  allowed common/run common/run common/dns common/net common/policy common/base
  allowed dnsd dnsd common/run common/dns common/net common/policy common/base
  allowed tunneld tunneld common/run common/dns common/net common/policy common/base
  allowed egress egress common/run common/dns common/net common/policy common/base | grep -Ev "$deciders" || true
)
[ -z "$out" ] || complain "$out"

# door HEADER ALLOWED-FILES-REGEX
door() {
  found=$(grep -lE "^#include <$1>" common/*/*.[ch] dnsd/*.[ch] tunneld/*.[ch] egress/*.[ch] 2>/dev/null | grep -Ev "$2" || true)
  [ -z "$found" ] || complain "<$1> may not be included by: $found"
}
door 'yaml\.h' '^common/policy/yaml_doc\.c$'
door 'ldns/.*' '^common/dns/dns_ldns\.c$'
door 'openssl/.*' '^(common/dns/dns_tls|egress/doctor_wss)\.c$'
door 'ev\.h' '^(common/net/|common/dns/(dns_client|dns_stream|resolver)|common/run/|dnsd/|tunneld/|egress/explain_live\.c$)'

# Pure files: bytes, structs and a time in; bytes, structs and a verdict out.
pure="common/base/span common/base/cursor common/base/buf common/base/json common/base/num common/base/ip common/base/host_name
common/base/htab common/policy/host_pattern common/policy/policy_load common/policy/policy common/policy/judge_name
common/policy/judge_dest common/policy/policy_changes common/policy/policy_lint common/policy/policy_lint_overlap common/policy/timers
common/dns/dns_exchange common/dns/cache common/dns/upstream common/dns/zone
common/run/admin_http common/run/admin_pages dnsd/answer tunneld/http_head tunneld/http_reply tunneld/http_response_head tunneld/chain_http
common/net/netlink_ack
tunneld/dial_plan tunneld/admit tunneld/tls_sni tunneld/first_bytes
common/policy/policy_export common/policy/policy_export_edit common/policy/policy_export_emit
common/policy/policy_export_lines common/policy/policy_export_merge common/policy/policy_export_notes
common/policy/policy_export_overlap common/policy/policy_export_verify
egress/doctor_advice egress/doctor_notes egress/doctor_proxy egress/doctor_tls egress/doctor_words egress/doctor_dns_judge
egress/doctor_ws_frame egress/doctor_ws_head egress/doctor_ws_key"
for stem in $pure; do
  for file in "$stem.c" "$stem.h"; do
    [ -f "$file" ] || continue
    hits=$(grep -nE '#include <(ev|sys/socket|sys/epoll|unistd|pthread|fcntl)\.h>|clock_mono_ms|clock_boot_s|log_event|gettimeofday|clock_gettime' "$file" || true)
    [ -z "$hits" ] || complain "$file is pure but: $hits"
  done
done

# Calls that are banned everywhere.
hits=$(grep -nwE '(strcpy|strcat|sprintf|strtok|strncpy|atoi|gets|scanf|sscanf|gethostbyname|gethostbyaddr|alloca|setjmp|longjmp)[[:space:]]*\(' \
  common/*/*.[ch] dnsd/*.[ch] tunneld/*.[ch] egress/*.[ch] | grep -vE '^[^:]*:[0-9]+: *(\*|/\*|//)' || true)
[ -z "$hits" ] || complain "banned calls: $hits"
# But for doctor, which has to see what programs see, and asks in a child process (docs/decisions/0027).
hits=$(grep -nw 'getaddrinfo' common/*/*.c dnsd/*.c tunneld/*.c egress/*.c | grep -vE '^egress/doctor_lookup\.c:|"getaddrinfo"' | grep -v AI_NUMERICHOST | grep -vE ':[0-9]+: *(\*|/\*)' || true)
[ -z "$hits" ] || complain "getaddrinfo without AI_NUMERICHOST: $hits"
exit $bad
