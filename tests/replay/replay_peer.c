/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/replay/replay_peer.h"

#include "common/net/sock.h"
#include "tests/support/tls_hello.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TRIES 1500               /* of a millisecond each, and more: as good as for ever */
#define HELLO_PADDING_BYTES 2000 /* as long as one with keys against quantum computers */

void player_settle(struct player *p)
{
    if (!tunneld_scene_settle(&p->scene)) {
        replay_fail(p->at, "the loop does not come to rest");
    }
}

void player_wait(struct player *p)
{
    (void)poll(NULL, 0, 1);
    player_settle(p);
}

struct peer *peer_find(struct player *p, size_t word)
{
    const char *name = replay_word(p->at, word);
    for (size_t i = 0; i < p->peer_count; i++) {
        if (replay_is(p->peers[i].name, name)) {
            return &p->peers[i];
        }
    }
    replay_fail(p->at, "nobody is called %s", name);
}

struct peer *peer_add(struct player *p, size_t word, int fd)
{
    if (p->peer_count == PEERS_MAX) {
        replay_fail(p->at, "too many peers");
    }
    struct peer *peer = &p->peers[p->peer_count++];
    (void)snprintf(peer->name, sizeof(peer->name), "%s", replay_word(p->at, word));
    peer->fd = fd;
    if (sock_adopt(fd) != 0 || sock_local_addr(fd, &peer->local) != 0) {
        replay_fail(p->at, "no socket");
    }
    sock_set_nodelay(fd);
    return peer;
}

static char unescape(const struct replay_line *w, const char **at)
{
    static const char letters[] = "r\rn\nt\ts \\\\";
    char hex[3] = "";
    if ((*at)[1] == 'x' && (*at)[2] != '\0' && (*at)[3] != '\0') {
        memcpy(hex, *at + 2, 2);
        *at += 3;
        return (char)strtol(hex, NULL, 16);
    }
    for (size_t i = 0; letters[i] != '\0'; i += 2) {
        if ((*at)[1] == letters[i]) {
            *at += 1;
            return letters[i + 1];
        }
    }
    replay_fail(w, "%s is no escape", *at);
}

size_t peer_text(const struct replay_line *w, size_t word, char *out, size_t cap)
{
    size_t len = 0;
    (void)replay_word(w, word);
    for (size_t i = word; i < w->count; i++) {
        if (i > word) {
            out[len++] = ' ';
        }
        for (const char *at = w->words[i]; *at != '\0' && len + 2 < cap; at++) {
            if (*at != '"') {
                out[len++] = *at == '\\' ? unescape(w, &at) : *at;
            }
        }
    }
    out[len] = '\0';
    return len;
}

/* ---- what peers do ---- */

/* Until the other end's kernel has it, or it is clear that its buffer is full. What is only not acknowledged
 * yet has arrived: a loaded machine gets a moment more, since that is not certain. */
static void flush(struct player *p, const struct peer *peer)
{
    int unsent = 1, unknown = 1;
    for (int i = 0; i < 20 && unknown > 0 && (unsent > 0 || i < 3); i++) {
        player_settle(p);
        if (ioctl(peer->fd, SIOCOUTQNSD, &unsent) != 0 || ioctl(peer->fd, SIOCOUTQ, &unknown) != 0) {
            break;
        }
        if (unknown > 0) {
            (void)poll(NULL, 0, 1);
        }
    }
    player_settle(p);
}

static void send_all(struct player *p, const struct peer *peer, struct span bytes)
{
    ssize_t sent = send(peer->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
    if (sent != (ssize_t)bytes.len) {
        replay_fail(p->at, "%zd of %zu bytes were taken: %s", sent, bytes.len,
                    sent < 0 ? strerror(errno) : "-");
    }
    flush(p, peer);
}

static void do_send(struct player *p, struct peer *peer)
{
    char text[1024];
    size_t len = peer_text(p->at, 2, text, sizeof(text));
    send_all(p, peer, span_make(text, len));
}

/* The ClientHello that names the hosts that the line has from word on. */
static struct span hello(const struct replay_line *w, size_t word)
{
    static uint8_t bytes[TLS_HELLO_CAP];
    struct tls_hello h = {.padding = HELLO_PADDING_BYTES};
    const size_t names_max = sizeof(h.names) / sizeof(h.names[0]);
    for (size_t i = word; i < w->count; i++) {
        if (i - word == names_max) {
            replay_fail(w, "more than %zu names", names_max);
        }
        h.names[i - word] = w->words[i];
    }
    return span_make(bytes, tls_hello_bytes(&h, bytes));
}

/* hello NAME FROM TO|end [HOST…]: behind its end come further bytes */
static void do_hello(struct player *p, struct peer *peer)
{
    static uint8_t bytes[TLS_HELLO_CAP];
    struct span all = hello(p->at, 4);
    const size_t from = (size_t)replay_number(p->at, 2);
    const size_t to = replay_is(replay_word(p->at, 3), "end") ? all.len : (size_t)replay_number(p->at, 3);
    if (from >= to || to > sizeof(bytes)) {
        replay_fail(p->at, "it has %zu bytes", all.len);
    }
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, all.data, all.len);
    all = span_make(bytes, sizeof(bytes));
    send_all(p, peer, span_sub(all, from, to - from));
}

