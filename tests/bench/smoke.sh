#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each benchmark once, with little to do: it must run and its decisions must be the expected ones.
set -eu
"${top_builddir:-.}/tests/bench/bench_policy" --smoke
