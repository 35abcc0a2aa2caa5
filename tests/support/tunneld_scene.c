/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tunneld_scene.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "common/policy/policy_load.h"
#include "tests/support/fake_connect.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/invented_time.h"
#include "tunneld/session_priv.h"
#include "tunneld/tunneld_counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define TURNS_MAX 2000 /* of the loop until it is at rest */
#define STEPS 100
#define CAPTURES_MAX 32

static bool is_worker_done;
static char map_dir[64]; /* "" = there is none */
/* What each captured client seems to have dialled: what was said when its connection was first looked at. */
static struct {
    struct addr client, dialled;
} captures[CAPTURES_MAX];
static size_t capture_count;
static const struct addr *captured;
static uint16_t capture_port;

void __wrap_daemon_worker_done(struct worker *w);
int __wrap_sock_local_addr(int fd, struct addr *out);
int __real_sock_local_addr(int fd, struct addr *out);

void __wrap_daemon_worker_done(struct worker *w)
{
    (void)w;
    REQUIRE(!is_worker_done);
    is_worker_done = true;
}

int __wrap_sock_local_addr(int fd, struct addr *out)
{
    struct addr client;
    int rc = __real_sock_local_addr(fd, out);
    if (rc != 0 || out->port != capture_port || sock_peer_addr(fd, &client) != 0) {
        return rc;
    }
    size_t i = 0;
    while (i < capture_count && !addr_is_equal(&captures[i].client, &client)) {
        i++;
    }
    if (i == capture_count) {
        REQUIRE(capture_count < CAPTURES_MAX);
        captures[i].client = client;
        captures[i].dialled = captured != NULL ? *captured : *out;
        capture_count++;
    }
    *out = captures[i].dialled;
    return 0;
}

void tunneld_scene_captured(const struct addr *dialled)
{
    captured = dialled;
}

/* Instead of ev_invoke_pending() alone: counts what there is to do. */
static void count_and_invoke(struct ev_loop *loop)
{
    struct tunneld_scene *t = ev_userdata(loop);
    t->invoked += ev_pending_count(loop);
    ev_invoke_pending(loop);
}

int tunneld_scene_init(struct tunneld_scene *t)
{
    *t = (struct tunneld_scene){.log_fd = memfd_create("log", MFD_CLOEXEC)};
    t->worker.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (t->log_fd < 0 || t->worker.loop == NULL || reap_new(t->worker.loop, &t->worker.reap) != 0) {
        return -1;
    }
    ev_set_userdata(t->worker.loop, t);
    ev_set_invoke_pending_cb(t->worker.loop, count_and_invoke);
    invented_time_reset();
    ev_now_update(t->worker.loop);
    t->acts = acts_new();
    t->logs = acts_new();
    fake_resolver_reset(t->acts);
    fake_connect_reset(t->acts);
    is_worker_done = false;
    captured = NULL;
    capture_count = 0;
    log_init("scene", LOG_DEBUG, LOG_TEXT, t->log_fd);
    tunneld_scene_option(t, "scene");
    tunneld_scene_option(t, "--policy=/dev/null");
    tunneld_scene_option(t, "--listen=127.0.0.1:0");
    return 0;
}

void tunneld_scene_option(struct tunneld_scene *t, const char *text)
{
    REQUIRE(!t->is_started && t->option_count + 1 < SCENE_OPTIONS_MAX);
    t->options[t->option_count] = strdup(text);
    t->option_count++;
}

/* ---- start and end, as tunneld.c has them ---- */

static int read_policy(struct tunneld_scene *t, const char *text, struct policy **out, struct err *err)
{
    const struct policy_text file = {.file = "p.yaml", .text = span_str(text)};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    int rc = policy_load(&file, 1, &rules, &diags);
    if (rc != 0) {
        err_set(err, "%s", diags.count > 0 ? diags.items[0].message : "no memory");
    } else {
        rc = policy_compile(rules, ++t->generation, out);
    }
    policy_diags_fini(&diags);
    return rc == 0 ? 0 : -1;
}

/* Also at exit, which is how a scenario fails. */
static void remove_map(void)
{
    static const char *const suffixes[] = {"", ".use"};
    char path[128];
    for (size_t i = 0; map_dir[0] != '\0' && i < 2; i++) {
        (void)snprintf(path, sizeof(path), "%s/egress.map%s", map_dir, suffixes[i]);
        (void)unlink(path);
    }
    if (map_dir[0] != '\0') {
        (void)rmdir(map_dir);
    }
    map_dir[0] = '\0';
}

