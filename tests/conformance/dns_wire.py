# SPDX-License-Identifier: Apache-2.0
"""DNS messages for tests, by hand and without any check of its own: a test must be able to write nonsense."""
import struct

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, SVCB, HTTPS, IXFR, AXFR, ANY = (
    1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 64, 65, 251, 252, 255)
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010


def name(text):
    out = b""
    for label in text.rstrip(".").split(".") if text.rstrip(".") else []:
        raw = label.encode("latin-1")
        out += bytes([len(raw)]) + raw
    return out + b"\0"


def question(qname, qtype, qclass=1):
    return (qname if isinstance(qname, bytes) else name(qname)) + struct.pack("!HH", qtype, qclass)


def opt(size=1232, version=0, do=False, z=0, options=b"", ext_rcode=0):
    ttl = ext_rcode << 24 | version << 16 | (0x8000 if do else 0) | z
    return b"\0" + struct.pack("!HHIH", OPT, size, ttl, len(options)) + options


def option(code, data=b""):
    return struct.pack("!HH", code, len(data)) + data


def query(qname, qtype=A, ident=0x1234, flags=RD, qclass=1, edns=None, opcode=0):
    tail = edns if edns is not None else b""
    head = struct.pack("!HHHHHH", ident, flags | opcode << 11, 1, 0, 0, 1 if tail else 0)
    return head + question(qname, qtype, qclass) + tail


def record(owner, rtype, ttl, data, rclass=1):
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(data)) + data


def soa(owner=b"\0", ttl=300, minimum=300):
    return record(owner, SOA, ttl, name("ns.example.") + name("root.example.") +
                  struct.pack("!IIIII", 1, 3600, 600, 86400, minimum))


class Record:
    def __init__(self, owner, rtype, rclass, ttl, data, at, owner_raw):
        self.owner, self.type, self.rclass, self.ttl, self.data = owner, rtype, rclass, ttl, data
        self.at, self.owner_raw = at, owner_raw


class Message:
    """A parsed message. Raises on anything that is not exact, trailing bytes included."""

    def __init__(self, raw):
        self.raw = raw
        self.id, self.flags, qd, an, ns, ar = struct.unpack("!HHHHHH", raw[:12])
        self.rcode = self.flags & 15
        self.opcode = self.flags >> 11 & 15
        at = 12
        self.questions = []
        for _ in range(qd):
            qname, end = self.read_name(at)
            qtype, qclass = struct.unpack("!HH", raw[end:end + 4])
            self.questions.append((qname, qtype, qclass, raw[at:end + 4]))
            at = end + 4
        self.answer, at = self.read_records(at, an)
        self.authority, at = self.read_records(at, ns)
        self.additional, at = self.read_records(at, ar)
        if at != len(raw):
            raise ValueError("%d bytes behind the message" % (len(raw) - at))
        opts = [r for r in self.additional if r.type == OPT]
        if len(opts) > 1:
            raise ValueError("two OPT records")
        self.opt = opts[0] if opts else None
        if self.opt:
            self.rcode |= self.opt.ttl >> 24 << 4

    def read_name(self, at):
        labels, end, hops = [], None, 0
        while True:
            n = self.raw[at]
            if n >= 0xC0:
                target = (n & 0x3F) << 8 | self.raw[at + 1]
                end = at + 2 if end is None else end
                if target >= at or target < 12 or hops > 20:
                    raise ValueError("bad pointer")
                at, hops = target, hops + 1
                continue
            if n > 63 or at + 1 + n > len(self.raw) or sum(len(x) + 1 for x in labels) + (n and n + 1) > 254:
                raise ValueError("bad label")
            at += 1
            if n == 0:
                return ".".join(labels), at if end is None else end
            labels.append(self.raw[at:at + n].decode("latin-1"))
            at += n

    def read_records(self, at, count):
        out = []
        for _ in range(count):
            start = at
            owner, at = self.read_name(at)
            rtype, rclass, ttl, length = struct.unpack("!HHIH", self.raw[at:at + 10])
            data = self.raw[at + 10:at + 10 + length]
            if len(data) != length:
                raise ValueError("record cut off")
            out.append(Record(owner, rtype, rclass, ttl, data, at + 10, self.raw[start:at]))
            at += 10 + length
        return out, at

    def options(self):
        out, data = {}, self.opt.data if self.opt else b""
        while data:
            code, length = struct.unpack("!HH", data[:4])
            out[code] = data[4:4 + length]
            data = data[4 + length:]
        return out

    def ede(self):
        """(code, text) of the Extended DNS Error, or None."""
        data = self.options().get(15)
        return None if data is None else (struct.unpack("!H", data[:2])[0], data[2:].decode())

    def soa(self):
        """(owner, ttl, mname, serial, minimum) of the only authority record, or None."""
        if not self.authority:
            return None
        (r,) = self.authority
        if r.type != SOA:
            raise ValueError("authority is no SOA")
        mname, at = self.read_name(r.at)
        _, at = self.read_name(at)
        serial, _, _, _, minimum = struct.unpack("!IIIII", self.raw[at:at + 20])
        return r.owner, r.ttl, mname, serial, minimum
