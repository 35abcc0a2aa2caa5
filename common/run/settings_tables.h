/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of both daemons; the rows are in settings_dnsd.c and settings_tunneld.c. Plain data. */
#pragma once

#include "common/run/settings.h"

struct settings_shared {
    struct str_list policy;   /* --policy, default /etc/openshell/policy.yaml */
    struct str_list upstream; /* --upstream ADDR[:PORT]; none: the nameservers of /etc/resolv.conf */
    struct str_list zone;     /* --zone SUFFIX=ADDR[:PORT][,ADDR...][,open] */
    struct str_list pool;  /* --pool PREFIX: the synthetic pools; default 198.18.0.0/15 and fd00:5e11::/64 */
    const char *map;       /* --map FILE */
    struct str_list steer; /* --steer-address ADDR: tunneld's own, at most one per family */
    bool strict_private;   /* --strict-private */
    struct str_list never; /* --never CIDR[:PORT] ([v6/bits]:PORT) */
    struct str_list allow_client; /* --allow-client CIDR; none: loopback, or everybody on passed sockets */
    uint32_t rate_limit;          /* --rate-limit, 200 questions a second and client; 0 = no limit */
    uint32_t wildcard_budget;     /* --wildcard-budget, 60 new names a minute and wildcard; 0 = no limit */
    uint32_t wildcard_length;     /* --wildcard-length, 128 bytes; 0 = no limit */
    uint32_t workers;             /* --workers, 0 = CPUs */
    int log_format, log_level;    /* enum log_format, enum log_level */
    const char *user;             /* --user NAME */
    const char *admin;            /* --admin ADDR:PORT or unix:PATH, NULL = none */
    uint32_t ready_fd;            /* --ready-fd N, 0 = none */
    bool check, dump_config, version, help;
};

enum answer_mode { ANSWER_REAL = 0, ANSWER_SYNTHETIC, ANSWER_STEER };
enum deny_mode { DENY_NXDOMAIN = 0, DENY_NODATA, DENY_REFUSED };
enum aaaa_mode { AAAA_AUTO = 0, AAAA_PASS, AAAA_NODATA };

struct settings_dnsd {
    struct settings_shared shared;
    struct str_list listen;  /* 127.0.0.1:53 */
    const char *resolv_conf; /* /etc/resolv.conf */
    int answer, deny, aaaa;
    uint32_t deny_ttl_s, ttl_min_s, ttl_max_s, ttl_neg_max_s; /* 10, 0, 3600, 60 */
    uint64_t cache_bytes;                                     /* 8 MiB in all workers */
    uint32_t stale_s;                                         /* 3600 */
    uint32_t synthetic_ttl_s, map_grace_s;                    /* 30, 3600 */
    const char *direct_nft_set;                               /* TABLE/SET, NULL = none */
};

enum sni_mode { SNI_OFF = 0, SNI_WARN, SNI_ENFORCE };
enum chain_target { CHAIN_TARGET_NAME = 0, CHAIN_TARGET_ADDRESS };
enum binary_identity { BINARY_ENFORCE = 0, BINARY_IGNORE };

struct settings_tunneld {
    struct settings_shared shared;
    struct str_list listen;      /* 127.0.0.1:3128 */
    struct str_list transparent; /* ADDR:PORT, auto, ADDR:auto; needs the map */
    const char *resolv_conf;
    struct tunnel_timers timers; /* connect-timeout, idle-timeout, lifetime, half-close-timeout, user-timeout:
                                    UNSET if not given */
    struct tunnel_keepalive keepalive;
    int64_t head_ms;         /* 10 s */
    int64_t forward_idle_ms; /* 60 s */
    int sni;                 /* enum sni_mode */
    int64_t sni_wait_ms;     /* 2 s */
    int l7;                  /* enum l7_mode: refuse, tunnel */
    const char *chain_proxy; /* URL, NULL = none */
    int chain_target;        /* enum chain_target */
    const char *chain_auth_file;
    struct str_list chain_except; /* HOST|CIDR[:PORT] */
    int binary_identity;
    uint32_t max_tunnels, max_tunnels_per_client; /* 0 = no limit, 1024 */
    uint32_t max_tunnels_per_rule;                /* 0 = no limit */
    uint32_t max_heads_per_client;                /* 512: half of the client's tunnels; 0 = no limit */
    int64_t revoke_grace_ms, drain_ms;            /* 5 s, 30 s */
};

extern const struct setting settings_dnsd_table[];
extern const struct setting settings_tunneld_table[];

/*
 * OPENSHELL_NETWORK_BINARY_IDENTITY, the variable of OpenShell itself, says relaxed, disabled, endpoint-only,
 * false or 0 (any case). It already is the default of binary_identity (ignore) where neither option nor own
 * variable is given.
 */
bool settings_upstream_identity_is_off(void);
