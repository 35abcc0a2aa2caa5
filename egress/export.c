/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"
#include "egress/printed.h"

#include "common/base/shown.h"
#include "common/policy/policy_export.h"
#include "common/policy/policy_files.h"
#include "common/run/exit_status.h"
#include "common/run/policy_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void export_usage(FILE *out)
{
    (void)fprintf(out,
                  "usage: openshell-egress export FILE|DIRECTORY...\n"
                  "Writes the policy as OpenShell itself reads it, without extensions, to standard output.\n"
                  "What OpenShell will do otherwise is told on standard error.\n"
                  "Exit status: 0 written, 1 the policy is not good, 2 usage, 71 it could not be written.\n");
}

/* One line each: they are many, and all of one kind. */
static void print_notes(const struct policy_diags *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        const struct policy_diag *d = &notes->items[i];
        (void)fprintf(stderr, "%s:%u:%u: note: %s\n", shown_clean(d->file), d->line, d->col, d->message);
    }
    if (notes->overflowed) {
        (void)fprintf(stderr, "(more than %zu notes: only the first are shown)\n", notes->count);
    }
}

static int write_out(struct span text)
{
    (void)fwrite(text.data, 1, text.len, stdout);
    return printed("openshell-egress export", 0, EXIT_STATUS_OS);
}

static int export_files(const char *const *paths, size_t count)
{
    struct policy_texts texts;
    struct policy_diags errors = {0};
    struct policy_diags notes = {0};
    struct buf out = {0};
    int read_rc = policy_files_read(paths, count, &texts, &errors);
    /* what could be read is checked all the same, so that one run tells everything */
    int rc = policy_export(texts.items, texts.count, &out, &errors, &notes);
    int status = 1;
    if (rc == -ENOMEM || read_rc == -ENOMEM) {
        (void)fprintf(stderr, "openshell-egress export: out of memory\n");
        status = EXIT_STATUS_OS;
    } else if (rc != 0 || read_rc != 0) {
        policy_report_print(&errors);
        status = rc == -EPROTO ? EXIT_STATUS_OS : 1;
    } else {
        print_notes(&notes);
        status = write_out(buf_span(&out));
    }
    buf_fini(&out);
    policy_diags_fini(&errors);
    policy_diags_fini(&notes);
    policy_texts_fini(&texts);
    return status;
}

int command_export(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        export_usage(stdout);
        return printed("openshell-egress export", 0, EXIT_STATUS_OS);
    }
    if (argc >= 2 && argv[1][0] == '-' && strcmp(argv[1], "--") != 0) {
        (void)fprintf(stderr, "openshell-egress export: %s: no such option\n", shown_clean(argv[1]));
        export_usage(stderr);
        return 2;
    }
    int first = argc >= 2 && strcmp(argv[1], "--") == 0 ? 2 : 1;
    if (argc <= first) {
        export_usage(stderr);
        return 2;
    }
    for (int i = first; i < argc; i++) {
        if (argv[i][0] == '\0') {
            (void)fprintf(stderr,
                          "openshell-egress export: an empty FILE: name a policy file or a directory, as "
                          "policy.yaml\n");
            export_usage(stderr);
            return 2;
        }
    }
    return export_files((const char *const *)argv + first, (size_t)(argc - first));
}
