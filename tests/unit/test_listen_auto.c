/* SPDX-License-Identifier: Apache-2.0 */
/* --transparent auto follows policies, on addresses of 127.0.0.0/8 that are this process's own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/sock.h"
#include "common/policy/policy_load.h"
#include "tunneld/listen_auto.h"
#include "tunneld/own_guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_COUNT 4

/* An address that no other process uses, and ports that are free there, in their order. */
static struct ip host;
static uint16_t ports[PORT_COUNT];

static struct addr at(size_t i)
{
    return (struct addr){.ip = host, .port = ports[i]};
}

static int listener(size_t i)
{
    struct addr a = at(i);
    return sock_listen_tcp(&a, false, NULL);
}

static int compare(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

static int set_up(void **state)
{
    (void)state;
    pid_t pid = getpid();
    host = ip_v4(127, (uint8_t)(1 + (pid >> 16) % 200), (uint8_t)(pid >> 8), (uint8_t)pid);
    int fds[PORT_COUNT];
    for (size_t i = 0; i < PORT_COUNT; i++) {
        struct addr a = {.ip = host};
        fds[i] = sock_listen_tcp(&a, false, NULL);
        if (fds[i] < 0 || sock_local_addr(fds[i], &a) != 0) {
            return -1;
        }
        ports[i] = a.port;
    }
    for (size_t i = 0; i < PORT_COUNT; i++) {
        (void)close(fds[i]);
    }
    qsort(ports, PORT_COUNT, sizeof(ports[0]), compare);
    return 0;
}

/* A policy with the ports whose bit is set. */
static struct policy *policy_of(unsigned mask)
{
    char text[1024];
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *p = NULL;
    size_t len =
        (size_t)snprintf(text, sizeof(text), "version: 1\nnetwork_policies:%s\n", mask == 0 ? " {}" : "");
    for (size_t i = 0; i < PORT_COUNT; i++) {
        if ((mask & 1U << i) != 0) {
            len += (size_t)snprintf(
                text + len, sizeof(text) - len,
                "  r%zu: { name: r%zu, endpoints: [{ host: a.example.org, port: %u }] }\n", i, i, ports[i]);
        }
    }
    const struct policy_text file = {.file = "p", .text = {(const unsigned char *)text, len}};
    assert_int_equal(policy_load(&file, 1, &rules, &diags), 0);
    assert_int_equal(policy_compile(rules, 1, &p), 0);
    policy_diags_fini(&diags);
    return p;
}

struct scene {
    struct listen_auto autos;
    struct listen_set set;
};

static void start(struct scene *s)
{
    char item[64], text[IP_TEXT_CAP];
    (void)snprintf(item, sizeof(item), "%s:auto", ip_text(&host, text));
    const char *items[] = {item, NULL};
    const struct str_list list = {.items = items, .count = 1};
    *s = (struct scene){.set = {.worker_count = 2}};
    assert_int_equal(capture_auto_hosts(&list, &s->autos.hosts, NULL), 0);
    assert_true(listen_auto_is_on(&s->autos));
}

static void end(struct scene *s)
{
    listen_auto_fini(&s->autos);
    listen_fini(&s->set);
}

static bool follow(struct scene *s, unsigned mask)
{
    struct policy *p = policy_of(mask);
    bool has_changed = listen_auto_follow(&s->autos, &s->set, p);
    policy_unref(p);
    return has_changed;
}

static int open_with(struct scene *s, unsigned mask, struct err *err)
{
    struct policy *p = policy_of(mask);
    int rc = listen_auto_open(&s->autos, &s->set, p, err);
    policy_unref(p);
    return rc;
}

/* The ports that can be connected to. */
static unsigned served(const struct scene *s)
{
    unsigned mask = 0;
    for (size_t i = 0; i < PORT_COUNT; i++) {
        for (size_t k = 0; k < s->set.count; k++) {
            struct addr local, a = at(i);
            if (addr_is_equal(&s->set.items[k].addr, &a)) {
                assert_true(s->set.items[k].is_auto);
                assert_int_equal(s->set.items[k].kind, LISTEN_CAPTURE);
                assert_int_equal(sock_local_addr(s->set.items[k].fds[1], &local), 0);
                assert_true(addr_is_equal(&local, &a));
                mask |= 1U << i;
            }
        }
    }
    return mask;
}

static void test_follows(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    start(&s);
    assert_int_equal(open_with(&s, 3, &err), 0);
    assert_int_equal(served(&s), 3);
    uint64_t kept = s.set.items[1].id;
    assert_false(follow(&s, 3));
    assert_true(follow(&s, 6));
    assert_int_equal(served(&s), 6);
    int fd = listener(0); /* it is given back */
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(s.set.items[0].addr.port, ports[1]);
    assert_int_equal(s.set.items[0].id, kept); /* the same socket */
    assert_true(s.set.items[1].id > kept);
    assert_true(follow(&s, 0));
    assert_int_equal(s.set.count, 0);
    assert_false(follow(&s, 0));
    assert_true(follow(&s, 15));
    assert_int_equal(served(&s), 15);
    end(&s);
}

/* At a start it is an error; later the rest goes on, and the next call tries again. */
static void test_port_in_use(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    char text[ADDR_TEXT_CAP];
    struct addr taken = at(1);
    int fd = listener(1);
    assert_true(fd >= 0);
    start(&s);
    assert_int_equal(open_with(&s, 3, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "--transparent auto"));
    assert_non_null(strstr(err.text, addr_text(&taken, text)));
    assert_non_null(strstr(err.text, "another program has the port"));
    end(&s);
    start(&s);
    assert_int_equal(open_with(&s, 1, &err), 0);
    assert_true(follow(&s, 7));
    assert_int_equal(served(&s), 5);
    assert_int_equal(s.autos.count, 3);
    assert_false(follow(&s, 7)); /* still taken */
    assert_int_equal(close(fd), 0);
    assert_true(follow(&s, 7));
    assert_int_equal(served(&s), 7);
    end(&s);
}

static enum listen_auto_state state_of(const struct scene *s, size_t i)
{
    struct addr a = at(i);
    for (size_t k = 0; k < s->autos.count; k++) {
        if (addr_is_equal(&s->autos.ports[k].addr, &a)) {
            return s->autos.ports[k].state;
        }
    }
    return LISTEN_AUTO_FAILED;
}

/* Ports of our other listeners are left to them: on the same address, on all of them, and the admin's. */
static bool is_free(struct addr a)
{
    int fd = sock_listen_tcp(&a, false, NULL);
    return fd >= 0 && close(fd) == 0;
}

/* Ports that are free not only at our own address: other tests have theirs at this moment. */
static void find_ports(void)
{
    for (int i = 0; i < 100; i++) {
        if (is_free((struct addr){.ip = ip_v4(0, 0, 0, 0), .port = ports[1]}) &&
            is_free((struct addr){.ip = ip_v4(127, 0, 0, 1), .port = ports[3]})) {
            return;
        }
        assert_int_equal(set_up(NULL), 0);
    }
    fail_msg("no port is free");
}

static void test_skips_our_own(void **state)
{
    (void)state;
    struct scene s;
    find_ports();
    struct err err = {""};
    char text[ADDR_TEXT_CAP], item[ADDR_TEXT_CAP];
    const struct addr every = {.ip = ip_v4(0, 0, 0, 0), .port = ports[1]};
    const struct addr other = {.ip = ip_v4(127, 0, 0, 1), .port = ports[3]};
    const struct addr connect = at(0);
    start(&s);
    const struct {
        const struct addr *addr;
        enum listen_kind kind;
    } fixed[] = {{&connect, LISTEN_CONNECT}, {&every, LISTEN_CAPTURE}, {&other, LISTEN_CONNECT}};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(item, sizeof(item), "%s", addr_text(fixed[i].addr, text));
        const char *items[] = {item, NULL};
        const struct str_list list = {.items = items, .count = 1};
        assert_int_equal(listen_bind(&s.set, &list, fixed[i].kind, &err), 0);
    }
    s.autos.admin = at(2);
    assert_int_equal(open_with(&s, 15, &err), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(state_of(&s, i), LISTEN_AUTO_SKIPPED);
    }
    assert_int_equal(state_of(&s, 3), LISTEN_AUTO_OPEN); /* the same port of another address is none of it */
    assert_int_equal(s.set.count, 4);
    assert_true(follow(&s, 7));
    assert_int_equal(s.set.count, 3); /* the fixed ones stay */
    end(&s);
}

