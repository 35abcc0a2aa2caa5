/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool std_fds_open(void)
{
    for (int wanted = STDIN_FILENO; wanted <= STDERR_FILENO; wanted++) {
        if (fcntl(wanted, F_GETFD) >= 0) {
            continue;
        }
        /* the lowest number that is free is this one */
        if (open("/dev/null", wanted == STDERR_FILENO ? O_WRONLY : O_RDONLY) != wanted) {
            return false;
        }
    }
    return true;
}

int std_fds_flush(struct err *err)
{
    int earlier = errno; /* of the write that failed, where that was not the last one */
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return 0;
    }
    int error = errno != 0 ? errno : earlier != 0 ? earlier : EIO;
    err_set(err, "cannot write to standard output: %s", strerror(error));
    return -error;
}
