/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/admin_socket.h"

#include "common/net/sock.h"
#include "common/run/option_say.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "unix:"
#define BACKLOG 64
#define IN_USE_HINT "another program has it (ss -lxp names it): end that, or give another path"

struct target {
    bool is_tcp;
    struct addr addr;
    struct sockaddr_un un;
};

static int parse(const char *option, struct target *out, struct err *err)
{
    static const struct option_wanted wanted = {"--admin", "ADDR:PORT or unix:PATH",
                                                "127.0.0.1:9053 or unix:/run/openshell/admin.sock", false};
    *out = (struct target){.un.sun_family = AF_UNIX};
    if (strncmp(option, PREFIX, sizeof PREFIX - 1) != 0) {
        out->is_tcp = true;
        return addr_parse(span_str(option), 0, &out->addr) == 0 ? option_check_brackets(&wanted, option, err)
                                                                : option_say(&wanted, option, err);
    }
    const char *path = option + sizeof PREFIX - 1;
    size_t len = strlen(path);
    if (path[0] != '/' || len >= sizeof out->un.sun_path) {
        err_set(err, "--admin: unix:PATH takes an absolute path of at most %zu bytes",
                sizeof out->un.sun_path - 1);
        return -EINVAL;
    }
    memcpy(out->un.sun_path, path, len + 1);
    return 0;
}

int admin_socket_check(const char *option, struct err *err)
{
    struct target unused;
    return option == NULL ? 0 : parse(option, &unused, err);
}

/* ---- unix ---- */

static int new_unix(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    return fd;
}

/* The file gets its mode from bind(2): there is no moment in which it has another. */
static int bind_unix(int fd, const struct sockaddr_un *un)
{
    mode_t former = umask(0117);
    int rc = bind(fd, (const struct sockaddr *)un, (socklen_t)sizeof(*un)) == 0 ? 0 : -errno;
    (void)umask(former);
    return rc;
}

