#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""errors.py: bad packets for openshell-dnsd and bad heads for openshell-tunneld; standard library only.

errors.py hold ADDRESS PORT FILE   hold that port, UDP and TCP; FILE appears when it is held
errors.py packets LOG              LOG is openshell-dnsd's, which says where it listens
errors.py heads LOG                LOG is openshell-tunneld's

Exit status 0 if every answer was the promised one; 1 with the first that was not. Noise comes from a seed that is
printed, E2E_SEED sets it.
"""

import os
import random
import re
import signal
import socket
import struct
import sys

SEED = int(os.environ.get("E2E_SEED") or random.randrange(1 << 32))
PATIENCE = 5.0  # for an answer that must come
QUIET = 0.2  # for one that must not
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5


class Broken(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Broken(" ".join(str(w) for w in what))


def listeners(path):
    """[(protocol or "", host, port)] from the log's `listening` lines."""
    found = []
    with open(path, encoding="utf-8") as log:
        for line in log:
            fields = dict(re.findall(r"(\w+)=\"?([^\s\"]+)", line))
            if re.search(r"\blistening\b", line) and "addr" in fields:
                host, _, port = fields["addr"].rpartition(":")
                found.append((fields.get("proto", ""), host.strip("[]"), int(port)))
    check(found, "no `listening` line with addr= in", path)
    return found


# --- DNS ---------------------------------------------------------------------------------------------------------


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def query(text="discord.com", qtype=1, qclass=1, ident=0x1234, flags=0x0100):
    return struct.pack("!6H", ident, flags, 1, 0, 0, 0) + name(text) + struct.pack("!HH", qtype, qclass)


class Udp:
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(address)

    def ask(self, packet, patience=PATIENCE):
        self.socket.settimeout(patience)
        self.socket.send(packet)
        try:
            return self.socket.recv(65535)
        except socket.timeout:
            return None


class Tcp:
    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)

    def ask(self, packet, patience=PATIENCE):
        """The answer, or None if the connection was closed or nothing came."""
        self.socket.settimeout(patience)
        try:
            self.socket.sendall(struct.pack("!H", len(packet)) + packet)
            head = self.read(2)
            return head and self.read(struct.unpack("!H", head)[0])
        except (socket.timeout, ConnectionError):
            return None

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                return None
            data += more
        return data


def rcode_of(packet, answer):
    check(len(answer) >= 12, "an answer of", len(answer), "bytes to", packet.hex())
    check(answer[:2] == packet[:2], "another ID in the answer to", packet.hex())
    check(answer[2] & 0x80, "QR=0 in the answer to", packet.hex())
    return answer[3] & 15


def check_good(open_socket):
    answer = open_socket().ask(query())
    check(answer, "no answer to a good query")
    check(rcode_of(query(), answer) == 0, "rcode", answer[3] & 15, "for a good query")
    check(struct.unpack("!H", answer[6:8])[0] >= 1, "no address in the answer to a good query")


HEADER = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0)
BAD_PACKETS = (
    # what, packet, the rcodes that are right (empty: silence)
    ("no byte behind the header", HEADER, {FORMERR}),
    ("a name without its end", HEADER + b"\7discord", {FORMERR}),
    ("a label longer than the packet", HEADER + b"\77discord\0\0\1\0\1", {FORMERR}),
    ("no type and class", HEADER + name("discord.com"), {FORMERR}),
    ("half a class", query()[:-1], {FORMERR}),
    ("a pointer to itself", HEADER + b"\xc0\x0c\0\1\0\1", {FORMERR}),
    ("a pointer forward", HEADER + b"\xc0\x20\0\1\0\1", {FORMERR}),
    ("a label type of the past", HEADER + b"\x41\0\0\1\0\1", {FORMERR}),
    ("a name of 256 bytes", HEADER + (b"\77" + b"a" * 63) * 4 + b"\0\0\1\0\1", {FORMERR}),
    ("no question", struct.pack("!6H", 0x1234, 0x0100, 0, 0, 0, 0), {FORMERR}),
    ("two questions", HEADER[:4] + b"\0\2" + HEADER[6:] + query()[12:] * 2, {FORMERR}),
    ("records that are not there", query()[:6] + b"\xff\xff\xff\xff\xff\xff" + query()[12:], {FORMERR}),
    ("two OPT records", query()[:11] + b"\2" + query()[12:] + b"\0\0\x29\4\xd0\0\0\0\0\0\0" * 2, {FORMERR}),
    ("opcode STATUS", query(flags=0x1100), {NOTIMP}),
    ("opcode UPDATE", query(flags=0x2900), {NOTIMP}),
    ("class CHAOS", query(qclass=3), {REFUSED}),
    ("AXFR", query(qtype=252), {REFUSED}),
    ("a label with a dot in it", HEADER + b"\x0bdiscord.com\0\0\1\0\1", {NXDOMAIN}),
    ("a label with a NUL in it", HEADER + b"\x08discord\0\3com\0\0\1\0\1", {NXDOMAIN}),
    ("an answer", query(flags=0x8100), set()),
    ("eleven bytes", query()[:11], set()),
    ("one byte", b"\0", set()),
)


