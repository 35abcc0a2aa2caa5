/* SPDX-License-Identifier: Apache-2.0 */
/* Exit statuses that scripts rely on (sysexits.h numbers). */
#pragma once

enum exit_status {
    EXIT_STATUS_OK = 0,     /* asked to stop, or --check found nothing */
    EXIT_STATUS_USAGE = 64, /* an option: its name is on standard error */
    EXIT_STATUS_OS = 71,    /* the operating system refused: a port in use, a descriptor, memory */
    EXIT_STATUS_CONFIG = 78 /* policy or configuration */
};