/* Half of the descriptors are the tunnels'. */
static void test_leaves_descriptors(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 20; /* two listeners of two workers take 8, three take 12 */
    start(&s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(open_with(&s, 3, &err), 0);
    assert_false(follow(&s, 7));
    assert_int_equal(served(&s), 3);
    assert_true(follow(&s, 14));
    assert_int_equal(s.set.count, 2);
    end(&s);
    start(&s);
    assert_int_equal(open_with(&s, 7, &err), -EMFILE);
    assert_non_null(strstr(err.text, "half of the 20 descriptors"));
    end(&s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void *make_sockets(void *arg)
{
    const int *fd = arg;
    int rc = port_ask_serve(*fd);
    (void)close(*fd);
    return rc == 0 ? NULL : arg;
}

/* As in the fence of run: somebody else makes the sockets, and may be gone. */
static void test_asks_for_its_sockets(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {""};
    int pair[2], taken = listener(2);
    pthread_t maker;
    assert_true(taken >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pthread_create(&maker, NULL, make_sockets, &pair[1]), 0);
    start(&s);
    const struct listen_fds passed = {
        .fds = (int[]){pair[0]}, .names = (const char *[]){"ports"}, .count = 1};
    assert_int_equal(listen_adopt(&s.set, &passed, &err), 0);
    assert_int_equal(s.set.count, 0); /* it is none itself */
    s.autos.admin = at(0);            /* that is elsewhere, and in nobody's way there */
    assert_int_equal(open_with(&s, 3, &err), 0);
    assert_int_equal(served(&s), 3);
    assert_false(s.set.items[0].is_foreign);
    assert_true(follow(&s, 14)); /* one is in use over there: the others are had */
    assert_int_equal(served(&s), 10);
    assert_int_equal(close(taken), 0);
    assert_true(follow(&s, 14));
    assert_int_equal(served(&s), 14);
    assert_int_equal(shutdown(pair[0], SHUT_RDWR), 0); /* the maker ends */
    void *failed = NULL;
    assert_int_equal(pthread_join(maker, &failed), 0);
    assert_null(failed);
    assert_false(follow(&s, 15));
    assert_int_equal(served(&s), 14);
    assert_false(s.set.asker.is_open);
    assert_true(follow(&s, 1)); /* what goes is given up all the same */
    assert_int_equal(s.set.count, 0);
    assert_int_equal(open_with(&s, 1, &err), -EPIPE);
    assert_non_null(strstr(err.text, "start run again"));
    end(&s);
}

static void test_undo(void **state)
{
    (void)state;
    struct scene s;
    struct err err = {"no guard"};
    start(&s);
    assert_int_equal(open_with(&s, 1, &err), 0);
    uint64_t last_id = s.set.last_id;
    assert_true(follow(&s, 7));
    listen_auto_undo(&s.autos, &s.set, last_id, &err);
    assert_int_equal(served(&s), 1);
    assert_int_equal(state_of(&s, 0), LISTEN_AUTO_OPEN);
    assert_int_equal(state_of(&s, 1), LISTEN_AUTO_FAILED);
    assert_true(follow(&s, 7)); /* tried again */
    assert_int_equal(served(&s), 7);
    end(&s);
}

static void test_guard_is_counted(void **state)
{
    (void)state;
    struct own_guard *g = NULL;
    struct settings_shared s = {.strict_private = true};
    const struct addr own = {.ip = ip_v4(10, 0, 0, 7), .port = 443};
    assert_int_equal(own_guard_new(&s, &own, 1, &g, NULL), 0);
    assert_ptr_equal(own_guard_ref(g), g);
    own_guard_unref(g);
    assert_true(guard_is_own(own_guard_of(g), &own));
    own_guard_unref(g);
    own_guard_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_skips_our_own),
        cmocka_unit_test(test_leaves_descriptors),
        cmocka_unit_test(test_asks_for_its_sockets),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_guard_is_counted),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
