/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenarios as lines of words, and what all players of them do alike: one player for each file, every line of
 * it in turn, and an end to the program with file and line where something is not so. For tests only.
 */
#pragma once

#include "common/base/host_name.h"

#define REPLAY_WORDS_MAX 32

struct replay_line {
    const char *path;
    int number;
    size_t count;
    const char *words[REPLAY_WORDS_MAX];
};

struct replay_kind {
    const char *directory; /* below top_srcdir */
    size_t scenarios_min;  /* fewer means that they were not found */
    void *(*start)(void);
    void (*line)(void *player, const struct replay_line *w); /* not called for empty ones */
    void (*finish)(void *player);                            /* frees it */
};

/* Plays the files given, or all of the directory. */
int replay_main(const struct replay_kind *kind, int argc, char **argv);

void replay_fail(const struct replay_line *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
bool replay_is(const char *a, const char *b);
/* These end the program if there is no such word, or if it is not what is wanted. */
const char *replay_word(const struct replay_line *w, size_t i);
int64_t replay_number(const struct replay_line *w, size_t i);
struct host_name replay_name(const struct replay_line *w, size_t i);
