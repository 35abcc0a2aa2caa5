# SPDX-License-Identifier: Apache-2.0
"""The real daemon while its upstream is slow, silent, broken or back again. Invented time has tests/replay/resolver."""
import re
import signal
import socket
import threading
import time
import unittest

import dns_wire as w
import lab
from daemon import Daemon
from dns_stub import Stub, addresses, late, nodata, rcode, silence

V4 = "93.184.216.34"
OTHER = "93.184.216.35"
POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: "*.t.example.net", port: 443 }
      - { host: gateway.discord.gg, port: 443 }
"""
HOST = "gateway.discord.gg"


def good(address=V4):
    return {(HOST, w.A): addresses(address, ttl=300), (HOST, w.AAAA): nodata}


class Case(unittest.TestCase):
    def start(self, *options, zone=None):
        self.stub = Stub(good() if zone is None else zone)
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--aaaa", "pass", "--ttl-max", "1s", *options)
        self.addCleanup(self.dnsd.stop)

    def ask(self, name=HOST, qtype=w.A):
        """The answer, and how long it took."""
        begin = time.monotonic()
        m = self.dnsd.ask(name, qtype, edns=w.opt())
        return m, time.monotonic() - begin

    def assert_stale(self, m, ede=3):
        self.assertEqual(m.ede()[0], ede)
        self.assertEqual([r.ttl for r in m.answer], [30])

    def totals(self):
        self.dnsd.process.terminate()
        self.assertEqual(self.dnsd.process.wait(20), 0)
        return dict(re.findall(r"(\w+)=(\d+)", self.dnsd.lines("dns_totals")[0]))


class TestStale(Case):
    def expire(self):
        self.assertEqual(len(self.ask()[0].answer), 1)
        time.sleep(1.1)  # the TTL, which --ttl-max makes as short as can be

    def test_silent_upstream(self):
        self.start()
        self.expire()
        self.stub.zone[HOST, w.A] = silence
        m, took = self.ask()
        self.assert_stale(m)
        self.assertTrue(1.75 < took < 3.0, took)
        self.assertIn("yet", m.ede()[1])
        time.sleep(2.2)  # 3.5 s after the question the upstream is given up, behind that answer
        m, took = self.ask()
        self.assert_stale(m)
        self.assertLess(took, 0.5)
        self.stub.zone.update(good(OTHER))
        time.sleep(1.1)  # the failure is remembered so long
        m, took = self.ask()
        self.assertEqual((m.ede(), m.answer[0].data), (None, socket.inet_aton(OTHER)))
        self.assertLess(took, 1.0)
        totals = self.totals()
        self.assertEqual((totals["stale"], totals["stale_lookups"], totals["lookup_failures"]), ("2", "2", "1"))
        self.assertEqual(len(self.dnsd.lines("dns_stale")), 2)

    def test_broken_upstream(self):
        self.start()
        self.expire()
        self.stub.zone[HOST, w.A] = rcode(w.SERVFAIL)
        for _ in range(3):
            m, took = self.ask()
            self.assert_stale(m)
            self.assertLess(took, 1.0)
        self.assertIn("SERVFAIL", m.ede()[1])
        self.dnsd.wait_log(r" warn .* dns_stale name=gateway\.discord\.gg .* why=\"expired, and the upstreams")

    def test_nxdomain_is_an_answer_and_goes_stale_itself(self):
        zone = {("n.t.example.net", t): rcode(w.NXDOMAIN) for t in (w.A, w.AAAA)}
        self.start("--ttl-neg-max", "1s", zone=zone)
        m, _ = self.ask("n.t.example.net")
        self.assertEqual((m.rcode, m.ede()), (w.NXDOMAIN, None))
        time.sleep(1.1)
        for t in (w.A, w.AAAA):
            self.stub.zone["n.t.example.net", t] = rcode(w.SERVFAIL)
        m, _ = self.ask("n.t.example.net")
        self.assertEqual((m.rcode, m.ede()[0], m.soa()[1]), (w.NXDOMAIN, 19, 30))

    def test_off(self):
        self.start("--serve-stale", "0")
        self.expire()
        for t in (w.A, w.AAAA):
            self.stub.zone[HOST, t] = rcode(w.SERVFAIL)
        m, _ = self.ask()
        self.assertEqual((m.rcode, m.ede()[0]), (w.SERVFAIL, 22))
        m, _ = self.ask()
        self.assertEqual((m.rcode, m.ede()[0]), (w.SERVFAIL, 13))
        self.assertIn("SERVFAIL", m.ede()[1])

    def test_revoked_while_stale(self):
        self.start()
        self.expire()
        self.stub.zone[HOST, w.A] = silence
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(self.ask()[0]))
        waiting.start()
        while len([a for a in self.stub.seen if a.qtype == w.A]) < 2:
            time.sleep(0.01)
        self.dnsd.write_policy(POLICY.replace(HOST, "discord.com"))
        self.dnsd.wait_log("policy_in_use worker=0 generation=2")
        self.assertEqual(self.ask()[0].rcode, w.NXDOMAIN)
        waiting.join()
        self.assertEqual((answers[0].rcode, answers[0].ede()[0]), (w.NXDOMAIN, 15))

    def test_what_is_denied_is_not_asked_for_behind_its_stale_answer(self):
        self.start()
        self.expire()
        self.stub.zone[HOST, w.A] = silence
        self.assert_stale(self.ask()[0])  # 1.8 s after the question, which is asked again until 3.5 s
        self.dnsd.write_policy(POLICY.replace(HOST, "discord.com"))
        self.dnsd.wait_log("policy_in_use worker=0 generation=2")
        asked = len(self.stub.asked(HOST))
        time.sleep(2)
        self.assertEqual(len(self.stub.asked(HOST)), asked)

    def test_servfail_comes_before_four_seconds(self):
        self.start(zone={(HOST, t): silence for t in (w.A, w.AAAA)})
        for qtype in (w.A, w.AAAA):
            m, took = self.ask(qtype=qtype)
            self.assertEqual(m.rcode, w.SERVFAIL)
            self.assertLess(took, 4.0)

    def test_upstream_that_is_not_there_at_first(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.dnsd = Daemon(POLICY, "--upstream", "127.0.0.1:%d" % port)
        self.addCleanup(self.dnsd.stop)
        m, took = self.ask()
        self.assertEqual(m.rcode, w.SERVFAIL)
        self.assertLess(took, 4.0)

    def test_an_outage_that_is_over_is_no_verdict_on_a_family(self):
        self.start("--serve-stale", "0", zone={(HOST, w.A): rcode(w.SERVFAIL),
                                               (HOST, w.AAAA): late(0.3, rcode(w.SERVFAIL))})
        begin = time.monotonic()
        self.assertEqual(self.ask()[0].rcode, w.SERVFAIL)  # A is remembered for 1 s, AAAA 0.3 s longer
        time.sleep(begin + 1.1 - time.monotonic())
        self.assertEqual(self.ask()[0].rcode, w.SERVFAIL)  # A for 2 s
        time.sleep(begin + 1.5 - time.monotonic())
        self.stub.zone.update({(HOST, w.A): addresses(V4), (HOST, w.AAAA): addresses("2606:2800:220:1::1")})
        for qtype in (w.A, w.AAAA):
            self.assertEqual(len(self.ask(qtype=qtype)[0].answer), 1)
        self.assertEqual([a.qtype for a in self.stub.seen].count(w.A), 3)

    def test_zero_ttl_does_not_melt_the_upstream(self):
        """ovn-kubernetes#5867: those who wait share one exchange, and nobody else does."""
        def slow(ask):
            time.sleep(0.5)
            return addresses(V4, ttl=0)(ask)
        self.start(zone={("zero.t.example.net", w.A): slow})
        with self.dnsd.udp() as s:
            s.settimeout(20)
            for i in range(200):
                s.send(w.query("zero.t.example.net", ident=i))
            got = [w.Message(s.recv(4096)) for _ in range(200)]
        self.assertEqual({m.id for m in got}, set(range(200)))
        self.assertEqual({(len(m.answer), m.answer[0].ttl) for m in got}, {(1, 0)})
        self.assertLess(len([a for a in self.stub.seen if a.qtype == w.A]), 5)


