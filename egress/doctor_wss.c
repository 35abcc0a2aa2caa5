/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_wss.h"

#include "egress/doctor_io.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define CHUNK 16384

struct doctor_wss {
    SSL_CTX *ctx;
    SSL *ssl; /* owns both BIOs: memory, because OpenSSL's own for sockets would raise SIGPIPE */
    int fd;   /* borrowed */
    bool is_done, is_broken;
};

bool doctor_wss_is_built(void)
{
    return true;
}

static bool set_name(SSL *ssl, const struct host *host)
{
    X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
    if (host->kind == HOST_IP) { /* RFC 6066 3: an address is not told */
        return X509_VERIFY_PARAM_set1_ip(p, host->ip.bytes, host->ip.family == IP_V4 ? 4 : 16) == 1;
    }
    return X509_VERIFY_PARAM_set1_host(p, host->name.text, host->name.len) == 1 &&
           SSL_set_tlsext_host_name(ssl, host->name.text) == 1;
}

static bool set_up(struct doctor_wss *w, const struct host *host)
{
    static const unsigned char alpn[] = "\x08http/1.1"; /* h2 has another handshake (RFC 8441) */
    w->ctx = SSL_CTX_new(TLS_client_method());
    if (w->ctx == NULL || SSL_CTX_set_min_proto_version(w->ctx, TLS1_2_VERSION) != 1) {
        return false;
    }
    (void)SSL_CTX_set_default_verify_paths(
        w->ctx); /* with none of them, nothing is trusted, and that is told */
    SSL_CTX_set_verify(w->ctx, SSL_VERIFY_NONE, NULL);
    w->ssl = SSL_new(w->ctx);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (w->ssl == NULL || in == NULL || out == NULL) {
        (void)BIO_free(in);
        (void)BIO_free(out);
        return false;
    }
    SSL_set_bio(w->ssl, in, out); /* takes both */
    SSL_set_connect_state(w->ssl);
    return SSL_set_alpn_protos(w->ssl, alpn, sizeof alpn - 1) == 0 && set_name(w->ssl, host); /* 0: success */
}

/* What TLS wants to send goes out. */
static int flush(struct doctor_wss *w, int64_t end_ms)
{
    uint8_t bytes[CHUNK];
    int n = BIO_read(SSL_get_wbio(w->ssl), bytes, sizeof bytes);
    int rc = 0;
    while (n > 0 && rc == 0) {
        rc = doctor_io_send(w->fd, span_make(bytes, (size_t)n), end_ms);
        n = BIO_read(SSL_get_wbio(w->ssl), bytes, sizeof bytes);
    }
    return rc;
}

/* What came goes to TLS: 1, 0 at the end, or -errno. */
static int feed(struct doctor_wss *w, int64_t end_ms)
{
    uint8_t bytes[CHUNK];
    ssize_t n = doctor_io_receive(w->fd, bytes, sizeof bytes, end_ms);
    if (n <= 0) {
        return (int)n;
    }
    return BIO_write(SSL_get_rbio(w->ssl), bytes, (int)n) == (int)n ? 1 : -ENOMEM;
}

/* After a call of OpenSSL that returned rc: 1, it is to be made again; 0, the session has ended; -errno. */
static int go_on(struct doctor_wss *w, int rc, int64_t end_ms)
{
    int error = SSL_get_error(w->ssl, rc);
    int sent = flush(w, end_ms);
    if (error == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    if (error != SSL_ERROR_WANT_READ) {
        w->is_broken = true;
        return -EPROTO;
    }
    return sent != 0 ? sent : feed(w, end_ms);
}

static int shake_hands(struct doctor_wss *w, int64_t end_ms, struct err *err)
{
    int rc = 1;
    while (rc == 1 && !w->is_done) {
        ERR_clear_error();
        int done = SSL_do_handshake(w->ssl);
        w->is_done = done == 1;
        rc = w->is_done ? flush(w, end_ms) : go_on(w, done, end_ms);
    }
    if (w->is_done) {
        return rc;
    }
    const char *why = ERR_reason_error_string(ERR_peek_error());
    err_set(err, "%s", rc == 0 ? "closed in the middle of the handshake" : why != NULL ? why : strerror(-rc));
    return rc == 0 ? -ECONNRESET : rc;
}

int doctor_wss_open(int fd, const struct host *host, int64_t end_ms, struct doctor_wss **out, struct err *err)
{
    struct doctor_wss *w = calloc(1, sizeof *w);
    int rc = -ENOMEM;
    if (w != NULL) {
        w->fd = fd;
        rc = set_up(w, host) ? shake_hands(w, end_ms, err) : -ENOMEM;
    }
    if (rc != 0) {
        doctor_wss_free(w);
        w = NULL;
    }
    *out = w;
    return rc;
}

const char *doctor_wss_distrust(const struct doctor_wss *w)
{
    long verdict = SSL_get_verify_result(w->ssl);
    if (SSL_get0_peer_certificate(w->ssl) == NULL) {
        return "there is none";
    }
    return verdict == X509_V_OK ? NULL : X509_verify_cert_error_string(verdict);
}

int doctor_wss_send(struct doctor_wss *w, struct span bytes, int64_t end_ms)
{
    size_t n = 0; /* all of it: memory has no end, and partial writes are not enabled */
    ERR_clear_error();
    if (SSL_write_ex(w->ssl, bytes.data, bytes.len, &n) != 1) {
        w->is_broken = true;
        return -EPROTO;
    }
    return flush(w, end_ms);
}

ssize_t doctor_wss_receive(struct doctor_wss *w, void *data, size_t cap, int64_t end_ms)
{
    int rc = 1;
    while (rc == 1) {
        size_t n = 0;
        ERR_clear_error();
        int got = SSL_read_ex(w->ssl, data, cap, &n);
        if (got == 1) {
            return (ssize_t)n;
        }
        rc = go_on(w, got, end_ms);
    }
    return rc;
}

void doctor_wss_free(struct doctor_wss *w)
{
    if (w == NULL) {
        return;
    }
    if (w->is_done && !w->is_broken) {
        (void)SSL_shutdown(w->ssl);
        (void)flush(w, 0);
    }
    ERR_clear_error();
    SSL_free(w->ssl);
    SSL_CTX_free(w->ctx);
    free(w);
}
