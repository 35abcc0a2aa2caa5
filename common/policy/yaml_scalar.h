/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scalar is without a schema: the core schema of YAML 1.2 (10.3), as OpenShell's parser reads it.
 * "off" and "no" are texts, and so is a number with a leading zero. Pure.
 */
#pragma once

#include "common/policy/yaml_doc.h"

enum scalar_type { SCALAR_TEXT = 0, SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT };

enum scalar_type yaml_scalar_type(const struct yaml_node *n);
/* Decimal digits with an optional sign, and no leading zero. */
bool yaml_is_decimal(struct span s);
