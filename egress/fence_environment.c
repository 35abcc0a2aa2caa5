/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

/* Each names a socket of a program outside that acts for who asks, or a key to it. */
static const char *const ways_out[] = {"SSH_AUTH_SOCK",   "SSH_AGENT_PID",  "GPG_AGENT_INFO", "DISPLAY",
                                       "WAYLAND_DISPLAY", "WAYLAND_SOCKET", "XAUTHORITY"};
static const char dbus[] = "DBUS_";

static bool is_name(struct span name, const char *text)
{
    return span_is_equal(name, span_str(text));
}

static bool is_way_out(struct span name)
{
    for (size_t i = 0; i < sizeof ways_out / sizeof ways_out[0]; i++) {
        if (is_name(name, ways_out[i])) {
            return true;
        }
    }
    return is_name(span_sub(name, 0, sizeof dbus - 1), dbus);
}

bool fence_takes_variable(const char *name)
{
    return is_way_out(span_str(name));
}

static bool is_kept(const struct fence_environment *e, struct span name)
{
    for (size_t i = 0; i < e->keep_count; i++) {
        if (is_name(name, e->keep[i])) {
            return true;
        }
    }
    return false;
}

/* In place: unsetenv() would move the list under our feet. */
static void take_ways_out(const struct fence_environment *e)
{
    size_t kept = 0;
    for (size_t i = 0; environ != NULL && environ[i] != NULL; i++) {
        const struct span all = span_str(environ[i]);
        const struct span name = span_sub(all, 0, span_find(all, '='));
        if (!is_way_out(name) || is_kept(e, name)) {
            environ[kept++] = environ[i];
        }
    }
    if (environ != NULL) {
        environ[kept] = NULL;
    }
}

static int set_proxies(bool no_proxy)
{
    /* What is neither https nor http goes natively: no variable may send it to the proxy. */
    static const char *const cleared[] = {"ALL_PROXY",  "all_proxy",  "FTP_PROXY",     "ftp_proxy",
                                          "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};
    static const char *const set[][2] = {{"HTTPS_PROXY", FENCE_PROXY_URL},
                                         {"https_proxy", FENCE_PROXY_URL},
                                         {"HTTP_PROXY", FENCE_PROXY_URL},
                                         {"http_proxy", FENCE_PROXY_URL},
                                         {"NO_PROXY", "localhost,127.0.0.1,::1"},
                                         {"no_proxy", "localhost,127.0.0.1,::1"},
                                         {"NODE_USE_ENV_PROXY", "1"}};
    int rc = 0;
    for (size_t i = 0; i < sizeof cleared / sizeof cleared[0]; i++) {
        (void)unsetenv(cleared[i]);
    }
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
        if (no_proxy) {
            (void)unsetenv(set[i][0]);
        } else if (setenv(set[i][0], set[i][1], 1) != 0) {
            rc = -ENOMEM;
        }
    }
    return rc;
}

/* What a login would set, as far as it is known. */
static int set_user(const struct run_user *user)
{
    char runtime[64];
    (void)snprintf(runtime, sizeof runtime, "/run/user/%u", (unsigned)user->uid);
    const char *const set[][2] = {{"USER", user->name},
                                  {"LOGNAME", user->name},
                                  {"HOME", user->home},
                                  {"SHELL", user->shell},
                                  {"XDG_RUNTIME_DIR", getenv("XDG_RUNTIME_DIR") != NULL ? runtime : ""}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof set / sizeof set[0]; i++) {
        rc = set[i][1][0] != '\0' && setenv(set[i][0], set[i][1], 1) != 0 ? -ENOMEM : 0;
    }
    return rc;
}

int fence_environment(const struct fence_environment *e, const struct run_user *user)
{
    take_ways_out(e);
    int rc = set_proxies(e->no_proxy);
    rc = rc == 0 && user != NULL ? set_user(user) : rc;
    for (size_t i = 0; rc == 0 && i < e->set_count; i++) {
        const char *equals = strchr(e->set[i], '=');
        REQUIRE(equals != NULL); /* run_options_parse() saw to it */
        char *name = strndup(e->set[i], (size_t)(equals - e->set[i]));
        rc = name == NULL || setenv(name, equals + 1, 1) != 0 ? -ENOMEM : 0;
        free(name);
    }
    return rc;
}
