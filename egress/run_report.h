/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemons' log lines tell of one run: each distinct denial as it happens, and at the end which names
 * were resolved, which endpoints were reached, what was denied, and the narrowest rules that would have
 * admitted that. Bounded: what is beyond a limit is counted. Pure but for memory and what it prints.
 */
#pragma once

#include "common/run/synth_map.h"
#include "egress/log_line.h"

#include <stdio.h>

struct run_report;

/* NULL: out of memory. */
struct run_report *run_report_new(void);
void run_report_free(struct run_report *r);
/* One line of a log, without its end. A denial not met before is written to out. */
void run_report_line(struct run_report *r, struct span line, FILE *out);
/* The names are those of the map; NULL: they are not told. */
void run_report_print(const struct run_report *r, struct synth_map *map, const struct synth_pools *pools,
                      int64_t now_boot_s, FILE *out);
