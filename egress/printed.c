/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/printed.h"

#include "common/run/std_fds.h"

#include <stdio.h>

int printed(const char *program, int status, int failed)
{
    struct err err = {""};
    if (std_fds_flush(&err) == 0) {
        return status;
    }
    (void)fprintf(stderr, "%s: %s\n", program, err.text);
    return failed;
}
