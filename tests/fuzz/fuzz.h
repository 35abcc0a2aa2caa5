/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fuzz target and whoever drives it agree on: libFuzzer (configure --enable-fuzzers), or standalone.c,
 * which replays a corpus without it. A target states its properties with REQUIRE and keeps nothing between
 * calls.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
