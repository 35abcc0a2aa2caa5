/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses written as text, for tests only: a text that does not parse fails the case. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/ip.h"

static inline struct ip must_ip(const char *text)
{
    struct ip a = {0};
    if (ip_parse(span_str(text), &a) != 0) {
        fail_msg("%s does not parse", text);
    }
    return a;
}

static inline struct ip_prefix must_prefix(const char *text)
{
    struct ip_prefix p = {0};
    if (ip_prefix_parse(span_str(text), &p) != 0) {
        fail_msg("%s does not parse", text);
    }
    return p;
}

static inline void assert_class(const struct ip *a, enum ip_class expect)
{
    char text[IP_TEXT_CAP];
    enum ip_class class = ip_classify(a);
    if (class != expect) {
        fail_msg("%s is %s, not %s", ip_text(a, text), ip_class_name(class), ip_class_name(expect));
    }
}
