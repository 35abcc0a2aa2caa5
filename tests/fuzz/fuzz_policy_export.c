/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What loads is exported, or refused as one document; never is the result wrong, which policy_export itself
 * would say. The result loads, and exported again it stays as it is. A line "=====" separates files.
 */
#include "tests/fuzz/fuzz.h"

#include "common/policy/policy_export.h"

#include <errno.h>

#define MAX_TEXTS ((size_t)4)

static size_t split(struct span rest, struct policy_text texts[MAX_TEXTS])
{
    static const char *const names[MAX_TEXTS] = {"a.yaml", "b.yaml", "c.yaml", "d.yaml"};
    const struct span mark = SPAN_LIT("\n=====\n");
    size_t count = 0;
    while (count < MAX_TEXTS) {
        size_t at = 0;
        while (at < rest.len && !span_is_equal(span_sub(rest, at, mark.len), mark)) {
            at++;
        }
        texts[count] = (struct policy_text){.file = names[count], .text = span_sub(rest, 0, at)};
        count++;
        if (at == rest.len) {
            break;
        }
        rest = span_sub(rest, at + mark.len, rest.len);
    }
    return count;
}

static void require_pure(struct span text)
{
    const struct policy_text one = {.file = "export", .text = text};
    struct policy_rules *rules = NULL;
    struct policy_diags errors = {0};
    struct policy_diags notes = {0};
    struct buf again = {0};
    REQUIRE(policy_load(&one, 1, &rules, &errors) == 0);
    policy_rules_free(rules);
    REQUIRE(policy_export(&one, 1, &again, &errors, &notes) == 0);
    REQUIRE(span_is_equal(buf_span(&again), text));
    buf_fini(&again);
    policy_diags_fini(&errors);
    policy_diags_fini(&notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy_text texts[MAX_TEXTS];
    size_t count = split(span_make(data, size), texts);
    struct policy_rules *rules = NULL;
    struct policy_diags errors = {0};
    struct policy_diags notes = {0};
    struct buf out = {0};
    int load_rc = policy_load(texts, count, &rules, &errors);
    policy_rules_free(rules);
    policy_diags_fini(&errors);
    int rc = policy_export(texts, count, &out, &errors, &notes);
    REQUIRE(rc == 0 || rc == -EINVAL);
    REQUIRE(load_rc == 0 || rc == load_rc);
    REQUIRE((rc == 0) == (errors.error_count == 0));
    REQUIRE((rc == 0) == (buf_span(&out).len > 0));
    if (rc == 0) {
        require_pure(buf_span(&out));
    }
    buf_fini(&out);
    policy_diags_fini(&errors);
    policy_diags_fini(&notes);
    return 0;
}
