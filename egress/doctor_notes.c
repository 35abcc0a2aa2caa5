/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_advice.h"

#include <stdio.h>

/* Writes the note; true if it applies. */
typedef bool note_fn(const struct doctor_facts *f, char *text, size_t cap);

static bool note_servers(const struct doctor_facts *f, char *text, size_t cap)
{
    if (f->resolv.server_count == 0) {
        (void)snprintf(text, cap,
                       "/etc/resolv.conf: %s, so programs ask 127.0.0.1; write `nameserver 127.0.0.1`",
                       f->resolv.is_read ? "no nameserver line" : "cannot be read");
        return true;
    }
    (void)snprintf(text, cap,
                   "/etc/resolv.conf: %zu nameservers; leave openshell-dnsd's alone. What it denies or is "
                   "slow to answer is "
                   "asked of the others",
                   f->resolv.server_count);
    return f->resolv.server_count > 1;
}

static bool note_search(const struct doctor_facts *f, char *text, size_t cap)
{
    (void)snprintf(
        text, cap,
        "/etc/resolv.conf: %zu search suffixes with ndots:%u, so most names are asked for with each of them "
        "first; no `search`, and `options ndots:1`",
        f->resolv.search_count, f->resolv.ndots);
    return f->resolv.search_count > 0 && f->resolv.ndots > 1;
}

static bool note_conflict(const struct doctor_facts *f, char *text, size_t cap)
{
    (void)snprintf(
        text, cap,
        "HTTPS_PROXY and https_proxy differ, and programs disagree about which counts; set both to %s",
        f->proxy.url);
    return f->proxy.has_conflict;
}

static bool note_http_only(const struct doctor_facts *f, char *text, size_t cap)
{
    const char *from = f->proxy.from;
    (void)snprintf(text, cap, "only %s is set, and https:// does not look there; export HTTPS_PROXY=%s",
                   from == NULL ? "" : from, f->proxy.url);
    return from != NULL && (strcmp(from, "HTTP_PROXY") == 0 || strcmp(from, "http_proxy") == 0);
}

static bool note_loopback(const struct doctor_facts *f, char *text, size_t cap)
{
    (void)snprintf(
        text, cap,
        "NO_PROXY leaves loopback to the proxy, which refuses it; NO_PROXY=localhost,127.0.0.1,::1");
    return f->proxy.from != NULL && !f->proxy.exempts_loopback;
}

static bool note_passed_by(const struct doctor_facts *f, char *text, size_t cap)
{
    char host[HOST_TEXT_CAP];
    for (size_t i = 0; i < f->target_count; i++) {
        if (f->targets[i].passes_proxy_by) {
            (void)snprintf(text, cap,
                           "NO_PROXY names %s: programs do not use the proxy for it; take it out unless "
                           "native TCP works",
                           host_text(&f->targets[i].host, host));
            return true;
        }
    }
    return false;
}

static bool note_left_out(const struct doctor_facts *f, char *text, size_t cap)
{
    (void)snprintf(text, cap, "%zu more hosts of the policy were left out; name those that matter",
                   f->left_out);
    return f->left_out > 0;
}

const char *doctor_note(const struct doctor_facts *f, size_t i, char text[DOCTOR_ADVICE_CAP])
{
    static note_fn *const notes[] = {note_servers,  note_search,    note_conflict, note_http_only,
                                     note_loopback, note_passed_by, note_left_out};
    size_t found = 0;
    for (size_t n = 0; n < sizeof notes / sizeof notes[0]; n++) {
        if (notes[n](f, text, DOCTOR_ADVICE_CAP) && found++ == i) {
            return text;
        }
    }
    return NULL;
}
