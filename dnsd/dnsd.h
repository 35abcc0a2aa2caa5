/* SPDX-License-Identifier: Apache-2.0 */
/* openshell-dnsd as a whole: settings, sockets and what its workers share, given to the common life of a
 * daemon. */
#pragma once

/* Runs until asked to stop; the exit status (common/run/exit_status.h). */
int dnsd_main(int argc, char **argv);