static int open_map(struct tunneld_scene *t, struct err *err)
{
    struct settings_shared *shared = &t->daemon.settings.shared;
    struct synth_map_config cfg = {.path = t->map_path, .grace_s = 3600};
    (void)snprintf(map_dir, sizeof(map_dir), "/tmp/replay_session.XXXXXX");
    if (mkdtemp(map_dir) == NULL || atexit(remove_map) != 0) {
        return -1;
    }
    (void)snprintf(t->map_path, sizeof(t->map_path), "%s/egress.map", map_dir);
    int rc = guard_parse_pools(&shared->pool, &cfg.pools, err);
    rc = rc == 0 ? synth_map_open_writer(&cfg, clock_boot_s(), &t->map, err) : rc;
    return rc == 0 ? synth_map_open_reader(t->map_path, &t->daemon.map, err) : rc;
}

static int open_parts(struct tunneld_scene *t, struct err *err)
{
    struct tunneld *d = &t->daemon;
    const struct settings_tunneld *s = &d->settings;
    const struct brakes_config brakes = brakes_config_of(&s->shared);
    struct addr own[4];
    size_t own_count = 0;
    int rc = chain_config_build(s, &d->chain, err);
    d->judge = admit_config(s, &d->chain);
    rc = rc == 0 ? guard_parse_steer(&s->shared, &d->steer, err) : rc;
    rc = rc == 0 ? acl_build(&s->shared.allow_client, false, &d->acl, err) : rc;
    rc = rc == 0 ? listen_bind(&d->listeners, &s->listen, LISTEN_CONNECT, err) : rc;
    rc = rc == 0 ? listen_bind(&d->listeners, &s->transparent, LISTEN_CAPTURE, err) : rc;
    for (size_t i = 0; rc == 0 && i < d->listeners.count && i < 4; i++) {
        bool is_capture = d->listeners.items[i].kind == LISTEN_CAPTURE;
        *(is_capture ? &t->capture_addr : &t->connect_addr) = d->listeners.items[i].addr;
        own[own_count++] = d->listeners.items[i].addr;
    }
    capture_port = t->capture_addr.port;
    rc = rc == 0 ? own_guard_new(&s->shared, own, own_count, &d->guard, err) : rc;
    const struct limits_config limits = {.max_total = s->max_tunnels,
                                         .max_per_client = s->max_tunnels_per_client,
                                         .max_per_rule = s->max_tunnels_per_rule,
                                         .max_heads = s->max_heads_per_client};
    rc = rc == 0 ? limits_new(&limits, &d->limits) : rc;
    rc = rc == 0 ? brakes_new(&brakes, &d->brakes) : rc;
    return rc == 0 && t->capture_addr.port != 0 ? open_map(t, err) : rc;
}

int tunneld_scene_start(struct tunneld_scene *t, const char *policy, struct err *err)
{
    struct tunneld *d = &t->daemon;
    const struct settings_source source = {
        .table = settings_tunneld_table, .argc = t->option_count, .argv = t->options, .env_prefix = "SCENE"};
    t->is_started = true;
    d->worker_count = d->listeners.worker_count = 1;
    (void)snprintf(d->via, sizeof(d->via), "openshell-tunneld-scene");
    (void)pthread_mutex_init(&d->listen_lock, NULL);
    chain_auth_init(&d->chain_auth);
    if (settings_read(&source, &d->settings, &t->arena, NULL, err) != 0 || open_parts(t, err) != 0 ||
        read_policy(t, policy, &t->worker.policy, err) != 0) {
        return -1;
    }
    t->worker.ctx = d;
    return tunneld_worker_start(&t->worker, err) == 0 ? 0 : -1;
}

/* What the worker's mailbox does with a new policy. */
int tunneld_scene_reload(struct tunneld_scene *t, const char *policy, struct err *err)
{
    struct policy *previous = t->worker.policy;
    struct policy *next = NULL;
    if (read_policy(t, policy, &next, err) != 0) {
        return -1;
    }
    t->worker.policy = next;
    tunneld_worker_policy(&t->worker, previous);
    policy_unref(previous);
    return 0;
}

void tunneld_scene_drain(struct tunneld_scene *t)
{
    tunneld_worker_drain(&t->worker);
}

static void close_daemon(struct tunneld *d)
{
    listen_fini(&d->listeners);
    if (d->map != NULL) {
        synth_map_close(d->map);
    }
    limits_free(d->limits);
    brakes_free(d->brakes);
    acl_fini(&d->acl);
    own_guard_unref(d->guard);
    (void)pthread_mutex_destroy(&d->listen_lock);
    chain_config_fini(&d->chain);
    chain_auth_fini(&d->chain_auth);
}

