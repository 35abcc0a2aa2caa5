/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destinations that the test plays: a program linked with
 * --wrap=sock_connect_tcp,--wrap=sock_connect_result gets a descriptor that stays "in progress" until the
 * test says what became of it. Connected, it is a real TCP socket on loopback. Each attempt and each one that
 * the program closed before is an act: "dial ADDR", "drop ADDR". For tests only.
 */
#pragma once

#include "common/net/addr.h"
#include "tests/support/scene_acts.h"

#include <ev.h>

void fake_connect_reset(struct acts *acts); /* closes what is left */
/* The oldest attempt under way to this address succeeds: the server's end of it. -1: there is none. */
int fake_connect_accept(struct ev_loop *loop, const struct addr *to);
/* It fails with this errno. False: there is none. */
bool fake_connect_fail(struct ev_loop *loop, const struct addr *to, int error);
/* From now on a connect to any address fails at once. 0: no longer. */
void fake_connect_refuse_all(int error);
/* Looks for attempts that were given up. */
void fake_connect_look(void);
size_t fake_connect_open_count(void);
/* Two ends of a TCP connection on loopback, both blocking. */
void fake_connect_pair(int *client, int *server);
