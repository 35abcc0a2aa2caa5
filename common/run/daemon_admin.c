/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/daemon_admin.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/run/admin_pages.h"
#include "common/run/privs.h"

#include <errno.h>
#include <unistd.h>

int daemon_admin_open(struct daemon_admin *d, const struct daemon_spec *spec, struct listen_fds *passed,
                      struct err *err)
{
    int rc = admin_socket_open(spec->shared->admin, passed, &d->socket, err);
    if (rc != 0 || !d->socket.is_open) {
        return rc;
    }
    log_event(LOG_INFO, "admin_listening", LOG_KV(kv_str("addr", d->socket.text)));
    if (d->socket.is_tcp) {
        log_event(LOG_WARN, "admin_exposed",
                  LOG_KV(kv_str("addr", d->socket.text),
                         kv_str("note", "clients in the same network can read it; prefer unix:PATH")));
    }
    return 0;
}

const struct addr *daemon_admin_addr(const struct daemon_admin *d)
{
    return d->socket.is_open && d->socket.is_tcp ? &d->socket.addr : NULL;
}

static int write_page(void *ctx, enum admin_page page, struct admin_reply *out)
{
    const struct daemon_admin *d = ctx;
    const struct daemon_loop *l = d->loop;
    const struct daemon_spec *spec = l->spec;
    const struct policy_rules *rules = policy_rules_of(l->in_use);
    uint64_t values[METRICS_MAX];
    size_t count = CHECK(spec->counter_count <= METRICS_MAX) ? spec->counter_count : 0;
    for (size_t i = 0; i < count; i++) {
        values[i] = worker_pool_counter(l->pool, i);
    }
    const struct admin_facts facts = {.program = spec->program,
                                      .listen = d->socket.text,
                                      .pid = getpid(),
                                      .uptime_s = (clock_mono_ms() - d->started_ms) / 1000,
                                      .is_draining = l->is_stopping,
                                      .workers = d->worker_count,
                                      .health = &l->health,
                                      .files = rules->files,
                                      .file_count = rules->file_count,
                                      .counters = spec->counters,
                                      .values = values,
                                      .counter_count = count,
                                      .capabilities = privs_held(),
                                      .status = spec->status,
                                      .ctx = spec->ctx};
    return admin_pages_write(&facts, page, out);
}

int daemon_admin_start(struct daemon_admin *d, const struct daemon_loop *loop, unsigned worker_count,
                       struct err *err)
{
    if (!d->socket.is_open) {
        return 0;
    }
    d->loop = loop;
    d->worker_count = worker_count;
    d->started_ms = clock_mono_ms();
    int rc = admin_new(loop->ev, &d->socket, write_page, d, &d->admin);
    if (rc != 0) {
        err_set(err, "cannot serve --admin: %s", strerror(-rc));
    }
    return rc;
}

void daemon_admin_stop(struct daemon_admin *d)
{
    admin_socket_fini(&d->socket); /* the file first, while the socket is open: see there */
    admin_free(d->admin);
    d->admin = NULL;
}
