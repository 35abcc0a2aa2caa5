/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define DURATION_MAX_MS (INT64_C(365) * 24 * 60 * 60 * 1000)

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the first that divides a value gives its shortest text. */
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
static const struct unit sizes[] = {
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"", 1},
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_digit(s.data[n])) {
        n++;
    }
    return n;
}

int num_u64(struct span s, uint64_t min, uint64_t max, uint64_t *out)
{
    if (s.len == 0 || count_digits(s) != s.len || (s.len > 1 && s.data[0] == '0')) {
        return -EINVAL;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t digit = (uint64_t)(s.data[i] - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return -ERANGE;
        }
        v = v * 10 + digit;
    }
    if (v < min || v > max) {
        return -ERANGE;
    }
    *out = v;
    return 0;
}

int num_port(struct span s, uint16_t *out)
{
    uint64_t v;
    int rc = num_u64(s, 1, 65535, &v);
    if (rc == 0) {
        *out = (uint16_t)v;
    }
    return rc;
}

/* NUMBER UNIT with a unit of the table, at most max. */
static int parse_with_unit(struct span s, const struct unit *units, size_t count, uint64_t max, uint64_t *out)
{
    size_t digits = count_digits(s);
    struct span name = span_sub(s, digits, s.len);
    for (size_t i = 0; i < count; i++) {
        if (!span_is_equal(name, span_str(units[i].name))) {
            continue;
        }
        uint64_t v;
        int rc = num_u64(span_sub(s, 0, digits), 0, max / units[i].factor, &v);
        if (rc == 0) {
            *out = v * units[i].factor;
        }
        return rc;
    }
    return -EINVAL;
}

int num_duration_ms(struct span s, int64_t *out)
{
    uint64_t ms = 0;
    if (!span_is_equal(s, SPAN_LIT("0"))) {
        int rc = parse_with_unit(s, durations, sizeof durations / sizeof durations[0],
                                 (uint64_t)DURATION_MAX_MS, &ms);
        if (rc != 0) {
            return rc;
        }
    }
    *out = (int64_t)ms;
    return 0;
}

int num_size_bytes(struct span s, uint64_t *out)
{
    return parse_with_unit(s, sizes, sizeof sizes / sizeof sizes[0], UINT64_MAX, out);
}

const char *num_duration_text(int64_t ms, char *text, size_t cap)
{
    if (!CHECK(ms >= 0)) {
        ms = 0;
    }
    int n = 0;
    if (ms == 0) {
        n = snprintf(text, cap, "0");
    } else {
        size_t i = 0;
        while ((uint64_t)ms % durations[i].factor != 0) {
            i++; /* ends at ms, which divides all */
        }
        n = snprintf(text, cap, "%" PRIu64 "%s", (uint64_t)ms / durations[i].factor, durations[i].name);
    }
    (void)CHECK(n >= 0 && (size_t)n < cap);
    return text;
}
