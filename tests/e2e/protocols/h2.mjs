// SPDX-License-Identifier: Apache-2.0
// node's own HTTP/2 client: an upload that pauses in the middle comes back as it went, and another request passes it.
//
//   node h2.mjs captured|connect SECONDS HOST PORT PATH FILE     PATH holds what FILE does
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import tls from 'node:tls';
import { openTunnel } from './tunnel.mjs';

const [way, seconds, host, port, path, file] = process.argv.slice(2);
const data = readFileSync(file);
const options = {};
if (way === 'connect') {
  const socket = tls.connect({ socket: await openTunnel(host, port), servername: host, ALPNProtocols: ['h2'] });
  options.createConnection = () => socket;
}
const session = http2.connect(`https://${host}:${port}`, options);

async function body(stream) {
  const [headers] = await once(stream, 'response');
  if (headers[':status'] !== 200) {
    throw new Error(`status ${headers[':status']}`);
  }
  const parts = [];
  for await (const part of stream) {
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const check = (got, what) => {
  if (!got.equals(data)) {
    throw new Error(`${what}: ${got.length} other bytes`);
  }
};

const upload = session.request({ ':method': 'POST', ':path': '/' });
const echo = body(upload);
upload.write(data.subarray(0, 100_000));
check(await body(session.request({ ':path': path })), 'a request beside the upload');
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
upload.end(data.subarray(100_000));
check(await echo, 'the upload');
session.close();
