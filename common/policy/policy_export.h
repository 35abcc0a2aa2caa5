/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One document that OpenShell's own parser accepts, made from everything policy_load accepts: without our
 * extension keys, "egress" and "preset", and otherwise the text of the file as it was written, comments
 * included. The text is edited, never trusted: what comes out is parsed and loaded again and must be the
 * input minus the extensions. Pure.
 */
#pragma once

#include "common/base/buf.h"
#include "common/policy/policy_load.h"

/*
 * Appends the document to *out (a caller's buf). The texts are merged as policy_load merges them. *notes
 * collects, as warnings, what OpenShell will not do as we do.
 * 0; -EINVAL with *errors: the texts do not load, or one document cannot hold them; -EPROTO with *errors: the
 * result was not what it should be, a bug of ours; -ENOMEM. On failure nothing is appended.
 */
MUST_CHECK int policy_export(const struct policy_text *texts, size_t count, struct buf *out,
                             struct policy_diags *errors, struct policy_diags *notes);
