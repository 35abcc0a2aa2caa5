// SPDX-License-Identifier: Apache-2.0
// A `ws` client of servers.mjs: messages of many sizes in random fragments, pings between them, a silence, and a close
// with a code and a text of its own; every message must come back as it went.
//
//   node ws.mjs captured|connect SECONDS URL
import { createHash } from 'node:crypto';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { openTunnel } from './tunnel.mjs';

// The same numbers every time (mulberry32): a failure can be had again.
export function generator(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

export function sendInFragments(socket, data, binary, seed) {
  const random = generator(seed);
  let at = 0;
  while (data.length - at > 1 && random(4) > 0) {
    const size = random(Math.min(data.length - at, 70_000)); // also 0: an empty fragment is a fragment
    socket.send(data.subarray(at, at + size), { fin: false, binary, compress: seed % 2 === 0 });
    at += size;
  }
  socket.send(data.subarray(at), { fin: true, binary, compress: seed % 2 === 0 });
}

async function main([way, seconds, address]) {
  const url = new URL(address);
  const isTls = url.protocol === 'wss:';
  const options = { perMessageDeflate: true, maxPayload: 1 << 26 };
  if (way === 'connect') {
    const socket = await openTunnel(url.hostname, url.port);
    const carrier = isTls ? tls.connect({ socket, servername: url.hostname }) : socket;
    options.createConnection = () => carrier;
  }
  const socket = new WebSocket(url, options);
  let pings = 0;
  socket.on('ping', () => { pings += 1; });
  const once = (event) => new Promise((resolve, reject) => {
    const early = (code) => reject(new Error(`closed early with ${code}`));
    socket.once('error', reject);
    socket.once('close', early);
    socket.once(event, (...got) => {
      socket.off('error', reject);
      socket.off('close', early);
      resolve(got);
    });
  });
  await once('open');

  const random = generator(409);
  const digest = (data) => createHash('sha256').update(data).digest('hex');
  const echo = async (size, turn) => {
    const data = Buffer.from(Array.from({ length: size }, () => 32 + random(95)));
    const binary = turn % 2 === 0;
    const back = once('message');
    sendInFragments(socket, data, binary, turn);
    const [got, wasBinary] = await back;
    if (digest(got) !== digest(data) || wasBinary !== binary) {
      throw new Error(`message ${turn} of ${size} bytes came back as ${got.length} others`);
    }
  };
  const sizes = [0, 1, 125, 126, 127, 65535, 65536, 1_000_000];
  for (let turn = 0; turn < 24; turn += 1) {
    await echo(turn < sizes.length ? sizes[turn] : random(30_000), turn);
  }
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  await echo(4711, 25);
  if (pings !== 25) {
    throw new Error(`${pings} pings of the server instead of 25`);
  }
  const closed = new Promise((resolve) => socket.once('close', (code, reason) => resolve(`${code} ${reason}`)));
  socket.close(4321, 'so long');
  if (await closed !== '4321 so long') {
    throw new Error(`the close came back as ${await closed}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(process.argv.slice(2));
}
