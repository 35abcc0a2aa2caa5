# SPDX-License-Identifier: Apache-2.0
"""dial.py HOST CA: asyncio's own streams, with TLS: two requests on one connection, with a pause between them."""
import asyncio
import ssl
import sys


async def main(host, ca):
    context = ssl.create_default_context(cafile=ca)
    reader, writer = await asyncio.open_connection(host, 443, ssl=context)
    for _ in range(2):
        writer.write(b"GET /hello HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        body = await reader.readexactly(6)
        assert body == b"hello\n", body
        await asyncio.sleep(0.3)
    writer.close()
    await writer.wait_closed()


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
