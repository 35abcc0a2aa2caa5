/* SPDX-License-Identifier: Apache-2.0 */
/* The two forms in which the facts are printed. Nothing is decided here. */
#pragma once

#include "egress/explain_facts.h"

#include <stdio.h>

/* For a person; is_live: --live was given. */
void explain_print_text(FILE *out, const struct explain_facts *f, bool is_live);
/* One JSON document. 0, or -errno of the writer. */
MUST_CHECK int explain_print_json(FILE *out, const struct explain_facts *f, bool is_live);
