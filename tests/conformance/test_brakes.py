# SPDX-License-Identifier: Apache-2.0
"""The brakes of the real daemons: what a program that carries data out in names gets past them, counted where it ends."""
import json
import os
import random
import re
import socket
import tempfile
import time
import unittest

import dns_wire as w
import lab
from daemon import Daemon
from dns_stub import Stub, addresses, nodata

V4 = "93.184.216.34"
LONG = "a" * 60 + "." + "b" * 60 + ".exact.example.org"  # more than 128 bytes
POLICY = """\
version: 1
network_policies:
  wild:
    endpoints:
      - { host: "**.leak.example.net", port: 443 }
      - { host: "*.other.example.net", port: 443 }
  exact:
    endpoints:
      - { host: gateway.discord.gg, port: 443 }
      - { host: known.leak.example.net, port: 80 }
      - { host: %s, port: 443 }
""" % LONG


class Zone(dict):
    """Everything has an address; what begins with "zero" is never cached."""

    ttl = 300

    def get(self, key, default=None):
        name, qtype = key
        if qtype != w.A:
            return nodata
        return addresses(V4, ttl=0 if name.startswith("zero") else self.ttl)


def data_names(seed, count, domain="leak.example.net"):
    rnd = random.Random(seed)
    return ["%x.%s" % (rnd.getrandbits(200), domain) for _ in range(count)]


def stub():
    s = Stub({})
    s.zone = Zone()
    return s


def names_of(s):
    """What clients had asked, without the question that finds loops."""
    with s.lock:
        return {a.name for a in s.seen} - {"loop.openshell.invalid"}


def sum_of(log, event):
    """Lines of the event that name something, and what others were suppressed."""
    lines = [x for x in log.splitlines() if " %s " % event in x]
    told = sum(1 for x in lines if " name=" in x)
    return told, sum(int(n) for x in lines for n in re.findall(r" suppressed=(\d+)", x))


