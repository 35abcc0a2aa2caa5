# SPDX-License-Identifier: Apache-2.0
"""Bad input against the real openshell-dnsd: every truncation and every bit flip of a question, over UDP and TCP, and of
an upstream's reply, over UDP and TCP, and what is worse than that. Whatever comes in: it goes on answering, it takes no
memory for it, and no address comes out that a strict parser (here: dns_wire.Message) does not see in what came in."""
import os
import re
import socket
import struct
import threading
import time
import unittest

import dns_wire as w
import lab
from daemon import NO_BRAKES, Daemon, Stream
from dns_stub import OWNER, Ask, Stub, addresses, nodata, reply

NAME = "gateway.example.net"
POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: %s, port: 443 }
      - { host: "*.t.example.net", port: 443 }
""" % NAME
GOOD, OTHER, EVIL = "93.184.216.34", "93.184.216.99", "6.6.6.6"
FENCE = "fence.localhost"
NOTHING_MORE_KIB = 1024


def inet(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def flips(raw):
    for bit in range(len(raw) * 8):
        yield raw[:bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1:]


def cuts(raw):
    for n in range(len(raw)):
        yield raw[:n]


def parse(raw):
    try:
        return w.Message(raw)
    except (ValueError, IndexError, struct.error):
        return None


class Case(unittest.TestCase):
    options = ()

    def setUp(self):
        self.stub = Stub({(NAME, w.A): addresses(GOOD), (NAME, w.AAAA): nodata})
        # The cache is filled to its brim soon: what grows after that is something else. A sanitizer would keep what is freed.
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + \
            ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64:malloc_context_size=2"
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--aaaa", "pass", "--cache-size", "64KiB",
                           *NO_BRAKES, *self.options)
        with open("/proc/%d/maps" % self.dnsd.process.pid) as f:
            self.is_sanitized = "asan" in f.read()

    def tearDown(self):
        self.assertEqual(self.dnsd.stop(), 0)

    def status_kib(self, what):
        with open("/proc/%d/status" % self.dnsd.process.pid) as f:
            return int(re.search(what + r":\s+(\d+) kB", f.read()).group(1))

    def resident_kib(self):
        """What it takes now. From here on the most that it takes is remembered anew, where the kernel lets us say so."""
        try:
            with open("/proc/%d/clear_refs" % self.dnsd.process.pid, "w") as f:
                f.write("5")
        except OSError:
            pass
        return self.status_kib("VmRSS")

    def assert_no_growth(self, before_kib):
        """Not even for the time of one message."""
        grown = self.status_kib("VmHWM") - before_kib
        self.assertLess(grown, NOTHING_MORE_KIB * (4 if self.is_sanitized else 1), "KiB of memory more")

    def assert_alive(self):
        """Both families, so that both are in the cache and every answer comes at once."""
        self.assertEqual([r.data for r in self.dnsd.ask(NAME).answer], [inet(GOOD)])
        m = self.dnsd.ask(NAME, w.AAAA)
        self.assertEqual((m.rcode, m.answer), (w.NOERROR, []))


# ---- questions ----

class TestQuestions(Case):
    def bases(self):
        tsig = w.record(w.name("key"), 250, 0, w.name("hmac-sha256") + struct.pack("!HIHH", 0, 1, 300, 0) +
                        struct.pack("!HHH", 1, 0, 0), 255)
        yield w.query(NAME)
        yield w.query(NAME, edns=w.opt(1232, do=True, options=w.option(10, b"12345678") + w.option(3)))
        yield w.query(NAME, w.AAAA, edns=tsig)
        yield w.query(".".join(["x" * 60] * 4) + ".y23456789", edns=w.opt())  # 255 bytes

    def worse(self):
        """Put together by hand; each is a question for an address that must not be given."""
        head = struct.pack("!HHHHHH", 0x1234, w.RD, 1, 0, 0, 0)
        ask = w.question(NAME, w.A)
        for qname in (b"\xc0\x0c", b"\xc0\x00", b"\xc0\x02", b"\xc0\xff", b"\xff\xff", b"\x07gateway\xc0\x0c", b"\x40" + b"a" * 64,
                      b"\x80", b"\x3f" + b"a" * 63, (b"\x3f" + b"a" * 63) * 3 + b"\x3f" + b"a" * 63 + b"\0",
                      b"\x01a" * 127 + b"\x01a\0", b"\x07gateway\x07example\xc0\x0c"):
            yield head + qname + b"\0\1\0\1"
        both = w.opt() + w.opt()
        for counts, tail in (((2, 0, 0, 0), ask + w.question(NAME, w.AAAA)), ((2, 0, 0, 0), ask + b"\xc0\x0c\0\1\0\1"),
                             ((1, 0, 0, 2), ask + both), ((1, 1, 0, 0), ask + w.opt()), ((1, 0, 1, 0), ask + w.opt()),
                             ((1, 0, 0, 1), ask), ((0, 0, 0, 1), w.opt()), ((65535, 65535, 65535, 65535), ask),
                             ((1, 0, 0, 1), ask + w.record(w.name("x"), w.OPT, 0, b"", 1232)),
                             ((1, 0, 0, 1), ask + w.opt(options=b"\0\3\0\5x")), ((1, 0, 0, 1), ask + w.opt(options=b"\0")),
                             ((1, 0, 0, 65535), ask + w.opt() * 200), ((1, 0, 0, 0), ask + b"\0" * 3000)):
            yield struct.pack("!HHHH", 0x1234, w.RD, *counts[:2]) + struct.pack("!HH", *counts[2:]) + tail

    def check(self, sent, m):
        self.assertTrue(m.flags & w.QR)
        self.assertEqual(m.raw[:2], sent[:2], "its ID")
        self.assertFalse(m.flags & (w.AA | w.AD | w.Z))
        addressed = [r for r in m.answer if r.type in (w.A, w.AAAA)]
        ask = parse(sent)
        is_fine = ask is not None and not ask.flags & w.QR and ask.opcode == 0 and \
            [(n.lower(), c) for n, _, c, _ in ask.questions] == [(NAME, 1)]
        if addressed:
            self.assertTrue(is_fine and ask.questions[0][1] == w.A, "an address for %s" % sent.hex())
            self.assertEqual([r.data for r in addressed], [inet(GOOD)])
        elif ask is None:
            self.assertIn(m.rcode, (w.FORMERR, w.NOTIMP))

    def over_udp(self, s, raw):
        """The answers to raw: everything that comes before the answer to a question asked behind it."""
        s.send(raw)
        s.send(w.query(FENCE, ident=0xFEFE))
        out = []
        while True:
            m = w.Message(s.recv(65535))
            if m.id == 0xFEFE and m.questions and m.questions[0][0] == FENCE:
                return out
            out.append(m)

    def over_tcp(self, raw):
        stream = Stream(self.dnsd.addresses["tcp"][0])
        try:
            stream.send(raw, w.query(FENCE, ident=0xFEFE))
            while True:
                m = stream.receive()
                if m is None or m.id == 0xFEFE and m.questions and m.questions[0][0] == FENCE:
                    return
                self.check(raw, m)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            stream.close()

    def test_over_udp(self):
        self.assert_alive()
        before = None
        with self.dnsd.udp() as s:
            s.settimeout(20)
            for _ in range(2):  # the second time shows what it keeps
                for base in self.bases():
                    for raw in (*cuts(base), *flips(base), *self.worse()):
                        answers = self.over_udp(s, raw)
                        self.assertEqual(len(answers), 0 if len(raw) < 12 or raw[2] & 0x80 else 1, raw.hex())
                        for m in answers:
                            self.check(raw, m)
                before = before or self.resident_kib()
        self.assert_no_growth(before)
        self.assert_alive()
        self.assertEqual({(a.name, a.qtype) for a in self.stub.seen} - {(NAME, w.A), (NAME, w.AAAA)}, set())

    def test_over_tcp(self):
        self.assert_alive()
        self.over_tcp(w.query(NAME))
        before = None
        for base in list(self.bases())[1:3]:
            for raw in (*cuts(base), *flips(base), *self.worse()):
                self.over_tcp(raw)
            before = before or self.resident_kib()
        self.assert_no_growth(before)
        self.assert_alive()

    def test_frames_that_lie(self):
        """Lengths of zero, lengths of more than comes, all of 65,535 bytes, a byte at a time; and nobody hangs up."""
        self.assert_alive()
        fine = w.query(NAME)
        frame = struct.pack("!H", len(fine)) + fine
        before = self.resident_kib()
        open_ones = []
        for i, raw in enumerate([b"", b"\0", b"\0\0", b"\0\0" * 500, frame[:1], frame[:2], frame[:-1], b"\xff\xff",
                                 b"\xff\xff" + b"\0" * 65534, b"\xff\xff" + fine + b"x" * (65535 - len(fine)),
                                 b"\xff\xff" + os.urandom(65535), frame + b"\xff\xff" + fine, frame[:-1] + b"x" * 9000] * 8):
            stream = Stream(self.dnsd.addresses["tcp"][0])
            try:
                if i % 8 == 3:
                    for byte in raw[:600]:
                        stream.socket.sendall(bytes([byte]))
                else:
                    stream.socket.sendall(raw)
            except ConnectionError:
                pass
            open_ones.append(stream)  # half-open: we read nothing, and do not close
            self.assert_alive()
        for bit in range(16):  # every bit of the length
            stream = Stream(self.dnsd.addresses["tcp"][0])
            stream.socket.sendall(struct.pack("!H", len(fine) ^ 1 << bit) + fine)
            open_ones.append(stream)
        stream = self.dnsd.tcp()
        stream.send(fine)
        self.assertEqual([r.data for r in stream.receive().answer], [inet(GOOD)])
        stream.close()
        self.assert_no_growth(before)
        for stream in open_ones:
            stream.close()
        self.assert_alive()


class TestQuestionsAgain(TestQuestions):
    """The same where dnsd gives an answer again as it was."""
    options = ("--log-level", "info")

    def tearDown(self):
        self.dnsd.process.terminate()
        self.dnsd.process.wait(20)
        (totals,) = self.dnsd.lines("dns_totals")
        self.assertGreater(int(re.search(r" hot=(\d+)", totals).group(1)), 1, "never given again: this proves nothing")
        super().tearDown()


# ---- replies ----

# Names first to last, and bytes before and behind them: what RDATA of these types is made of.
RDATA = {w.NS: (0, 1, 0), w.CNAME: (0, 1, 0), w.PTR: (0, 1, 0), w.SOA: (0, 2, 20), w.MX: (2, 1, 0), w.SRV: (6, 1, 0)}


def is_exact(m, r):
    """RDATA ends where it says, for the types that hold names, and for addresses."""
    if r.type in (w.A, w.AAAA):
        return len(r.data) == (4 if r.type == w.A else 16)
    if r.type not in RDATA:
        return True
    before, names, behind = RDATA[r.type]
    at = r.at + before
    for _ in range(names):
        try:
            _, at = m.read_name(at)
        except (ValueError, IndexError):
            return False
    return at + behind == r.at + len(r.data)


def strict_view(raw, ask):
    """(rcode, addresses) that a strict parser sees in a reply to ask; None if it is no reply to it."""
    m = parse(raw)
    if m is not None and not m.flags & w.TC and not all(is_exact(m, r) for r in m.answer + m.authority + m.additional):
        return None
    if m is None or m.id != ask.message.id or not m.flags & w.QR or m.opcode != 0 or len(m.questions) != 1:
        return None
    name, qtype, qclass, _ = m.questions[0]
    if (name.lower(), qtype, qclass) != (ask.name, ask.qtype, 1):
        return None
    if any(r.type == w.OPT for r in m.answer + m.authority):
        return None
    at, out = ask.name, []
    for _ in range(len(m.answer) + 1):
        mine = [r for r in m.answer if r.owner.lower() == at and r.rclass == 1]
        if any(r.type == ask.qtype and len(r.data) != len(inet(GOOD)) for r in mine):
            return None
        out += [r.data for r in mine if r.type == ask.qtype]
        links = [r for r in mine if r.type == w.CNAME]
        if not links:
            break
        try:
            at, end = m.read_name(links[0].at)
        except (ValueError, IndexError):
            return None
        if end != links[0].at + len(links[0].data):
            return None
        at = at.lower()
    return m.rcode, set(out)


class Served:
    """Names "mK" get, for their first A question, mutation K and then a good reply; anything else a good reply alone."""

    def __init__(self, mutations, over_tcp):
        self.mutations, self.over_tcp, self.sent, self.lock = mutations, over_tcp, {}, threading.Lock()

    def get(self, key, default):
        return self.act if re.fullmatch(r"m\d+\.t\.example\.net", key[0]) else default

    def act(self, ask):
        if ask.qtype != w.A:
            return nodata(ask)
        fine = addresses(GOOD)(ask)
        if self.over_tcp and not ask.is_tcp:
            return [reply(ask, flags=w.RA | w.TC)]
        with self.lock:
            if ask.name in self.sent:
                return fine
            raw = self.mutations[int(ask.name[1:].split(".")[0])](ask)
            self.sent[ask.name] = (raw, ask)
        return [raw[:65535]] + fine


def bases_of(ask):
    target = w.name("edge.cdn.example.org")
    yield reply(ask, answer=[w.record(OWNER, w.A, 300, inet(OTHER)), w.record(OWNER, w.A, 300, inet("93.184.216.98"))])
    yield reply(ask, answer=[w.record(OWNER, w.CNAME, 40, target), w.record(target, w.A, 200, inet(OTHER))])
    yield reply(ask, w.NXDOMAIN, authority=[w.soa()])


def flip_of(base, bit):
    def run(ask):
        raw = list(bases_of(ask))[base]
        bit_at = bit % (len(raw) * 8)
        return raw[:bit_at // 8] + bytes([raw[bit_at // 8] ^ 1 << bit_at % 8]) + raw[bit_at // 8 + 1:]
    return run


def cut_of(base, n):
    return lambda ask: list(bases_of(ask))[base][:n]


def every_mutation():
    """For names of the length that "m1000" has."""
    class Like:
        message = w.Message(w.query("m1000.t.example.net"))
        question, qtype = message.questions[0][3], w.A
    for base, raw in enumerate(bases_of(Like)):
        for n in range(len(raw)):
            yield cut_of(base, n)
        for bit in range(len(raw) * 8):
            yield flip_of(base, bit)


def worse_replies():
    """Put together by hand. None of them is a reply with EVIL for who reads strictly, and knows what it asked."""
    evil = w.record(OWNER, w.A, 300, inet(EVIL))

    def raw(counts, body):
        def run(ask):
            return struct.pack("!HHHHHH", ask.message.id, w.QR | w.RD | w.RA, *counts) + ask.question + body
        return run

    at_end = b"\xc0\x25"  # where the first record begins behind the question of "m1000.t.example.net"
    for body in (w.record(at_end, w.A, 300, inet(EVIL)), w.record(b"\xc0\x00", w.A, 300, inet(EVIL)),
                 w.record(b"\xc0\x02", w.A, 300, inet(EVIL)), w.record(b"\xff\xff", w.A, 300, inet(EVIL)),
                 w.record(b"\x40" + b"a" * 64 + b"\0", w.A, 300, inet(EVIL)), w.record(OWNER, w.A, 300, inet(EVIL) + b"\0"),
                 w.record(OWNER, w.A, 300, inet(EVIL)[:3]), w.record(OWNER, w.A, 300, b""),
                 w.record(OWNER, w.A, 300, inet("2001:db8::1")), w.record(OWNER, w.CNAME, 300, at_end),
                 w.record(OWNER, w.CNAME, 300, b"\xc0\x0c\0"), w.record(OWNER, w.CNAME, 300, b""),
                 w.record(OWNER, w.A, 300, inet(EVIL), rclass=3),
                 w.record((b"\x3f" + b"a" * 63) * 4 + b"\0", w.A, 300, inet(EVIL))):
        yield raw((1, 1, 0, 0), body)
    beside, target = w.name("beside.example.org"), w.name("x.example.org")
    loop = w.record(OWNER, w.CNAME, 300, target) + w.record(target, w.CNAME, 300, OWNER)
    tsig = w.record(w.name("key"), 250, 0, w.name("hmac-sha256") + bytes(10) + bytes(6), 255)
    # The owner of the first leads to its own RDATA, and that back to it.
    knot = b"\xc0\x31" + struct.pack("!HHIH", w.CNAME, 1, 300, 2) + b"\xc0\x25"
    for counts, body in (((1, 2, 0, 0), evil), ((1, 65535, 0, 0), evil), ((1, 0, 0, 1), evil), ((1, 0, 1, 0), evil),
                         ((1, 1, 0, 0), w.record(beside, w.A, 300, inet(EVIL))), ((1, 2, 0, 0), loop),
                         ((1, 1, 0, 2), evil + w.opt() + w.opt()), ((1, 2, 0, 0), evil + w.opt()),
                         ((1, 2, 0, 0), knot + evil), ((1, 2, 0, 0), evil + tsig), ((1, 1, 0, 2), evil + tsig + w.opt()),
                         ((1, 1, 0, 1), evil + tsig[:-1]), ((1, 1, 0, 1), evil + tsig[:-17] + b"\x11" + tsig[-16:] + b"\0"),
                         ((1, 1, 1, 0), evil + w.record(b"\0", w.SOA, 1, w.name("a") + w.name("b") + bytes(21))),
                         ((1, 1, 0, 1), evil + w.record(beside, w.MX, 1, b"\0\1" + beside + b"\0")),
                         ((1, 1, 0, 1), evil + w.record(beside, w.SRV, 1, bytes(6) + b"\xc0\xff")),
                         ((1, 1, 0, 0), evil + b"\0"), ((1, 1, 0, 1), evil), ((0, 1, 0, 0), evil),
                         ((2, 1, 0, 0), w.question("beside.example.org", w.A) + evil)):
        yield raw(counts, body)
    # No reply to what was asked.
    for change in ({"question": w.question("beside.example.org", w.A)}, {"flags": w.RA | 0x0800}):
        yield lambda ask, change=change: reply(ask, answer=[evil], **change)
    yield lambda ask: reply(ask, answer=[evil], question=w.question(ask.wire_name, w.AAAA))
    yield lambda ask: reply(ask, answer=[evil], question=w.question(ask.wire_name, w.A, 3))
    yield lambda ask: reply(ask, answer=[evil], ident=ask.message.id ^ 0x8000)
    yield lambda ask: ask.raw
    yield lambda ask: b""
    yield lambda ask: reply(ask, answer=[w.record(OWNER, w.TXT, 1, os.urandom(250))] * 230)[:65000]


class TestReplies(Case):
    def ask_all(self, count, first=0):
        """Asks for m<first> to m<first+count-1>, a hundred at a time; {number: Message}."""
        out = {}
        with self.dnsd.udp() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.settimeout(20)
            waiting = set()
            for k in list(range(first, first + count)) + [None]:
                if k is not None:
                    s.send(w.query("m%d.t.example.net" % k, ident=k))
                    waiting.add(k)
                while len(waiting) >= (1 if k is None else 100):
                    m = w.Message(s.recv(65535))
                    waiting.discard(m.id)
                    out[m.id] = m
        return out

    def check(self, k, m, served):
        name = "m%d.t.example.net" % k
        self.assertIn(name, served.sent, "never asked: this proves nothing")
        raw, ask = served.sent[name]
        seen = strict_view(raw, ask)
        got = {r.data for r in m.answer}
        if m.rcode == w.NOERROR and got == {inet(GOOD)}:
            return "good"
        text = "%s said rcode %d and %s for %s" % (name, m.rcode, [x.hex() for x in got], raw.hex())
        if m.rcode == w.SERVFAIL and (seen is not None or served.over_tcp):
            return "failed"  # the upstream's failure, a loop; over TCP whatever ends the connection
        self.assertIsNotNone(seen, text)
        if got:
            self.assertTrue(got <= seen[1] and seen[0] == w.NOERROR, text)
        elif m.rcode == w.NXDOMAIN:
            self.assertEqual(seen[0], w.NXDOMAIN, text)
        else:
            # NODATA: nothing there for it, or no address that may be given out.
            self.assertEqual((m.rcode, seen[0]), (w.NOERROR, w.NOERROR), text)
        return "its own"

    def run_with(self, mutations, over_tcp, first):
        served = Served(dict(enumerate(mutations, first)), over_tcp)
        self.stub.zone = Zones(self.stub.zone, served)
        for k in range(first):  # the cache's brim, and every buffer
            served.mutations[k] = lambda ask: addresses(GOOD)(ask)[0]
        self.ask_all(min(first, 600))
        before = self.resident_kib()
        answers = self.ask_all(len(mutations), first)
        self.assertEqual(len(answers), len(mutations))
        outcome = []
        for k, m in answers.items():
            with self.subTest(k):
                outcome.append(self.check(k, m, served))
        self.assert_no_growth(before)
        self.assert_alive()
        return outcome, answers

    def test_every_cut_and_flip_over_udp(self):
        outcome, _ = self.run_with(list(every_mutation()), False, 1000)
        # Most are no reply at all, or the reply that they were; and some change what is said.
        self.assertGreater(outcome.count("good"), 500)
        self.assertGreater(outcome.count("its own"), 100)

    def test_every_cut_and_flip_over_tcp(self):
        outcome, _ = self.run_with(list(every_mutation()), True, 1000)
        self.assertGreater(outcome.count("its own"), 100)

    def test_worse(self):
        for over_tcp in (False, True):
            replies = list(worse_replies())
            _, answers = self.run_with(replies, over_tcp, 1100 if over_tcp else 1000)
            given = {r.data for m in answers.values() for r in m.answer}
            self.assertEqual(given, {inet(GOOD)})

    def test_all_that_a_message_can_hold(self):
        """65,535 bytes over TCP, two hundred addresses among them: as many as are ever kept."""
        many = ["93.%d.%d.1" % (i // 256, i % 256) for i in range(200)]
        records = [w.record(OWNER, w.A, 300, inet(text)) for text in many] + \
            [w.record(OWNER, 65400, 1, os.urandom(250)) for _ in range(235)]

        def full(ask):
            if not ask.is_tcp:
                return [reply(ask, flags=w.RA | w.TC)]
            room = 65535 - len(reply(ask, answer=records + [w.record(OWNER, 65400, 1, b"")]))
            return [reply(ask, answer=records + [w.record(OWNER, 65400, 1, b"x" * room)])]

        self.stub.zone[("m0.t.example.net", w.A)] = full
        self.assert_alive()
        before = self.resident_kib()
        stream = self.dnsd.tcp()
        stream.send(w.query("m0.t.example.net"))
        m = stream.receive()
        stream.close()
        self.assertEqual(len(m.answer), 64)
        self.assertTrue({r.data for r in m.answer} <= {inet(text) for text in many})
        self.assert_no_growth(before)


    def test_streams_that_lie(self):
        """An upstream's TCP: lengths of zero, of more than comes, of all that can be; a byte at a time; nothing at all."""
        def frame(raw):
            return struct.pack("!H", len(raw)) + raw

        def fine(ask):
            return frame(addresses(GOOD)(ask)[0])

        evil = b"\xff\xff" + b"\0" * 65535
        lies = [  # (what comes, and whether the end comes after it), and what is made of it; the first one slowly
            (lambda a: (fine(a), False), GOOD),
            (lambda a: (b"", True), None), (lambda a: (b"\0", True), None), (lambda a: (b"\0\0", True), None),
            (lambda a: (b"\0\0" * 2000 + fine(a), False), None), (lambda a: (evil + fine(a), False), None),
            (lambda a: (b"\xff\xff" + fine(a), False), None), (lambda a: (fine(a)[:-1], False), None),
            (lambda a: (fine(a)[:-1], True), None), (lambda a: (fine(a)[:1], False), None), (lambda a: (b"", False), None),
            (lambda a: (fine(a) + b"\xff\xff" + b"x" * 70000, True), GOOD), (lambda a: (fine(a) * 500, True), GOOD),
            (lambda a: (os.urandom(1 << 20), True), None), (lambda a: (bytes(1 << 20), False), None)]
        lies = {"t%d" % i: lie for i, lie in enumerate(lies)}
        options = []
        for label, (say, _) in lies.items():  # a zone each, so that none shares its connection with another
            stub = Lying(say, label == "t0")
            self.addCleanup(stub.hang_up)
            options += ["--zone", "%s.t.example.net=%s" % (label, stub.address)]
        dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--aaaa", "nodata", *options, *NO_BRAKES)
        self.addCleanup(lambda: self.assertEqual(dnsd.stop(), 0))
        kept, self.dnsd = self.dnsd, dnsd
        before, said = self.resident_kib(), {}
        with dnsd.udp() as s:
            s.settimeout(20)
            for i, label in enumerate(lies):
                s.send(w.query(label + ".t.example.net", ident=i))
            begin = time.monotonic()
            for _ in lies:
                m = w.Message(s.recv(4096))
                said["t%d" % m.id] = (m.rcode, [r.data for r in m.answer])
        self.assertLess(time.monotonic() - begin, 4.5)
        self.assertEqual(said, {label: (w.SERVFAIL, []) if address is None else (w.NOERROR, [inet(address)])
                                for label, (_, address) in lies.items()})
        self.assert_no_growth(before)
        self.assert_alive()
        self.dnsd = kept


