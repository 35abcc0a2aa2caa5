/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_system.h"

#include "common/base/buf.h"
#include "common/base/clock.h"

#include <netdb.h>
#include <stdio.h>

#define SLOW_MS 1000

static bool is_no_such_host(int rc)
{
#ifdef EAI_NODATA
    if (rc == EAI_NODATA) {
        return true;
    }
#endif
    return rc == EAI_NONAME;
}

static void list_text(const struct doctor_lookup *l, char *text, size_t cap)
{
    char ip[IP_TEXT_CAP];
    struct wbuf w = wbuf_make(text, cap - 1);
    for (size_t i = 0; i < l->count; i++) {
        wbuf_printf(&w, "%s%s", i == 0 ? "" : ", ", ip_text(&l->addrs[i], ip));
    }
    text[w.len] = '\0';
}

static void judge_failure(const struct doctor_lookup *l, bool is_probe, int64_t ms, struct doctor_result *out)
{
    if (l->rc == DOCTOR_LOOKUP_SILENT) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_TIMEOUT, "no answer; it would end as EAI_AGAIN");
    } else if (is_no_such_host(l->rc) && is_probe) {
        bool is_slow = ms > SLOW_MS;
        doctor_tell(out, is_slow ? DOCTOR_NOTED : DOCTOR_OK, is_slow ? DOCTOR_LOOKUP_SLOW : DOCTOR_FAULT_NONE,
                    "no such host (ENOTFOUND)%s", is_slow ? ", but late" : ", as it should be");
    } else if (l->rc == EAI_NONAME) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NO_SUCH_HOST, "no such host (ENOTFOUND)");
    } else if (is_no_such_host(l->rc)) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NO_ADDRESS, "no address (ENOTFOUND)");
    } else if (l->rc == EAI_AGAIN) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_TRY_AGAIN, "EAI_AGAIN");
    } else {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_TRY_AGAIN, "%s", gai_strerror(l->rc));
    }
}

void doctor_system_judge(const struct doctor_lookup *l, bool is_probe, int64_t ms, struct doctor_result *out)
{
    char text[DOCTOR_TEXT_CAP / 2];
    out->ms = ms;
    list_text(l, text, sizeof text);
    if (l->count > 0 && is_probe) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NAME_EXISTS, "found: %s", text);
    } else if (l->rc == 0 && l->count > 0) {
        doctor_tell(out, DOCTOR_OK, DOCTOR_FAULT_NONE, "%s", text);
    } else if (l->count > 0) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_ADDRCONFIG, "with AI_ADDRCONFIG nothing, without %s", text);
    } else {
        judge_failure(l, is_probe, ms, out);
    }
}

int doctor_system_check(struct doctor_target *t, int64_t end_ms)
{
    struct doctor_lookup l;
    int64_t start_ms = clock_mono_ms();
    int rc = doctor_lookup(&t->host.name, end_ms, &l);
    if (rc != 0) {
        return rc;
    }
    doctor_system_judge(&l, t->is_probe, clock_mono_ms() - start_ms, &t->results[DOCTOR_SYSTEM]);
    for (size_t i = 0; i < l.count && i < DOCTOR_ADDRS_MAX; i++) {
        t->addrs[t->addr_count++] = l.addrs[i];
    }
    return 0;
}
