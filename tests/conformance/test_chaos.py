# SPDX-License-Identifier: Apache-2.0
"""Whatever upstreams do, every question is answered once, truly, and before 4 s.

Rounds of one to four upstreams that are broken at random (chaos_upstream.py), each with a daemon of its own, all at
the same time. An answer's time is the kernel's, from when the datagram arrived, so that a script that is late is not
taken for a daemon that is. Eight rounds of four seconds, always the same ones; CHAOS_ROUNDS=N does more of them, and
CHAOS_SEED=N one alone.
"""
import os
import random
import socket
import struct
import time
import unittest

import chaos_upstream as chaos
import dns_wire as w
from daemon import NO_BRAKES, Daemon

POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: "*.t.example.net", port: 443 }
"""
SECONDS, AT_ONCE = 4, 8
SEEDS = ([int(os.environ["CHAOS_SEED"])] if "CHAOS_SEED" in os.environ else
         range(1, 1 + int(os.environ.get("CHAOS_ROUNDS", AT_ONCE))))
ANSWERED_S = 4
RATE = 60  # questions a second, in each round
SO_TIMESTAMPNS = 35
RCODES = {w.NOERROR, w.SERVFAIL, w.NXDOMAIN}


class Round:
    def __init__(self, loop, seed, host):
        self.loop, self.seed, self.rng = loop, seed, random.Random(seed)
        self.upstreams = [chaos.Upstream(loop, self.rng, host) for _ in range(self.rng.randrange(1, 5))]
        options = [o for u in self.upstreams for o in ("--upstream", u.address)]
        aaaa = self.rng.choice(["auto", "nodata", "pass"])
        self.daemon = Daemon(POLICY, *options, *NO_BRAKES, "--aaaa", aaaa)
        self.client = self.daemon.udp()
        self.client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.client.setblocking(False)
        self.asked, self.waiting, self.wrong, self.slowest_s, self.seen = 0, {}, [], 0.0, {}
        loop.read(self.client, self.on_answer)
        self.end = 0.0

    def begin(self):
        self.end = time.monotonic() + SECONDS
        self.ask()

    def __str__(self):
        return "\n  ".join(["CHAOS_SEED=%d, %d questions, slowest %.3f s, answers %s" %
                            (self.seed, self.asked, self.slowest_s, self.seen)] + [str(u) for u in self.upstreams])

    def ask(self):
        if time.monotonic() >= self.end:
            return
        self.asked += 1
        number = self.asked // 2 if self.rng.random() < 0.5 else self.rng.randrange(self.asked)
        qtype = self.rng.choice([w.A, w.A, w.A, w.AAAA, w.AAAA, w.PTR, w.HTTPS])
        has_opt = self.rng.random() < 0.5
        ident = self.asked & 0xffff
        self.waiting[ident] = (time.time(), qtype, has_opt)
        self.client.send(w.query("n%d.t.example.net" % number, qtype, ident, edns=w.opt() if has_opt else None))
        self.loop.after(self.rng.expovariate(RATE), self.ask)

    def on_answer(self):
        raw, control, _, _ = self.client.recvmsg(4096, 256)
        stamps = [data for _, kind, data in control if kind == SO_TIMESTAMPNS]
        seconds, nanoseconds = struct.unpack("qq", stamps[0][:16])
        answer = w.Message(raw)
        if answer.id not in self.waiting:
            self.wrong.append("answered twice: %s" % raw.hex())
            return
        asked_at, qtype, has_opt = self.waiting.pop(answer.id)
        self.slowest_s = max(self.slowest_s, seconds + nanoseconds / 1e9 - asked_at)
        key = (answer.rcode, len(answer.answer))
        self.seen[key] = self.seen.get(key, 0) + 1
        self.check(answer, qtype, has_opt)

    def check(self, answer, qtype, has_opt):
        said = [(r.type, r.data) for r in answer.answer]
        true = [(qtype, chaos.PACKED[qtype])] if qtype in chaos.PACKED else []
        if said not in ([], true) or (said and answer.rcode != w.NOERROR) or answer.rcode not in RCODES:
            self.wrong.append("rcode %d, records %s" % (answer.rcode, said))
        if answer.rcode == w.NXDOMAIN and not any(u.may_say_nxdomain() for u in self.upstreams):
            self.wrong.append("NXDOMAIN, which nobody has said")
        if answer.rcode == w.SERVFAIL and has_opt and not (answer.opt and answer.opt.data):
            self.wrong.append("SERVFAIL without a reason")
        if answer.rcode == w.SERVFAIL and any(u.is_sound() for u in self.upstreams):
            self.wrong.append("SERVFAIL, although one upstream is sound")

    def close(self):
        for upstream in self.upstreams:
            upstream.close()
        self.loop.forget(self.client)
        self.client.close()
        status = self.daemon.stop()
        if status != 0:
            self.wrong.append("exit status %d" % status)


class Chaos(unittest.TestCase):
    def run_rounds(self, loop, seeds):
        rounds = [Round(loop, seed, "127.0.0.1") for seed in seeds]
        for r in rounds:
            r.begin()
        end = max(r.end for r in rounds)
        while time.monotonic() < end or (any(r.waiting for r in rounds) and time.monotonic() < end + 2 * ANSWERED_S):
            loop.turn()
        for r in rounds:
            r.close()
        return rounds

    def test(self):
        for first in range(0, len(SEEDS), AT_ONCE):
            loop = chaos.Loop()
            for r in self.run_rounds(loop, SEEDS[first:first + AT_ONCE]):
                print(r, flush=True)
                with self.subTest(seed=r.seed):
                    self.assertEqual(r.wrong, [])
                    self.assertEqual(r.waiting, {}, "never answered")
                    self.assertLess(r.slowest_s, ANSWERED_S + loop.lag_s)
                    self.assertGreater(r.asked, SECONDS * RATE / 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
