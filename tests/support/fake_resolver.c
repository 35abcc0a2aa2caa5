/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_resolver.h"

#include <stdlib.h>
#include <string.h>

#define QUESTIONS_MAX 64

struct question {
    bool is_open;
    struct host_name name;
    uint16_t qtype;
    resolver_event_fn *fn;
    void *ctx;
};

static struct {
    struct acts *acts;
    struct question questions[QUESTIONS_MAX];
    size_t count;
    bool has_stale;
    struct host_name stale_name;
    struct resolver_answer stale;
} fake;

static const char *type_text(uint16_t qtype)
{
    return qtype == DNS_AAAA ? "AAAA" : "A";
}

void fake_resolver_reset(struct acts *acts)
{
    memset(&fake, 0, sizeof(fake));
    fake.acts = acts;
}

bool fake_resolver_answer(const struct host_name *name, uint16_t qtype, const struct resolver_answer *a)
{
    for (size_t i = 0; i < fake.count; i++) {
        struct question *q = &fake.questions[i];
        if (q->is_open && q->qtype == qtype && host_name_is_equal(&q->name, name)) {
            q->is_open = false;
            q->fn(q->ctx, a);
            return true;
        }
    }
    return false;
}

void fake_resolver_keep_stale(const struct host_name *name, const struct resolver_answer *a)
{
    fake.has_stale = true;
    fake.stale_name = *name;
    fake.stale = *a;
}

size_t fake_resolver_open_count(void)
{
    size_t open = 0;
    for (size_t i = 0; i < fake.count; i++) {
        open += fake.questions[i].is_open ? 1 : 0;
    }
    return open;
}

/* ---- common/dns/resolver.h ---- */

void resolver_config_defaults(struct resolver_config *c)
{
    *c = (struct resolver_config){.cache_bytes = 1};
}

int resolver_new(struct ev_loop *loop, const struct resolver_config *cfg, struct resolver **out,
                 struct err *err)
{
    (void)loop;
    (void)cfg;
    (void)err;
    *out = (struct resolver *)(void *)&fake;
    return 0;
}

void resolver_free(struct resolver *r)
{
    (void)r;
}

bool resolver_peek(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                   struct resolver_answer *out)
{
    (void)r;
    (void)name;
    (void)qtype;
    (void)now_ms;
    (void)out;
    return false;
}

bool resolver_peek_stale(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                         struct resolver_answer *out)
{
    (void)r;
    (void)now_ms;
    const uint16_t stale_type = fake.stale.addrs[0].family == IP_V6 ? DNS_AAAA : DNS_A;
    if (!fake.has_stale || stale_type != qtype || !host_name_is_equal(&fake.stale_name, name)) {
        return false;
    }
    resolver_answer_copy(out, &fake.stale);
    return true;
}

resolver_ticket resolver_ask_at(struct resolver *r, const struct resolver_ask *ask, int64_t now_ms)
{
    (void)r;
    (void)now_ms;
    if (fake.count == QUESTIONS_MAX) {
        abort();
    }
    fake.questions[fake.count++] = (struct question){
        .is_open = true, .name = *ask->name, .qtype = ask->qtype, .fn = ask->fn, .ctx = ask->ctx};
    acts_add(fake.acts, "ask %s %s", ask->name->text, type_text(ask->qtype));
    return (resolver_ticket)fake.count;
}

resolver_ticket resolver_ask(struct resolver *r, const struct host_name *name, uint16_t qtype,
                             resolver_event_fn *fn, void *ctx)
{
    const struct resolver_ask ask = {.name = name, .qtype = qtype, .fn = fn, .ctx = ctx};
    return resolver_ask_at(r, &ask, 0);
}

void resolver_cancel(struct resolver *r, resolver_ticket t)
{
    (void)r;
    REQUIRE(t > 0 && t <= fake.count);
    struct question *q = &fake.questions[t - 1];
    REQUIRE(q->is_open); /* only who waits cancels */
    q->is_open = false;
    acts_add(fake.acts, "cancel %s %s", q->name.text, type_text(q->qtype));
}

int resolver_set_upstreams(struct resolver *r, const struct addr *upstreams, size_t count, struct err *err)
{
    (void)r;
    (void)upstreams;
    (void)count;
    (void)err;
    return 0;
}
