/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"
#include "egress/doctor_dns.h"
#include "egress/doctor_idle.h"
#include "egress/doctor_lookup.h"
#include "egress/doctor_options.h"
#include "egress/doctor_path.h"
#include "egress/doctor_print.h"
#include "egress/doctor_resolv.h"
#include "egress/doctor_system.h"
#include "egress/doctor_targets.h"
#include "egress/doctor_wss.h"
#include "egress/policy_open.h"
#include "egress/printed.h"

#include "common/base/clock.h"
#include "common/base/num.h"
#include "common/run/exit_status.h"

#include <errno.h>
#include <stdlib.h>

#define STATUS_WORKS 0
#define STATUS_FAILS 1
#define CHECK_MS 5000
#define DNS_CHECK_MS 15000 /* three servers, two transports */
#define TOTAL_MS 60000     /* all checks; the silence comes on top, and DOCTOR_PONG_MS */
#define RESOLV_CONF "/etc/resolv.conf"

static void usage(FILE *out)
{
    (void)fprintf(
        out, "usage: openshell-egress doctor [OPTION]... [HOST[:PORT] | URL]...\n"
             "Run inside a sandbox: tries each way a program has to HOST, says which work, and below each "
             "failure\n"
             "the line to change. Without HOST: the hosts that --policy spells out, else the resolver and "
             "proxy alone.\n"
             "With wss://HOST[:PORT]/PATH or ws://..., and where the policy has `protocol: websocket`: a "
             "WebSocket,\n"
             "idle for as long, has to answer a ping behind it.\n\n"
             "  --policy PATH         policy file or directory; may be repeated (default: none)\n"
             "  --proxy URL           in place of HTTPS_PROXY, HTTP_PROXY and http://127.0.0.1:3128\n"
             "  --idle DURATION       how long a tunnel has to bear silence (default 3s; 0: not tested); a "
             "minute is the\n"
             "                        most for all else, and 5s for a pong\n"
             "  --format text|json    (default text)\n"
             "  --help\n"
             "Exit status: 0 every HOST resolves and can be reached natively or through CONNECT, 1 not, 64 "
             "usage,\n"
             "71 the system refused something, 78 policy.\n");
    if (!doctor_wss_is_built()) {
        (void)fprintf(out, "This build has no wss://: it was configured without OpenSSL.\n");
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool is_late(struct doctor_target *t, int64_t total_ms)
{
    if (clock_mono_ms() < total_ms) {
        return false;
    }
    for (int c = 0; c < DOCTOR_CHECK_COUNT; c++) {
        bool is_wanted = t->websocket != DOCTOR_WEBSOCKET_NONE ||
                         (c != DOCTOR_CONNECT_WEBSOCKET && c != DOCTOR_NATIVE_WEBSOCKET);
        if (t->results[c].state == DOCTOR_NOT_TESTED && is_wanted) {
            doctor_tell(&t->results[c], DOCTOR_NOT_TESTED, DOCTOR_OUT_OF_TIME,
                        "not tested: the minute is over");
        }
    }
    return true;
}

static int examine(struct doctor_facts *f, struct doctor_target *t, int64_t total_ms)
{
    if (is_late(t, total_ms)) {
        return 0;
    }
    if (t->host.kind == HOST_DNS) {
        int rc = doctor_system_check(t, sooner(clock_mono_ms() + CHECK_MS, total_ms));
        if (rc != 0) {
            return rc;
        }
        doctor_dns_check(f, t, sooner(clock_mono_ms() + DNS_CHECK_MS, total_ms));
    } else {
        t->addrs[t->addr_count++] = t->host.ip;
    }
    if (!is_late(t, total_ms)) {
        doctor_connect_check(f, t, sooner(clock_mono_ms() + CHECK_MS, total_ms));
    }
    if (!t->is_probe && !is_late(t, total_ms)) {
        doctor_native_check(t, sooner(clock_mono_ms() + CHECK_MS, total_ms));
    }
    return 0;
}

/* A proxy that is named and not numbered is looked up as a program would. */
static int find_proxy(struct doctor_proxy *p)
{
    struct doctor_lookup l;
    if (p->fault != DOCTOR_FAULT_NONE || p->host.kind != HOST_DNS) {
        return 0;
    }
    int rc = doctor_lookup(&p->host.name, clock_mono_ms() + CHECK_MS, &l);
    if (rc == 0 && l.count > 0) {
        p->addr.ip = l.addrs[0];
    } else if (rc == 0) {
        p->fault = DOCTOR_PROXY_NAME;
    }
    return rc;
}

static void read_surroundings(struct doctor_facts *f, const struct doctor_options *o)
{
    const struct doctor_env env = {.option = o->proxy,
                                   .https_upper = getenv("HTTPS_PROXY"),
                                   .https_lower = getenv("https_proxy"),
                                   .http_upper = getenv("HTTP_PROXY"),
                                   .http_lower = getenv("http_proxy"),
                                   .no_upper = getenv("NO_PROXY"),
                                   .no_lower = getenv("no_proxy")};
    const char *no_proxy = env.no_lower != NULL && env.no_lower[0] != '\0' ? env.no_lower : env.no_upper;
    f->idle_ms = o->idle_ms;
    doctor_resolv_read(RESOLV_CONF, &f->resolv);
    doctor_proxy_read(&env, &f->proxy);
    for (size_t i = 0; i < f->target_count; i++) {
        struct doctor_target *t = &f->targets[i];
        t->passes_proxy_by = f->proxy.from != NULL && doctor_no_proxy_names(no_proxy, &t->host);
    }
}

static int examine_all(struct doctor_facts *f)
{
    int64_t total_ms = clock_mono_ms() + TOTAL_MS;
    int rc = find_proxy(&f->proxy);
    for (size_t i = 0; rc == 0 && i < f->target_count; i++) {
        rc = examine(f, &f->targets[i], total_ms);
    }
    if (rc == 0 && f->idle_ms > 0) {
        rc = doctor_idle_run(f, total_ms);
    }
    return rc;
}

/* Before the first check: how long is the longest that this can take? */
static void tell_bound(const struct doctor_facts *f)
{
    char bound[32];
    char idle[32];
    bool has_websocket = false;
    for (size_t i = 0; i < f->target_count; i++) {
        has_websocket = has_websocket || f->targets[i].websocket != DOCTOR_WEBSOCKET_NONE;
    }
    int64_t pong_ms = has_websocket && f->idle_ms > 0 ? DOCTOR_PONG_MS : 0;
    (void)fprintf(stderr, "openshell-egress doctor: done within %s, of which %s are silence\n",
                  num_duration_text(TOTAL_MS + f->idle_ms + pong_ms, bound, sizeof bound),
                  num_duration_text(f->idle_ms, idle, sizeof idle));
}

static int doctor(const struct doctor_options *o, const struct policy *policy)
{
    struct doctor_facts facts = {.target_count = 0};
    int rc = doctor_targets_fill(&facts, policy, o->targets, o->target_count);
    if (rc == 0) {
        read_surroundings(&facts, o);
        tell_bound(&facts);
        rc = examine_all(&facts);
    }
    int status = rc == 0 && doctor_all_works(&facts) ? STATUS_WORKS : STATUS_FAILS;
    if (rc == 0 && o->is_json) {
        rc = doctor_print_json(stdout, &facts);
    } else if (rc == 0) {
        doctor_print_text(stdout, &facts);
    }
    if (rc != 0 && ferror(stdout) == 0) { /* else printed() tells */
        (void)fprintf(stderr, "openshell-egress doctor: %s\n", strerror(-rc));
        status = EXIT_STATUS_OS;
    }
    status = printed("openshell-egress doctor", status, EXIT_STATUS_OS);
    free(facts.targets);
    return status;
}

int command_doctor(int argc, char **argv)
{
    struct doctor_options o;
    struct err err = {""};
    struct policy *policy = NULL;
    int rc = doctor_options_parse(argc, argv, &o, &err);
    if (rc != 0) {
        (void)fprintf(stderr, "openshell-egress doctor: %s\n", err.text);
        if (rc == -EINVAL) {
            usage(stderr);
        }
        return rc == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_OS;
    }
    int status = 0;
    if (o.help) {
        usage(stdout);
        status = printed("openshell-egress doctor", 0, EXIT_STATUS_OS);
    } else {
        status = o.policies.count > 0 ? policy_open(&o.policies, &policy) : 0;
        status = status == 0 ? doctor(&o, policy) : status;
    }
    policy_unref(policy);
    doctor_options_fini(&o);
    return status;
}
