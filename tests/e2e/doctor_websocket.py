#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""doctor_websocket.py ADDRESS CERTIFICATE READY-FILE: WebSocket servers (ws at port 80, wss at 443) that behave by path.

  /         answers pings                      /refuse   answers the upgrade with 426
  /chatty   HELLO with the head, pings, long   /moved    with 301
            messages; wants its pings answered /accept   with a wrong Sec-WebSocket-Accept
  /cut      resets after 2 s                   /foreign  with another protocol
  /fin      closes the connection after 2 s    /mute     not at all
  /close    sends a close frame, 4009          /deaf     upgrades, and never answers a ping
  /masked   sends a masked frame              /parrot   answers a ping with another pong

Strict about what a client has to do: RFC 6455's request, masked frames. A client that does not is sent a close frame, 4400.
"""

import base64
import hashlib
import re
import socket
import ssl
import struct
import sys
import threading
import time

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Gone(Exception):
    pass


def frame(opcode, payload, mask=False):
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, bit | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, bit | 127, size)
    return head + (b"\0\0\0\0" if mask else b"") + payload


class Conversation:
    def __init__(self, sock):
        self.sock = sock
        self.ahead = b""

    def take(self, size):
        while len(self.ahead) < size:
            more = self.sock.recv(4096)
            if not more:
                raise Gone
            self.ahead += more
        taken, self.ahead = self.ahead[:size], self.ahead[size:]
        return taken

    def read_head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
            if not b"GET ".startswith(head[:4]) or len(head) > 8192:
                self.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                raise Gone
        return head.decode("latin-1").split("\r\n")

    def read_frame(self):
        first, second = self.take(2)
        size = second & 0x7F
        if not second & 0x80 or not first & 0x80 or size > 125:
            self.sock.sendall(frame(CLOSE, struct.pack("!H", 4400) + b"no frame of a client"))
            raise Gone
        mask = self.take(4)
        return first & 0x0F, bytes(b ^ mask[i % 4] for i, b in enumerate(self.take(size)))

    def answer_pings(self):
        while True:
            opcode, payload = self.read_frame()
            if opcode == PING:
                self.sock.sendall(frame(PONG, b"unasked") + frame(PONG, payload))
            elif opcode == CLOSE:
                self.sock.sendall(frame(CLOSE, payload))
                return

    def chat(self):
        for i in range(3):
            time.sleep(0.3)
            asked = b"are you there %d" % i
            part = frame(TEXT, b"x" * 70000)
            # A message in two parts with a ping between them, as RFC 6455 5.4 allows.
            self.sock.sendall(bytes([part[0] & 0x7F]) + part[1:] + frame(PING, asked) + frame(0, b"and its end"))
            if self.read_frame() != (PONG, asked):
                self.sock.sendall(frame(CLOSE, struct.pack("!H", 4400) + b"no pong"))
                raise Gone
        self.answer_pings()

    def serve(self):
        head = self.read_head()
        path = re.fullmatch(r"GET (/[!-~]*) HTTP/1\.1", head[0]).group(1).partition("?")[0]
        fields = dict((k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in head[1:] if line))
        key = fields.get("sec-websocket-key", "")
        is_good = (fields.get("upgrade") == "websocket" and fields.get("connection") == "Upgrade"
                   and fields.get("sec-websocket-version") == "13" and fields.get("host") == "ws.example.com"
                   and len(base64.b64decode(key, validate=True)) == 16)  # fmt: skip
        refusals = {"/refuse": b"426 Upgrade Required", "/moved": b"301 Moved Permanently"}
        if path == "/mute":
            self.take(1)
        if path == "/foreign":
            self.sock.sendall(b"SSH-2.0-standin\r\n")
            return
        if path in refusals or not is_good:
            status = refusals.get(path, b"400 Bad Request")
            self.sock.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        if path == "/accept":
            accept = base64.b64encode(hashlib.sha1(GUID.encode()).digest()).decode()
        answer = (f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n"
                  f"Sec-WebSocket-Accept: {accept}\r\n\r\n")  # fmt: skip
        greeting = {"/chatty": frame(TEXT, b'{"op":10}'), "/masked": frame(TEXT, b"hello", mask=True)}
        self.sock.sendall(answer.encode() + greeting.get(path, b""))
        self.act(path)

    def act(self, path):
        if path == "/cut":
            time.sleep(2)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif path == "/fin":
            time.sleep(2)
        elif path == "/close":
            time.sleep(1)
            self.sock.sendall(frame(CLOSE, struct.pack("!H", 4009) + b"Session timed out."))
            self.read_frame()
        elif path == "/parrot":
            self.read_frame()
            time.sleep(0.05)
            self.sock.sendall(frame(PONG, b"unasked"))
            while self.take(1):
                pass
        elif path == "/deaf":
            while self.take(1):
                pass
        elif path == "/chatty":
            self.chat()
        else:
            self.answer_pings()


def converse(sock, context):
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        Conversation(sock).serve()
    except (Gone, OSError, AttributeError, ValueError):
        pass
    finally:
        sock.close()


def listen(address, port, context):
    server = socket.create_server((address, port), backlog=64)

    def accept():
        while True:
            threading.Thread(target=converse, args=(server.accept()[0], context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def main():
    address, certificate, ready = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listen(address, 80, None)
    listen(address, 443, context)
    with open(ready, "w", encoding="ascii"):
        pass
    threading.Event().wait()


if __name__ == "__main__":
    main()
