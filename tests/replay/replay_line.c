/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/replay/replay_line.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void replay_fail(const struct replay_line *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "%s:%d: ", w->path, w->number);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

bool replay_is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

const char *replay_word(const struct replay_line *w, size_t i)
{
    if (i >= w->count) {
        replay_fail(w, "the line is too short");
    }
    return w->words[i];
}

int64_t replay_number(const struct replay_line *w, size_t i)
{
    const char *word = replay_word(w, i);
    char *end = NULL;
    const long long n = strtoll(word, &end, 10);
    if (end == word || *end != '\0' || n < 0) {
        replay_fail(w, "%s is no number", word);
    }
    return n;
}

struct host_name replay_name(const struct replay_line *w, size_t i)
{
    struct host_name name;
    if (host_name_parse(span_str(replay_word(w, i)), &name) != HOST_FAULT_NONE) {
        replay_fail(w, "%s is no name", w->words[i]);
    }
    return name;
}

static void split(char *text, struct replay_line *w)
{
    w->count = 0;
    text[strcspn(text, "#\n")] = '\0';
    for (char *word = strsep(&text, " \t"); word != NULL; word = strsep(&text, " \t")) {
        if (*word != '\0' && w->count < REPLAY_WORDS_MAX) {
            w->words[w->count++] = word;
        }
    }
}

static void play(const struct replay_kind *kind, const char *path)
{
    struct replay_line w = {.path = path};
    void *player = kind->start();
    FILE *in = fopen(path, "re");
    if (player == NULL || in == NULL) {
        replay_fail(&w, "cannot be read");
    }
    char text[512];
    while (fgets(text, (int)sizeof(text), in) != NULL) {
        w.number++;
        split(text, &w);
        if (w.count > 0) {
            kind->line(player, &w);
        }
    }
    kind->finish(player);
    (void)fclose(in);
    (void)printf("ok %s\n", path);
}

int replay_main(const struct replay_kind *kind, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        play(kind, argv[i]);
    }
    if (argc > 1) {
        return 0;
    }
    const char *top = getenv("top_srcdir");
    char pattern[4096];
    (void)snprintf(pattern, sizeof(pattern), "%s/%s/*.rpl", top == NULL ? "." : top, kind->directory);
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc < kind->scenarios_min) {
        (void)fprintf(stderr, "%s: fewer than %zu scenarios\n", pattern, kind->scenarios_min);
        return 1;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        play(kind, found.gl_pathv[i]);
    }
    globfree(&found);
    return 0;
}
