# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2317,SC2154
# Sourced by ./check --all: the gates of CONTRIBUTING.md beyond what plain ./check runs.

sources() { git ls-files '*.c' '*.h' 2>/dev/null || find common dnsd tunneld egress tests -name '*.[ch]' -not -path '*/node_modules/*'; }
program_sources() { sources | grep -E '^(common|dnsd|tunneld|egress)/.*\.c$'; }

format_check() {
  # shellcheck disable=SC2046  # a list of file names without white space
  clang-format --dry-run --Werror $(sources)
}
shell_check() {
  shellcheck check quickstart .ci/run scripts/* tests/*/*.sh tests/e2e/clients/*.sh tests/e2e/matrix/*.sh tests/e2e/protocols/*.sh
}
cpp_check() {
  cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability --std=c11 \
    --library=posix -I . -j 2 --suppress=missingIncludeSystem --suppressions-list=tests/lint/cppcheck.suppress \
    common dnsd tunneld egress
}
tidy() {
  # Every program source, two processes at a time. The file names come before the "--".
  # shellcheck disable=SC2016  # expanded by the inner shell
  program_sources | xargs -P 2 -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=gnu11 -fno-strict-aliasing \
    -include "$0/config.h" -I. -DSBINDIR="\"/sbin\"" -DSYSCONFDIR="\"/etc\""' "$work/gcc"
}
lint() { top_srcdir=$top top_builddir=$work/gcc sh "tests/lint/$1.sh"; }

# Seconds for each fuzz target: four minutes in all, whatever their number.
fuzz_smoke() {
  targets=$(find "$work/fuzz/tests/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x | sort)
  count=$(printf '%s\n' "$targets" | grep -c .)
  [ "$count" -gt 0 ] || {
    echo "no fuzz targets were built"
    return 1
  }
  seconds=$((200 / count))
  bad=0
  for target in $targets; do
    name=$(basename "$target")
    corpus=$work/fuzz/corpus/$name
    mkdir -p "$corpus"
    seed=tests/fuzz/corpus/${name#fuzz_}
    [ -d "$seed" ] || seed=
    # -rss_limit_mb: one message may not take more than a little memory.
    # shellcheck disable=SC2086  # seed may be empty
    "$target" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=5 -print_final_stats=1 -verbosity=0 \
      -artifact_prefix="$work/fuzz/" "$corpus" $seed || {
      echo "$name failed"
      bad=1
    }
  done
  return $bad
}

# At least 95 % of the lines of the policy and wire parsers.
coverage() {
  make -C "$work/coverage" -j2 check >"$work/coverage/check.log" 2>&1 || {
    tail -n 40 "$work/coverage/check.log"
    return 1
  }
  bad=0
  for source in common/policy/yaml_doc common/policy/yaml_text common/policy/host_pattern common/policy/policy_load \
    common/policy/policy_schema common/policy/policy_endpoint common/policy/policy_l7 common/policy/policy_overlay \
    common/policy/policy common/policy/judge_name common/policy/judge_dest common/base/host_name common/base/ip \
    common/base/num common/dns/dns_rr common/dns/dns_wire common/dns/dns_query common/dns/dns_reply \
    common/dns/dns_answer common/dns/resolv_conf common/run/admin_http \
    tunneld/http_head tunneld/tls_sni tunneld/first_bytes; do
    [ -f "$source.c" ] || {
      echo "$source.c does not exist: mend this list"
      bad=1
      continue
    }
    object=$(find "$work/coverage/$(dirname "$source")" -name "*$(basename "$source").gcda" | head -n 1)
    [ -n "$object" ] || {
      echo "$source: never ran"
      bad=1
      continue
    }
    percent=$(cd "$work/coverage" && gcov -n "$object" 2>/dev/null |
      awk -v file="$source.c" 'index($0, file) { hit = 1 } hit && /^Lines executed/ { sub(/.*:/, ""); sub(/%.*/, ""); print; exit }')
    echo "$source.c ${percent:-0} %"
    [ "${percent%%.*}" -ge 95 ] 2>/dev/null || bad=1
  done
  return $bad
}

dist_check() {
  make -C "$work/gcc" -j2 distcheck || return 1
  # Whatever git knows is in the tarball, but for what only a checkout needs.
  [ -d .git ] || return 0
  tar -tf "$work"/gcc/openshell-egress-*.tar.xz | sed 's,^[^/]*/,,' | grep -v '/$' | sort >"$work/in-tarball"
  git ls-files | grep -vE '^(\.gitignore|\.ci/)' | sort | comm -23 - "$work/in-tarball" >"$work/not-in-tarball"
  [ ! -s "$work/not-in-tarball" ] || {
    echo "not in the tarball:"
    cat "$work/not-in-tarball"
    return 1
  }
}

