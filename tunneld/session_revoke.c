/* SPDX-License-Identifier: Apache-2.0 */
/* A tunnel under a new policy: does it still admit it, and if not, which rule went and what is there now. */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"

#include <stdlib.h>

static bool is_admitted(const struct session *s)
{
    const struct admit *a = &s->tw->admit;
    const struct host host = session_host(s);
    const struct ip *chained = s->chained_ip.family == IP_NONE ? NULL : &s->chained_ip;
    return s->carriage == CARRY_CHAIN ? admit_still_chained(a, &host, s->port, chained)
                                      : admit_still(a, &host, &s->upstream);
}

/* The rule that decides about the session's host and port, admitting or not. */
static const char *deciding_rule(const struct session *s, const struct policy *p)
{
    const struct admit a = {.judge = s->tw->admit.judge, .guard = s->tw->admit.guard, .policy = p};
    const struct host host = session_host(s);
    struct tunnel_verdict v;
    (void)admit_tunnel(&a, &host, s->port, &v);
    return v.endpoint != NULL ? v.endpoint->rule->key : "none";
}

/* Without memory for it the log says less, which is no reason to keep the tunnel. */
static void note_rules(struct session *s, const struct policy *previous)
{
    s->revoked_rule = strdup(deciding_rule(s, previous));
    s->revoked_now = strdup(deciding_rule(s, s->tw->admit.policy));
}

void session_revoke_forget(struct session *s)
{
    free(s->revoked_rule);
    free(s->revoked_now);
    s->revoked_rule = NULL;
    s->revoked_now = NULL;
    s->revoke_at_ms = -1;
}

bool session_revoke(struct session *s, const struct policy *previous)
{
    bool was_revoked = s->revoke_at_ms >= 0;
    bool is_revoked = !is_admitted(s);
    if (is_revoked && !was_revoked) {
        note_rules(s, previous);
        s->revoke_at_ms = clock_mono_ms() + s->tw->daemon->settings.revoke_grace_ms;
    } else if (!is_revoked && was_revoked) { /* admitted again within the grace */
        session_revoke_forget(s);
    }
    return is_revoked != was_revoked;
}
