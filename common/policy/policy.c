/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy.h"

#include "common/policy/policy_private.h"

#include <errno.h>
#include <stdlib.h>

/* How many were new. */
static size_t mark_ports(const struct policy_endpoint *ep, uint8_t seen[65536 / 8])
{
    size_t count = 0;
    for (size_t k = 0; k < ep->port_count; k++) {
        uint8_t bit = (uint8_t)(1U << (ep->ports[k] % 8U));
        count += (seen[ep->ports[k] / 8] & bit) == 0;
        seen[ep->ports[k] / 8] |= bit;
    }
    return count;
}

static int collect_ports(struct policy *p)
{
    uint8_t seen[65536 / 8] = {0};
    for (size_t i = 0; i < p->rules->endpoint_count; i++) {
        p->port_count += mark_ports(&p->rules->endpoints[i], seen);
    }
    p->ports = calloc(p->port_count + 1, sizeof *p->ports);
    if (p->ports == NULL) {
        return -ENOMEM;
    }
    size_t used = 0;
    for (uint32_t port = 0; port < 65536 && used < p->port_count; port++) {
        if (((unsigned)seen[port / 8] >> (port % 8)) & 1U) {
            p->ports[used++] = (uint16_t)port;
        }
    }
    return 0;
}

static void policy_free(struct policy *p)
{
    policy_index_fini(&p->index);
    free(p->ports);
    policy_rules_free(p->rules);
    free(p);
}

int policy_compile(struct policy_rules *rules, uint64_t generation, struct policy **out)
{
    *out = NULL;
    struct policy *p = calloc(1, sizeof *p);
    if (p == NULL) {
        policy_rules_free(rules);
        return -ENOMEM;
    }
    atomic_init(&p->refs, 1);
    p->generation = generation;
    p->rules = rules;
    int rc = policy_index_build(&p->index, rules);
    if (rc == 0) {
        rc = collect_ports(p);
    }
    if (rc != 0) {
        policy_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

struct policy *policy_ref(struct policy *p)
{
    (void)atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void policy_unref(struct policy *p)
{
    /* release: what this thread read happens before the free; acquire: so does what the others read */
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) {
        policy_free(p);
    }
}

uint64_t policy_generation(const struct policy *p)
{
    return p->generation;
}

const struct policy_rules *policy_rules_of(const struct policy *p)
{
    return p->rules;
}

size_t policy_index_bytes(const struct policy *p)
{
    return policy_index_memory(&p->index) + p->port_count * sizeof *p->ports + sizeof *p;
}

const uint16_t *policy_ports(const struct policy *p, size_t *count)
{
    *count = p->port_count;
    return p->ports;
}

static int kind_rank(enum endpoint_host_kind k)
{
    switch (k) {
    case ENDPOINT_EXACT:
    case ENDPOINT_IP:
        return 0;
    case ENDPOINT_WILDCARD:
        return 1;
    case ENDPOINT_HOSTLESS:
        break;
    }
    return 2;
}

static int compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int policy_endpoint_compare(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    int order = kind_rank(a->host_kind) - kind_rank(b->host_kind);
    if (order == 0 && a->host_kind == ENDPOINT_WILDCARD) {
        order = host_pattern_compare(&a->pattern, &b->pattern);
    }
    if (order == 0) {
        order = compare_u32(a->pos.file, b->pos.file);
    }
    if (order == 0) {
        order = compare_u32(a->pos.line, b->pos.line);
    }
    if (order == 0) {
        order = compare_u32(a->pos.col, b->pos.col);
    }
    return order;
}

struct collector { /* the cap most specific ones so far, in order */
    const struct policy_endpoint **out;
    size_t cap;
    size_t used;
    size_t count;
};

static bool collect(const struct policy_endpoint *ep, void *ctx)
{
    struct collector *c = ctx;
    c->count++;
    size_t at = c->used;
    while (at > 0 && policy_endpoint_compare(ep, c->out[at - 1]) < 0) {
        at--;
    }
    if (at >= c->cap) {
        return true;
    }
    size_t last = c->used < c->cap ? c->used++ : c->cap - 1;
    for (; last > at; last--) {
        c->out[last] = c->out[last - 1];
    }
    c->out[at] = ep;
    return true;
}

size_t policy_match_name(const struct policy *p, const struct host_name *name,
                         const struct policy_endpoint **out, size_t cap)
{
    struct collector c = {.out = out, .cap = cap};
    policy_visit_name(p, name, collect, &c);
    return c.count;
}

size_t policy_match_ip(const struct policy *p, const struct ip *ip, const struct policy_endpoint **out,
                       size_t cap)
{
    struct collector c = {.out = out, .cap = cap};
    policy_visit_ip(p, ip, collect, &c);
    return c.count;
}
