/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of the dial plan under any order of addresses, attempts that end, and time, one byte each: what
 * is dialled was given to it and is dialled once, IPv6 first and in turns, no two attempts begin within the
 * stagger unless one failed between, and it fails exactly when nothing is left, under way or to come.
 */
#include "tests/fuzz/fuzz.h"

#include "tunneld/dial_plan.h"

enum op { OP_V6 = 0, OP_V4, OP_COMPLETE, OP_FAILED, OP_NEXT, OP_TIME, OP_SHORT_TIME, OP_COUNT };

struct model {
    struct dial_plan plan;
    bool is_known[2][256], is_started[2][256]; /* [0] IPv6, [1] IPv4; by the last byte */
    unsigned known[2], started[2];
    unsigned in_flight;
    bool is_complete, has_failed_since; /* the last start */
    int64_t now_ms, last_ms;
    int last_family; /* -1: none began */
};

static struct ip address(int family, uint8_t last)
{
    struct ip a = {.family = IP_V6, .bytes = {0x26}};
    a.bytes[15] = last;
    return family == 0 ? a : ip_v4(198, 51, 100, last);
}

static void add(struct model *m, int family, uint8_t last)
{
    struct ip a = address(family, last);
    bool is_new = !m->is_known[family][last] && m->known[family] < DIAL_PLAN_PER_FAMILY;
    REQUIRE(dial_plan_add(&m->plan, &a) == is_new);
    if (is_new) {
        m->is_known[family][last] = true;
        m->known[family]++;
    }
}

static void started(struct model *m, const struct ip *ip)
{
    int family = ip->family == IP_V6 ? 0 : 1;
    uint8_t last = family == 0 ? ip->bytes[15] : ip->bytes[3];
    struct ip same = address(family, last);
    bool has_other = m->started[1 - family] < m->known[1 - family];
    REQUIRE(ip_is_equal(ip, &same) && m->is_known[family][last] && !m->is_started[family][last]);
    REQUIRE(m->in_flight == 0 || m->has_failed_since || m->now_ms >= m->last_ms + DIAL_PLAN_STAGGER_MS);
    REQUIRE(!has_other || family == (m->last_family == 0 ? 1 : 0)); /* in turns while both have some */
    m->is_started[family][last] = true;
    m->started[family]++;
    m->in_flight++;
    m->has_failed_since = false;
    m->last_ms = m->now_ms;
    m->last_family = family;
}

static void next(struct model *m)
{
    struct ip ip = {0};
    int64_t wake_at_ms = 0;
    bool has_left = m->started[0] + m->started[1] < m->known[0] + m->known[1];
    switch (dial_plan_next(&m->plan, m->now_ms, &ip, &wake_at_ms)) {
    case DIAL_STEP_START:
        REQUIRE(has_left);
        started(m, &ip);
        break;
    case DIAL_STEP_WAIT:
        REQUIRE(has_left ? m->in_flight > 0 && !m->has_failed_since : m->in_flight > 0 || !m->is_complete);
        REQUIRE(has_left ? wake_at_ms == m->last_ms + DIAL_PLAN_STAGGER_MS && wake_at_ms > m->now_ms
                         : wake_at_ms == -1);
        break;
    case DIAL_STEP_FAILED:
        REQUIRE(!has_left && m->in_flight == 0 && m->is_complete && wake_at_ms == -1);
        break;
    }
}

static void do_op(struct model *m, uint8_t byte)
{
    uint8_t value = byte / OP_COUNT;
    switch ((enum op)(byte % OP_COUNT)) {
    case OP_V6:
        add(m, 0, value);
        break;
    case OP_V4:
        add(m, 1, value);
        break;
    case OP_COMPLETE:
        dial_plan_complete(&m->plan);
        m->is_complete = true;
        break;
    case OP_FAILED:
        if (m->in_flight > 0) {
            dial_plan_attempt_failed(&m->plan);
            m->in_flight--;
            m->has_failed_since = true;
        }
        break;
    case OP_NEXT:
        next(m);
        break;
    case OP_TIME:
        m->now_ms += (int64_t)value * 25; /* 10 of them are the stagger */
        break;
    case OP_SHORT_TIME:
        m->now_ms += value;
        break;
    case OP_COUNT:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model m = {.now_ms = 1000, .last_family = -1};
    dial_plan_init(&m.plan);
    for (size_t i = 0; i < size && i < 4096; i++) {
        do_op(&m, data[i]);
    }
    /* Whatever came before: without more addresses it ends, and not before each was dialled. */
    do_op(&m, OP_COMPLETE);
    for (unsigned i = 0; i < 2 * DIAL_PLAN_MAX + 1; i++) {
        do_op(&m, OP_NEXT);
        do_op(&m, OP_FAILED);
    }
    struct ip ip;
    int64_t wake_at_ms;
    REQUIRE(dial_plan_next(&m.plan, m.now_ms, &ip, &wake_at_ms) == DIAL_STEP_FAILED);
    REQUIRE(m.started[0] == m.known[0] && m.started[1] == m.known[1]);
    return 0;
}
