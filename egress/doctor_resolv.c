/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_resolv.h"

#include "common/base/num.h"
#include "common/dns/resolv_conf.h"

#include <fcntl.h>
#include <unistd.h>

#define FILE_MAX 16384U
#define NDOTS_MAX 15U /* the C library's own limit */

static void read_options(struct span rest, struct doctor_resolv *out)
{
    const struct span ndots = SPAN_LIT("ndots:");
    for (struct span word = resolv_conf_word(&rest); word.len > 0; word = resolv_conf_word(&rest)) {
        uint64_t n = 0;
        if (span_is_equal(span_sub(word, 0, ndots.len), ndots) &&
            num_u64(span_sub(word, ndots.len, word.len), 0, UINT32_MAX, &n) == 0) {
            out->ndots = n > NDOTS_MAX ? NDOTS_MAX : (unsigned)n;
        }
    }
}

static void read_line(struct span line, struct doctor_resolv *out)
{
    struct span rest = line;
    struct span keyword = resolv_conf_word(&rest);
    if (keyword.data != line.data) { /* resolv.conf(5): it starts the line */
        return;
    }
    if (span_is_equal(keyword, SPAN_LIT("search")) || span_is_equal(keyword, SPAN_LIT("domain"))) {
        out->search_count = 0;
        while (resolv_conf_word(&rest).len > 0) {
            out->search_count++;
        }
    } else if (span_is_equal(keyword, SPAN_LIT("options"))) {
        read_options(rest, out);
    }
}

void doctor_resolv_parse(struct span text, struct doctor_resolv *out)
{
    *out = (struct doctor_resolv){.ndots = 1, .is_read = true};
    out->server_count = resolv_conf_parse(text, out->servers, DOCTOR_SERVERS_MAX);
    while (text.len > 0) {
        size_t end = span_find(text, '\n');
        read_line(span_sub(text, 0, end), out);
        text = span_sub(text, end + 1, text.len);
    }
}

void doctor_resolv_read(const char *path, struct doctor_resolv *out)
{
    uint8_t data[FILE_MAX];
    *out = (struct doctor_resolv){.ndots = 1};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return;
    }
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < sizeof data) {
        n = read(fd, data + len, sizeof data - len);
        len += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    if (n >= 0) {
        doctor_resolv_parse(span_make(data, len), out);
    }
}
