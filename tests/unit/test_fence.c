/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the fence that need no privilege; the fence itself is tested end to end
 * (tests/e2e/exitcode.sh). */
#include "egress/fence.h"
#include "egress/netlink.h"
#include "egress/nft.h"
#include "egress/private_dir.h"

#include "common/dns/resolv_conf.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_resolv_conf_has_one_nameserver_and_no_search(void **state)
{
    (void)state;
    struct addr servers[4];
    char text[ADDR_TEXT_CAP];
    assert_int_equal(resolv_conf_parse(span_str(fence_resolv_conf), servers, 4), 1);
    assert_string_equal(addr_text(&servers[0], text), "127.0.0.1:53");
    assert_null(strstr(fence_resolv_conf, "search"));
    assert_non_null(strstr(fence_resolv_conf, "ndots:1"));
    /* files, then our resolver: nothing that asks another process */
    assert_non_null(strstr(fence_nsswitch_conf, "hosts: files dns\n"));
}

static void test_wait_status(void **state)
{
    (void)state;
    assert_int_equal(fence_wait_status(W_EXITCODE(0, 0)), 0);
    assert_int_equal(fence_wait_status(W_EXITCODE(7, 0)), 7);
    assert_int_equal(fence_wait_status(W_EXITCODE(255, 0)), 255);
    assert_int_equal(fence_wait_status(W_EXITCODE(0, SIGTERM)), 128 + SIGTERM);
}

static void test_missing_user_namespaces_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        struct fence_userns_facts facts;
        int error;
        const char *names;
    } table[] = {
        {{-1, -1, -1}, EPERM, "no user namespace: Operation not permitted (a container's seccomp profile"},
        {{1, 1, 0}, EPERM, "no user namespace: Operation not permitted"},
        {{0, 1, 1}, EPERM, "kernel.unprivileged_userns_clone=1"},
        {{-1, 0, -1}, ENOSPC, "switched off here: sysctl user.max_user_namespaces=15000"},
        {{-1, 1, 1}, ENOSPC, "too many user namespaces"},
        {{-1, 1, 1}, EPERM, "deploy/apparmor/openshell-egress"},
        {{1, 1, 1}, EACCES, "AppArmor"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct err err = {""};
        fence_explain_userns(&table[i].facts, table[i].error, &err);
        assert_non_null(strstr(err.text, table[i].names));
        assert_non_null(strstr(err.text, table[i].error == ENOSPC && i == 4 ? "raise" : "run as root"));
    }
}

static void test_ways_out_are_taken(void **state)
{
    (void)state;
    static const char *const names[] = {"DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "DISPLAY", "XAUTHORITY",
                                        "WAYLAND_DISPLAY"};
    const char *const keep[] = {"DISPLAY", "/run/x"};
    const char *const set[] = {"SSH_AUTH_SOCK=mine", "E=a=b"};
    const struct fence_environment e = {.set = set, .set_count = 2, .keep = keep, .keep_count = 2};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(fence_takes_variable(names[i]));
        (void)setenv(names[i], "outside", 1);
    }
    (void)setenv("DISPLAY_OF_MINE", "x", 1);
    assert_false(fence_takes_variable("DISPLAY_OF_MINE"));
    assert_int_equal(fence_environment(&e, NULL), 0);
    assert_null(getenv("DBUS_SESSION_BUS_ADDRESS"));
    assert_null(getenv("XAUTHORITY"));
    assert_string_equal(getenv("DISPLAY"), "outside");
    assert_string_equal(getenv("DISPLAY_OF_MINE"), "x");
    assert_string_equal(getenv("SSH_AUTH_SOCK"), "mine");
    assert_string_equal(getenv("E"), "a=b");
}

static void test_environment(void **state)
{
    (void)state;
    (void)setenv("HTTP_PROXY", "http://outside:1", 1);
    (void)setenv("ALL_PROXY", "socks5://outside:1", 1);
    (void)setenv("LISTEN_FDS", "3", 1);
    assert_int_equal(fence_environment(&(struct fence_environment){0}, NULL), 0);
    assert_string_equal(getenv("HTTPS_PROXY"), FENCE_PROXY_URL);
    assert_string_equal(getenv("https_proxy"), FENCE_PROXY_URL);
    assert_string_equal(getenv("NO_PROXY"), "localhost,127.0.0.1,::1");
    assert_string_equal(getenv("HTTP_PROXY"), FENCE_PROXY_URL);
    assert_string_equal(getenv("http_proxy"), FENCE_PROXY_URL);
    assert_null(getenv("ALL_PROXY"));
    assert_null(getenv("LISTEN_FDS"));
    assert_int_equal(fence_environment(&(struct fence_environment){.no_proxy = true}, NULL), 0);
    assert_null(getenv("HTTPS_PROXY"));
    assert_null(getenv("HTTP_PROXY"));
    assert_null(getenv("http_proxy"));
    assert_null(getenv("NO_PROXY"));
}

