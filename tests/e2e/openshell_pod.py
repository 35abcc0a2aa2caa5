#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The other ends of openshell_pod.sh. Standard library only.

  openshell_pod.py proxy ADDRESS PORT TO LOG     OpenShell's proxy as far as CONNECT goes: every target is written to
                                                 LOG and carried to the address TO, on the target's port
  openshell_pod.py hold NAME SECONDS             a native TLS WebSocket to NAME: "open", then silence for SECONDS and
                                                 until a line comes on stdin, then an echo, "alive"
  openshell_pod.py try PROTOCOL:ADDRESS:PORT...  "PROTOCOL:ADDRESS:PORT ECONNREFUSED" (EPERM where nft stops a datagram), or
                                                 "open" if a TCP connection is still there after a second of silence. All
                                                 at once.
"""
import asyncio
import concurrent.futures
import errno
import os
import socket
import ssl
import sys
import time

DEADLINE_S = 20


async def carry(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve_client(reader, writer, to, log):
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].decode("ascii").split(" ")
    print(method, target, file=log, flush=True)
    if method != "CONNECT":
        writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        return
    up_reader, up_writer = await asyncio.open_connection(to, int(target.rpartition(":")[2]))
    writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
    await asyncio.gather(carry(reader, up_writer), carry(up_reader, writer))
    up_writer.close()
    writer.close()


async def proxy(address, port, to, log_path):
    with open(log_path, "a", encoding="ascii") as log:
        server = await asyncio.start_server(lambda r, w: serve_client(r, w, to, log), address, int(port))
        print("READY", file=log, flush=True)
        await server.serve_forever()


def send_text(tls, text):
    mask = os.urandom(4)
    tls.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))


def expect(tls, wanted):
    got = b""
    while not got.endswith(wanted):
        data = tls.recv(4096)
        if not data:
            sys.exit(f"closed after {got!r}")
        got += data
    return got


def hold(name, seconds):
    context = ssl.create_default_context(cafile=os.environ["CA"])
    raw = socket.create_connection((name, 443), DEADLINE_S)
    with context.wrap_socket(raw, server_hostname=name) as tls:
        tls.sendall((f"GET /silent HTTP/1.1\r\nHost: {name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode("ascii"))
        if b" 101 " not in expect(tls, b"\r\n\r\n"):
            sys.exit("no WebSocket")
        since = time.monotonic()
        print("open", tls.getpeername()[0], flush=True)
        sys.stdin.readline()
        time.sleep(max(0.0, since + float(seconds) - time.monotonic()))
        send_text(tls, b"still here?")
        expect(tls, b"still here?")
        print("alive", flush=True)


def outcome_of(target):
    protocol, address, port = target.split(":")
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.settimeout(DEADLINE_S)
            sock.connect((address, int(port)))
            if protocol == "udp":
                sock.send(b"\0" * 32)
            sock.settimeout(1)
            return "answered" if sock.recv(64) else "closed"
        except socket.timeout:
            return "open"
        except OSError as error:
            return errno.errorcode[error.errno]


def try_all(*targets):
    with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
        for target, outcome in zip(targets, pool.map(outcome_of, targets)):
            print(target, outcome)


def main():
    command, *arguments = sys.argv[1:]
    if command == "proxy":
        asyncio.run(proxy(*arguments))
    else:
        {"hold": hold, "try": try_all}[command](*arguments)


if __name__ == "__main__":
    main()
