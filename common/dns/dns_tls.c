/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_tls.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#define SLOW_HANDSHAKE_MS 500 /* given up after so long: it was waited for, not interrupted */
#define NAMES_CAP 200         /* of a certificate, as far as they are logged */
#define DATE_CAP sizeof("9999-12-31T23:59:59Z")

struct dns_tls_store {
    SSL_CTX *ctx;
    BIO_METHOD *bio;
};

struct dns_tls {
    struct dns_tls_config cfg; /* without the name, which is a part of somebody's text */
    struct host name;
    SSL_SESSION *session;           /* of the last connection that got one, or NULL */
    struct upstream_news *own_news; /* NULL: cfg.news is another's */
};

struct tls_session {
    struct dns_tls *owner;
    SSL *ssl;
    int fd;
    bool is_eof; /* the socket's */
    bool is_done;
    bool is_broken; /* after a fatal error nothing may be sent, not even goodbye */
    int64_t begun_ms;
    char names[NAMES_CAP]; /* of a certificate that has another one, or is out of its time … */
    char not_before[DATE_CAP], not_after[DATE_CAP]; /* … which is this */
};

bool dns_tls_is_built(void)
{
    return true;
}

/* ---- the socket below: OpenSSL's own would raise SIGPIPE ---- */

static int bio_result(BIO *b, ssize_t n, void (*set_retry)(BIO *))
{
    BIO_clear_retry_flags(b);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        set_retry(b);
    }
    return (int)n;
}

static void retry_read(BIO *b)
{
    BIO_set_retry_read(b);
}

static void retry_write(BIO *b)
{
    BIO_set_retry_write(b);
}

static int on_bio_read(BIO *b, char *out, int cap)
{
    struct tls_session *s = BIO_get_data(b);
    ssize_t n = recv(s->fd, out, (size_t)cap, 0);
    s->is_eof = n == 0 && cap > 0;
    return bio_result(b, n, retry_read);
}

static int on_bio_write(BIO *b, const char *data, int len)
{
    const struct tls_session *s = BIO_get_data(b);
    return bio_result(b, send(s->fd, data, (size_t)len, MSG_NOSIGNAL), retry_write);
}

static long on_bio_ctrl(BIO *b, int what, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    const struct tls_session *s = BIO_get_data(b);
    if (what == BIO_CTRL_EOF) {
        return s->is_eof ? 1 : 0;
    }
    return what == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *make_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connected socket");
    if (m != NULL && (BIO_meth_set_read(m, on_bio_read) != 1 || BIO_meth_set_write(m, on_bio_write) != 1 ||
                      BIO_meth_set_ctrl(m, on_bio_ctrl) != 1)) {
        BIO_meth_free(m);
        m = NULL;
    }
    return m;
}

/* ---- what is trusted ---- */

static size_t count_certs(SSL_CTX *ctx)
{
    const X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    int n = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
    return n < 0 ? 0 : (size_t)n;
}

static bool load_file(SSL_CTX *ctx, const char *path)
{
    bool is_loaded = SSL_CTX_load_verify_file(ctx, path) == 1;
    ERR_clear_error();
    return is_loaded;
}

/* "0123abcd.0": what OpenSSL would open there, if it were left to look while we serve (c_rehash(1)). */
static bool is_hash_name(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    return digits == 8 && name[8] == '.' && name[9] != '\0' &&
           strspn(name + 9, "0123456789") == strlen(name + 9);
}

static bool load_directory(SSL_CTX *ctx, const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL) {
        return false;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char file[4096];
        int n = is_hash_name(e->d_name) ? snprintf(file, sizeof(file), "%s/%s", path, e->d_name) : 0;
        if (n > 0 && (size_t)n < sizeof(file)) {
            (void)load_file(ctx, file); /* one bad file does not make the others worse */
        }
    }
    (void)closedir(d);
    return true;
}