# The hardening that configure promises is in the programs.
hardened() {
  for program in openshell-egress openshell-dnsd openshell-tunneld; do
    readelf -hW "$work/gcc/$program" | grep -q 'Type: *DYN' || return 1
    readelf -dW "$work/gcc/$program" | grep -q 'NOW' || return 1
    readelf -lW "$work/gcc/$program" | grep -q 'GNU_RELRO' || return 1
    readelf -lW "$work/gcc/$program" | grep 'GNU_STACK' | grep -q 'RW ' || return 1
    readelf -sW "$work/gcc/$program" | grep -q '__stack_chk_fail' || return 1
  done
}

# Every test of DNS over TLS says that it was skipped, behind having seen that tls:// is refused.
without_openssl() {
  dot_log=$work/none/dot.log
  env top_srcdir="$top" top_builddir="$work/none" tests/conformance/dot.sh >"$dot_log" 2>&1
  [ $? -eq 77 ] && grep -q '^SKIP: built without OpenSSL' "$dot_log"
}

# doctor says that it has no wss://, and goes on.
doctor_without_openssl() {
  doctor_log=$work/none/doctor.log
  env top_srcdir="$top" top_builddir="$work/none" tests/e2e/doctor_websocket.sh >"$doctor_log" 2>&1 &&
    grep -q 'built without OpenSSL' "$doctor_log" && return 0
  cat "$doctor_log"
  return 1
}

install_check() {
  rm -rf "$work/image" && make -C "$work/gcc" install DESTDIR="$work/image" &&
    image=$work/image/usr/local &&
    "$image/bin/openshell-egress" --version && "$image/sbin/openshell-dnsd" --version &&
    "$image/sbin/openshell-tunneld" --version && [ -f "$image/share/man/man8/openshell-tunneld.8" ] &&
    [ -f "$image/share/man/man8/openshell-dnsd.8" ] && [ -f "$image/share/man/man1/openshell-egress.1" ]
}

gate "install what the gates need" scripts/install-deps gates || return 0
# The programs are there already: ./check has built and tested them.
tests gcc "proof" check-proof
gate "clang-format" format_check
gate "shellcheck" shell_check
gate "lint: layers, doors, purity, banned calls" lint layers
gate "lint: sizes, SPDX" lint sizes
gate "lint: headers compile alone" lint headers
gate "lint: manual" lint manual
gate "lint: a source directory that is built in" lint built_in_source
gate "lint: AppArmor profiles" lint apparmor
gate "cppcheck" cpp_check
gate "clang-tidy" tidy
gate "hardening is in the programs" hardened
gate "make install" install_check
gate "make distcheck" dist_check
gate "configure with clang" configured clang --enable-werror CC=clang CFLAGS="-O2 -g" &&
  gate "build with clang" build_tests clang && tests clang "check (clang)" check
gate "configure without OpenSSL" configured none --enable-werror --without-openssl CC=gcc CFLAGS="-O0 -g" &&
  gate "build without OpenSSL" build none && gate "tls:// without OpenSSL" without_openssl &&
  gate "doctor without OpenSSL" doctor_without_openssl
gate "configure with ASan and UBSan" configured asan --enable-werror --enable-debug-checks \
  --with-sanitizer=address,undefined CC=gcc CFLAGS="-O1 -g" &&
  gate "build with ASan and UBSan" build_tests asan && tests asan "check (ASan, UBSan)" check &&
  tests asan "long (ASan, UBSan)" check-long
gate "configure with TSan" configured tsan --enable-werror --with-sanitizer=thread CC=gcc CFLAGS="-O1 -g" &&
  gate "build with TSan" build_tests tsan && tests tsan "check (TSan)" check-threads
gate "configure for coverage" configured coverage --enable-coverage --disable-hardening CC=gcc CFLAGS="-O0 -g" &&
  gate "build for coverage" build_tests coverage && gate "coverage of policy and wire parsers" coverage
gate "configure the fuzz targets" configured fuzz --enable-fuzzers --without-cmocka \
  --with-sanitizer=address,undefined CC=clang CFLAGS="-O1 -g" &&
  gate "build the fuzz targets" build fuzz && gate "fuzz smoke" fuzz_smoke
