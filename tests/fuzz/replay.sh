#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Replays the corpus of every fuzz target; make check sets the variables.
set -u
: "${top_srcdir:?}" "${top_builddir:?}" "${fuzz_targets:?}"
failed=0
for target in $fuzz_targets; do
    printf '%s: ' "$target"
    if ! "$top_builddir/tests/fuzz/replay_$target" "$top_srcdir/tests/fuzz/corpus/$target"; then
        echo "$target: FAILED"
        failed=1
    fi
done
exit $failed