static int env_fault(struct err *err, const char *variable, const char *value)
{
    err_set(err, "%s=%.200s: no certificates can be read there", variable, value);
    return -EINVAL;
}

/* A list of directories, separated by colons. */
static int load_env_directories(SSL_CTX *ctx, const char *variable, const char *value, struct err *err)
{
    struct span rest = span_str(value);
    while (rest.len > 0) {
        size_t colon = span_find(rest, ':');
        char path[4096];
        if (colon >= sizeof(path)) {
            return env_fault(err, variable, value);
        }
        memcpy(path, rest.data, colon);
        path[colon] = '\0';
        if (colon > 0 && !load_directory(ctx, path)) {
            return env_fault(err, variable, value);
        }
        rest = span_sub(rest, colon + 1, rest.len);
    }
    return 0;
}

/*
 * Everything is read now: SSL_CTX_set_default_verify_paths() would open files of the directory when a
 * certificate is checked, in the middle of serving and without the right to. Who names what to trust means
 * that alone.
 */
static int load_trusted(SSL_CTX *ctx, struct err *err)
{
    const char *file_variable = X509_get_default_cert_file_env();
    const char *directory_variable = X509_get_default_cert_dir_env();
    const char *file = secure_getenv(file_variable);
    const char *directories = secure_getenv(directory_variable);
    int rc = 0;
    if (file == NULL && directories == NULL) {
        (void)load_file(ctx, X509_get_default_cert_file());
        (void)load_directory(ctx, X509_get_default_cert_dir());
    }
    if (file != NULL && !load_file(ctx, file)) {
        rc = env_fault(err, file_variable, file);
    }
    if (rc == 0 && directories != NULL) {
        rc = load_env_directories(ctx, directory_variable, directories, err);
    }
    if (rc == 0 && count_certs(ctx) == 0) {
        err_set(err, "no trusted certificates: neither in %s nor in %s (install ca-certificates, or set %s)",
                file != NULL ? file : X509_get_default_cert_file(),
                directories != NULL ? directories : X509_get_default_cert_dir(), file_variable);
        rc = -EINVAL;
    }
    return rc;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session);
static int on_verified(int is_good, X509_STORE_CTX *x);

static bool set_rules(SSL_CTX *ctx)
{
    static const unsigned char alpn[] = {3, 'd', 'o', 't'}; /* RFC 7858 8.1, IANA */
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                  SSL_OP_IGNORE_UNEXPECTED_EOF); /* messages have a length of their own */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                    SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verified);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn)) == 0; /* here 0 is success */
}

