/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/host_pattern.h"

#define MAX_LABELS 127 /* 253 bytes of one-byte labels and dots */

/* What a label may match, most specific first. */
enum label_rank { RANK_LITERAL = 0, RANK_PARTIAL, RANK_STAR, RANK_DOUBLE_STAR };

struct labels {
    struct span at[MAX_LABELS];
    size_t count;
};

static void split_labels(const struct host_name *n, struct labels *out)
{
    struct span rest = host_name_span(n);
    out->count = 0;
    while (out->count < MAX_LABELS) {
        size_t dot = span_find(rest, '.');
        out->at[out->count++] = span_sub(rest, 0, dot);
        if (dot == rest.len) {
            return;
        }
        rest = span_sub(rest, dot + 1, rest.len);
    }
}

static enum label_rank label_rank(struct span label)
{
    if (span_find(label, '*') == label.len) {
        return RANK_LITERAL;
    }
    if (span_is_equal(label, SPAN_LIT("*"))) {
        return RANK_STAR;
    }
    return span_is_equal(label, SPAN_LIT("**")) ? RANK_DOUBLE_STAR : RANK_PARTIAL;
}

static bool has_two_stars_in_a_row(struct span label)
{
    for (size_t i = 0; i + 1 < label.len; i++) {
        if (label.data[i] == '*' && label.data[i + 1] == '*') {
            return true;
        }
    }
    return false;
}

static enum pattern_fault check_wildcards(const struct labels *labels)
{
    if (labels->count == 1 && label_rank(labels->at[0]) >= RANK_STAR) {
        return PATTERN_FAULT_BARE;
    }
    if (labels->count < 3) {
        return PATTERN_FAULT_FEW_LABELS;
    }
    for (size_t i = 0; i < labels->count; i++) {
        struct span label = labels->at[i];
        enum label_rank rank = label_rank(label);
        if (rank == RANK_LITERAL) {
            continue;
        }
        if (i + 2 >= labels->count) {
            return PATTERN_FAULT_LAST_TWO;
        }
        if (has_two_stars_in_a_row(label) && (i > 0 || rank != RANK_DOUBLE_STAR)) {
            return PATTERN_FAULT_DOUBLE_STAR;
        }
        if (i > 0 && rank == RANK_PARTIAL) {
            return PATTERN_FAULT_PARTIAL_MIDDLE;
        }
    }
    return PATTERN_FAULT_NONE;
}

/*
 * A pattern is checked as the host it would be with a letter for each star: same bytes, same lengths. The
 * letter is no hex digit and not 'x', so it can never make a label a number.
 */
static enum pattern_fault parse_wildcard(struct span text, struct host_pattern *out, enum host_fault *why)
{
    uint8_t sample[HOST_NAME_MAX_LEN + 1];
    if (text.len > sizeof sample) {
        *why = HOST_FAULT_TOO_LONG;
        return PATTERN_FAULT_HOST;
    }
    for (size_t i = 0; i < text.len; i++) {
        sample[i] = text.data[i] == '*' ? 'g' : text.data[i];
    }
    struct host_pattern p = {.is_wildcard = true};
    *why = host_name_parse(span_make(sample, text.len), &p.text);
    if (*why != HOST_FAULT_NONE) {
        return PATTERN_FAULT_HOST;
    }
    for (size_t i = 0; i < p.text.len; i++) {
        if (text.data[i] == '*') {
            p.text.text[i] = '*';
        }
    }
    struct labels labels;
    split_labels(&p.text, &labels);
    enum pattern_fault fault = check_wildcards(&labels);
    if (fault == PATTERN_FAULT_NONE) {
        p.has_double_star = label_rank(labels.at[0]) == RANK_DOUBLE_STAR;
        *out = p;
    }
    return fault;
}

enum pattern_fault host_pattern_parse(struct span text, struct host_pattern *out, enum host_fault *host_why)
{
    memset(out, 0, sizeof *out);
    *host_why = HOST_FAULT_NONE;
    if (text.len == 0) {
        return PATTERN_FAULT_EMPTY;
    }
    bool has_star = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '?' || c == '[' || c == ']' || c == '{' || c == '}') {
            return PATTERN_FAULT_GLOB;
        }
        has_star = has_star || c == '*';
    }
    if (has_star) {
        return parse_wildcard(text, out, host_why);
    }
    *host_why = host_name_parse(text, &out->text);
    return *host_why == HOST_FAULT_NONE ? PATTERN_FAULT_NONE : PATTERN_FAULT_HOST;
}

