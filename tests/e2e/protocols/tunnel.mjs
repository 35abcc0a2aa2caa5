// SPDX-License-Identifier: Apache-2.0
// The socket of a CONNECT tunnel through HTTPS_PROXY, for clients that lay their own protocol on top of one.
import http from 'node:http';

export function openTunnel(host, port) {
  const proxy = new URL(process.env.HTTPS_PROXY);
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: `${host}:${port}`, agent: false,
    });
    request.on('connect', (response, socket, head) => {
      if (response.statusCode !== 200) {
        reject(new Error(`CONNECT: ${response.statusCode}`));
        return;
      }
      if (head.length > 0) {
        socket.unshift(head);
      }
      resolve(socket);
    });
    request.on('error', reject);
    request.end();
  });
}
