/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_parts.h"

#include "common/base/num.h"

#include <limits.h>

#define KEEPALIVE_MAX_S 32767    /* Linux: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL */
#define KEEPALIVE_MAX_PROBES 127 /* Linux: MAX_TCP_KEEPCNT */

static const char duration_hint[] = "write a number with its unit, as in 250ms, 10s, 5m or 1h; 0 means never";

static bool read_duration(struct load *l, const struct yaml_node *n, int64_t *out)
{
    char quoted[DIAG_QUOTE_CAP];
    if (n->kind != YAML_SCALAR) {
        return false; /* reported as a wrong type */
    }
    if (num_duration_ms(n->text, out) != 0) {
        load_error(l, n->pos, duration_hint, "%s is not a duration", diag_quote(n->text, quoted));
        return false;
    }
    return true;
}

static void load_timer(struct load *l, const struct yaml_node *map, const char *key, int64_t *out)
{
    const struct yaml_node *n = yaml_map_get(map, key);
    int64_t ms = 0;
    if (n != NULL && load_is_word(n) && read_duration(l, n, &ms)) {
        *out = ms;
    }
}

static void load_user_timer(struct load *l, const struct yaml_node *map, int64_t *out)
{
    const struct yaml_node *n = yaml_map_get(map, "user");
    if (n == NULL || !load_is_word(n)) {
        return;
    }
    if (span_is_equal(n->text, SPAN_LIT("auto"))) {
        *out = TIMER_AUTO;
        return;
    }
    int64_t ms = 0;
    if (!read_duration(l, n, &ms)) {
        return;
    }
    if (ms > INT_MAX) { /* TCP_USER_TIMEOUT is an int of milliseconds */
        load_error(l, n->pos, "use a shorter time, or 0 for the kernel's own", "\"user\" can be at most 24d");
        return;
    }
    *out = ms;
}

static void load_timeouts(struct load *l, const struct yaml_node *map, struct tunnel_timers *out)
{
    static const struct key_spec keys[] = {
        {"connect", KEY_WORD},    {"idle", KEY_WORD}, {"lifetime", KEY_WORD},
        {"half_close", KEY_WORD}, {"user", KEY_WORD},
    };
    static const struct key_table table = KEY_TABLE("\"timeouts\"", keys);
    if (!load_check_map(l, map, &table)) {
        return;
    }
    load_timer(l, map, "connect", &out->connect_ms);
    load_timer(l, map, "idle", &out->idle_ms);
    load_timer(l, map, "lifetime", &out->lifetime_ms);
    load_timer(l, map, "half_close", &out->half_close_ms);
    load_user_timer(l, map, &out->user_ms);
}

static void load_seconds(struct load *l, const struct yaml_node *map, const char *key, uint16_t *out)
{
    const struct yaml_node *n = yaml_map_get(map, key);
    int64_t ms = 0;
    if (n == NULL || !load_is_word(n) || !read_duration(l, n, &ms)) {
        return;
    }
    if (ms % 1000 != 0 || ms < 1000 || ms / 1000 > KEEPALIVE_MAX_S) {
        load_error(l, n->pos,
                   "write whole seconds, as in 60s; to have no keepalive at all write keepalive: off",
                   "keepalive \"%s\" must be whole seconds, from 1s to %ds", key, KEEPALIVE_MAX_S);
        return;
    }
    *out = (uint16_t)(ms / 1000);
}

static void load_probes(struct load *l, const struct yaml_node *map, uint8_t *out)
{
    const struct yaml_node *n = yaml_map_get(map, "probes");
    if (n == NULL || n->kind != YAML_SCALAR || !n->is_plain) {
        return;
    }
    uint64_t probes = 0;
    if (num_u64(n->text, 0, UINT32_MAX, &probes) != 0) {
        return; /* reported as a wrong type */
    }
    if (probes < 1 || probes > KEEPALIVE_MAX_PROBES) {
        load_error(l, n->pos, "write probes: 4; to have no keepalive at all write keepalive: off",
                   "keepalive \"probes\" must be from 1 to %d", KEEPALIVE_MAX_PROBES);
        return;
    }
    *out = (uint8_t)probes;
}

/* A keepalive is replaced as a whole: what the map leaves out takes the built-in value, not another level's.
 */
static void load_keepalive(struct load *l, const struct yaml_node *n, struct tunnel_keepalive *out)
{
    static const struct key_spec keys[] = {{"idle", KEY_WORD}, {"interval", KEY_WORD}, {"probes", KEY_U32}};
    static const struct key_table table = KEY_TABLE("\"keepalive\"", keys);
    if (n->kind == YAML_SCALAR && span_is_equal(n->text, SPAN_LIT("off"))) {
        out->mode = KEEPALIVE_OFF;
        return;
    }
    if (n->kind != YAML_MAP) {
        load_error(l, n->pos, "write { idle: 60s, interval: 15s, probes: 4 } or off",
                   "\"keepalive\" must be a map, or the word off");
        return;
    }
    struct tunnel_timers unused;
    tunnel_timers_builtin(&unused, out);
    (void)load_check_map(l, n, &table);
    load_seconds(l, n, "idle", &out->idle_s);
    load_seconds(l, n, "interval", &out->interval_s);
    load_probes(l, n, &out->probes);
}

void load_tuning(struct load *l, const struct yaml_node *map, struct load_tuning *out)
{
    static const char *const words[] = {"", "direct", "chain"};
    static const struct word_list proxies = {words, sizeof words / sizeof words[0], false};
    memset(out, 0, sizeof *out);
    tunnel_timers_unset(&out->timers);
    const struct yaml_node *timeouts = yaml_map_get(map, "timeouts");
    const struct yaml_node *keepalive = yaml_map_get(map, "keepalive");
    const struct yaml_node *dns = yaml_map_get(map, "dns");
    out->proxy = (enum policy_proxy)load_get_word(l, map, "proxy", &proxies);
    out->has_proxy = out->proxy != PROXY_UNSET;
    out->has_timers = timeouts != NULL;
    out->has_keepalive = keepalive != NULL;
    if (timeouts != NULL) {
        load_timeouts(l, timeouts, &out->timers);
    }
    if (keepalive != NULL) {
        load_keepalive(l, keepalive, &out->keepalive);
    }
    if (dns != NULL) {
        load_dns(l, dns, &out->dns);
    }
}
