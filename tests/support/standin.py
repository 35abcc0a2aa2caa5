#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""standin.py: a stand-in of Discord and of the DNS that leads to it, for tests and for ./quickstart.

One process, Python 3.9 or newer, standard library only; the `openssl` command makes the certificates. It plays

  DNS        UDP and TCP on port 53: a small zone of well known names that all lead to this process;
             every query is written down, so that a test can prove that a name was never asked for
  REST       TLS: GET /api/v10/gateway, /gateway/bot and /users/@me as Discord answers them
  gateway    TLS WebSocket (RFC 6455 by hand, no compression): HELLO, IDENTIFY -> READY, RESUME -> RESUMED,
             HEARTBEAT -> ACK, RECONNECT; READY sends resumes to wss://gateway-us-east1.discord.gg
  silence    wss://ANY-NAME/silent: echoes text frames, and otherwise never says a word, not even a ping

usage: standin.py --dir DIR --address ADDR [--address ADDR]... [options]

  --dir DIR            everything it writes: ca.pem (trust this one), server.pem, queries.jsonl, requests.jsonl
  --address ADDR       serve here, DNS and TLS; IPv4 or IPv6, repeatable. The zone's "@4" and "@6" are the first of each
  --port PORT          TLS port, repeatable (443)
  --dns-port PORT      (53)
  --zone FILE          JSON of names laid over the built-in ones, see below
  --token TOKEN        the only bot token that is accepted (default: any)
  --heartbeat-ms N     heartbeat interval that HELLO asks for (41250)
  --reconnect-after N  ask each first session to reconnect after N heartbeats, so that the client resumes (never)
  --ready-fd N         write the line READY here once every socket is bound
  --ready-file FILE    create FILE then
  --outlive-parent     do not end when the process that started this one ends

It ends on SIGTERM, SIGINT and with its parent; 0 then, 1 if it cannot start (the reason is on stderr).

Zone: {"NAME": {"A": WHAT, "AAAA": WHAT, "CNAME": "NAME", "ttl": 60, "delay_ms": 0, "udp": "truncate"}, ...}
  WHAT is a list of addresses ("@4" and "@6" are ours) or one word: nodata (the same as leaving it out), nxdomain,
  servfail, refused, formerr, notimp or silent. "udp": "truncate" answers UDP with TC=1 and no record. "*.example.com"
  stands for every name one label below. A name of null takes a built-in one away. Names not there: NXDOMAIN.

queries.jsonl   {"name", "type", "transport", "server", "client"}, one line a query, written before it is answered
requests.jsonl  {"event": "http" | "websocket" | "hello" | "identify" | "ready" | "heartbeat" | "resume" | ..., "host", ...}
"""

import argparse
import asyncio
import base64
import ctypes
import hashlib
import ipaddress
import itertools
import json
import os
import re
import signal
import ssl
import struct
import subprocess
import sys

GATEWAY = "gateway.discord.gg"
RESUME_GATEWAY = "gateway-us-east1.discord.gg"
OURS = {"A": ["@4"]}  # an A-only name, as most of these are where the bug was reported
OURS_BOTH = {"A": ["@4"], "AAAA": ["@6"]}
BUILT_IN_ZONE = {
    "discord.com": OURS, GATEWAY: OURS, "*.discord.gg": OURS,
    "cdn.discordapp.com": OURS, "media.discordapp.net": OURS,
    "slack.com": OURS, "api.slack.com": OURS, "hooks.slack.com": OURS,
    "wss-primary.slack.com": OURS, "wss-backup.slack.com": OURS,
    "web.whatsapp.com": OURS_BOTH, "mmg.whatsapp.net": OURS_BOTH, "static.whatsapp.net": OURS_BOTH,
    "api.telegram.org": OURS_BOTH,
    "github.com": OURS, "api.github.com": OURS, "codeload.github.com": OURS,
    "example.com": OURS_BOTH, "www.example.com": OURS_BOTH,  # for policies that deny it: it would have worked
}  # fmt: skip

TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
         41: "OPT", 64: "SVCB", 65: "HTTPS", 255: "ANY"}  # fmt: skip
RCODES = {"noerror": 0, "formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}
EDNS_SIZE = 1232
HEAD_MAX = 16384
MESSAGE_MAX = 1 << 20


class Journal:
    """One JSON object a line, flushed at once: a reader never waits for a buffer."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1, encoding="utf-8")

    def write(self, **fields):
        self.file.write(json.dumps(fields) + "\n")


