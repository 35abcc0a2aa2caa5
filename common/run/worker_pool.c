/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/worker_pool.h"

#include "common/net/sock.h"
#include "common/net/wake.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* What other threads want of a worker; only the last policy and the last list count. */
struct mail {
    struct policy *policy;          /* a reference, or NULL */
    uint64_t publication;           /* its number */
    struct upstream_list upstreams; /* empty: no news */
    bool drain, stop;
};

struct pool_worker {
    struct worker pub;
    struct worker_pool *pool;
    pthread_t thread;
    bool has_thread;
    struct wake wake;
    pthread_mutex_t lock; /* of mail */
    struct mail mail;
    _Atomic uint64_t publication; /* the last one that it took */
    atomic_bool is_done;
};

struct worker_pool {
    const struct daemon_spec *spec;
    struct wake progress; /* on the main loop */
    unsigned count;       /* workers that are started */
    uint64_t publication; /* the last one */
    struct pool_worker *workers;
};

static struct pool_worker *of(struct worker *w)
{
    return (struct pool_worker *)(void *)((char *)w - offsetof(struct pool_worker, pub));
}

static void take_policy(struct pool_worker *w, const struct mail *mail)
{
    struct policy *previous = w->pub.policy;
    w->pub.policy = mail->policy;
    w->pool->spec->worker_policy(&w->pub, previous);
    atomic_store_explicit(&w->publication, mail->publication, memory_order_release);
    policy_unref(previous);
    wake_send(&w->pool->progress);
}

static void on_wake_event(void *ctx)
{
    struct pool_worker *w = ctx;
    (void)pthread_mutex_lock(&w->lock);
    struct mail mail = w->mail;
    w->mail = (struct mail){0};
    (void)pthread_mutex_unlock(&w->lock);
    if (mail.upstreams.count > 0) {
        w->pool->spec->worker_upstreams(&w->pub, &mail.upstreams);
    }
    if (mail.policy != NULL) {
        take_policy(w, &mail);
    }
    if (mail.drain) {
        w->pool->spec->worker_drain(&w->pub);
    }
    if (mail.stop) {
        ev_break(w->pub.loop, EVBREAK_ALL);
    }
}

void daemon_worker_done(struct worker *w)
{
    struct pool_worker *own = of(w);
    bool was_done = atomic_exchange(&own->is_done, true);
    if (CHECK(!was_done)) {
        wake_send(&own->pool->progress);
    }
}

static void fini_worker(struct pool_worker *w)
{
    if (w->pub.reap != NULL) {
        reap_free(w->pub.reap); /* what is freed here may still look into the policy */
    }
    policy_unref(w->pub.policy);
    policy_unref(w->mail.policy);
    if (w->pub.loop != NULL) {
        wake_fini(&w->wake);
        ev_loop_destroy(w->pub.loop);
    }
    (void)pthread_mutex_destroy(&w->lock);
}

/*
 * What is pending when the loop is about to sleep is EV_ERROR of a watcher that epoll has refused just now:
 * libev would tell it with the next event, and whoever waits for that socket would wait for nothing.
 */
static void on_sleep_begin(struct ev_loop *loop)
{
    if (ev_pending_count(loop) > 0) {
        const struct pool_worker *w = ev_userdata(loop);
        wake_send(&w->wake);
    }
}

static void on_sleep_end(struct ev_loop *loop)
{
    (void)loop;
}

static int init_worker(struct worker_pool *p, unsigned index, struct policy *policy, struct err *err)
{
    struct pool_worker *w = &p->workers[index];
    w->pool = p;
    w->pub.index = index;
    w->pub.ctx = p->spec->ctx;
    (void)pthread_mutex_init(&w->lock, NULL); /* cannot fail for a default mutex on Linux */
    errno = 0;
    w->pub.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    const int why = errno != 0 ? -errno : -ENOMEM;
    int rc = w->pub.loop == NULL ? why : reap_new(w->pub.loop, &w->pub.reap);
    rc = rc == 0 ? wake_init(&w->wake, w->pub.loop, on_wake_event, w) : rc;
    if (rc < 0) {
        err_set(err, "worker %u: cannot make its event loop: %s", index, strerror(-rc));
        err_add_hint(err, rc == -EMFILE ? SOCK_EMFILE_HINT : "");
        fini_worker(w);
        return rc;
    }
    ev_set_userdata(w->pub.loop, w);
    ev_set_loop_release_cb(w->pub.loop, on_sleep_begin, on_sleep_end);
    w->pub.policy = policy_ref(policy);
    rc = p->spec->worker_start(&w->pub, err);
    if (rc < 0) {
        err_prefix(err, "worker %u", index);
        fini_worker(w);
    }
    return rc;
}