void tunneld_scene_fini(struct tunneld_scene *t)
{
    if (t->is_started) {
        tunneld_worker_stop(&t->worker);
        close_daemon(&t->daemon);
    }
    if (t->map != NULL) {
        synth_map_close(t->map);
    }
    remove_map();
    fake_connect_reset(NULL);
    reap_free(t->worker.reap);
    policy_unref(t->worker.policy);
    ev_loop_destroy(t->worker.loop);
    settings_free(t->arena);
    for (int i = 0; i < t->option_count; i++) {
        free(t->options[i]);
    }
    (void)close(t->log_fd);
    acts_free(t->acts);
    acts_free(t->logs);
}

int tunneld_scene_map(struct tunneld_scene *t, const struct host_name *name, uint32_t ttl_s, struct ip *out)
{
    const struct synth_request r = {.name = name, .ttl_s = ttl_s, .now_boot_s = clock_boot_s()};
    struct ip v6;
    return synth_map_assign(t->map, &r, out, &v6);
}

/* ---- time and the loop ---- */

static void read_logs(struct tunneld_scene *t)
{
    char text[ACT_CAP];
    ssize_t got;
    while ((got = pread(t->log_fd, text, sizeof(text) - 1, (off_t)t->log_len)) > 0) {
        text[got] = '\0';
        char *end = strchr(text, '\n');
        if (end == NULL) {
            return;
        }
        *end = '\0';
        t->log_len += (size_t)(end - text) + 1;
        const char *event = text;
        for (int i = 0; i < 3 && event != NULL; i++) { /* time, level, program */
            event = strchr(event, ' ');
            event = event == NULL ? NULL : event + strspn(event, " ");
        }
        acts_add(t->logs, "%s", event == NULL ? text : event);
    }
}

bool tunneld_scene_settle(struct tunneld_scene *t)
{
    struct ev_loop *loop = t->worker.loop;
    int quiet = 0;
    for (int turns = 0; turns < TURNS_MAX && quiet < 2; turns++) {
        t->invoked = 0;
        invented_time_tick();
        (void)ev_run(loop, EVRUN_NOWAIT);
        quiet = t->invoked == 0 ? quiet + 1 : 0;
        fake_connect_look();
    }
    read_logs(t);
    t->is_drained = is_worker_done;
    return quiet > 0;
}

bool tunneld_scene_pass(struct tunneld_scene *t, int64_t ms)
{
    const int64_t step_ms = ms < STEPS ? 1 : ms / STEPS;
    for (int64_t left_ms = ms; left_ms > 0; left_ms -= step_ms) {
        invented_time_pass(left_ms < step_ms ? left_ms : step_ms);
        if (!tunneld_scene_settle(t)) {
            return false;
        }
    }
    return true;
}

struct tunneld_worker *tunneld_scene_worker(const struct tunneld_scene *t)
{
    return t->worker.data;
}

const char *tunneld_scene_state(const struct tunneld_scene *t, const struct addr *client)
{
    static const char *const names[] = {[SESSION_CLOSED] = "CLOSED",
                                        [SESSION_READ_HEAD] = "READ_HEAD",
                                        [SESSION_CAPTURED] = "CAPTURED",
                                        [SESSION_DECIDE_NAME] = "DECIDE_NAME",
                                        [SESSION_RESOLVE] = "RESOLVE",
                                        [SESSION_DECIDE_ADDR] = "DECIDE_ADDR",
                                        [SESSION_DIAL] = "DIAL",
                                        [SESSION_CHAIN] = "CHAIN",
                                        [SESSION_REPLY_200] = "REPLY_200",
                                        [SESSION_RELAY] = "RELAY",
                                        [SESSION_HALF_CLOSED] = "HALF_CLOSED",
                                        [SESSION_FORWARD] = "FORWARD",
                                        [SESSION_LINGER] = "LINGER",
                                        [SESSION_PEEK_SNI] = "PEEK_SNI",
                                        [SESSION_REFUSED] = "REFUSED",
                                        [SESSION_STEER] = "STEER"};
    for (struct session *s = tunneld_scene_worker(t)->sessions; s != NULL; s = session_next(s)) {
        if (addr_is_equal(&s->client, client) && (size_t)s->state < sizeof(names) / sizeof(names[0])) {
            return names[s->state] != NULL ? names[s->state] : "another";
        }
    }
    return "CLOSED";
}

size_t tunneld_scene_kept(const struct tunneld_scene *t, const struct addr *client)
{
    for (struct session *s = tunneld_scene_worker(t)->sessions; s != NULL; s = session_next(s)) {
        if (addr_is_equal(&s->client, client)) {
            return s->early.len;
        }
    }
    return 0;
}