const char *pattern_fault_text(enum pattern_fault f)
{
    switch (f) {
    case PATTERN_FAULT_NONE:
        break;
    case PATTERN_FAULT_EMPTY:
        return "a host must not be empty";
    case PATTERN_FAULT_BARE:
        return "a wildcard for every host is not accepted: name the domains, as in *.example.com";
    case PATTERN_FAULT_FEW_LABELS:
        return "a wildcard needs at least three labels, as in *.example.com";
    case PATTERN_FAULT_PARTIAL_MIDDLE:
        return "after the first label a wildcard must be a whole label: write *, not part-*";
    case PATTERN_FAULT_DOUBLE_STAR:
        return "** can only be the whole first label, as in **.example.com";
    case PATTERN_FAULT_LAST_TWO:
        return "the last two labels must be literal, as in *.example.com";
    case PATTERN_FAULT_GLOB:
        return "only * and ** are wildcards: list each host that ?, [...] or {...} would stand for";
    case PATTERN_FAULT_HOST:
        return "not a host name";
    }
    return "";
}

/* No recursion: the last star is retried. */
bool host_label_matches(struct span pattern, struct span label)
{
    size_t p = 0;
    size_t i = 0;
    size_t star = pattern.len;
    size_t resume = 0;
    while (i < label.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = p++;
            resume = i;
        } else if (p < pattern.len && pattern.data[p] == label.data[i]) {
            p++;
            i++;
        } else if (star < pattern.len) {
            p = star + 1;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.len;
}

/* Do the last `count` labels of both match? Both have at least as many. */
static bool is_tail_match(const struct labels *pattern, const struct labels *name, size_t count)
{
    for (size_t i = 1; i <= count; i++) {
        if (!host_label_matches(pattern->at[pattern->count - i], name->at[name->count - i])) {
            return false;
        }
    }
    return true;
}

bool host_pattern_matches(const struct host_pattern *p, const struct host_name *n)
{
    if (n->len == 0 || p->text.len == 0) {
        return false;
    }
    if (!p->is_wildcard) {
        return host_name_is_equal(&p->text, n);
    }
    if (p->has_double_star ? n->label_count < p->text.label_count : n->label_count != p->text.label_count) {
        return false;
    }
    struct labels pattern;
    struct labels name;
    split_labels(&p->text, &pattern);
    split_labels(n, &name);
    /* "**" takes whatever is left, which is at least one label. */
    return is_tail_match(&pattern, &name, p->has_double_star ? pattern.count - 1 : pattern.count);
}

bool host_pattern_reaches_below(const struct host_pattern *p, const struct host_name *n)
{
    if (n->len == 0 || n->label_count >= p->text.label_count) {
        return false;
    }
    struct labels pattern;
    struct labels name;
    split_labels(&p->text, &pattern);
    split_labels(n, &name);
    return is_tail_match(&pattern, &name, name.count);
}

static size_t literal_len(struct span label)
{
    size_t len = 0;
    for (size_t i = 0; i < label.len; i++) {
        len += label.data[i] != '*';
    }
    return len;
}

static int compare_labels(struct span a, struct span b)
{
    enum label_rank rank_a = label_rank(a);
    enum label_rank rank_b = label_rank(b);
    if (rank_a != rank_b) {
        return rank_a < rank_b ? -1 : 1;
    }
    if (rank_a != RANK_PARTIAL) {
        return 0;
    }
    size_t len_a = literal_len(a);
    size_t len_b = literal_len(b);
    return len_a == len_b ? 0 : len_a > len_b ? -1 : 1;
}

int host_pattern_compare(const struct host_pattern *a, const struct host_pattern *b)
{
    struct labels labels_a;
    struct labels labels_b;
    split_labels(&a->text, &labels_a);
    split_labels(&b->text, &labels_b);
    size_t common = labels_a.count < labels_b.count ? labels_a.count : labels_b.count;
    for (size_t i = 1; i <= common; i++) {
        int order = compare_labels(labels_a.at[labels_a.count - i], labels_b.at[labels_b.count - i]);
        if (order != 0) {
            return order;
        }
    }
    if (labels_a.count == labels_b.count) {
        return 0;
    }
    return labels_a.count > labels_b.count ? -1 : 1;
}