class TestDnsd(unittest.TestCase):
    def start(self, *options):
        self.stub = stub()
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, *options)
        self.addCleanup(self.dnsd.stop)

    def end(self):
        """Ends the daemon; its whole log, and its counters summed over the workers."""
        self.dnsd.process.terminate()
        self.assertEqual(self.dnsd.process.wait(20), 0)
        log, totals = self.dnsd.log(), {}
        for line in self.dnsd.lines("dns_totals"):
            for key, value in re.findall(r"(\w+)=(\d+)", line):
                totals[key] = totals.get(key, 0) + int(value)
        outcomes = ("errors", "client_refused", "denied", "noise", "local", "admitted", "open_zone", "failed", "rate_limited",
                    "wildcard_budget", "wildcard_length")
        self.assertEqual(sum(totals[key] for key in outcomes), totals["queries"])  # each question has one
        return log, totals

    def ask(self, s, name, qtype=w.A):
        s.send(w.query(name, qtype, edns=w.opt()))
        return w.Message(s.recv(4096))

    def assert_stopped(self, m, option):
        self.assertEqual((m.rcode, m.answer), (w.NXDOMAIN, []))
        owner, ttl, mname, _, minimum = m.soa()
        self.assertEqual((owner, ttl, mname, minimum), ("", 1, "dnsd.openshell.invalid", 1))
        code, text = m.ede()
        self.assertEqual(code, 15)
        self.assertIn(option, text)
        self.assertLessEqual(len(text), 120)

    def test_a_thousand_random_labels(self):
        self.start()
        names = data_names(1, 1000)
        begin = time.monotonic()
        with self.dnsd.udp() as s:
            s.settimeout(20)
            got = [self.ask(s, n) for n in names]
            took = time.monotonic() - begin
            self.assertEqual([m.rcode for m in got[:120]], [w.NOERROR] * 120)
            for m in got:
                if m.rcode != w.NOERROR:
                    self.assert_stopped(m, "--wildcard-budget")
            reached = names_of(self.stub)
            self.assertEqual(len(reached), sum(1 for m in got if m.rcode == w.NOERROR))
            self.assertLessEqual(len(reached), 120 + took + 1)  # the burst, and one a second
            # Seen names stay free, of both types; exact names are no matter of the wildcard.
            self.assertEqual(self.ask(s, names[0]).rcode, w.NOERROR)
            self.assertEqual(self.ask(s, names[0], w.AAAA).rcode, w.NOERROR)
            self.assertEqual(len(self.ask(s, "known.leak.example.net").answer), 1)
            self.assertEqual(len(self.ask(s, "gateway.discord.gg").answer), 1)
            self.assertEqual(len(self.ask(s, "x.other.example.net").answer), 1)
        log, totals = self.end()
        told, kept = sum_of(log, "dns_wildcard_name")
        self.assertEqual((told, kept), (len(reached) + 1, 0))
        self.assertEqual(totals["wildcard_names"], len(reached) + 1)
        told, kept = sum_of(log, "dns_braked")
        self.assertEqual((told, told + kept), (1, 1000 - len(reached)))
        self.assertEqual(totals["wildcard_budget"], 1000 - len(reached))
        self.assertRegex(log, r' info .* dns_wildcard_name name=%s rule=wild pattern=\S*leak\.example\.net\S* '
                              r'client=127\.0\.0\.1' % re.escape(names[0]))
        self.assertRegex(log, r" warn .* dns_braked why=wildcard_budget detail=\".*\(--wildcard-budget\)\" name=\S+ rule=wild pattern=\S+ client=127")

    def test_workers_share_one_budget_and_a_reload_gives_none(self):
        self.start("--workers", "4", "--wildcard-budget", "10")
        for name in data_names(2, 200):
            self.dnsd.ask(name)  # a socket each: all workers get some
        self.assertLess(len(names_of(self.stub)), 30)
        before = len(names_of(self.stub))
        self.dnsd.write_policy(POLICY.replace("gateway.discord.gg", "discord.com"))
        self.dnsd.process.send_signal(1)
        self.dnsd.wait_log("policy_loaded generation=2")
        for name in data_names(3, 100):
            self.dnsd.ask(name)
        self.assertLess(len(names_of(self.stub)) - before, 15)
        self.end()

    def test_rate(self):
        self.start("--rate-limit", "5", "--wildcard-budget", "0")
        with self.dnsd.udp() as s:
            s.settimeout(20)
            self.assertEqual(len(self.ask(s, "gateway.discord.gg").answer), 1)
            begin = time.monotonic()
            got = [self.ask(s, "zero.leak.example.net") for _ in range(100)]
            took = time.monotonic() - begin
            good = [m for m in got if m.rcode == w.NOERROR]
            self.assertTrue(9 <= len(good) <= 10 + took * 5 + 1, len(good))
            for m in got:
                if m.rcode != w.NOERROR:
                    self.assertEqual((m.rcode, m.authority), (w.SERVFAIL, []))
                    self.assertEqual(m.ede()[0], 0)
                    self.assertIn("--rate-limit", m.ede()[1])
            self.assertEqual(len(self.stub.asked("zero.leak.example.net")), len(good))
            for _ in range(50):  # what the cache and the policy answer is free
                self.assertEqual(len(self.ask(s, "gateway.discord.gg").answer), 1)
                self.assertEqual(self.ask(s, "evil.example.org").ede()[0], 15)
        log, totals = self.end()
        self.assertEqual(totals["rate_limited"], 100 - len(good))
        told, kept = sum_of(log, "dns_braked")
        self.assertEqual(told + kept, 100 - len(good))
        self.assertRegex(log, r" dns_braked why=rate_limited detail=.* name=zero\.leak\.example\.net rule=wild .*client=127")

    def test_what_had_expired_is_given(self):
        """A stale answer costs no packet: better than a failure while the client may not ask."""
        self.start("--rate-limit", "1", "--ttl-max", "1s", "--aaaa", "pass")
        with self.dnsd.udp() as s:
            s.settimeout(20)
            for _ in range(10):  # a token may come in between on a busy machine
                self.assertEqual(len(self.ask(s, "gateway.discord.gg").answer), 1)
                time.sleep(1.1)
                while self.ask(s, "zero.leak.example.net").rcode == w.NOERROR:
                    pass
                before = len(self.stub.asked("gateway.discord.gg"))
                m = self.ask(s, "gateway.discord.gg")
                if len(self.stub.asked("gateway.discord.gg")) == before:
                    break
            else:
                self.fail("never braked")
            self.assertEqual((m.rcode, len(m.answer), m.answer[0].ttl), (w.NOERROR, 1, 30))
            self.assertEqual(m.ede(), (3, "expired, and this client may not ask upstream now"))
        _, totals = self.end()
        self.assertGreater(totals["stale"], 0)

    def test_length(self):
        self.start()
        fits = "a" * 60 + "." + "b" * (128 - 61 - 17) + ".leak.example.net"
        self.assertEqual(len(fits), 128)
        self.assertEqual(len(self.dnsd.ask(fits).answer), 1)
        self.assert_stopped(self.dnsd.ask("b" + fits, edns=w.opt()), "--wildcard-length")
        self.assertGreater(len(LONG), 128)
        self.assertEqual(len(self.dnsd.ask(LONG).answer), 1)
        self.assertEqual(names_of(self.stub), {fits, LONG})
        self.end()

    def test_other_forms_of_denial(self):
        self.start("--wildcard-budget", "1", "--deny", "nodata")
        for name in data_names(4, 2):
            self.assertEqual(len(self.dnsd.ask(name).answer), 1)
        m = self.dnsd.ask(data_names(5, 1)[0], edns=w.opt())
        self.assertEqual((m.rcode, m.answer, m.soa()[1], m.ede()[0]), (w.NOERROR, [], 1, 15))
        self.end()

    def test_off(self):
        self.start("--rate-limit", "0", "--wildcard-budget", "0", "--wildcard-length", "0")
        with self.dnsd.udp() as s:
            s.settimeout(20)
            for name in data_names(6, 700) + ["c" * 63 + "." + "d" * 63 + ".leak.example.net"]:
                self.assertEqual(len(self.ask(s, name).answer), 1)
        log, totals = self.end()
        self.assertEqual((totals["wildcard_names"], totals["wildcard_budget"], totals["rate_limited"]), (701, 0, 0))
        told, kept = sum_of(log, "dns_wildcard_name")
        self.assertEqual((told, kept), (701, 0))


