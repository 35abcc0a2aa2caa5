// SPDX-License-Identifier: Apache-2.0
// The web server of clients.sh: HTTP on port 80, HTTPS on 443 of each ADDRESS.
//
//   node origin.mjs SERVER.PEM READY-FILE ADDRESS...
//
//   /hello      "hello"                             /seen     what came, as JSON: method, url, headers
//   /digest     of the body, and how it was framed  /chunks   chunked, see chunks()
//   /to-end     HTTP/1.0's way: up to the close     /redirect to https, /hello
//   /status/N   nothing but that                    /early    413 at once, the body unread
//   /refuse     417 to Expect: 100-continue         Upgrade: websocket is accepted, any other not
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { WebSocketServer } from 'ws';

const [pem, readyFile, ...addresses] = process.argv.slice(2);
const key = readFileSync(pem);

function* chunks() {
  for (let i = 0; i < 60; i += 1) {
    yield Buffer.alloc(i * 371 + 1, i);
  }
}

function sendJson(response, value) {
  const text = JSON.stringify(value);
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

function digest(request, response, expected) {
  const sum = createHash('sha256');
  const framing = request.headers['transfer-encoding'] ?? (request.headers['content-length'] ? 'length' : 'none');
  request.on('data', (data) => sum.update(data));
  request.on('end', () => sendJson(response, { sha256: sum.digest('hex'), framing, expected }));
}

function serve(request, response) {
  const { pathname } = new URL(request.url === '*' ? '/seen' : request.url, 'http://origin');
  const [, what, status] = pathname.split('/');
  switch (what) {
    case 'hello':
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 6 });
      response.end('hello\n');
      break;
    case 'seen':
      sendJson(response, { method: request.method, url: request.url, headers: request.headers });
      break;
    case 'digest':
      digest(request, response, false);
      break;
    case 'chunks':
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
      for (const chunk of chunks()) {
        response.write(chunk);
      }
      response.end();
      break;
    case 'to-end':
      request.socket.end(`HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n${'to the end '.repeat(9999)}`);
      break;
    case 'redirect':
      response.writeHead(302, { Location: 'https://web.example.org/hello', 'Content-Length': 0 });
      response.end();
      break;
    case 'status':
      response.writeHead(Number(status));
      response.end();
      break;
    case 'early':
      response.writeHead(413, { Connection: 'close', 'Content-Length': 0 });
      response.end();
      break;
    default:
      response.writeHead(404, { 'Content-Length': 0 });
      response.end();
  }
}

function equip(server) {
  const sockets = new WebSocketServer({ noServer: true });
  server.on('request', serve);
  server.on('checkContinue', (request, response) => {
    if (request.url === '/refuse') {
      response.writeHead(417, { Connection: 'close', 'Content-Length': 0 });
      response.end();
      return;
    }
    response.writeContinue();
    digest(request, response, true);
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    if (request.headers.upgrade.toLowerCase() === 'websocket') {
      sockets.handleUpgrade(request, socket, head, (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })));
    } else {
      socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhello\n');
    }
  });
  return server;
}

const listen = (server, port, address) => new Promise((resolve, reject) => {
  equip(server).once('error', reject).listen(port, address, resolve);
});
await Promise.all(addresses.flatMap((address) => [
  listen(http.createServer(), 80, address), listen(https.createServer({ key, cert: key }), 443, address),
]));
writeFileSync(`${readyFile}.new`, 'READY\n');
renameSync(`${readyFile}.new`, readyFile);