int dns_tls_store_new(struct dns_tls_store **out, struct err *err)
{
    struct dns_tls_store *s = calloc(1, sizeof(*s));
    int rc = -ENOMEM;
    if (s != NULL) {
        s->ctx = SSL_CTX_new(TLS_client_method());
        s->bio = make_bio_method();
    }
    if (s == NULL || s->ctx == NULL || s->bio == NULL || !set_rules(s->ctx)) {
        err_set(err, "TLS cannot be set up");
        ERR_clear_error();
    } else {
        rc = load_trusted(s->ctx, err);
    }
    if (rc != 0) {
        dns_tls_store_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void dns_tls_store_free(struct dns_tls_store *s)
{
    if (s != NULL) {
        SSL_CTX_free(s->ctx);
        BIO_meth_free(s->bio);
        free(s);
    }
}

/* ---- what is said about it ---- */

static const struct {
    int failure;
    const char *why;
} kinds[UPSTREAM_NEWS_TLS_KINDS] = {{DNS_TLS_REFUSED, "tls_handshake"},
                                    {DNS_TLS_WRONG_NAME, "tls_name"},
                                    {DNS_TLS_EXPIRED, "tls_expired"},
                                    {DNS_TLS_UNTRUSTED, "tls_untrusted"},
                                    {ETIMEDOUT, "timeout"}};

static size_t kind_of(int failure)
{
    size_t kind = UPSTREAM_NEWS_TLS_KINDS - 1;
    while (kind > 0 && kinds[kind].failure != failure) {
        kind--;
    }
    return kind;
}

static void count(const struct dns_tls *t, enum dns_tls_counter which)
{
    if (t->cfg.metrics != NULL) {
        metrics_add(t->cfg.metrics, t->cfg.metrics_first + which, 1);
    }
}

/* Every question may try again: what is worth a line is known for all workers together. */
static void note_failure(struct tls_session *s, int failure, const char *detail)
{
    struct dns_tls *t = s->owner;
    char to[ADDR_TEXT_CAP];
    char name[HOST_TEXT_CAP];
    uint64_t suppressed = 0;
    const size_t kind = kind_of(failure);
    count(t, DNS_TLS_COUNTER_FAILED);
    if (!upstream_news_tls_failed(t->cfg.news, &t->cfg.to, kind, clock_mono_ms(), &suppressed)) {
        return;
    }
    log_event(LOG_WARN, "upstream_tls_failed",
              LOG_KV(kv_str("addr", addr_text(&t->cfg.to, to)), kv_str("name", host_text(&t->name, name)),
                     kv_str("why", kinds[kind].why), kv_str("detail", detail),
                     kv_str("certificate", s->names), kv_u64("suppressed", suppressed),
                     s->not_after[0] == '\0' ? (struct log_kv){.kind = LOG_KIND_END}
                                             : kv_str("not_before", s->not_before),
                     kv_str("not_after", s->not_after)));
}

static void note_success(const struct tls_session *s)
{
    struct dns_tls *t = s->owner;
    char to[ADDR_TEXT_CAP];
    char name[HOST_TEXT_CAP];
    uint64_t suppressed = 0;
    bool is_resumed = SSL_session_reused(s->ssl) == 1;
    count(t, DNS_TLS_COUNTER_HANDSHAKES);
    if (is_resumed) {
        count(t, DNS_TLS_COUNTER_RESUMED);
    }
    if (upstream_news_tls_restored(t->cfg.news, &t->cfg.to, clock_mono_ms(), &suppressed)) {
        log_event(LOG_INFO, "upstream_tls_restored",
                  LOG_KV(kv_str("addr", addr_text(&t->cfg.to, to)), kv_str("name", host_text(&t->name, name)),
                         kv_u64("suppressed", suppressed)));
    }
    log_event(LOG_DEBUG, "upstream_tls",
              LOG_KV(kv_str("addr", addr_text(&t->cfg.to, to)), kv_str("name", host_text(&t->name, name)),
                     kv_str("version", SSL_get_version(s->ssl)),
                     kv_str("cipher", SSL_CIPHER_get_name(SSL_get_current_cipher(s->ssl))),
                     kv_bool("resumed", is_resumed)));
}

/* ---- a session ---- */

/* The names that a certificate has, for the log; a peer wrote them. */
static void copy_names(X509 *cert, char out[NAMES_CAP])
{
    struct wbuf w = wbuf_make(out, NAMES_CAP - 1);
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) { /* of NULL there are -1 */
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type == GEN_DNS) {
            wbuf_str(&w, w.len > 0 ? "," : "");
            wbuf_put(
                &w, span_make(ASN1_STRING_get0_data(n->d.dNSName), (size_t)ASN1_STRING_length(n->d.dNSName)));
        }
    }
    out[w.len] = '\0';
    GENERAL_NAMES_free(names);
}

static int failure_of(long verify_result)
{
    switch (verify_result) {
    case X509_V_OK:
        return DNS_TLS_REFUSED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return DNS_TLS_WRONG_NAME;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return DNS_TLS_EXPIRED;
    default:
        return DNS_TLS_UNTRUSTED;
    }
}

static void copy_date(const ASN1_TIME *date, char out[DATE_CAP])
{
    struct tm tm;
    out[ASN1_TIME_to_tm(date, &tm) == 1 ? strftime(out, DATE_CAP, "%Y-%m-%dT%H:%M:%SZ", &tm) : 0] = '\0';
}

