/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include "common/base/buf.h"

#include <stdlib.h>

struct policy_rules *policy_text_rules(const char *yaml)
{
    struct policy_text text = {.file = "test.yaml", .text = span_str(yaml)};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    if (policy_load(&text, 1, &rules, &diags) != 0) {
        for (size_t i = 0; i < diags.count; i++) {
            char *line = policy_diag_text(&diags.items[i], false);
            print_error("%s", line);
            free(line);
        }
        policy_diags_fini(&diags);
        fail_msg("the policy does not load");
    }
    policy_diags_fini(&diags);
    return rules;
}

struct policy *policy_text_compile(const char *yaml)
{
    struct policy *p = NULL;
    assert_int_equal(policy_compile(policy_text_rules(yaml), 1, &p), 0);
    return p;
}

struct policy *policy_text_endpoints(const char *lines)
{
    static const char head[] = "version: 1\nnetwork_policies:\n  test:\n    binaries: [{ path: \"/**\" }]\n"
                               "    endpoints:\n";
    struct buf b = {0};
    assert_int_equal(buf_append(&b, SPAN_LIT(head), SIZE_MAX), 0);
    for (struct span rest = span_str(lines); rest.len > 0;) {
        size_t end = span_find(rest, '\n');
        assert_int_equal(buf_append(&b, SPAN_LIT("    - "), SIZE_MAX), 0);
        assert_int_equal(buf_append(&b, span_sub(rest, 0, end), SIZE_MAX), 0);
        assert_int_equal(buf_append(&b, SPAN_LIT("\n"), SIZE_MAX), 0);
        rest = span_sub(rest, end + 1, rest.len);
    }
    assert_int_equal(buf_append(&b, span_make("", 1), SIZE_MAX), 0);
    struct policy *p = policy_text_compile((const char *)buf_span(&b).data);
    buf_fini(&b);
    return p;
}

struct host_name policy_text_name(const char *text)
{
    struct host_name n;
    if (host_name_parse(span_str(text), &n) != HOST_FAULT_NONE) {
        fail_msg("%s is no host name", text);
    }
    return n;
}

struct ip policy_text_ip(const char *text)
{
    struct ip ip = {0};
    if (ip_parse(span_str(text), &ip) != 0) {
        fail_msg("%s is no address", text);
    }
    return ip;
}
