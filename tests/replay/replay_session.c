/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the scenarios of tests/replay/session/[*].rpl against the sessions of tunneld: real sockets and the
 * real loop, but clients, servers, the resolver's answers, the policy and time are lines of text. The lines
 * are described in tests/replay/README.md. Without arguments all scenarios of the source tree are played.
 */
#include "common/base/num.h"
#include "tests/replay/replay_peer.h"
#include "tests/support/failing_epoll.h"
#include "tests/support/fake_connect.h"
#include "tests/support/fake_resolver.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SCENARIOS_MIN 100 /* fewer means that they were not found */
#define TRIES 1500

/* ---- policy and settings ---- */

static const char *policy_of(struct player *p, char *text, size_t cap)
{
    const char *endpoints = p->policy_len > 0 ? p->policy : "      - { host: always.example, port: 443 }\n";
    (void)snprintf(text, cap, "version: 1\nnetwork_policies:\n  web:\n    endpoints:\n%s%s%s", endpoints,
                   p->hosts[0] == '\0' ? "" : "egress:\n  hosts:\n", p->hosts);
    p->policy_len = 0;
    p->hosts[0] = '\0';
    return text;
}

static void begin(struct player *p)
{
    char text[SCENE_POLICY_CAP + 2048];
    struct err err = {""};
    if (!p->scene.is_started && tunneld_scene_start(&p->scene, policy_of(p, text, sizeof(text)), &err) != 0) {
        replay_fail(p->at, "cannot start: %s", err.text);
    }
}

/* endpoint KEY: VALUE, … as in a policy, without its braces */
static void do_endpoint(struct player *p, const struct replay_line *w)
{
    char text[1024];
    (void)peer_text(w, 1, text, sizeof(text));
    int n = snprintf(p->policy + p->policy_len, sizeof(p->policy) - p->policy_len, "      - { %s }\n", text);
    p->policy_len += (size_t)n;
}

/* host NAME IP: in egress.hosts */
static void do_host(struct player *p, const struct replay_line *w)
{
    size_t len = strlen(p->hosts);
    (void)snprintf(p->hosts + len, sizeof(p->hosts) - len, "    %s: [\"%s\"]\n", replay_word(w, 1),
                   replay_word(w, 2));
}

static void do_reload(struct player *p)
{
    char text[SCENE_POLICY_CAP + 2048];
    struct err err = {""};
    if (tunneld_scene_reload(&p->scene, policy_of(p, text, sizeof(text)), &err) != 0) {
        replay_fail(p->at, "this is no policy: %s", err.text);
    }
    player_settle(p);
}

/* ---- clients ---- */

static int connect_from(const struct replay_line *w, const char *from, const struct addr *to)
{
    struct sockaddr_storage ss;
    struct addr local = {.port = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || addr_parse(span_str(from), 1, &local) != 0) {
        replay_fail(w, "%s is no address", from);
    }
    local.port = 0;
    socklen_t len = addr_to_sockaddr(&local, &ss);
    if (bind(fd, (struct sockaddr *)&ss, len) != 0) {
        replay_fail(w, "cannot bind %s", from);
    }
    len = addr_to_sockaddr(to, &ss);
    const bool is_welcome = !replay_is(w->words[0], "no-client");
    if ((connect(fd, (struct sockaddr *)&ss, len) == 0) != is_welcome) {
        replay_fail(w, is_welcome ? "cannot connect: %s" : "it can connect; errno says: %s", strerror(errno));
    }
    return fd;
}

/* client NAME [IP] */
static void do_client(struct player *p, const struct replay_line *w)
{
    const char *from = w->count > 2 ? w->words[2] : "127.0.0.1";
    (void)peer_add(p, 1, connect_from(w, from, &p->scene.connect_addr));
    player_settle(p);
}

