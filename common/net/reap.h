/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that callbacks may still see is freed after the loop iteration: an object is closed at once and
 * idempotently (watchers stopped, descriptors closed) and queued here; ev_prepare frees the queue. One per
 * worker.
 */
#pragma once

#include <ev.h>

struct reap;
struct reap_node {
    struct reap_node *next;
    void (*free_fn)(struct reap_node *self);
};
int reap_new(struct ev_loop *loop, struct reap **out); /* 0 or -ENOMEM */
void reap_free(struct reap *r);                        /* frees what is queued */
void reap_later(struct reap *r, struct reap_node *n);  /* n->free_fn set by the caller; once per node */
