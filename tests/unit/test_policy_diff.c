/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled policy against decisions written down plainly (support/naive_policy), over random policies and
 * names from so small an alphabet that they meet often. The seed is fixed: a failure prints it and can be
 * repeated. OPENSHELL_TEST_SEED and OPENSHELL_TEST_PAIRS (of a policy and a name) make another or a longer
 * run.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/naive_policy.h"
#include "tests/support/policy_text.h"

#include "common/base/buf.h"
#include "common/policy/judge_dest.h"

#include <stdlib.h>

#define PAIRS 8000
#define NAMES_PER_POLICY 40
#define FOUND_MAX 64

struct address {
    const char *text;
    const char *inner; /* of NAT64 */
    enum naive_class cls;
};

static const struct address addresses[] = {
    {"8.8.8.8", NULL, NAIVE_PUBLIC},         {"9.9.9.9", NULL, NAIVE_PUBLIC},
    {"2001:4860::1", NULL, NAIVE_PUBLIC},    {"64:ff9b::808:808", "8.8.8.8", NAIVE_PUBLIC},
    {"10.1.2.3", NULL, NAIVE_PRIVATE},       {"10.0.0.5", NULL, NAIVE_PRIVATE},
    {"fd00::5", NULL, NAIVE_PRIVATE},        {"64:ff9b::a01:203", "10.1.2.3", NAIVE_PRIVATE},
    {"169.254.1.1", NULL, NAIVE_LINK_LOCAL}, {"127.0.0.1", NULL, NAIVE_NEVER},
    {"::ffff:8.8.8.8", NULL, NAIVE_NEVER},   {"64:ff9b::7f00:1", "127.0.0.1", NAIVE_NEVER},
};
#define ADDRESS_COUNT (sizeof addresses / sizeof addresses[0])
/* those that egress.hosts may give */
static const size_t static_addresses[] = {0, 2, 4, 5, 6, 8};
/* no two of an endpoint need be disjoint */
static const char *const nets[] = {"10.0.0.0/8",   "10.1.0.0/16", "10.1.2.3", "8.8.8.0/24", "fd00::/32",
                                   "2001:4860::1", "8.8.8.8",     "10.0.0.5", "10.0.0.0/9", "2001:4860::/32"};
static const char *const nevers[] = {"9.9.9.9",       "10.0.0.5:443",    "2001:4860::/32",
                                     "10.0.0.0/8:80", "10.0.0.0/9:6443", "8.8.8.8:443"};
static const uint16_t ports[] = {80, 443, 6443, 22};
static const char *const words[] = {"a", "b", "ab", "aab", "c"};
static const char *const partials[] = {"a*", "*b", "*a*", "a*b", "aa*", "*ab", "a*a*b", "*b*", "a*ab"};
static const char *const suffixes[] = {"a.b", "c.b", "b.b"};

#define ANY_OF(seed, array) (array)[below(seed, sizeof(array) / sizeof(array)[0])]

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13; /* xorshift64, Marsaglia 2003 */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static size_t below(uint64_t *seed, size_t bound)
{
    return (size_t)(next_random(seed) % bound);
}

/* Names end in one of few suffixes, so that patterns and names share parents. */
static void put_name(struct wbuf *w, uint64_t *seed)
{
    for (size_t labels = below(seed, 5); labels > 0; labels--) {
        wbuf_printf(w, "%s.", ANY_OF(seed, words));
    }
    wbuf_str(w, below(seed, 12) == 0 ? ANY_OF(seed, words) : ANY_OF(seed, suffixes));
}

static void put_pattern(struct wbuf *w, uint64_t *seed)
{
    size_t kind = below(seed, 5);
    if (kind == 0) {
        put_name(w, seed);
        return;
    }
    const char *first = kind == 1   ? "**"
                        : kind == 2 ? "*"
                        : kind == 3 ? ANY_OF(seed, words)
                                    : ANY_OF(seed, partials);
    wbuf_printf(w, "%s.", first);
    for (size_t labels = below(seed, 3); labels > 0; labels--) {
        wbuf_printf(w, "%s.", below(seed, 2) == 0 ? "*" : ANY_OF(seed, words));
    }
    wbuf_str(w, ANY_OF(seed, suffixes));
}

/* A policy being made: as text for the loader, line by line, and as what the naive decisions read. */
struct maker {
    uint64_t *seed;
    struct buf text;
    unsigned line; /* the next one */
    struct naive_policy *naive;
};

static void put_line(struct maker *m, const struct wbuf *w)
{
    assert_false(w->overflow);
    assert_int_equal(buf_append(&m->text, wbuf_span(w), SIZE_MAX), 0);
    m->line++;
}

