/* SPDX-License-Identifier: Apache-2.0 */
/* The rows that both daemons have, to be put into a table of the struct S, whose member shared holds them. */
#pragma once

#include "common/run/settings_tables.h"

extern const char *const settings_log_formats[]; /* in the order of enum log_format */
extern const char *const settings_log_levels[];  /* in the order of enum log_level */

#define SETTINGS_SHARED_AT(S, member) (offsetof(struct S, shared) + offsetof(struct settings_shared, member))

/* clang-format off */
#define SETTINGS_SHARED_ROWS(S)                                                                                      \
    {.name = "policy", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, policy), .arg = "PATH",                 \
     .fallback = "/etc/openshell/policy.yaml", .help = "policy file, or a directory of them"},                       \
    {.name = "upstream", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, upstream),                            \
     .arg = "ADDR[:PORT]|tls://ADDR[:PORT]#NAME",                                                                    \
     .help = "DNS server to ask (none: those of resolv.conf)"},                                                      \
    {.name = "zone", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, zone),                                    \
     .arg = "SUFFIX=ADDR[:PORT][,ADDR...][,open]", .help = "ask these servers for the names of this zone"},           \
    {.name = "pool", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, pool), .arg = "PREFIX",                   \
     .fallback = "198.18.0.0/15 fd00:5e11::/64", .help = "synthetic addresses, one prefix per family"},              \
    {.name = "map", .kind = SETTING_STRING, .offset = SETTINGS_SHARED_AT(S, map), .arg = "FILE",                     \
     .fallback = "/run/openshell/egress.map", .help = "synthetic addresses and their names"},                        \
    {.name = "steer-address", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, steer), .arg = "ADDR",           \
     .help = "where names are steered to: connections to it are told apart by TLS SNI or HTTP Host"},               \
    {.name = "strict-private", .kind = SETTING_FLAG, .offset = SETTINGS_SHARED_AT(S, strict_private),                \
     .help = "private addresses only through allowed_ips"},                                                          \
    {.name = "never", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, never), .arg = "CIDR[:PORT]",            \
     .help = "addresses that nothing may reach"},                                                                    \
    {.name = "allow-client", .kind = SETTING_LIST, .offset = SETTINGS_SHARED_AT(S, allow_client), .arg = "CIDR",     \
     .help = "clients to serve (none: loopback; all on passed sockets)"},                                            \
    {.name = "rate-limit", .kind = SETTING_NUMBER, .offset = SETTINGS_SHARED_AT(S, rate_limit), .arg = "N",          \
     .fallback = "200", .max = 1000000, .help = "questions a second that go upstream for a client; 0: no limit"},     \
    {.name = "wildcard-budget", .kind = SETTING_NUMBER, .offset = SETTINGS_SHARED_AT(S, wildcard_budget),            \
     .arg = "N", .fallback = "60", .max = 1000000,                                                                   \
     .help = "new names a minute that go upstream through a wildcard; 0: no limit"},                                 \
    {.name = "wildcard-length", .kind = SETTING_NUMBER, .offset = SETTINGS_SHARED_AT(S, wildcard_length),            \
     .arg = "BYTES", .fallback = "128", .max = 253,                                                                  \
     .help = "longest name that goes upstream through a wildcard; 0: no limit"},                                     \
    {.name = "workers", .kind = SETTING_NUMBER, .offset = SETTINGS_SHARED_AT(S, workers), .arg = "N",                \
     .fallback = "0", .max = 256, .help = "threads; 0: one per usable CPU"},                                         \
    {.name = "admin", .kind = SETTING_STRING, .offset = SETTINGS_SHARED_AT(S, admin), .arg = "ADDR:PORT|unix:PATH",   \
     .help = "serve /healthz, /readyz, /status and /metrics here"},                                                  \
    {.name = "log-format", .kind = SETTING_CHOICE, .offset = SETTINGS_SHARED_AT(S, log_format),                      \
     .choices = settings_log_formats, .fallback = "text", .help = "form of log lines"},                              \
    {.name = "log-level", .kind = SETTING_CHOICE, .offset = SETTINGS_SHARED_AT(S, log_level),                        \
     .choices = settings_log_levels, .fallback = "info", .help = "least severe event logged"},                       \
    {.name = "user", .kind = SETTING_STRING, .offset = SETTINGS_SHARED_AT(S, user), .arg = "NAME",                   \
     .help = "become this user once everything is open"},                                                            \
    {.name = "ready-fd", .kind = SETTING_NUMBER, .offset = SETTINGS_SHARED_AT(S, ready_fd), .arg = "N",              \
     .fallback = "0", .max = 1048576, .help = "write the line READY to this descriptor when serving; 0: none"},      \
    {.name = "check", .kind = SETTING_FLAG, .offset = SETTINGS_SHARED_AT(S, check), .option_only = true,             \
     .help = "check settings and policy, say what was found, end"},                                                  \
    {.name = "dump-config", .kind = SETTING_FLAG, .offset = SETTINGS_SHARED_AT(S, dump_config),                      \
     .option_only = true, .help = "print every setting and where it came from, end"},                                \
    {.name = "version", .kind = SETTING_FLAG, .offset = SETTINGS_SHARED_AT(S, version), .option_only = true,         \
     .help = "print version and build, end"},                                                                        \
    {.name = "help", .kind = SETTING_FLAG, .offset = SETTINGS_SHARED_AT(S, help), .option_only = true,               \
     .help = "print this text, end"}
/* clang-format on */
