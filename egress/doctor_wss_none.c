/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_wss where there is no OpenSSL: nobody gets as far as to have a session. */
#include "egress/doctor_wss.h"

#include <errno.h>

bool doctor_wss_is_built(void)
{
    return false;
}

int doctor_wss_open(int fd, const struct host *host, int64_t end_ms, struct doctor_wss **out, struct err *err)
{
    (void)fd;
    (void)host;
    (void)end_ms;
    *out = NULL;
    err_set(err, "this build has no TLS (configure it --with-openssl)");
    return -ENOSYS;
}

const char *doctor_wss_distrust(const struct doctor_wss *w)
{
    (void)w;
    return "this build has no TLS";
}

int doctor_wss_send(struct doctor_wss *w, struct span bytes, int64_t end_ms)
{
    (void)w;
    (void)bytes;
    (void)end_ms;
    return -ENOSYS;
}

ssize_t doctor_wss_receive(struct doctor_wss *w, void *data, size_t cap, int64_t end_ms)
{
    (void)w;
    (void)data;
    (void)cap;
    (void)end_ms;
    return -ENOSYS;
}

void doctor_wss_free(struct doctor_wss *w)
{
    (void)w;
}
