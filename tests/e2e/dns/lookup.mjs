// SPDX-License-Identifier: Apache-2.0
// node for tests/e2e/dns_clients.py; lookup.c says what is read and printed. "lookup" as the argument asks the C library
// (dns.lookup), "resolve" asks c-ares (dns.resolve4 and its like).
import { promises as dns } from 'node:dns';
import { createInterface } from 'node:readline';

const NO_SUCH = ['ENOTFOUND', 'ENODATA'];
const AGAIN = ['EAI_AGAIN', 'ESERVFAIL'];
const FAMILIES = { any: 0, v4: 4, v6: 6 };

async function lookup(operation, argument) {
  if (operation === 'ptr') {
    return [(await dns.lookupService(argument, 443)).hostname];
  }
  return (await dns.lookup(argument, { all: true, family: FAMILIES[operation] })).map(({ address }) => address);
}

// c-ares has no "any" family by itself: like most of its users, ask for both and take what there is.
async function resolve(operation, argument) {
  if (operation === 'any') {
    const both = await Promise.allSettled([dns.resolve4(argument), dns.resolve6(argument)]);
    const found = both.flatMap((one) => one.value ?? []);
    const failed = both.find((one) => one.reason && !NO_SUCH.includes(one.reason.code)) ?? both[0];
    if (found.length === 0) {
      throw failed.reason;
    }
    return found;
  }
  const types = { v4: 'A', v6: 'AAAA', type15: 'MX', type16: 'TXT', type33: 'SRV', type255: 'ANY', type6: 'SOA' };
  if (operation === 'ptr') {
    return await dns.reverse(argument);
  }
  return [await dns.resolve(argument, types[operation])].flat().map((one) => JSON.stringify(one).replaceAll(' ', '_'));
}

async function once(operation, argument) {
  const way = process.argv[2] === 'lookup' ? lookup : resolve;
  return await way(operation, argument).then(
    (answer) => ['ok', answer.map((one) => one.replaceAll('"', ''))],
    ({ code }) => [NO_SUCH.includes(code) ? 'nosuch' : AGAIN.includes(code) ? 'again' : code, []],
  );
}

async function run(line) {
  const [row, operation, argument] = line.split(' ');
  const start = performance.now();
  let [verdict, answer] = await once(operation, argument);
  const first = performance.now() - start;
  let best = first;
  for (let i = 1; i < 3 && performance.now() - start < 1000; i++) {
    const again = performance.now();
    const [more] = await once(operation, argument);
    best = Math.min(best, performance.now() - again);
    verdict = verdict === more ? verdict : 'mixed';
  }
  console.log([row, verdict, first.toFixed(1), best.toFixed(1), ...answer].join(' '));
}

for await (const line of createInterface({ input: process.stdin })) {
  run(line);
}