class TestTunneld(unittest.TestCase):
    """The address is one that nothing here can reach: what matters happens before the dial."""
    program = os.path.join(os.environ.get("top_builddir", "."), "openshell-tunneld")

    def start(self, *options, stub_ttl=300):
        self.stub = stub()
        self.stub.zone.ttl = stub_ttl
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.admin = os.path.join(self.dir.name, "admin")
        self.tunneld = lab.Daemon(self.program, POLICY, "--upstream", self.stub.address, "--never", "93.184.216.0/24",
                                  "--admin", "unix:" + self.admin, *options)
        self.addCleanup(self.end)

    def end(self):
        status = self.tunneld.stop()
        self.tunneld.process.stderr.close()
        self.assertEqual(status, 0)

    def connect(self, host, port=443):
        with self.tunneld.dial() as s:
            s.sendall(b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host.encode(), port))
            head = lab.read_head(s).decode()
            body = b""
            while True:
                more = s.recv(4096)
                if not more:
                    break
                body += more
        return head, json.loads(body)

    def counters(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.admin)
            s.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = b""
            while True:
                more = s.recv(65536)
                if not more:
                    break
                text += more
        return json.loads(text.split(b"\r\n\r\n", 1)[1])["counters"]

    def test_budget_and_length(self):
        self.start("--wildcard-budget", "10", "--workers", "4")
        names = data_names(11, 60)
        begin = time.monotonic()
        got = [self.connect(n) for n in names]
        took = time.monotonic() - begin
        kinds = [body["error"] for _, body in got]
        self.assertEqual(kinds[:20], ["ssrf_denied"] * 20)  # resolved, and then refused by --never
        passed = kinds.count("ssrf_denied")
        self.assertLessEqual(passed, 20 + took / 6 + 1)
        self.assertEqual(kinds.count("wildcard_budget"), 60 - passed)
        head, body = got[kinds.index("wildcard_budget")]
        self.assertTrue(head.startswith("HTTP/1.1 403 "), head)
        self.assertIn("error=http_request_denied", head)
        self.assertIn("--wildcard-budget", body["reason"])
        self.assertEqual(names_of(self.stub), {n for n, kind in zip(names, kinds) if kind == "ssrf_denied"})
        self.tunneld.wait_log("tunnel_denied", reason="wildcard_budget", rule="wild")
        self.assertEqual(self.connect(names[0])[1]["error"], "ssrf_denied")
        # An exact rule names it, though for another port than the one the wildcard admits.
        self.assertEqual(self.connect("known.leak.example.net", 443)[1]["error"], "ssrf_denied")
        self.assertEqual(self.connect("z" * 63 + "." + "y" * 63 + ".leak.example.net")[1]["error"], "wildcard_length")
        self.assertEqual(self.connect(LONG)[1]["error"], "ssrf_denied")
        counters = self.counters()
        self.assertEqual((counters["wildcard_names"], counters["wildcard_budget"], counters["wildcard_length"]),
                         (passed, 60 - passed, 1))
        self.tunneld.stop()  # what the log kept back is said at the end
        named = self.tunneld.count_log("dns_wildcard_name", rule="wild")
        kept = sum(e.get("suppressed", 0) for e in self.tunneld.logs if e.get("event") == "dns_wildcard_name")
        self.assertEqual(named + kept, passed)

    def test_rate(self):
        self.start("--rate-limit", "2", "--wildcard-budget", "0", "--workers", "4")
        begin = time.monotonic()
        got = [self.connect("zero%d.leak.example.net" % i) for i in range(30)]
        took = time.monotonic() - begin
        limited = [(h, b) for h, b in got if b["error"] == "rate_limited"]
        self.assertTrue(4 <= 30 - len(limited) <= 4 + 2 * took + 1, len(limited))
        head, body = limited[0]
        self.assertTrue(head.startswith("HTTP/1.1 429 "), head)
        self.assertIn("\r\nRetry-After: 1\r\n", head)
        self.assertIn("error=connection_limit_reached", head)
        self.assertIn("--rate-limit", body["reason"])
        self.assertEqual(self.counters()["rate_limited"], len(limited))
        self.assertEqual(len(names_of(self.stub)), 30 - len(limited))
        self.tunneld.wait_log("tunnel_denied", reason="rate_limited")

    def test_what_had_expired_is_used(self):
        self.start("--rate-limit", "1", "--workers", "1", stub_ttl=1)
        for _ in range(10):  # a token may come in between on a busy machine
            self.assertEqual(self.connect("gateway.discord.gg")[1]["error"], "ssrf_denied")
            time.sleep(1.1)
            while self.connect("zero.leak.example.net")[1]["error"] != "rate_limited":
                pass
            before = len(self.stub.asked("gateway.discord.gg"))
            error = self.connect("gateway.discord.gg")[1]["error"]
            if len(self.stub.asked("gateway.discord.gg")) == before:
                break
        else:
            self.fail("never braked")
        self.assertEqual(error, "ssrf_denied")  # its address was judged, so there was one

    def test_cache_and_literals_are_free(self):
        self.start("--rate-limit", "1", "--workers", "1")
        self.assertEqual(self.connect("gateway.discord.gg")[1]["error"], "ssrf_denied")
        for _ in range(20):
            self.assertEqual(self.connect("gateway.discord.gg")[1]["error"], "ssrf_denied")
            self.assertEqual(self.connect("evil.example.org")[1]["error"], "policy_denied")
            self.assertEqual(self.connect("192.0.2.1")[1]["error"], "policy_denied")
        self.assertEqual(self.counters()["rate_limited"], 0)


if __name__ == "__main__":
    lab.own_ports()
    unittest.main(verbosity=1)
