/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_dns.h"

#include "common/dns/dns_ldns.h"

#include <errno.h>
#include <string.h>

#define SLOW_MS 1000 /* a denial that takes this long was asked of somebody */

/* How good what came back is; the higher the better. */
enum grade { GRADE_DEAD = 0, GRADE_ILL, GRADE_NO_NAME, GRADE_NO_DATA, GRADE_FOUND };

static enum grade grade_of(const struct doctor_dns_answer *a)
{
    if (a->rc != 0) {
        return GRADE_DEAD;
    }
    switch (a->reply.kind) {
    case DNS_REPLY_ADDRS:
        return GRADE_FOUND;
    case DNS_REPLY_NODATA:
    case DNS_REPLY_CNAME:
    case DNS_REPLY_TRUNCATED:
    case DNS_REPLY_RECORDS:
        return GRADE_NO_DATA;
    case DNS_REPLY_NXDOMAIN:
        return GRADE_NO_NAME;
    case DNS_REPLY_ERROR:
    case DNS_REPLY_MISMATCH:
        return GRADE_ILL;
    }
    return GRADE_DEAD;
}

static const char *answer_text(const struct doctor_dns_answer *a)
{
    if (a->rc != 0) {
        return a->rc == -ETIMEDOUT ? "no answer" : a->rc == -EPROTO ? "no DNS answer" : strerror(-a->rc);
    }
    switch (a->reply.kind) {
    case DNS_REPLY_NODATA:
        return "no address";
    case DNS_REPLY_CNAME:
        return "an alias without an address";
    case DNS_REPLY_TRUNCATED:
        return "cut short (TC)";
    case DNS_REPLY_NXDOMAIN:
        return "NXDOMAIN";
    case DNS_REPLY_ERROR:
        return dns_rcode_text(a->reply.rcode);
    case DNS_REPLY_ADDRS:
    case DNS_REPLY_RECORDS:
    case DNS_REPLY_MISMATCH:
        break;
    }
    return "an answer";
}

static enum grade best_of(const struct doctor_dns_pair *p)
{
    enum grade a = grade_of(&p->a);
    enum grade aaaa = grade_of(&p->aaaa);
    return a > aaaa ? a : aaaa;
}

/* One family has the name and the other is an error: musl then fails, and glibc waits. NXDOMAIN is an error,
 * too. */
static const struct doctor_dns_answer *ill_family(const struct doctor_dns_pair *p)
{
    enum grade a = grade_of(&p->a);
    enum grade aaaa = grade_of(&p->aaaa);
    if (a >= GRADE_NO_DATA && aaaa < GRADE_NO_DATA) {
        return &p->aaaa;
    }
    return aaaa >= GRADE_NO_DATA && a < GRADE_NO_DATA ? &p->a : NULL;
}

static const char *found_text(const struct doctor_dns_pair *p, char text[IP_TEXT_CAP])
{
    const struct doctor_dns_answer *answer = grade_of(&p->a) == GRADE_FOUND ? &p->a : &p->aaaa;
    return ip_text(&answer->reply.addrs[0], text);
}

static void judge_target(const struct doctor_dns_pair *p, const char *server, struct doctor_result *out)
{
    char ip[IP_TEXT_CAP];
    const struct doctor_dns_answer *ill = ill_family(p);
    switch (best_of(p)) {
    case GRADE_FOUND:
        if (ill != NULL) {
            doctor_tell(out, DOCTOR_NOTED, DOCTOR_FAMILY_ILL, "%s: %s, but %s: %s", server, found_text(p, ip),
                        ill == &p->aaaa ? "AAAA" : "A", answer_text(ill));
        } else {
            doctor_tell(out, DOCTOR_OK, DOCTOR_FAULT_NONE, "%s: %s", server, found_text(p, ip));
        }
        break;
    case GRADE_NO_DATA:
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NO_ADDRESS, "%s: the name is known and has no address",
                    server);
        break;
    case GRADE_NO_NAME:
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NO_SUCH_HOST, "%s: NXDOMAIN, no such host", server);
        break;
    case GRADE_ILL:
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_TRY_AGAIN, "%s: %s", server, answer_text(&p->a));
        break;
    case GRADE_DEAD:
        doctor_tell(out, DOCTOR_FAILED, p->a.rc == -ECONNREFUSED ? DOCTOR_CONN_REFUSED : DOCTOR_TIMEOUT,
                    "%s: %s", server, answer_text(&p->a));
        break;
    }
}

static bool is_no(enum doctor_fault fault)
{
    return fault == DOCTOR_NO_SUCH_HOST || fault == DOCTOR_NO_ADDRESS;
}

static void judge_probe(const struct doctor_dns_pair *p, const char *server, struct doctor_result *out)
{
    judge_target(p, server, out);
    if (doctor_is_good(out)) {
        out->state = DOCTOR_FAILED;
        out->fault = DOCTOR_NAME_EXISTS;
    } else if (out->fault == DOCTOR_NO_SUCH_HOST && p->ms > SLOW_MS) {
        doctor_tell(out, DOCTOR_NOTED, DOCTOR_LOOKUP_SLOW, "%s: NXDOMAIN, but only after %lld ms", server,
                    (long long)p->ms);
    } else if (is_no(out->fault)) {
        bool is_nx = out->fault == DOCTOR_NO_SUCH_HOST;
        doctor_tell(out, DOCTOR_OK, DOCTOR_FAULT_NONE, "%s: %s", server,
                    is_nx ? "NXDOMAIN, as it should be" : "no address, as --deny nodata has it");
    }
}

/* The first server decides, because the others are asked only when it fails; one that differs is told. */
static void add_other(const struct doctor_result *one, bool is_probe, struct doctor_result *all)
{
    char before[DOCTOR_TEXT_CAP];
    memcpy(before, all->text, sizeof before);
    bool was_good = doctor_is_good(all);
    all->ms += one->ms;
    bool goes_on = !was_good && !is_no(all->fault) && !is_probe; /* clients turn to the next one */
    if ((was_good && one->state == DOCTOR_FAILED) || (goes_on && doctor_is_good(one))) {
        doctor_tell(all, DOCTOR_NOTED, DOCTOR_SERVER_ILL, "%.110s; %.110s", before, one->text);
    }
}

void doctor_dns_judge(const struct doctor_dns_pair *pairs, size_t count, bool is_probe,
                      struct doctor_result *out)
{
    for (size_t i = 0; i < count; i++) {
        char server[ADDR_TEXT_CAP];
        struct doctor_result one = {.ms = pairs[i].ms};
        const char *text = addr_text(&pairs[i].server, server);
        if (is_probe) {
            judge_probe(&pairs[i], text, &one);
        } else {
            judge_target(&pairs[i], text, &one);
        }
        if (i == 0) {
            *out = one;
        } else {
            add_other(&one, is_probe, out);
        }
    }
}
