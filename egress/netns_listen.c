/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `openshell-egress listen`: sockets are made in another network namespace, and COMMAND, a daemon, runs in
 * this one on them. A socket stays in the namespace it was made in, so programs there reach the daemon, and
 * the daemon dials from here.
 */
#include "egress/commands.h"
#include "egress/daemon_args.h"
#include "egress/printed.h"
#include "egress/socket_pass.h"

#include "common/net/sock.h"
#include "common/run/exit_status.h"
#include "common/run/listen_fds.h"
#include "common/run/option_say.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DNS_PORT 53
#define CONNECT_PORT 3128
#define STATUS_CANNOT_EXECUTE 126
#define STATUS_NOT_FOUND 127

struct listen_options {
    const char *netns;
    struct arg_list kinds, addrs; /* "dns" and "127.0.0.1:53", in the order given */
    bool is_help;
    char **cmd; /* NULL-terminated, at least one word unless is_help */
};

struct opened {
    struct passed_socket items[LISTEN_FDS_MAX];
    int fds[LISTEN_FDS_MAX]; /* the same once more, to be moved */
    size_t count;
};

static void usage(FILE *out)
{
    (void)fprintf(
        out,
        "usage: openshell-egress listen --netns PATH [OPTION]... -- COMMAND [ARGUMENT]...\n"
        "Makes sockets in the network namespace PATH and becomes COMMAND, openshell-dnsd or "
        "openshell-tunneld,\n"
        "here, with them (LISTEN_FDS). Needs CAP_SYS_ADMIN, and for ports below 1024 CAP_NET_BIND_SERVICE, "
        "in\n"
        "the user namespace that PATH belongs to.\n\n"
        "  --netns PATH           /run/netns/NAME or /proc/PID/ns/net\n"
        "  --dns ADDR[:PORT]      a UDP and a TCP socket for openshell-dnsd (port 53; repeatable)\n"
        "  --connect ADDR[:PORT]  a TCP socket for openshell-tunneld's CONNECT (port 3128; repeatable)\n"
        "  --capture ADDR:PORT    a TCP socket for openshell-tunneld's captured connections (repeatable)\n"
        "Exit status: COMMAND's; 64 usage, 71 a socket could not be made, 126 COMMAND cannot be executed, "
        "127 there\n"
        "is no COMMAND.\n");
}

static int bad(struct err *err, const char *what)
{
    err_set(err, "%s", what);
    return -EINVAL;
}

static int parse_addr(const char *kind, const char *text, struct addr *out, struct err *err)
{
    const uint16_t port = strcmp(kind, "dns") == 0       ? DNS_PORT
                          : strcmp(kind, "connect") == 0 ? CONNECT_PORT
                                                         : 0;
    char option[16];
    (void)snprintf(option, sizeof option, "--%s", kind);
    const struct option_wanted w = {option, port == 0 ? "ADDR:PORT" : "ADDR[:PORT]",
                                    port == DNS_PORT ? "127.0.0.1:53" : "127.0.0.1:3128", false};
    if (addr_parse(span_str(text), port, out) != 0 || out->port == 0) {
        return option_say(&w, text, err);
    }
    return option_check_brackets(&w, text, err);
}

/* --dns, --connect or --capture: 1 if it is one, 0 if not, -errno. */
static int take_socket(struct listen_options *o, struct cli_option *opt, struct cli *c, struct err *err)
{
    static const char *const kinds[] = {"dns", "connect", "capture"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (cli_is_named(opt, kinds[i])) {
            struct addr unused;
            int rc = cli_take_value(opt, c, err);
            rc = rc == 0 ? parse_addr(kinds[i], opt->value, &unused, err) : rc;
            rc = rc == 0 ? arg_list_add(&o->kinds, kinds[i]) : rc;
            rc = rc == 0 ? arg_list_add(&o->addrs, opt->value) : rc;
            return rc == 0 ? 1 : rc;
        }
    }
    return 0;
}

static int take_one(struct listen_options *o, struct cli *c, struct err *err)
{
    struct cli_option opt = cli_option_at(c);
    if (cli_is_named(&opt, "help")) {
        o->is_help = true;
        return cli_no_value(&opt, err);
    }
    if (cli_is_named(&opt, "netns")) {
        int rc = cli_take_once(&opt, c, err);
        o->netns = opt.value;
        return rc;
    }
    int rc = take_socket(o, &opt, c, err);
    if (rc == 0) {
        err_set(err, "%s: no such option", c->argv[c->at]);
        return -EINVAL;
    }
    return rc < 0 ? rc : 0;
}