static void put_text_line(struct maker *m, const char *text)
{
    char line[256];
    struct wbuf w = wbuf_make(line, sizeof line);
    wbuf_printf(&w, "%s\n", text);
    put_line(m, &w);
}

static struct naive_net parse_net(const char *text)
{
    struct ip_prefix prefix;
    struct naive_net net = {.port = 0};
    struct span s = span_str(text);
    size_t colon = span_find(s, '.') < s.len ? span_find(s, ':') : s.len; /* ports only on IPv4 here */
    if (colon < s.len) {
        net.port = (uint16_t)strtoul(text + colon + 1, NULL, 10);
    }
    assert_int_equal(ip_prefix_parse(span_sub(s, 0, colon), &prefix), 0);
    net.base = prefix.base;
    net.bits = prefix.bits;
    return net;
}

static void put_host(struct maker *m, struct wbuf *w, struct naive_endpoint *e)
{
    size_t kind = below(m->seed, 8);
    if (kind == 0) {
        e->kind = NAIVE_HOSTLESS;
        return;
    }
    struct wbuf host = wbuf_make(e->host, sizeof e->host - 1);
    if (kind == 1) {
        e->kind = NAIVE_ADDRESS;
        const char *text = ANY_OF(m->seed, addresses).text;
        e->ip = policy_text_ip(text);
        wbuf_str(&host, text);
    } else {
        put_pattern(&host, m->seed);
    }
    assert_false(host.overflow);
    wbuf_printf(w, " host: \"%s\",", e->host);
}

static void put_ports(struct maker *m, struct wbuf *w, struct naive_endpoint *e)
{
    e->port_count = below(m->seed, NAIVE_PORTS_MAX) + 1;
    wbuf_str(w, " ports: [");
    for (size_t i = 0; i < e->port_count; i++) {
        e->ports[i] = ANY_OF(m->seed, ports); /* also twice the same */
        wbuf_printf(w, "%s%u", i > 0 ? ", " : "", e->ports[i]);
    }
    wbuf_str(w, "]");
}

static void put_allowed(struct maker *m, struct wbuf *w, struct naive_endpoint *e)
{
    if (e->kind != NAIVE_HOSTLESS && below(m->seed, 3) > 0) {
        return;
    }
    wbuf_str(w, ", allowed_ips: [");
    for (size_t count = below(m->seed, NAIVE_NETS_MAX) + 1; count > 0; count--) {
        const char *text = ANY_OF(m->seed, nets);
        wbuf_printf(w, "%s\"%s\"", e->allowed_count > 0 ? ", " : "", text);
        e->allowed[e->allowed_count++] = parse_net(text);
    }
    wbuf_str(w, "]");
}

static void put_endpoint(struct maker *m, unsigned file, bool any_binary)
{
    struct naive_endpoint *e = &m->naive->endpoints[m->naive->endpoint_count++];
    char line[512];
    struct wbuf w = wbuf_make(line, sizeof line);
    *e = (struct naive_endpoint){.file = file, .line = m->line, .any_binary = any_binary};
    wbuf_str(&w, "      - {");
    put_host(m, &w, e);
    put_ports(m, &w, e);
    put_allowed(m, &w, e);
    e->needs_l7 = below(m->seed, 4) == 0;
    if (e->needs_l7) {
        wbuf_str(&w, ", protocol: rest, access: read-only, enforcement: enforce");
    }
    size_t proxy = below(m->seed, 8);
    e->proxy = proxy == 0 ? NAIVE_CHAIN : proxy < 3 ? NAIVE_DIRECT : NAIVE_UNSET;
    if (e->proxy != NAIVE_UNSET) {
        wbuf_printf(&w, ", proxy: %s", e->proxy == NAIVE_DIRECT ? "direct" : "chain");
    }
    e->dns_types = e->kind == NAIVE_NAME ? (unsigned)below(m->seed, 8) & 3U : 0;
    if (e->dns_types != 0) {
        wbuf_printf(&w, ", dns: { types: [%s%s] }", (e->dns_types & 1U) != 0 ? "SRV, " : "",
                    (e->dns_types & 2U) != 0 ? "TXT" : "");
    }
    wbuf_str(&w, " }\n");
    put_line(m, &w);
}