# --- DNS ---------------------------------------------------------------------------------------------------------


class DnsError(Exception):
    pass


def read_name(message, at):
    """A question's name: labels, no compression (there is nothing before it to point at)."""
    labels = []
    while True:
        if at >= len(message):
            raise DnsError("name runs off the end")
        length = message[at]
        at += 1
        if length == 0:
            return labels, at
        if length > 63 or at + length > len(message):
            raise DnsError("bad label")
        labels.append(message[at : at + length].decode("latin-1"))
        at += length


def write_name(name):
    out = b""
    for label in name.split("."):
        if label:
            out += bytes([len(label)]) + label.encode("latin-1")
    return out + b"\0"


class Zone:
    def __init__(self, names, addresses):
        ours = {"@4": next((a for a in addresses if a.version == 4), None),
                "@6": next((a for a in addresses if a.version == 6), None)}  # fmt: skip
        self.names = {}
        for name, entry in names.items():
            if entry is None:
                continue
            entry = dict(entry)
            for kind in ("A", "AAAA"):
                if isinstance(entry.get(kind), list):
                    found = [ours[a] if a in ours else ipaddress.ip_address(a) for a in entry[kind]]
                    entry[kind] = [a for a in found if a is not None]
                elif entry.get(kind, "nodata") not in ("nodata", "silent", *RCODES):
                    raise ValueError(f"zone: {name}: {kind}: unknown behaviour {entry[kind]!r}")
            self.names[name.lower().rstrip(".")] = entry

    def find(self, name):
        if name in self.names:
            return self.names[name]
        return self.names.get("*." + name.partition(".")[2])

    def is_parent(self, name):
        return any(known.endswith("." + name) for known in self.names)


