/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/interrupt.h"

#include "common/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t ending_signals(void)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        struct sigaction action;
        if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            (void)sigaddset(&set, ending[i]);
        }
    }
    return set;
}

int interrupt_poll(int fd, int timeout_ms)
{
    const sigset_t set = ending_signals();
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK); /* -1: poll() leaves it out */
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    int64_t end_ms = clock_mono_ms() + timeout_ms;
    struct signalfd_siginfo info;
    int result = 0;
    int n = 0;
    do {
        int64_t left = end_ms - clock_mono_ms();
        n = poll(p, 2, timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && p[1].revents != 0 && read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
        result = -(int)info.ssi_signo;
    } else if (n > 0 && p[0].revents != 0) {
        result = 1;
    }
    if (signals >= 0) {
        (void)close(signals);
    }
    return result;
}
