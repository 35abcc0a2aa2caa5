/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence: namespaces that hold only lo, the synthetic pools on it, the listening sockets of both daemons,
 * our resolver configuration, and inside them COMMAND without any capability. Everything here runs in the
 * set-up child of the launcher, single-threaded, and speaks to the launcher over one SOCK_SEQPACKET socket:
 *
 *   child -> launcher   one struct fence_message per socket (SCM_RIGHTS), then FENCE_READY
 *   launcher -> child   one byte: both daemons serve, go
 *   child -> launcher   FENCE_NOTE, if one listener a port has to do
 *   child -> launcher   FENCE_STARTED with the process id of COMMAND's init
 *   child -> launcher   FENCE_FAILED with a sentence, at any time before FENCE_STARTED
 */
#pragma once

#include "common/run/exit_status.h"
#include "common/run/guard.h"
#include "common/run/listen_fds.h"
#include "egress/run_user.h"

#include <sys/types.h>

enum fence_kind {
    FENCE_NONE = 0,
    FENCE_DNS,     /* a descriptor follows: LISTEN_FDNAMES dns */
    FENCE_CONNECT, /* connect */
    FENCE_CAPTURE, /* capture */
    FENCE_PORTS,   /* ports: where listening sockets inside the fence are asked for */
    FENCE_NOTE,    /* REDIRECT is not to be had; why is in the text */
    FENCE_READY,
    FENCE_STARTED,
    FENCE_FAILED
};

struct fence_message {
    enum fence_kind kind;
    int32_t number; /* FENCE_STARTED: pid; FENCE_FAILED: exit status */
    char text[400]; /* FENCE_FAILED, FENCE_NOTE */
};

/* How native connections get to tunneld. */
enum fence_capture {
    FENCE_CAPTURE_AUTO = 0, /* REDIRECT where nf_tables works */
    FENCE_CAPTURE_REDIRECT, /* or not at all */
    FENCE_CAPTURE_ANYIP     /* one listener for each port that the policy names */
};

/* What COMMAND finds of its caller's variables, and what it is given. */
struct fence_environment {
    bool no_proxy;          /* --proxy-env off */
    const char *const *set; /* each NAME=VALUE */
    size_t set_count;
    const char *const *keep; /* names of variables, and absolute paths */
    size_t keep_count;
};

struct fence_config {
    struct synth_pools pools;
    enum fence_capture capture;
    const char *private_dir; /* the map and the logs are in it: COMMAND finds it empty */
    /* An empty directory in it: where the tmpfs for /etc is mounted, inside the fence only. */
    const char *etc_dir;
    bool degraded;
    const struct run_user *user; /* NULL: as we are */
    struct fence_environment environment;
    const int *keep_fds; /* of the caller, above 2 */
    size_t keep_fd_count;
    char **cmd; /* NULL-terminated */
};

/* The CONNECT listener inside the fence, for the proxy variables. */
#define FENCE_PROXY_URL "http://127.0.0.1:3128"

/* Runs the whole of the set-up child; sock is its end. Returns the exit status to leave with. */
int fence_child(const struct fence_config *cfg, int sock);

/* --- steps, used by fence_child --- */

/* User (unless root can do without), network, mount and IPC namespaces. 0 or -errno with *err. */
MUST_CHECK int fence_unshare(bool *in_user_namespace, struct err *err);
/*
 * lo up, one address of each pool, the pools local; nf_tables and every other address, too, where that works
 * (egress/nft.h). Creates and sends every listening socket.
 */
MUST_CHECK int fence_network(const struct fence_config *cfg, int sock, struct err *err);
MUST_CHECK int fence_send(int sock, enum fence_kind kind, int32_t number, const char *text, int fd);

/*
 * fence_ports.c: leaves a process behind in these namespaces, with the right to low ports and no other, that
 * makes listening sockets for whoever has the descriptor which is sent as FENCE_PORTS
 * (common/run/port_ask.h). Before the pid namespace is made. It ends with us, and with that descriptor;
 * COMMAND inherits nothing of it.
 */
MUST_CHECK int fence_ports(int sock, struct err *err);

/* fence_etc.c: our resolv.conf, nsswitch.conf and hosts in a private view of /etc. */
MUST_CHECK int fence_etc(const char *etc_dir, bool degraded, struct err *err);
/* The files of ours, of which /etc may hold a link that leads elsewhere. */
size_t fence_etc_paths(const char *out[3]);
/* The texts, for the tests. Owned by nobody: static. */
extern const char fence_resolv_conf[];
extern const char fence_nsswitch_conf[];
extern const char fence_hosts[];

/* What the kernel says of user namespaces; -1: nothing. */
struct fence_userns_facts {
    int unprivileged_clone; /* kernel.unprivileged_userns_clone, Debian's */
    int max;                /* user.max_user_namespaces */
    int apparmor;           /* kernel.apparmor_restrict_unprivileged_userns, Ubuntu's */
};
/* Why there is no user namespace, or none with capabilities, and what to do. error is errno. */
void fence_explain_userns(const struct fence_userns_facts *facts, int error, struct err *err);

/* fence_filter.c: the seccomp filter of this process and all it starts; needs no_new_privs. 0 or -errno. */
MUST_CHECK int fence_filter(struct err *err);

/*
 * fence_hide.c. COMMAND has the uid of the daemons, and tunneld believes the map: covers private_dir, below
 * which the files of fence_etc() lie too, with an empty file system. Then /run and the sockets of X11, where
 * programs outside listen that would do for COMMAND what it may not do; of them what environment.keep names
 * is left, and what a machine cannot do without. Without capabilities, and in a mount namespace of its own
 * making, COMMAND cannot take the covers away (mount_namespaces(7), locked mounts).
 */
MUST_CHECK int fence_hide(const struct fence_config *cfg, struct err *err);
/* Is path, without links in it, in what fence_hide() covers? */
bool fence_is_hidden(const char *path);

/* fence_environment.c: the variables of COMMAND. 0 or -ENOMEM. */
MUST_CHECK int fence_environment(const struct fence_environment *e, const struct run_user *user);
/* Is it one of those that are taken away because they name a way out? */
bool fence_takes_variable(const char *name);

/* fence_init.c: becomes the init of COMMAND, and writes to job_fd when that stops or goes on; returns only
 * with the status to exit with. */
int fence_init(const struct fence_config *cfg, bool in_pid_namespace, int job_fd);
enum { FENCE_JOB_STOPPED = 'T', FENCE_JOB_CONTINUED = 'C' };
/* Closes every descriptor from 3 on but extra (-1: none) and those in keep. */
void fence_close_descriptors(int extra, const int *keep, size_t keep_count);
/* wait(2) status to exit status: the code, or 128 + signal. */
int fence_wait_status(int status);
