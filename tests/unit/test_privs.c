/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/privs.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Privileges cannot be had back: each case runs in a child, whose exit status is the line that failed, or 0.
 */
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "line %d: %s\n", __LINE__, #x);                                                  \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static void in_child(int (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(body());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A line of /proc/self/status, as a hexadecimal number. */
static uint64_t status_mask(const char *key)
{
    char line[256];
    uint64_t mask = UINT64_MAX;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            mask = strtoull(line + strlen(key) + 1, NULL, 16);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return mask;
}

static bool has_only(uint64_t keep, bool was_root)
{
    return status_mask("CapEff:") == keep && status_mask("CapPrm:") == keep && status_mask("CapInh:") == 0 &&
           status_mask("CapAmb:") == 0 && (!was_root || status_mask("CapBnd:") == keep) &&
           status_mask("NoNewPrivs:") == 1;
}

/* Who is not root cannot become somebody else, and is told what to do. */
static int nobody_as_root(void)
{
    struct err err = {""};
    MUST(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
         setresuid(65534, 65534, 65534) == 0);
    MUST(privs_drop("root", 0, &err) == -EPERM);
    MUST(strstr(err.text, "start as root to become somebody else, or leave --user out") != NULL);
    return 0;
}

static int as_nobody(void)
{
    const struct passwd *nobody = getpwnam("nobody");
    gid_t groups[64];
    MUST(nobody != NULL);
    MUST(setgroups(2, (const gid_t[]){0, 27}) == 0);
    uid_t uid = nobody->pw_uid;
    gid_t gid = nobody->pw_gid;
    MUST(privs_drop("nobody", 0, NULL) == 0);
    MUST(getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid);
    MUST(setuid(0) != 0 && seteuid(0) != 0 && setgid(0) != 0);
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++) {
        MUST(groups[i] == gid);
    }
    MUST(has_only(0, true));
    MUST(open("/etc/shadow", O_RDONLY | O_CLOEXEC) < 0);
    return 0;
}

static int keeping_one(void)
{
    const uint64_t keep = UINT64_C(1) << CAP_NET_BIND_SERVICE;
    if ((status_mask("CapPrm:") & keep) == 0) {
        fprintf(stderr, "NOT TESTED: keeping a capability (it is not there)\n");
        return 0;
    }
    MUST(privs_drop("nobody", keep, NULL) == 0);
    MUST(geteuid() != 0 && has_only(keep, true));
    MUST(setuid(0) != 0);
    return 0;
}

static int root_without_capabilities(void)
{
    MUST(privs_drop(NULL, 0, NULL) == 0);
    MUST(geteuid() == 0 && has_only(0, true));
    MUST(setgroups(0, NULL) < 0);         /* uid 0 alone is worth nothing */
    MUST(privs_drop(NULL, 0, NULL) == 0); /* and once more is no error */
    return 0;
}

static int as_ordinary_user(void)
{
    struct err err = {""};
    const struct passwd *nobody = getpwnam("nobody");
    MUST(nobody != NULL);
    if (geteuid() == 0) {
        MUST(setresgid(nobody->pw_gid, nobody->pw_gid, nobody->pw_gid) == 0);
        MUST(setresuid(nobody->pw_uid, nobody->pw_uid, nobody->pw_uid) == 0);
    }
    MUST(privs_drop("root", 0, &err) < 0); /* becoming another user needs root, and that is said */
    MUST(strstr(err.text, "not permitted") != NULL);
    MUST(privs_drop(NULL, 0, NULL) == 0);
    MUST(has_only(0, false));
    const struct passwd *self = getpwuid(geteuid());
    MUST(self == NULL || privs_drop(self->pw_name, 0, NULL) == 0); /* --user of oneself is fine */
    return 0;
}

static void test_nobody(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("NOT TESTED: privileges of root (needs root)\n");
        skip();
    }
    in_child(as_nobody);
    in_child(nobody_as_root);
    in_child(keeping_one);
    in_child(root_without_capabilities);
}

static void test_ordinary_user(void **state)
{
    (void)state;
    in_child(as_ordinary_user);
}

static void test_no_such_user(void **state)
{
    (void)state;
    struct err err = {""};
    assert_int_equal(privs_drop("no-such-user-here", 0, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--user: there is no user no-such-user-here"));
    assert_int_equal(privs_drop("", 0, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_ordinary_user),
        cmocka_unit_test(test_no_such_user),
    };
    log_init("test_privs", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests_name("privs", tests, NULL, NULL);
}
