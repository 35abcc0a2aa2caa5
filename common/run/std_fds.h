/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller may have closed 0, 1 or 2. A socket of ours must not get that number and pass for it, so /dev/null
 * takes its place: writing to standard output still fails, as a result that nobody gets has to; standard
 * error is silent.
 */
#pragma once

#include "common/base/err.h"

/* First thing in main(). False: there is no /dev/null, and nobody to tell. */
MUST_CHECK bool std_fds_open(void);
/* Has everything that was printed reached standard output? 0, or -errno and *err says that it has not: a
 * result that nobody got is none. */
MUST_CHECK int std_fds_flush(struct err *err);
