/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/denied_class.h"

/* "ns.svc.cluster.local" has four; a cloud's or company's own suffix adds some. Bounds the work per denied
 * query. */
#define SUFFIX_LABELS_MAX 6

static bool ends_with(const struct host_name *n, struct span suffix)
{
    return n->len > suffix.len && memcmp(n->text + n->len - suffix.len, suffix.data, suffix.len) == 0;
}

static bool is_admitted(const struct policy *p, const struct host_name *name)
{
    struct name_verdict v;
    judge_name(p, name, &v);
    return v.kind == NAME_ADMITTED || v.kind == NAME_STATIC;
}

/* Where the label begins that ends there. */
static size_t label_start(const struct host_name *name, size_t end)
{
    while (end > 0 && name->text[end - 1] != '.') {
        end--;
    }
    return end;
}

/*
 * Any labels of a canonical name are canonical again, but for the rule that the last one is no number; and no
 * policy names such a host. Most fronts end in what is no top-level label of any host that is admitted.
 */
static bool has_admitted_front(const struct policy *p, const struct host_name *name)
{
    size_t start = label_start(name, name->len);
    for (uint8_t cut = 1; cut <= SUFFIX_LABELS_MAX && start > 1; cut++) {
        const size_t end = start - 1; /* front of the dot */
        start = label_start(name, end);
        if (!policy_may_end_in(p, span_make(name->text + start, end - start))) {
            continue;
        }
        struct host_name front = *name;
        front.len = (uint8_t)end;
        front.label_count = (uint8_t)(name->label_count - cut);
        front.text[end] = '\0';
        if (is_admitted(p, &front)) {
            return true;
        }
    }
    return false;
}

/*
 * Services are NAME.NS.svc.cluster.local, pods ADDRESS.NS.pod.cluster.local: anything else there comes from
 * the search list that Kubernetes writes (NS.svc.cluster.local, svc.cluster.local, cluster.local). Five
 * labels can be either and count as meant.
 */
static bool is_cluster_noise(const struct host_name *name)
{
    if (!ends_with(name, SPAN_LIT(".cluster.local"))) {
        return false;
    }
    if (!ends_with(name, SPAN_LIT(".svc.cluster.local")) &&
        !ends_with(name, SPAN_LIT(".pod.cluster.local"))) {
        return true;
    }
    return name->label_count != 5;
}

bool denied_class_is_noise(const struct policy *p, const struct host_name *name)
{
    return name->label_count < 2 || is_cluster_noise(name) || has_admitted_front(p, name);
}
