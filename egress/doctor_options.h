/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `doctor`. Borrows argv. */
#pragma once

#include "egress/daemon_args.h"
#include "egress/doctor.h"

#define DOCTOR_TARGETS_MAX 16

struct doctor_options {
    bool help, is_json;
    const char *proxy;
    int64_t idle_ms;
    struct arg_list policies;
    struct doctor_target targets[DOCTOR_TARGETS_MAX]; /* port 0: none was given */
    size_t target_count;
};
/* argv[0] is "doctor". 0; -EINVAL with *err naming the option or argument (exit 64); -ENOMEM. */
MUST_CHECK int doctor_options_parse(int argc, char **argv, struct doctor_options *out, struct err *err);
void doctor_options_fini(struct doctor_options *o);
