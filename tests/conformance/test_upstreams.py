# SPDX-License-Identifier: Apache-2.0
"""What happens on the way to the upstreams: dead, slow and forged ones, a firewall against UDP, loops."""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import dns_wire as w
import lab
from daemon import TUNNELD, Daemon
from dns_stub import OWNER, Stub, addresses, late, rcode, reply, silence

POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: "*.t.example.net", port: 443 }
"""
LOOP = "loop.openshell.invalid"
HERE = addresses("93.184.216.34")
ANSWERED_S = 4  # whatever happens


def names(count, act):
    return {("n%d.t.example.net" % i, w.A): act for i in range(count)}


def over_tcp_only(act):
    return lambda ask: act(ask) if ask.is_tcp else []


def cut_over_udp(act):
    return lambda ask: act(ask) if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)]


class Upstreams(unittest.TestCase):
    def start(self, *stubs, options=(), **more):
        for stub in stubs:
            options += ("--upstream", stub if isinstance(stub, str) else stub.address)
        daemon = Daemon(POLICY, "--aaaa", "nodata", *options, **more)
        self.addCleanup(daemon.stop)
        return daemon

    def timed(self, daemon, qname):
        begin = time.monotonic()
        answer = daemon.ask(qname)
        self.assertIsNotNone(answer)
        return answer, time.monotonic() - begin

    def check(self, daemon, qname, within_s):
        answer, took_s = self.timed(daemon, qname)
        self.assertEqual((answer.rcode, len(answer.answer)), (w.NOERROR, 1))
        self.assertLess(took_s, within_s)

    def test_dead(self):
        daemon = self.start(Stub(names(1, silence)))
        answer, took_s = self.timed(daemon, "n0.t.example.net")
        self.assertEqual(answer.rcode, w.SERVFAIL)
        self.assertLess(took_s, ANSWERED_S)

    def test_refused(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        daemon = self.start(address)  # nobody there is no reason not to start
        answer, took_s = self.timed(daemon, "n0.t.example.net")
        self.assertEqual(answer.rcode, w.SERVFAIL)
        self.assertLess(took_s, 1)

    def test_ipv6(self):
        try:
            stub = Stub({**names(1, HERE), **{("n%d.t.example.net" % i, w.A): cut_over_udp(HERE) for i in (1, 2)}}, "::1")
        except OSError:
            self.skipTest("no IPv6 loopback here")
        daemon = self.start(stub, options=("--zone", "n2.t.example.net=" + stub.address))
        for i in range(3):
            self.check(daemon, "n%d.t.example.net" % i, ANSWERED_S)
        self.assertEqual([a.is_tcp for a in stub.seen], [False, False, True, False, True])

    def test_one_of_two_dead(self):
        daemon = self.start(Stub(names(3, silence)), Stub(names(3, HERE)))
        self.check(daemon, "n0.t.example.net", 0.7)  # asked beside before its time is over
        time.sleep(1)  # then it is known
        self.check(daemon, "n1.t.example.net", 0.2)
        self.check(daemon, "n2.t.example.net", 0.2)

    def test_failing_is_said_once(self):
        """By one of many workers; not for one lost packet; and that it is over, with how long it took."""
        acts = {"alive": silence}
        zone = {("n%d.t.example.net" % i, w.A): lambda ask: acts["alive"](ask) for i in range(200)}
        ill, well = Stub(zone), Stub(names(200, HERE))
        daemon = self.start(ill, well, options=("--workers", "3"))
        asked = iter(range(200))

        def ask_until(event, at_least=0):
            for i in asked:
                self.check(daemon, "n%d.t.example.net" % i, 0.7)
                if i >= at_least and daemon.lines(event):
                    return
                time.sleep(0.2)
            self.fail("no " + event)
        self.check(daemon, "n%d.t.example.net" % next(asked), 0.7)
        time.sleep(0.9)
        self.assertEqual(daemon.lines("upstream_failing"), [])  # it may have been lost
        ask_until("upstream_failing", 30)
        self.assertEqual(len(daemon.lines("upstream_failing")), 1)
        self.assertRegex(daemon.lines("upstream_failing")[0], r"warn.* addr=%s why=no_reply effect=" % ill.address)
        self.assertEqual(daemon.lines("upstream_restored"), [])
        acts["alive"] = HERE
        ask_until("upstream_restored")
        time.sleep(0.2)
        self.assertEqual(len(daemon.lines("upstream_restored")), 1)
        self.assertRegex(daemon.lines("upstream_restored")[0], r"info.* addr=%s over=any down_s=[1-9]" % ill.address)

    def test_blocked_udp_is_said(self):
        blocked, stub = [True], Stub({})
        admin = os.path.join(tempfile.mkdtemp(), "admin")
        self.addCleanup(shutil.rmtree, os.path.dirname(admin))

        def failing():
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(admin)
                s.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                page = b"".join(iter(lambda: s.recv(65535), b""))
            return [(u["addr"], u["state"]) for u in json.loads(page.partition(b"\r\n\r\n")[2])["upstreams_failing"]]
        stub.zone.update({("n%d.t.example.net" % i, w.A): lambda ask: HERE(ask) if ask.is_tcp or not blocked[0] else []
                          for i in range(100)})
        daemon = self.start(stub, options=("--admin", "unix:" + admin))
        with daemon.udp() as client:
            client.settimeout(ANSWERED_S)
            for i in range(2):
                client.send(w.query("n%d.t.example.net" % i, ident=i))
            for i in range(2):
                client.recv(65535)
        daemon.wait_log(r" upstream_failing addr=%s why=udp_blocked effect=\"asked over TCP\"" % stub.address)
        self.assertEqual(failing(), [(stub.address, "udp_blocked")])
        blocked[0] = False
        for i in range(2, 100):
            self.check(daemon, "n%d.t.example.net" % i, 0.5)
            if daemon.lines("upstream_restored"):
                break
            time.sleep(0.3)
        self.assertRegex(daemon.lines("upstream_restored")[0], r" addr=%s over=udp down_s=\d" % stub.address)
        self.assertEqual(failing(), [])
        self.assertEqual(len(daemon.lines("upstream_failing")), 1)

    def test_slow_is_overtaken(self):
        slow, fast = Stub(names(1, late(0.6, HERE))), Stub(names(1, HERE))
        daemon = self.start(slow, fast)
        self.check(daemon, "n0.t.example.net", 0.55)
        self.assertEqual(len(fast.asked("n0.t.example.net")), 1)

    def test_udp_blocked(self):
        stub = Stub(names(4, over_tcp_only(HERE)))
        daemon = self.start(stub)
        self.check(daemon, "n0.t.example.net", 1.5)
        for i in range(1, 4):
            self.check(daemon, "n%d.t.example.net" % i, 0.3)
        ports = {a.port for i in range(4) for a in stub.asked("n%d.t.example.net" % i) if a.is_tcp}
        self.assertEqual(len(ports), 1)  # one connection for all

    def test_tcp_is_kept(self):
        stub = Stub(names(20, cut_over_udp(HERE)))
        daemon = self.start(stub)
        with daemon.udp() as client:
            client.settimeout(ANSWERED_S)
            for i in range(20):
                client.send(w.query("n%d.t.example.net" % i, ident=i))
            answers = {w.Message(client.recv(65535)).id for _ in range(20)}
        self.assertEqual(answers, set(range(20)))
        ports = {a.port for i in range(20) for a in stub.asked("n%d.t.example.net" % i) if a.is_tcp}
        self.assertEqual(len(ports), 1)

    def test_cut_where_tcp_is_silent(self):
        mute = Stub(names(12, lambda ask: [] if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)]))
        daemon = self.start(mute, Stub(names(12, cut_over_udp(HERE))))
        self.check(daemon, "n0.t.example.net", ANSWERED_S)
        time.sleep(1)  # then it is known
        for i in range(1, 12):
            self.check(daemon, "n%d.t.example.net" % i, 0.2)

    def test_malformed_over_tcp(self):
        other = w.question("other.t.example.net", w.A)
        wrong = (lambda ask: b"\xff" * 30, lambda ask: ask.raw[:2] + b"\xff" * 30, lambda ask: b"", lambda ask: b"\0" * 11,
                 lambda ask: reply(ask, ident=ask.message.id ^ 1), lambda ask: reply(ask, question=other),
                 lambda ask: reply(ask, answer=[b"\xc0\x0c\0"]))
        zone = {("n%d.t.example.net" % i, w.A): cut_over_udp(lambda ask, say=say: [say(ask)]) for i, say in enumerate(wrong)}
        said = (23, "an upstream sends over TCP what is no reply to the question")
        alone, second = self.start(Stub(zone)), self.start(Stub(zone), Stub(names(len(wrong), HERE)))
        for i in range(len(wrong)):
            begin = time.monotonic()
            answer = alone.ask("n%d.t.example.net" % i, edns=w.opt())
            self.assertLess(time.monotonic() - begin, 0.5)
            self.assertEqual((answer.rcode, answer.ede()), (w.SERVFAIL, said), i)
            self.check(second, "n%d.t.example.net" % i, 0.2)
        alone.wait_log(r" dns_failed .*why=\"%s\"" % said[1])

    def test_malformed_over_tcp_costs_others_nothing(self):
        """Many share a connection with one whose answer has another ID, wherever among them it stands."""
        def act(ask):
            time.sleep(0.01)
            return [reply(ask, ident=ask.message.id ^ 1)] if ask.name.startswith("n3.") else HERE(ask)
        daemon = self.start(Stub(names(20, cut_over_udp(act))))
        self.check(daemon, "n19.t.example.net", 0.5)
        with daemon.udp() as client:
            client.settimeout(2)
            for i in range(19):
                client.send(w.query("n%d.t.example.net" % i, ident=i))
            rcodes = {m.id: m.rcode for m in (w.Message(client.recv(65535)) for _ in range(19))}
        self.assertEqual(rcodes, {i: w.SERVFAIL if i == 3 else w.NOERROR for i in range(19)})

    def test_unasked_without_end(self):
        ended = threading.Event()

        def act(ask):
            try:
                yield from HERE(ask)
                while True:
                    yield reply(ask, ident=ask.message.id ^ 1)
                    time.sleep(0.01)
            finally:
                ended.set()
        daemon = self.start(Stub(names(1, lambda ask: act(ask) if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)])))
        self.check(daemon, "n0.t.example.net", 0.5)
        self.assertTrue(ended.wait(5))  # the connection is closed

    def test_forged(self):
        def act(ask):
            forged = [reply(ask, w.NXDOMAIN, ident=(ask.message.id + 1 + i) & 0xffff) for i in range(20)]
            other = w.question("other.t.example.net", w.A)
            return forged + [reply(ask, w.NXDOMAIN, question=other)] + HERE(ask)
        daemon = self.start(Stub(names(1, act)))
        self.check(daemon, "n0.t.example.net", 0.5)
        daemon.wait_log(r" dns_forgery_suspected upstream=127\.0\.0\.1:\d+ count=16")

    def test_ids_do_not_come_back(self):
        stub = Stub(names(400, HERE))
        daemon = self.start(stub, options=("--rate-limit", "0", "--wildcard-budget", "0"))
        for i in range(400):
            self.check(daemon, "n%d.t.example.net" % i, ANSWERED_S)
        self.assertGreater(len({a.message.id for a in stub.seen}), 390)  # one or two by chance
        self.assertGreater(len({(a.message.id, a.port) for a in stub.seen}), 398)

    def test_silent_at_start(self):
        begin = time.monotonic()
        self.start(Stub({(LOOP, w.TXT): silence}))
        self.assertLess(time.monotonic() - begin, 3)  # half a second and what a slow machine takes

    def test_marker(self):
        stub = Stub({})
        daemon = self.start(stub)
        texts = set()
        for qname in (LOOP, LOOP.upper()):
            answer = daemon.ask(qname, w.TXT)
            self.assertEqual((answer.rcode, len(answer.answer), answer.answer[0].ttl), (w.NOERROR, 1, 0))
            texts.add(answer.answer[0].data)
        self.assertEqual(len(texts), 1)
        self.assertRegex(texts.pop()[1:].decode(), "^openshell-dnsd=[0-9a-f]{32}$")
        self.assertEqual(daemon.ask(LOOP, w.A).rcode, w.NXDOMAIN)
        self.assertEqual({a.qtype for a in stub.asked(LOOP)}, {w.TXT})  # ours; not one is the client's
        self.assertLessEqual(len(stub.asked(LOOP)), 3)
        daemon.process.terminate()
        daemon.process.wait(20)
        self.assertIn(" local=2 ", daemon.lines("dns_totals")[0])

    def test_loop_at_start(self):
        first = self.start(Stub({}))
        address = "%s:%d" % first.addresses["udp"][0]
        second = self.start(address, expect_ready=False)
        self.assertEqual(second.status, 78)
        self.assertIn("upstream %s is an openshell-dnsd itself" % address, second.log())
        done = subprocess.run([TUNNELD, "--policy", first.policy, "--listen", "127.0.0.1:0", "--upstream", address],
                              stderr=subprocess.PIPE, text=True, check=False, timeout=20)
        self.assertEqual(done.returncode, 78)
        self.assertIn("is an openshell-dnsd itself", done.stderr)

    def test_loop_of_a_zone(self):
        first = self.start(Stub({}))
        address = "%s:%d" % first.addresses["udp"][0]
        second = self.start(Stub({}), options=("--zone", "t.example.net=" + address), expect_ready=False)
        self.assertEqual(second.status, 78)
        self.assertRegex(second.log(), r"--zone t\.example\.net: upstream \S+ is an openshell-dnsd itself")

    def test_one_loop_is_left_alone(self):
        first = self.start(Stub({}))
        stub = Stub(names(1, HERE))
        second = self.start("%s:%d" % first.addresses["udp"][0], stub)
        second.wait_log(r" upstream_is_dnsd upstream=\S+ effect=\"not asked\"")
        self.check(second, "n0.t.example.net", 0.2)
        self.assertNotIn("n0.t.example.net", first.log())
        time.sleep(0.3)  # until the workers have asked, too
        self.assertEqual(second.lines("upstream_loop"), [])
        self.assertEqual([line.split("addr=")[1] for line in second.lines("upstream")], [stub.address])

    def test_loop_of_the_start_is_not_asked(self):
        mark = b"openshell-dnsd=" + b"0123456789abcdef" * 2

        def act(ask):  # slower than the first questions come
            time.sleep(0.3)
            return [reply(ask, answer=[w.record(OWNER, w.TXT, 0, bytes([len(mark)]) + mark)])]
        loop, stub = Stub({(LOOP, w.TXT): act, **names(5, HERE)}), Stub(names(5, HERE))
        daemon = self.start(loop, stub, options=("--workers", "2"))
        self.assertEqual(len(daemon.lines("upstream_is_dnsd")), 1)
        for i in range(5):
            self.check(daemon, "n%d.t.example.net" % i, 0.5)
        self.assertEqual([a.name for a in loop.seen], [])
        self.assertEqual(daemon.lines("upstream_loop"), [])  # it is said already

    def test_many_workers_say_it_once(self):
        first = self.start(Stub({}))
        forged = [0]

        def act(ask):
            forged[0] += 20
            return [reply(ask, w.NXDOMAIN, ident=(ask.message.id + 1 + i) & 0xffff) for i in range(20)] + HERE(ask)
        daemon = self.start("%s:%d" % first.addresses["udp"][0], Stub(names(100, act)), options=("--workers", "4"))
        for i in range(100):  # a socket each: all workers get some
            daemon.ask("n%d.t.example.net" % i)
        self.assertGreater(forged[0], 2 * 4 * 16)
        daemon.wait_log(r" dns_forgery_suspected ")
        self.assertEqual(len(daemon.lines("dns_forgery_suspected")), 1)
        self.assertEqual(len(daemon.lines("upstream_is_dnsd") + daemon.lines("upstream_loop")), 1)

    def test_loop_to_itself_later(self):
        daemons = []

        def forward(ask):
            if not daemons:
                return []
            answer = daemons[0].exchange(ask.raw, 2)
            return [answer.raw] if answer is not None else []
        daemon = self.start(Stub({(LOOP, w.TXT): forward, **names(1, forward)}))
        daemons.append(daemon)
        daemon.wait_log(r" upstream_loop upstream=\S+ is=\"this process\"")
        answer, took_s = self.timed(daemon, "n0.t.example.net")
        self.assertEqual(answer.rcode, w.SERVFAIL)
        self.assertLess(took_s, 0.5)
        told = daemon.ask("n1.t.example.net", edns=w.opt()).ede()  # it could be reached
        self.assertEqual(told, (23, "every upstream is an openshell-dnsd and not asked"))
        daemon.wait_log(r' dns_failed .*why="every upstream is an openshell-dnsd and not asked"')

    def test_counted(self):
        daemon = self.start(Stub({**names(1, HERE), ("n1.t.example.net", w.A): rcode(w.SERVFAIL)}))
        self.check(daemon, "n0.t.example.net", 0.5)
        self.assertEqual(daemon.ask("n1.t.example.net").rcode, w.SERVFAIL)
        daemon.process.terminate()
        daemon.process.wait(20)
        totals = re.search(r" dns_totals .*", daemon.log()).group(0)
        self.assertIn(" upstream_udp=2 ", totals)
        self.assertIn(" upstream_replies=2 ", totals)


if __name__ == "__main__":
    lab.own_ports()
    unittest.main()