/* capture NAME synthetic:PORT|IP:PORT|listener: what the program dialled */
static void do_capture(struct player *p, const struct replay_line *w)
{
    const char *to = replay_word(w, 2);
    static const char given[] = "synthetic:";
    tunneld_scene_captured(replay_is(to, "listener") ? NULL : &p->captured);
    if (strncmp(to, given, sizeof(given) - 1) == 0) {
        p->captured.ip = p->synthetic;
        if (num_port(span_str(to + sizeof(given) - 1), &p->captured.port) != 0) {
            replay_fail(w, "%s has no port", to);
        }
    } else if (!replay_is(to, "listener") && addr_parse(span_str(to), 0, &p->captured) != 0) {
        replay_fail(w, "%s is no address", to);
    }
    (void)peer_add(p, 1, connect_from(w, "127.0.0.1", &p->scene.capture_addr));
    player_settle(p);
}

/* map NAME SECONDS: dnsd hands out an address for it */
static void do_map(struct player *p, const struct replay_line *w)
{
    const struct host_name name = replay_name(w, 1);
    if (p->scene.map == NULL) {
        replay_fail(w, "there is no map without option --transparent=127.0.0.1:0");
    }
    if (tunneld_scene_map(&p->scene, &name, (uint32_t)replay_number(w, 2), &p->synthetic) != 0) {
        replay_fail(w, "no address is left");
    }
}

/* ---- what the program does ---- */

/* The next act has to be this. */
static void expect(struct player *p, const char *want)
{
    for (int i = 0; i < TRIES && acts_first(p->scene.acts) == NULL; i++) {
        player_wait(p);
    }
    const char *first = acts_first(p->scene.acts);
    if (first == NULL || strcmp(first, want) != 0) {
        replay_fail(p->at, "%s instead of %s", first == NULL ? "nothing" : first, want);
    }
    acts_drop(p->scene.acts);
}

/* asks NAME [TYPE], cancels NAME [TYPE]: without a type, both */
static void do_question(struct player *p, const struct replay_line *w, const char *verb)
{
    static const char *const types[] = {"AAAA", "A"};
    char want[ACT_CAP];
    for (size_t i = 0; i < 2; i++) {
        if (w->count < 3 || replay_is(w->words[2], types[i])) {
            (void)snprintf(want, sizeof(want), "%s %s %s", verb, replay_word(w, 1), types[i]);
            expect(p, want);
        }
    }
}

static void do_dials(struct player *p, const struct replay_line *w, const char *verb)
{
    char want[ACT_CAP];
    (void)snprintf(want, sizeof(want), "%s %s", verb, replay_word(w, 1));
    expect(p, want);
}

static struct addr read_addr(const struct replay_line *w, size_t word)
{
    struct addr a;
    if (addr_parse(span_str(replay_word(w, word)), 0, &a) != 0) {
        replay_fail(w, "%s is no address", w->words[word]);
    }
    return a;
}

/* connects ADDR NAME: the destination takes the connection, and is called NAME from now on */
static void do_connects(struct player *p, const struct replay_line *w)
{
    const struct addr to = read_addr(w, 1);
    int fd = fake_connect_accept(p->scene.worker.loop, &to);
    if (fd < 0) {
        replay_fail(w, "nobody dials %s", w->words[1]);
    }
    (void)peer_add(p, 2, fd);
    player_settle(p);
}

