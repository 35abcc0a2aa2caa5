/* SPDX-License-Identifier: Apache-2.0 */
/* Whether those that are to be asked are a dnsd, before anything is served. */
#include "common/run/upstreams.h"

#include "common/base/log.h"
#include "common/dns/loop_check.h"

#include <errno.h>

#define LOOP_WAIT_MS 500

/* Distinct servers and what they turned out to be. Those for which there is no room are found out later. */
struct loop_findings {
    struct addr addrs[UPSTREAM_MAX];
    enum loop_verdict verdicts[UPSTREAM_MAX];
    size_t count;
};

static void add_findings(struct loop_findings *f, const struct addr *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < f->count && !addr_is_equal(&f->addrs[at], &addrs[i])) {
            at++;
        }
        if (at == f->count && at < UPSTREAM_MAX) {
            f->addrs[f->count++] = addrs[i];
        }
    }
}

static bool is_found_loop(const struct loop_findings *f, const struct addr *addr)
{
    for (size_t i = 0; i < f->count; i++) {
        if (addr_is_equal(&f->addrs[i], addr)) {
            return f->verdicts[i] == LOOP_OTHER || f->verdicts[i] == LOOP_SELF;
        }
    }
    return false;
}

static int judge_findings(const struct loop_findings *f, const struct addr *addrs, size_t count,
                          struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_found_loop(f, &addrs[i])) {
            return 0;
        }
    }
    char text[ADDR_TEXT_CAP];
    err_set(err, "upstream %s is an openshell-dnsd itself%s; give the resolver behind it with --upstream",
            addr_text(&addrs[0], text), count > 1 ? ", and so are the others" : "");
    return -EINVAL;
}

int upstreams_check_loops(const struct upstream_list *list, const struct zone_set *zones,
                          const struct loop_marker *own, struct err *err)
{
    const struct loop_check_config cfg = {.own = own, .wait_ms = LOOP_WAIT_MS};
    struct loop_findings f = {.count = 0};
    add_findings(&f, list->addrs, list->count);
    for (size_t i = 0; i < zones->count; i++) {
        add_findings(&f, zones->items[i].upstreams, zones->items[i].upstream_count);
    }
    int rc = loop_check_all(&cfg, f.addrs, NULL, f.count, f.verdicts);
    if (rc != 0) {
        err_set(err, "cannot look for loops: %s", strerror(-rc));
        return rc;
    }
    rc = judge_findings(&f, list->addrs, list->count, err);
    for (size_t i = 0; rc == 0 && i < zones->count; i++) {
        rc = judge_findings(&f, zones->items[i].upstreams, zones->items[i].upstream_count, err);
        if (rc != 0) {
            err_prefix(err, "--zone %s", zones->items[i].suffix.text);
        }
    }
    for (size_t i = 0; rc == 0 && i < f.count; i++) {
        char text[ADDR_TEXT_CAP];
        if (is_found_loop(&f, &f.addrs[i])) {
            log_event(
                LOG_WARN, "upstream_is_dnsd",
                LOG_KV(kv_str("upstream", addr_text(&f.addrs[i], text)), kv_str("effect", "not asked")));
        }
    }
    return rc;
}
