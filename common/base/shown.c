/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/shown.h"

static bool is_mark(const uint8_t c[3])
{
    if (c[0] != 0xe2) {
        return false;
    }
    if (c[1] == 0x80) {
        return c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae);
    }
    return c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
}

size_t shown_char(struct span s, size_t i, bool *is_safe)
{
    size_t len = span_char_len(s, i);
    const uint8_t *c = s.data + i;
    if (len == 0) {
        *is_safe = false;
        return 1;
    }
    if (len == 1) {
        *is_safe = c[0] >= 0x20 && c[0] != 0x7f;
    } else if (len == 2) {
        *is_safe = !(c[0] == 0xc2 && c[1] < 0xa0) && !(c[0] == 0xd8 && c[1] == 0x9c);
    } else {
        *is_safe = len != 3 || !is_mark(c);
    }
    return len;
}

char *shown_clean(char *text)
{
    struct span s = span_str(text);
    size_t used = 0;
    for (size_t i = 0; i < s.len;) {
        bool is_safe;
        char first = text[i];
        size_t len = shown_char(s, i, &is_safe);
        if (is_safe) {
            memmove(text + used, text + i, len);
            used += len;
        } else {
            text[used++] = first == '\t' ? ' ' : '?';
        }
        i += len;
    }
    text[used] = '\0';
    return text;
}