static void put_rules(struct maker *m, unsigned file)
{
    static const char *const binaries[] = {"    binaries: [{ path: \"/**\" }]", "    binaries: []",
                                           "    binaries: [{ path: /bin/a }]",
                                           "    binaries: [{ path: /bin/a }, { path: \"/**\" }]"};
    put_text_line(m, "version: 1");
    put_text_line(m, "network_policies:");
    for (size_t r = 0; r < 3; r++) {
        char key[32];
        struct wbuf w = wbuf_make(key, sizeof key);
        size_t which = below(m->seed, 4);
        wbuf_printf(&w, "  rule%u-%zu:\n", file, r);
        put_line(m, &w);
        put_text_line(m, binaries[which]);
        put_text_line(m, "    endpoints:");
        for (size_t i = below(m->seed, NAIVE_ENDPOINTS_MAX / 6) + 1; i > 0; i--) {
            put_endpoint(m, file, which != 2);
        }
    }
}

static void put_static(struct maker *m)
{
    struct naive_static *h = &m->naive->hosts[m->naive->host_count];
    char line[256];
    struct wbuf w = wbuf_make(line, sizeof line);
    struct wbuf name = wbuf_make(h->name, sizeof h->name - 1);
    memset(h, 0, sizeof *h);
    put_name(&name, m->seed);
    for (size_t i = 0; i < m->naive->host_count; i++) {
        if (strcmp(m->naive->hosts[i].name, h->name) == 0) {
            return; /* the same key twice is no YAML */
        }
    }
    wbuf_printf(&w, "    %s: [", h->name);
    for (size_t count = below(m->seed, NAIVE_NETS_MAX) + 1; count > 0; count--) {
        const char *text = addresses[ANY_OF(m->seed, static_addresses)].text;
        wbuf_printf(&w, "%s\"%s\"", h->count > 0 ? ", " : "", text);
        h->addrs[h->count++] = policy_text_ip(text);
    }
    wbuf_str(&w, "]\n");
    put_line(m, &w);
    m->naive->host_count++;
}

static void put_egress(struct maker *m)
{
    put_text_line(m, "egress:");
    put_text_line(m, "  hosts:");
    put_text_line(m, "    fixed.example: [\"10.1.2.3\"]"); /* so that there is one */
    for (size_t i = below(m->seed, NAIVE_HOSTS_MAX); i > 0; i--) {
        put_static(m);
    }
    put_text_line(m, "  never:");
    for (size_t i = below(m->seed, NAIVE_NEVER_MAX) + 1; i > 0; i--) {
        char line[64];
        struct wbuf w = wbuf_make(line, sizeof line);
        const char *text = ANY_OF(m->seed, nevers);
        wbuf_printf(&w, "    - \"%s\"\n", text);
        put_line(m, &w);
        m->naive->never[m->naive->never_count++] = parse_net(text);
    }
}

static struct policy *random_policy(uint64_t *seed, struct naive_policy *naive)
{
    struct maker makers[2] = {{.seed = seed, .line = 1, .naive = naive},
                              {.seed = seed, .line = 1, .naive = naive}};
    struct policy_text texts[2];
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct policy *p = NULL;
    memset(naive, 0, sizeof *naive);
    for (unsigned i = 0; i < 2; i++) {
        put_rules(&makers[i], i);
        if (i == 1) {
            put_egress(&makers[i]);
        }
        texts[i] =
            (struct policy_text){.file = i == 0 ? "a.yaml" : "b.yaml", .text = buf_span(&makers[i].text)};
    }
    int rc = policy_load(texts, 2, &rules, &diags);
    if (rc != 0) {
        fail_msg("does not load: %s\n%.*s", diags.items[0].message, (int)texts[0].text.len,
                 (const char *)texts[0].text.data);
    }
    assert_int_equal(policy_compile(rules, 1, &p), 0);
    policy_diags_fini(&diags);
    buf_fini(&makers[0].text);
    buf_fini(&makers[1].text);
    return p;
}

struct pair {
    const struct policy *p;
    const struct naive_policy *naive;
    const char *name;
    struct host host;
    uint64_t *seed;
    uint64_t start; /* what the policy was made from */
};

#define SAME(pair, condition, what)                                                                          \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fail_msg("seed %llu: %s: %s differs", (unsigned long long)(pair)->start, (pair)->name, what);    \
        }                                                                                                    \
    } while (0)

static bool is_same_endpoint(const struct policy_endpoint *a, const struct naive_endpoint *b)
{
    return a == NULL || b == NULL ? a == NULL && b == NULL : a->pos.file == b->file && a->pos.line == b->line;
}

