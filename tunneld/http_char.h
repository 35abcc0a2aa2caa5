/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes that every HTTP head has. Pure. */
#pragma once

#include "common/base/span.h"

/* tchar of RFC 9110 5.6.2 */
static inline bool http_is_tchar(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z')) {
        return true;
    }
    return c != 0 && memchr("!#$%&'*+-.^_`|~", c, 15) != NULL;
}

/* What a field value or a reason phrase may hold (RFC 9110 5.5): HTAB, SP, VCHAR, obs-text. */
static inline bool http_is_text(uint8_t c)
{
    return c == '\t' || (c >= ' ' && c != 127);
}