class Lying(Stub):
    """Over UDP everything is cut. Over TCP comes what say(ask) says; one question a connection."""

    def __init__(self, say, is_slow):
        self.say, self.is_slow, self.held = say, is_slow, []
        super().__init__({})

    def act(self, raw, is_tcp, port):
        return [reply(Ask(raw, is_tcp, port), flags=w.RA | w.TC)]

    def answer_stream(self, conn, peer):
        with conn:
            head = conn.recv(2, socket.MSG_WAITALL)
            if len(head) < 2:
                return
            ask = Ask(conn.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL), True, peer[1])
            raw, is_end = self.say(ask)
            if not is_end:
                self.held.append(conn.dup())  # half-open: nothing more comes, and nobody hangs up
            if self.is_slow:
                for byte in raw:
                    conn.sendall(bytes([byte]))
            else:
                conn.sendall(raw)

    def hang_up(self):
        for conn in self.held:
            conn.close()


class Zones:
    def __init__(self, zone, served):
        self.zone, self.served = zone, served

    def get(self, key, _):
        # Nothing at the end of a CNAME that a flip made: what is denied is denied by the reply itself.
        return self.served.get(key, None) or self.zone.get(key, nodata)


if __name__ == "__main__":
    lab.own_ports()
    unittest.main(verbosity=1)
