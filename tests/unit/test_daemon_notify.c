/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon tells the service manager (sd_notify(3)) while it starts, reloads and ends. */
#include "tests/support/fake_daemon.h"

#include "common/base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static void next_notice(int fd, char got[1024])
{
    ssize_t n = recv(fd, got, 1023, 0);
    assert_true(n > 0);
    got[n] = '\0';
}

static void expect_notice(int fd, const char *text)
{
    char got[1024];
    next_notice(fd, got);
    if (strncmp(got, text, strlen(text)) != 0) {
        fail_msg("\"%s\" instead of \"%s\"", got, text);
    }
}

/* The time was rounded down to a millisecond: earlier than SIGHUP, and systemctl reload waited in vain. */
static void reload_after_signal(int fd, pid_t pid)
{
    static const char start[] = "RELOADING=1\nMONOTONIC_USEC=";
    char got[1024];
    const int64_t sent_us = clock_mono_us();
    assert_int_equal(kill(pid, SIGHUP), 0);
    next_notice(fd, got);
    assert_memory_equal(got, start, sizeof(start) - 1);
    assert_in_range(strtoll(got + sizeof(start) - 1, NULL, 10), sent_us, clock_mono_us());
}

static void test_service_manager(void **state)
{
    (void)state;
    struct fake_child c;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/notify", fake_dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    FAKE_START(&c, &fake_plain, "--workers=2");
    unsetenv("NOTIFY_SOCKET");
    expect_notice(fd, "READY=1");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    expect_notice(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect_notice(fd,
                  "READY=1\nSTATUS=policy generation 1: 1 rules, 1 endpoints"); /* also if nothing changed */
    fake_write_policy(2, "  r9:\n    nmae: x\n");
    expect_notice(fd, "READY=1\nSTATUS=policy generation 1 kept, the files are refused: ");
    fake_write_policy(2, "");
    expect_notice(fd, "READY=1\nSTATUS=policy generation 2: 2 rules, 2 endpoints");
    for (unsigned i = 0; i < 10; i++) {
        reload_after_signal(fd, c.pid);
        expect_notice(fd, "READY=1\nSTATUS=policy generation 2: ");
    }
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    expect_notice(fd, "STOPPING=1");
    assert_int_equal(fake_end_of(&c), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_service_manager, fake_set_up, fake_tear_down),
    };
    return cmocka_run_group_tests_name("daemon_notify", tests, NULL, NULL);
}