int worker_pool_new(const struct worker_pool_config *cfg, struct worker_pool **out, struct err *err)
{
    *out = NULL;
    struct worker_pool *p = calloc(1, sizeof(*p));
    struct pool_worker *workers = calloc(cfg->count, sizeof(*workers));
    if (p == NULL || workers == NULL) {
        free(p);
        free(workers);
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    *p = (struct worker_pool){.spec = cfg->spec, .workers = workers};
    int rc = wake_init(&p->progress, cfg->main_loop, cfg->on_progress, cfg->ctx);
    if (rc < 0) {
        err_set(err, "cannot make an eventfd: %s", strerror(-rc));
        err_add_hint(err, rc == -EMFILE ? SOCK_EMFILE_HINT : "");
        worker_pool_free(p);
        return rc;
    }
    for (unsigned i = 0; i < cfg->count; i++) {
        rc = init_worker(p, i, cfg->policy, err);
        if (rc < 0) {
            worker_pool_free(p);
            return rc;
        }
        p->count++;
    }
    *out = p;
    return 0;
}

static void *thread_main(void *arg)
{
    struct pool_worker *w = arg;
    (void)ev_run(w->pub.loop, 0);
    w->pool->spec->worker_stop(&w->pub);
    return NULL;
}

/* Everything but what a fault of our own raises: those must end the process where they happen. */
static void block_signals(sigset_t *former)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all;
    (void)sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        (void)sigdelset(&all, faults[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &all, former);
}

int worker_pool_run(struct worker_pool *p, struct err *err)
{
    sigset_t former;
    int rc = 0;
    block_signals(
        &former); /* a thread inherits the mask: no signal can reach it before it would set its own */
    for (unsigned i = 0; rc == 0 && i < p->count; i++) {
        struct pool_worker *w = &p->workers[i];
        rc = -pthread_create(&w->thread, NULL, thread_main, w);
        w->has_thread = rc == 0;
        if (rc == 0) {
            char name[16];
            (void)snprintf(name, sizeof(name), "worker-%u", i % 1000);
            (void)pthread_setname_np(w->thread, name);
        } else {
            err_set(err, "worker %u: cannot start its thread: %s", i, strerror(-rc));
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &former, NULL);
    return rc;
}

/* Adds to what is in the mailbox already; takes mail->policy. */
static void post(struct pool_worker *w, const struct mail *mail)
{
    (void)pthread_mutex_lock(&w->lock);
    struct policy *superseded = NULL;
    if (mail->policy != NULL) {
        superseded = w->mail.policy;
        w->mail.policy = mail->policy;
        w->mail.publication = mail->publication;
    }
    if (mail->upstreams.count > 0) {
        w->mail.upstreams = mail->upstreams;
    }
    w->mail.drain = w->mail.drain || mail->drain;
    w->mail.stop = w->mail.stop || mail->stop;
    (void)pthread_mutex_unlock(&w->lock);
    policy_unref(superseded);
    wake_send(&w->wake);
}

void worker_pool_publish(struct worker_pool *p, struct policy *policy)
{
    p->publication++;
    for (unsigned i = 0; i < p->count; i++) {
        post(&p->workers[i], &(struct mail){.policy = policy_ref(policy), .publication = p->publication});
    }
}

void worker_pool_set_upstreams(struct worker_pool *p, const struct upstream_list *list)
{
    for (unsigned i = 0; i < p->count; i++) {
        post(&p->workers[i], &(struct mail){.upstreams = *list});
    }
}

bool worker_pool_has_taken(const struct worker_pool *p)
{
    bool all = true;
    for (unsigned i = 0; i < p->count && all; i++) {
        all = atomic_load_explicit(&p->workers[i].publication, memory_order_acquire) == p->publication;
    }
    return all;
}

void worker_pool_drain(struct worker_pool *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        post(&p->workers[i], &(struct mail){.drain = true});
    }
}

bool worker_pool_is_drained(const struct worker_pool *p)
{
    bool all = true;
    for (unsigned i = 0; i < p->count && all; i++) {
        all = atomic_load(&p->workers[i].is_done);
    }
    return all;
}

uint64_t worker_pool_counter(const struct worker_pool *p, size_t index)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < p->count; i++) {
        sum += metrics_read(&p->workers[i].pub.metrics, index);
    }
    return sum;
}

void worker_pool_free(struct worker_pool *p)
{
    if (p == NULL) {
        return;
    }
    for (unsigned i = 0; i < p->count; i++) {
        if (p->workers[i].has_thread) {
            post(&p->workers[i], &(struct mail){.stop = true});
        }
    }
    for (unsigned i = 0; i < p->count; i++) {
        struct pool_worker *w = &p->workers[i];
        if (w->has_thread) {
            (void)pthread_join(w->thread, NULL);
        } else {
            p->spec->worker_stop(&w->pub);
        }
        fini_worker(w);
    }
    wake_fini(&p->progress);
    free(p->workers);
    free(p);
}
