/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/std_fds.h"

#include <fcntl.h>
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
