/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is trusted, who is named, and what a server may send that is no TLS. Whose certificate is believed is
 * tests/conformance/dot.sh: it needs a server that has some.
 */
#include "common/dns/dns_transports.h"

#include "tests/support/scratch_dir.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SKIP_STATUS 77
#define METRICS_FIRST 5

/* Nobody has its key. */
static const char ca_pem[] = "-----BEGIN CERTIFICATE-----\n"
                             "MIIBezCCASGgAwIBAgIUV/KsvY6+IyAcmPumCe7G3D4ct0YwCgYIKoZIzj0EAwIw\n"
                             "EjEQMA4GA1UEAwwHVGVzdCBDQTAgFw0yNjExMjQwODIyMjJaGA8yMTI2MTAzMTA4\n"
                             "MjIyMlowEjEQMA4GA1UEAwwHVGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
                             "A0IABN4qEXXkqKZu+gmcfUJ+D3hCGMZsRiN2yknQbejRfVvcnvEfKy+tkO/aAJaX\n"
                             "7QsK+p1uQGpTgcTVx8mSoooQBbajUzBRMB0GA1UdDgQWBBTfM+Pc+NmmFVEJBZeD\n"
                             "EPzDOjEjNjAfBgNVHSMEGDAWgBTfM+Pc+NmmFVEJBZeDEPzDOjEjNjAPBgNVHRMB\n"
                             "Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIEwJ3GnB6DtdX7ycCABTH3HhLio4\n"
                             "7ni9QPe1Io3NRS8HAiEAiH1UlQ12Vxrfscef+GgenekeN2eHDES6pz6FhRHejdc=\n"
                             "-----END CERTIFICATE-----\n";

struct scene {
    struct dns_tls_store *store;
    struct metrics metrics;
    struct dns_tls *tls;
    struct dns_stream_transport transport;
    void *session;
    int ours, theirs;
    int want;
};

static void trust(const char *file, const char *directories)
{
    assert_int_equal(file != NULL ? setenv("SSL_CERT_FILE", file, 1) : unsetenv("SSL_CERT_FILE"), 0);
    assert_int_equal(directories != NULL ? setenv("SSL_CERT_DIR", directories, 1) : unsetenv("SSL_CERT_DIR"),
                     0);
}

static void expect_store(int expected_rc, const char *says)
{
    struct dns_tls_store *store = NULL;
    struct err err = {""};
    assert_int_equal(dns_tls_store_new(&store, &err), expected_rc);
    if (expected_rc == 0) {
        assert_non_null(store);
        assert_string_equal(err.text, "");
    } else if (strstr(err.text, says) == NULL) {
        fail_msg("%s: does not say %s", err.text, says);
    }
    dns_tls_store_free(store);
}

static void write_text(const struct scratch_dir *d, const char *name, const char *text,
                       char path[SCRATCH_PATH_CAP])
{
    scratch_dir_write(d, name, text, strlen(text));
    (void)scratch_dir_path(d, name, path);
}

static void test_store(void **state)
{
    (void)state;
    struct scratch_dir dir;
    char file[SCRATCH_PATH_CAP], empty[SCRATCH_PATH_CAP], list[2 * SCRATCH_PATH_CAP];
    scratch_dir_make(&dir);
    write_text(&dir, "empty.pem", "no certificate\n", empty);
    write_text(&dir, "ca.pem", ca_pem, file);
    trust(file, NULL);
    expect_store(0, "");
    trust(empty, NULL);
    expect_store(-EINVAL, "SSL_CERT_FILE=");
    trust("/nonexistent/file", NULL);
    expect_store(-EINVAL, "SSL_CERT_FILE=/nonexistent/file: no certificates can be read there");
    trust(file, "/nonexistent/directory");
    expect_store(-EINVAL, "SSL_CERT_DIR=/nonexistent/directory: no certificates can be read there");
    trust(NULL, dir.path); /* it is there, but has no name that OpenSSL would look for */
    expect_store(-EINVAL, "no trusted certificates");
    write_text(&dir, "0123abcd.0", ca_pem, file);
    trust(NULL, dir.path);
    expect_store(0, "");
    (void)snprintf(list, sizeof(list), "%s::%s:", dir.path, dir.path);
    trust(NULL, list);
    expect_store(0, "");
    (void)snprintf(list, sizeof(list), "%s:/nonexistent", dir.path);
    trust(NULL, list);
    expect_store(-EINVAL, "SSL_CERT_DIR=");
    scratch_dir_remove(&dir);
    dns_tls_store_free(NULL);
}

static struct addr some_addr(void)
{
    return (struct addr){.ip = ip_v4(192, 0, 2, 1), .port = 853};
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct scratch_dir dir;
    char file[SCRATCH_PATH_CAP];
    struct err err = {""};
    assert_non_null(s);
    scratch_dir_make(&dir);
    write_text(&dir, "ca.pem", ca_pem, file);
    trust(file, NULL);
    assert_int_equal(dns_tls_store_new(&s->store, &err), 0);
    scratch_dir_remove(&dir); /* read once */
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    dns_tls_free(s->tls);
    dns_tls_store_free(s->store);
    free(s);
    return 0;
}

static void test_names(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *name;
        int rc;
    } rows[] = {{"dns.example", 0},     {"DNS.Example.", 0}, {"192.0.2.1", 0},
                {"2001:db8::1", 0},     {"", -EINVAL},       {"a..b", -EINVAL},
                {"*.example", -EINVAL}, {"a b", -EINVAL},    {"1.2.3", -EINVAL}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dns_tls *tls = NULL;
        const struct dns_tls_config cfg = {
            .store = s->store, .to = some_addr(), .name = span_str(rows[i].name)};
        int rc = dns_tls_new(&cfg, &tls);
        if (rc != rows[i].rc) {
            fail_msg("%s: %d", rows[i].name, rc);
        }
        dns_tls_free(tls);
    }
    dns_tls_free(NULL);
}

