/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays every file, and every file of every directory, that is named: each whole, and each small one cut
 * after every byte as well. Each input is a block of memory of its own size, so that a sanitizer sees a read
 * behind its end.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1024UL * 1024)
#define TRUNCATE_MAX 1024U
#define PATH_CAP 4096U

static void run_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len);
    if (copy == NULL && len > 0) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    if (len > 0) {
        memcpy(copy, data, len);
    }
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

/* 1 = replayed, 0 = it could not be. */
static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 0;
    }
    static uint8_t input[INPUT_MAX + 1];
    size_t len = fread(input, 1, sizeof input, f);
    int is_bad = ferror(f) != 0 || len > INPUT_MAX;
    (void)fclose(f);
    if (is_bad) {
        fprintf(stderr, "%s: cannot be read, or longer than %lu bytes\n", path, INPUT_MAX);
        return 0;
    }
    run_copy(input, len);
    for (size_t cut = 0; len <= TRUNCATE_MAX && cut < len; cut++) {
        run_copy(input, cut);
    }
    return 1;
}

/* How many files were replayed, or -1. */
static long replay_dir(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        return -1;
    }
    long count = 0;
    const struct dirent *e;
    while (count >= 0 && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }
        char path[PATH_CAP];
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path || !replay_file(path)) {
            count = -1;
        } else {
            count++;
        }
    }
    (void)closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    long total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int is_dir = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        long count = is_dir ? replay_dir(argv[i]) : replay_file(argv[i]);
        if (count <= 0) {
            fprintf(stderr, "%s: nothing was replayed\n", argv[i]);
            return 1;
        }
        total += count;
    }
    if (total == 0) {
        fprintf(stderr, "usage: %s FILE-OR-DIRECTORY...\n", argv[0]);
        return 1;
    }
    printf("%ld inputs replayed\n", total);
    return 0;
}