class DnsServer:
    def __init__(self, zone, journal):
        self.zone = zone
        self.journal = journal

    async def answer(self, message, transport, server, client):
        """The answer to one query in wire format, or None where silence was asked for."""
        if len(message) < 12 or message[2] & 0x80:
            return None
        ident, flags, questions, _, _, extras = struct.unpack("!6H", message[:12])
        try:
            if flags & 0x7800:
                return self.header(ident, flags, "notimp")
            if questions != 1:
                raise DnsError("not one question")
            labels, at = read_name(message, 12)
            if at + 4 > len(message):
                raise DnsError("question runs off the end")
            qtype, qclass = struct.unpack("!HH", message[at : at + 4])
        except DnsError:
            return self.header(ident, flags, "formerr")
        question = message[12 : at + 4]
        opt = self.find_opt(message[at + 4 :]) if extras else None
        name = ".".join(labels).lower()
        self.journal.write(name=name, type=TYPES.get(qtype, f"TYPE{qtype}"), transport=transport,
                           server=server, client=client)  # fmt: skip
        if qclass != 1:
            return self.header(ident, flags, "refused", question, opt=opt)

        entry = self.zone.find(name)
        if entry and entry.get("delay_ms"):
            await asyncio.sleep(entry["delay_ms"] / 1000)
        if entry and entry.get("udp") == "truncate" and transport == "udp":
            return self.header(ident, flags, "noerror", question, opt=opt, truncated=True)
        rcode, records = self.look_up(name, TYPES.get(qtype))
        if rcode is None:
            return None
        is_negative = rcode == "nxdomain" or (rcode == "noerror" and qtype not in records[1])
        authority = self.soa(name) if is_negative else b""
        reply = self.header(ident, flags, rcode, question, records[0], len(records[1]), authority, opt)
        room = 65535 if transport == "tcp" else min(max(opt or 512, 512), EDNS_SIZE)
        if len(reply) > room:
            return self.header(ident, flags, "noerror", question, opt=opt, truncated=True)
        return reply

    def look_up(self, name, kind):
        """(rcode or None for silence, (record bytes, their types)); follows CNAMEs inside the zone."""
        out, kinds = b"", []
        for _ in range(9):
            entry = self.zone.find(name)
            if entry is None:
                return ("noerror" if kinds or self.zone.is_parent(name) else "nxdomain"), (out, kinds)
            ttl = entry.get("ttl", 60)
            if "CNAME" in entry:
                target = write_name(entry["CNAME"].lower())
                out += write_name(name) + struct.pack("!HHIH", 5, 1, ttl, len(target)) + target
                kinds.append(5)
                name = entry["CNAME"].lower().rstrip(".")
                if kind == "CNAME":
                    break
                continue
            what = entry.get(kind, "nodata") if kind in ("A", "AAAA") else "nodata"
            if what == "silent":
                return None, (b"", [])
            if isinstance(what, str):
                return ("noerror" if what == "nodata" else what), (out, kinds)
            for address in what:
                number = 1 if address.version == 4 else 28
                out += write_name(name) + struct.pack("!HHIH", number, 1, ttl, len(address.packed)) + address.packed
                kinds.append(number)
            break
        return "noerror", (out, kinds)

    @staticmethod
    def header(ident, flags, rcode, question=b"", answers=b"", count=0, authority=b"", opt=None, truncated=False):
        flags = 0x8400 | (flags & 0x0100) | 0x0080 | (0x0200 if truncated else 0) | RCODES[rcode]
        extra = b"" if opt is None else b"\0" + struct.pack("!HHIH", 41, EDNS_SIZE, 0, 0)
        counts = struct.pack("!6H", ident, flags, 1 if question else 0, count, 1 if authority else 0, 1 if extra else 0)
        return counts + question + answers + authority + extra

    @staticmethod
    def soa(name):
        owner = ".".join(name.split(".")[-2:])
        data = write_name("ns." + owner) + write_name("hostmaster." + owner) + struct.pack("!5I", 1, 3600, 600, 86400, 30)
        return write_name(owner) + struct.pack("!HHIH", 6, 1, 30, len(data)) + data

    @staticmethod
    def find_opt(rest):
        """The client's UDP size, if what follows the question begins with an OPT record, as a query's does."""
        if len(rest) >= 11 and rest[0] == 0 and struct.unpack("!H", rest[1:3])[0] == 41:
            return struct.unpack("!H", rest[3:5])[0]
        return None


class DnsUdp(asyncio.DatagramProtocol):
    def __init__(self, dns, address):
        self.dns, self.address = dns, address
        self.tasks = set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, message, client):
        task = asyncio.ensure_future(self.reply(message, client))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def reply(self, message, client):
        reply = await self.dns.answer(message, "udp", self.address, f"{client[0]}#{client[1]}")
        if reply:
            self.transport.sendto(reply, client)


async def serve_dns_tcp(dns, address, reader, writer):
    client = writer.get_extra_info("peername")
    try:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            message = await reader.readexactly(length)
            reply = await dns.answer(message, "tcp", address, f"{client[0]}#{client[1]}")
            if reply:
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


# --- WebSocket, the server's half of RFC 6455 ---------------------------------------------------------------------


class Closed(Exception):
    """The conversation is over; the close frame, if one is due, has been sent."""


class WebSocket:
    TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @staticmethod
    def accept_key(key):
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        return base64.b64encode(digest).decode()

    async def send(self, opcode, payload):
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
        self.writer.write(head + payload)
        await self.writer.drain()

    async def send_json(self, value):
        await self.send(self.TEXT, json.dumps(value).encode())

    async def close(self, code, why=""):
        await self.send(self.CLOSE, struct.pack("!H", code) + why.encode())
        raise Closed

    async def read_frame(self):
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if first & 0x70 or not second & 0x80:  # no extension was negotiated, and a client must mask
            await self.close(1002, "bad frame")
        if first & 0x08 and (size > 125 or not first & 0x80):
            await self.close(1002, "bad control frame")
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        if size > MESSAGE_MAX:
            await self.close(1009, "too long")
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        return bool(first & 0x80), first & 0x0F, bytes(b ^ m for b, m in zip(data, itertools.cycle(mask)))

    async def read(self):
        """The next whole message as (opcode, bytes); answers pings and closes on the way."""
        kind, parts = None, b""
        while True:
            final, opcode, data = await self.read_frame()
            if opcode == self.PING:
                await self.send(self.PONG, data)
            elif opcode == self.CLOSE:
                await self.send(self.CLOSE, data[:2])
                raise Closed
            elif opcode in (0, self.TEXT, self.BINARY):
                if (opcode == 0) != (kind is not None):
                    await self.close(1002, "bad continuation")
                kind, parts = kind or opcode, parts + data
                if len(parts) > MESSAGE_MAX:
                    await self.close(1009, "too long")
                if final:
                    return kind, parts
            elif opcode != self.PONG:
                await self.close(1002, "bad opcode")


