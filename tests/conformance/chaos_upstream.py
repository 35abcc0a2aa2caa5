# SPDX-License-Identifier: Apache-2.0
"""Upstreams that misbehave, each in its own way, by UDP and by TCP. All of them live on one loop, without threads:
what they mean to do in 20 ms they do in 20 ms, also when there are hundreds of questions."""
import heapq
import itertools
import select
import socket
import struct
import time

import dns_wire as w

ADDRESS = {w.A: "93.184.216.34", w.AAAA: "2606:2800:220:1::1"}
PACKED = {w.A: socket.inet_aton(ADDRESS[w.A]), w.AAAA: socket.inet_pton(socket.AF_INET6, ADDRESS[w.AAAA])}
UDP_WAYS = ("sound", "late", "silent", "servfail", "refused", "formerr", "notimp", "nxdomain", "nodata", "nodata, no SOA",
            "TC", "TC, then silent", "garbage", "wrong ID first", "wrong ID", "other question", "echo", "nothing", "twice",
            "cut short", "lower case", "every other")
TCP_WAYS = ("sound", "late", "silent", "closes", "resets", "half", "half, then closes", "byte by byte", "wrong ID", "one each",
            "servfail", "formerr", "never accepts", "garbage", "closes late")
DELAYS_S = (0.005, 0.05, 0.3, 0.7, 0.9, 1.5, 1.9, 2.5, 3.3, 3.45, 3.6, 5)
FLAP_S = 2  # so long well, so long silent
GUARD = b"\4loop\11openshell\7invalid"  # the daemons' own question: a silent upstream is no loop


class Loop:
    def __init__(self):
        self.epoll, self.handlers, self.later, self.count = select.epoll(), {}, [], itertools.count()
        self.lag_s = 0.0  # the longest that anything here had to wait for this script or the machine

    def read(self, sock, fn):
        self.handlers[sock.fileno()] = fn
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def forget(self, sock):
        if self.handlers.pop(sock.fileno(), None) is not None:
            self.epoll.unregister(sock.fileno())

    def after(self, delay_s, fn):
        heapq.heappush(self.later, (time.monotonic() + delay_s, next(self.count), fn))

    def turn(self):
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            self.lag_s = max(self.lag_s, now - self.later[0][0])
            heapq.heappop(self.later)[2]()
        left = self.later[0][0] - time.monotonic() if self.later else 0.05
        for fd, _ in self.epoll.poll(min(max(left, 0), 0.05)):
            handler = self.handlers.get(fd)
            if handler is not None:
                handler()


def question_end(raw):
    at = 12
    while raw[at]:
        at += raw[at] + 1
    return at + 5


def reply(raw, rcode=w.NOERROR, flags=0, answers=True, soa=False, wrong_id=False, question=None):
    """To a question as it came: its ID, its letters, an OPT if it has one."""
    end = question_end(raw)
    qtype = struct.unpack("!H", raw[end - 4:end - 2])[0]
    has_answer = answers and rcode == w.NOERROR and not flags & w.TC and qtype in PACKED
    has_opt = raw[11] > 0 and rcode != w.FORMERR
    ident = struct.unpack("!H", raw[:2])[0] ^ (0x5555 if wrong_id else 0)
    return (struct.pack("!HHHHHH", ident, w.QR | w.RD | w.RA | flags | rcode, 1, has_answer, soa, has_opt) +
            (question or raw[12:end]) + (w.record(b"\xc0\x0c", qtype, 0, PACKED[qtype]) if has_answer else b"") +
            (w.soa() if soa else b"") + (w.opt() if has_opt else b""))


OTHER = w.question("other.t.example.net", w.A)
RCODES = {"servfail": w.SERVFAIL, "refused": w.REFUSED, "formerr": w.FORMERR, "notimp": w.NOTIMP, "nxdomain": w.NXDOMAIN}
UDP_REPLIES = {
    "sound": lambda q: [reply(q)],
    "silent": lambda q: [],
    "nodata": lambda q: [reply(q, answers=False, soa=True)],
    "nodata, no SOA": lambda q: [reply(q, answers=False)],
    "TC": lambda q: [reply(q, flags=w.TC)],
    "wrong ID": lambda q: [reply(q, wrong_id=True)] * 3,
    "other question": lambda q: [reply(q, question=OTHER)],
    "echo": lambda q: [q],
    "nothing": lambda q: [b""],
    "twice": lambda q: [reply(q), reply(q, w.SERVFAIL)],
    "lower case": lambda q: [reply(q[:12] + q[12:].lower())],
}


