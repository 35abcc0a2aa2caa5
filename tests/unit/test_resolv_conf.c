/* SPDX-License-Identifier: Apache-2.0 */
/* resolv_conf: which lines name an upstream, and what a bad file says. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/resolv_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The addresses as one text: "1.2.3.4:53 [::1]:53". */
static const char *parse_text(struct span text, size_t cap, char *out, size_t out_cap)
{
    struct addr list[4];
    assert_true(cap <= 4);
    size_t count = resolv_conf_parse(text, list, cap);
    assert_true(count <= cap);
    out[0] = '\0';
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        char one[ADDR_TEXT_CAP];
        int n = snprintf(out + len, out_cap - len, "%s%s", i == 0 ? "" : " ", addr_text(&list[i], one));
        assert_true(n > 0 && (size_t)n < out_cap - len);
        len += (size_t)n;
    }
    return out;
}

static void test_lines(void **state)
{
    (void)state;
#define V4 "192.0.2.1:53"
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {"\n\n", ""},
        {"nameserver 192.0.2.1\n", V4},
        {"nameserver 192.0.2.1", V4},
        {"nameserver\t \t192.0.2.1  \r\n", V4},
        {"nameserver 192.0.2.1 # ours\n", V4},
        {"nameserver 192.0.2.1 192.0.2.2\n", V4}, /* one per line */
        {"nameserver 2001:DB8::1\n", "[2001:db8::1]:53"},
        {"nameserver 0.0.0.0\nnameserver 127.0.0.1\nnameserver ::\n",
         "127.0.0.1:53 [::1]:53"}, /* this host */
        {"search example\nnameserver 192.0.2.1\noptions ndots:5\nnameserver ::1\n", V4 " [::1]:53"},
        {"nameserver 192.0.2.1\nnameserver 192.0.2.1\n", V4},
        {"nameserver fe80::1%eth0\nnameserver 192.0.2.1\n", V4},
        {"# nameserver 192.0.2.1\n; nameserver 192.0.2.1\n#nameserver 192.0.2.1\n", ""},
        {" nameserver 192.0.2.1\n", ""},
        {"nameservers 192.0.2.1\n", ""},
        {"NAMESERVER 192.0.2.1\n", ""},
        {"nameserver\n192.0.2.1\n", ""},
        {"nameserver", ""},
        {"nameserver ", ""},
        {"nameserver192.0.2.1\n", ""},
        {"nameserver 192.0.2.01\nnameserver 192.0.2\nnameserver 192.0.2.1.\nnameserver 192.0.2.256\n", ""},
        {"nameserver 192.0.2.1:53\nnameserver [::1]\nnameserver dns.example\n", ""},
    };
#undef V4
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char have[256];
        size_t len = strlen(rows[i].text);
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, rows[i].text, len); /* not ended: a span has no NUL behind it */
        copy[len] = '9';
        if (strcmp(parse_text(span_make(copy, len), 4, have, sizeof have), rows[i].want) != 0) {
            fail_msg("row %zu: \"%s\"", i, have);
        }
        free(copy);
    }
    char have[64];
    assert_string_equal(parse_text(SPAN_LIT("nameserver 192.0.2.1\0\n"), 4, have, sizeof have), "");
}

static void test_cap(void **state)
{
    (void)state;
    struct span text = SPAN_LIT("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n");
    static const char *const want[] = {"", "192.0.2.1:53", "192.0.2.1:53 192.0.2.2:53",
                                       "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53"};
    for (size_t cap = 0; cap < 4; cap++) {
        char have[128];
        assert_string_equal(parse_text(text, cap, have, sizeof have), want[cap]);
    }
}

/* A file cut anywhere never yields an address that is not in it (a cut address may read as a shorter one). */
static void test_every_truncation(void **state)
{
    (void)state;
    struct span text = SPAN_LIT("nameserver 192.0.2.77\nnameserver 2001:db8::53\n");
    for (size_t len = 0; len < text.len; len++) {
        uint8_t *copy = malloc(len == 0 ? 1 : len);
        assert_non_null(copy);
        memcpy(copy, text.data, len);
        struct addr list[4];
        size_t count = resolv_conf_parse(span_make(copy, len), list, 4);
        assert_true(count <= (len > 21 ? 2 : 1));
        if (len >= 21) {
            struct ip first = ip_v4(192, 0, 2, 77);
            assert_true(count >= 1 && ip_is_equal(&list[0].ip, &first));
        } else {
            assert_int_equal(count, len >= 20 ? 1 : 0);
        }
        free(copy);
    }
}

struct file {
    char dir[64];
    char path[96];
};

static void file_make(struct file *f)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(f->dir, sizeof f->dir, "%s/resolv.XXXXXX", tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/resolv.conf", f->dir);
}

static void file_write(const struct file *f, const char *head, size_t len)
{
    FILE *out = fopen(f->path, "wb");
    assert_non_null(out);
    size_t used = strlen(head);
    assert_int_equal(fwrite(head, 1, used, out), used);
    for (; used < len; used++) {
        assert_int_equal(fputc('\n', out), '\n');
    }
    assert_int_equal(fclose(out), 0);
}

static void file_remove(const struct file *f)
{
    (void)unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0);
}

static void test_read(void **state)
{
    (void)state;
    struct file f;
    struct addr list[4];
    size_t count = 99;
    struct err err = {0};
    file_make(&f);
    file_write(&f, "nameserver 192.0.2.1\n", 65536);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].port, 53);
    file_write(&f, "", 0);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), -ENODATA);
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.text, "no nameserver in "));
    assert_non_null(strstr(err.text, f.path));
    count = 99;
    file_write(&f, "nameserver 192.0.2.1\n", 65537);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), -EFBIG);
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.text, f.path));
    file_remove(&f);
}

/* One that is left out for its scope was passed over in silence. */
static void test_read_scoped(void **state)
{
    (void)state;
    static const char scoped[] = "nameserver fe80::5%v0\n";
    static const char both[] = "nameserver fe80::5%v0\nnameserver 192.0.2.1\n";
    static const char other[] = "search a%b\nnameserver\nnameserver 192.0.2\n";
    struct file f;
    struct addr list[4];
    size_t count = 99;
    struct err err = {0};
    file_make(&f);
    file_write(&f, scoped, 0);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), -ENODATA);
    assert_non_null(strstr(err.text, "no usable nameserver in "));
    assert_non_null(strstr(err.text, "fe80::1%eth0"));
    file_write(&f, other, 0);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), -ENODATA);
    assert_non_null(strstr(err.text, "no nameserver in "));
    file_write(&f, both, 0);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), 0);
    assert_int_equal(count, 1);
    file_remove(&f);
}

static void test_read_errors(void **state)
{
    (void)state;
    struct file f;
    struct addr list[4];
    size_t count = 99;
    struct err err = {0};
    file_make(&f);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), -ENOENT);
    assert_int_equal(count, 0);
    assert_non_null(strstr(err.text, f.path));
    assert_non_null(strstr(err.text, strerror(ENOENT)));
    assert_int_equal(resolv_conf_read(f.dir, list, 4, &count, NULL), -EISDIR);
    assert_int_equal(mkfifo(f.path, 0600), 0);
    assert_int_equal(resolv_conf_read(f.path, list, 4, &count, &err), -EINVAL); /* and does not block */
    assert_non_null(strstr(err.text, "regular"));
    file_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_scoped),
        cmocka_unit_test(test_read_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
