/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that wait until a moment of clock_mono_ms() and no longer: `doctor` has no loop, one thing at a
 * time. Everything returns -errno on failure, -ETIMEDOUT at end_ms.
 */
#pragma once

#include "common/base/span.h"
#include "common/net/addr.h"

#include <sys/types.h>

/* 0 once fd is ready for POLLIN or POLLOUT, or broken: the next call says how. */
MUST_CHECK int doctor_io_wait(int fd, short events, int64_t end_ms);
/* A connected descriptor, the caller's to close. */
MUST_CHECK int doctor_io_connect(const struct addr *to, int64_t end_ms);
/* All of it or an error. */
MUST_CHECK int doctor_io_send(int fd, struct span bytes, int64_t end_ms);
/* At most cap bytes, at least one; 0: the peer has closed. */
MUST_CHECK ssize_t doctor_io_receive(int fd, void *data, size_t cap, int64_t end_ms);
