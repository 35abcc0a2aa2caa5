# SPDX-License-Identifier: Apache-2.0
"""What openshell-tunneld relays arrives, both ways at once and whatever the order in which the ends finish; and tunnels
that have come and gone leave nothing behind.

64 MiB each way and 1000 tunnels; with OPENSHELL_TEST_LONG=1 1 GiB and 10,000. The lab is that of tunneld.py. Arguments
choose tests by name.
"""
import concurrent.futures
import hashlib
import os
import platform
import random
import socket
import struct
import sys
import threading
import time

import lab
from lab import connect, read_exactly, refused, wait_until
from tunneld import ADDR4, ALL, ECHO, MIB, main, policy, tcp_rows

IS_LONG = os.environ.get("OPENSHELL_TEST_LONG", "") not in ("", "0")
DUPLEX = 7041
BULK = 1024 * MIB if IS_LONG else 64 * MIB
TUNNELS = 10000 if IS_LONG else 1000
SPLICE = {"x86_64": 275, "aarch64": 76}
LATE = 300000  # bytes that a side sends once the other has finished
# Who finishes first: at once, or behind its data; the other side sends LATE bytes more once it has seen that.
ORDERS = ("client", "server", "client at once", "server at once", "both")


class Sender:
    """Random bytes in pieces of every size, with pauses now and then; the digest of what was sent."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.block = self.rng.randbytes(MIB)
        self.digest = hashlib.sha256()
        self.sent = 0

    def send(self, sock, count):
        end = self.sent + count
        while self.sent < end:
            size = min(self.rng.choice((1, 7, 1000, 1460, 9000, 65536, 65536, 262144, MIB // 2)), end - self.sent)
            at = self.rng.randrange(MIB - size + 1)
            piece = memoryview(self.block)[at:at + size]
            sock.sendall(piece)
            self.digest.update(piece)
            self.sent += size
            if self.rng.randrange(200) == 0:
                time.sleep(self.rng.random() * 0.01)


def drain(sock, rng):
    digest = hashlib.sha256()
    while True:
        data = sock.recv(rng.choice((1, 4096, 65536, 262144)))
        if not data:
            return digest.hexdigest()
        digest.update(data)


def play(sock, who, order, count, seed):
    """One side's part: (digest of what it sent, of what it received)."""
    out = Sender("%s %s" % (seed, who))
    rng = random.Random(seed)
    got = []
    ended = threading.Event()

    def receive():
        try:
            got.append(drain(sock, rng))
        except OSError as e:
            got.append(repr(e))
        ended.set()

    receiving = threading.Thread(target=receive)
    receiving.start()
    if order != who + " at once":
        out.send(sock, count)
    if order != "both" and not order.startswith(who):
        ended.wait()  # the other has finished: this direction still works
        out.send(sock, LATE)
    sock.shutdown(socket.SHUT_WR)
    receiving.join()
    return out.digest.hexdigest(), got[0]


class Server:
    """Plays the server's part as the first thirteen bytes ask, and keeps the digests."""

    def __init__(self):
        self.results = {}

    def serve(self, sock):
        order, count, seed = struct.unpack(">BQL", read_exactly(sock, 13))
        self.results[seed] = play(sock, "server", ORDERS[order], count, seed)


def exchange(env, d, order, count):
    seed = random.randrange(1 << 32)
    with connect(d, "%s:%d" % (ADDR4, DUPLEX), struct.pack(">BQL", ORDERS.index(order), count, seed)) as s:
        s.settimeout(120)
        sent, got = play(s, "client", order, count, seed)
    wait_until(lambda: seed in env.duplex.results, 60)
    there = env.duplex.results.pop(seed)
    assert (sent, got) == (there[1], there[0]), "seed %d, %s: %r here, %r there" % (seed, order, (sent, got), there)


DUPLEX_POLICY = policy(dict(host=ADDR4, ports=[DUPLEX]))


def test_bulk_both_ways(env):
    with env.daemon(DUPLEX_POLICY) as d:
        exchange(env, d, "both", BULK)
        closed = d.wait_log("tunnel_close")
        assert closed["reason"] in ("client_closed", "upstream_closed"), closed
        assert closed["bytes_up"] == BULK + 13 and closed["bytes_down"] == BULK, closed


def test_half_close_in_every_order(env):
    with env.daemon(DUPLEX_POLICY) as d:
        for order in ORDERS:
            for count in (0, 1, 70000, 3 * MIB):
                start = len(d.logs)
                exchange(env, d, order, count)
                closed = d.wait_log("tunnel_close", start=start)
                if order != "both":
                    assert closed["reason"] == {"c": "client_closed", "s": "upstream_closed"}[order[0]], (order, closed)


def test_where_splice_is_refused(env):
    """A seccomp filter says EPERM: the daemon copies, says so once a worker, and nothing is lost."""
    number = SPLICE.get(platform.machine())
    if not number:
        print("not tried: the number of splice(2) on %s is not known here" % platform.machine(), flush=True)
        return
    without = (sys.executable, "-c", NO_SPLICE % number, env.program)
    with lab.Daemon(without, DUPLEX_POLICY, "--upstream", "127.0.0.1:%d" % env.dns.port, "--workers", "1") as d:
        for order in ORDERS:
            exchange(env, d, order, 8 * MIB)
        said = d.wait_log("splice_refused")
        assert said["level"] == "warn", said
        d.wait_count(1, "splice_refused")


NO_SPLICE = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = [struct.pack("HBBI", *i) for i in (
    (0x20, 0, 0, 0),            # load the number
    (0x15, 0, 1, %d),           # splice?
    (0x06, 0, 0, 0x00050001),   # EPERM
    (0x06, 0, 0, 0x7fff0000))]  # else as ever
text = ctypes.create_string_buffer(b"".join(code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)))
if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
    sys.exit("no seccomp filter")
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_nothing_is_left(env):
    """Tunnels opened and closed in every way leave no descriptor, no socket in CLOSE_WAIT, and no memory."""
    with env.daemon(ALL, "--workers", "2", "--max-tunnels-per-rule", "100") as d:
        def one(i):
            how = i % 6
            if how == 0:
                assert refused(d, "no.example.org:1").status == 403
            elif how == 1:
                d.dial().close()
            else:
                s = connect(d, "four.example.org:%d" % ECHO)
                if how == 2:
                    s.sendall(b"x")
                    assert s.recv(1) == b"x"
                if how == 3:
                    lab.reset(s)
                elif how == 4:
                    s.shutdown(socket.SHUT_WR)
                    assert s.recv(1) == b""
                s.close()

        def turn(count):
            closed = d.count_log("tunnel_close")
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(one, range(count)))
            wait_until(lambda: d.count_log("tunnel_close") == closed + sum(1 for i in range(count) if i % 6 >= 2), 30)

        turn(200)
        before, = lab.fds_at_rest([d])
        pipes, rss = d.pipe_count(), d.rss_kib()
        turn(TUNNELS)
        wait_until(lambda: d.fd_count() <= before)
        assert d.pipe_count() == pipes  # none of them was bulk
        grown = d.rss_kib() - rss
        print("%d tunnels: %d KiB more" % (TUNNELS, grown), flush=True)
        assert lab.is_sanitized(env.program) or grown < 1024, grown
        wait_until(lambda: not any(d.port in row[:2] and row[2] == "08" for row in tcp_rows()))


def prepare(env):
    env.duplex = Server()
    lab.serve(ADDR4, DUPLEX, env.duplex.serve)


ALONE = (test_bulk_both_ways, test_nothing_is_left)

if __name__ == "__main__":
    main(globals(), ALONE, prepare)
