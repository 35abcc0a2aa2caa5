/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/settings_tables.h"

#include "common/run/settings_shared.h"

#include <stddef.h>

/* Here and not in a file of its own: the other table needs them too, and nothing else does. */
const char *const settings_log_formats[] = {"text", "json", NULL};
const char *const settings_log_levels[] = {"error", "warn", "info", "debug", NULL};

static const char *const answer_modes[] = {"real", "synthetic", "steer", NULL};
static const char *const deny_modes[] = {"nxdomain", "nodata", "refused", NULL};
static const char *const aaaa_modes[] = {"auto", "pass", "nodata", NULL};

#define AT(member) offsetof(struct settings_dnsd, member)
#define HOUR_S 3600u

/* clang-format off */
const struct setting settings_dnsd_table[] = {
    {.name = "listen", .kind = SETTING_LIST, .offset = AT(listen), .arg = "ADDR[:PORT]", .fallback = "127.0.0.1:53",
     .help = "answer here, over UDP and TCP"},
    {.name = "resolv-conf", .kind = SETTING_STRING, .offset = AT(resolv_conf), .arg = "FILE",
     .fallback = "/etc/resolv.conf", .help = "where DNS servers are read if there is no --upstream"},
    {.name = "answer", .kind = SETTING_CHOICE, .offset = AT(answer), .choices = answer_modes, .fallback = "real",
     .help = "which addresses an admitted name gets"},
    {.name = "deny", .kind = SETTING_CHOICE, .offset = AT(deny), .choices = deny_modes, .fallback = "nxdomain",
     .help = "the answer for a denied name"},
    /* Shorter and a denied name is asked for again and again, longer and a reload is felt late (product 3). */
    {.name = "deny-ttl", .kind = SETTING_DURATION_S, .offset = AT(deny_ttl_s), .arg = "DURATION", .fallback = "10s",
     .min = 5, .max = 30, .help = "how long a denial may be cached"},
    {.name = "ttl-min", .kind = SETTING_DURATION_S, .offset = AT(ttl_min_s), .arg = "DURATION", .fallback = "0",
     .max = HOUR_S, .help = "least TTL of an answer"},
    {.name = "ttl-max", .kind = SETTING_DURATION_S, .offset = AT(ttl_max_s), .arg = "DURATION", .fallback = "1h",
     .min = 1, .max = 168 * HOUR_S, .help = "greatest TTL of an answer"}, /* RFC 8767 section 4: a week */
    {.name = "ttl-neg-max", .kind = SETTING_DURATION_S, .offset = AT(ttl_neg_max_s), .arg = "DURATION",
     .fallback = "60s", .max = 3 * HOUR_S, .help = "greatest TTL of an upstream's \"no\""}, /* RFC 2308 section 5 */
    {.name = "aaaa", .kind = SETTING_CHOICE, .offset = AT(aaaa), .choices = aaaa_modes, .fallback = "auto",
     .help = "IPv6 addresses: auto gives them if there is an IPv6 default route"},
    /* Less is no cache for want of a unit; more than 80 million answers are a slip. */
    {.name = "cache-size", .kind = SETTING_SIZE, .offset = AT(cache_bytes), .arg = "SIZE", .fallback = "8MiB",
     .min = 64, .max = 16 << 20, .help = "memory for answers, all workers together; 0: none"},
    {.name = "serve-stale", .kind = SETTING_DURATION_S, .offset = AT(stale_s), .arg = "DURATION", .fallback = "1h",
     .max = 168 * HOUR_S, .help = "use answers so long after their TTL if there is no news; 0: never"},
    {.name = "synthetic-ttl", .kind = SETTING_DURATION_S, .offset = AT(synthetic_ttl_s), .arg = "DURATION",
     .fallback = "30s", .min = 1, .max = HOUR_S, .help = "TTL of synthetic addresses"},
    {.name = "map-grace", .kind = SETTING_DURATION_S, .offset = AT(map_grace_s), .arg = "DURATION", .fallback = "1h",
     .max = 720 * HOUR_S, .help = "how long beyond its TTL a synthetic address stays its name's"},
    {.name = "direct-nft-set", .kind = SETTING_STRING, .offset = AT(direct_nft_set), .arg = "TABLE/SET",
     .help = "let nft pass the real addresses of proxy: direct names, through the sets SET4 and SET6"},
    SETTINGS_SHARED_ROWS(settings_dnsd),
    {.name = NULL},
};
/* clang-format on */