class TestRenewal(Case):
    def test_a_name_that_is_asked_for_is_not_what_the_cache_drops(self):
        zone = {("n%d.t.example.net" % i, w.A): addresses(OTHER, ttl=3600) for i in range(600)}
        self.stub = Stub(zone | good())
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--aaaa", "nodata", "--cache-size", "64KiB",
                           "--rate-limit", "0", "--wildcard-budget", "0", "--log-level", "info")
        self.addCleanup(self.dnsd.stop)
        for i in range(600):
            self.assertEqual(len(self.ask("n%d.t.example.net" % i)[0].answer), 1)
            self.assertEqual(len(self.ask()[0].answer), 1)
        self.dnsd.write_policy(POLICY + "      - { host: example.org, port: 443 }\n")
        self.dnsd.process.send_signal(signal.SIGHUP)
        while self.ask("evil.example.org")[0].soa()[3] != 2:  # the serial: then what is in the cache decides
            time.sleep(0.01)
        self.ask()
        self.ask("n0.t.example.net")
        asked = [a.name for a in self.stub.seen]
        self.assertEqual((asked.count("n0.t.example.net"), asked.count(HOST)), (2, 1))
        self.assertGreater(int(self.totals()["hot"]), 300, "the cache was asked each time: this proves nothing")

    def test_popular_names_are_asked_again_in_time(self):
        self.stub = Stub(good())
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--ttl-max", "10s",
                           "--log-level", "info")  # so that answers are given again without a look at the cache
        self.addCleanup(self.dnsd.stop)
        end = time.monotonic() + 11.5
        slowest = 0
        while time.monotonic() < end:
            m, took = self.ask()
            slowest = max(slowest, took)
            self.assertEqual((len(m.answer), m.ede()), (1, None))
            time.sleep(0.1)
        asked = [a.at for a in self.stub.seen if a.qtype == w.A]
        self.assertEqual(len(asked), 2)
        self.assertTrue(8.9 < asked[1] - asked[0] < 10, asked[1] - asked[0])
        self.assertEqual(self.totals()["prefetches"], "1")


if __name__ == "__main__":
    lab.own_ports()
    unittest.main()
