/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of an admin request: a verdict that was given does not change with the bytes that follow, and
 * on TCP only a request that a unix socket would answer as well is answered.
 */
#include "tests/fuzz/fuzz.h"

#include "common/run/admin_http.h"

static void require_whole(const struct admin_request *r)
{
    REQUIRE((r->status == 200) == (r->page != ADMIN_PAGE_NONE));
    REQUIRE((r->status == 0 || r->status == 200) == (r->text == NULL));
}

static struct admin_request parse(const uint8_t *data, size_t size, const struct addr *local)
{
    struct admin_request r;
    admin_http_parse(span_make(data, size), local, &r);
    require_whole(&r);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct addr local = {.ip = ip_v4(127, 0, 0, 1), .port = 9090};
    const size_t step = size < 512 ? 1 : 61; /* of long ones not every byte: it would take too long */
    const struct admin_request on_tcp = parse(data, size, &local), on_unix = parse(data, size, NULL);
    REQUIRE((on_tcp.status == 0) == (on_unix.status == 0));
    REQUIRE(on_tcp.status != 200 || on_unix.page == on_tcp.page);
    REQUIRE(size < ADMIN_HTTP_HEAD_MAX || on_tcp.status != 0);
    for (size_t n = 0; n < size; n += step) {
        const struct admin_request r = parse(data, n, &local);
        REQUIRE(r.status == 0 || (r.status == on_tcp.status && r.page == on_tcp.page));
    }
    return 0;
}
