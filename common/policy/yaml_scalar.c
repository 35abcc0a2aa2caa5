/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/yaml_scalar.h"

static bool is_number_start(struct span s)
{
    size_t i = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    bool has_dot = i < s.len && s.data[i] == '.';
    i += has_dot;
    return i < s.len && s.data[i] >= '0' && s.data[i] <= '9';
}

bool yaml_is_decimal(struct span s)
{
    size_t i = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    if (i == s.len || (s.data[i] == '0' && s.len > i + 1)) {
        return false; /* nothing, or a leading zero: not an integer for OpenShell either */
    }
    for (; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool is_radix_number(struct span s)
{
    if (s.len < 3 || s.data[0] != '0') {
        return false;
    }
    uint8_t mark = s.data[1];
    for (size_t i = 2; i < s.len; i++) {
        uint8_t c = ascii_lower(s.data[i]);
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        bool is_right = mark == 'x'   ? is_hex
                        : mark == 'o' ? c >= '0' && c <= '7'
                                      : mark == 'b' && (c == '0' || c == '1');
        if (!is_right) {
            return false;
        }
    }
    return true;
}

/* The forms of YAML 1.2's core schema: digits with one dot or an exponent, .inf and .nan. */
static bool is_float(struct span s)
{
    static const char *const names[] = {".inf", "-.inf", "+.inf", ".nan"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (span_is_equal_nocase(s, span_str(names[i]))) {
            return true;
        }
    }
    if (!is_number_start(s)) {
        return false;
    }
    size_t dots = 0;
    size_t exponents = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = ascii_lower(s.data[i]);
        if (c == '.') {
            dots++;
        } else if (c == 'e') {
            exponents++;
        } else if ((c == '-' || c == '+') ? i > 0 && ascii_lower(s.data[i - 1]) != 'e' : c < '0' || c > '9') {
            return false;
        }
    }
    uint8_t last = s.data[s.len - 1];
    return dots <= 1 && exponents <= 1 && dots + exponents > 0 && last != '-' && last != '+' &&
           ascii_lower(last) != 'e';
}

static bool is_one_of(struct span s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_is_equal(s, span_str(words[i]))) {
            return true;
        }
    }
    return false;
}

enum scalar_type yaml_scalar_type(const struct yaml_node *n)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    if (!n->is_plain) {
        return SCALAR_TEXT;
    }
    if (is_one_of(n->text, nulls, sizeof nulls / sizeof nulls[0])) {
        return SCALAR_NULL;
    }
    if (is_one_of(n->text, bools, sizeof bools / sizeof bools[0])) {
        return SCALAR_BOOL;
    }
    if (yaml_is_decimal(n->text) || is_radix_number(n->text)) {
        return SCALAR_INT;
    }
    return is_float(n->text) ? SCALAR_FLOAT : SCALAR_TEXT;
}
