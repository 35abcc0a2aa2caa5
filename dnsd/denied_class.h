/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which denied names are noise. A stub resolver with a search list asks for many names that no program ever
 * meant
 * ("gateway.discord.gg.svc.cluster.local"); their log lines would bury the denials that matter. Pure; it
 * decides about log lines only, never about answers.
 */
#pragma once

#include "common/policy/judge_name.h"

/*
 * True for a single label; for a name whose leading labels are an admitted name with at most six labels of a
 * search suffix behind; and for names in cluster.local that have no form of a Kubernetes service or pod.
 */
bool denied_class_is_noise(const struct policy *p, const struct host_name *name);
