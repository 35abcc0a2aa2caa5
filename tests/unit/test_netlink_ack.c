/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the kernel: one and several in a datagram, errors, and lengths that do not fit together. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/netlink_ack.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>

#define LAST 7u

struct message {
    uint32_t len; /* 0: as it is */
    uint16_t type;
    uint32_t seq;
    int error;
    size_t behind; /* bytes behind the error: the message that it is about */
};

static size_t put(uint8_t *out, size_t at, const struct message *m)
{
    const size_t len = NLMSG_LENGTH(sizeof(struct nlmsgerr)) + m->behind;
    const struct nlmsghdr h = {
        .nlmsg_len = m->len != 0 ? m->len : (uint32_t)len, .nlmsg_type = m->type, .nlmsg_seq = m->seq};
    const struct nlmsgerr e = {.error = m->error};
    memset(out + at, 0, NLMSG_ALIGN(len));
    memcpy(out + at, &h, sizeof h);
    memcpy(out + at + sizeof h, &e, sizeof e);
    return at + NLMSG_ALIGN(len);
}

/* In memory of exactly that size, so that a sanitizer sees a read behind it. */
static struct netlink_acks look(const uint8_t *bytes, size_t len)
{
    struct netlink_acks acks = {0};
    uint8_t *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy + 1, bytes, len); /* at an odd address */
    netlink_ack_read(&acks, span_make(copy + 1, len), LAST);
    free(copy);
    return acks;
}

static const struct {
    struct message messages[3];
    int error;
    bool is_done;
} rows[] = {
    {{{.type = NLMSG_ERROR, .seq = LAST}}, 0, true},
    {{{.type = NLMSG_ERROR, .seq = LAST, .behind = 40}}, 0, true},
    {{{.type = NLMSG_ERROR, .seq = LAST, .error = -EPERM}}, -EPERM, false},
    {{{.type = NLMSG_ERROR, .seq = 3, .error = -ENOENT}, {.type = NLMSG_ERROR, .seq = LAST}}, -ENOENT, true},
    {{{.type = NLMSG_ERROR, .seq = 3, .error = -ENOENT, .behind = 21},
      {.type = NLMSG_ERROR, .seq = 4, .error = -EINVAL}},
     -ENOENT,
     false},
    {{{.type = NLMSG_ERROR, .seq = 6}}, 0, false}, /* of another message */
    {{{.type = NLMSG_DONE, .seq = LAST}}, 0, false},
    {{{.type = NLMSG_NOOP, .seq = LAST}, {.type = NLMSG_ERROR, .seq = LAST}}, 0, true},
    {{{.type = NLMSG_ERROR, .seq = LAST, .error = 1}}, -EBADMSG, false}, /* no kernel says that */
    {{{.type = NLMSG_ERROR, .seq = LAST, .error = INT32_MIN}}, -EBADMSG, false},
    {{{.type = NLMSG_ERROR, .seq = LAST, .error = -4095}}, -4095, false},
    {{{.type = NLMSG_ERROR, .seq = LAST, .error = -4096}}, -EBADMSG, false},
    {{{.len = 15, .type = NLMSG_ERROR, .seq = LAST}}, -EBADMSG, false},
    {{{.len = 16, .type = NLMSG_ERROR, .seq = LAST}}, -EBADMSG, false}, /* no error in it */
    {{{.len = 35, .type = NLMSG_ERROR, .seq = LAST}}, -EBADMSG, false},
    {{{.len = 37, .type = NLMSG_ERROR, .seq = LAST}}, -EBADMSG, false}, /* more than there is */
    {{{.len = 0x7FFFFFFF, .type = NLMSG_ERROR, .seq = LAST}}, -EBADMSG, false},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[512];
        size_t len = 0;
        for (size_t k = 0; k < 3 && rows[i].messages[k].type != 0; k++) {
            len = put(bytes, len, &rows[i].messages[k]);
        }
        const struct netlink_acks acks = look(bytes, len);
        if (acks.error != rows[i].error || acks.is_done != rows[i].is_done) {
            fail_msg("row %zu: error %d, done %d", i, acks.error, acks.is_done);
        }
    }
}

/* Padded to the next four bytes these are 0, so that whoever steps by them never comes to the end. */
static void test_length_that_wraps(void **state)
{
    (void)state;
    for (uint32_t len = 0xFFFFFFFDu; len != 0; len++) {
        uint8_t bytes[64];
        const size_t end = put(bytes, 0, &(struct message){.len = len, .type = NLMSG_ERROR, .seq = LAST});
        assert_int_equal(look(bytes, end).error, -EBADMSG);
        assert_int_equal(look(bytes, sizeof(struct nlmsghdr)).error, -EBADMSG); /* and nothing behind it */
    }
}

static void test_truncated(void **state)
{
    (void)state;
    uint8_t bytes[128];
    const size_t first = put(bytes, 0, &(struct message){.type = NLMSG_ERROR, .seq = 1});
    const size_t end = put(bytes, first, &(struct message){.type = NLMSG_ERROR, .seq = LAST, .behind = 2});
    const size_t unpadded = end - 2;
    for (size_t len = 0; len <= end; len++) {
        const struct netlink_acks acks = look(bytes, len);
        const bool is_whole = len == 0 || len == first || len >= unpadded;
        assert_int_equal(acks.error, is_whole ? 0 : -EBADMSG);
        assert_int_equal(acks.is_done, len >= unpadded);
    }
}

static void test_several_datagrams(void **state)
{
    (void)state;
    struct netlink_acks acks = {0};
    uint8_t bytes[64];
    size_t len = put(bytes, 0, &(struct message){.type = NLMSG_ERROR, .seq = 2, .error = -EEXIST});
    netlink_ack_read(&acks, span_make(bytes, len), LAST);
    len = put(bytes, 0, &(struct message){.type = NLMSG_ERROR, .seq = LAST, .error = -ENOENT});
    netlink_ack_read(&acks, span_make(bytes, len), LAST);
    assert_int_equal(acks.error, -EEXIST); /* the first */
    assert_false(acks.is_done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_length_that_wraps),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_several_datagrams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