static int read_errno(const struct replay_line *w, size_t word)
{
    static const struct {
        const char *word;
        int error;
    } rows[] = {{"refused", ECONNREFUSED},
                {"timeout", ETIMEDOUT},
                {"no-route", EHOSTUNREACH},
                {"no-net", ENETUNREACH},
                {"no-port", EADDRNOTAVAIL},
                {"no-fd", EMFILE},
                {"never", 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (replay_is(replay_word(w, word), rows[i].word)) {
            return rows[i].error;
        }
    }
    replay_fail(w, "%s is no error", w->words[word]);
}

/* fails ADDR ERROR, or fails all ERROR: from now on, at once */
static void do_fails(struct player *p, const struct replay_line *w)
{
    int error = read_errno(w, 2);
    if (replay_is(replay_word(w, 1), "all")) {
        fake_connect_refuse_all(error);
        return;
    }
    const struct addr to = read_addr(w, 1);
    if (!fake_connect_fail(p->scene.worker.loop, &to, error)) {
        replay_fail(w, "nobody dials %s", w->words[1]);
    }
    player_settle(p);
}

/* IP… | nodata | nxdomain | failed WHY */
static struct resolver_answer read_answer(const struct replay_line *w, size_t word)
{
    static const struct {
        const char *word;
        enum resolver_fail why;
    } fails[] = {{"timeout", RESOLVER_FAIL_TIMEOUT}, {"servfail", RESOLVER_FAIL_SERVFAIL},
                 {"refused", RESOLVER_FAIL_REFUSED}, {"network", RESOLVER_FAIL_NETWORK},
                 {"cname", RESOLVER_FAIL_CNAME},     {"busy", RESOLVER_FAIL_BUSY},
                 {"memory", RESOLVER_FAIL_MEMORY}};
    struct resolver_answer a;
    const char *status = replay_word(w, word);
    resolver_answer_set(&a, RESOLVER_FAILED, RESOLVER_FAIL_NONE);
    if (replay_is(status, "nodata") || replay_is(status, "nxdomain")) {
        a.status = replay_is(status, "nodata") ? RESOLVER_NODATA : RESOLVER_NXDOMAIN;
        return a;
    }
    if (replay_is(status, "failed")) {
        for (size_t i = 0; i < sizeof(fails) / sizeof(fails[0]); i++) {
            a.why = replay_is(replay_word(w, word + 1), fails[i].word) ? fails[i].why : a.why;
        }
        return a;
    }
    a.status = RESOLVER_ADDRS;
    a.ttl_s = 60;
    for (size_t i = word; i < w->count; i++) {
        if (ip_parse(span_str(w->words[i]), &a.addrs[a.addr_count++]) != 0) {
            replay_fail(w, "%s is no address", w->words[i]);
        }
    }
    return a;
}

/* resolves NAME A|AAAA|both …: the resolver answers */
static void do_resolves(struct player *p, const struct replay_line *w)
{
    const struct host_name name = replay_name(w, 1);
    const struct resolver_answer a = read_answer(w, 3);
    bool is_both = replay_is(replay_word(w, 2), "both");
    bool is_asked = true;
    if (is_both || replay_is(w->words[2], "AAAA")) {
        is_asked = fake_resolver_answer(&name, DNS_AAAA, &a);
    }
    if (is_both || replay_is(w->words[2], "A")) {
        is_asked = fake_resolver_answer(&name, DNS_A, &a) && is_asked;
    }
    if (!is_asked) {
        replay_fail(w, "nobody asks for it");
    }
    player_settle(p);
}

static void do_stale(const struct replay_line *w)
{
    const struct host_name name = replay_name(w, 1);
    const struct resolver_answer a = read_answer(w, 2);
    fake_resolver_keep_stale(&name, &a);
}

/* ---- what it says ---- */

/* Is " KEY=VALUE" in the line, to its end or to a space? KEY~TEXT: somewhere behind " KEY=". */
static bool has_pair(const char *line, const char *pair)
{
    char text[256];
    const char *tilde = strchr(pair, '~');
    (void)snprintf(text, sizeof(text), " %.*s%s", tilde == NULL ? 255 : (int)(tilde - pair), pair,
                   tilde == NULL ? "" : "=");
    const size_t len = strlen(text);
    for (const char *at = strstr(line, text); at != NULL; at = strstr(at + 1, text)) {
        if (tilde != NULL ? strstr(at, tilde + 1) != NULL : at[len] == ' ' || at[len] == '\0') {
            return true;
        }
    }
    return false;
}

/* log EVENT KEY=VALUE … */
static void do_log(struct player *p, const struct replay_line *w)
{
    for (int i = 0; i < TRIES && acts_first(p->scene.logs) == NULL; i++) {
        player_wait(p);
    }
    const char *line = acts_first(p->scene.logs);
    const char *event = replay_word(w, 1);
    if (line == NULL) {
        replay_fail(w, "nothing was logged");
    }
    if (strncmp(line, event, strlen(event)) != 0 || line[strlen(event)] != ' ') {
        replay_fail(w, "logged: %s", line);
    }
    for (size_t i = 2; i < w->count; i++) {
        const bool is_unwanted = w->words[i][0] == '!';
        if (has_pair(line, w->words[i] + is_unwanted) == is_unwanted) {
            replay_fail(w, "no %s in: %s", w->words[i], line);
        }
    }
    acts_drop(p->scene.logs);
}

static void check_nothing(struct player *p)
{
    player_settle(p);
    if (acts_first(p->scene.acts) != NULL) {
        replay_fail(p->at, "%s", acts_first(p->scene.acts));
    }
    if (acts_first(p->scene.logs) != NULL) {
        replay_fail(p->at, "logged: %s", acts_first(p->scene.logs));
    }
}

/* state NAME STATE, of a client */
static void do_state(struct player *p, const struct replay_line *w)
{
    const struct peer *peer = peer_find(p, 1);
    const char *state = tunneld_scene_state(&p->scene, &peer->local);
    if (!replay_is(state, replay_word(w, 2))) {
        replay_fail(w, "it is %s", state);
    }
}

/* kept NAME BYTES: of what this client has sent its session holds no more */
static void do_kept(struct player *p, const struct replay_line *w)
{
    const size_t len = tunneld_scene_kept(&p->scene, &peer_find(p, 1)->local);
    if (len > (size_t)replay_number(w, 2)) {
        replay_fail(w, "it holds %zu", len);
    }
}

static void do_sessions(struct player *p, const struct replay_line *w)
{
    const size_t count = tunneld_scene_worker(&p->scene)->session_count;
    if (count != (size_t)replay_number(w, 1)) {
        replay_fail(w, "there are %zu", count);
    }
}

static void do_counter(struct player *p, const struct replay_line *w)
{
    for (size_t i = 0; i < TUNNELD_COUNTER_COUNT; i++) {
        if (replay_is(tunneld_counters[i].name, replay_word(w, 1))) {
            const uint64_t n = metrics_read(&p->scene.worker.metrics, i);
            if (n != (uint64_t)replay_number(w, 2)) {
                replay_fail(w, "it is %llu", (unsigned long long)n);
            }
            return;
        }
    }
    replay_fail(w, "%s is no counter", w->words[1]);
}

/* ---- time ---- */

/* advance DURATION, as options have it; a digit alone is no duration */
static void do_advance(struct player *p, const struct replay_line *w)
{
    int64_t ms = 0;
    if (num_duration_ms(span_str(replay_word(w, 1)), &ms) != 0) {
        replay_fail(w, "%s is no duration", w->words[1]);
    }
    if (!tunneld_scene_pass(&p->scene, ms)) {
        replay_fail(w, "the loop does not come to rest");
    }
}

static bool play_act(struct player *p, const struct replay_line *w)
{
    const char *verb = w->words[0];
    if (replay_is(verb, "asks")) {
        do_question(p, w, "ask");
    } else if (replay_is(verb, "cancels")) {
        do_question(p, w, "cancel");
    } else if (replay_is(verb, "dials")) {
        do_dials(p, w, "dial");
    } else if (replay_is(verb, "drops")) {
        do_dials(p, w, "drop");
    } else if (replay_is(verb, "connects")) {
        do_connects(p, w);
    } else if (replay_is(verb, "fails")) {
        do_fails(p, w);
    } else if (replay_is(verb, "resolves")) {
        do_resolves(p, w);
    } else if (replay_is(verb, "stale")) {
        do_stale(w);
    } else {
        return false;
    }
    return true;
}

static bool play_check(struct player *p, const struct replay_line *w)
{
    const char *verb = w->words[0];
    if (replay_is(verb, "log")) {
        do_log(p, w);
    } else if (replay_is(verb, "nothing")) {
        check_nothing(p);
    } else if (replay_is(verb, "state")) {
        do_state(p, w);
    } else if (replay_is(verb, "kept")) {
        do_kept(p, w);
    } else if (replay_is(verb, "sessions")) {
        do_sessions(p, w);
    } else if (replay_is(verb, "counter")) {
        do_counter(p, w);
    } else if (replay_is(verb, "drained") || replay_is(verb, "undrained")) {
        if (p->scene.is_drained != replay_is(verb, "drained")) {
            replay_fail(w, "it is not so");
        }
    } else {
        return false;
    }
    return true;
}

static void play_line(void *ctx, const struct replay_line *w)
{
    struct player *p = ctx;
    const char *verb = w->words[0];
    p->at = w;
    if (replay_is(verb, "option")) {
        tunneld_scene_option(&p->scene, replay_word(w, 1));
        return;
    }
    if (replay_is(verb, "endpoint")) {
        do_endpoint(p, w);
        return;
    }
    if (replay_is(verb, "host")) {
        do_host(p, w);
        return;
    }
    begin(p);
    if (peer_line(p, w) || play_act(p, w) || play_check(p, w)) {
        return;
    }
    if (replay_is(verb, "client")) {
        do_client(p, w);
    } else if (replay_is(verb, "no-client")) {
        (void)close(connect_from(w, "127.0.0.1", &p->scene.connect_addr));
    } else if (replay_is(verb, "capture")) {
        do_capture(p, w);
    } else if (replay_is(verb, "map")) {
        do_map(p, w);
    } else if (replay_is(verb, "advance")) {
        do_advance(p, w);
    } else if (replay_is(verb, "reload")) {
        do_reload(p);
    } else if (replay_is(verb, "epoll-fails")) {
        failing_epoll_adds((unsigned)atoi(replay_word(w, 1)));
    } else if (replay_is(verb, "drain")) {
        tunneld_scene_drain(&p->scene);
        player_settle(p);
    } else {
        replay_fail(w, "%s is no verb", verb);
    }
}

static void finish(void *ctx)
{
    struct player *p = ctx;
    check_nothing(p);
    if (failing_epoll_left() > 0) {
        replay_fail(p->at, "epoll was not asked as often");
    }
    for (size_t i = 0; i < p->peer_count; i++) {
        if (p->peers[i].fd >= 0) {
            if (p->peers[i].got_len > 0) {
                replay_fail(p->at, "%s got more than was asked for", p->peers[i].name);
            }
            (void)close(p->peers[i].fd);
        }
    }
    if (fake_resolver_open_count() > 0 && tunneld_scene_worker(&p->scene)->sessions == NULL) {
        replay_fail(p->at, "a question was forgotten");
    }
    tunneld_scene_fini(&p->scene);
    if (fake_resolver_open_count() > 0 || fake_connect_open_count() > 0) {
        replay_fail(p->at, "a question or a connection was forgotten");
    }
    free(p);
}

static void *start(void)
{
    struct player *p = calloc(1, sizeof(*p));
    if (p == NULL || tunneld_scene_init(&p->scene) != 0) {
        free(p);
        return NULL;
    }
    return p;
}

int main(int argc, char **argv)
{
    static const struct replay_kind kind = {.directory = "tests/replay/session",
                                            .scenarios_min = SCENARIOS_MIN,
                                            .start = start,
                                            .line = play_line,
                                            .finish = finish};
    return replay_main(&kind, argc, argv);
}