static int parse(int argc, char **argv, struct listen_options *o, struct err *err)
{
    struct cli c = {.argc = argc, .argv = argv, .at = 1};
    int rc = 0;
    for (; rc == 0 && c.at < argc; c.at++) {
        if (strcmp(argv[c.at], "--") == 0) {
            c.at++;
            break;
        }
        if (strncmp(argv[c.at], "--", 2) != 0) {
            err_set(err, "%s: put -- before the command to run", argv[c.at]);
            return -EINVAL;
        }
        rc = take_one(o, &c, err);
    }
    o->cmd = argv + c.at;
    if (rc != 0 || o->is_help) {
        return rc;
    }
    if (o->netns == NULL) {
        return bad(err, "--netns is missing: whose network namespace? /run/netns/NAME or /proc/PID/ns/net");
    }
    if (o->kinds.count == 0) {
        return bad(err, "no socket: say --dns, --connect or --capture");
    }
    return c.at < argc && argv[c.at][0] != '\0'
               ? 0
               : bad(err, "no command: put it, and its arguments, behind --");
}

static int keep(struct opened *sockets, const char *kind, int fd, struct err *err)
{
    if (fd < 0) {
        err_prefix(err, "--%s", kind);
        return fd;
    }
    sockets->fds[sockets->count] = fd;
    sockets->items[sockets->count] = (struct passed_socket){.fd = fd, .name = kind};
    sockets->count++;
    return 0;
}

static int open_one(struct opened *sockets, const char *kind, const struct addr *a, struct err *err)
{
    const bool is_dns = strcmp(kind, "dns") == 0;
    if (sockets->count + 2 > LISTEN_FDS_MAX) {
        err_set(err, "--%s: more than %d sockets", kind, LISTEN_FDS_MAX);
        return -EINVAL;
    }
    int rc = is_dns ? keep(sockets, kind, sock_listen_udp(a, false, err), err) : 0;
    return rc == 0 ? keep(sockets, kind, sock_listen_tcp(a, false, err), err) : rc;
}

static int open_all(const struct listen_options *o, struct opened *sockets, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < o->kinds.count; i++) {
        struct addr a;
        rc = parse_addr(o->kinds.items[i], o->addrs.items[i], &a, err);
        rc = rc == 0 ? open_one(sockets, o->kinds.items[i], &a, err) : rc;
    }
    return rc;
}

static int enter(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        const int error = errno;
        err_set(err, "--netns: %s: %s", path, strerror(error));
        return -error;
    }
    const int error = setns(fd, CLONE_NEWNET) == 0 ? 0 : errno;
    (void)close(fd);
    if (error == EPERM) {
        err_set(err,
                "--netns: %s: entering it needs CAP_SYS_ADMIN, here and in the user namespace it belongs to",
                path);
    } else if (error != 0) {
        err_set(err, "--netns: %s: %s", path, error == EINVAL ? "not a network namespace" : strerror(error));
    }
    return -error;
}

struct visit { /* what the thread is given, and its result */
    const struct listen_options *options;
    struct opened *sockets;
    struct err *err;
    int rc;
};

static void *visit(void *arg)
{
    struct visit *v = arg;
    v->rc = enter(v->options->netns, v->err);
    v->rc = v->rc == 0 ? open_all(v->options, v->sockets, v->err) : v->rc;
    return NULL;
}

/* In a thread, because only that enters: the way back would need a privilege where we come from. */
static int open_there(const struct listen_options *o, struct opened *sockets, struct err *err)
{
    struct visit v = {.options = o, .sockets = sockets, .err = err};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, visit, &v);
    error = error == 0 ? pthread_join(thread, NULL) : error;
    if (error != 0) {
        err_set(err, "a thread to enter --netns: %s", strerror(error));
        return -error;
    }
    return v.rc;
}

/* Returns only if COMMAND could not be started. */
static int become(char **cmd, struct opened *sockets)
{
    int rc = socket_pass_environment(sockets->items, sockets->count);
    rc = rc == 0 ? socket_pass_place(sockets->fds, sockets->count) : rc;
    if (rc != 0) {
        (void)fprintf(stderr, "openshell-egress listen: passing the sockets: %s\n", strerror(-rc));
        return EXIT_STATUS_OS;
    }
    (void)execvp(cmd[0], cmd);
    const int error = errno;
    (void)fprintf(stderr, "openshell-egress listen: %s: %s\n", cmd[0], strerror(error));
    return error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_EXECUTE;
}

int command_listen(int argc, char **argv)
{
    struct listen_options o = {0};
    struct opened sockets = {.count = 0};
    struct err err = {""};
    int rc = parse(argc, argv, &o, &err);
    const bool is_usage = rc != 0;
    if (rc == 0 && !o.is_help) {
        rc = open_there(&o, &sockets, &err);
    }
    int status = rc == 0 ? 0 : is_usage && rc != -ENOMEM ? EXIT_STATUS_USAGE : EXIT_STATUS_OS;
    if (rc != 0) {
        (void)fprintf(stderr, "openshell-egress listen: %s%s\n", rc == -ENOMEM ? "out of memory" : err.text,
                      is_usage ? "\n(openshell-egress listen --help lists the options)" : "");
    } else if (o.is_help) {
        usage(stdout);
        status = printed("openshell-egress listen", 0, EXIT_STATUS_OS);
    } else {
        status = become(o.cmd, &sockets);
    }
    for (size_t i = 0; i < sockets.count; i++) {
        (void)close(sockets.items[i].fd);
    }
    free(o.kinds.items);
    free(o.addrs.items);
    return status;
}
