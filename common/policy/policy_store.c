/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_store.h"

#include "common/base/hash.h"
#include "common/policy/policy_files.h"

#include <errno.h>
#include <stdlib.h>

struct digest {
    uint64_t a, b;
};

struct policy_store {
    const char *const *paths; /* borrowed */
    size_t path_count;
    struct policy *current;
    struct hash_key keys[2]; /* two, for 128 bits: a change that is missed would be silent */
    struct digest digest;    /* of the texts that current was made of */
};

int policy_store_new(const char *const *paths, size_t count, struct policy_store **out)
{
    struct policy_store *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL) {
        return -ENOMEM;
    }
    s->paths = paths;
    s->path_count = count;
    hash_key_init(&s->keys[0]);
    hash_key_init(&s->keys[1]);
    return 0;
}

void policy_store_free(struct policy_store *s)
{
    if (s != NULL) {
        policy_unref(s->current);
        free(s);
    }
}

/* Folds one piece into the digest; the length keeps "ab"+"c" apart from "a"+"bc". */
static void fold(const struct policy_store *s, struct digest *d, struct span piece)
{
    for (size_t i = 0; i < 2; i++) {
        uint64_t *value = i == 0 ? &d->a : &d->b;
        uint64_t parts[3] = {*value, piece.len, hash_siphash(&s->keys[i], piece)};
        *value = hash_siphash(&s->keys[i], span_make(parts, sizeof parts));
    }
}

static struct digest digest_of(const struct policy_store *s, const struct policy_texts *texts)
{
    struct digest d = {0};
    for (size_t i = 0; i < texts->count; i++) {
        fold(s, &d, span_str(texts->items[i].file));
        fold(s, &d, texts->items[i].text);
    }
    return d;
}

static int replace(struct policy_store *s, const struct policy_texts *texts, struct policy_diags *diags)
{
    struct policy_rules *rules;
    struct policy *policy;
    int rc = policy_load(texts->items, texts->count, &rules, diags);
    if (rc != 0) {
        return rc;
    }
    uint64_t generation = s->current == NULL ? 1 : policy_generation(s->current) + 1;
    rc = policy_compile(rules, generation, &policy);
    if (rc != 0) {
        return rc;
    }
    policy_unref(s->current);
    s->current = policy;
    return 0;
}

int policy_store_reload(struct policy_store *s, struct policy_diags *diags, bool *changed)
{
    struct policy_texts texts;
    *changed = false;
    int rc = policy_files_read(s->paths, s->path_count, &texts, diags);
    if (rc != 0) {
        /* nothing is replaced, but what could be read is checked too: one run tells everything */
        struct policy_rules *rules;
        if (policy_load(texts.items, texts.count, &rules, diags) == 0) {
            policy_rules_free(rules);
        }
        policy_texts_fini(&texts);
        return rc;
    }
    struct digest digest = digest_of(s, &texts);
    bool is_same = s->current != NULL && digest.a == s->digest.a && digest.b == s->digest.b;
    rc = is_same ? 0 : replace(s, &texts, diags);
    if (rc == 0 && !is_same) {
        s->digest = digest;
        *changed = true;
    }
    policy_texts_fini(&texts);
    return rc;
}

struct policy *policy_store_current(const struct policy_store *s)
{
    return s->current;
}