/* Judges nothing: takes down what a certificate is for that is for another name, or out of its time. */
static int on_verified(int is_good, X509_STORE_CTX *x)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *s = SSL_get_app_data(ssl);
    const int failure = is_good == 1 ? 0 : failure_of(X509_STORE_CTX_get_error(x));
    X509 *cert = X509_STORE_CTX_get_current_cert(x); /* perhaps that of who issued it */
    if (failure == DNS_TLS_WRONG_NAME || failure == DNS_TLS_EXPIRED) {
        copy_names(X509_STORE_CTX_get0_cert(x), s->names);
    }
    if (failure == DNS_TLS_EXPIRED && cert != NULL) {
        copy_date(X509_get0_notBefore(cert), s->not_before);
        copy_date(X509_get0_notAfter(cert), s->not_after);
    }
    return is_good;
}

/* 1: the reference is ours now. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_session *s = SSL_get_app_data(ssl);
    SSL_SESSION_free(s->owner->session);
    s->owner->session = session;
    return 1;
}

static void forget_session(struct dns_tls *t)
{
    SSL_SESSION_free(t->session);
    t->session = NULL;
}

/* A resumed session does without the certificate: no longer than that is valid. */
static bool offer_session(struct tls_session *s)
{
    struct dns_tls *t = s->owner;
    X509 *cert = t->session == NULL ? NULL : SSL_SESSION_get0_peer(t->session);
    if (cert == NULL || SSL_SESSION_is_resumable(t->session) != 1 ||
        X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0) {
        forget_session(t);
        return true;
    }
    return SSL_set_session(s->ssl, t->session) == 1;
}

/* Whom the certificate has to be for. An address is not told in SNI (RFC 6066 3). */
static bool set_name(const struct tls_session *s)
{
    struct dns_tls *t = s->owner;
    X509_VERIFY_PARAM *p = SSL_get0_param(s->ssl);
    X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                           X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (t->name.kind == HOST_IP) {
        return X509_VERIFY_PARAM_set1_ip(p, t->name.ip.bytes, t->name.ip.family == IP_V4 ? 4 : 16) == 1;
    }
    return X509_VERIFY_PARAM_set1_host(p, t->name.name.text, t->name.name.len) == 1 &&
           SSL_set_tlsext_host_name(s->ssl, t->name.name.text) == 1;
}

static bool set_socket(struct tls_session *s)
{
    BIO *b = BIO_new(s->owner->cfg.store->bio);
    if (b == NULL) {
        return false;
    }
    BIO_set_data(b, s);
    BIO_set_init(b, 1);
    SSL_set_bio(s->ssl, b, b); /* takes it */
    return true;
}

static int tls_open(void *ctx, int fd, void **session)
{
    struct dns_tls *t = ctx;
    struct tls_session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    *s = (struct tls_session){.owner = t, .fd = fd, .begun_ms = clock_mono_ms()};
    s->ssl = SSL_new(t->cfg.store->ctx);
    if (s->ssl == NULL || !set_socket(s) || SSL_set_app_data(s->ssl, s) != 1 || !set_name(s) ||
        !offer_session(s)) {
        ERR_clear_error();
        SSL_free(s->ssl);
        free(s);
        return -ENOMEM;
    }
    SSL_set_connect_state(s->ssl);
    *session = s;
    return 0;
}

/* What came of a call that did not succeed; error is its errno. */
static int result_of(struct tls_session *s, int rc, int error, int *want)
{
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        *want = EV_READ;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *want = EV_WRITE;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        s->is_broken = true;
        return error != 0 ? -error : -ECONNRESET;
    default:
        s->is_broken = true;
        return -DNS_TLS_REFUSED;
    }
}

