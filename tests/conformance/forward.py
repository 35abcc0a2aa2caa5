# SPDX-License-Identifier: Apache-2.0
"""http:// URLs through openshell-tunneld: a scripted server behind it, raw sockets and real clients before it.

In a network namespace of its own. Arguments choose tests by name.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import lab
from lab import Daemon, read_exactly, read_head, read_to_end

ADDR4, OWN4 = "45.33.32.1", "45.33.32.2"
WEB, CLOSED, OWN, CHAIN = 8001, 8002, 8003, 8004
MIB = 1 << 20
ZONE = {
    ("web.example.org", 1): [ADDR4],
    ("rest.example.org", 1): [ADDR4],
    ("self.example.org", 1): [OWN4],
    ("loop.example.org", 1): ["127.0.0.1"],
    ("servfail.example.org", 1): 2,
    ("servfail.example.org", 28): 2,
}
POLICY = "version: 1\nnetwork_policies:\n  web: " + json.dumps(dict(
    name="web", binaries=[dict(path="/**")],
    endpoints=[dict(host=h, ports=[WEB, CLOSED, OWN]) for h in ("web.example.org", "self.example.org",
                                                                "loop.example.org", "servfail.example.org")] +
    [dict(host="rest.example.org", port=WEB, protocol="rest", enforcement="enforce",
          rules=[dict(allow=dict(method="GET", path="/public/**"))])])) + "\n"
EMPTY = POLICY.replace("web.example.org", "gone.example.org")


def url(path, host="web.example.org", port=WEB):
    return "http://%s:%d%s" % (host, port, path)


def ask(path, *fields, method="GET", body=b"", version="HTTP/1.1", **where):
    lines = ["%s %s %s" % (method, url(path, **where), version), "Host: ignored.example"] + list(fields)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Response:
    """One answer, its body by its own framing."""

    def __init__(self, sock, to_head=False):
        self.head = read_head(sock)
        lines = self.head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = {}
        for line in lines[1:]:
            if line:
                name, value = line.split(": ", 1)
                assert name not in self.fields or name in ("Via", "Set-Cookie"), self.head
                self.fields[name] = value
        if to_head or self.status < 200 or self.status in (204, 304):
            self.body = b""
        elif "Transfer-Encoding" in self.fields:
            assert "Content-Length" not in self.fields, self.head
            self.body = read_chunks(sock)
        elif "Content-Length" in self.fields:
            self.body = read_exactly(sock, int(self.fields["Content-Length"]))
        else:
            assert self.fields["Connection"] == "close", self.head
            self.body = read_to_end(sock)

    def error(self):
        assert "openshell-tunneld; error=" in self.fields["Proxy-Status"], self.head
        return json.loads(self.body)["error"]


def read_line(sock):
    line = b""
    while not line.endswith(b"\r\n"):
        byte = sock.recv(1)
        assert byte, "ended inside a line: %r" % line
        line += byte
    return line[:-2]


def read_chunks(sock):
    body = b""
    while True:
        size = int(read_line(sock).split(b";")[0], 16)
        if size == 0:
            while read_line(sock):
                pass
            return body
        body += read_exactly(sock, size)
        assert read_line(sock) == b""


class Origin:
    """A server whose behaviour the path chooses: /raw/N answers exactly script N and ends the connection, whatever
    the request; the others are methods. What it was sent is kept by path."""

    def __init__(self):
        self.seen, self.scripts, self.ended = {}, {}, {}
        self.news = threading.Condition()
        self.go = threading.Event()
        self.resting = []

    def script(self, raw):
        path = "/raw/%d" % len(self.scripts)
        self.scripts[path] = raw
        return path

    def note(self, table, path, what):
        with self.news:
            table.setdefault(path, []).append(what)
            self.news.notify_all()

    def wait(self, table, path, count=1):
        with self.news:
            assert self.news.wait_for(lambda: len(table.get(path, [])) >= count, lab.GIVE_UP_S), path
            return table[path]

    def handle(self, sock):
        head = read_head(sock)
        path = head.split(b" ")[1].split(b"?")[0].decode()
        self.note(self.seen, path, head)
        if path in self.scripts:
            sock.sendall(self.scripts[path])
            return
        try:
            getattr(self, "do_" + path.split("/")[1])(sock, head)
        finally:
            self.note(self.ended, path, time.monotonic())

    @staticmethod
    def body_of(sock, head):
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        if b"\r\nTransfer-Encoding: chunked\r\n" in head:
            return read_chunks(sock)
        return read_exactly(sock, int(length.group(1))) if length else b""

    @staticmethod
    def answer(sock, body, fields=b""):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(body), fields) + body)

    def do_head(self, sock, head):
        """What the server was sent, as the body."""
        self.answer(sock, head)

    def do_path(self, sock, head):
        self.answer(sock, head.split(b" ")[1])
        sock.recv(1)  # keeps the connection open: the answer ends by its length

    def do_digest(self, sock, head):
        self.answer(sock, hashlib.sha256(self.body_of(sock, head)).digest())

    def do_echo(self, sock, head):
        self.answer(sock, self.body_of(sock, head))

    def do_continue(self, sock, head):
        assert b"\r\nExpect: 100-continue\r\n" in head
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        self.answer(sock, self.body_of(sock, head))

    def do_chunks(self, sock, head):
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        for i in range(50):
            piece = lab.pattern(i * 37 + 1, i)
            sock.sendall(b"%x;n=%d\r\n" % (len(piece), i) + piece + b"\r\n")
        sock.sendall(b"0\r\nX-Sum: 1\r\n\r\n")

    def do_big(self, sock, head):
        sock.sendall(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + lab.pattern(8 * MIB, 5))

    def do_hang(self, sock, head):
        sock.recv(1)

    def do_half(self, sock, head):
        """Half an answer, then silence."""
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        sock.recv(1)

    def do_wait(self, sock, head):
        assert self.go.wait(lab.GIVE_UP_S)
        self.answer(sock, b"late")

    def do_stall(self, sock, head):
        """Reads no body until told."""
        assert self.go.wait(60)
        self.answer(sock, hashlib.sha256(self.body_of(sock, head)).digest())

    def do_early(self, sock, head):
        """Refuses an upload without reading it, and resets."""
        sock.sendall(b"HTTP/1.1 413 Too Big\r\nContent-Length: 7\r\n\r\ntoo big")
        time.sleep(0.1)
        lab.reset(sock)

    def do_cut(self, sock, head):
        """Half an answer that only the connection's end would end, then RST."""
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        time.sleep(0.1)
        lab.reset(sock)

    def do_upgrade(self, sock, head):
        assert b"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n" in head, head
        sock.sendall(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst")
        while True:
            data = sock.recv(65536)
            if not data:
                sock.sendall(b"bye")
                return
            sock.sendall(data)


class Lab:
    def __init__(self):
        self.program = os.path.join(os.environ["top_builddir"], "openshell-tunneld")
        net = lab.Netlink()
        net.lo_up()
        for text in (ADDR4, OWN4):
            net.add_addr(text, 32)
        self.dns = lab.Dns(ZONE)
        self.origin = Origin()
        lab.serve(ADDR4, WEB, self.origin.handle)

    def daemon(self, *options, policy=POLICY):
        return Daemon(self.program, policy, "--upstream", "127.0.0.1:%d" % self.dns.port, "--rate-limit", "0", *options)


def one(d, raw, **how):
    """One request on a connection of its own, and what came."""
    with d.dial() as s:
        s.sendall(raw)
        return Response(s, **how)


# ---- what passes ----

def test_rewriting(env):
    with env.daemon() as d:
        got = one(d, ask("/head?q=secret", "Connection: X-Mine, close", "X-Mine: 1", "Keep-Alive: 5", "TE: trailers",
                         "Proxy-Authorization: Basic c2VjcmV0", "Proxy-Connection: keep-alive", "X-End: to end"))
        assert got.status == 200 and got.fields["Connection"] == "close", got.head
        lines = got.body.decode().split("\r\n")
        via = [line for line in lines if line.startswith("Via: ")]
        assert len(via) == 1 and re.fullmatch(r"Via: 1\.1 openshell-tunneld-[0-9a-f]{8}", via[0]), lines
        assert got.fields["Via"] == via[0][5:], got.head
        assert lines == ["GET /head?q=secret HTTP/1.1", "Host: web.example.org:%d" % WEB, "X-End: to end", via[0],
                         "Connection: close", "", ""], lines
        entry = d.wait_log("forward")
        assert entry["host"] == "web.example.org" and entry["status"] == 200 and entry["method"] == "GET", entry
        assert entry["rule"] == "web" and entry["bytes_down"] == len(got.head) + len(got.body), entry
        assert entry["bytes_up"] == len(got.body) and "reason" not in entry, entry
        assert not any("secret" in line for line in d.stderr_lines), d.stderr_lines


def test_http10(env):
    with env.daemon() as d, d.dial() as s:
        s.sendall(b"GET %s HTTP/1.0\r\n\r\n" % url("/chunks").encode())
        got = Response(s)
        assert "Transfer-Encoding" not in got.fields and got.fields["Connection"] == "close", got.head
        assert got.body == b"".join(lab.pattern(i * 37 + 1, i) for i in range(50))


def test_bodies(env):
    data = lab.pattern(3 * MIB, 1)
    chunks = b"".join(b"%X\r\n" % len(data[i:i + 70001]) + data[i:i + 70001] + b"\r\n"
                      for i in range(0, len(data), 70001)) + b"0\r\nX-Sum: 1\r\n\r\n"
    with env.daemon() as d, d.dial() as s:
        for _ in range(2):  # each behind the other on one connection
            s.sendall(ask("/digest", "Content-Length: %d" % len(data), method="POST", body=data))
            assert Response(s).body == hashlib.sha256(data).digest()
            s.sendall(ask("/digest", "Transfer-Encoding: chunked", method="PUT", body=chunks))
            assert Response(s).body == hashlib.sha256(data).digest()
        s.sendall(ask("/chunks"))
        assert Response(s).body == b"".join(lab.pattern(i * 37 + 1, i) for i in range(50))
        s.sendall(ask("/big"))
        got = Response(s)
        assert got.fields["Connection"] == "close"
        assert hashlib.sha256(got.body).digest() == hashlib.sha256(lab.pattern(8 * MIB, 5)).digest()


def test_byte_by_byte(env):
    raw = ask("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    with env.daemon() as d, d.dial() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for i in range(len(raw)):
                s.sendall(raw[i:i + 1])
            assert Response(s).body == b"abcde"


def test_pipelining(env):
    """Answers in order, refusals in their turn, bodies between them."""
    raw, want = b"", []
    for i in range(30):
        if i % 5 == 3:
            raw, want = raw + ask("/x", host="deny.example.org"), want + [(403, None)]
        elif i % 5 == 4:
            raw += ask("/echo", "Content-Length: 5", method="POST", body=b"%05d" % i)
            want.append((200, b"%05d" % i))
        else:
            raw, want = raw + ask("/path/%d" % i), want + [(200, b"/path/%d" % i)]
    with env.daemon() as d, d.dial() as s:
        s.sendall(raw)
        for status, body in want:
            got = Response(s)
            assert got.status == status and body in (None, got.body), (got.head, got.body)
            assert got.fields["Connection"] == "keep-alive", got.head
        d.wait_count(24, "forward")
        d.wait_count(6, "tunnel_denied", via="forward")
        s.sendall(ask("/path/last", "Connection: close") + ask("/path/never"))
        assert Response(s).body == b"/path/last"
        assert lab.is_ended(s) and "/path/never" not in env.origin.seen


def test_many_refusals_at_once(env):
    """No recursion, no lost answer, though none is read until all are sent."""
    count = 1500
    raw = b"GET http://d.example/ HTTP/1.1\r\nHost:\r\n\r\n" * count
    with env.daemon() as d, d.dial() as s:
        sender = threading.Thread(target=s.sendall, args=(raw,), daemon=True)
        sender.start()
        sender.join(0.5)
        for _ in range(count):
            assert Response(s).error() == "policy_denied"
        sender.join(lab.GIVE_UP_S)


def test_connect_on_a_kept_connection(env):
    with env.daemon() as d, d.dial() as s:
        s.sendall(ask("/path/first") + b"CONNECT web.example.org:%d HTTP/1.1\r\n\r\n" % WEB)
        assert Response(s).body == b"/path/first"
        assert read_head(s).startswith(b"HTTP/1.1 200 Connection Established")
        s.sendall(b"GET /path/inside HTTP/1.1\r\n\r\n")
        assert Response(s).body == b"/path/inside"


def test_continue(env):
    with env.daemon() as d, d.dial() as s:
        s.sendall(ask("/continue", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        first, second = Response(s), Response(s)
        assert (first.status, second.status) == (103, 100) and first.fields["Link"] == "</a>", first.head
        s.sendall(b"body")
        assert Response(s).body == b"body"
        s.sendall(ask("/early", "Expect: 100-continue", "Content-Length: 4", method="POST"))  # refused instead
        got = Response(s)
        assert got.status == 413 and got.fields["Connection"] == "close" and got.body == b"too big"


def test_no_bodies(env):
    length = b"HTTP/1.1 %s\r\nContent-Length: 5\r\n\r\n"
    head, none = env.origin.script(length % b"200 OK"), env.origin.script(length % b"204 No Content")
    same = env.origin.script(length % b"304 Not Modified")
    with env.daemon() as d, d.dial() as s:
        s.sendall(ask(head, method="HEAD") + ask(none) + ask(same) + ask("/x", method="HEAD", host="deny.example.org") +
                  ask("/path/end"))
        assert Response(s, to_head=True).fields["Content-Length"] == "5"
        assert "Content-Length" not in Response(s).fields
        assert Response(s).fields["Content-Length"] == "5"
        assert Response(s, to_head=True).status == 403
        assert Response(s).body == b"/path/end"


def test_upgrade(env):
    early = ask("/upgrade", "Connection: Upgrade", "Upgrade: echo") + b"sent early "
    with env.daemon() as d, d.dial() as s:
        s.sendall(early)
        got = Response(s)
        assert got.status == 101 and got.fields["Upgrade"] == "echo" and got.fields["Connection"] == "Upgrade", got.head
        assert read_exactly(s, 16) == b"firstsent early "
        data = lab.pattern(MIB, 2)
        sender = threading.Thread(target=s.sendall, args=(data,), daemon=True)
        sender.start()
        assert read_exactly(s, MIB) == data
        sender.join(lab.GIVE_UP_S)
        assert d.wait_log("forward")["status"] == 101
        assert d.wait_log("tunnel_open")["via"] == "forward"
        s.shutdown(socket.SHUT_WR)  # half-close as in any tunnel
        assert read_to_end(s) == b"bye"
        closed = d.wait_log("tunnel_close")
        assert closed["reason"] == "client_closed" and closed["bytes_up"] == MIB + 11, closed
    with env.daemon("--idle-timeout", "300ms") as d, d.dial() as s:  # with a tunnel's timers
        s.sendall(ask("/upgrade", "Connection: Upgrade", "Upgrade: echo"))
        assert Response(s).status == 101
        d.wait_log("tunnel_close", reason="idle")


# ---- flow ----

def fill(s):
    """Sends until nothing more is taken for a while; returns how much it was."""
    s.settimeout(1.0)
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += s.send(b"x" * 65536)
    except socket.timeout:
        pass
    s.settimeout(lab.GIVE_UP_S)
    return sent


def test_back_pressure(env):
    """A stalled reader stalls the writer; nothing piles up between them, and nothing is lost."""
    env.origin.go.clear()
    total = 32 * MIB
    with env.daemon("--workers", "1") as d, d.dial() as s:
        before = d.rss_kib()
        s.sendall(ask("/stall", "Content-Length: %d" % total, method="POST"))
        sent = fill(s)
        assert sent < 24 * MIB, sent
        with d.dial() as reader:
            reader.sendall(ask("/big"))
            time.sleep(0.3)
            assert d.rss_kib() - before < 8 * 1024, d.rss_kib() - before
            assert hashlib.sha256(Response(reader).body).digest() == hashlib.sha256(lab.pattern(8 * MIB, 5)).digest()
        env.origin.go.set()
        while sent < total:
            sent += s.send(b"x" * min(65536, total - sent))
        assert Response(s).body == hashlib.sha256(b"x" * total).digest()


def test_early_answer(env):
    """The server's no arrives although the upload never ends."""
    with env.daemon() as d:
        for _ in range(5):
            with d.dial() as s:
                s.sendall(ask("/early", "Content-Length: %d" % (64 * MIB), method="POST", body=b"x" * 300000))
                got = Response(s)
                assert got.status == 413 and got.body == b"too big" and got.fields["Connection"] == "close", got.head
                assert lab.is_ended(s)
        d.wait_count(5, "forward", status=413)


def test_server_ends_early(env):
    silent = env.origin.script(b"")
    inside = env.origin.script(b"HTTP/1.1 200 OK\r\nContent-Le")
    short = env.origin.script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
    chunk = env.origin.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
    with env.daemon() as d:
        for path in (silent, inside):
            with d.dial() as s:
                s.sendall(ask(path) + ask("/path/next"))
                got = Response(s)
                assert got.status == 502 and got.error() == "upstream_closed", got.body
                assert "error=connection_terminated" in got.fields["Proxy-Status"], got.head
                assert Response(s).body == b"/path/next"  # the client's connection is none the worse
        for path in (short, chunk):
            with d.dial() as s:
                s.sendall(ask(path) + ask("/path/next"))
                read_head(s)
                rest = read_to_end(s)
                assert b"short" in rest and b"HTTP/1.1" not in rest and not rest.endswith(b"0\r\n\r\n"), rest
            d.wait_log("forward", reason="upstream_closed", status=200)
        with d.dial() as s:  # its end would pass for the answer's: it is reset
            s.sendall(ask("/cut"))
            read_head(s)
            try:
                rest = read_to_end(s)
            except ConnectionResetError:
                rest = None
            assert rest is None, rest
        d.wait_log("forward", reason="upstream_reset")


def test_client_leaves(env):
    with env.daemon() as d:
        for path, how in (("/hang", "reset"), ("/hang", "close"), ("/half", "reset"), ("/half", "close"),
                          ("/stall", "close")):
            count = len(env.origin.ended.get(path, []))
            seen = len(env.origin.seen.get(path, []))
            s = d.dial()
            began = len(d.logs)
            body = "Content-Length: 100000" if path == "/stall" else "X: y"
            s.sendall(ask(path, body, method="POST", body=b"part" if path == "/stall" else b""))
            env.origin.wait(env.origin.seen, path, seen + 1)
            if path == "/half":
                read_head(s)
                read_exactly(s, 4)  # what is not read would make close() a reset
            if how == "reset":
                lab.reset(s)
                d.wait_log("forward", reason="client_reset", start=began)
            else:
                s.close()
                d.wait_log("forward", reason="client_closed", start=began)
                env.origin.go.set()
            env.origin.wait(env.origin.ended, path, count + 1)
        assert env.origin.go.is_set()


# ---- what is refused ----

def smuggling():
    """Heads that two readers could read in two ways."""
    post = ask("/smuggled", "%s", method="POST", body=b"0\r\n\r\n").decode()
    for fields in ("Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
                   "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 0",
                   "Content-Length: 5, 5", "Content-Length: +5", "Content-Length: 5 ,", "Content-Length: 0x5",
                   "Content-Length: 00005", "Content-Length: ", "Content-Length: 5\x0b", "Content-Length : 5",
                   "Content-Length: 18446744073709551621", "Transfer-Encoding: gzip, chunked",
                   "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked",
                   "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked",
                   "Transfer-Encoding: \x0bchunked", "X: y\nTransfer-Encoding: chunked",
                   "X: y\rTransfer-Encoding: chunked", "X: y\r\n\tTransfer-Encoding: chunked", "X: \x00",
                   "Host: second.example", " X: y"):
        yield (post % fields).encode("latin-1")
    yield post.replace("HTTP/1.1", "HTTP/1.0") .__mod__("Transfer-Encoding: chunked").encode()
    yield ask("/smuggled").replace(b"\r\n", b"\n")
    yield ask("/smuggled").replace(b"Host: ignored.example\r\n", b"")
    yield ask("/smuggled#x")
    yield ask("/smuggled").replace(b"http://", b"http://user:pw@")
    yield ask("/smuggled").replace(b" HTTP/1.1", b"  HTTP/1.1")


def test_smuggling(env):
    with env.daemon() as d:
        count = 0
        for raw in smuggling():
            with d.dial() as s:
                s.sendall(raw + ask("/smuggled"))
                got = Response(s)
                assert got.status == 400 and got.error() == "bad_request", (raw, got.head)
                assert got.fields["Connection"] == "close" and lab.is_ended(s), raw
            count += 1
        assert count > 30 and "/smuggled" not in env.origin.seen


def test_bad_chunks(env):
    """They are known as soon as they come, and the server never takes the request for whole."""
    with env.daemon() as d:
        for body in (b"1\na\n0\n\n", b"-1\r\na\r\n", b"ffffffffffffffff\r\n", b"100000000\r\n", b"1 \r\na\r\n0\r\n\r\n",
                     b"1;a\nb\r\na\r\n0\r\n\r\n", b"1\r\naX\r\n0\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0x1\r\na\r\n",
                     b"1;" + b"x" * 300 + b"\r\na\r\n", b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n"):
            for early in (True, False):
                with d.dial() as s:
                    raw = ask("/hang", "Transfer-Encoding: chunked", method="POST")
                    if not early:
                        count = len(env.origin.seen.get("/hang", []))
                        s.sendall(raw)
                        env.origin.wait(env.origin.seen, "/hang", count + 1)
                        raw = b""
                    s.sendall(raw + body)
                    got = Response(s)
                    assert got.status == 400 and got.error() == "bad_request", (body, got.head)
                    assert got.fields["Connection"] == "close"


def test_bad_chunk_behind_half_an_answer(env):
    """No second answer follows the half of one."""
    with env.daemon() as d, d.dial() as s:
        s.sendall(ask("/half", "Transfer-Encoding: chunked", method="POST"))
        read_head(s)
        assert read_exactly(s, 4) == b"half"
        s.sendall(b"x\r\n")
        try:
            rest = read_to_end(s)
        except ConnectionResetError:
            rest = b""
        assert rest == b"", rest
        d.wait_log("request_refused", reason="bad_request", rule="web")


def test_bad_answers(env):
    ok = b"HTTP/1.1 200 OK\r\n"
    bad = (ok + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           ok + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", ok + b"Content-Length: x\r\n\r\n",
           ok + b"Transfer-Encoding: gzip\r\n\r\n", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           ok + b"X : y\r\n\r\n", ok + b"X: y\r\n folded\r\n\r\n", ok + b"X: y\rSet-Cookie: a=b\r\n\r\n",
           ok + b"X: y\nSet-Cookie: a=b\r\n\r\n", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"SSH-2.0-x\r\n",
           b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 999 No\r\n\r\n", b"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n",
           b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
           ok + b"X: " + b"y" * 40000 + b"\r\n\r\n")
    with env.daemon() as d:
        for raw in bad:
            path = env.origin.script(raw)
            with d.dial() as s:
                s.sendall(ask(path) + ask("/path/next"))
                got = Response(s)
                assert got.status == 502 and got.error() == "bad_response", (raw[:80], got.body)
                assert "error=http_protocol_error" in got.fields["Proxy-Status"], got.head
                assert Response(s).body == b"/path/next", raw[:80]


def test_denials(env):
    with env.daemon() as d:
        for where, status, reason in ((dict(host="deny.example.org"), 403, "policy_denied"),
                                      (dict(port=9999), 403, "policy_denied"),
                                      (dict(host="rest.example.org"), 403, "l7_inspection_required"),
                                      (dict(host="loop.example.org"), 403, "ssrf_denied"),
                                      (dict(host="servfail.example.org"), 502, "dns_failed"),
                                      (dict(port=CLOSED), 502, "upstream_unreachable")):
            with d.dial() as s:
                s.sendall(ask("/x?secret", **where) + ask("/path/next"))
                got = Response(s)
                assert got.status == status and got.error() == reason, got.body
                assert got.fields["Connection"] == "keep-alive" and "secret" not in got.body.decode(), got.head
                assert json.loads(got.body)["detail"].startswith("http://"), got.body
                assert Response(s).body == b"/path/next"
                s.sendall(ask("/x", "Content-Length: 5", method="POST", **where) + b"01234")
                got = Response(s)  # the body is not waited for
                assert got.error() == reason and got.fields["Connection"] == "close", got.head
                assert lab.is_ended(s)
            event = "tunnel_denied" if status == 403 else "tunnel_failed"
            d.wait_log(event, reason=reason, via="forward")


def test_forms(env):
    with env.daemon() as d:
        for line, status, word in ((b"GET / HTTP/1.1", 400, "this is a proxy"), (b"OPTIONS * HTTP/1.1", 400, "this is a proxy"),
                                   (b"GET ftp://web.example.org/ HTTP/1.1", 400, "this is a proxy"),
                                   (b"GET https://web.example.org/ HTTP/1.1", 400, "CONNECT"),
                                   (b"TRACE %s HTTP/1.1" % url("/").encode(), 405, "TRACE"),
                                   (b"trace %s HTTP/1.1" % url("/").encode(), 400, "capitals")):
            got = one(d, line + b"\r\nHost: a\r\n\r\n")
            assert got.status == status and word in json.loads(got.body)["reason"], (line, got.body)
            assert ("Allow" in got.fields) == (status == 405), got.head


def test_chain(env):
    """Through --chain-proxy as CONNECT would go: the request is made inside the tunnel."""
    asked = []

    def proxy(sock):
        head = read_head(sock)
        asked.append(head.split(b" ")[:2])
        if len(asked) > 1:
            sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            return
        sock.sendall(b"HTTP/1.1 200 Go\r\n\r\n")
        assert read_head(sock).startswith(b"GET /x HTTP/1.1\r\nHost: rest.example.org:%d\r\n" % WEB)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nchained")
        sock.recv(1)

    lab.serve(ADDR4, CHAIN, proxy)
    with env.daemon("--chain-proxy", "http://%s:%d" % (ADDR4, CHAIN)) as d, d.dial() as s:
        s.sendall(ask("/x", host="rest.example.org") * 2 + ask("/path/direct"))
        assert Response(s).body == b"chained"
        got = Response(s)
        assert got.status == 502 and got.error() == "chain_failed", got.body
        assert Response(s).body == b"/path/direct"
        assert asked == [[b"CONNECT", b"rest.example.org:%d" % WEB]] * 2, asked


def test_loops(env):
    with env.daemon("--listen", "%s:%d" % (OWN4, OWN)) as d:
        got = one(d, ask("/", host="self.example.org", port=OWN))
        assert got.status == 502 and got.error() == "proxy_loop", got.body
        assert "error=proxy_loop_detected" in got.fields["Proxy-Status"], got.head
        via = one(d, ask("/path/a")).fields["Via"].split()[1]
        got = one(d, ask("/path/b", "Via: 1.1 other, 1.1 " + via, "Connection: close, via"))
        assert got.error() == "proxy_loop" and "/path/b" not in env.origin.seen, got.body
        d.wait_log("tunnel_failed", reason="proxy_loop", via="forward")
        assert one(d, ask("/path/b", "Via: 1.1 openshell-tunneld-00000000x")).status == 200


# ---- time and change ----

def test_idle_between_requests(env):
    with env.daemon("--forward-idle-timeout", "400ms", "--head-timeout", "1200ms") as d, d.dial() as s:
        s.sendall(ask("/path/1"))
        assert Response(s).status == 200
        began = time.monotonic()
        assert read_to_end(s) == b""  # silently: nothing was asked
        assert 0.3 < time.monotonic() - began < 1.1
        with d.dial() as late:
            late.sendall(ask("/path/1"))
            assert Response(late).status == 200
            late.sendall(b"G")  # from its first byte on it is a head
            began = time.monotonic()
            got = Response(late)
            assert got.status == 408 and got.error() == "head_timeout", got.head
            assert 1.0 < time.monotonic() - began < 3.0


def test_keep_alive_is_told(env):
    with env.daemon("--forward-idle-timeout", "7s") as d:
        assert one(d, ask("/path/1")).fields["Keep-Alive"] == "timeout=7"
    with env.daemon("--forward-idle-timeout", "0") as d:
        assert "Keep-Alive" not in one(d, ask("/path/1")).fields


def test_silent_server(env):
    with env.daemon("--idle-timeout", "400ms") as d:
        got = one(d, ask("/hang"))
        assert got.status == 504 and got.error() == "idle", got.body
        assert "error=http_response_timeout" in got.fields["Proxy-Status"], got.head
        with d.dial() as s:
            s.sendall(ask("/half"))
            read_head(s)
            assert read_to_end(s) == b"half"
        d.wait_log("forward", reason="idle", status=200)


def test_reload(env):
    with env.daemon("--revoke-grace", "200ms") as d, d.dial() as waiting, d.dial() as kept, d.dial() as half:
        for s, path in ((waiting, "/hang"), (kept, "/path/1"), (half, "/half")):
            s.sendall(ask(path))
        assert Response(kept).status == 200
        read_head(half)
        d.reload(EMPTY)
        got = Response(waiting)
        assert got.status == 403 and got.error() == "policy_changed", got.body
        d.wait_log("forward", reason="policy_changed", status=200)
        kept.sendall(ask("/path/1"))  # each request is judged on its own
        assert Response(kept).error() == "policy_denied"


def test_drain(env):
    env.origin.go.clear()
    with env.daemon("--workers", "1") as d, d.dial() as idle, d.dial() as busy:
        idle.sendall(ask("/path/1"))
        assert Response(idle).status == 200
        count = len(env.origin.seen.get("/wait", []))
        busy.sendall(ask("/wait"))
        env.origin.wait(env.origin.seen, "/wait", count + 1)
        d.process.send_signal(signal.SIGTERM)
        assert lab.is_ended(idle)
        env.origin.go.set()
        got = Response(busy)
        assert got.body == b"late" and got.fields["Connection"] == "close", got.head
        busy.close()
        assert d.process.wait(lab.END_S) == 0


# ---- clients ----

def test_curl(env):
    curl = shutil.which("curl")
    if not curl:
        print("     curl is not installed", flush=True)
        return
    data = lab.pattern(MIB, 7)
    with env.daemon() as d:
        def run(*args, **how):
            command = [curl, "-sS", "--max-time", "8", "-x", "http://127.0.0.1:%d" % d.port] + list(args)
            return subprocess.run(command, capture_output=True, check=True, timeout=20, **how).stdout
        assert run(url("/path/a"), url("/path/b")) == b"/path/a/path/b"
        d.wait_count(2, "forward")
        assert run("--data-binary", "@-", url("/digest"), input=data) == hashlib.sha256(data).digest()
        assert run("-T", "-", url("/digest"), input=data) == hashlib.sha256(data).digest()  # chunked, Expect
        assert run("-I", url("/head")).startswith(b"HTTP/1.1 200 OK")
        assert run("-0", url("/chunks")) == b"".join(lab.pattern(i * 37 + 1, i) for i in range(50))
        assert run("--http2", url("/path/h2c")) == b"/path/h2c"  # asks to upgrade, is not, and goes on
        assert b"policy_denied" in run(url("/", host="deny.example.org"))


def test_urllib(env):
    with env.daemon() as d:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:%d" % d.port}))
        with opener.open(url("/path/x"), timeout=8) as got:
            assert got.read() == b"/path/x"
        with opener.open(url("/echo"), data=b"posted", timeout=8) as got:
            assert got.read() == b"posted"


NODE = """
const http = require('http');
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
const get = (path) => new Promise((resolve, reject) => http.get(
    {host: '127.0.0.1', port: +process.argv[1], path: process.argv[2] + path, agent}, (r) => {
      let body = ''; r.on('data', (c) => body += c); r.on('end', () => resolve(body));
    }).on('error', reject));
Promise.all(['/path/1', '/path/2', '/path/3'].map(get)).then((r) => { console.log(r.join(' ')); agent.destroy(); });
"""


def test_node(env):
    node = shutil.which("node")
    if not node:
        print("     node is not installed", flush=True)
        return
    with env.daemon() as d:
        got = subprocess.run([node, "-e", NODE, str(d.port), url("")], capture_output=True, timeout=30, check=True)
        assert got.stdout == b"/path/1 /path/2 /path/3\n", got
        d.wait_count(3, "forward")
        ports = {e["client"] for e in d.logs if e.get("event") == "forward"}
        assert len(ports) == 1, ports  # one connection, kept


def test_no_leak(env):
    """Every way a request can end, many times."""
    reset = env.origin.script(b"")
    with env.daemon("--workers", "2", "--forward-idle-timeout", "300ms") as d:
        before = lab.fds_at_rest([d])[0]
        raws = [ask("/path/x"), ask("/chunks"), ask(reset), ask("/early", "Content-Length: 9", method="POST"),
                ask("/x", host="deny.example.org"), ask("/x", port=CLOSED), ask("/x", "Content-Length: x"), ask("/cut"),
                ask("/upgrade", "Connection: Upgrade", "Upgrade: echo"), ask("/hang"), b"GET http://web"]
        def hit(i):
            s = d.dial()
            s.sendall(raws[i % len(raws)])
            s.settimeout(0.02 if i % 3 else 0.2)
            try:
                s.recv(65536)
            except OSError:
                pass
            if i % 2:
                lab.reset(s)
            else:
                s.close()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(hit, range(330)))
        end = time.monotonic() + lab.GIVE_UP_S
        while d.fd_count() > before:
            assert time.monotonic() < end, (d.fd_count(), before)
            time.sleep(0.05)


# These tell one event of the server from another, or keep everything busy.
ALONE = (test_back_pressure, test_client_leaves, test_drain, test_no_leak)


def main():
    lab.enter_namespace()
    env = Lab()
    if not os.access(env.program, os.X_OK):
        sys.exit("%s is not built" % env.program)
    os._exit(0 if lab.run_tests(globals(), env, 4, ALONE) else 1)  # server threads never end


main()
