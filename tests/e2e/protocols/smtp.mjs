// SPDX-License-Identifier: Apache-2.0
// nodemailer sends two messages over one connection, a silence between them; STARTTLS is a must. Knows CONNECT by itself.
//
//   node smtp.mjs captured|connect SECONDS HOST PORT CA.PEM
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const [way, seconds, host, port, ca] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host, port: Number(port), pool: true, maxConnections: 1, requireTLS: true,
  tls: { ca: readFileSync(ca) },
  ...(way === 'connect' ? { proxy: process.env.HTTPS_PROXY } : {}),
});

async function send(lines) {
  // Lines that begin with a dot are what SMTP itself has to double.
  const raw = Buffer.from(`Subject: ${lines} lines\r\n\r\n${'.a line that begins with a dot\r\n..\r\n'.repeat(lines)}`);
  const { response } = await transport.sendMail({ envelope: { from: 'a@example.org', to: 'b@example.org' }, raw });
  const wanted = `sha256=${createHash('sha256').update(raw).digest('hex')}`;
  if (!response.includes(wanted)) {
    throw new Error(`${lines} lines: ${response} instead of ${wanted}`);
  }
}

await send(20_000);
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
await send(1);
transport.close();
