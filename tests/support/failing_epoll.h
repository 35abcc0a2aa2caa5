/* SPDX-License-Identifier: Apache-2.0 */
/* epoll_ctl(2) that fails when told to, also for libev: a program's own symbol goes before the C library's.
 */
#pragma once

/* The next count additions, of any descriptor and thread, fail with ENOSPC: no watch is left for this user.
 */
void failing_epoll_adds(unsigned count);
unsigned failing_epoll_left(void);
