/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of a pattern; a name to match follows it behind a newline. */
#include "tests/fuzz/fuzz.h"

#include "common/policy/host_pattern.h"

static void require_pattern(const struct host_pattern *p)
{
    struct host_pattern back;
    enum host_fault why;
    REQUIRE(p->text.len > 0 && p->text.len <= HOST_NAME_MAX_LEN && p->text.text[p->text.len] == '\0');
    REQUIRE(host_pattern_parse(host_name_span(&p->text), &back, &why) == PATTERN_FAULT_NONE);
    REQUIRE(host_name_is_equal(&back.text, &p->text) && back.is_wildcard == p->is_wildcard);
    REQUIRE(back.text.label_count == p->text.label_count && back.has_double_star == p->has_double_star);
    REQUIRE(host_pattern_compare(p, &back) == 0);
    bool has_star = span_find(host_name_span(&p->text), '*') < p->text.len;
    REQUIRE(has_star == p->is_wildcard);
    if (p->is_wildcard) {
        REQUIRE(p->text.label_count >= 3);
        /* the last two labels are literal: nobody admits a whole top-level domain */
        size_t dots = 0;
        for (size_t i = p->text.len; i > 0 && dots < 2; i--) {
            REQUIRE(p->text.text[i - 1] != '*');
            dots += p->text.text[i - 1] == '.';
        }
        REQUIRE(dots == 2);
    } else {
        REQUIRE(host_pattern_matches(p, &p->text));
    }
}

static void require_match(const struct host_pattern *p, const struct host_name *n)
{
    bool is_match = host_pattern_matches(p, n);
    bool is_below = host_pattern_reaches_below(p, n);
    REQUIRE(!is_match || n->label_count >= p->text.label_count);
    REQUIRE(!is_below || n->label_count < p->text.label_count);
    if (!p->is_wildcard) {
        REQUIRE(is_match == host_name_is_equal(&p->text, n));
        REQUIRE(is_below == host_name_is_below(&p->text, n));
    } else if (!p->has_double_star && is_match) {
        REQUIRE(n->label_count == p->text.label_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = span_make(data, size);
    size_t split = span_find(input, '\n');
    struct host_pattern p;
    enum host_fault why;
    enum pattern_fault fault = host_pattern_parse(span_sub(input, 0, split), &p, &why);
    REQUIRE((fault == PATTERN_FAULT_HOST) == (why != HOST_FAULT_NONE));
    if (fault != PATTERN_FAULT_NONE) {
        REQUIRE(p.text.len == 0);
        return 0;
    }
    require_pattern(&p);
    struct host_name n;
    if (split < size && host_name_parse(span_sub(input, split + 1, size), &n) == HOST_FAULT_NONE) {
        require_match(&p, &n);
    }
    return 0;
}