/* A connection that stands, as far as TCP goes. */
static void begin(struct scene *s, const char *name)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    s->ours = pair[0];
    s->theirs = pair[1];
    if (s->tls == NULL) {
        const struct dns_tls_config cfg = {.store = s->store,
                                           .to = some_addr(),
                                           .name = span_str(name),
                                           .metrics = &s->metrics,
                                           .metrics_first = METRICS_FIRST};
        assert_int_equal(dns_tls_new(&cfg, &s->tls), 0);
        s->transport = dns_tls_transport(s->tls);
        assert_true(s->transport.is_private);
    }
    assert_int_equal(s->transport.ops->open(s->transport.ctx, s->ours, &s->session), 0);
    s->want = 0;
    assert_int_equal(s->transport.ops->handshake(s->session, &s->want), -EAGAIN);
    assert_int_equal(s->want, EV_READ); /* the first flight is out */
}

static void end(struct scene *s)
{
    s->transport.ops->close(s->session);
    assert_int_equal(close(s->ours), 0);
    if (s->theirs >= 0) {
        assert_int_equal(close(s->theirs), 0);
    }
}

static bool first_flight_has(struct scene *s, const char *text)
{
    uint8_t hello[4096];
    ssize_t n = recv(s->theirs, hello, sizeof(hello), 0);
    assert_true(n > 5);
    assert_int_equal(hello[0], 22); /* handshake */
    return memmem(hello, (size_t)n, text, strlen(text)) != NULL;
}

static void test_sni(void **state)
{
    struct scene *s = *state;
    begin(s, "Dns.Example.");
    assert_true(first_flight_has(s, "dns.example"));
    end(s);
    begin(s, "Dns.Example.");
    assert_true(first_flight_has(s, "\x03"
                                    "dot")); /* ALPN */
    end(s);
    dns_tls_free(s->tls);
    s->tls = NULL;
    begin(s, "192.0.2.1");
    assert_false(first_flight_has(s, "192.0.2.1"));
    end(s);
    assert_int_equal(metrics_read(&s->metrics, METRICS_FIRST + DNS_TLS_COUNTER_FAILED), 0);
}

/* What a server may send instead of a handshake, and a record that ends before its body. */
static void test_no_tls(void **state)
{
    struct scene *s = *state;
    const struct span sent[] = {SPAN_LIT("HTTP/1.1 400 Bad Request\r\n\r\n"),
                                SPAN_LIT("SSH-2.0-OpenSSH_9.2\r\n"),
                                SPAN_LIT("\x15\x03\x03\0\x02\x02\x28") /* an alert: handshake_failure */};
    for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
        begin(s, "dns.example");
        assert_int_equal(send(s->theirs, sent[i].data, sent[i].len, MSG_NOSIGNAL), sent[i].len);
        assert_int_equal(s->transport.ops->handshake(s->session, &s->want), -DNS_TLS_REFUSED);
        end(s);
        assert_int_equal(metrics_read(&s->metrics, METRICS_FIRST + DNS_TLS_COUNTER_FAILED), i + 1);
    }
    begin(s, "dns.example");
    for (size_t i = 0; i < 4; i++) { /* of a record's header of five bytes */
        assert_int_equal(send(s->theirs, &"\x16\x03\x03\x40"[i], 1, MSG_NOSIGNAL), 1);
        assert_int_equal(s->transport.ops->handshake(s->session, &s->want), -EAGAIN);
        assert_int_equal(s->want, EV_READ);
    }
    assert_int_equal(close(s->theirs), 0);
    s->theirs = -1;
    assert_int_equal(s->transport.ops->handshake(s->session, &s->want), -DNS_TLS_REFUSED);
    end(s);
    assert_int_equal(metrics_read(&s->metrics, METRICS_FIRST + DNS_TLS_COUNTER_HANDSHAKES), 0);
}

static void test_transports(void **state)
{
    struct scene *s = *state;
    struct dns_transports t;
    struct err err = {""};
    const struct addr addrs[] = {some_addr(), some_addr()};
    struct span names[] = {SPAN_LIT(""), SPAN_LIT("dns.example")};
    struct dns_transports_config cfg = {.store = s->store, .addrs = addrs, .tls_names = names, .count = 2};
    assert_int_equal(dns_transports_init(&t, &cfg, &err), 0);
    assert_null(t.list[0].ops);
    assert_non_null(t.list[1].ops);
    dns_transports_fini(&t);
    cfg.store = NULL; /* never plain instead */
    assert_int_equal(dns_transports_init(&t, &cfg, &err), -EINVAL);
    assert_non_null(strstr(err.text, "tls://192.0.2.1:853#dns.example"));
    dns_transports_fini(&t);
    cfg.tls_names = NULL;
    assert_int_equal(dns_transports_init(&t, &cfg, &err), 0);
    assert_null(t.list[1].ops);
    dns_transports_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sni, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_tls, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transports, set_up, tear_down),
    };
    if (!dns_tls_is_built()) {
        struct dns_tls_store *store = NULL;
        struct err err = {""};
        bool is_refused = dns_tls_store_new(&store, &err) == -EINVAL && strstr(err.text, "--with-openssl");
        (void)printf("SKIP: built without OpenSSL\n");
        return is_refused ? SKIP_STATUS : EXIT_FAILURE;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
