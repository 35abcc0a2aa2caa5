/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a load, one per file: what policy_load.c calls in order. Internal to policy. */
#pragma once

#include "common/policy/policy_schema.h"

/* policy_endpoint.c: one item of "endpoints". */
void load_endpoint(struct load *l, const struct yaml_node *n, struct load_endpoint *out);

/* Is this key of an endpoint ours, unknown to OpenShell? */
bool load_is_extension(struct span key);

/* Reports and returns false if the text is no host. */
bool load_host_text(struct load *l, const struct yaml_node *n, struct load_host *out);
/* "port" and "ports" as a sorted, unique array in l->out; *count is 0 if there is none. Types were checked.
 */
const uint16_t *load_ports(struct load *l, const struct yaml_node *map, size_t *count);

/* policy_l7.c: the keys that only a proxy that reads requests can honour. Host, ports and words are filled.
 */
void load_l7(struct load *l, const struct yaml_node *n, struct load_endpoint *e);

/* policy_tuning.c: "proxy", "timeouts", "keepalive" and "dns", in endpoints, overlays and defaults. */
void load_tuning(struct load *l, const struct yaml_node *map, struct load_tuning *out);

/* policy_dns.c: the value of "dns". */
void load_dns(struct load *l, const struct yaml_node *n, struct policy_dns *out);
/* Reports "dns" in a map whose host has no name to ask for. */
void load_check_dns_host(struct load *l, const struct yaml_node *map, enum endpoint_host_kind kind);

/* policy_middleware.c: "network_middlewares", and then which endpoints they select. */
void load_middlewares(struct load *l, const struct yaml_node *n);
void load_select_middlewares(struct load *l);

/* policy_egress.c: "egress", checked with its file. */
void load_egress(struct load *l, const struct yaml_node *n);

/* policy_bounds.c: of patterns that each cost every decision something there can only be so many. */
void load_check_bounds(struct load *l);

/* policy_overlay.c: the entries of egress.endpoints and egress.hosts against the rules of all files. */
void load_apply_overlays(struct load *l);
void load_check_statics(struct load *l);

/* policy_rules.c: lays the result out in l->out. */
void load_finish(struct load *l);
