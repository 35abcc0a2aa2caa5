/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_connect.h"

#include "common/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS_MAX 64

struct attempt {
    struct addr to;
    int fd;       /* the program's; until it connects, the reading end of a pipe */
    int watch_fd; /* the other end, which tells when the program has closed its; -1 = over */
    int error;    /* a positive errno, once it failed */
    bool is_told; /* of what became of it */
};

static struct {
    struct acts *acts;
    struct attempt attempts[ATTEMPTS_MAX];
    size_t count;
    int refuse_all;
} fake;

int __wrap_sock_connect_tcp(const struct addr *to);
int __wrap_sock_connect_result(int fd);
int __real_sock_connect_result(int fd);

int __wrap_sock_connect_tcp(const struct addr *to)
{
    char text[ADDR_TEXT_CAP];
    int ends[2];
    acts_add(fake.acts, "dial %s", addr_text(to, text));
    if (fake.refuse_all != 0) {
        return -fake.refuse_all;
    }
    REQUIRE(fake.count < ATTEMPTS_MAX && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    fake.attempts[fake.count++] = (struct attempt){.to = *to, .fd = ends[0], .watch_fd = ends[1]};
    return ends[0];
}

int __wrap_sock_connect_result(int fd)
{
    for (size_t i = 0; i < fake.count; i++) {
        struct attempt *a = &fake.attempts[i];
        if (a->fd == fd && !a->is_told) {
            a->is_told = true;
            if (a->error != 0) {
                return -a->error;
            }
            break;
        }
    }
    return __real_sock_connect_result(fd);
}

void fake_connect_reset(struct acts *acts)
{
    for (size_t i = 0; i < fake.count; i++) {
        if (fake.attempts[i].watch_fd >= 0) {
            (void)close(fake.attempts[i].watch_fd);
        }
    }
    memset(&fake, 0, sizeof(fake));
    fake.acts = acts;
}

void fake_connect_refuse_all(int error)
{
    fake.refuse_all = error;
}

static struct attempt *find(const struct addr *to)
{
    for (size_t i = 0; i < fake.count; i++) {
        if (fake.attempts[i].watch_fd >= 0 && addr_is_equal(&fake.attempts[i].to, to)) {
            return &fake.attempts[i];
        }
    }
    return NULL;
}

void fake_connect_pair(int *client, int *server)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(listener >= 0 && bind(listener, (struct sockaddr *)&at, len) == 0 && listen(listener, 1) == 0 &&
            getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    *client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(*client >= 0 && connect(*client, (struct sockaddr *)&at, len) == 0);
    *server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    REQUIRE(*server >= 0);
    (void)close(listener);
}

static void wake(struct ev_loop *loop, struct attempt *a)
{
    (void)close(a->watch_fd);
    a->watch_fd = -1;
    ev_feed_fd_event(loop, a->fd, EV_WRITE);
}

int fake_connect_accept(struct ev_loop *loop, const struct addr *to)
{
    struct attempt *a = find(to);
    int client = -1, server = -1;
    if (a == NULL) {
        return -1;
    }
    fake_connect_pair(&client, &server);
    REQUIRE(fcntl(client, F_SETFL, O_NONBLOCK) == 0 && dup3(client, a->fd, O_CLOEXEC) == a->fd);
    (void)close(client);
    wake(loop, a);
    return server;
}

bool fake_connect_fail(struct ev_loop *loop, const struct addr *to, int error)
{
    struct attempt *a = find(to);
    if (a == NULL) {
        return false;
    }
    a->error = error;
    wake(loop, a);
    return true;
}

void fake_connect_look(void)
{
    char text[ADDR_TEXT_CAP];
    for (size_t i = 0; i < fake.count; i++) {
        struct attempt *a = &fake.attempts[i];
        struct pollfd p = {.fd = a->watch_fd};
        if (a->watch_fd >= 0 && poll(&p, 1, 0) == 1) { /* POLLERR: nobody reads */
            acts_add(fake.acts, "drop %s", addr_text(&a->to, text));
            (void)close(a->watch_fd);
            a->watch_fd = -1;
            a->is_told = true;
        }
    }
}

size_t fake_connect_open_count(void)
{
    size_t open = 0;
    for (size_t i = 0; i < fake.count; i++) {
        open += fake.attempts[i].watch_fd >= 0 ? 1 : 0;
    }
    return open;
}