# --- Discord -----------------------------------------------------------------------------------------------------

BOT = {"id": "1000000000000000001", "username": "standin", "discriminator": "0000", "global_name": None,
       "avatar": None, "bot": True, "mfa_enabled": False, "verified": True, "flags": 0}  # fmt: skip
SESSION_LIMIT = {"total": 1000, "remaining": 999, "reset_after": 86400000, "max_concurrency": 1}


class Gateway:
    """One gateway conversation: https://discord.com/developers/docs/events/gateway"""

    def __init__(self, standin, socket, host):
        self.standin, self.socket, self.host = standin, socket, host
        self.session = None
        self.heartbeats = 0

    def note(self, event, **fields):
        self.standin.requests.write(event=event, host=self.host, session=self.session, **fields)

    async def run(self):
        interval = self.standin.options.heartbeat_ms
        await self.socket.send_json({"op": 10, "s": None, "t": None, "d": {"heartbeat_interval": interval, "_trace": []}})
        self.note("hello")
        handlers = {1: self.on_heartbeat, 2: self.on_identify, 6: self.on_resume}
        while True:
            _, data = await self.socket.read()
            try:
                message = json.loads(data)
                handler = handlers.get(message["op"], self.on_other)
            except (ValueError, KeyError, TypeError):
                await self.socket.close(4002, "Error while decoding payload.")
            await handler(message)

    async def on_heartbeat(self, _message):
        await self.socket.send_json({"op": 11, "s": None, "t": None, "d": None})
        self.heartbeats += 1
        self.note("heartbeat")
        first = self.session and not self.standin.sessions.get(self.session)
        if first and self.heartbeats == self.standin.options.reconnect_after:
            self.standin.sessions[self.session] = True
            self.note("reconnect")
            await self.socket.send_json({"op": 7, "s": None, "t": None, "d": None})

    async def on_identify(self, message):
        data = message.get("d") or {}
        self.note("identify", properties=data.get("properties"), shard=data.get("shard"))
        if self.session:
            await self.socket.close(4005, "Already authenticated.")
        if not self.standin.is_token(data.get("token")):
            await self.socket.close(4004, "Authentication failed.")
        self.session = os.urandom(16).hex()
        self.standin.sessions[self.session] = False
        ready = {"v": 10, "user": BOT, "guilds": [], "session_id": self.session, "session_type": "normal",
                 "resume_gateway_url": "wss://" + RESUME_GATEWAY, "shard": data.get("shard") or [0, 1],
                 "application": {"id": BOT["id"], "flags": 0}, "private_channels": [], "presences": [],
                 "relationships": [], "user_settings": {}, "_trace": []}  # fmt: skip
        await self.socket.send_json({"op": 0, "s": 1, "t": "READY", "d": ready})
        self.note("ready")

    async def on_resume(self, message):
        data = message.get("d") or {}
        if not self.standin.is_token(data.get("token")):
            await self.socket.close(4004, "Authentication failed.")
        if data.get("session_id") not in self.standin.sessions:
            await self.socket.send_json({"op": 9, "s": None, "t": None, "d": False})
            return
        self.session = data["session_id"]
        self.note("resume")
        await self.socket.send_json({"op": 0, "s": (data.get("seq") or 0) + 1, "t": "RESUMED", "d": {"_trace": []}})

    async def on_other(self, message):
        if message["op"] not in (3, 4, 8):  # presence, voice state, guild members: nothing to answer
            await self.socket.close(4001, "Unknown opcode.")


