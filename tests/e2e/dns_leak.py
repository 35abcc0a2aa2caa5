# SPDX-License-Identifier: Apache-2.0
"""What openshell-dnsd lets out: a packet counter on every interface of the lab.

Run by dns_leak.sh inside the lab, where lo is the only interface and the upstream has an address of its own. Every packet
that is neither between the client and dnsd nor between dnsd and the upstream is a failure. First everything that must
cost no packet at all, then names that the policy admits: of these nothing but the name and the type goes out, in a message
that is the same, byte for byte, whatever the client's looked like.

usage: dns_leak.py UPSTREAM-ADDRESS
"""
import collections
import os
import random
import re
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/conformance"))
import dns_wire as w  # noqa: E402
from daemon import NO_BRAKES, Daemon, Stream  # noqa: E402
from dns_stub import Stub, addresses, reply  # noqa: E402

SERVER = ("127.0.0.53", 53)
POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: gateway.example.net, port: 443 }
      - { host: "*.t.example.net", port: 443 }
egress:
  hosts:
    host.openshell.internal: [10.200.0.1]
"""
LOOP_GUARD = "loop.openshell.invalid"
NAMES = 600
MARK = b"of-the-client"  # nothing that contains it may go out
ETH_P_ALL, PACKET_OUTGOING = 3, 4

Packet = collections.namedtuple("Packet", "source sport dest dport proto tos payload")


class FixedPort(Stub):
    """The upstream is asked at port 53, as anywhere."""

    @staticmethod
    def bind(host):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.bind((host, 53))
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((host, 53))
        tcp.listen(64)
        return udp, tcp


class Zone:
    """Every name has an address; those that begin with "big" only over TCP."""

    def get(self, key, _):
        if key[0].startswith("big"):
            return lambda ask: addresses("93.184.216.34")(ask) if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)]
        return addresses("93.184.216.34", "2606:2800:220:1::1")


class Counter:
    """Every packet of the namespace, once."""

    def __init__(self, upstream):
        self.upstream, self.out, self.strays, self.lock = upstream, [], [], threading.Lock()
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        except PermissionError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)  # as much as an ordinary user may have
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            raw, (_, protocol, kind, _, _) = self.sock.recvfrom(65535)
            if kind == PACKET_OUTGOING or self.is_unreachable(raw, protocol):  # lo shows each twice
                continue
            packet = self.parse(raw, protocol)
            with self.lock:
                if packet is None:
                    self.strays.append("protocol %#x: %s" % (protocol, raw[:64].hex()))
                elif (packet.dest, packet.dport) == (self.upstream, 53):
                    self.out.append(packet)
                elif (packet.source, packet.sport) != (self.upstream, 53) and SERVER not in (
                        (packet.source, packet.sport), (packet.dest, packet.dport)):
                    self.strays.append(repr(packet))

    def is_unreachable(self, raw, protocol):
        """The kernel's word to the upstream that a reply came too late: it holds nothing but that reply."""
        if protocol != 0x0800 or raw[9] != socket.IPPROTO_ICMP or raw[20:22] != b"\3\3":
            return False
        late_one = self.parse(raw[28:], protocol)
        return late_one is not None and (late_one.source, late_one.sport) == (self.upstream, 53)

    @staticmethod
    def parse(raw, protocol):
        if protocol != 0x0800 or raw[9] not in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
            return None
        at = (raw[0] & 15) * 4
        sport, dport = struct.unpack_from("!HH", raw, at)
        body = raw[at + 8:] if raw[9] == socket.IPPROTO_UDP else raw[at + (raw[at + 12] >> 4) * 4:]
        return Packet(socket.inet_ntoa(raw[12:16]), sport, socket.inet_ntoa(raw[16:20]), dport, raw[9], raw[1], body)

    def lost(self):
        """Packets that the kernel could not hand over: then this proves nothing."""
        return struct.unpack("II", self.sock.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS

    def forget(self):
        """The ends of the connections of a daemon that was stopped."""
        time.sleep(0.2)
        with self.lock:
            self.out = []

    def take(self, wanted):
        """What went upstream, once wanted(payload) is true for one of them; clears it."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with self.lock:
                if any(wanted(packet.payload) for packet in self.out):
                    break
            time.sleep(0.01)
        else:
            raise AssertionError("what was to be seen upstream was not: this proves nothing")
        time.sleep(0.2)  # whatever is still on its way
        with self.lock:
            out, self.out = self.out, []
        return out


def client_socket():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
    s.connect(SERVER)
    s.settimeout(20)
    return s


def settle(s, ident):
    """Reads answers until that of a question asked now: everything before it has been dealt with."""
    s.send(w.query("localhost", ident=ident))
    while s.recv(65535)[:2] != struct.pack("!H", ident):
        pass


def costs_nothing():
    """Messages that must cost no packet upstream."""
    rnd = random.Random(409)
    secret = "payload-%s.evil.example.org"
    for qtype in range(1, 300):
        yield w.query(secret % rnd.getrandbits(64), qtype, ident=rnd.getrandbits(16))
        if qtype not in (w.A, w.AAAA):
            yield w.query("gateway.example.net", qtype, edns=w.opt())
            yield w.query("covert%x.t.example.net" % rnd.getrandbits(64), qtype)
    for i in range(200):
        for suffix in ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example.com", "example.org",
                       "x.gateway.example.net"):
            yield w.query("%s.%s" % (("gateway.example.net", "%x" % rnd.getrandbits(64))[i % 2], suffix),
                          (w.A, w.AAAA)[i // 2 % 2])
        yield w.query("%d.%d.%d.%d.in-addr.arpa" % tuple(rnd.randbytes(4)), w.PTR)
        yield w.query(".".join("%x" % rnd.randrange(16) for _ in range(32)) + ".ip6.arpa", w.PTR)
        yield w.query("%x" % rnd.getrandbits(64))
        yield w.query("%x.%x.t.example.net" % (rnd.getrandbits(64), i))
        yield w.query("t.example.net" if i % 2 else "example.net")
        yield w.query("%x.localhost" % rnd.getrandbits(64))
        yield w.query("%x.openshell.internal" % rnd.getrandbits(64))
    yield w.query("host.openshell.internal")
    for qclass in (3, 4, 254, 255):
        yield w.query("gateway.example.net", qclass=qclass)
    for opcode in range(1, 16):
        yield w.query("gateway.example.net", opcode=opcode)
    # Malformed, though the name is one that the policy admits.
    fine = w.query("gateway.example.net", edns=w.opt(options=w.option(10, MARK[:8])))
    for n in range(len(fine)):
        yield fine[:n]
    for counts in ((0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 2), (65535,) * 4):
        yield struct.pack("!HHHHHH", 7, w.RD, *counts) + fine[12:]
    yield fine + b"\0"
    yield w.query("gateway.example.net", flags=w.RD | w.QR)
    two = w.query("gateway.example.net") + w.question("gateway.example.net", w.AAAA)
    yield two[:5] + b"\2" + two[6:]
    yield w.query("gateway.example.net", edns=w.opt(version=1))
    for raw in (b"\x07gateway\x07example.net\0", b"\x07gat way\x07example\x03net\0", b"\x0agateway.ex\x03net\0"):
        yield w.query(raw)
    # Names that could be one thing here and another one upstream.
    for raw in (b"\x08gateway\0\x07example\x03net\0", b"\x07gateway\x07example\x03net\x01\x80\0", b"\x04\xc3\xbc\xc3\xb6\x01t\x07example\x03net\0"):
        yield w.query(raw)


def not_a_packet(counter):
    s = client_socket()
    count = 0
    for raw in costs_nothing():
        s.send(raw)
        count += 1
        if count % 50 == 0:
            settle(s, 0xFE00)
    settle(s, 0xFE01)
    for raw in costs_nothing():  # the same over TCP: an answer, or the end of the connection
        stream = Stream(SERVER)
        stream.send(raw)
        stream.receive()
        stream.close()
        count += 1
    s.send(w.query("witness.t.example.net"))
    w.Message(s.recv(4096))
    out = counter.take(lambda payload: b"witness" in payload.lower())
    bad = [p for p in out if b"witness" not in p.payload.lower() and not is_loop_guard(p.payload)]
    assert not bad, "%d packets upstream, the first one: %r" % (len(bad), bad[0])
    return count


def is_loop_guard(payload):
    return w.name(LOOP_GUARD) in payload.lower()


def client_queries(rnd, name):
    """The same question in as many ways as there are to ask it."""
    cased = "".join(rnd.choice((c.lower(), c.upper())) for c in name)
    options = w.option(10, rnd.randbytes(8) + MARK) + w.option(8, b"\0\1\x18\0" + bytes([93, 184, 216])) + w.option(3) + \
        w.option(12, b"\0" * rnd.randrange(40)) + w.option(65001, MARK)
    flags = rnd.choice((0, w.RD)) | rnd.choice((0, w.CD)) | rnd.choice((0, w.AD)) | rnd.choice((0, w.Z)) | \
        rnd.choice((0, w.RA)) | rnd.choice((0, w.AA))
    edns = rnd.choice((None, w.opt(4096), w.opt(rnd.randrange(65536), do=True, z=rnd.randrange(0x8000), options=options)))
    return cased, w.query(cased, ident=rnd.getrandbits(16), flags=flags, edns=edns)


def fair(hits, total, what):
    """A coin thrown total times: six standard deviations from half."""
    width = 3 * total ** 0.5
    assert abs(hits - total / 2) <= width, "%s: %d of %d" % (what, hits, total)


def messages(packets):
    """(packet, message); a segment may hold several."""
    for packet in packets:
        payload = packet.payload
        if packet.proto == socket.IPPROTO_UDP:
            yield packet, payload
            continue
        while payload:
            size = struct.unpack("!H", payload[:2])[0]
            assert 0 < size <= len(payload) - 2, "a piece of a message in a segment"
            yield packet, payload[2:2 + size]
            payload = payload[2 + size:]


def nothing_of_the_client(counter):
    rnd = random.Random(20409)
    s = client_socket()
    own_port = s.getsockname()[1]
    asked = {}
    for i in range(NAMES):
        name = "%s%d.t.example.net" % ("big" if i % 10 == 0 else "name", i)
        cased, raw = client_queries(rnd, name)
        asked[name] = (cased, raw)
        s.send(raw)
        m = w.Message(s.recv(65535))
        assert m.questions[0][0] == cased and m.answer, name
    out = counter.take(lambda payload: b"name%d" % (NAMES - 1) in payload.lower())
    udp, ids, ports, seen = [], [], [], set()
    for packet, payload in messages(out):
        if is_loop_guard(payload):
            continue
        assert packet.tos == 0, "the client's type of service"
        m = w.Message(payload)
        name, qtype, _, _ = m.questions[0]
        # The whole message is known, but for the ID and the case of the letters.
        expected = struct.pack("!H", m.id) + w.query(name, qtype, edns=w.opt(1232))[2:]
        assert payload == expected and qtype in (w.A, w.AAAA), "%s: %s" % (name, payload.hex())
        assert name.lower() in asked, name
        assert MARK not in payload
        seen.add(name.lower())
        if packet.proto == socket.IPPROTO_UDP:
            udp.append((name, packet.sport))
            ids.append(m.id)
            ports.append(packet.sport)
    assert seen == set(asked), "never asked upstream: %s" % sorted(set(asked) - seen)[:5]
    total = len(udp)
    # Identifiers: every bit a coin, no counter, not the client's.
    client_ids = [struct.unpack("!H", asked[name.lower()][1][:2])[0] for name, _ in udp]
    for bit in range(16):
        fair(sum(i >> bit & 1 for i in ids), total, "bit %d of the ID" % bit)
        fair(sum((i ^ c) >> bit & 1 for i, c in zip(ids, client_ids)), total, "bit %d of the ID against the client's" % bit)
    assert sum(i == c for i, c in zip(ids, client_ids)) <= 2, "the client's IDs"
    for what, values, size in (("IDs", ids, 65536), ("ports", ports, 28000)):
        assert len(set(values)) >= total - 6 * (1 + total * total / 2 / size), "%s repeat: %d of %d" % (
            what, len(set(values)), total)
        steps = collections.Counter((b - a) % 65536 for a, b in zip(values, values[1:]))
        assert steps.most_common(1)[0][1] <= 5, "%s by steps of %d" % (what, steps.most_common(1)[0][0])
        fair(sum(b > a for a, b in zip(values, values[1:])), total - 1, "%s that rise" % what)
    assert ports.count(own_port) <= 2, "the client's port"
    # The case of each letter: the client's throw of the coin is not ours.
    same = letters = 0
    for name, _ in udp:
        for ours, theirs in zip(name, asked[name.lower()][0]):
            if ours.isalpha():
                letters += 1
                same += ours == theirs
    fair(same, letters, "letters in the client's case")
    assert any(name != name.lower() for name, _ in udp), "this upstream echoes case: it should be used"
    return total


def main(upstream):
    counter = Counter(upstream)
    stub = FixedPort({}, upstream)
    stub.zone = Zone()
    with tempfile.TemporaryDirectory() as directory:
        synthetic = ("--answer", "synthetic", "--map", os.path.join(directory, "map"))
        status = 0
        # At "debug" no answer is given again as it was; else they are.
        for what, options in (("real, each anew", ()), ("real", ("--log-level", "info")), ("synthetic", synthetic)):
            status = status or run(counter, upstream, what, options)
    return status


def run(counter, upstream, what, options):
    counter.forget()
    dnsd = Daemon(POLICY, "--upstream", upstream, "--listen", "%s:%d" % SERVER, "--aaaa", "pass", *options,
                  *NO_BRAKES)
    try:
        print("dns_leak: %s: %d messages, UDP and TCP, cost no packet" % (what, not_a_packet(counter)))
        print("dns_leak: %s: %d packets upstream carry a name and a type, nothing else of the client" %
              (what, nothing_of_the_client(counter)))
        with counter.lock:
            assert not counter.strays, "%d packets to elsewhere, the first one: %s" % (
                len(counter.strays), counter.strays[0])
        assert counter.lost() == 0, "the counter lost packets: this proves nothing"
    except BaseException:
        print(re.sub(r"(?m)^(.*debug.*\n)", "", dnsd.log())[-3000:])
        raise
    finally:
        status = dnsd.stop()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
