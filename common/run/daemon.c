/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/daemon.h"

#include "common/base/num.h"
#include "common/net/sock.h"
#include "common/policy/policy_files.h"
#include "common/run/daemon_admin.h"
#include "common/run/daemon_reload.h"
#include "common/run/exit_status.h"
#include "common/run/loop_memory.h"
#include "common/run/notify.h"
#include "common/run/policy_pools.h"
#include "common/run/policy_report.h"
#include "common/run/privs.h"
#include "common/run/std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define WORKERS_MAX 256
#define DESCRIPTORS_AHEAD 65536 /* half a megabyte of the kernel's memory */
/* What a step returns if the next one is to follow; otherwise the exit status. */
#define GO_ON (-1)

struct start {
    const struct daemon_spec *spec;
    struct settings_source source;
    struct settings_arena *arena;
    struct policy_store *store;
    struct daemon_loop loop;
    struct daemon_admin admin;
    struct worker_pool *pool;
    unsigned worker_count;
    bool is_open;
    bool is_logging; /* the options are read: what ends the start is an event where the log is for programs */
};

static bool is_told_as_json(const struct start *s)
{
    return s->is_logging && s->spec->shared->log_format == LOG_JSON;
}

static int fail(const struct start *s, int status, const struct err *err)
{
    if (is_told_as_json(s)) {
        log_event(LOG_ERROR, "start_failed",
                  LOG_KV(kv_str("why", err->text), kv_u64("status", (uint64_t)status)));
        return status;
    }
    fprintf(stderr, "%s: %s\n", s->spec->program, err->text);
    if (status == EXIT_STATUS_USAGE) {
        fprintf(stderr, "Try '%s --help'.\n", s->spec->program);
    }
    return status;
}

/* -EINVAL is what somebody wrote, the rest is what the system refused. */
static int fail_with(const struct start *s, int rc, const struct err *err)
{
    return fail(s, rc == -EINVAL ? EXIT_STATUS_CONFIG : EXIT_STATUS_OS, err);
}

static int printed(const struct start *s)
{
    struct err err = {""};
    return std_fds_flush(&err) == 0 ? EXIT_STATUS_OK : fail(s, EXIT_STATUS_OS, &err);
}

/* ---- settings ---- */

static int read_settings(struct start *s)
{
    const struct daemon_spec *spec = s->spec;
    struct err err = {""};
    int rc = settings_read(&s->source, spec->settings, &s->arena, NULL, &err);
    if (rc == -ENOMEM) {
        return fail(s, EXIT_STATUS_OS, &err);
    }
    if (spec->shared->help) { /* also before a mistake further right */
        settings_help(spec->table, spec->program, spec->summary);
        return printed(s);
    }
    if (spec->shared->version) {
        printf("%s %s\n%s\n", spec->program, PACKAGE_VERSION, BUILD_SUMMARY);
        return printed(s);
    }
    if (rc < 0) {
        return fail(s, EXIT_STATUS_USAGE, &err);
    }
    if (spec->shared->dump_config) {
        settings_dump(&s->source, spec->settings, s->arena);
        return spec->shared->check ? GO_ON : printed(s);
    }
    return GO_ON;
}

/* What is wrong is told, and in *err. */
static int check_settings(const struct start *s, struct err *err)
{
    if (s->spec->check_settings != NULL && s->spec->check_settings(s->spec->ctx, err) < 0) {
        return fail(s, EXIT_STATUS_USAGE, err);
    }
    if (admin_socket_check(s->spec->shared->admin, err) < 0) {
        return fail(s, EXIT_STATUS_USAGE, err);
    }
    if (!s->spec->shared->check && notify_ready_fd_check(s->spec->shared->ready_fd) < 0) {
        err_set(err, "--ready-fd: %u is not an open descriptor", (unsigned)s->spec->shared->ready_fd);
        return fail(s, EXIT_STATUS_USAGE, err);
    }
    return GO_ON;
}

/* ---- policy ---- */

int daemon_check_policy(const struct daemon_spec *spec, const struct policy *p, struct err *err)
{
    int rc = policy_pools_check(&spec->shared->pool, policy_rules_of(p), err);
    return rc == 0 && spec->check_policy != NULL ? spec->check_policy(spec->ctx, p, err) : rc;
}

