// SPDX-License-Identifier: Apache-2.0
// The servers of the protocol tests that come from npm, and those that a few lines make, in one process.
//
//   node servers.mjs ADDRESS SERVER.PEM GIT-ROOT READY-FILE
//
//   8001, 8002  WebSocket, without and with TLS: each message comes back in random fragments
//   2525        SMTP with STARTTLS: "250 sha256=..." of the message
//   3306        MySQL's greeting, and nothing more
//   50051       gRPC over TLS: /test.Echo/Stream, each message comes back; /test.Echo/Count sends messages of its own
//   8418        git's smart HTTP over TLS: git http-backend
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import grpc from '@grpc/grpc-js';
import { SMTPServer } from 'smtp-server';
import { WebSocketServer } from 'ws';
import { sendInFragments } from './ws.mjs';

const [address, pem, gitRoot, readyFile] = process.argv.slice(2);
const key = readFileSync(pem);
const tls = { key, cert: key };
const listen = (server, port) => new Promise((resolve, reject) => {
  (server.server ?? server).once('error', reject);
  server.listen(port, address, resolve);
});

function serveWebSockets(server) {
  new WebSocketServer({ server, perMessageDeflate: true, maxPayload: 1 << 26 }).on('connection', (socket) => {
    let turn = 0;
    socket.on('message', (data, binary) => {
      turn += 1;
      socket.ping(`ping ${turn}`);
      sendInFragments(socket, data, binary, turn);
    });
  });
  return server;
}

const smtp = new SMTPServer({
  ...tls,
  name: 'mail.example.org',
  banner: 'a banner of our own',
  authOptional: true,
  disableReverseLookup: true,
  onData(stream, _session, done) {
    const digest = createHash('sha256');
    stream.on('data', (data) => digest.update(data));
    stream.on('end', () => done(null, `sha256=${digest.digest('hex')}`));
  },
});

// Protocol 10, as a server of MySQL's family begins: version, thread, first part of the challenge, capabilities, the rest.
const greeting = Buffer.concat([
  Buffer.from('\x0a8.0.0-test\0', 'latin1'), Buffer.from([1, 0, 0, 0]), Buffer.from('abcdefgh\0', 'latin1'),
  Buffer.from([0xff, 0xf7, 0x21, 2, 0, 0xff, 0x81, 21]), Buffer.alloc(10), Buffer.from('ijklmnopqrst\0', 'latin1'),
  Buffer.from('mysql_native_password\0', 'latin1'),
]);
const mysql = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.write(Buffer.concat([Buffer.from([greeting.length, 0, 0, 0]), greeting]));
});

function serveGit(request, response) {
  const url = new URL(request.url, 'https://git');
  const backend = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: gitRoot,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
      REMOTE_USER: 'somebody',
      REMOTE_ADDR: request.socket.remoteAddress,
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      ...(request.headers['content-length'] ? { CONTENT_LENGTH: request.headers['content-length'] } : {}),
    },
  });
  backend.stdin.on('error', () => {});
  request.pipe(backend.stdin);
  let head = Buffer.alloc(0);
  const onHead = (data) => {
    head = Buffer.concat([head, data]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) {
      return;
    }
    backend.stdout.off('data', onHead);
    const fields = head.toString('latin1', 0, end).split('\r\n').map((line) => line.split(/:\s*/, 2));
    const status = fields.find(([name]) => name === 'Status');
    response.writeHead(status ? parseInt(status[1], 10) : 200, Object.fromEntries(fields.filter((f) => f !== status)));
    response.write(head.subarray(end + 4));
    backend.stdout.pipe(response);
  };
  backend.stdout.on('data', onHead);
}

const raw = { requestSerialize: (b) => b, requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b };
const rpc = new grpc.Server({ 'grpc.max_receive_message_length': -1 });
rpc.addService(
  {
    Stream: { path: '/test.Echo/Stream', requestStream: true, responseStream: true, ...raw },
    Count: { path: '/test.Echo/Count', requestStream: false, responseStream: true, ...raw },
  },
  {
    Stream(call) {
      call.on('data', (data) => call.write(data));
      call.on('end', () => call.end());
    },
    // Nobody reads ahead here: what HTTP/2's windows do not let out waits.
    Count(call) {
      const count = call.request.readUInt32BE();
      for (let i = 0; i < count; i += 1) {
        call.write(Buffer.alloc(1 + (i * 7919) % 20000, i));
      }
      call.end();
    },
  },
);

await Promise.all([
  listen(serveWebSockets(http.createServer()), 8001),
  listen(serveWebSockets(https.createServer(tls)), 8002),
  listen(smtp, 2525),
  listen(mysql, 3306),
  listen(https.createServer(tls, serveGit), 8418),
  new Promise((resolve, reject) => {
    const credentials = grpc.ServerCredentials.createSsl(null, [{ private_key: key, cert_chain: key }]);
    rpc.bindAsync(`${address}:50051`, credentials, (error) => (error ? reject(error) : resolve()));
  }),
]);
writeFileSync(`${readyFile}.new`, 'READY\n');
renameSync(`${readyFile}.new`, readyFile);