/* Finds an attribute of a message; NULL if it is not there. */
static const void *attribute(const uint8_t *message, size_t len, size_t family_header, unsigned short type,
                             size_t want)
{
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(family_header);
    while (at + sizeof(struct rtattr) <= len) {
        struct rtattr a;
        memcpy(&a, message + at, sizeof a);
        assert_true(a.rta_len >= sizeof a && at + a.rta_len <= len);
        if (a.rta_type == type) {
            assert_int_equal(a.rta_len - sizeof a, want);
            return message + at + sizeof a;
        }
        at += RTA_ALIGN(a.rta_len);
    }
    return NULL;
}

static void test_address_message(void **state)
{
    (void)state;
    uint8_t message[256];
    struct nlmsghdr header;
    struct ifaddrmsg body;
    struct ip v6;
    assert_int_equal(ip_parse(SPAN_LIT("fd00:5e11::1"), &v6), 0);
    size_t len = netlink_build_addr(message, 1, &v6);
    memcpy(&header, message, sizeof header);
    memcpy(&body, message + NLMSG_HDRLEN, sizeof body);
    assert_int_equal(header.nlmsg_len, len);
    assert_int_equal(header.nlmsg_type, RTM_NEWADDR);
    assert_int_equal(body.ifa_family, AF_INET6);
    assert_int_equal(body.ifa_prefixlen, 128);
    assert_int_equal(body.ifa_flags, IFA_F_NODAD);
    assert_memory_equal(attribute(message, len, sizeof body, IFA_LOCAL, 16), v6.bytes, 16);
}

static void test_route_message(void **state)
{
    (void)state;
    uint8_t message[256];
    struct rtmsg body;
    struct ip_prefix pool;
    const struct ip source = ip_v4(127, 0, 0, 1);
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/15"), &pool), 0);
    size_t len = netlink_build_route(message, 7, &pool, &source);
    memcpy(&body, message + NLMSG_HDRLEN, sizeof body);
    assert_int_equal(body.rtm_type, RTN_LOCAL);
    assert_int_equal(body.rtm_table, RT_TABLE_LOCAL);
    assert_int_equal(body.rtm_dst_len, 15);
    assert_memory_equal(attribute(message, len, sizeof body, RTA_DST, 4), pool.base.bytes, 4);
    assert_memory_equal(attribute(message, len, sizeof body, RTA_PREFSRC, 4), source.bytes, 4);
    int index = 7;
    assert_memory_equal(attribute(message, len, sizeof body, RTA_OIF, sizeof index), &index, sizeof index);
    len = netlink_build_route(message, 7, &pool, NULL);
    assert_null(attribute(message, len, sizeof body, RTA_PREFSRC, 4));
}

static void test_private_dir(void **state)
{
    (void)state;
    struct private_dir d;
    struct err err = {""};
    struct stat st;
    assert_int_equal(private_dir_new(&d, &err), 0);
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(d.etc, &st), 0);
    char path[PRIVATE_DIR_CAP];
    memcpy(path, d.path, sizeof path);
    FILE *f = fopen(d.log, "w");
    assert_non_null(f);
    (void)fclose(f);
    private_dir_remove(&d);
    assert_int_equal(stat(path, &st), -1);
    private_dir_remove(&d); /* idempotent */
}

/* How many messages of the type there are in the batch, whose lengths add up. */
static unsigned count_messages(const uint8_t *batch, size_t len, unsigned type)
{
    unsigned count = 0;
    size_t at = 0;
    while (at < len) {
        struct nlmsghdr head;
        assert_true(len - at >= sizeof head);
        memcpy(&head, batch + at, sizeof head);
        assert_true(head.nlmsg_len >= sizeof head + sizeof(struct nfgenmsg) && head.nlmsg_len <= len - at);
        assert_int_equal(head.nlmsg_len % 4, 0);
        count += head.nlmsg_type == type ? 1 : 0;
        at += head.nlmsg_len;
    }
    return count;
}

/* What the kernel makes of it is seen end to end (tests/e2e/fence_net.sh). */
static void test_rule_set(void **state)
{
    (void)state;
    static uint8_t batch[NFT_BATCH_CAP];
    struct nft_config cfg = {.capture_port = 15001, .has_v6 = true};
    cfg.pools.has_v4 = cfg.pools.has_v6 = true;
    cfg.pools.v4 = (struct ip_prefix){.base = ip_v4(198, 18, 0, 0), .bits = 15};
    cfg.pools.v6 = (struct ip_prefix){.base = {.family = IP_V6, .bytes = {0xfd}}, .bits = 64};
    const unsigned rule = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE;
    size_t len = nft_build(batch, &cfg);
    assert_int_equal(count_messages(batch, len, NFNL_MSG_BATCH_BEGIN), 1);
    assert_int_equal(count_messages(batch, len, NFNL_MSG_BATCH_END), 1);
    assert_int_equal(count_messages(batch, len, rule), 9);
    cfg.has_v6 = false; /* a kernel without IPv6: neither the pool nor loopback */
    len = nft_build(batch, &cfg);
    assert_int_equal(count_messages(batch, len, rule), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolv_conf_has_one_nameserver_and_no_search),
        cmocka_unit_test(test_wait_status),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_ways_out_are_taken),
        cmocka_unit_test(test_missing_user_namespaces_are_told_apart),
        cmocka_unit_test(test_address_message),
        cmocka_unit_test(test_route_message),
        cmocka_unit_test(test_rule_set),
        cmocka_unit_test(test_private_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
