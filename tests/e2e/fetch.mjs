// SPDX-License-Identifier: Apache-2.0
// node's own fetch with the proxy variables honoured, by undici's EnvHttpProxyAgent. Prints the status, the JSON, and
// while the connection is still kept alive one "remote ADDR PORT" line for each connection of the namespace.
import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';
import { remotes } from './remotes.mjs';

setGlobalDispatcher(new EnvHttpProxyAgent());
const answer = await fetch(process.argv[2], { signal: AbortSignal.timeout(10_000) });
console.log(`status ${answer.status}`);
console.log(JSON.stringify(await answer.json()));
remotes().forEach((remote) => console.log(`remote ${remote}`));
process.exit(0);
