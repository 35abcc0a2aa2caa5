/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/log_pipe.h"

#include "common/base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

void log_pipe_open(struct log_pipe *p)
{
    assert_int_equal(pipe2(p->fds, O_NONBLOCK | O_CLOEXEC), 0);
    assert_true(fcntl(p->fds[1], F_SETPIPE_SZ, (int)sizeof(p->text)) > 0);
    log_init("dnsd", LOG_INFO, LOG_TEXT, p->fds[1]);
}

void log_pipe_close(struct log_pipe *p)
{
    (void)close(p->fds[0]);
    (void)close(p->fds[1]);
}

size_t log_pipe_read(struct log_pipe *p)
{
    ssize_t n = read(p->fds[0], p->text, sizeof(p->text) - 1);
    p->text[n > 0 ? n : 0] = '\0';
    size_t lines = 0;
    for (const char *c = p->text; *c != '\0'; c++) {
        lines += *c == '\n' ? 1 : 0;
    }
    return lines;
}
