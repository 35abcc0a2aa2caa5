// SPDX-License-Identifier: Apache-2.0
// A real `ws` client of the stand-in's silent endpoint. It says hello, keeps silent for a while, and says hello again.
//
//   node echo.mjs native|connect SECONDS alive|dead
//
// native: the ws package as it is, no agent, which is why it ignores HTTPS_PROXY; connect: through CONNECT to HTTPS_PROXY.
// alive: the second hello must be answered, SECONDS later. dead: the connection must be closed SECONDS after the first
// hello, at most 4 s late and never early. The client sends no pings, and neither does the stand-in.
import tls from 'node:tls';
import WebSocket from 'ws';
import { openTunnel } from './protocols/tunnel.mjs';

const [how, seconds, fate] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const url = 'wss://gateway.discord.gg/silent';
const tag = `echo: ${how} ${seconds} s`;

function fail(why) {
  console.error(`${tag}: ${why}`);
  process.exit(1);
}

function hello(socket, text) {
  return new Promise((resolve) => {
    socket.once('message', (data) => {
      if (data.toString() !== text) {
        fail(`sent ${text}, got ${data}`);
      }
      resolve();
    });
    socket.send(text);
  });
}

const host = 'gateway.discord.gg';
const tunnel = how !== 'connect' ? undefined
  : tls.connect({ socket: await openTunnel(host, 443).catch((error) => fail(error.message)), servername: host });
const socket = new WebSocket(url, tunnel ? { createConnection: () => tunnel } : {});
const opening = setTimeout(() => fail('not open within 10 s'), 10_000);
socket.on('error', (error) => {
  if (socket.readyState === WebSocket.CONNECTING || fate === 'alive') {
    fail(`error: ${error.message}`);
  }
});
await new Promise((resolve) => socket.once('open', resolve));
clearTimeout(opening);
await hello(socket, 'first');
const start = performance.now();
const elapsed = () => (performance.now() - start) / 1000;

socket.on('close', (code) => {
  const late = elapsed() - seconds;
  if (fate === 'alive') {
    fail(`closed with ${code} after ${elapsed().toFixed(1)} s`);
  }
  if (late < -0.1 || late > 4) {
    fail(`closed after ${elapsed().toFixed(1)} s`);
  }
  console.log(`${tag}: closed with ${code} after ${elapsed().toFixed(1)} s`);
  process.exit(0);
});

if (fate === 'dead') {
  setTimeout(() => fail(`still open after ${elapsed().toFixed(1)} s`), (seconds + 5) * 1000);
} else {
  setTimeout(async () => {
    const late = setTimeout(() => fail('no answer within 5 s after the silence'), 5_000);
    await hello(socket, 'second');
    clearTimeout(late);
    console.log(`${tag}: alive after ${elapsed().toFixed(1)} s`);
    process.exit(0);
  }, seconds * 1000);
}