/* Only a socket that answers "nobody listens" was left behind by a process that is gone. */
static int remove_stale(const struct sockaddr_un *un, struct err *err)
{
    struct stat st;
    if (lstat(un->sun_path, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        err_set(err, "--admin: %s exists and is not a socket", un->sun_path);
        return -EINVAL;
    }
    int fd = new_unix();
    if (fd < 0) {
        return fd;
    }
    int rc = connect(fd, (const struct sockaddr *)un, (socklen_t)sizeof(*un)) == 0 ? -EADDRINUSE : -errno;
    (void)close(fd);
    if (rc == -ECONNREFUSED) {
        return unlink(un->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
    }
    if (rc == -ENOENT) { /* gone meanwhile */
        return 0;
    }
    return rc == -EAGAIN || rc == -EPROTOTYPE ? -EADDRINUSE : rc; /* busy, or of datagrams: somebody's */
}

static int listen_unix(const struct target *t, struct admin_socket *out, struct err *err)
{
    struct stat st;
    int fd = new_unix();
    int rc = fd < 0 ? fd : bind_unix(fd, &t->un);
    if (rc == -EADDRINUSE) {
        rc = remove_stale(&t->un, err);
        rc = rc == 0 ? bind_unix(fd, &t->un) : rc;
    }
    if (rc == 0 && (listen(fd, BACKLOG) < 0 || lstat(t->un.sun_path, &st) < 0)) {
        rc = -errno;
        (void)unlink(t->un.sun_path);
    }
    if (rc != 0) {
        if (err->text[0] == '\0') {
            err_set(err, "--admin: cannot listen on %s: %s", t->un.sun_path, strerror(-rc));
            err_add_hint(err, rc == -EADDRINUSE ? IN_USE_HINT : "");
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        return rc;
    }
    *out = (struct admin_socket){
        .is_open = true, .fd = fd, .has_file = true, .dev = st.st_dev, .ino = st.st_ino};
    (void)snprintf(out->text, sizeof out->text, PREFIX "%s", t->un.sun_path);
    return 0;
}

/* ---- TCP, and what is passed ---- */

static int opened(int fd, const struct addr *addr, struct admin_socket *out)
{
    char text[ADDR_TEXT_CAP];
    *out = (struct admin_socket){.is_open = true, .is_tcp = true, .fd = fd, .addr = *addr};
    (void)snprintf(out->text, sizeof out->text, "%s", addr_text(addr, text));
    return 0;
}

static int listen_tcp(const struct addr *wanted, struct admin_socket *out, struct err *err)
{
    struct addr addr;
    int fd = sock_listen_tcp(wanted, false, err);
    if (fd < 0) {
        err_prefix(err, "--admin");
        err_add_hint(err, sock_listen_hint(-fd));
        return fd;
    }
    int rc = sock_local_addr(fd, &addr); /* port 0: the kernel's choice */
    if (rc != 0) {
        err_set(err, "--admin: %s", strerror(-rc));
        (void)close(fd);
        return rc;
    }
    return opened(fd, &addr, out);
}

static int adopt(int fd, struct admin_socket *out, struct err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNSPEC};
    socklen_t len = (socklen_t)sizeof(un);
    struct addr addr;
    bool is_listening = false;
    if (sock_type(fd, &is_listening) != SOCK_STREAM || !is_listening) {
        err_set(err, "passed descriptor %d (admin) is not a listening stream socket", fd);
        return -EINVAL;
    }
    if (sock_local_addr(fd, &addr) == 0) {
        return opened(fd, &addr, out);
    }
    if (getsockname(fd, (struct sockaddr *)&un, &len) < 0 || un.sun_family != AF_UNIX) {
        err_set(err, "passed descriptor %d (admin) is neither a TCP nor a unix socket", fd);
        return -EINVAL;
    }
    /* Its file is whoever made it's. sun_path need not end with a NUL, and is empty or starts with one where
     * there is no file. */
    size_t room =
        len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
    *out = (struct admin_socket){.is_open = true, .fd = fd};
    (void)snprintf(out->text, sizeof out->text, PREFIX "%.*s",
                   (int)(room > sizeof un.sun_path ? sizeof un.sun_path : room), un.sun_path);
    return 0;
}

/* The one called admin leaves the list; -1 if there is none. */
static int take_passed(struct listen_fds *passed, int *fd, struct err *err)
{
    size_t kept = 0;
    int rc = 0;
    *fd = -1;
    for (size_t i = 0; i < passed->count; i++) {
        if (strcmp(passed->names[i], "admin") != 0) {
            passed->fds[kept] = passed->fds[i];
            passed->names[kept] = passed->names[i];
            kept++;
        } else if (*fd < 0) {
            *fd = passed->fds[i];
        } else {
            (void)close(passed->fds[i]);
            err_set(err, "LISTEN_FDNAMES: more than one descriptor is called \"admin\"");
            rc = -EINVAL;
        }
    }
    passed->count = kept;
    return rc;
}

int admin_socket_open(const char *option, struct listen_fds *passed, struct admin_socket *out,
                      struct err *err)
{
    struct target t;
    int fd = -1;
    *out = (struct admin_socket){.is_open = false, .fd = -1};
    int rc = take_passed(passed, &fd, err);
    if (fd >= 0) {
        rc = rc == 0 ? adopt(fd, out, err) : rc;
        if (rc != 0) {
            (void)close(fd);
        }
        return rc;
    }
    if (option == NULL) {
        return 0;
    }
    rc = parse(option, &t, err);
    if (rc != 0) {
        return rc;
    }
    return t.is_tcp ? listen_tcp(&t.addr, out, err) : listen_unix(&t, out, err);
}

void admin_socket_fini(struct admin_socket *s)
{
    struct stat st;
    const char *path = s->text + sizeof PREFIX - 1;
    if (s->has_file && lstat(path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino) {
        (void)unlink(path); /* a directory that --user may not write keeps it: the next start replaces it */
    }
    if (s->is_open && s->fd >= 0) {
        (void)close(s->fd);
    }
    *s = (struct admin_socket){.is_open = false, .fd = -1};
}
