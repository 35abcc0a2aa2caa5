#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// node's answer to what probe.c asks the C libraries: "NAME ADDRESS..." or "NAME ECODE" and the milliseconds it took,
// three times each.
import { lookup } from 'node:dns/promises';

for (const name of process.argv.slice(3).flatMap((one) => [one, one, one])) {
  const start = performance.now();
  const said = await lookup(name, { all: true }).then(
    (found) => found.map(({ address }) => address).join(' '),
    (error) => error.code,
  );
  console.log(`${name} ${said} ${(performance.now() - start).toFixed(1)} ms`);
}
