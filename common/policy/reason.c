/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/reason.h"

#include <stddef.h>

const char *reason_text(enum reason r)
{
    static const char *const words[] = {[REASON_NONE] = "-",
#define X(name, text) [REASON_##name] = (text),
                                        REASON_LIST(X)
#undef X
    };
    size_t i = (size_t)r;
    return i < sizeof words / sizeof words[0] ? words[i] : words[REASON_NONE];
}
