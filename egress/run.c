/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"

#include "egress/launcher.h"
#include "egress/policy_open.h"
#include "egress/printed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const default_pools[] = {"198.18.0.0/15", "fd00:5e11::/64"};

static void run_usage(FILE *out)
{
    (void)fprintf(
        out,
        "usage: openshell-egress run [OPTION]... -- COMMAND [ARGUMENT]...\n"
        "Runs COMMAND inside a network fence: what the policy admits works, natively and through CONNECT;\n"
        "nothing else leaves.\n\n"
        "  --policy FILE|DIR   the policy (repeatable; default /etc/openshell/policy.yaml)\n"
        "  --upstream ADDR[:PORT]|tls://ADDR[:PORT]#NAME\n"
        "                      nameserver to ask (repeatable; default: those of /etc/resolv.conf)\n"
        "  --log FILE          append both daemons' logs to FILE (default: a private file, removed at the "
        "end)\n"
        "  --proxy-env on|off  set HTTPS_PROXY and its kin for COMMAND (default on)\n"
        "  --summary           at the end: names resolved, endpoints reached, what was denied, and rules for "
        "it\n"
        "  --env NAME=VALUE    set a variable for COMMAND (repeatable)\n"
        "  --keep NAME|PATH    leave COMMAND a variable that is taken away (DISPLAY, SSH_AUTH_SOCK, "
        "DBUS_..., and "
        "the\n"
        "                      socket it names), or a path in /run (repeatable)\n"
        "  --keep-fd N         leave COMMAND a descriptor (repeatable)\n"
        "  --as USER           as root: whom COMMAND runs as (default: who called sudo)\n"
        "  --capture auto|redirect|anyip\n"
        "                      how native connections are carried: by nf_tables, which knows no ports, or by "
        "one\n"
        "                      listener for each port that the policy names (default auto)\n"
        "  --degraded          go on where a pid namespace or an overlay on /etc is refused\n"
        "  --help              this text\n"
        "  and any option of openshell-dnsd(8) and openshell-tunneld(8) that run does not set itself.\n\n"
        "Exit status: COMMAND's, 128+N if signal N ended it, 127 not found, 126 not executable;\n"
        "before COMMAND started: 64 usage, 71 operating system, 78 policy.\n");
}

static bool has_option(const struct arg_list *args, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < args->count; i++) {
        if (strncmp(args->items[i], name, len) == 0 &&
            (args->items[i][len] == '\0' || args->items[i][len] == '=')) {
            return true;
        }
    }
    return false;
}

/* What run adds for both daemons: the policy, the pools, the private map; one worker serves one command well.
 */
static int add_common(struct run_options *o, struct arg_list *args, const struct private_dir *dir)
{
    int rc = arg_list_add(args, "--map");
    rc = rc == 0 ? arg_list_add(args, dir->map) : rc;
    rc = rc == 0 && !has_option(args, "--workers") ? arg_list_add(args, "--workers=1") : rc;
    for (size_t i = 0; rc == 0 && i < o->policies.count; i++) {
        rc = arg_list_add(args, "--policy");
        rc = rc == 0 ? arg_list_add(args, o->policies.items[i]) : rc;
    }
    for (size_t i = 0; rc == 0 && i < o->pools.count; i++) {
        rc = arg_list_add(args, "--pool");
        rc = rc == 0 ? arg_list_add(args, o->pools.items[i]) : rc;
    }
    return rc;
}

static int add_arguments(struct run_options *o, const struct private_dir *dir)
{
    int rc = add_common(o, &o->daemons.dnsd, dir);
    rc = rc == 0 ? add_common(o, &o->daemons.tunneld, dir) : rc;
    return rc == 0 ? arg_list_add(&o->daemons.dnsd, "--answer=synthetic") : rc;
}

