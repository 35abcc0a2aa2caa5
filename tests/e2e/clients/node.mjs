// SPDX-License-Identifier: Apache-2.0
// node.mjs fetch|http: the cases of clients.sh. "fetch" is undici's with its agent for the proxy variables, which takes
// CONNECT for http: too; "http" is node's own module, which knows no proxy: it is told what to send, as programs do.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { EnvHttpProxyAgent, fetch } from 'undici';
import WebSocket from 'ws';
import { openTunnel } from '../protocols/tunnel.mjs';

const [web, secure, denied] = ['http://web.example.org', 'https://web.example.org', 'www.example.com'];
const proxy = new URL(process.env.HTTPS_PROXY);
const blob = readFileSync(process.env.BLOB);
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

async function* pieces() {
  for (let at = 0; at < blob.length; at += 50_000) {
    yield blob.subarray(at, at + 50_000);
  }
}

// Each client: get(url, body) gives { status, body }; the body is bytes, or an iterable of them for a chunked upload.
const fetchClient = () => {
  const dispatcher = new EnvHttpProxyAgent({ connections: 1 });
  return {
    viaForward: false,
    async get(url, body) {
      const options = body === undefined ? {} : { method: 'POST', body, duplex: 'half' };
      const answer = await fetch(url, { dispatcher, signal: AbortSignal.timeout(60_000), ...options });
      return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
    },
  };
};

async function connectionTo(url) {
  const socket = await openTunnel(url.hostname, url.port || 443);
  return tls.connect({ socket, servername: url.hostname });
}

const httpClient = () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  return {
    viaForward: true,
    async get(address, body) {
      const url = new URL(address);
      const isDirect = process.env.NO_PROXY.split(',').includes(url.hostname);
      const method = body === undefined ? 'GET' : 'POST';
      let request;
      if (isDirect) {
        request = (url.protocol === 'https:' ? https : http).request(url, { method });
      } else if (url.protocol === 'https:') {
        const socket = await connectionTo(url);
        request = https.request(url, { method, agent: false, createConnection: () => socket });
      } else {
        request = http.request({
          agent, method, host: proxy.hostname, port: proxy.port, path: url.href, headers: { Host: url.host },
        });
      }
      const answer = new Promise((resolve, reject) => request.once('error', reject).once('response', resolve));
      if (body === undefined || Buffer.isBuffer(body)) {
        request.end(body);
      } else {
        for await (const piece of body) {
          request.write(piece);
        }
        request.end();
      }
      const response = await answer;
      const parts = [];
      for await (const part of response) {
        parts.push(part);
      }
      const { location } = response.headers;
      return location ? this.get(location) : { status: response.statusCode, body: Buffer.concat(parts) };
    },
  };
};

const cases = {
  async forward(client) {
    const { body } = await client.get(`${web}/seen?a=b`);
    const seen = JSON.parse(body);
    check('/seen?a=b web.example.org', `${seen.url} ${seen.headers.host}`);
    check(client.viaForward, seen.headers.via?.startsWith('1.1 ') ?? false);
  },
  async connect(client) {
    check('200 hello\n', text(await client.get(`${secure}/hello`)));
  },
  async post(client) {
    check(`${sha256(blob)} length`, framed(await client.get(`${web}/digest`, blob)));
  },
  async https_post(client) {
    check(`${sha256(blob)} length`, framed(await client.get(`${secure}/digest`, blob)));
  },
  async chunked_up(client) {
    check(`${sha256(blob)} chunked`, framed(await client.get(`${web}/digest`, pieces())));
  },
  async chunked_down(client) {
    check(process.env.CHUNKS, sha256((await client.get(`${web}/chunks`)).body));
  },
  async to_the_end(client) {
    check('to the end '.repeat(9999), (await client.get(`${web}/to-end`)).body.toString());
  },
  async redirect(client) {
    check('200 hello\n', text(await client.get(`${web}/redirect`)));
  },
  async denied_http(client) {
    if (client.viaForward) {
      const { status, body } = await client.get(`http://${denied}/`);
      check('403 policy_denied', `${status} ${JSON.parse(body).error}`);
    } else {
      await refused(client.get(`http://${denied}/`));
    }
  },
  async denied_https(client) {
    await refused(client.get(`https://${denied}/`));
  },
  async no_proxy(client) {
    check('200 hello\n', text(await client.get('http://direct.example.org/hello')));
    check('200 hello\n', text(await client.get('https://direct.example.org/hello')));
  },
  async keep_alive(client) {
    for (let i = 0; i < 3; i += 1) {
      check('200 hello\n', text(await client.get('http://keep.example.org/hello')));
    }
  },
  // The ws package, its request made one for a proxy: Upgrade through the forward machine, not CONNECT.
  async upgrade(client) {
    if (!client.viaForward) {
      return false;
    }
    const socket = new WebSocket('ws://web.example.org/socket', {
      createConnection: () => net.connect(proxy.port, proxy.hostname),
      finishRequest(request) {
        request.path = `${web}/socket`;
        request.end();
      },
    });
    const heard = [];
    await new Promise((resolve, reject) => {
      socket.once('open', () => [1, 70_000, 300_000].forEach((size) => socket.send(Buffer.alloc(size, size % 251))));
      socket.on('error', reject);
      socket.on('message', (data) => {
        heard.push(sha256(data));
        if (heard.length === 3) {
          socket.close();
        }
      });
      socket.once('close', resolve);
    });
    check([1, 70_000, 300_000].map((size) => sha256(Buffer.alloc(size, size % 251))).join(), heard.join());
    return true;
  },
};

function check(wanted, got) {
  if (wanted !== got) {
    throw new Error(`'${got}' instead of '${wanted}'`);
  }
}

function text({ status, body }) {
  return `${status} ${body}`;
}

function framed({ body }) {
  const { sha256: sum, framing } = JSON.parse(body);
  return `${sum} ${framing}`;
}

const words = (error) => (error ? `${error.message} ${words(error.cause)}` : '');

// What a program gets to read of a tunnel that was refused: the status must be among it.
async function refused(promise) {
  const error = await promise.then(() => new Error('there was an answer'), (e) => e);
  if (!/403/.test(words(error))) {
    throw error;
  }
}

const client = { fetch: fetchClient, http: httpClient }[process.argv[2]]();
for (const [name, run] of Object.entries(cases)) {
  try {
    if (await run(client) !== false) {
      console.log(`ok ${name}`);
    }
  } catch (error) {
    console.log(`FAIL ${name}: ${words(error)}`);
  }
}
process.exit(0);
