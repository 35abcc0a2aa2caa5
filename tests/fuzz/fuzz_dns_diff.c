/* SPDX-License-Identifier: Apache-2.0 */
/* Our reading of a message against ldns: agree or reject. Bit 7 of the third byte, QR, says which of the two
 * it is. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "tests/support/dns_oracle.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span msg = span_make(data, size);
    struct dns_sent sent;
    const char *difference = oracle_query(msg);
    if (difference == NULL && oracle_sent_from(msg, &sent)) {
        difference = oracle_reply(msg, &sent);
    }
    if (difference != NULL) {
        (void)fprintf(stderr, "ours and ldns differ: %s\n", difference);
    }
    REQUIRE(difference == NULL);
    return 0;
}
