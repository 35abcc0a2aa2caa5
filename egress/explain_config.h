/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of `openshell-egress explain`, and what both daemons would be configured to with it: the
 * daemons' own tables read it, from the options given here and from the daemons' environment variables.
 */
#pragma once

#include "common/run/capture_auto.h"
#include "common/run/chain_config.h"
#include "common/run/guard.h"
#include "common/run/upstreams.h"
#include "dnsd/answer.h"
#include "egress/daemon_args.h"

struct explain_options {
    struct daemon_args daemons;
    const char *target; /* HOST[:PORT]; NULL with help */
    bool is_live, is_json, help;
};
/* argv[0] is "explain". 0; -EINVAL with *err (exit 2); -ENOMEM. */
MUST_CHECK int explain_options_parse(int argc, char **argv, struct explain_options *out, struct err *err);
void explain_options_fini(struct explain_options *o);

struct explain_config {
    struct settings_dnsd dnsd;
    struct settings_tunneld tunneld;
    struct settings_arena *dnsd_arena, *tunneld_arena;
    struct guard dnsd_guard, tunneld_guard; /* each with the daemon's own listeners, as configured */
    struct capture_hosts autos;             /* of --transparent auto */
    struct zone_set dnsd_zones, tunneld_zones;
    struct answer_config answer;
    struct chain_config chain;
    struct judge_config judge; /* borrows chain */
    bool has_ipv6;             /* there is an IPv6 default route */
};
/* 0; -EINVAL with *err; -errno. To be ended with explain_config_fini in every case. Borrows args. */
MUST_CHECK int explain_config_init(struct explain_config *c, struct daemon_args *args, struct err *err);
/* What depends on the policy: the listeners of --transparent auto. 0; -EINVAL with *err; -errno. */
MUST_CHECK int explain_config_policy(struct explain_config *c, const struct policy *p, struct err *err);
void explain_config_fini(struct explain_config *c);