static int parse_pools(struct run_options *o, struct synth_pools *out, struct err *err)
{
    int rc = 0;
    bool is_default = o->pools.count == 0;
    for (size_t i = 0; is_default && rc == 0 && i < sizeof default_pools / sizeof default_pools[0]; i++) {
        rc = arg_list_add(&o->pools, default_pools[i]);
    }
    if (rc != 0) {
        return rc;
    }
    const struct str_list list = {.items = o->pools.items, .count = o->pools.count};
    return guard_parse_pools(&list, out, err);
}

/* Whom the command runs as. The exit status, or 0. */
static int find_user(const struct run_options *o, struct run_user *user)
{
    struct err err = {""};
    int rc = run_user_find(o->as, getenv("SUDO_UID"), getenv("SUDO_GID"), user, &err);
    if (rc != 0) {
        (void)fprintf(stderr, "openshell-egress run: %s\n", err.text);
        return rc == -EINVAL || rc == -EPERM ? EXIT_STATUS_USAGE : EXIT_STATUS_OS;
    }
    if (run_user_is_root() && (!user->is_other || user->uid == 0)) {
        (void)fprintf(stderr,
                      "openshell-egress: warning: the command runs as root: the fence then stops mistakes, "
                      "not attacks; run it as an ordinary user (--as USER)\n");
    }
    return 0;
}

static int run_fenced(struct run_options *o, const struct synth_pools *pools)
{
    struct err err = {""};
    struct run_user user;
    struct private_dir dir;
    int status = find_user(o, &user);
    if (status != 0) {
        return status;
    }
    if (private_dir_new(&dir, &err) != 0) {
        (void)fprintf(stderr, "openshell-egress: %s\n", err.text);
        return EXIT_STATUS_OS;
    }
    status = EXIT_STATUS_OS;
    if (add_arguments(o, &dir) == 0) {
        const struct fence_config fence = {.pools = *pools,
                                           .capture = o->capture,
                                           .private_dir = dir.path,
                                           .etc_dir = dir.etc,
                                           .degraded = o->degraded,
                                           .user = user.is_other ? &user : NULL,
                                           .environment = {.no_proxy = o->no_proxy_env,
                                                           .set = o->env.items,
                                                           .set_count = o->env.count,
                                                           .keep = o->keep.items,
                                                           .keep_count = o->keep.count},
                                           .keep_fds = o->keep_fds,
                                           .keep_fd_count = o->keep_fd_count,
                                           .cmd = o->cmd};
        status = launcher_run(o, &fence, &dir);
    }
    private_dir_remove(&dir);
    return status;
}

/* Before anything is set up; the daemons open it again, each for itself. */
static bool can_log(const char *path)
{
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 && path != NULL) {
        struct err err;
        err_set(&err, "--log: %s: %s", path, strerror(errno));
        (void)fprintf(stderr, "openshell-egress run: %s\n", err.text);
        return false;
    }
    return fd < 0 || close(fd) == 0;
}

int command_run(int argc, char **argv)
{
    struct run_options o;
    struct err err = {""};
    struct synth_pools pools = {0};
    struct policy *policy = NULL;
    if (run_options_parse(argc, argv, &o, &err) != 0) {
        (void)fprintf(stderr, "openshell-egress run: %s\n(openshell-egress run --help lists the options)\n",
                      err.text);
        return EXIT_STATUS_USAGE;
    }
    int status = 0;
    if (o.help) {
        run_usage(stdout);
        status = printed("openshell-egress run", 0, EXIT_STATUS_OS);
        goto out;
    }
    if (parse_pools(&o, &pools, &err) != 0) {
        (void)fprintf(stderr, "openshell-egress run: %s\n", err.text);
        status = EXIT_STATUS_USAGE;
        goto out;
    }
    status = policy_open(&o.policies, &policy); /* its problems are shown before anything is set up */
    if (status == 0 && !can_log(o.log)) {
        status = EXIT_STATUS_OS;
    }
    if (status == 0) {
        status = run_fenced(&o, &pools);
    }
out:
    policy_unref(policy);
    run_options_fini(&o);
    return status;
}
