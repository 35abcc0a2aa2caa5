/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"
#include "egress/printed.h"

#include "common/base/log.h"
#include "common/base/shown.h"
#include "common/run/exit_status.h"
#include "common/run/std_fds.h"

#include <stdio.h>
#include <string.h>

static void usage(FILE *out)
{
    (void)fprintf(
        out,
        "usage: openshell-egress COMMAND ...\n\n"
        "  check FILE...              is this policy good? every problem with its place\n"
        "  export FILE...             the policy as OpenShell itself reads it, without extensions\n"
        "  explain HOST[:PORT]        which rule decides, what dnsd answers, what tunneld does, and why\n"
        "  run [OPTION]... -- CMD...  run CMD so that it reaches what the policy admits, nothing else\n"
        "  capture up|down            routes and rules that bring native connections to tunneld\n"
        "  listen --netns PATH ...    start a daemon here on sockets of another network namespace\n"
        "  doctor [HOST | URL]...     inside a sandbox: which ways out work, and what to change\n\n"
        "  --help, --version\n"
        "openshell-egress(1), openshell-dnsd(8) and openshell-tunneld(8) say more.\n");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*function)(int argc, char **argv);
    } commands[] = {{"check", command_check},  {"export", command_export},   {"explain", command_explain},
                    {"run", command_run},      {"capture", command_capture}, {"listen", command_listen},
                    {"doctor", command_doctor}};

    if (!std_fds_open()) {
        return EXIT_STATUS_OS;
    }
    log_init("openshell-egress", LOG_ERROR, LOG_TEXT, 2);
    if (argc < 2) {
        usage(stderr);
        return EXIT_STATUS_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return printed("openshell-egress", EXIT_STATUS_OK, EXIT_STATUS_OS);
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("openshell-egress %s (%s)\n", PACKAGE_VERSION, BUILD_SUMMARY);
        return printed("openshell-egress", EXIT_STATUS_OK, EXIT_STATUS_OS);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].function(argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "openshell-egress: '%s' is no command\n", shown_clean(argv[1]));
    usage(stderr);
    return EXIT_STATUS_USAGE;
}