class Standin:
    def __init__(self, options, requests):
        self.options = options
        self.requests = requests
        self.sessions = {}  # session id -> has been asked to reconnect
        self.conversations = set()

    def is_token(self, token):
        return bool(token) and self.options.token in (None, token)

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.conversations.add(task)
        try:
            while await self.serve_request(reader, writer):
                pass
        except (Closed, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.conversations.discard(task)
            writer.close()

    async def serve_request(self, reader, writer):
        """One request; true if the connection may carry another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        line = re.fullmatch(r"([A-Z]+) (/\S*) HTTP/1\.1", head[0])
        fields = dict((k.strip().lower(), v.strip()) for k, _, v in (h.partition(":") for h in head[1:] if h))
        if not line:
            await self.reply(writer, 400, {"message": "400: Bad Request", "code": 0}, False)
            return False
        method, path = line.group(1), line.group(2).partition("?")[0]
        length = fields.get("content-length", "0")
        await reader.readexactly(min(int(length), MESSAGE_MAX) if length.isdigit() else 0)
        host = fields.get("host", "").partition(":")[0].lower()
        is_upgrade = fields.get("upgrade", "").lower() == "websocket"
        peer, local = (writer.get_extra_info(end) for end in ("peername", "sockname"))
        self.requests.write(event="websocket" if is_upgrade else "http", host=host, method=method, path=path,
                            peer=f"{peer[0]}#{peer[1]}", local=f"{local[0]}#{local[1]}")  # fmt: skip
        if is_upgrade:
            await self.upgrade(reader, writer, fields, host, path)
            return False
        keep = fields.get("connection", "").lower() != "close"
        await self.reply(writer, *self.route(method, path, host, fields), keep, method == "HEAD")
        return keep

    def route(self, method, path, host, fields):
        api = re.fullmatch(r"/api(?:/v\d+)?(/.*)", path)
        if host != "discord.com" or not api:
            return 200, {"standin": True, "host": host, "method": method, "path": path}
        if method != "GET":
            return 405, {"message": "405: Method Not Allowed", "code": 0}
        if api.group(1) == "/gateway":
            return 200, {"url": "wss://" + GATEWAY}
        scheme, _, token = fields.get("authorization", "").partition(" ")
        if scheme != "Bot" or not self.is_token(token):
            return 401, {"message": "401: Unauthorized", "code": 0}
        if api.group(1) == "/gateway/bot":
            return 200, {"url": "wss://" + GATEWAY, "shards": 1, "session_start_limit": SESSION_LIMIT}
        if api.group(1) == "/users/@me":
            return 200, BOT
        return 404, {"message": "404: Not Found", "code": 0}

    @staticmethod
    async def reply(writer, status, body, keep, is_head=False):
        data = json.dumps(body).encode()
        reason = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
        head = (f"HTTP/1.1 {status} {reason[status]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n")  # fmt: skip
        writer.write(head.encode() + (b"" if is_head else data))
        await writer.drain()

    async def upgrade(self, reader, writer, fields, host, path):
        key = fields.get("sec-websocket-key", "")
        if fields.get("sec-websocket-version") != "13" or not key:
            await self.reply(writer, 400, {"message": "400: Bad Request", "code": 0}, False)
            return
        writer.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Accept: {WebSocket.accept_key(key)}\r\n\r\n").encode())  # fmt: skip
        await writer.drain()
        socket = WebSocket(reader, writer)
        if path == "/silent":
            while True:
                kind, data = await socket.read()
                await socket.send(kind, data)
        await Gateway(self, socket, host).run()


# --- Certificates, start and end ---------------------------------------------------------------------------------


def make_certificates(directory, names):
    """ca.pem, and server.pem (key and certificate) with every name of the zone. Good for a month."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip

    with open(os.path.join(directory, "openssl.cnf"), "w", encoding="ascii") as file:
        file.write("[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=openshell-egress stand-in\n"
                   "[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
                   "subjectKeyIdentifier=hash\n"
                   "[server]\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
                   "keyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n"
                   "authorityKeyIdentifier=keyid\nsubjectAltName=" + ",".join("DNS:" + n for n in names) + "\n")  # fmt: skip
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "openssl.cnf")
    openssl("req", "-x509", *new_key, "-days", "30", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=openshell-egress stand-in CA")  # fmt: skip
    openssl("req", "-new", *new_key, "-keyout", "server.key", "-out", "server.csr")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial",
            "0x" + os.urandom(8).hex(), "-days", "30", "-extfile", "openssl.cnf", "-extensions", "server",
            "-out", "server.crt")  # fmt: skip
    with open(os.path.join(directory, "server.pem"), "wb") as out:
        for part in ("server.key", "server.crt"):
            with open(os.path.join(directory, part), "rb") as file:
                out.write(file.read())
    for part in ("ca.key", "server.key", "server.csr", "server.crt", "openssl.cnf"):
        os.unlink(os.path.join(directory, part))
    os.chmod(os.path.join(directory, "server.pem"), 0o600)
    os.chmod(os.path.join(directory, "ca.pem"), 0o644)


