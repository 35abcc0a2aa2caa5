// SPDX-License-Identifier: Apache-2.0
// A real, unmodified discord.js bot with nothing configured about proxies. It logs in, waits for READY and for the
// acknowledgement of a heartbeat, and, with the argument "resume", for the resume that the stand-in asks for.
// Prints a line for each of them, and at READY one "remote ADDR PORT" line for each connection of the namespace. Exit status 0 when all came, 1 when one did not within 30 s.
import { Client, Events, GatewayIntentBits } from 'discord.js';
import { remotes } from './remotes.mjs';

const wanted = new Set(['ready', 'heartbeat', ...process.argv.slice(2)]);
const trace = [];
const client = new Client({ intents: [GatewayIntentBits.Guilds] });

function end(status, why) {
  if (status !== 0) {
    console.error(`bot: ${why}; still waiting for ${[...wanted].join(', ')}`);
    console.error(trace.join('\n'));
  }
  client.destroy().finally(() => process.exit(status));
}

function saw(what, detail = '') {
  console.log(`bot: ${what} ${detail}`.trim());
  if (wanted.delete(what) && wanted.size === 0) {
    end(0);
  }
}

client.on(Events.Debug, (line) => {
  trace.push(line);
  if (/Heartbeat acknowledged/.test(line)) {
    saw('heartbeat');
  }
});
client.on(Events.Error, (error) => end(1, error));
client.on(Events.ShardError, (error) => end(1, error));
client.on(Events.ShardResume, () => saw('resume'));
client.once(Events.ClientReady, () => {
  remotes().forEach((remote) => console.log(`remote ${remote}`));
  saw('ready', `as ${client.user.username}`);
});
setTimeout(() => end(1, 'nothing for 30 s'), 30_000);
client.login(process.env.DISCORD_TOKEN).catch((error) => end(1, error.stack));