/* Reads the policy, or reads it again; what was found goes to standard error. */
static int load_policy(struct start *s)
{
    struct policy_diags diags = {0};
    struct err err = {""};
    bool changed = false;
    int status = GO_ON;
    int rc = policy_store_reload(s->store, &diags, &changed);
    struct policy *current = policy_store_current(s->store);
    if (rc < 0 && !is_told_as_json(s)) {
        policy_report_print(&diags);
    } else {
        policy_report_log(&diags, DIAG_ERROR);
        policy_report_log(&diags, DIAG_WARNING);
    }
    if (rc < 0) {
        err_set(&err, "no usable policy (%zu errors)", diags.error_count);
        status = fail(s, rc == -ENOMEM ? EXIT_STATUS_OS : EXIT_STATUS_CONFIG, &err);
    } else if (daemon_check_policy(s->spec, current, &err) < 0) {
        status = fail(s, EXIT_STATUS_CONFIG, &err);
    }
    policy_diags_fini(&diags);
    return status;
}

static int load_first_policy(struct start *s)
{
    const struct str_list *paths = &s->spec->shared->policy;
    if (policy_store_new(paths->items, paths->count, &s->store) < 0) {
        return fail(s, EXIT_STATUS_OS, &(const struct err){"out of memory"});
    }
    return load_policy(s);
}

static void count_policy(const struct policy *p, uint64_t *rule_count, uint64_t *endpoint_count)
{
    const struct policy_rules *rules = policy_rules_of(p);
    *rule_count = rules->rule_count;
    *endpoint_count = 0;
    for (size_t i = 0; i < rules->rule_count; i++) {
        *endpoint_count += rules->rules[i].endpoint_count;
    }
}

/* told: what was wrong with the settings; a --pool that is none is in the way of the policy too. */
static int judge_checked(const struct start *s, const struct policy_check *c, int rc, const struct err *told)
{
    struct err err = {""};
    if (rc < 0) {
        err_set(&err, "no usable policy (%zu errors)", c->diags.error_count);
        return fail(s, rc == -ENOMEM ? EXIT_STATUS_OS : EXIT_STATUS_CONFIG, &err);
    }
    if (daemon_check_policy(s->spec, c->policy, &err) < 0) {
        const bool is_told = strcmp(err.text, told->text) == 0;
        return is_told ? EXIT_STATUS_CONFIG : fail(s, EXIT_STATUS_CONFIG, &err);
    }
    return GO_ON;
}

/* --check: what a start finds behind the settings and before the sockets. */
static int check_start(const struct start *s)
{
    struct err err = {""};
    uid_t unused;
    int rc = privs_uid(s->spec->shared->user, &unused, &err);
    if (rc == 0 && s->spec->check_open != NULL) {
        rc = s->spec->check_open(s->spec->ctx, &err);
    }
    return rc < 0 ? fail_with(s, rc, &err) : GO_ON;
}

/* --check: looks at everything even if something is wrong already; the first fault decides the status. */
static int check_only(struct start *s)
{
    const struct str_list *paths = &s->spec->shared->policy;
    struct policy_check c;
    struct err told = {""};
    int settings_status = check_settings(s, &told);
    if (settings_status == GO_ON) {
        settings_status = check_start(s);
    }
    int rc = policy_check_files(paths->items, paths->count, false, &c);
    policy_report_print(&c.diags);
    int status = judge_checked(s, &c, rc, &told);
    status = settings_status != GO_ON ? settings_status : status;
    if (status == GO_ON) {
        uint64_t rules = 0, endpoints = 0;
        count_policy(c.policy, &rules, &endpoints);
        printf("%s: settings and policy are good: %ju rules, %ju endpoints\n", s->spec->program,
               (uintmax_t)rules, (uintmax_t)endpoints);
        status = printed(s);
    }
    policy_check_fini(&c);
    return status;
}

/* ---- process ---- */

/* OPENSHELL_CONTROL_FD: *fd is -1 if it is not set. */
static int take_control_fd(int *fd, struct err *err)
{
    static const char name[] = "OPENSHELL_CONTROL_FD";
    const char *text = getenv(name);
    uint64_t n = 0;
    *fd = -1;
    if (text == NULL) {
        return 0;
    }
    int rc = num_u64(span_str(text), 3, INT32_MAX, &n) < 0 ? -EINVAL : sock_adopt((int)n);
    if (rc < 0) {
        err_set(err, "%s: \"%.80s\" is not an open descriptor from 3 on", name, text);
        return -EINVAL;
    }
    (void)unsetenv(name);
    *fd = (int)n;
    return 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            log_event(LOG_WARN, "descriptor_limit", LOG_KV(kv_str("why", strerror(errno))));
        }
    }
}

