/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_advice.h"
#include "egress/doctor_print.h"

#include "common/base/num.h"

static const char *state_text(enum doctor_state s)
{
    switch (s) {
    case DOCTOR_NOT_TESTED:
        return "-";
    case DOCTOR_FAILED:
        return "FAILED";
    case DOCTOR_NOTED:
        return "ok, but";
    case DOCTOR_OK:
        return "ok";
    }
    return "?";
}

static void print_surroundings(FILE *out, const struct doctor_facts *f)
{
    char text[DOCTOR_ADVICE_CAP];
    char server[ADDR_TEXT_CAP];
    (void)fprintf(out, "resolv.conf  ");
    for (size_t i = 0; i < f->resolv.server_count; i++) {
        (void)fprintf(out, "nameserver %s, ", ip_text(&f->resolv.servers[i].ip, server));
    }
    (void)fprintf(out, "%zu search suffixes, ndots:%u\n", f->resolv.search_count, f->resolv.ndots);
    (void)fprintf(out, "proxy        %s (%s)\n", f->proxy.url,
                  f->proxy.from == NULL ? "none is set; this is the usual place" : f->proxy.from);
    for (size_t i = 0; doctor_note(f, i, text) != NULL; i++) {
        (void)fprintf(out, "    change: %s\n", text);
    }
}

/* Was the same said before, of this or an earlier target? Then it need not be read again. */
static bool is_said(const struct doctor_facts *f, const struct doctor_target *t, enum doctor_check c,
                    const char *advice)
{
    char other[DOCTOR_ADVICE_CAP];
    for (const struct doctor_target *o = f->targets; o <= t; o++) {
        int end = o == t ? (int)c : DOCTOR_CHECK_COUNT;
        for (int i = 0; i < end; i++) {
            if (doctor_advice(f, o, (enum doctor_check)i, other) != NULL && strcmp(other, advice) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void print_check(FILE *out, const struct doctor_facts *f, const struct doctor_target *t,
                        enum doctor_check c)
{
    char advice[DOCTOR_ADVICE_CAP];
    char took[32];
    const struct doctor_result *r = &t->results[c];
    (void)fprintf(out, "  %-18s  %-7s  %s", doctor_check_name(c), state_text(r->state), r->text);
    if (r->state != DOCTOR_NOT_TESTED) {
        (void)fprintf(out, "%s(%s)", r->text[0] == '\0' ? "" : " ",
                      r->ms == 0 ? "<1ms" : num_duration_text(r->ms, took, sizeof took));
    }
    (void)fprintf(out, "\n");
    if (doctor_advice(f, t, c, advice) != NULL) {
        (void)fprintf(out, "      change: %s\n", is_said(f, t, c, advice) ? "as above" : advice);
    }
}

static void print_target(FILE *out, const struct doctor_facts *f, const struct doctor_target *t)
{
    char host[HOST_TEXT_CAP];
    (void)fprintf(out, "\n%s:%u", host_text(&t->host, host), t->port);
    if (t->is_probe) {
        (void)fprintf(out, ", which nobody has and every policy denies");
    } else if (t->has_policy) {
        (void)fprintf(out, ", %s", t->is_admitted ? "admitted by the policy" : "not admitted by the policy");
    }
    if (t->websocket != DOCTOR_WEBSOCKET_NONE) {
        struct span path = doctor_ws_path(t);
        (void)fprintf(out, ", a WebSocket at %.*s", (int)path.len, (const char *)path.data);
    }
    (void)fprintf(out, "\n");
    for (int c = 0; c < DOCTOR_CHECK_COUNT; c++) {
        bool is_shown = t->results[c].state != DOCTOR_NOT_TESTED || t->results[c].text[0] != '\0';
        if (is_shown) {
            print_check(out, f, t, (enum doctor_check)c);
        }
    }
}

void doctor_print_text(FILE *out, const struct doctor_facts *f)
{
    char host[HOST_TEXT_CAP];
    print_surroundings(out, f);
    for (size_t i = 0; i < f->target_count; i++) {
        print_target(out, f, &f->targets[i]);
    }
    (void)fprintf(out, "\nEAI_AGAIN means the resolver is ill; ENOTFOUND means policy.\n");
    for (size_t i = 0; i < f->target_count; i++) {
        const struct doctor_target *t = &f->targets[i];
        if (!doctor_target_works(t) && t->is_probe) {
            (void)fprintf(out, "does not work: the resolver\n");
        } else if (!doctor_target_works(t)) {
            (void)fprintf(out, "does not work: %s:%u\n", host_text(&t->host, host), t->port);
        }
    }
    if (doctor_all_works(f)) {
        (void)fprintf(out, f->target_count > 1
                               ? "every target can be reached\n"
                               : "the resolver is well; name a HOST[:PORT] to test a way to it\n");
    }
}
