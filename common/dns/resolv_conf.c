/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolv_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64U * 1024)
#define DNS_PORT 53

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

struct span resolv_conf_word(struct span *rest)
{
    size_t from = 0;
    while (from < rest->len && is_blank(rest->data[from])) {
        from++;
    }
    size_t end = from;
    while (end < rest->len && !is_blank(rest->data[end])) {
        end++;
    }
    struct span word = span_sub(*rest, from, end - from);
    *rest = span_sub(*rest, end, rest->len);
    return word;
}

static bool is_known(const struct addr *list, size_t count, const struct addr *a)
{
    for (size_t i = 0; i < count; i++) {
        if (addr_is_equal(&list[i], a)) {
            return true;
        }
    }
    return false;
}

/* resolv.conf(5): the keyword starts the line, the address is the next word, and what is behind it is
 * ignored. Empty: another line. */
static struct span nameserver_word(struct span line)
{
    if (line.len == 0 || is_blank(line.data[0]) ||
        !span_is_equal(resolv_conf_word(&line), SPAN_LIT("nameserver"))) {
        return (struct span){0};
    }
    return resolv_conf_word(&line);
}

static bool nameserver_read(struct span line, struct addr *out)
{
    *out = (struct addr){.port = DNS_PORT};
    if (ip_parse(nameserver_word(line), &out->ip) != 0) {
        return false;
    }
    if (ip_classify(&out->ip) ==
        IP_CLASS_UNSPECIFIED) { /* to connect(2) it is this host: say which address */
        out->ip =
            out->ip.family == IP_V4 ? ip_v4(127, 0, 0, 1) : (struct ip){.family = IP_V6, .bytes = {[15] = 1}};
    }
    return true;
}

size_t resolv_conf_parse(struct span text, struct addr *out, size_t cap)
{
    size_t count = 0;
    while (text.len > 0 && count < cap) {
        size_t end = span_find(text, '\n');
        struct addr a;
        if (nameserver_read(span_sub(text, 0, end), &a) && !is_known(out, count, &a)) {
            out[count++] = a;
        }
        text = span_sub(text, end + 1, text.len);
    }
    return count;
}

static bool has_scoped(struct span text)
{
    bool has = false;
    while (text.len > 0 && !has) {
        size_t end = span_find(text, '\n');
        const struct span word = nameserver_word(span_sub(text, 0, end));
        has = span_find(word, '%') < word.len;
        text = span_sub(text, end + 1, text.len);
    }
    return has;
}

/* Why the text names nobody who could be asked. */
static int no_nameserver(struct span text, const char *path, struct err *err)
{
    if (has_scoped(text)) {
        err_set(err, "no usable nameserver in %s: addresses with a scope, as fe80::1%%eth0, are not taken",
                path);
    } else {
        err_set(err, "no nameserver in %s", path);
    }
    return -ENODATA;
}

/* Reads up to cap bytes. Their count, or -errno. */
static ssize_t read_all(int fd, uint8_t *data, size_t cap)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t n = read(fd, data + len, cap - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* Opened without blocking: a FIFO in place of the file must not stop the start. */
static int open_regular(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    struct stat st;
    int rc = fstat(fd, &st) != 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(st.st_mode)) {
        rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    }
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

int resolv_conf_read(const char *path, struct addr *out, size_t cap, size_t *count, struct err *err)
{
    *count = 0;
    uint8_t *data = malloc(FILE_MAX + 1);
    int fd = data == NULL ? -ENOMEM : open_regular(path);
    ssize_t len = fd;
    if (fd >= 0) {
        len = read_all(fd, data, FILE_MAX + 1);
        (void)close(fd);
    }
    int rc = len < 0 ? (int)len : 0;
    if (rc == 0 && len > (ssize_t)FILE_MAX) {
        rc = -EFBIG;
        err_set(err, "%s: longer than %u bytes", path, FILE_MAX);
    } else if (rc == -EINVAL) {
        err_set(err, "%s: not a regular file", path);
    } else if (rc != 0) {
        err_set(err, "%s: %s", path, strerror(-rc));
    } else {
        const struct span text = span_make(data, (size_t)len);
        *count = resolv_conf_parse(text, out, cap);
        rc = *count == 0 ? no_nameserver(text, path, err) : 0;
    }
    free(data);
    return rc;
}