/*
 * The table of descriptors grows by doubling, and a process that has threads waits each time until every
 * processor has been through the kernel's scheduler: 6 to 30 ms on a machine that is idle, much longer on one
 * that is not, and meanwhile a worker and all its tunnels stand still. So it grows now, while nobody waits.
 */
static void grow_descriptor_table(void)
{
    struct rlimit limit = {.rlim_cur = 0};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    const int last = limit.rlim_cur < DESCRIPTORS_AHEAD ? (int)limit.rlim_cur - 1 : DESCRIPTORS_AHEAD - 1;
    const int any = eventfd(0, EFD_CLOEXEC);
    const int fd =
        any < 0 ? -1 : fcntl(any, F_DUPFD_CLOEXEC, last); /* if it fails, it grows when it has to */
    if (fd >= 0) {
        (void)close(fd);
    }
    if (any >= 0) {
        (void)close(any);
    }
}

static unsigned usable_cpus(void)
{
    cpu_set_t set;
    int count =
        sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1; /* fails beyond 1024 CPUs */
    return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (unsigned)count;
}

static int prepare_process(struct start *s)
{
    struct err err = {""};
    int control_fd = -1;
    if (take_control_fd(&control_fd, &err) < 0) {
        return fail(s, EXIT_STATUS_USAGE, &err);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    grow_descriptor_table();
    s->worker_count = s->spec->shared->workers != 0 ? s->spec->shared->workers : usable_cpus();
    return daemon_loop_init(&s->loop, s->spec, control_fd, &err) < 0 ? fail(s, EXIT_STATUS_OS, &err) : GO_ON;
}

static void log_start(const struct start *s)
{
    const struct policy *p = policy_store_current(s->store);
    uint64_t rules = 0, endpoints = 0;
    count_policy(p, &rules, &endpoints);
    log_event(LOG_INFO, "start",
              LOG_KV(kv_str("version", PACKAGE_VERSION), kv_u64("workers", s->worker_count),
                     kv_u64("generation", policy_generation(p)), kv_u64("rules", rules),
                     kv_u64("endpoints", endpoints)));
}

/* A descriptor that is given for two things would be written to, or closed, while it is listened on. */
static int check_passed(const struct start *s, const struct listen_fds *passed, struct err *err)
{
    const int64_t ready_fd = s->spec->shared->ready_fd, control_fd = s->loop.control_fd;
    for (size_t i = 0; i < passed->count; i++) {
        if (passed->fds[i] == ready_fd || passed->fds[i] == control_fd) {
            err_set(err, "%s: %d is a socket passed by LISTEN_FDS",
                    passed->fds[i] == ready_fd ? "--ready-fd" : "OPENSHELL_CONTROL_FD", passed->fds[i]);
            return -EINVAL;
        }
    }
    if (ready_fd == control_fd) {
        err_set(err, "--ready-fd: %d is OPENSHELL_CONTROL_FD", s->loop.control_fd);
        return -EINVAL;
    }
    return 0;
}

static int open_everything(struct start *s)
{
    struct listen_fds passed;
    struct err err = {""};
    int rc = listen_fds_take(&passed, &err);
    if (rc < 0) {
        return fail_with(s, rc, &err);
    }
    if (check_passed(s, &passed, &err) < 0) {
        listen_fds_fini(&passed);
        return fail(s, EXIT_STATUS_USAGE, &err);
    }
    rc = daemon_admin_open(&s->admin, s->spec, &passed, &err);
    if (rc == 0) {
        s->is_open = true;
        rc = s->spec->open(s->spec->ctx, &passed, s->worker_count, daemon_admin_addr(&s->admin), &err);
    }
    listen_fds_fini(&passed);
    if (rc == 0 && s->spec->open_policy != NULL) {
        rc = s->spec->open_policy(s->spec->ctx, policy_store_current(s->store), &err);
    }
    if (rc == 0) {
        rc = daemon_loop_init_upstreams(&s->loop, &err);
    }
    return rc < 0 ? fail_with(s, rc, &err) : GO_ON;
}

static int drop_privileges(struct start *s)
{
    struct err err = {""};
    int rc = privs_drop(s->spec->shared->user, s->spec->keep_caps == NULL ? 0 : *s->spec->keep_caps, &err);
    if (rc < 0) {
        return fail_with(s, rc, &err);
    }
    /* A policy that cannot be read any more would be found out only at the first reload: read it once as what
     * we are now. Watched first, so that no change falls between. */
    daemon_reload_watch(&s->loop);
    return load_policy(s);
}

static int start_workers(struct start *s)
{
    struct err err = {""};
    daemon_reload_start(&s->loop, policy_store_current(s->store));
    if (s->spec->follow_policy != NULL) { /* it may have changed since open_policy */
        (void)s->spec->follow_policy(s->spec->ctx, s->loop.published);
    }
    const struct worker_pool_config cfg = {.spec = s->spec,
                                           .count = s->worker_count,
                                           .policy = s->loop.published,
                                           .main_loop = s->loop.ev,
                                           .on_progress = daemon_loop_on_progress,
                                           .ctx = &s->loop};
    if (worker_pool_new(&cfg, &s->pool, &err) < 0 || worker_pool_run(s->pool, &err) < 0) {
        return fail(s, EXIT_STATUS_OS, &err);
    }
    s->loop.store = s->store;
    s->loop.pool = s->pool;
    if (daemon_admin_start(&s->admin, &s->loop, s->worker_count, &err) < 0) {
        return fail(s, EXIT_STATUS_OS, &err);
    }
    return GO_ON;
}

static int serve(struct start *s)
{
    log_event(LOG_INFO, "ready", NULL);
    notify_ready_fd(s->spec->shared->ready_fd);
    notify_service_manager("READY=1");
    daemon_loop_run(&s->loop);
    bool drained = s->loop.is_drained;
    daemon_admin_stop(&s->admin);
    worker_pool_free(s->pool);
    s->pool = NULL;
    log_event(LOG_INFO, "stopped", LOG_KV(kv_bool("drained", drained)));
    return EXIT_STATUS_OK;
}

static int run(struct start *s)
{
    int status = read_settings(s);
    if (status == GO_ON && s->spec->shared->check) {
        return check_only(s);
    }
    static int (*const steps[])(struct start *) = {prepare_process, load_first_policy, open_everything,
                                                   drop_privileges, start_workers,     serve};
    if (status == GO_ON) {
        log_init(s->spec->program, (enum log_level)s->spec->shared->log_level,
                 (enum log_format)s->spec->shared->log_format, STDERR_FILENO);
        s->is_logging = true;
        struct err told = {""};
        status = check_settings(s, &told);
    }
    for (size_t i = 0; status == GO_ON && i < sizeof(steps) / sizeof(steps[0]); i++) {
        status = steps[i](s);
        if (steps[i] == load_first_policy && status == GO_ON) {
            log_start(s);
        }
    }
    return status;
}

/* libev cannot go on. For want of descriptors at the start that is no bug of anybody's. */
static void on_loop_error(const char *message)
{
    const bool is_limit = errno == EMFILE || errno == ENFILE;
    fprintf(stderr, "%s: %s%s%s\n", message, strerror(errno), is_limit ? ": " : "",
            is_limit ? SOCK_EMFILE_HINT : "");
    if (!is_limit) {
        abort();
    }
    _exit(EXIT_STATUS_OS);
}

int daemon_main(const struct daemon_spec *spec, int argc, char **argv)
{
    struct start s = {
        .spec = spec,
        .source = {.table = spec->table, .env_prefix = spec->env_prefix, .argc = argc, .argv = argv},
        .loop = {.control_fd = -1},
    };
    if (!std_fds_open()) {
        return EXIT_STATUS_OS;
    }
    loop_memory_init(realloc);
    ev_set_syserr_cb(on_loop_error);
    int status = run(&s);
    daemon_admin_stop(&s.admin);
    worker_pool_free(s.pool);
    if (s.is_open) {
        spec->close(spec->ctx);
    }
    daemon_loop_fini(&s.loop);
    policy_store_free(s.store);
    settings_free(s.arena);
    return status;
}
