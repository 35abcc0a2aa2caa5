#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The main job: a real, unmodified discord.js bot reaches READY behind the fence, natively, with no proxy agent; its
# heartbeats are answered, and it resumes at the gateway that READY named. A real `ws` client of its own works too.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
need_node_modules
enter_lab "$@"
start_standin --heartbeat-ms 500 --reconnect-after 1 --token not-a-real-token

bot_status=0
DISCORD_TOKEN=not-a-real-token fenced "$T/bot.log" -- node "$here/bot.mjs" resume >"$T/bot.out.log" 2>"$T/bot.err" ||
  bot_status=$?
[ "$bot_status" = 0 ] || fail "the bot ended with status $bot_status"
for line in 'bot: ready as standin' 'bot: heartbeat' 'bot: resume'; do
  grep -qx "$line" "$T/bot.out.log" || fail "the bot never said '$line'"
done
# Natively: the bot's own connections lead to synthetic addresses, and none leads to the proxy.
grep -qE '^remote (198\.1[89]\.[0-9.]+|fd[0-9a-f]{30}) 443$' "$T/bot.out.log" || fail "no connection of the bot was captured"
! grep -qE '^remote 127\.0\.0\.1 3128$' "$T/bot.out.log" || fail "the bot used the proxy"
# And outside, it was Discord's stand-in that it talked to, by the names it asked for.
for event in '"event": "ready", "host": "gateway.discord.gg"' '"event": "resume", "host": "gateway-us-east1.discord.gg"'; do
  grep -q "$event" "$REQUESTS" || fail "the stand-in has no $event"
done
say "discord.js: READY, heartbeat and resume, captured natively"

fenced "$T/ws.log" -- node "$here/echo.mjs" native 0.1 alive
