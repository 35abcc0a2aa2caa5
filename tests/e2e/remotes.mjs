// SPDX-License-Identifier: Apache-2.0
// The remote ends of every established TCP connection of this network namespace, as "ADDR PORT" with IPv6 in full hex.
// Inside the fence that is the proof of which way a client went: to the proxy, or to a captured address.
import { existsSync, readFileSync } from 'node:fs';

// The kernel prints addresses as 32-bit words of the machine's own byte order: little-endian wherever node runs.
function readAddress(hex) {
  const bytes = hex.match(/.{8}/g).flatMap((word) => word.match(/../g).reverse());
  return bytes.length === 4 ? bytes.map((byte) => parseInt(byte, 16)).join('.') : bytes.join('').toLowerCase();
}

export function remotes() {
  const found = [];
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6'].filter(existsSync)) {
    for (const line of readFileSync(table, 'ascii').trim().split('\n').slice(1)) {
      const [, , remote, state] = line.trim().split(/\s+/);
      if (state === '01') {
        const [address, port] = remote.split(':');
        found.push(`${readAddress(address)} ${parseInt(port, 16)}`);
      }
    }
  }
  return found;
}
