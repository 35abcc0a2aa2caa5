/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/reap.h"

#include "common/base/err.h"

#include <errno.h>
#include <stdlib.h>

struct reap {
    struct ev_loop *loop;
    ev_prepare prepare; /* active only while something is queued, so that an idle loop may end */
    struct reap_node *first;
};

/* A free function may queue more (an object that closes another): go on until nothing is left. */
static void drain(struct reap *r)
{
    while (r->first != NULL) {
        struct reap_node *n = r->first;
        r->first = n->next;
        n->free_fn(n);
    }
}

static void on_prepare_event(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)revents;
    struct reap *r = w->data;
    ev_prepare_stop(loop, w);
    drain(r);
}

int reap_new(struct ev_loop *loop, struct reap **out)
{
    struct reap *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return -ENOMEM;
    }
    r->loop = loop;
    ev_prepare_init(&r->prepare, on_prepare_event);
    /* Last among the prepare watchers: one of theirs may still look at what it frees. */
    ev_set_priority(&r->prepare, EV_MINPRI);
    r->prepare.data = r;
    *out = r;
    return 0;
}

void reap_free(struct reap *r)
{
    if (r == NULL) {
        return;
    }
    drain(r);
    ev_prepare_stop(r->loop, &r->prepare);
    free(r);
}

void reap_later(struct reap *r, struct reap_node *n)
{
    REQUIRE(n->free_fn != NULL);
    n->next = r->first;
    r->first = n;
    ev_prepare_start(r->loop, &r->prepare);
}
