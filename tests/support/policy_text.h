/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for tests, from text: fails the test when the text does not load. */
#pragma once

#include "common/policy/policy.h"
#include "common/policy/policy_load.h"

/* Loads one text named "test.yaml"; prints what is wrong and fails. Owned by the caller. */
struct policy_rules *policy_text_rules(const char *yaml);
struct policy *policy_text_compile(const char *yaml);
/* A policy with one rule that admits any program; each line is an endpoint in flow style: "{ host: a.b, port:
 * 1 }". */
struct policy *policy_text_endpoints(const char *lines);
struct host_name policy_text_name(const char *text);
struct ip policy_text_ip(const char *text);
