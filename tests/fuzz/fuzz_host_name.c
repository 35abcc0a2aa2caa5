/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of the canonical host form: what is accepted is canonical, and every form of it reads back the
 * same. */
#include "tests/fuzz/fuzz.h"

#include "common/base/host_name.h"

#include <errno.h>

static void require_canonical(const struct host_name *n)
{
    REQUIRE(n->len >= 1 && n->len <= HOST_NAME_MAX_LEN && n->text[n->len] == '\0');
    size_t labels = 1;
    size_t run = 0;
    for (size_t i = 0; i < n->len; i++) {
        char c = n->text[i];
        if (c == '.') {
            REQUIRE(run >= 1 && n->text[i - 1] != '-' && n->text[i + 1] != '-');
            labels++;
            run = 0;
            continue;
        }
        REQUIRE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_');
        REQUIRE(++run <= 63);
    }
    REQUIRE(run >= 1 && n->text[0] != '-' && n->text[n->len - 1] != '-');
    REQUIRE(labels == n->label_count);
    struct ip ip;
    REQUIRE(ip_parse(host_name_span(n), &ip) == -EINVAL); /* a name is never an address */
}

static void require_round_trip(const struct host_name *n)
{
    uint8_t wire[255];
    size_t len = host_name_to_wire(n, wire);
    REQUIRE(len == (size_t)n->len + 2);
    struct host_name back;
    REQUIRE(host_name_from_wire(span_make(wire, len), &back) == HOST_FAULT_NONE);
    REQUIRE(host_name_is_equal(n, &back) && back.label_count == n->label_count);
    REQUIRE(host_name_parse(host_name_span(n), &back) == HOST_FAULT_NONE);
    REQUIRE(host_name_is_equal(n, &back));
    REQUIRE(!host_name_is_below(n, &back));
}

/* The text of a host is a host, and the same one. */
static void require_text_round_trip(const struct host *h)
{
    char text[HOST_TEXT_CAP];
    struct host back;
    REQUIRE(host_parse(span_str(host_text(h, text)), &back) == HOST_FAULT_NONE);
    REQUIRE(back.kind == h->kind);
    if (h->kind == HOST_IP) {
        REQUIRE(ip_is_equal(&h->ip, &back.ip));
        REQUIRE(ip_classify(&h->ip) != IP_CLASS_UNKNOWN);
    } else {
        REQUIRE(host_name_is_equal(&h->name, &back.name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    struct host h;
    enum host_fault fault = host_parse(input, &h);
    REQUIRE((fault == HOST_FAULT_NONE) == (h.kind != HOST_NONE));
    if (fault == HOST_FAULT_NONE) {
        require_text_round_trip(&h);
    }
    struct host_name n;
    fault = host_name_parse(input, &n);
    REQUIRE((fault == HOST_FAULT_NONE) == (h.kind == HOST_DNS));
    REQUIRE((fault == HOST_FAULT_NONE) == (n.len > 0));
    if (fault == HOST_FAULT_NONE) {
        require_canonical(&n);
        require_round_trip(&n);
    }
    if (host_name_from_wire(input, &n) == HOST_FAULT_NONE) {
        require_canonical(&n);
        require_round_trip(&n);
        REQUIRE(size == (size_t)n.len + 2); /* every byte of the wire form is accounted for */
    } else {
        REQUIRE(n.len == 0);
    }
    return 0;
}
