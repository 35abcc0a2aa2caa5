/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/capture_plan.h"
#include "egress/commands.h"
#include "egress/policy_open.h"
#include "egress/printed.h"

#include "common/base/num.h"
#include "common/run/exit_status.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_TO_PORT 15001
#define WORDS_MAX 16

struct options {
    struct capture_config cfg;
    struct arg_list policies, pools, interfaces;
    uint16_t *ports;
    size_t port_count;
    bool is_up, is_dry_run, is_help;
};

static void usage(FILE *out)
{
    (void)fprintf(
        out,
        "usage: openshell-egress capture up|down --mode anyip|redirect|tproxy [OPTION]...\n"
        "Makes connections to synthetic addresses arrive at openshell-tunneld, or takes that away again, "
        "with\n"
        "ip(8) and nft(8). Twice is as good as once. Needs CAP_NET_ADMIN in this network namespace.\n\n"
        "  --mode anyip      the addresses are this namespace's own; tunneld has a listener for each port\n"
        "  --mode redirect   nft sends every port to one listener of tunneld\n"
        "  --mode tproxy     likewise without conntrack; tunneld needs CAP_NET_RAW at its start\n"
        "  --pool PREFIX     the daemons' --pool (repeatable; default 198.18.0.0/15 and fd00:5e11::/64)\n"
        "  --policy FILE|DIR anyip: the ports that it names are served, no others (repeatable)\n"
        "  --port N          anyip: another port that is served (repeatable)\n"
        "  --to PORT         redirect, tproxy: tunneld's --transparent port (default 15001)\n"
        "  --interface NAME  redirect, tproxy: the programs' packets come in here (repeatable; redirect "
        "without\n"
        "                    it: they run in this namespace)\n"
        "  --anyip-exposed   anyip: let everything that listens here be reached at the pool's addresses\n"
        "  --dry-run         print the commands, run none\n"
        "Exit status: 0 done, 64 usage, 71 a command failed, 78 policy.\n");
}

static int bad(struct err *err, const char *option, const char *what)
{
    err_set(err, "--%s: %s", option, what);
    return -EINVAL;
}

static int take_mode(struct options *o, const char *value, struct err *err)
{
    static const char *const names[] = {
        [CAPTURE_ANYIP] = "anyip", [CAPTURE_REDIRECT] = "redirect", [CAPTURE_TPROXY] = "tproxy"};
    for (size_t i = CAPTURE_ANYIP; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(value, names[i]) == 0) {
            o->cfg.mode = (enum capture_mode)i;
            return 0;
        }
    }
    err_set(err, "--mode: '%.40s' is none of anyip, redirect and tproxy", value);
    return -EINVAL;
}

static int add_port(struct options *o, uint16_t port)
{
    uint16_t *ports = reallocarray(o->ports, o->port_count + 1, sizeof(*ports));
    if (ports == NULL) {
        return -ENOMEM;
    }
    o->ports = ports;
    o->ports[o->port_count] = port;
    o->port_count++;
    return 0;
}

/* As the kernel has names of interfaces, without what means something to nft. */
static bool is_interface(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";
    const size_t len = strlen(name);
    return len > 0 && len < 16 && strspn(name, good) == len;
}

/* An option with a value. 1 if it is one, 0 if not, -errno. */
static int take_option(struct options *o, struct cli_option *opt, struct cli *c, struct err *err)
{
    static const char *const names[] = {"mode", "pool", "policy", "port", "to", "interface"};
    size_t which = 0;
    while (which < sizeof names / sizeof names[0] && !cli_is_named(opt, names[which])) {
        which++;
    }
    if (which == sizeof names / sizeof names[0]) {
        return 0;
    }
    const bool is_once = which == 0 || which == 4;
    int rc = is_once ? cli_take_once(opt, c, err) : cli_take_value(opt, c, err);
    uint16_t port = 0;
    if (rc != 0) {
        return rc;
    }
    if (which == 0) {
        rc = take_mode(o, opt->value, err);
    } else if (which == 1) {
        rc = arg_list_add(&o->pools, opt->value);
    } else if (which == 2) {
        rc = arg_list_add(&o->policies, opt->value);
    } else if (which == 5) {
        rc = is_interface(opt->value) ? arg_list_add(&o->interfaces, opt->value)
                                      : bad(err, names[which], "not the name of an interface, as eth0");
    } else if (num_port(span_str(opt->value), &port) != 0) {
        rc = bad(err, names[which], "a port is a number from 1 to 65535");
    } else if (which == 3) {
        rc = add_port(o, port);
    } else {
        o->cfg.to_port = port;
    }
    return rc == 0 ? 1 : rc;
}

