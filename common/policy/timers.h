/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers and keepalive as an operator may set them at each level; a level leaves UNSET what it does not say.
 * Precedence: endpoint > option > environment > egress.defaults > built in. 0 = never. Milliseconds. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TIMER_UNSET (-1)
#define TIMER_AUTO                                                                                           \
    (-2) /* user only: idle + interval x probes of that leg's keepalive; 120 s where it is off */

struct tunnel_timers {
    int64_t connect_ms;    /* resolution and dial together */
    int64_t idle_ms;       /* no byte in either direction: one clock */
    int64_t lifetime_ms;   /* from the 200 (or the dial) on */
    int64_t half_close_ms; /* after one side's FIN; restarts with every byte of the other direction */
    int64_t user_ms;       /* TCP_USER_TIMEOUT, both legs */
};

enum keepalive_mode { KEEPALIVE_UNSET = 0, KEEPALIVE_OFF, KEEPALIVE_ON };

struct tunnel_keepalive {
    enum keepalive_mode mode;
    uint16_t idle_s;     /* 1..32767 */
    uint16_t interval_s; /* 1..32767 */
    uint8_t probes;      /* 1..127 */
};

void tunnel_timers_unset(struct tunnel_timers *t); /* all UNSET */
/* Fills what is UNSET in *t from *lower. */
void tunnel_timers_inherit(struct tunnel_timers *t, const struct tunnel_timers *lower);
/* Takes the whole of lower when k is UNSET. */
void tunnel_keepalive_inherit(struct tunnel_keepalive *k, const struct tunnel_keepalive *lower);
/* connect 10 s, idle 0, lifetime 0, half-close 5 min, user auto; keepalive 60 s, 15 s, 4. */
extern const struct tunnel_timers tunnel_builtin_timers;
extern const struct tunnel_keepalive tunnel_builtin_keepalive;
/* Copies both. */
void tunnel_timers_builtin(struct tunnel_timers *t, struct tunnel_keepalive *k);
/* The TCP_USER_TIMEOUT to set, in ms: resolves AUTO; 0 = leave the kernel's. */
int64_t tunnel_user_timeout_ms(const struct tunnel_timers *t, const struct tunnel_keepalive *k);