def check_bad_packets(open_socket):
    for what, packet, wanted in BAD_PACKETS:
        answer = open_socket().ask(packet, PATIENCE if wanted else QUIET)
        if not wanted:
            check(answer is None, what, "was answered:", answer)
            continue
        check(answer, "no answer to", what)
        check(rcode_of(packet, answer) in wanted, what, "got rcode", answer[3] & 15, "not", wanted)
        check(answer[6:8] == b"\0\0", what, "got records in its answer")


def noise_packet(rng):
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(0, 600))
    packet = bytearray(query(rng.choice(("discord.com", "www.example.com", "a." * 100 + "b")), rng.randrange(65536)))
    for _ in range(rng.randrange(1, 6)):
        packet[rng.randrange(2, len(packet))] = rng.randrange(256)
    return bytes(packet[: rng.randrange(1, len(packet) + 1)] + rng.randbytes(rng.randrange(0, 40)))


def check_dns_noise(udp, tcp):
    rng = random.Random(SEED)
    burst = Udp(udp)
    burst.socket.settimeout(0)
    for _ in range(2000):
        burst.socket.send(noise_packet(rng))
        try:
            answer = burst.socket.recv(65535)
            check(len(answer) >= 12 and answer[2] & 0x80, "noise was answered with", answer.hex())
        except BlockingIOError:
            pass
    for _ in range(50):
        stream = Tcp(tcp)
        try:
            for _ in range(rng.randrange(1, 20)):
                packet = noise_packet(rng)
                length = len(packet) if rng.random() < 0.8 else rng.randrange(65536)
                stream.socket.sendall(struct.pack("!H", length) + packet)
        except ConnectionError:
            pass
        stream.socket.close()


def test_packets(log):
    found = listeners(log)
    udp, tcp = (next((at[1:] for at in found if at[0] in ("", protocol)), None) for protocol in ("udp", "tcp"))
    check(udp and tcp, "not listening on both UDP and TCP:", found)
    for open_socket in (lambda: Udp(udp), lambda: Tcp(tcp)):
        check_good(open_socket)
        check_bad_packets(open_socket)
        check_good(open_socket)
    check_dns_noise(udp, tcp)
    check_good(lambda: Udp(udp))
    check_good(lambda: Tcp(tcp))


# --- CONNECT -----------------------------------------------------------------------------------------------------

GOOD_HEAD = b"CONNECT discord.com:443 HTTP/1.1\r\nHost: discord.com:443\r\n\r\n"
NO_TARGETS = (b"discord.com", b"discord.com:", b"discord.com:0", b"discord.com:65536", b"discord.com:0443x", b":443",
              b"discord.com:443/", b"disc ord.com:443", b"disc\0rd.com:443", b"[::1:443", b"[fe80::1%25lo]:443")  # fmt: skip