static int fail_handshake(struct tls_session *s, int rc)
{
    int failure = failure_of(SSL_get_verify_result(s->ssl));
    const char *detail = ERR_reason_error_string(ERR_peek_error());
    if (failure != DNS_TLS_REFUSED) {
        detail = X509_verify_cert_error_string(SSL_get_verify_result(s->ssl));
    } else if (s->is_eof || rc == -ECONNRESET || rc == -EPIPE) {
        detail = "the server closed the connection";
    }
    note_failure(s, failure, detail != NULL ? detail : strerror(-rc));
    s->is_broken = true;
    forget_session(s->owner); /* should it be what the server does not like */
    ERR_clear_error();
    return -failure;
}

static int tls_handshake(void *session, int *want)
{
    struct tls_session *s = session;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(s->ssl);
    if (rc != 1) {
        rc = result_of(s, rc, errno, want);
        return rc == -EAGAIN ? rc : fail_handshake(s, rc);
    }
    if (SSL_get_verify_result(s->ssl) != X509_V_OK) { /* OpenSSL has seen to it; this is what all rests on */
        return fail_handshake(s, -DNS_TLS_UNTRUSTED);
    }
    s->is_done = true;
    note_success(s);
    return 0;
}

/* A connection that stood: what is no TLS, or an alert. TLS 1.3 has some of the handshake's come only here.
 */
static int fail_stream(struct tls_session *s, int rc)
{
    if (rc == -DNS_TLS_REFUSED) {
        const char *detail = ERR_reason_error_string(ERR_peek_error());
        note_failure(s, DNS_TLS_REFUSED, detail != NULL ? detail : strerror(-rc));
        forget_session(s->owner); /* RFC 5246 7.2.2 */
        ERR_clear_error();
    }
    return rc;
}

static ssize_t tls_read(void *session, uint8_t *out, size_t cap, int *want)
{
    struct tls_session *s = session;
    size_t n = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(s->ssl, out, cap, &n);
    return rc == 1 ? (ssize_t)n : fail_stream(s, result_of(s, rc, errno, want));
}

static ssize_t tls_write(void *session, struct span data, int *want)
{
    struct tls_session *s = session;
    size_t n = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write_ex(s->ssl, data.data, data.len, &n);
    if (rc == 1) {
        return (ssize_t)n;
    }
    rc = result_of(s, rc, errno, want);
    return rc == 0 ? -EPIPE : fail_stream(s, rc);
}

static void tls_close(void *session)
{
    struct tls_session *s = session;
    int64_t waited_ms = clock_mono_ms() - s->begun_ms;
    if (s->is_done && !s->is_broken) {
        (void)SSL_shutdown(s->ssl); /* what does not go out at once is not waited for */
    } else if (!s->is_done && !s->is_broken && waited_ms >= SLOW_HANDSHAKE_MS) {
        note_failure(s, ETIMEDOUT, "the server does not finish the handshake");
        forget_session(s->owner);
    }
    ERR_clear_error();
    SSL_free(s->ssl);
    free(s);
}

static const struct dns_stream_ops tls_ops = {
    .open = tls_open, .handshake = tls_handshake, .read = tls_read, .write = tls_write, .close = tls_close};

int dns_tls_new(const struct dns_tls_config *cfg, struct dns_tls **out)
{
    struct dns_tls *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return -ENOMEM;
    }
    t->cfg = *cfg;
    t->cfg.name = (struct span){0};
    int rc = host_parse(cfg->name, &t->name) != HOST_FAULT_NONE ? -EINVAL : 0;
    if (rc == 0 && cfg->news == NULL) {
        rc = upstream_news_new(&t->own_news);
        t->cfg.news = t->own_news;
    }
    if (rc != 0) {
        free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void dns_tls_free(struct dns_tls *t)
{
    if (t != NULL) {
        forget_session(t);
        upstream_news_free(t->own_news);
        free(t);
    }
}

struct dns_stream_transport dns_tls_transport(struct dns_tls *t)
{
    return (struct dns_stream_transport){.ops = &tls_ops, .ctx = t, .is_private = true};
}
