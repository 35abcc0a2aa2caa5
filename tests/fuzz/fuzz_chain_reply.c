/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of a chain proxy's answer: how the bytes are cut into reads changes nothing, what was taken is
 * within the limit, a tunnel stands only behind an empty line, and what closes early opens none.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "tunneld/chain_http.h"

static void require_same(const struct chain_reply *a, const struct chain_reply *b)
{
    REQUIRE(a->verdict == b->verdict && a->fault == b->fault && a->code == b->code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chain_reply whole, bytes;
    chain_reply_init(&whole);
    chain_reply_init(&bytes);
    size_t taken = chain_reply_feed(&whole, span_make(data, size));
    REQUIRE(taken <= size && taken <= CHAIN_REPLY_MAX_BYTES);
    size_t at = 0;
    while (at < size && chain_reply_feed(&bytes, span_make(data + at, 1)) == 1) {
        at++;
    }
    REQUIRE(at == taken);
    require_same(&whole, &bytes);
    REQUIRE((whole.verdict == CHAIN_FAILED) == (whole.fault != CHAIN_FAULT_NONE));
    REQUIRE(whole.verdict == CHAIN_MORE ? taken == size
                                        : chain_reply_feed(&whole, span_make(data, size)) == 0);
    if (whole.verdict == CHAIN_ESTABLISHED) {
        REQUIRE(taken >= 16 && memcmp(data + taken - 4, "\r\n\r\n", 4) == 0 && whole.code / 100 == 2);
    }
    chain_reply_closed(&bytes);
    REQUIRE(bytes.verdict == (whole.verdict == CHAIN_MORE ? CHAIN_FAILED : whole.verdict));
    REQUIRE(bytes.verdict == CHAIN_ESTABLISHED ||
            chain_reply_why(&bytes, &(struct chain_words){.by_name = true})[0] != '\0');
    return 0;
}
