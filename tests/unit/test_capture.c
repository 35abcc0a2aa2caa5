/* SPDX-License-Identifier: Apache-2.0 */
/* 127.0.0.0/8 is routed to this host as a pool would be by AnyIP, so that no set-up is needed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tunneld/capture.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct rig {
    char dir[64];
    char path[96];
    struct synth_map *writer, *reader;
    struct ip given; /* for x.example */
    int listener;
    uint16_t port;
};

static void rig_start(struct rig *rig, uint32_t ttl_s)
{
    struct host_name name;
    struct ip v6;
    struct err err = {""};
    struct synth_map_config cfg = {.path = rig->path};
    cfg.pools.has_v4 = true;
    cfg.pools.v4 = (struct ip_prefix){.base = ip_v4(127, 77, 0, 0), .bits = 24};
    assert_true(snprintf(rig->dir, sizeof rig->dir, "/tmp/test_capture.XXXXXX") > 0);
    assert_non_null(mkdtemp(rig->dir));
    assert_true(snprintf(rig->path, sizeof rig->path, "%s/map", rig->dir) > 0);
    assert_int_equal(synth_map_open_writer(&cfg, clock_boot_s(), &rig->writer, &err), 0);
    assert_int_equal(synth_map_open_reader(rig->path, &rig->reader, &err), 0);
    assert_int_equal(host_name_parse(SPAN_LIT("x.example"), &name), HOST_FAULT_NONE);
    assert_int_equal(
        synth_map_assign(rig->writer,
                         &(struct synth_request){.name = &name, .ttl_s = ttl_s, .now_boot_s = clock_boot_s()},
                         &rig->given, &v6),
        0);
    struct addr any = {.ip = ip_v4(0, 0, 0, 0)};
    rig->listener = sock_listen_tcp(&any, false, &err);
    assert_true(rig->listener >= 0);
    assert_int_equal(sock_local_addr(rig->listener, &any), 0);
    rig->port = any.port;
}

static void rig_stop(struct rig *rig)
{
    synth_map_close(rig->reader);
    synth_map_close(rig->writer);
    assert_int_equal(close(rig->listener), 0);
    char use[sizeof(rig->path) + 4];
    (void)snprintf(use, sizeof(use), "%s.use", rig->path);
    assert_int_equal(unlink(use), 0);
    assert_int_equal(unlink(rig->path), 0);
    (void)rmdir(rig->dir);
}

/* Connects to the address and identifies what was accepted. */
static enum synth_found identify(struct rig *rig, const struct ip *ip, int64_t now_boot_s,
                                 struct addr *dialled, struct host *host)
{
    struct addr to = {.ip = *ip, .port = rig->port};
    int client = sock_connect_tcp(&to);
    assert_true(client >= 0);
    struct pollfd p = {.fd = rig->listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    int fd = accept4(rig->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    enum synth_found found = capture_identify(fd, rig->reader, now_boot_s, dialled, host);
    assert_true(addr_is_equal(dialled, &to));
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(client), 0);
    return found;
}

static void test_handed_out(void **state)
{
    (void)state;
    struct rig rig;
    struct addr dialled;
    struct host host;
    rig_start(&rig, 60);
    assert_int_equal(identify(&rig, &rig.given, clock_boot_s(), &dialled, &host), SYNTH_FOUND);
    assert_int_equal(host.kind, HOST_DNS);
    assert_string_equal(host.name.text, "x.example");
    assert_int_equal(identify(&rig, &rig.given, clock_boot_s() + 1000, &dialled, &host), SYNTH_EXPIRED);
    assert_string_equal(host.name.text, "x.example"); /* for the log */
    rig_stop(&rig);
}

static void test_never_handed_out(void **state)
{
    (void)state;
    struct rig rig;
    struct addr dialled;
    struct host host;
    struct ip own = ip_v4(127, 0, 0, 1); /* the listener's own address */
    rig_start(&rig, 60);
    struct ip other = rig.given;
    other.bytes[3] = other.bytes[3] == 9 ? 10 : 9;
    assert_int_equal(identify(&rig, &other, clock_boot_s(), &dialled, &host), SYNTH_NEVER);
    assert_int_equal(host.kind, HOST_NONE);
    assert_int_equal(identify(&rig, &own, clock_boot_s(), &dialled, &host), SYNTH_NEVER);
    assert_int_equal(host.kind, HOST_NONE);
    rig_stop(&rig);
}

static void test_no_socket(void **state)
{
    (void)state;
    struct rig rig;
    struct addr dialled;
    struct host host;
    rig_start(&rig, 60);
    assert_int_equal(capture_identify(-1, rig.reader, clock_boot_s(), &dialled, &host), SYNTH_NEVER);
    assert_int_equal(dialled.ip.family, IP_NONE);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handed_out),
        cmocka_unit_test(test_never_handed_out),
        cmocka_unit_test(test_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