static int take_one(struct options *o, struct cli *c, struct err *err)
{
    struct cli_option opt = cli_option_at(c);
    bool *flag = cli_is_named(&opt, "dry-run")         ? &o->is_dry_run
                 : cli_is_named(&opt, "anyip-exposed") ? &o->cfg.is_exposed
                 : cli_is_named(&opt, "help")          ? &o->is_help
                                                       : NULL;
    if (flag != NULL) {
        *flag = true;
        return cli_no_value(&opt, err);
    }
    int rc = take_option(o, &opt, c, err);
    if (rc == 0) {
        err_set(err, "%s: no such option", c->argv[c->at]);
        return -EINVAL;
    }
    return rc < 0 ? rc : 0;
}

static int check_options(struct options *o, struct err *err)
{
    const bool has_ports = o->port_count > 0 || o->policies.count > 0;
    switch (o->cfg.mode) {
    case CAPTURE_NONE:
        return bad(err, "mode", "is missing: anyip, redirect or tproxy");
    case CAPTURE_ANYIP:
        if (o->cfg.to_port != 0 || o->interfaces.count > 0) {
            return bad(err, "mode", "anyip has neither --to nor --interface");
        }
        if (o->is_up && !has_ports && !o->cfg.is_exposed) {
            return bad(err, "mode",
                       "anyip needs the ports that openshell-tunneld serves: --policy FILE or --port N; with "
                       "--anyip-exposed every service of this host can be reached at the pool's addresses");
        }
        break;
    case CAPTURE_REDIRECT:
    case CAPTURE_TPROXY:
        if (has_ports || o->cfg.is_exposed) {
            return bad(err, "mode", "only anyip has --policy, --port and --anyip-exposed");
        }
        if (o->is_up && o->cfg.mode == CAPTURE_TPROXY && o->interfaces.count == 0) {
            return bad(err, "mode",
                       "tproxy needs --interface: it takes what comes in from another namespace");
        }
        o->cfg.to_port = o->cfg.to_port == 0 ? DEFAULT_TO_PORT : o->cfg.to_port;
        break;
    }
    return 0;
}

/* lo can hold no route of IPv6, as in most containers. */
static bool is_ipv6_off(void)
{
    char digit = '1';
    int fd = open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        digit = read(fd, &digit, 1) == 1 ? digit : '1';
        (void)close(fd);
    }
    return digit != '0';
}

static int add_default_pools(struct options *o)
{
    const bool needs_lo = o->cfg.mode != CAPTURE_REDIRECT || o->interfaces.count == 0;
    int rc = arg_list_add(&o->pools, "198.18.0.0/15");
    if (rc == 0 && o->is_up && needs_lo && is_ipv6_off()) {
        (void)fprintf(
            stderr, "openshell-egress capture: IPv6 is off on lo (disable_ipv6): nothing is set up for it\n");
        return 0;
    }
    return rc == 0 ? arg_list_add(&o->pools, "fd00:5e11::/64") : rc;
}

static int parse(int argc, char **argv, struct options *o, struct err *err)
{
    *o = (struct options){0};
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        o->is_help = true;
        return 0;
    }
    if (argc < 2 || (strcmp(argv[1], "up") != 0 && strcmp(argv[1], "down") != 0)) {
        err_set(err, "say up or down");
        return -EINVAL;
    }
    o->is_up = strcmp(argv[1], "up") == 0;
    struct cli c = {.argc = argc, .argv = argv, .at = 2};
    int rc = 0;
    for (; rc == 0 && c.at < argc; c.at++) {
        if (strncmp(argv[c.at], "--", 2) != 0) {
            err_set(err, "%s: not an option", argv[c.at]);
            return -EINVAL;
        }
        rc = take_one(o, &c, err);
    }
    if (rc == 0 && !o->is_help) {
        rc = check_options(o, err);
    }
    return rc == 0 && !o->is_help && o->pools.count == 0 ? add_default_pools(o) : rc;
}

static int run_command(const char *text, int input, bool may_fail)
{
    char *line = strdup(text);
    char *words[WORDS_MAX + 1] = {NULL};
    size_t count = 0;
    for (char *word = line; word != NULL && count < WORDS_MAX; count++) {
        words[count] = word;
        word = strchr(word, ' ');
        if (word != NULL) {
            *word = '\0';
            word++;
        }
    }
    posix_spawn_file_actions_t actions;
    int rc = count == 0 ? ENOMEM : posix_spawn_file_actions_init(&actions);
    if (rc == 0) {
        rc = input >= 0 ? posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO) : 0;
        if (rc == 0 && may_fail) { /* what was not there is no news */
            rc = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        }
        pid_t pid = -1;
        extern char **environ;
        rc = rc == 0 ? posix_spawnp(&pid, words[0], &actions, NULL, words, environ) : rc;
        int status = 0;
        if (rc == 0 && (waitpid(pid, &status, 0) != pid || status != 0)) {
            rc = -1;
        }
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    free(line);
    return rc;
}