class Upstream:
    """Picks its ways once, or with is_mixed for each question anew."""

    def __init__(self, loop, rng, host):
        self.loop, self.rng = loop, rng
        self.is_mixed, self.is_flapping = rng.random() < 0.4, rng.random() < 0.2
        self.udp_way, self.tcp_way = rng.choice(UDP_WAYS), rng.choice(TCP_WAYS)
        self.delay_s = rng.choice(DELAYS_S)
        self.is_closed = not self.is_mixed and rng.random() < 0.1  # nobody there: ICMP says so
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(host)
        self.conns = set()
        if self.is_closed:
            self.udp.close()
        else:
            loop.read(self.udp, self.on_datagram)
        if rng.random() < 0.85:
            self.tcp.listen(1 if self.tcp_way == "never accepts" else 64)
            if self.tcp_way != "never accepts":
                loop.read(self.tcp, self.on_connection)

    def bind(self, host):
        for _ in range(100):
            self.udp.bind((host, 0))
            try:
                self.tcp.bind(self.udp.getsockname())
                break
            except OSError:
                self.udp.close()
                self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setblocking(False)
        self.tcp.setblocking(False)
        self.address = "%s:%d" % self.tcp.getsockname()

    def __str__(self):
        marks = [mark for mark, is_so in (("mixed", self.is_mixed), ("flapping", self.is_flapping),
                                          ("closed", self.is_closed)) if is_so]
        return "%s udp: %s, tcp: %s, %g s %s" % (self.address, self.udp_way, self.tcp_way, self.delay_s, " ".join(marks))

    def is_sound(self):
        return self.udp_way == "sound" and not (self.is_mixed or self.is_flapping or self.is_closed)

    def may_say_nxdomain(self):
        return self.is_mixed or self.udp_way == "nxdomain"

    def ways(self):
        if self.is_flapping and int(time.monotonic() / FLAP_S) % 2:
            return "silent", "silent"
        if self.is_mixed:
            return self.rng.choice(UDP_WAYS), self.rng.choice(TCP_WAYS)
        return self.udp_way, self.tcp_way

    def send(self, peer, message, delay_s=0.0):
        if delay_s > 0:
            self.loop.after(delay_s, lambda: self.send(peer, message))
            return
        try:
            self.udp.sendto(message, peer)
        except OSError:
            pass  # the daemon has closed the socket: so it would be across a network

    def on_datagram(self):
        try:
            raw, peer = self.udp.recvfrom(4096)
        except BlockingIOError:
            return
        if GUARD not in raw.lower():
            self.answer_udp(raw, peer, self.ways()[0])

    def answer_udp(self, raw, peer, way):
        if way == "late":
            self.send(peer, reply(raw), self.delay_s)
        elif way in RCODES:
            self.send(peer, reply(raw, RCODES[way]), self.rng.choice([0, 0, self.delay_s]))
        elif way == "TC, then silent":
            self.answer_udp(raw, peer, self.rng.choice(["TC", "silent"]))
        elif way == "every other":
            self.answer_udp(raw, peer, self.rng.choice(["sound", "silent"]))
        elif way == "garbage":
            self.send(peer, self.rng.randbytes(self.rng.randrange(1, 80)))
        elif way == "wrong ID first":
            self.send(peer, reply(raw, wrong_id=True))
            self.send(peer, reply(raw), 0.02)
        elif way == "cut short":
            self.send(peer, reply(raw)[:self.rng.randrange(12, 40)])
        else:
            for message in UDP_REPLIES[way](raw):
                self.send(peer, message)

    def on_connection(self):
        try:
            sock, _ = self.tcp.accept()
        except OSError:
            return
        way = self.ways()[1]
        if way == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way in ("resets", "closes"):
            sock.close()
            return
        self.conns.add(Conn(self, sock, way))

    def close(self):
        for conn in list(self.conns):
            conn.close()
        for sock in (self.udp, self.tcp):
            if sock.fileno() >= 0:
                self.loop.forget(sock)
                sock.close()


class Conn:
    def __init__(self, owner, sock, way):
        self.owner, self.sock, self.way, self.unread = owner, sock, way, b""
        sock.setblocking(False)
        owner.loop.read(sock, self.on_readable)

    def close(self):
        if self in self.owner.conns:
            self.owner.conns.remove(self)
            self.owner.loop.forget(self.sock)
            self.sock.close()

    def send(self, data, delay_s=0.0, is_last=False):
        if delay_s > 0:
            self.owner.loop.after(delay_s, lambda: self.send(data, 0.0, is_last))
            return
        if self not in self.owner.conns:
            return
        try:
            self.sock.send(data)
        except OSError:
            is_last = True
        if is_last:
            self.close()

    def on_readable(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.unread += data
        while len(self.unread) >= 2:
            end = 2 + struct.unpack("!H", self.unread[:2])[0]
            if len(self.unread) < end:
                return
            raw, self.unread = self.unread[2:end], self.unread[end:]
            if GUARD not in raw.lower():
                self.answer(raw)

    def answer(self, raw):
        rng, delay_s = self.owner.rng, self.owner.delay_s
        message = {"garbage": lambda: rng.randbytes(30), "wrong ID": lambda: reply(raw, wrong_id=True),
                   "servfail": lambda: reply(raw, w.SERVFAIL), "formerr": lambda: reply(raw, w.FORMERR)
                   }.get(self.way, lambda: reply(raw))()
        framed = struct.pack("!H", len(message)) + message
        if self.way == "late":
            self.send(framed, delay_s)
        elif self.way == "half":
            self.send(framed[:rng.randrange(1, len(framed))])
        elif self.way == "half, then closes":
            self.send(framed[:rng.randrange(1, len(framed))], rng.choice([0, delay_s]), is_last=True)
        elif self.way == "byte by byte":
            for i in range(len(framed)):
                self.send(framed[i:i + 1], 0.3 * i)
        elif self.way == "one each":
            self.send(framed, is_last=True)
        elif self.way == "closes late":
            self.send(b"", delay_s, is_last=True)
        elif self.way != "silent":
            self.send(framed)
