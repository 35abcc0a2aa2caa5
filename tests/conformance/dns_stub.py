# SPDX-License-Identifier: Apache-2.0
"""An upstream DNS server whose answers are Python functions. It records every question it sees."""
import socket
import struct
import threading
import time

import dns_wire as w


class Ask:
    """What the stub was asked."""

    def __init__(self, raw, is_tcp, port):
        self.raw, self.is_tcp, self.port = raw, is_tcp, port
        self.message = w.Message(raw)
        self.wire_name, self.qtype, _, self.question = self.message.questions[0]
        self.name = self.wire_name.lower()
        self.at = time.monotonic()


def reply(ask, rcode=w.NOERROR, answer=(), authority=(), flags=w.RA, ident=None, question=None, edns=True):
    head = struct.pack("!HHHHHH", ask.message.id if ident is None else ident, w.QR | w.RD | flags | rcode & 15, 1,
                       len(answer), len(authority), 1 if edns else 0)
    return head + (question or ask.question) + b"".join(answer) + b"".join(authority) + (w.opt() if edns else b"")


OWNER = b"\xc0\x0c"
LOOP_GUARD = "loop.openshell.invalid"


def addresses(*texts, ttl=300):
    def act(ask):
        family, rtype = (socket.AF_INET6, w.AAAA) if ask.qtype == w.AAAA else (socket.AF_INET, w.A)
        mine = [t for t in texts if (":" in t) == (ask.qtype == w.AAAA)]
        return [reply(ask, answer=[w.record(OWNER, rtype, ttl, socket.inet_pton(family, t)) for t in mine],
                      authority=[] if mine else [w.soa()])]
    return act


def rcode(value, authority=True):
    return lambda ask: [reply(ask, value, authority=[w.soa()] if authority and value == w.NXDOMAIN else [])]


def nodata(ask):
    return [reply(ask, authority=[w.soa()])]


def silence(_):
    return []


def late(seconds, act):
    def run(ask):
        time.sleep(seconds)
        return act(ask)
    return run


class Stub:
    """zone: {(name, qtype): act}; act(Ask) gives the messages to send. An unknown name is NXDOMAIN."""

    def __init__(self, zone, host="127.0.0.1"):
        self.zone, self.seen, self.lock = dict(zone), [], threading.Lock()
        self.guards = []  # the daemons' own question, which nobody asked for: not in seen
        self.udp, self.tcp = self.bind(host)
        self.address = "%s:%d" % ("[%s]" % host if ":" in host else host, self.udp.getsockname()[1])
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    @staticmethod
    def bind(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        while True:
            udp = socket.socket(family, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.bind((host, 0))
            tcp = socket.socket(family, socket.SOCK_STREAM)
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                udp.close()
                tcp.close()
                continue
            tcp.listen(64)
            return udp, tcp

    def act(self, raw, is_tcp, port):
        ask = Ask(raw, is_tcp, port)
        with self.lock:
            (self.guards if ask.name == LOOP_GUARD else self.seen).append(ask)
        return self.zone.get((ask.name, ask.qtype), rcode(w.NXDOMAIN))(ask)

    def serve_udp(self):
        while True:
            raw, peer = self.udp.recvfrom(65535)
            threading.Thread(target=self.answer_udp, args=(raw, peer), daemon=True).start()

    def answer_udp(self, raw, peer):
        for message in self.act(raw, False, peer[1]):
            self.udp.sendto(message, peer)

    def serve_tcp(self):
        while True:
            conn, peer = self.tcp.accept()
            threading.Thread(target=self.answer_tcp, args=(conn, peer), daemon=True).start()

    def answer_tcp(self, conn, peer):
        try:
            self.answer_stream(conn, peer)
        except ConnectionError:
            pass  # what a test sends may well end the connection

    def answer_stream(self, conn, peer):
        with conn:
            while True:
                head = conn.recv(2, socket.MSG_WAITALL)
                if len(head) < 2:
                    return
                raw = conn.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                for message in self.act(raw, True, peer[1]):
                    conn.sendall(struct.pack("!H", len(message)) + message)

    def asked(self, qname, qtype=None):
        with self.lock:
            return [a for a in self.seen + self.guards if a.name == qname and qtype in (None, a.qtype)]
