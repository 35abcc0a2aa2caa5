/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_targets.h"

#include "egress/doctor_options.h"

#include <errno.h>
#include <stdlib.h>

#define USUAL_PORT 443

/* Reserved by RFC 6761, so that it is nobody's wherever this runs, and in no policy. */
static const char probe_name[] = "doctor.openshell.invalid";

/* The usual port if the endpoint has it, else its first. */
static uint16_t port_of(const struct policy_endpoint *e)
{
    for (size_t i = 0; i < e->port_count; i++) {
        if (e->ports[i] == USUAL_PORT) {
            return USUAL_PORT;
        }
    }
    return e->port_count > 0 ? e->ports[0] : USUAL_PORT;
}

/* The most specific endpoint of the host, whatever its port. */
static const struct policy_endpoint *endpoint_of(const struct policy *p, const struct host *host)
{
    const struct policy_endpoint *e = NULL;
    size_t count = host->kind == HOST_DNS ? policy_match_name(p, &host->name, &e, 1)
                                          : policy_match_ip(p, &host->ip, &e, 1);
    return count > 0 ? e : NULL;
}

static void ask_policy(struct doctor_target *t, const struct policy *policy)
{
    const struct policy_endpoint *any = policy == NULL ? NULL : endpoint_of(policy, &t->host);
    if (t->port == 0) {
        t->port = any == NULL ? USUAL_PORT : port_of(any);
    }
    if (policy == NULL) {
        return;
    }
    /* Which program asks is the daemons' to know. */
    struct policy_candidates c = {.port = t->port, .ignore_binaries = true};
    if (t->host.kind == HOST_DNS) {
        const struct policy_host *entry = NULL;
        policy_name_candidates(policy, &t->host.name, &c, &entry);
    } else {
        policy_address_candidates(policy, &t->host.ip, &c);
        policy_hostless_candidates(policy, &t->host.ip, &c);
    }
    t->has_policy = true;
    t->is_admitted = c.best != NULL;
    if (t->websocket == DOCTOR_WEBSOCKET_NONE && t->is_admitted && c.best->protocol == PROTOCOL_WEBSOCKET) {
        t->websocket = DOCTOR_WEBSOCKET_AS_FOUND;
    }
    t->has_other_ports = c.best == NULL && any != NULL;
}

static bool is_listed(const struct doctor_facts *f, const struct host_name *name, uint16_t port)
{
    for (size_t i = 0; i < f->target_count; i++) {
        if (f->targets[i].port == port && host_name_is_equal(&f->targets[i].host.name, name)) {
            return true;
        }
    }
    return false;
}

static void add_from_policy(struct doctor_facts *f, const struct policy *policy)
{
    const struct policy_rules *rules = policy_rules_of(policy);
    for (size_t r = 0; r < rules->rule_count; r++) {
        for (size_t i = 0; i < rules->rules[r].endpoint_count; i++) {
            const struct policy_endpoint *e = &rules->rules[r].endpoints[i];
            uint16_t port = port_of(e);
            if (e->host_kind != ENDPOINT_EXACT || is_listed(f, &e->pattern.text, port)) {
                continue;
            }
            if (f->target_count == DOCTOR_TARGETS_MAX) {
                f->left_out++;
                continue;
            }
            f->targets[f->target_count++] =
                (struct doctor_target){.host = {.kind = HOST_DNS, .name = e->pattern.text}, .port = port};
        }
    }
}

int doctor_targets_fill(struct doctor_facts *f, const struct policy *policy,
                        const struct doctor_target *given, size_t count)
{
    f->targets = calloc(DOCTOR_TARGETS_MAX + 1, sizeof *f->targets);
    if (f->targets == NULL) {
        return -ENOMEM;
    }
    f->has_policy = policy != NULL;
    for (size_t i = 0; i < count && i < DOCTOR_TARGETS_MAX; i++) {
        f->targets[f->target_count++] = given[i];
    }
    if (count == 0 && policy != NULL) {
        add_from_policy(f, policy);
    }
    for (size_t i = 0; i < f->target_count; i++) {
        ask_policy(&f->targets[i], policy);
    }
    struct doctor_target *probe = &f->targets[f->target_count++];
    *probe = (struct doctor_target){.host = {.kind = HOST_DNS}, .port = USUAL_PORT, .is_probe = true};
    return host_name_parse(span_str(probe_name), &probe->host.name) == HOST_FAULT_NONE ? 0 : -EINVAL;
}