/* Exactly so many bytes, with the loop running between. */
static void do_fill(struct player *p, struct peer *peer)
{
    static char chunk[16384];
    memset(chunk, 'x', sizeof(chunk));
    size_t left = (size_t)replay_number(p->at, 2);
    for (int tries = 0; left > 0 && tries < TRIES;) {
        ssize_t n = send(peer->fd, chunk, left < sizeof(chunk) ? left : sizeof(chunk), MSG_NOSIGNAL);
        if (n > 0) {
            left -= (size_t)n;
            player_settle(p);
        } else {
            tries++;
            player_wait(p);
        }
    }
    if (left > 0) {
        replay_fail(p->at, "%zu bytes were not taken", left);
    }
    flush(p, peer);
}

/* As much as everybody between here and the other end takes. */
static void do_stuff(struct player *p, struct peer *peer)
{
    static char chunk[16384];
    memset(chunk, 'x', sizeof(chunk));
    int refusals = 0;
    while (refusals < 20) {
        ssize_t n = send(peer->fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
        p->stuffed += n > 0 ? (uint64_t)n : 0;
        refusals = n > 0 ? 0 : refusals + 1;
        n > 0 ? player_settle(p) : player_wait(p);
    }
}

static void close_peer(struct player *p, struct peer *peer, bool is_reset)
{
    if (is_reset) {
        sock_close_reset(peer->fd);
        peer->fd = -1;
        player_wait(p);
        player_wait(p);
        return;
    }
    (void)shutdown(peer->fd, SHUT_WR);
    flush(p, peer);
    (void)close(peer->fd);
    peer->fd = -1;
    player_settle(p);
}

/* ---- what they get ---- */

static void read_some(struct peer *peer)
{
    while (!peer->has_eof && !peer->has_rst && peer->got_len < sizeof(peer->got)) {
        ssize_t n = recv(peer->fd, peer->got + peer->got_len, sizeof(peer->got) - peer->got_len, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        peer->has_eof = n == 0;
        peer->has_rst = n < 0;
        peer->got_len += n > 0 ? (size_t)n : 0;
    }
}

static void drop_got(struct peer *peer, size_t len)
{
    memmove(peer->got, peer->got + len, peer->got_len - len);
    peer->got_len -= len;
}

static void show(struct player *p, const struct peer *peer, const char *want)
{
    replay_fail(p->at, "%s got \"%.*s\"%s%s instead of %s", peer->name,
                peer->got_len > 600 ? 600 : (int)peer->got_len, peer->got, peer->has_eof ? " and FIN" : "",
                peer->has_rst ? " and RST" : "", want);
}

static bool is_over(const struct peer *peer)
{
    return peer->has_eof || peer->has_rst;
}

static void get_all(struct player *p, struct peer *peer, struct span want, const char *shown)
{
    for (int i = 0; i < TRIES && peer->got_len < want.len && !is_over(peer); i++) {
        read_some(peer);
        if (peer->got_len < want.len) {
            player_wait(p);
        }
    }
    if (peer->got_len < want.len || memcmp(peer->got, want.data, want.len) != 0) {
        show(p, peer, shown);
    }
    drop_got(peer, want.len);
}

static void do_gets(struct player *p, struct peer *peer)
{
    char text[1024];
    size_t len = peer_text(p->at, 2, text, sizeof(text));
    get_all(p, peer, span_make(text, len), text);
}

/* Bulk: only counted. "rest": whatever comes until the end. */
static void do_drains(struct player *p, struct peer *peer)
{
    if (replay_is(replay_word(p->at, 2), "rest")) {
        for (int i = 0; i < TRIES && !is_over(peer); i++) {
            peer->got_len = 0;
            read_some(peer);
            player_wait(p);
        }
        peer->got_len = 0;
        return;
    }
    bool is_all = replay_is(replay_word(p->at, 2), "all");
    const uint64_t want = is_all ? p->stuffed : (uint64_t)replay_number(p->at, 2);
    uint64_t got = 0;
    for (int i = 0; i < TRIES && got < want && !is_over(peer);) {
        read_some(peer);
        i += peer->got_len == 0 ? 1 : 0;
        size_t n = peer->got_len < want - got ? peer->got_len : (size_t)(want - got);
        drop_got(peer, n);
        got += n;
        if (got < want) {
            n > 0 ? player_settle(p) : player_wait(p);
        }
    }
    if (got != want) {
        replay_fail(p->at, "%s got %llu bytes", peer->name, (unsigned long long)got);
    }
}

/* How long the message is that has begun: its head, and what Content-Length says of a whole one; 0 = not
 * known yet.
 */
static size_t message_len(const struct peer *peer, bool is_whole)
{
    static const char field[] = "\r\nContent-Length: ";
    struct span all = span_make(peer->got, peer->got_len);
    const char *end = memmem(all.data, all.len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - peer->got) + 4;
    const char *length = memmem(peer->got, head, field, sizeof(field) - 1);
    size_t body = length == NULL || !is_whole ? 0 : strtoul(length + sizeof(field) - 1, NULL, 10);
    return head + body <= peer->got_len ? head + body : 0;
}

/* answer|head A STATUS WORD…, request A METHOD WORD…: begins like that and holds each WORD, and no !WORD. */
static void do_message(struct player *p, struct peer *peer, const char *first)
{
    bool is_whole = replay_is(p->at->words[0], "answer");
    for (int i = 0; i < TRIES && message_len(peer, is_whole) == 0 && !is_over(peer); i++) {
        read_some(peer);
        if (message_len(peer, is_whole) == 0) {
            player_wait(p);
        }
    }
    size_t len = message_len(peer, is_whole);
    if (len == 0 || strncmp(peer->got, first, strlen(first)) != 0) {
        show(p, peer, first);
    }
    for (size_t i = 3; i < p->at->count; i++) {
        char word[256];
        (void)replay_word(p->at, i);
        struct replay_line one = {.path = p->at->path, .number = p->at->number, .count = 1};
        one.words[0] = p->at->words[i];
        size_t word_len = peer_text(&one, 0, word, sizeof(word));
        bool is_unwanted = word[0] == '!';
        bool is_there = memmem(peer->got, len, word + is_unwanted, word_len - is_unwanted) != NULL;
        if (is_there == is_unwanted) {
            show(p, peer, word);
        }
    }
    drop_got(peer, len);
}

static void do_end(struct player *p, struct peer *peer, bool is_rst)
{
    for (int i = 0; i < TRIES && !is_over(peer) && peer->got_len == 0; i++) {
        read_some(peer);
        if (!is_over(peer)) {
            player_wait(p);
        }
    }
    if (peer->got_len > 0 || (is_rst ? !peer->has_rst : !peer->has_eof)) {
        show(p, peer, is_rst ? "RST" : "FIN");
    }
}

static void do_quiet(struct player *p, struct peer *peer)
{
    player_settle(p);
    read_some(peer);
    if (peer->got_len > 0 || is_over(peer)) {
        show(p, peer, "nothing");
    }
}

bool peer_line(struct player *p, const struct replay_line *w)
{
    static const char *const verbs[] = {"send", "fill",   "stuff",  "finish",    "close",   "reset",
                                        "gets", "drains", "answer", "head",      "request", "eof",
                                        "rst",  "quiet",  "hello",  "gets-hello"};
    const char *verb = w->words[0];
    bool is_one = false;
    char first[32];
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        is_one = is_one || replay_is(verb, verbs[i]);
    }
    if (!is_one) {
        return false;
    }
    struct peer *peer = peer_find(p, 1);
    if (peer->fd < 0) {
        replay_fail(p->at, "%s is closed", peer->name);
    }
    if (replay_is(verb, "send")) {
        do_send(p, peer);
    } else if (replay_is(verb, "hello")) {
        do_hello(p, peer);
    } else if (replay_is(verb, "gets-hello")) {
        get_all(p, peer, hello(w, 2), "the ClientHello");
    } else if (replay_is(verb, "fill")) {
        do_fill(p, peer);
    } else if (replay_is(verb, "stuff")) {
        do_stuff(p, peer);
    } else if (replay_is(verb, "finish")) {
        (void)shutdown(peer->fd, SHUT_WR);
        flush(p, peer);
    } else if (replay_is(verb, "close") || replay_is(verb, "reset")) {
        close_peer(p, peer, replay_is(verb, "reset"));
    } else if (replay_is(verb, "gets")) {
        do_gets(p, peer);
    } else if (replay_is(verb, "drains")) {
        do_drains(p, peer);
    } else if (replay_is(verb, "answer") || replay_is(verb, "head")) {
        (void)snprintf(first, sizeof(first), "HTTP/1.1 %s ", replay_word(w, 2));
        do_message(p, peer, first);
    } else if (replay_is(verb, "request")) {
        (void)snprintf(first, sizeof(first), "%s ", replay_word(w, 2));
        do_message(p, peer, first);
    } else if (replay_is(verb, "quiet")) {
        do_quiet(p, peer);
    } else {
        do_end(p, peer, replay_is(verb, "rst"));
    }
    return true;
}
