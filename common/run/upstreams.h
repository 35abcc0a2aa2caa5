/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers that a daemon asks, from its settings: those of --upstream, else those of resolv.conf as it is
 * now; and those of --zone for the names of a zone.
 */
#pragma once

#include "common/base/json.h"
#include "common/dns/dns_tls.h"
#include "common/dns/loop_guard.h"
#include "common/dns/upstream_news.h"
#include "common/dns/zone.h"
#include "common/run/settings.h"

#define UPSTREAMS_MAX UPSTREAM_MAX

struct upstream_list { /* plain data: copied, never shared */
    struct addr addrs[UPSTREAMS_MAX];
    struct span tls_names[UPSTREAMS_MAX]; /* of each; parts of the settings' texts; empty: plain DNS */
    size_t count;
};

/* The list of --upstream alone, which may be empty. 0, or -EINVAL with *err. */
MUST_CHECK int upstreams_parse(const struct str_list *list, struct upstream_list *out, struct err *err);
/* At least one, with resolv.conf where the list is empty. 0, or -EINVAL with *err. */
MUST_CHECK int upstreams_find(const struct str_list *list, const char *resolv_conf, struct upstream_list *out,
                              struct err *err);
/* The list of --zone. 0, or -EINVAL with *err. */
MUST_CHECK int upstreams_parse_zones(const struct str_list *list, struct zone_set *out, struct err *err);
/*
 * Reads the system's trusted certificates if any of the servers is asked over TLS, before privileges are
 * dropped; *out is NULL if none is. 0, -EINVAL with *err, or -ENOMEM.
 */
MUST_CHECK int upstreams_open_tls(const struct upstream_list *list, const struct zone_set *zones,
                                  struct dns_tls_store **out, struct err *err);

/* 0, or -EINVAL with *err: this address is our own, or one of ours to answer with: we would ask ourselves. */
typedef int upstream_check_fn(void *ctx, const struct addr *upstream, struct err *err);
/*
 * Moves those that are our own out of a list that was found, not given. -EINVAL with *err, and the list as it
 * was: all of them are. check may be NULL: none is.
 */
MUST_CHECK int upstreams_drop_own(struct upstream_list *list, upstream_check_fn *check, void *ctx,
                                  struct upstream_list *own, struct err *err);
/* A warning for each, with the file that names it and what check says of it. */
void upstreams_log_own(const struct upstream_list *own, const char *file, upstream_check_fn *check,
                       void *ctx);

struct upstreams_loop_config {
    const char *file;                /* that names the default ones; NULL: the options do */
    const struct dns_tls_store *tls; /* of upstreams_open_tls() */
    const struct loop_marker *own;   /* what this process answers, or NULL */
    struct upstream_news *news;      /* of the workers to be: they do not ask those that are */
};
/*
 * Asks the default and the zones' servers whether they are an openshell-dnsd, and waits for the answers, half
 * a second at most: silence is no loop. Logs those that are. 0, or -EINVAL with *err: all the default ones,
 * or all of a zone, are; or -errno.
 */
MUST_CHECK int upstreams_check_loops(const struct upstream_list *list, const struct zone_set *zones,
                                     const struct upstreams_loop_config *cfg, struct err *err);

bool upstreams_is_equal(const struct upstream_list *a, const struct upstream_list *b); /* and in this order */
/* "192.0.2.1:53,tls://[2001:db8::1]:853#dns.example"; tls_names may be NULL: all plain. Returns text. */
#define UPSTREAMS_TEXT_CAP (UPSTREAMS_MAX * UPSTREAM_TEXT_CAP)
const char *upstreams_text(const struct addr *addrs, const struct span *tls_names, size_t count,
                           char text[UPSTREAMS_TEXT_CAP]);
/* At start: a line each, but for servers that the news know to be a dnsd, and not asked. */
void upstreams_log(const struct upstream_list *list, const struct zone_set *zones,
                   struct upstream_news *news);
/* For the daemons' status pages: "upstreams" as an array of texts, "zones" as one of objects. */
void upstreams_write(const struct upstream_list *list, const struct zone_set *zones, struct json *json);
/* "upstreams_failing": those of both that the news have as failing now, with what is wrong and since when. */
void upstreams_write_failing(const struct upstream_list *list, const struct zone_set *zones,
                             struct upstream_news *news, struct json *json);
/* The array alone, as "upstreams". */
void upstreams_write_array(const struct addr *addrs, const struct span *tls_names, size_t count,
                           struct json *json);