NO_NAMES = (b"user@discord.com:443", b"discord..com:443", b"*:443", b"1.2.3:443")  # no policy can name them
BAD_HEADS = [(repr(t), b"CONNECT " + t + b" HTTP/1.1\r\n\r\n", {400}) for t in NO_TARGETS]
BAD_HEADS += [(repr(t), b"CONNECT " + t + b" HTTP/1.1\r\n\r\n", {400, 403}) for t in NO_NAMES]
BAD_HEADS += [
    ("bare line feeds", b"CONNECT discord.com:443 HTTP/1.1\nHost: x\n\n", {400}),
    ("a bare line feed in a field", b"CONNECT discord.com:443 HTTP/1.1\r\nA: b\nC: d\r\n\r\n", {400}),
    ("folding", b"CONNECT discord.com:443 HTTP/1.1\r\nA: b\r\n c\r\n\r\n", {400}),
    ("two Hosts", b"CONNECT discord.com:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}),
    ("a body", b"CONNECT discord.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", {400}),
    ("chunks", b"CONNECT discord.com:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", {400}),
    ("a space before the colon", b"CONNECT discord.com:443 HTTP/1.1\r\nHost : a\r\n\r\n", {400}),
    ("no colon", b"CONNECT discord.com:443 HTTP/1.1\r\nHost\r\n\r\n", {400}),
    ("two spaces", b"CONNECT  discord.com:443 HTTP/1.1\r\n\r\n", {400}),
    ("HTTP/2.0", b"CONNECT discord.com:443 HTTP/2.0\r\n\r\n", {400, 505}),
    ("no version", b"CONNECT discord.com:443\r\n\r\n", {400}),
    ("origin form", b"GET / HTTP/1.1\r\nHost: discord.com\r\n\r\n", {400}),
    ("a ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 32 + b"\r\n\r\n", {400}),
    ("a head of 9 KiB", b"CONNECT discord.com:443 HTTP/1.1\r\nA: " + b"a" * 9216 + b"\r\n\r\n", {431}),
    ("a denied name", b"CONNECT www.example.com:443 HTTP/1.1\r\n\r\n", {403}),
    ("a denied port", b"CONNECT discord.com:8443 HTTP/1.1\r\n\r\n", {403}),
    ("a literal that no rule names", b"CONNECT 45.45.45.1:443 HTTP/1.1\r\n\r\n", {403}),
]


def send_head(address, head):
    """The whole answer up to the end of the connection, or up to the head's end for a 200."""
    with socket.create_connection(address, PATIENCE) as stream:
        stream.sendall(head)
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200 ") or b"\r\n\r\n" not in answer:
            more = stream.recv(65536)
            if not more:
                break
            answer += more
        return answer


def status_of(what, answer):
    match = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    check(match, what, "was answered with", answer[:80])
    return int(match.group(1))


def check_good_head(address):
    check(status_of("a good head", send_head(address, GOOD_HEAD)) == 200, "no 200 for a good head")


def check_head_noise(address):
    rng = random.Random(SEED)
    for _ in range(300):
        head = bytearray(GOOD_HEAD)
        for _ in range(rng.randrange(1, 8)):
            head[rng.randrange(len(head))] = rng.randrange(256)
        if rng.random() < 0.3:
            head = bytearray(rng.randbytes(rng.randrange(1, 10000)))
        stream = socket.create_connection(address, PATIENCE)
        try:
            stream.sendall(head)
            stream.settimeout(0.01)
            stream.recv(64)
        except (ConnectionError, socket.timeout):
            pass
        stream.close()


def test_heads(log):
    _, host, port = listeners(log)[0]
    address = (host, port)
    check_good_head(address)
    for what, head, wanted in BAD_HEADS:
        status = status_of(what, send_head(address, head))
        check(status in wanted, what, "got", status, "not", wanted)
    check_good_head(address)
    check_head_noise(address)
    check_good_head(address)


# -----------------------------------------------------------------------------------------------------------------


def hold(host, port, ready):
    held = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        held.append(socket.socket(socket.AF_INET, kind))
        held[-1].bind((host, int(port)))
    held[-1].listen()
    open(ready, "w", encoding="ascii").close()
    signal.pause()


def main():
    commands = {"hold": hold, "packets": test_packets, "heads": test_heads}
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except (Broken, OSError) as error:
        sys.exit(f"errors.py {sys.argv[1]}: {type(error).__name__}: {error} (E2E_SEED={SEED})")


if __name__ == "__main__":
    main()
