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
    struct digest read;      /* of what was read last */
    struct digest refused;   /* of what was refused last, if has_refused */
    bool has_refused;        /* and nothing good has been read since */
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

/* Of what was read, and of what could not be: the findings from first on. */
static struct digest digest_of(const struct policy_store *s, const struct policy_texts *texts,
                               const struct policy_diags *diags, size_t first)
{
    struct digest d = {0};
    for (size_t i = 0; i < texts->count; i++) {
        fold(s, &d, span_str(texts->items[i].file));
        fold(s, &d, texts->items[i].text);
    }
    for (size_t i = first; i < diags->count; i++) {
        fold(s, &d, span_str(diags->items[i].file));
        fold(s, &d, span_str(diags->items[i].message));
    }
    return d;
}

static bool is_same(const struct digest *a, const struct digest *b)
{
    return a->a == b->a && a->b == b->b;
}

static int load(const struct policy_store *s, const struct policy_texts *texts, struct policy_diags *diags,
                struct policy **candidate)
{
    struct policy_rules *rules;
    int rc = policy_load(texts->items, texts->count, &rules, diags);
    if (rc != 0) {
        return rc;
    }
    uint64_t generation = s->current == NULL ? 1 : policy_generation(s->current) + 1;
    return policy_compile(rules, generation, candidate);
}

/* Nothing can come of it, but what could be read is checked too: one run tells everything. */
static void look_through(const struct policy_texts *texts, struct policy_diags *diags)
{
    struct policy_rules *rules;
    if (policy_load(texts->items, texts->count, &rules, diags) == 0) {
        policy_rules_free(rules);
    }
}

static void remember_refused(struct policy_store *s)
{
    s->refused = s->read;
    s->has_refused = true;
}

int policy_store_read(struct policy_store *s, bool may_repeat, struct policy_diags *diags,
                      struct policy_reading *out)
{
    struct policy_texts texts;
    size_t told = diags->count;
    *out = (struct policy_reading){0};
    int rc = policy_files_read(s->paths, s->path_count, &texts, diags);
    s->read = digest_of(s, &texts, diags, told);
    if (may_repeat && s->has_refused && is_same(&s->read, &s->refused)) {
        out->is_repeated = true;
        rc = 0;
    } else if (rc != 0) {
        look_through(&texts, diags);
    } else if (s->current != NULL && is_same(&s->read, &s->digest)) {
        s->has_refused = false;
    } else {
        rc = load(s, &texts, diags, &out->candidate);
    }
    policy_texts_fini(&texts);
    if (rc != 0 && rc != -ENOMEM) { /* memory may be there the next time */
        remember_refused(s);
    }
    return rc;
}

void policy_store_accept(struct policy_store *s, struct policy *candidate)
{
    policy_unref(s->current);
    s->current = candidate;
    s->digest = s->read;
    s->has_refused = false;
}

void policy_store_refuse(struct policy_store *s, struct policy *candidate)
{
    policy_unref(candidate);
    remember_refused(s);
}

int policy_store_reload(struct policy_store *s, struct policy_diags *diags, bool *changed)
{
    struct policy_reading reading;
    int rc = policy_store_read(s, false, diags, &reading);
    *changed = reading.candidate != NULL;
    if (*changed) {
        policy_store_accept(s, reading.candidate);
    }
    return rc;
}

struct policy *policy_store_current(const struct policy_store *s)
{
    return s->current;
}
