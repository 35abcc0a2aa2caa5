/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/json_flat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *read_escape(const char *p, uint8_t *byte)
{
    static const char forms[] = "\"\\/bfnrt";
    static const char means[] = "\"\\/\b\f\n\r\t";
    const char *hit = *p == '\0' ? NULL : strchr(forms, *p);
    if (hit != NULL) {
        *byte = (uint8_t)means[hit - forms];
        return p + 1;
    }
    unsigned v;
    assert_int_equal(*p, 'u');
    assert_true(strspn(p + 1, "0123456789abcdefABCDEF") >= 4);
    assert_int_equal(sscanf(p + 1, "%4x", &v), 1);
    assert_true(v <= 0xff);
    *byte = (uint8_t)v;
    return p + 5;
}

static const char *read_string(const char *p, uint8_t *bytes, size_t cap, size_t *len)
{
    assert_int_equal(*p++, '"');
    *len = 0;
    while (*p != '"') {
        uint8_t byte = (uint8_t)*p;
        assert_in_range(byte, 0x20, 0x7e); /* stricter than JSON: the log is plain ASCII */
        p = byte == '\\' ? read_escape(p + 1, &byte) : p + 1;
        assert_true(*len < cap);
        bytes[(*len)++] = byte;
    }
    return p + 1;
}

static const char *read_value(const char *p, struct json_member *m)
{
    if (*p == '"') {
        m->kind = 's';
        return read_string(p, m->bytes, sizeof m->bytes, &m->len);
    }
    m->len = strcspn(p, ",}");
    assert_true(m->len < sizeof m->bytes);
    memcpy(m->bytes, p, m->len);
    if ((m->len == 4 && memcmp(p, "true", 4) == 0) || (m->len == 5 && memcmp(p, "false", 5) == 0)) {
        m->kind = 'b';
        return p + m->len;
    }
    m->kind = 'n';
    size_t sign = *p == '-';
    assert_true(m->len > sign && strspn(p + sign, "0123456789") >= m->len - sign);
    assert_true(m->len == sign + 1 || p[sign] != '0');
    return p + m->len;
}

size_t json_flat_read(const char *line, size_t want, struct json_member *out)
{
    static struct json_member scratch;
    const char *p = line;
    size_t count = 0;
    assert_int_equal(*p++, '{');
    for (;;) {
        struct json_member *m = count == want ? out : &scratch;
        size_t key_len;
        p = read_string(p, (uint8_t *)m->key, sizeof m->key - 1, &key_len);
        m->key[key_len] = '\0';
        assert_int_equal(*p++, ':');
        p = read_value(p, m);
        count++;
        if (*p == '}') {
            break;
        }
        assert_int_equal(*p++, ',');
    }
    assert_int_equal(p[1], '\n');
    return count;
}
