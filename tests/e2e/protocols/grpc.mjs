// SPDX-License-Identifier: Apache-2.0
// A gRPC client of servers.mjs: a stream both ways with a silence in the middle, and beside it, in the same connection,
// a stream of the server's that is read slowly, so that HTTP/2's windows close and open. Knows CONNECT by itself.
//
//   node grpc.mjs SECONDS HOST:PORT CA.PEM
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';

const [seconds, target, ca] = process.argv.slice(2);
const raw = { requestSerialize: (b) => b, requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b };
const Client = grpc.makeGenericClientConstructor({
  Stream: { path: '/test.Echo/Stream', requestStream: true, responseStream: true, ...raw },
  Count: { path: '/test.Echo/Count', requestStream: false, responseStream: true, ...raw },
});
const client = new Client(target, grpc.credentials.createSsl(readFileSync(ca)), { 'grpc.max_receive_message_length': -1 });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function stream() {
  const call = client.Stream();
  const answers = call[Symbol.asyncIterator]();
  for (const size of [0, 1, 16_384, 16_385, 1_000_000, -1, 70_000]) {
    if (size < 0) {
      await pause(seconds * 1000);
      continue;
    }
    const data = Buffer.alloc(size, `${size} bytes `);
    call.write(data);
    const { value } = await answers.next();
    if (!value?.equals(data)) {
      throw new Error(`${size} bytes came back as ${value?.length}`);
    }
  }
  call.end();
  if (!(await answers.next()).done) {
    throw new Error('more answers than questions');
  }
}

async function count() {
  const wanted = 300;
  const request = Buffer.alloc(4);
  request.writeUInt32BE(wanted);
  let i = 0;
  for await (const data of client.Count(request)) {
    if (!data.equals(Buffer.alloc(1 + (i * 7919) % 20000, i))) {
      throw new Error(`message ${i} is another`);
    }
    i += 1;
    if (i % 50 === 0) {
      await pause(100);
    }
  }
  if (i !== wanted) {
    throw new Error(`${i} messages of ${wanted}`);
  }
}

await Promise.all([stream(), count()]);
client.close();