static void check_name(const struct pair *pair)
{
    static const enum naive_kind kinds[] = {[NAME_DENIED] = NAIVE_IS_DENIED,
                                            [NAME_ADMITTED] = NAIVE_IS_ADMITTED,
                                            [NAME_STATIC] = NAIVE_IS_STATIC,
                                            [NAME_PARENT] = NAIVE_IS_PARENT};
    const struct naive_endpoint *best = NULL;
    struct name_verdict v;
    judge_name(pair->p, &pair->host.name, &v);
    SAME(pair, kinds[v.kind] == naive_judge_name(pair->naive, pair->name, &best), "what kind of name it is");
    SAME(pair, is_same_endpoint(v.endpoint, best), "the endpoint of the name");
    SAME(pair, v.is_wildcard == (best != NULL && strchr(best->host, '*') != NULL), "is_wildcard");
    SAME(pair, v.dns_types == naive_dns_types(pair->naive, pair->name), "types of records");
    SAME(pair, (v.host != NULL) == (v.kind == NAME_STATIC), "the static host");
    SAME(pair, policy_is_parent(pair->p, &pair->host.name) == naive_is_parent(pair->naive, pair->name),
         "whether it is a parent");
}

static void check_match(const struct pair *pair)
{
    const struct policy_endpoint *found[FOUND_MAX];
    size_t count = policy_match_name(pair->p, &pair->host.name, found, FOUND_MAX);
    SAME(pair, count == naive_match_count(pair->naive, pair->name), "the number of matches");
    for (size_t i = 1; i < count; i++) {
        SAME(pair, policy_endpoint_compare(found[i - 1], found[i]) < 0, "the order of matches");
    }
}

struct watched {
    const struct policy_endpoint *best;
};

static void watch(void *ctx, const struct policy_endpoint *ep, enum candidate_fate fate)
{
    struct watched *w = ctx;
    if (fate == CANDIDATE_ADMITS && (w->best == NULL || policy_endpoint_compare(ep, w->best) < 0)) {
        w->best = ep;
    }
}

static bool check_tunnel(const struct pair *pair, const struct host *host, uint16_t port)
{
    static const enum reason reasons[] = {[NAIVE_ALLOWED] = REASON_NONE,
                                          [NAIVE_NO_RULE] = REASON_POLICY_DENIED,
                                          [NAIVE_NO_BINARY] = REASON_BINARY_DENIED,
                                          [NAIVE_L7] = REASON_L7_REQUIRED};
    const struct naive_config naive = {.ignore_binaries = below(pair->seed, 2) == 0,
                                       .tunnel_l7 = below(pair->seed, 4) == 0};
    const struct judge_config cfg = {.l7 = naive.tunnel_l7 ? L7_TUNNEL : L7_REFUSE,
                                     .ignore_binaries = naive.ignore_binaries,
                                     .option_timers = tunnel_builtin_timers};
    const struct naive_endpoint *best = NULL;
    struct tunnel_verdict v;
    struct watched watched = {0};
    const struct judge_trace trace = {watch, &watched};
    judge_tunnel(pair->p, &cfg, host, port, &v);
    SAME(pair, v.reason == reasons[naive_judge_tunnel(pair->naive, &naive, host, port, &best)], "the reason");
    SAME(pair, (v.verdict == VERDICT_ALLOW) == (v.reason == REASON_NONE), "the verdict");
    SAME(pair, is_same_endpoint(v.endpoint, best), "the endpoint of the tunnel");
    judge_candidates(pair->p, &cfg, host, port, &trace); /* what explain tells is what decides */
    SAME(pair, watched.best == v.endpoint, "the best candidate");
    return v.verdict == VERDICT_ALLOW;
}

struct all_answers {
    const struct pair *pair;
    const struct dest_guard *guard;
    const struct ip *ip;
    bool is_allowed;
};

static bool try_ports(const struct policy_endpoint *ep, void *ctx)
{
    struct all_answers *a = ctx;
    for (size_t i = 0; i < ep->port_count; i++) {
        struct dest_verdict v;
        judge_dest(a->pair->p, a->guard, ep, a->ip, ep->ports[i], false, &v);
        a->is_allowed = a->is_allowed || v.verdict == VERDICT_ALLOW;
    }
    return true;
}

/* NAT64 with a prefix of one's own (64:ff9b:1::/48) can be read in several ways: against judge_dest alone. */
static void check_translated(const struct pair *pair, const struct dest_guard *guard)
{
    static const char *const texts[] = {"64:ff9b:1:a01:2:300::", "64:ff9b:1::808:808",
                                        "64:ff9b:1:808:8:800::", "64:ff9b:1:0:a:102:300::"};
    struct ip ip = policy_text_ip(ANY_OF(pair->seed, texts));
    struct all_answers all = {.pair = pair, .guard = guard, .ip = &ip};
    struct dest_verdict v;
    judge_answer(pair->p, guard, &pair->host.name, &ip, false, &v);
    policy_visit_name(pair->p, &pair->host.name, try_ports, &all);
    SAME(pair, (v.verdict == VERDICT_ALLOW) == all.is_allowed, "the answer with a translated address");
}

