/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the members are documented in openshell-egress(1) and do not change. */
#include "egress/doctor_advice.h"
#include "egress/doctor_print.h"

#include "common/base/json.h"

#include <errno.h>

#define DOCUMENT_MAX ((size_t)1 << 20)

static void put_surroundings(struct json *j, const struct doctor_facts *f)
{
    char text[DOCTOR_ADVICE_CAP];
    char server[IP_TEXT_CAP];
    json_object(j, "resolv_conf");
    json_array(j, "nameservers");
    for (size_t i = 0; i < f->resolv.server_count; i++) {
        json_str(j, NULL, ip_text(&f->resolv.servers[i].ip, server));
    }
    json_end(j);
    json_u64(j, "search", f->resolv.search_count);
    json_u64(j, "ndots", f->resolv.ndots);
    json_end(j);
    json_object(j, "proxy");
    json_str(j, "url", f->proxy.url);
    json_str(j, "from", f->proxy.from);
    json_end(j);
    json_array(j, "notes");
    for (size_t i = 0; doctor_note(f, i, text) != NULL; i++) {
        json_str(j, NULL, text);
    }
    json_end(j);
}

static void put_check(struct json *j, const struct doctor_facts *f, const struct doctor_target *t,
                      enum doctor_check c)
{
    char advice[DOCTOR_ADVICE_CAP];
    const struct doctor_result *r = &t->results[c];
    json_object(j, NULL);
    json_str(j, "check", doctor_check_word(c));
    json_str(j, "state", doctor_state_word(r->state));
    json_str(j, "fault", doctor_fault_word(r->fault));
    json_i64(j, "ms", r->ms);
    json_str(j, "text", r->text[0] == '\0' ? NULL : r->text);
    json_str(j, "change", doctor_advice(f, t, c, advice));
    json_end(j);
}

static void put_target(struct json *j, const struct doctor_facts *f, const struct doctor_target *t)
{
    char host[HOST_TEXT_CAP];
    json_object(j, NULL);
    json_str(j, "host", host_text(&t->host, host));
    json_u64(j, "port", t->port);
    json_bool(j, "probe", t->is_probe);
    if (t->has_policy) {
        json_bool(j, "admitted", t->is_admitted);
    } else {
        json_null(j, "admitted");
    }
    if (t->websocket == DOCTOR_WEBSOCKET_NONE) {
        json_null(j, "websocket");
    } else {
        json_span(j, "websocket", doctor_ws_path(t));
    }
    json_bool(j, "works", doctor_target_works(t));
    json_array(j, "checks");
    for (int c = 0; c < DOCTOR_CHECK_COUNT; c++) {
        put_check(j, f, t, (enum doctor_check)c);
    }
    json_end(j);
    json_end(j);
}

int doctor_print_json(FILE *out, const struct doctor_facts *f)
{
    struct json j = {.limit = DOCUMENT_MAX};
    struct span text;
    json_object(&j, NULL);
    json_bool(&j, "works", doctor_all_works(f));
    put_surroundings(&j, f);
    json_array(&j, "targets");
    for (size_t i = 0; i < f->target_count; i++) {
        put_target(&j, f, &f->targets[i]);
    }
    json_end(&j);
    json_end(&j);
    int rc = json_finish(&j, &text);
    if (rc == 0 && fwrite(text.data, 1, text.len, out) != text.len) {
        rc = -EIO;
    }
    json_fini(&j);
    return rc;
}