/* 0, an errno, or -1 if the command ran and failed. */
static int run_step(const struct capture_step *s)
{
    if (!s->is_nft) {
        return run_command(s->text, -1, s->may_fail);
    }
    const size_t len = strlen(s->text);
    int fd = memfd_create("openshell-capture", MFD_CLOEXEC);
    int rc = fd < 0 ? errno : 0;
    if (rc == 0 && (write(fd, s->text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0)) {
        rc = errno;
    }
    rc = rc == 0 ? run_command("nft -f -", fd, false) : rc;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static void print_step(const struct capture_step *s)
{
    if (s->is_nft) {
        (void)printf("nft -f - <<'END'\n%sEND\n", s->text);
    } else {
        (void)printf("%s%s\n", s->text, s->may_fail ? " 2>/dev/null || true" : "");
    }
}

static int run_plan(const struct capture_plan *p, bool is_up)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct capture_step *s = &p->steps[i];
        int rc = run_step(s);
        if (rc == 0 || (s->may_fail && rc == -1)) {
            continue;
        }
        const char *what = s->is_nft ? "nft -f -" : s->text;
        if (rc == ENOENT) {
            (void)fprintf(stderr,
                          "openshell-egress capture: %.3s is not installed (Debian: %s), or not in PATH\n",
                          what, what[0] == 'n' ? "nftables" : "iproute2");
        } else {
            (void)fprintf(
                stderr,
                "openshell-egress capture: \"%s\" failed%s%s; it needs CAP_NET_ADMIN in this network "
                "namespace. --dry-run prints all commands%s\n",
                what, rc > 0 ? ": " : "", rc > 0 ? strerror(rc) : "",
                is_up && i > 0 ? "; capture down takes away what was done before this one" : "");
        }
        return EXIT_STATUS_OS;
    }
    return 0;
}

static int add_policy_ports(struct options *o)
{
    struct policy *policy = NULL;
    if (o->policies.count == 0) {
        return 0;
    }
    int status = policy_open(&o->policies, &policy);
    size_t count = 0;
    const uint16_t *ports = status == 0 ? policy_ports(policy, &count) : NULL;
    for (size_t i = 0; status == 0 && i < count; i++) {
        status = add_port(o, ports[i]) == 0 ? 0 : EXIT_STATUS_OS;
    }
    policy_unref(policy);
    return status;
}

static int apply(struct options *o)
{
    struct capture_plan plan;
    int status = o->is_up ? add_policy_ports(o) : 0;
    if (status != 0) {
        return status;
    }
    o->cfg.ports = o->ports;
    o->cfg.port_count = o->port_count;
    o->cfg.interfaces = o->interfaces.items;
    o->cfg.interface_count = o->interfaces.count;
    int rc = o->is_up ? capture_plan_up(&o->cfg, &plan) : capture_plan_down(&o->cfg, &plan);
    if (rc != 0) {
        (void)fprintf(stderr, "openshell-egress capture: out of memory\n");
        status = EXIT_STATUS_OS;
    } else if (o->is_dry_run) {
        for (size_t i = 0; i < plan.count; i++) {
            print_step(&plan.steps[i]);
        }
        status = printed("openshell-egress capture", 0, EXIT_STATUS_OS);
    } else {
        status = run_plan(&plan, o->is_up);
    }
    capture_plan_fini(&plan);
    return status;
}

int command_capture(int argc, char **argv)
{
    struct options o;
    struct err err = {""};
    int rc = parse(argc, argv, &o, &err);
    if (rc == 0 && !o.is_help) {
        const struct str_list pools = {.items = o.pools.items, .count = o.pools.count};
        rc = guard_parse_pools(&pools, &o.cfg.pools, &err);
    }
    int status = EXIT_STATUS_USAGE;
    if (rc != 0) {
        (void)fprintf(stderr,
                      "openshell-egress capture: %s\n(openshell-egress capture --help lists the options)\n",
                      rc == -ENOMEM ? "out of memory" : err.text);
    } else if (o.is_help) {
        usage(stdout);
        status = printed("openshell-egress capture", 0, EXIT_STATUS_OS);
    } else {
        status = apply(&o);
    }
    free(o.ports);
    free(o.policies.items);
    free(o.pools.items);
    free(o.interfaces.items);
    return status;
}
