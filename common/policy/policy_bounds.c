/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decision costs the same however many rules there are, but for two shapes of patterns that must be tried
 * one after the other. No policy needs many of them; a policy of nothing else would slow every decision down.
 */
#include "common/policy/policy_parts.h"

#include <stdlib.h>

struct placement { /* bit n: the label with n labels to its right is "*" */
    uint64_t words[2];
};

static bool is_glob_endpoint(const struct load_endpoint *e)
{
    return e->ep.host_kind == ENDPOINT_WILDCARD;
}

/* Of the labels behind the first. */
static struct placement placement_of(struct span text)
{
    struct placement p = {{0, 0}};
    size_t first = span_find(text, '.');
    size_t place = 0;
    for (size_t i = text.len; i > first + 1; i--) {
        if (text.data[i - 1] == '.') {
            place++;
        } else if (text.data[i - 1] == '*') {
            p.words[place / 64] |= UINT64_C(1) << (place % 64);
        }
    }
    return p;
}

static void check_placements(struct load *l)
{
    struct placement seen[POLICY_PLACEMENTS_MAX];
    size_t count = 0;
    for (const struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        for (const struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            struct placement p = {{0, 0}};
            size_t i = 0;
            if (is_glob_endpoint(e)) {
                p = placement_of(host_name_span(&e->ep.pattern.text));
            }
            if ((p.words[0] | p.words[1]) == 0) {
                continue;
            }
            while (i < count && memcmp(&seen[i], &p, sizeof p) != 0) {
                i++;
            }
            if (i == POLICY_PLACEMENTS_MAX) {
                load_error_at(l, e->ep.pos, "write ** as the first label, or name the hosts",
                              "a policy can have \"*\" behind the first label at %d different sets of places",
                              POLICY_PLACEMENTS_MAX);
                return;
            }
            seen[i] = p;
            count += i == count;
        }
    }
}

static struct span parent_of(const struct load_endpoint *e)
{
    struct span text = host_name_span(&e->ep.pattern.text);
    size_t dot = span_find(text, '.');
    return span_sub(text, dot, text.len);
}

static int compare_globs(const void *a, const void *b)
{
    const struct load_endpoint *const *x = a;
    const struct load_endpoint *const *y = b;
    /* both spans end where a NUL stands */
    int order = strcmp((const char *)parent_of(*x).data, (const char *)parent_of(*y).data);
    return order != 0 ? order : strcmp((*x)->ep.pattern.text.text, (*y)->ep.pattern.text.text);
}

static bool has_two_stars(const struct load_endpoint *e)
{
    struct span text = host_name_span(&e->ep.pattern.text);
    size_t first = span_find(text, '.');
    size_t stars = 0;
    for (size_t i = 0; i < first; i++) {
        stars += text.data[i] == '*';
    }
    return stars >= 2 && !e->ep.pattern.has_double_star;
}

static size_t collect_globs(const struct load *l, const struct load_endpoint **out)
{
    size_t count = 0;
    for (const struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        for (const struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            if (is_glob_endpoint(e) && has_two_stars(e)) {
                if (out != NULL) {
                    out[count] = e;
                }
                count++;
            }
        }
    }
    return count;
}

static void check_globs(struct load *l)
{
    size_t count = collect_globs(l, NULL);
    const struct load_endpoint **globs =
        count <= POLICY_GLOBS_MAX ? NULL : load_alloc(l, l->scratch, count, sizeof *globs);
    if (globs == NULL) {
        return;
    }
    (void)collect_globs(l, globs);
    qsort(globs, count, sizeof *globs, compare_globs);
    size_t of_parent = 1; /* different ones */
    for (size_t i = 1; i < count; i++) {
        if (!span_is_equal(parent_of(globs[i - 1]), parent_of(globs[i]))) {
            of_parent = 1;
        } else if (compare_globs(&globs[i - 1], &globs[i]) != 0 && ++of_parent == POLICY_GLOBS_MAX + 1) {
            struct span parent = parent_of(globs[i]);
            load_error_at(l, globs[i]->ep.pos, "name the hosts, or write * for the whole label",
                          "more than %d patterns with two stars in their first label end in \"%.*s\"",
                          POLICY_GLOBS_MAX, (int)parent.len, (const char *)parent.data);
        }
    }
}

void load_check_bounds(struct load *l)
{
    check_placements(l);
    check_globs(l);
}
