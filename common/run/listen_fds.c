/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/listen_fds.h"

#include "common/base/num.h"
#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_FD 3

static const char *const known_names[] = {"dns", "connect", "capture", "admin", "ports"};

/* What the environment said, taken out of it. */
struct passed {
    char *pid, *fds, *names;
};

static char *take_variable(const char *name)
{
    const char *text = getenv(name);
    char *copy = text != NULL ? strdup(text) : NULL;
    (void)unsetenv(name);
    return copy;
}

static const char *known_name(struct span text)
{
    for (size_t i = 0; i < sizeof(known_names) / sizeof(known_names[0]); i++) {
        if (span_is_equal(span_str(known_names[i]), text)) {
            return known_names[i];
        }
    }
    return NULL;
}

static int read_names(const char *text, size_t count, const char **names, struct err *err)
{
    struct span s = span_str(text);
    for (size_t i = 0; i < count; i++) {
        size_t colon = span_find(s, ':');
        struct span name = span_sub(s, 0, colon);
        if ((i + 1 < count) != (colon < s.len)) {
            err_set(err, "LISTEN_FDNAMES does not hold %zu names", count);
            return -EINVAL;
        }
        names[i] = known_name(name);
        if (names[i] == NULL) {
            err_set(err,
                    "LISTEN_FDNAMES: descriptor %zu is called \"%.*s\", not dns, connect, capture, admin or "
                    "ports "
                    "(FileDescriptorName= in the socket unit)",
                    i + FIRST_FD, (int)(name.len > 64 ? 64 : name.len), (const char *)name.data);
            return -EINVAL;
        }
        s = span_sub(s, colon + 1, s.len);
    }
    return 0;
}

static int take(const struct passed *p, struct listen_fds *out, struct err *err)
{
    uint64_t pid = 0, count = 0;
    if (p->pid == NULL || p->fds == NULL) {
        return 0;
    }
    if (num_u64(span_str(p->pid), 1, INT32_MAX, &pid) < 0) {
        err_set(err, "LISTEN_PID is not a process id");
        return -EINVAL;
    }
    if (pid != (uint64_t)getpid()) {
        return 0; /* meant for another process that shares our environment */
    }
    if (num_u64(span_str(p->fds), 0, LISTEN_FDS_MAX, &count) < 0) {
        err_set(err, "LISTEN_FDS is not a number from 0 to %d", LISTEN_FDS_MAX);
        return -EINVAL;
    }
    if (count == 0) {
        return 0;
    }
    out->fds = calloc(count, sizeof(*out->fds));
    out->names = calloc(count, sizeof(*out->names));
    if (out->fds == NULL || out->names == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    int rc = read_names(p->names, count, out->names, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        out->fds[i] = FIRST_FD + (int)i;
        rc = sock_adopt(out->fds[i]);
        if (rc < 0) {
            err_set(err, "passed descriptor %d: %s", out->fds[i], strerror(-rc));
        }
    }
    out->count = rc == 0 ? count : 0;
    return rc;
}

int listen_fds_take(struct listen_fds *out, struct err *err)
{
    *out = (struct listen_fds){0};
    struct passed p = {take_variable("LISTEN_PID"), take_variable("LISTEN_FDS"),
                       take_variable("LISTEN_FDNAMES")};
    int rc = take(&p, out, err);
    if (rc < 0) {
        listen_fds_fini(out);
    }
    free(p.pid);
    free(p.fds);
    free(p.names);
    return rc;
}

void listen_fds_fini(struct listen_fds *l)
{
    free(l->fds);
    free(l->names);
    *l = (struct listen_fds){0};
}