static void check_answer(const struct pair *pair)
{
    size_t which = below(pair->seed, ADDRESS_COUNT);
    const struct address *a = &addresses[which];
    const struct naive_config naive = {.strict_private = below(pair->seed, 4) == 0};
    const struct dest_guard guard = {.strict_private = naive.strict_private};
    struct naive_address to = {.ip = policy_text_ip(a->text), .cls = a->cls};
    struct dest_verdict v;
    struct dest_verdict told;
    struct policy_name found;
    to.inner = a->inner == NULL ? to.ip : policy_text_ip(a->inner);
    to.is_static = below(pair->seed, 3) == 0;
    judge_answer(pair->p, &guard, &pair->host.name, &to.ip, to.is_static, &v);
    SAME(pair, (v.verdict == VERDICT_ALLOW) == naive_judge_answer(pair->naive, &naive, pair->name, &to),
         "the answer");
    policy_find_name(pair->p, &pair->host.name, &found);
    if (v.verdict == VERDICT_DENY && found.endpoint != NULL) {
        judge_dest(pair->p, &guard, found.endpoint, &to.ip, found.endpoint->ports[0], to.is_static, &told);
        SAME(pair, strcmp(v.why, told.why) == 0, "why an answer is refused");
    }
    for (size_t i = 0; i < pair->naive->endpoint_count; i++) {
        const struct naive_endpoint *e = &pair->naive->endpoints[i];
        const struct policy_endpoint *ep = &policy_rules_of(pair->p)->endpoints[i];
        assert_true(is_same_endpoint(ep, e));
        judge_dest(pair->p, &guard, ep, &to.ip, e->ports[0], to.is_static, &v);
        SAME(pair, (v.verdict == VERDICT_ALLOW) == naive_judge_dest(pair->naive, &naive, e, &to, e->ports[0]),
             "a destination");
    }
    check_translated(pair, &guard);
}

/* A name of its own making, or one that a pattern admits: its stars replaced. */
static void choose_name(struct wbuf *w, uint64_t *seed, const struct naive_policy *naive)
{
    const struct naive_endpoint *e = &naive->endpoints[below(seed, naive->endpoint_count)];
    if (e->kind != NAIVE_NAME || below(seed, 2) == 0) {
        put_name(w, seed);
        return;
    }
    for (const char *c = e->host; *c != '\0'; c++) {
        if (*c == '*') {
            wbuf_str(w, ANY_OF(seed, words));
        } else {
            wbuf_u8(w, (uint8_t)*c);
        }
    }
}

static uint64_t number_from_environment(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

static void test_same_as_naive(void **state)
{
    (void)state;
    uint64_t seed = number_from_environment("OPENSHELL_TEST_SEED", 0x5eed5eed5eed5eedULL) | 1;
    uint64_t pairs = number_from_environment("OPENSHELL_TEST_PAIRS", PAIRS);
    struct naive_policy naive;
    size_t admitted = 0;
    size_t tunnels = 0;
    for (uint64_t done = 0; done < pairs; done += NAMES_PER_POLICY) {
        uint64_t start = seed;
        struct policy *p = random_policy(&seed, &naive);
        for (size_t k = 0; k < NAMES_PER_POLICY; k++) {
            char text[128];
            struct wbuf w = wbuf_make(text, sizeof text);
            choose_name(&w, &seed, &naive);
            wbuf_u8(&w, 0);
            assert_false(w.overflow);
            struct pair pair = {.p = p, .naive = &naive, .name = text, .seed = &seed, .start = start};
            pair.host = (struct host){.kind = HOST_DNS, .name = policy_text_name(text)};
            const struct host literal = {.kind = HOST_IP,
                                         .ip = policy_text_ip(ANY_OF(&seed, addresses).text)};
            check_name(&pair);
            check_match(&pair);
            check_answer(&pair);
            tunnels += check_tunnel(&pair, &pair.host, ANY_OF(&seed, ports));
            (void)check_tunnel(&pair, &literal, ANY_OF(&seed, ports));
            admitted += naive_match_count(&naive, text) > 0;
        }
        policy_unref(p);
    }
    /* the comparison means something only if names match often, and often do not */
    assert_true(admitted > pairs / 5 && admitted < pairs * 19 / 20);
    assert_true(tunnels > pairs / 20 && tunnels < pairs / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_naive),
    };
    return cmocka_run_group_tests_name("policy_diff", tests, NULL, NULL);
}