def end_with_parent(parent):
    """PR_SET_PDEATHSIG = 1; asked again afterwards, because the parent may have ended in between."""
    if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0) != 0 or os.getppid() != parent:
        sys.exit("standin.py: the parent is gone")


def tell_ready(options):
    if options.ready_fd is not None:
        os.write(options.ready_fd, b"READY\n")
        os.close(options.ready_fd)
    if options.ready_file:
        with open(options.ready_file + ".new", "w", encoding="ascii") as file:
            file.write("READY\n")
        os.rename(options.ready_file + ".new", options.ready_file)


async def serve(options):
    names = dict(BUILT_IN_ZONE)
    if options.zone:
        with open(options.zone, encoding="utf-8") as file:
            names.update(json.load(file))
    zone = Zone(names, [ipaddress.ip_address(a) for a in options.address])
    make_certificates(options.dir, sorted(zone.names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(options.dir, "server.pem"))
    context.set_alpn_protocols(["http/1.1"])

    loop = asyncio.get_running_loop()
    dns = DnsServer(zone, Journal(os.path.join(options.dir, "queries.jsonl")))
    standin = Standin(options, Journal(os.path.join(options.dir, "requests.jsonl")))
    for address in options.address:
        at = (address, options.dns_port)
        try:
            await loop.create_datagram_endpoint(lambda a=address: DnsUdp(dns, a), local_addr=at)
            await asyncio.start_server(lambda r, w, a=address: serve_dns_tcp(dns, a, r, w), *at)
            for port in options.port or [443]:
                await asyncio.start_server(standin.serve, address, port, ssl=context, limit=HEAD_MAX)
        except OSError as error:
            raise OSError(f"{address}: {error}") from error

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tell_ready(options)
    await stop.wait()
    for task in list(standin.conversations):
        task.cancel()


def main():
    parser = argparse.ArgumentParser(description="A stand-in of Discord and of the DNS that leads to it",
                                     epilog="The head of this file describes everything.")  # fmt: skip
    parser.add_argument("--dir", required=True)
    parser.add_argument("--address", action="append", required=True)
    parser.add_argument("--port", action="append", type=int)
    parser.add_argument("--dns-port", type=int, default=53)
    parser.add_argument("--zone")
    parser.add_argument("--token")
    parser.add_argument("--heartbeat-ms", type=int, default=41250)
    parser.add_argument("--reconnect-after", type=int)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--ready-file")
    parser.add_argument("--outlive-parent", action="store_true")
    options = parser.parse_args()
    if not options.outlive_parent:
        end_with_parent(os.getppid())
    try:
        os.makedirs(options.dir, exist_ok=True)
        asyncio.run(serve(options))
    except (OSError, ValueError, AttributeError) as error:
        sys.exit(f"standin.py: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"standin.py: {' '.join(error.cmd[:2])}: {error.stderr.decode(errors='replace').strip()}")


if __name__ == "__main__":
    main()
