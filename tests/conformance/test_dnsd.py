# SPDX-License-Identifier: Apache-2.0
"""The real openshell-dnsd against the whole table of its manual, with a stub upstream: no Internet, no fixed port."""
import os
import random
import re
import signal
import socket
import struct
import tempfile
import time
import unittest

import dns_wire as w
import lab
from daemon import NO_BRAKES, Daemon, Stream
from dns_stub import OWNER, Stub, addresses, late, nodata, rcode, reply, silence

POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: gateway.discord.gg, port: 443 }
      - { host: "*.slack.com", port: 443 }
      - { host: "*.t.example.net", port: 443 }
      - { host: host.openshell.internal, port: 8080 }
egress:
  hosts:
    host.openshell.internal: [10.200.0.1]
"""
V4, V6 = "93.184.216.34", "2606:2800:220:1::1"
MANY = ["93.184.%d.%d" % (i, i) for i in range(1, 61)]


def forged(ask):
    """Two replies that do not fit, then the right one."""
    evil = [w.record(OWNER, w.A, 300, socket.inet_aton("6.6.6.6"))]
    return [reply(ask, answer=evil, ident=ask.message.id ^ 1),
            reply(ask, answer=evil, question=w.question("other.t.example.net", ask.qtype)),
            b"\0", *addresses(V4)(ask)]


def truncated(ask):
    return addresses(V4)(ask) if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)]


def no_edns(ask):
    """An old server: FORMERR without a question for every OPT."""
    if ask.message.opt:
        return [struct.pack("!HHHHHH", ask.message.id, w.QR | w.RD | w.FORMERR, 0, 0, 0, 0)]
    return [reply(ask, answer=[w.record(OWNER, w.A, 60, socket.inet_aton(V4))], edns=False)]


def cname(ask):
    """A chain out of the admitted suffix; what lies beside it does not count."""
    target = w.name("edge.cdn.example.org")
    return [reply(ask, answer=[w.record(OWNER, w.CNAME, 40, target),
                               w.record(target, w.A, 200, socket.inet_aton(V4)),
                               w.record(w.name("bystander.example.org"), w.A, 1, socket.inet_aton("6.6.6.6"))])]


def to_localhost(ask):
    """A CNAME and nothing else: who asks on asks for localhost."""
    return [reply(ask, answer=[w.record(OWNER, w.CNAME, 40, w.name("db.localhost"))])]


def both(name, a, aaaa):
    return {(name, w.A): a, (name, w.AAAA): aaaa}


GOOD = addresses(V4, V6)
ZONE = {
    **both("gateway.discord.gg", addresses(V4), nodata),
    **both("dual.slack.com", GOOD, GOOD),
    **both("a-bad-servfail.t.example.net", rcode(w.SERVFAIL), GOOD),
    **both("bad-servfail.t.example.net", GOOD, rcode(w.SERVFAIL)),
    **both("bad-refused.t.example.net", GOOD, rcode(w.REFUSED)),
    **both("bad-nxdomain.t.example.net", GOOD, rcode(w.NXDOMAIN)),
    **both("bad-notimp.t.example.net", GOOD, rcode(w.NOTIMP)),
    **both("bad-silent.t.example.net", GOOD, silence),
    **both("gone-silent.t.example.net", rcode(w.NXDOMAIN), silence),
    **both("private-silent.t.example.net", addresses("10.1.2.3"), silence),
    **both("ill.t.example.net", rcode(w.SERVFAIL), rcode(w.SERVFAIL)),
    **both("gone.t.example.net", rcode(w.NXDOMAIN), rcode(w.NXDOMAIN)),
    **both("private.t.example.net", addresses("10.1.2.3"), nodata),
    **both("rebind.t.example.net", addresses("127.0.0.1", "0.0.0.0", "169.254.169.254", V4), addresses("::1", "::")),
    **both("many.t.example.net", addresses(*MANY), nodata),
    **both("forged.t.example.net", forged, nodata),
    **both("big.t.example.net", truncated, nodata),
    **both("old.t.example.net", no_edns, nodata),
    **both("chain.t.example.net", cname, nodata),
    **both("local.t.example.net", to_localhost, to_localhost),
    **both("slow.t.example.net", late(0.6, addresses(V4)), nodata),
    **both("short.t.example.net", addresses(V4, ttl=1), nodata),
    **{("p%d.t.example.net" % i, w.A): addresses(V4) for i in range(400)},
}


class Case(unittest.TestCase):
    options = ["--aaaa", "pass", *NO_BRAKES]
    policy = POLICY

    @classmethod
    def setUpClass(cls):
        cls.stub = Stub(ZONE)
        cls.dnsd = Daemon(cls.policy, "--upstream", cls.stub.address, *cls.options)

    @classmethod
    def tearDownClass(cls):
        status = cls.dnsd.stop()
        if status != 0:
            raise AssertionError("exit status %d" % status)

    def assert_common(self, m):
        self.assertTrue(m.flags & w.QR)
        self.assertFalse(m.flags & (w.AA | w.AD | w.Z), "AA, AD and Z are never set")

    def assert_negative(self, m, code, ttl=10):
        self.assert_common(m)
        self.assertEqual(m.rcode, code)
        self.assertEqual(m.answer, [])
        self.assertTrue(m.flags & w.RA)
        owner, soa_ttl, mname, _, minimum = m.soa()
        self.assertEqual((owner, mname), ("", "dnsd.openshell.invalid"))
        self.assertEqual(soa_ttl, minimum)
        if ttl is not None:
            self.assertEqual(minimum, ttl)

    def assert_repaired(self, m, since):
        """NODATA of a bad family: for 30 s from when it was found out, which was not before since."""
        self.assert_negative(m, w.NOERROR, ttl=None)
        self.assertIn(m.soa()[4], range(30 - int(time.monotonic() - since + 0.01), 31))
        return m.soa()[4]

    def assert_addresses(self, m, *texts):
        self.assert_common(m)
        self.assertEqual(m.rcode, w.NOERROR)
        self.assertTrue(m.flags & w.RA)
        family = socket.AF_INET6 if m.questions[0][1] == w.AAAA else socket.AF_INET
        self.assertEqual([socket.inet_ntop(family, r.data) for r in m.answer], list(texts))
        for r in m.answer:
            self.assertEqual((r.owner_raw, r.type, r.rclass), (OWNER, m.questions[0][1], 1))


class TestNames(Case):
    def test_denied_names_of_every_type(self):
        for qtype in (w.A, w.AAAA, w.HTTPS, w.SVCB, w.TXT, w.MX, w.SRV, w.NS, w.SOA, w.PTR, w.ANY, 65400):
            start = time.monotonic()
            m = self.dnsd.ask("secret-data.evil.example.org", qtype, edns=w.opt())
            self.assertLess(time.monotonic() - start, 1.0)
            self.assert_negative(m, w.NXDOMAIN)
            code, text = m.ede()
            self.assertEqual(code, 15)
            self.assertIn("policy_denied", text)
            self.assertIn("openshell-egress explain", text)
        self.assertEqual(self.stub.asked("secret-data.evil.example.org"), [])
        self.dnsd.wait_log(r"dns_denied name=secret-data\.evil\.example\.org type=A client=127\.0\.0\.1 "
                           r"reason=policy_denied")

    def test_no_opt_unless_asked(self):
        m = self.dnsd.ask("evil.example.org")
        self.assertIsNone(m.opt)
        self.assert_negative(m, w.NXDOMAIN)

    def test_question_comes_back_byte_for_byte(self):
        raw = w.name("GateWAY.dIScord.GG")
        m = self.dnsd.exchange(w.query(raw, ident=0xBEEF, flags=w.RD | w.CD))
        self.assertEqual(m.id, 0xBEEF)
        self.assertEqual(m.questions[0][3], raw + struct.pack("!HH", w.A, 1))
        self.assertTrue(m.flags & w.CD and m.flags & w.RD)
        self.assert_addresses(m, V4)
        self.assertFalse(self.dnsd.ask("evil.example.org", flags=0).flags & (w.RD | w.CD))

    def test_search_list_noise_is_no_denial(self):
        for name in ("gateway.discord.gg.default.svc.cluster.local", "gateway.discord.gg.corp.example", "wpad"):
            self.assert_negative(self.dnsd.ask(name), w.NXDOMAIN)
        self.dnsd.wait_log(r" debug .* dns_noise name=wpad ")
        self.assertEqual([x for x in self.dnsd.lines("dns_denied") if "cluster.local" in x or "wpad" in x], [])

    def test_parents_of_admitted_names_exist(self):
        for name in ("discord.gg", "gg", "slack.com", "openshell.internal", "."):
            for qtype in (w.A, w.AAAA, w.NS):
                self.assert_negative(self.dnsd.ask(name, qtype), w.NOERROR)

    def test_below_an_exact_name_is_denied(self):
        self.assert_negative(self.dnsd.ask("x.gateway.discord.gg"), w.NXDOMAIN)

    def test_admitted_address_and_its_ttl(self):
        m = self.dnsd.ask("gateway.discord.gg")
        self.assert_addresses(m, V4)
        self.assertTrue(0 < m.answer[0].ttl <= 300)
        self.assertEqual(m.authority, [])
        self.assertEqual(len(self.stub.asked("gateway.discord.gg", w.A)), 1, "cached")

    def test_both_families(self):
        self.assert_addresses(self.dnsd.ask("dual.slack.com"), V4)
        self.assert_addresses(self.dnsd.ask("dual.slack.com", w.AAAA), V6)
        self.assert_negative(self.dnsd.ask("gateway.discord.gg", w.AAAA), w.NOERROR, ttl=None)

    def test_other_types_of_admitted_names(self):
        for qtype in (w.HTTPS, w.SVCB, w.TXT, w.MX, w.SRV, w.ANY, w.SOA, w.CNAME, 65400):
            self.assert_negative(self.dnsd.ask("dual.slack.com", qtype, edns=w.opt()), w.NOERROR)
        self.assertEqual({a.qtype for a in self.stub.asked("dual.slack.com")} - {w.A, w.AAAA}, set())

    def test_localhost(self):
        for name in ("localhost", "a.b.localhost", "LOCALHOST"):
            self.assert_addresses(self.dnsd.ask(name), "127.0.0.1")
            self.assert_addresses(self.dnsd.ask(name, w.AAAA), "::1")
        self.assert_negative(self.dnsd.ask("localhost", w.HTTPS), w.NOERROR)

    def test_static_hosts_and_reverse_lookups(self):
        self.assert_addresses(self.dnsd.ask("host.openshell.internal"), "10.200.0.1")
        self.assert_negative(self.dnsd.ask("host.openshell.internal", w.AAAA), w.NOERROR)
        m = self.dnsd.ask("1.0.200.10.in-addr.arpa", w.PTR)
        self.assertEqual([m.read_name(r.at)[0] for r in m.answer], ["host.openshell.internal"])
        for name in ("1.0.0.127.in-addr.arpa", "8.8.8.8.in-addr.arpa", "1.0.18.198.in-addr.arpa", "arpa.in-addr.arpa",
                     "1." + "0." * 31 + "ip6.arpa"):
            self.assert_negative(self.dnsd.ask(name, w.PTR), w.NXDOMAIN)
        self.assertEqual([a.name for a in self.stub.seen if a.name.endswith("arpa")], [])

    def test_odd_names_are_denied_here(self):
        for raw in (b"\x03a.b\x02gg\0", b"\x01 \x02gg\0", b"\x02a\0\x02gg\0", b"\x04\xc3\xbc\xc3\xb6\x02gg\0",
                    b"\x02-a\x05slack\x03com\0", b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63 + b"\x3f" + b"z" * 63 +
                    b"\x3d" + b"w" * 61 + b"\0"):
            before = len(self.stub.seen)
            self.assert_negative(self.dnsd.exchange(w.query(raw)), w.NXDOMAIN)
            self.assertEqual(len(self.stub.seen), before)

    def test_upstream_says_no(self):
        m = self.dnsd.ask("gone.t.example.net")
        self.assert_negative(m, w.NXDOMAIN, ttl=None)
        self.assertTrue(0 < m.soa()[1] <= 60, "--ttl-neg-max")

    def test_zero_ttl_is_not_cached(self):
        self.stub.zone[("zero.t.example.net", w.A)] = addresses(V4, ttl=0)
        for _ in range(2):
            self.assert_addresses(self.dnsd.ask("zero.t.example.net"), V4)
        self.assertEqual(len(self.stub.asked("zero.t.example.net", w.A)), 2)

    def test_ttl_counts_down_and_expires(self):
        self.assertEqual(self.dnsd.ask("short.t.example.net").answer[0].ttl, 1)
        end = time.monotonic() + 10
        while len(self.stub.asked("short.t.example.net", w.A)) < 2 and time.monotonic() < end:
            self.assert_addresses(self.dnsd.ask("short.t.example.net"), V4)
            time.sleep(0.1)
        self.assertEqual(len(self.stub.asked("short.t.example.net", w.A)), 2)


class TestFamilies(Case):
    def test_a_bad_aaaa_does_not_poison_a(self):
        for kind in ("servfail", "refused", "nxdomain", "notimp"):
            name = "bad-%s.t.example.net" % kind
            start = time.monotonic()
            self.assert_negative(self.dnsd.ask(name, w.AAAA), w.NOERROR, ttl=30)  # before A was ever asked
            self.assert_addresses(self.dnsd.ask(name), V4)
            self.assert_repaired(self.dnsd.ask(name, w.AAAA), start)

    def test_a_bad_a_does_not_poison_aaaa(self):
        self.assert_negative(self.dnsd.ask("a-bad-servfail.t.example.net"), w.NOERROR, ttl=30)
        self.assert_addresses(self.dnsd.ask("a-bad-servfail.t.example.net", w.AAAA), V6)

    def test_a_silent_family_is_given_up_and_remembered(self):
        name = "bad-silent.t.example.net"
        start = time.monotonic()
        self.assert_negative(self.dnsd.ask(name, w.AAAA), w.NOERROR, ttl=30)
        self.assertTrue(0.9 < time.monotonic() - start < 3.0)
        asked = len(self.stub.asked(name, w.AAAA))
        found, start = start, time.monotonic()
        self.assert_repaired(self.dnsd.ask(name, w.AAAA), found)
        self.assertLess(time.monotonic() - start, 0.8)
        self.assertEqual(len(self.stub.asked(name, w.AAAA)), asked)
        self.assert_addresses(self.dnsd.ask(name), V4)

    def test_a_bad_family_is_not_remembered_for_longer_because_it_is_asked_for(self):
        stub = Stub({("well.t.example.net", w.A): rcode(w.SERVFAIL), ("well.t.example.net", w.AAAA): addresses(V6)})
        dnsd = Daemon(POLICY, "--upstream", stub.address, "--aaaa", "pass", *NO_BRAKES)
        start = time.monotonic()
        left = [self.assert_repaired(dnsd.ask("well.t.example.net"), start)]
        self.assertEqual(left, [30])
        while time.monotonic() - start < 3.2:
            time.sleep(0.2)
            left.append(self.assert_repaired(dnsd.ask("well.t.example.net"), start))
        self.assertEqual(left, sorted(left, reverse=True))
        self.assertLessEqual(left[-1], 27)
        self.assertEqual(dnsd.stop(), 0)

    def test_a_bad_family_is_asked_again_once_the_other_is_not_good(self):
        a, aaaa = ("well.t.example.net", w.A), ("well.t.example.net", w.AAAA)
        stub = Stub({a: addresses(V4, ttl=1), aaaa: rcode(w.SERVFAIL)})
        dnsd = Daemon(POLICY, "--upstream", stub.address, "--aaaa", "pass", *NO_BRAKES)
        self.assert_negative(dnsd.ask(*aaaa), w.NOERROR, ttl=30)
        stub.zone.update({a: nodata, aaaa: addresses(V6)})  # it moves to IPv6
        time.sleep(1.2)
        self.assert_negative(dnsd.ask(*a), w.NOERROR, ttl=None)
        self.assert_addresses(dnsd.ask(*aaaa), V6)
        self.assertEqual(dnsd.stop(), 0)

    def test_no_such_name_does_not_wait_for_a_silent_aaaa(self):
        name = "gone-silent.t.example.net"
        start = time.monotonic()
        self.assert_negative(self.dnsd.ask(name), w.NXDOMAIN, ttl=None)
        self.assertTrue(0.9 < time.monotonic() - start < 3.0)
        asked = len(self.stub.asked(name, w.AAAA))
        start = time.monotonic()
        for qtype in (w.A, w.AAAA):
            self.assert_negative(self.dnsd.ask(name, qtype), w.NXDOMAIN, ttl=None)
        self.assertLess(time.monotonic() - start, 0.8)
        self.assertEqual(len(self.stub.asked(name, w.AAAA)), asked)

    def test_both_bad_is_a_failure(self):
        for qtype in (w.A, w.AAAA):
            m = self.dnsd.ask("ill.t.example.net", qtype, edns=w.opt())
            self.assertEqual(m.rcode, w.SERVFAIL)
            self.assertIn(m.ede()[0], (22, 13))
            self.assertEqual(m.authority, [])
        self.dnsd.wait_log(r" warn .* dns_failed name=ill\.t\.example\.net type=A .*reason=dns_failed")


class TestUpstream(Case):
    def test_the_question_is_fresh(self):
        stub = self.stub
        raw = w.query("FRESH.t.Example.NET", ident=0x4242, flags=w.RD | w.CD | w.AD, edns=w.opt(
            4096, do=True, options=w.option(10, b"cookie!!") + w.option(8, b"\0\1\x18\0\x7f\0\0") + w.option(3)))
        stub.zone[("fresh.t.example.net", w.A)] = addresses(V4)
        self.assert_addresses(self.dnsd.exchange(raw), V4)
        (ask,) = stub.asked("fresh.t.example.net", w.A)
        m = ask.message
        self.assertNotEqual(m.id, 0x4242)
        self.assertEqual(m.flags, w.RD)
        self.assertEqual((len(m.answer), len(m.authority), len(m.additional)), (0, 0, 1))
        self.assertEqual((m.opt.rclass, m.opt.ttl, m.opt.data), (1232, 0, b""))
        self.assertNotIn(ask.wire_name, ("FRESH.t.Example.NET",))

    def test_ids_and_ports_vary(self):
        for i in range(8):
            self.assert_addresses(self.dnsd.ask("p%d.t.example.net" % (300 + i)), V4)
        seen = [a for a in self.stub.seen if re.match(r"p30\d\.", a.name)]
        self.assertGreater(len({a.message.id for a in seen}), 4)
        self.assertGreater(len({a.port for a in seen}), 4)

    def test_forged_replies_are_ignored(self):
        self.assert_addresses(self.dnsd.ask("forged.t.example.net"), V4)

    def test_truncated_upstream_is_asked_over_tcp(self):
        self.assert_addresses(self.dnsd.ask("big.t.example.net"), V4)
        self.assertEqual([a.is_tcp for a in self.stub.asked("big.t.example.net", w.A)], [False, True])

    def test_upstream_without_edns(self):
        self.assert_addresses(self.dnsd.ask("old.t.example.net"), V4)

    def test_cname_chain_is_followed_not_sent(self):
        m = self.dnsd.ask("chain.t.example.net")
        self.assert_addresses(m, V4)
        self.assertLessEqual(m.answer[0].ttl, 40, "the least of the chain")
        self.dnsd.wait_log(r" debug .* dns_cname name=chain\.t\.example\.net type=A target=edge\.cdn\.example\.org hops=1 ")
        self.assert_negative(self.dnsd.ask("edge.cdn.example.org"), w.NXDOMAIN)

    def test_cname_to_localhost_is_asked_of_nobody(self):
        for qtype, text in ((w.A, "127.0.0.1"), (w.AAAA, "::1")):
            m = self.dnsd.ask("local.t.example.net", qtype, edns=w.opt())
            self.assert_negative(m, w.NOERROR)
            self.assertEqual(m.ede()[0], 15)
            self.assertIn("ssrf_denied", m.ede()[1])
            self.assertEqual(self.stub.asked("db.localhost", qtype), [])
            self.dnsd.wait_log(r" dns_cname name=local\.t\.example\.net .*target=db\.localhost hops=1 ")

    def test_addresses_are_judged_one_by_one(self):
        self.assert_addresses(self.dnsd.ask("rebind.t.example.net"), V4)
        m = self.dnsd.ask("rebind.t.example.net", w.AAAA, edns=w.opt())
        self.assert_negative(m, w.NOERROR)
        self.assertEqual(m.ede()[0], 15)
        self.assertIn("ssrf_denied", m.ede()[1])
        m = self.dnsd.ask("private.t.example.net", edns=w.opt())  # private, and only a wildcard admits it
        self.assert_negative(m, w.NOERROR)
        self.assertIn("allowed_ips", m.ede()[1])
        self.dnsd.wait_log(r"dns_denied name=private\.t\.example\.net .*reason=ssrf_denied why=.*rule=web")

    def test_equal_questions_share_one_exchange(self):
        self.stub.zone[("join.t.example.net", w.A)] = late(0.3, addresses(V4))
        socks = [self.dnsd.udp() for _ in range(20)]
        for i, s in enumerate(socks):
            s.settimeout(10)
            s.send(w.query("join.t.example.net", ident=i))
        for i, s in enumerate(socks):
            m = w.Message(s.recv(4096))
            self.assertEqual(m.id, i)
            self.assert_addresses(m, V4)
            s.close()
        self.assertEqual(len(self.stub.asked("join.t.example.net", w.A)), 1)

    def test_two_hundred_lookups_at_once(self):
        with self.dnsd.udp() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.settimeout(10)
            for i in range(200):
                s.send(w.query("p%d.t.example.net" % i, ident=i))
            got = {w.Message(s.recv(4096)).id for _ in range(200)}
        self.assertEqual(got, set(range(200)))


class TestTransport(Case):
    def test_truncation_keeps_as_many_as_fit(self):
        m = self.dnsd.ask("many.t.example.net")
        self.assertTrue(m.flags & w.TC)
        self.assertLessEqual(len(m.raw), 512)
        self.assertGreater(len(m.answer), 25)
        m = self.dnsd.ask("many.t.example.net", edns=w.opt(1232))
        self.assertFalse(m.flags & w.TC)
        self.assertEqual(len(m.answer), 60)
        m = self.dnsd.ask("many.t.example.net", edns=w.opt(600))
        self.assertTrue(m.flags & w.TC)
        self.assertTrue(512 < len(m.raw) <= 600)
        m = self.dnsd.ask("many.t.example.net", edns=w.opt(0))  # under 512 counts as 512
        self.assertTrue(300 < len(m.raw) <= 512)
        stream = self.dnsd.tcp()
        stream.send(w.query("many.t.example.net"))
        self.assert_addresses(stream.receive(), *MANY)
        stream.close()

    def test_tcp_pipelining_in_one_segment(self):
        stream = self.dnsd.tcp()
        stream.send(*[w.query("p%d.t.example.net" % i, ident=i) for i in range(300)])
        got = [stream.receive() for _ in range(300)]
        self.assertEqual({m.id for m in got}, set(range(300)))
        stream.close()

    def test_tcp_pipelining_waits_for_a_client_that_reads_late(self):
        raw = w.query("many.t.example.net")
        self.assertEqual(len(self.dnsd.exchange(w.query("many.t.example.net", edns=w.opt())).answer), 60)  # cached
        stream = self.dnsd.tcp()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stream.socket.setblocking(False)
        frame, sent, left = struct.pack("!H", len(raw)) + raw, 0, b""
        end = time.monotonic() + 1.0
        while sent < 3000 and time.monotonic() < end:
            try:
                left = left or frame * 100
                n = stream.socket.send(left)
                left = left[n:]
                sent += 100 if not left else 0
            except BlockingIOError:
                time.sleep(0.01)
        stream.socket.settimeout(20)
        for _ in range(sent):  # whatever it took, it answers, whole
            (length,) = struct.unpack("!H", stream.read(2))
            self.assertEqual(stream.read(length)[:8], struct.pack("!HHHH", 0x1234, w.QR | w.RD | w.RA, 1, 60))
        stream.close()

    def test_tcp_answers_out_of_order(self):
        stream = self.dnsd.tcp()
        stream.send(w.query("slow.t.example.net", ident=1), w.query("localhost", ident=2))
        self.assertEqual([stream.receive().id, stream.receive().id], [2, 1])
        stream.close()

    def test_tcp_byte_by_byte(self):
        stream = self.dnsd.tcp()
        raw = w.query("localhost", ident=7)
        for byte in struct.pack("!H", len(raw)) + raw:
            stream.socket.sendall(bytes([byte]))
        self.assertEqual(stream.receive().id, 7)
        stream.close()

    def test_tcp_client_that_has_finished_still_gets_its_answers(self):
        stream = self.dnsd.tcp()
        stream.send(w.query("slow.t.example.net", ident=1), w.query("localhost", ident=2))
        stream.socket.shutdown(socket.SHUT_WR)
        self.assertEqual({stream.receive().id, stream.receive().id}, {1, 2})
        self.assertIsNone(stream.receive())
        stream.close()

    def test_tcp_nonsense_ends_the_connection(self):
        start = time.monotonic()
        for raw in (b"\0\0", b"\0\5hello", struct.pack("!H", 12) + b"\0\1\x80\0" + b"\0" * 8):
            stream = self.dnsd.tcp()
            stream.socket.sendall(raw)
            self.assertIsNone(stream.receive())
            stream.close()
        stream = self.dnsd.tcp()
        stream.socket.sendall(b"\xff\xff" + w.query("localhost", ident=9) + b"x" * 100)
        m = stream.receive()
        self.assertEqual((m.id, m.rcode), (9, w.FORMERR))
        self.assertIsNone(stream.receive())
        stream.close()
        self.assertLess(time.monotonic() - start, 5.0, "at once, not when it has been idle for long")

    def test_tcp_transfers_are_refused(self):
        stream = self.dnsd.tcp()
        for qtype in (w.AXFR, w.IXFR):
            stream.send(w.query("gateway.discord.gg", qtype))
            self.assertEqual(stream.receive().rcode, w.REFUSED)
        stream.close()

    def test_tcp_connections_make_room_for_new_ones(self):
        streams = [self.dnsd.tcp() for _ in range(300)]
        streams[-1].send(w.query("localhost", ident=3))
        self.assertEqual(streams[-1].receive().id, 3)
        self.assertIsNone(streams[0].receive(), "the longest idle one went")
        for s in streams:
            s.close()


class TestEdns(Case):
    """The cases of RFC 8906 section 8, and of the EDNS compliance tests."""

    def test_plain_and_extended(self):
        for flags in (0, w.RD):
            self.assertIsNone(self.dnsd.ask("gateway.discord.gg", w.SOA, flags=flags).opt)
        self.assert_negative(self.dnsd.ask("gateway.discord.gg", 666), w.NOERROR)
        for bit in (w.Z, w.AD, w.CD):
            m = self.dnsd.ask("gateway.discord.gg", w.SOA, flags=bit)
            self.assertEqual(m.rcode, w.NOERROR)
            self.assertEqual(m.flags & (w.Z | w.AD | w.CD), bit & w.CD)

    def test_opt_is_answered(self):
        m = self.dnsd.ask("gateway.discord.gg", edns=w.opt(4096))
        self.assertEqual((m.opt.owner, m.opt.rclass, m.opt.ttl), ("", 1232, 0))

    def test_unknown_options_flags_and_do(self):
        for edns in (w.opt(options=w.option(100)), w.opt(options=w.option(3)), w.opt(z=0x40),
                     w.opt(options=w.option(10, b"\1\2\3\4\5\6\7\x08")), w.opt(512, do=True),
                     w.opt(options=w.option(8, b"\0\1\0\0")), w.opt(options=w.option(12, b"\0" * 64))):
            m = self.dnsd.ask("gateway.discord.gg", edns=edns)
            self.assert_addresses(m, V4)
            self.assertEqual(m.options(), {}, "none of the client's options comes back")
            self.assertEqual(m.opt.ttl, 0x8000 if edns == w.opt(512, do=True) else 0)

    def test_other_versions(self):
        for edns in (w.opt(version=1), w.opt(version=1, options=w.option(100)), w.opt(version=255, do=True)):
            m = self.dnsd.ask("gateway.discord.gg", edns=edns)
            self.assertEqual(m.rcode, w.BADVERS)
            self.assertEqual(m.opt.ttl >> 16 & 255, 0, "we speak version 0")
            self.assertEqual(m.answer, [])

    def test_malformed_opt(self):
        second = w.query("gateway.discord.gg", edns=w.opt() + w.opt())
        second = second[:10] + b"\0\2" + second[12:]
        cut = w.query("gateway.discord.gg", edns=w.opt(options=b"\0\3\0\5x"))
        named = w.query("gateway.discord.gg", edns=w.record(w.name("x"), w.OPT, 0, b"", 1232))
        for raw in (second, cut, named):
            self.assertEqual(self.dnsd.exchange(raw).rcode, w.FORMERR)

    def test_opcodes(self):
        for opcode in range(1, 16):
            m = self.dnsd.exchange(struct.pack("!HHHHHH", 5, opcode << 11, 0, 0, 0, 0))
            self.assertEqual((m.id, m.rcode, m.opcode), (5, w.NOTIMP, opcode))

    def test_tsig_nobody_knows(self):
        tsig = w.record(w.name("key.example"), 250, 0, w.name("hmac-sha256") + struct.pack("!HIHH", 0, 1, 300, 0) +
                        struct.pack("!HHH", 1, 0, 0), 255)
        m = self.dnsd.exchange(w.query("gateway.discord.gg", edns=tsig))
        self.assertIn(m.rcode, (w.NOERROR, w.FORMERR, w.REFUSED))


class TestMalformed(Case):
    def alive(self):
        self.assert_addresses(self.dnsd.ask("localhost"), "127.0.0.1")

    def test_every_truncation(self):
        raw = w.query("gateway.discord.gg", edns=w.opt(options=w.option(10, b"12345678")))
        for n in range(12, len(raw)):
            m = self.dnsd.exchange(raw[:n])
            self.assertEqual((m.id, m.rcode), (0x1234, w.FORMERR), n)
        with self.dnsd.udp() as s:
            for n in range(12):
                s.send(raw[:n])
            s.settimeout(0.2)
            self.assertRaises(socket.timeout, s.recv, 100)
        self.alive()

    def test_responses_are_dropped(self):
        self.assertIsNone(self.dnsd.exchange(w.query("localhost", flags=w.QR | w.RD), wait_s=0.2))
        self.alive()

    def test_counts_that_lie(self):
        for counts in ((0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (65535,) * 4):
            raw = struct.pack("!HHHHHH", 8, w.RD, *counts) + w.question("localhost", w.A)
            self.assertEqual(self.dnsd.exchange(raw).rcode, w.FORMERR, counts)
        self.alive()

    def test_names_that_lie(self):
        for qname in (b"\xc0\x0c", b"\xc0\xff", b"\x40" + b"a" * 64 + b"\0", b"\x80a\0", b"\x01a\xc0\x0c",
                      b"\x3f" + b"a" * 10, (b"\x3f" + b"a" * 63) * 4 + b"\0"):
            self.assertEqual(self.dnsd.exchange(w.query(qname)).rcode, w.FORMERR, qname)
        self.alive()

    def test_more_than_a_question(self):
        for raw in (w.query("localhost") + b"x", w.query("localhost") + b"\0" * 5000, w.query("localhost") * 2):
            self.assertEqual(self.dnsd.exchange(raw).rcode, w.FORMERR)
        self.alive()

    def test_what_does_not_fit_the_buffer_is_not_read_up_to_there(self):
        def padded(size):
            raw = w.query("localhost", edns=w.opt(options=w.option(12, b"")))
            return w.query("localhost", edns=w.opt(options=w.option(12, b"\0" * (size - len(raw)))))
        self.assertEqual(len(padded(2048)), 2048)
        self.assert_addresses(self.dnsd.exchange(padded(2048)), "127.0.0.1")
        self.assertEqual(self.dnsd.exchange(padded(2048) + b"x").rcode, w.FORMERR)

    def test_classes(self):
        for qclass in (0, 3, 4, 254, 255, 65535):
            self.assertEqual(self.dnsd.ask("version.bind", w.TXT, qclass=qclass).rcode, w.REFUSED)

    def test_noise_from_every_corner(self):
        rnd = __import__("random").Random(409)
        base = w.query("gateway.discord.gg", edns=w.opt())
        with self.dnsd.udp() as s:
            s.settimeout(20)
            for n in range(3000):
                if n % 100 == 99:
                    # Wait until all that is read: what a full socket buffer drops would test nothing.
                    s.send(w.query("localhost", ident=0x4000 + n))
                    while s.recv(4096)[:2] != struct.pack("!H", 0x4000 + n):
                        pass
                raw = bytearray(base if rnd.random() < 0.7 else rnd.randbytes(rnd.randrange(0, 600)))
                for _ in range(rnd.randrange(0, 6)):
                    if raw:
                        raw[rnd.randrange(len(raw))] = rnd.randrange(256)
                s.send(bytes(raw[:rnd.randrange(len(raw) + 1)] if rnd.random() < 0.3 else raw))
        self.alive()


class TestHostile(Case):
    """What a client may do to it costs itself, not the others."""

    def ask_again(self, qname):
        """Like any client: what came before may have filled the socket."""
        for _ in range(20):
            m = self.dnsd.exchange(w.query(qname), wait_s=0.5)
            if m:
                return m
        raise AssertionError("no answer")

    def alive(self):
        self.assert_addresses(self.ask_again("localhost"), "127.0.0.1")

    def resident_kib(self):
        with open("/proc/%d/status" % self.dnsd.process.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))

    def test_pipeliners_that_never_read(self):
        before = self.resident_kib()
        raw = w.query("many.t.example.net")
        self.assert_common(self.dnsd.exchange(raw))  # cached: each answer is long and comes at once
        frames = (struct.pack("!H", len(raw)) + raw) * 200
        streams = [self.dnsd.tcp() for _ in range(20)]
        for s in streams:
            s.socket.setblocking(False)
        for _ in range(200):
            for s in streams:
                try:
                    s.socket.send(frames)
                except BlockingIOError:
                    pass
        self.alive()
        self.assertLess(self.resident_kib() - before, 64 * 1024)
        for s in streams:
            s.close()
        self.alive()

    def test_resets_while_questions_are_in_flight(self):
        raw = w.query("slow.t.example.net")
        self.stub.zone[("slow.t.example.net", w.A)] = late(0.3, addresses(V4, ttl=0))
        for i in range(50):
            s = self.dnsd.tcp()
            s.send(*[raw] * (1 + i))
            s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.alive()
        self.assert_addresses(self.dnsd.ask("slow.t.example.net"), V4)  # after their answers found nobody

    def test_an_answer_never_goes_to_another_connection(self):
        self.stub.zone[("gone-client.t.example.net", w.A)] = late(0.4, addresses(V4))
        first = self.dnsd.tcp()
        first.send(w.query("gone-client.t.example.net", ident=1))
        end = time.monotonic() + 10
        while not self.stub.asked("gone-client.t.example.net") and time.monotonic() < end:
            time.sleep(0.01)
        first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()  # a reset: merely finished, it would still get its answer
        time.sleep(0.1)  # its place is free now, and the next one gets it
        second = self.dnsd.tcp()
        second.socket.settimeout(1.0)
        self.assertRaises(socket.timeout, second.receive)
        second.send(w.query("gone-client.t.example.net", ident=2))
        self.assertEqual(second.receive().id, 2)
        second.close()

    def test_a_flood_of_names_below_a_wildcard(self):
        self.stub.zone.update({("f%d.t.example.net" % i, w.A): silence for i in range(5000)})
        with self.dnsd.udp() as s:
            for i in range(5000):
                s.send(w.query("f%d.t.example.net" % i))
            self.assert_negative(self.ask_again("evil.example.org"), w.NXDOMAIN)
        self.alive()


class TestRepeated(Case):
    """Without a log line for each, an answer is given again as it was: nobody may be able to tell."""
    options = [*Case.options, "--log-level", "info"]

    NAMES = ["gateway.discord.gg", "dual.slack.com", "many.t.example.net", "rebind.t.example.net", "chain.t.example.net",
             "private.t.example.net", "gone.t.example.net", "bad-servfail.t.example.net", "host.openshell.internal",
             "discord.gg", "example.net", "localhost", "evil.example.org", "x.gateway.discord.gg", "wpad",
             "gateway.discord.gg.svc.cluster.local", "8.8.8.8.in-addr.arpa", "1.0.200.10.in-addr.arpa", "."]

    def form(self, m):
        """All of an answer but its ID, the spelling of the question, and its TTLs."""
        ede = m.ede() if m.opt else None
        return (m.flags, m.rcode, [(r.owner_raw, r.type, r.rclass, r.data) for r in m.answer],
                [(r.owner, r.type) for r in m.authority], m.opt and (m.opt.rclass, m.opt.ttl), ede)

    def ttls(self, m):
        return [r.ttl for r in m.answer + m.authority]

    def test_every_kind_of_answer(self):
        rnd = random.Random(1)
        for name in self.NAMES:
            for qtype in (w.A, w.AAAA, w.TXT, w.HTTPS, w.PTR):
                for edns, flags in ((None, w.RD), (w.opt(1232), w.RD | w.CD), (w.opt(4096, do=True), 0)):
                    self.dnsd.ask(name, qtype)  # now it is cached, if it ever is
                    first = self.dnsd.exchange(w.query(name, qtype, edns=edns, flags=flags))
                    for _ in range(3):
                        spelt = "".join(rnd.choice((c.lower(), c.upper())) for c in name)
                        raw = w.name(spelt) if name != "." else b"\0"
                        ident = rnd.randrange(65536)
                        m = self.dnsd.exchange(w.query(raw, qtype, ident=ident, edns=edns, flags=flags))
                        self.assertEqual(m.id, ident)
                        self.assertEqual(m.questions[0][3], raw + struct.pack("!HH", qtype, 1))
                        self.assertEqual(self.form(m), self.form(first), (name, qtype))
                        for now, before in zip(self.ttls(m), self.ttls(first)):
                            self.assertTrue(before - 20 <= now <= before, (name, qtype, before, now))
        self.dnsd.process.send_signal(signal.SIGTERM)
        self.dnsd.process.wait(20)
        self.assertGreater(int(re.search(r" dns_totals .* hot=(\d+)", self.dnsd.log()).group(1)), 20)

    def test_short_ttls_and_reloads(self):
        dnsd = Daemon(POLICY, "--upstream", self.stub.address, *self.options)
        self.addCleanup(lambda: self.assertEqual(dnsd.stop(), 0))
        self.stub.zone[("brief.t.example.net", w.A)] = addresses(V4, ttl=1)
        end = time.monotonic() + 3.0
        while time.monotonic() < end:  # it is asked anew each second, and never given for longer
            self.assertEqual([r.ttl for r in dnsd.ask("brief.t.example.net").answer], [1])
            time.sleep(0.01)
        self.assertGreaterEqual(len(self.stub.asked("brief.t.example.net", w.A)), 3)
        for generation in range(2, 8):
            for _ in range(3):
                self.assertEqual(len(dnsd.ask("gateway.discord.gg").answer), 1 if generation % 2 == 0 else 0)
                self.assertEqual(dnsd.ask("evil.example.org").soa()[3], generation - 1)
            dnsd.write_policy(POLICY if generation % 2 else POLICY.replace("gateway.discord.gg", "discord.com"))
            dnsd.process.send_signal(signal.SIGHUP)
            dnsd.wait_log("policy_loaded generation=%d" % generation)


class TestSynthetic(Case):
    options = ["--answer", "synthetic", "--map", "", "--pool", "198.18.0.0/15", "--pool", "fd00:5e11::/64"]

    @classmethod
    def setUpClass(cls):
        cls.map_dir = tempfile.TemporaryDirectory()
        cls.options = list(cls.options)
        cls.options[3] = os.path.join(cls.map_dir.name, "egress.map")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.map_dir.cleanup()

    def synthetic(self, name, qtype=w.A):
        m = self.dnsd.ask(name, qtype, edns=w.opt())
        self.assert_common(m)
        self.assertEqual((m.rcode, len(m.answer)), (w.NOERROR, 1))
        self.assertEqual(m.ede()[0], 4)
        self.assertEqual(m.answer[0].ttl, 30)
        text = socket.inet_ntop(socket.AF_INET if qtype == w.A else socket.AF_INET6, m.answer[0].data)
        self.assertTrue(text.startswith("198.18." if qtype == w.A else "fd00:5e11::"), text)
        return text

    def test_one_stable_address_for_each_name(self):
        first = self.synthetic("gateway.discord.gg")
        self.assertEqual(self.synthetic("GATEWAY.discord.gg"), first)
        self.assertNotEqual(self.synthetic("dual.slack.com"), first)
        self.synthetic("gateway.discord.gg", w.AAAA)  # although it has no AAAA record: tunneld carries either
        m = self.dnsd.ask(".".join(reversed(first.split("."))) + ".in-addr.arpa", w.PTR)
        self.assertEqual([m.read_name(r.at)[0] for r in m.answer], ["gateway.discord.gg"])

    def test_one_good_family_is_enough(self):
        for name in ("a-bad-servfail", "bad-servfail", "bad-nxdomain", "bad-silent"):
            start = time.monotonic()
            self.synthetic(name + ".t.example.net")
            self.synthetic(name + ".t.example.net", w.AAAA)
            self.assertLess(time.monotonic() - start, 1.0)

    def test_a_silent_family_beside_a_refused_one_is_remembered(self):
        took = []
        for qtype in (w.A, w.AAAA, w.A):
            start = time.monotonic()
            self.assert_negative(self.dnsd.ask("private-silent.t.example.net", qtype), w.NOERROR)
            took.append(time.monotonic() - start)
        self.assertTrue(0.9 < took[0] < 3.0 and took[1] < 0.8 and took[2] < 0.8, took)

    def test_static_hosts_too(self):
        self.synthetic("host.openshell.internal")

    def test_nothing_is_handed_out_for_nothing(self):
        self.assert_negative(self.dnsd.ask("gone.t.example.net"), w.NXDOMAIN, ttl=None)
        m = self.dnsd.ask("private.t.example.net", edns=w.opt())
        self.assert_negative(m, w.NOERROR)
        self.assertEqual(m.ede()[0], 15)
        self.assertEqual(self.dnsd.ask("ill.t.example.net").rcode, w.SERVFAIL)
        self.assert_negative(self.dnsd.ask("evil.example.org"), w.NXDOMAIN)
        self.assert_negative(self.dnsd.ask("200.0.18.198.in-addr.arpa", w.PTR), w.NXDOMAIN)

    def test_other_types(self):
        self.assert_negative(self.dnsd.ask("gateway.discord.gg", w.HTTPS), w.NOERROR)


class TestAlone(unittest.TestCase):
    """Daemons of their own, each with other options."""

    def start(self, *options, stub=None, policy=POLICY, **more):
        stub = stub or Stub(ZONE)
        dnsd = Daemon(policy, "--upstream", stub.address, *options, **more)
        self.addCleanup(lambda: self.assertEqual(dnsd.stop(), 0))
        return dnsd

    def test_deny_modes(self):
        m = self.start("--deny", "nodata", "--deny-ttl", "7s").ask("evil.example.org", edns=w.opt())
        self.assertEqual((m.rcode, m.soa()[1], m.ede()[0]), (w.NOERROR, 7, 15))
        m = self.start("--deny", "refused").ask("evil.example.org", edns=w.opt())
        self.assertEqual((m.rcode, m.authority, m.ede()[0]), (w.REFUSED, [], 15))

    def test_clients_outside_the_list(self):
        dnsd = self.start("--allow-client", "192.0.2.0/24")
        for raw in (w.query("localhost", edns=w.opt()), w.query("gateway.discord.gg", edns=w.opt())):
            m = dnsd.exchange(raw)
            self.assertEqual((m.rcode, m.ede()[0]), (w.REFUSED, 18))
        stream = dnsd.tcp()
        stream.send(w.query("localhost"))
        self.assertEqual(stream.receive().rcode, w.REFUSED)
        stream.close()
        dnsd.wait_log("dns_client_refused .*client=127.0.0.1 reason=client_not_allowed")

    def test_aaaa_option(self):
        stub = Stub(ZONE)
        dnsd = self.start("--aaaa", "nodata", stub=stub)
        self.assertEqual(dnsd.ask("dual.slack.com", w.AAAA).soa()[1], 10)
        self.assertEqual(stub.asked("dual.slack.com", w.AAAA), [])
        # A bad A stays a failure: nobody would get the AAAA.
        self.assertEqual(dnsd.ask("a-bad-servfail.t.example.net").rcode, w.SERVFAIL)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            try:
                s.connect(("3fff::1", 53))
                has_route = True
            except OSError:
                has_route = False
        m = self.start("--aaaa", "auto").ask("dual.slack.com", w.AAAA)
        self.assertEqual(len(m.answer) > 0, has_route)

    def test_dead_first_upstream(self):
        dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dead.bind(("127.0.0.1", 0))  # bound and never read: silence
        stub = Stub(ZONE)
        dnsd = Daemon(POLICY, "--upstream", "127.0.0.1:%d" % dead.getsockname()[1], "--upstream", stub.address)
        self.addCleanup(lambda: self.assertEqual(dnsd.stop(), 0))
        start = time.monotonic()
        m = dnsd.ask("gateway.discord.gg")
        self.assertEqual(len(m.answer), 1)
        self.assertLess(time.monotonic() - start, 3.0)
        dead.close()  # now refused at once
        m = dnsd.ask("p1.t.example.net")
        self.assertEqual(len(m.answer), 1)

    def test_no_upstream_answers(self):
        dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        dead.bind(("127.0.0.1", 0))
        dnsd = Daemon(POLICY, "--upstream", "127.0.0.1:%d" % dead.getsockname()[1])
        self.addCleanup(lambda: self.assertEqual(dnsd.stop(), 0))
        start = time.monotonic()
        m = dnsd.ask("gateway.discord.gg", edns=w.opt())
        self.assertLess(time.monotonic() - start, 4.9, "before a client's first timer")
        self.assertEqual((m.rcode, m.ede()[0]), (w.SERVFAIL, 22))
        dead.close()
        m = dnsd.ask("p1.t.example.net", edns=w.opt())
        self.assertEqual((m.rcode, m.ede()[0]), (w.SERVFAIL, 23))

    def test_two_workers(self):
        stub = Stub(ZONE)
        dnsd = Daemon(POLICY, "--upstream", stub.address, "--workers", "2")
        for i in range(200):
            self.assertEqual(len(dnsd.ask("p%d.t.example.net" % (i % 4)).answer), 1)
            stream = dnsd.tcp()
            stream.send(w.query("localhost"))
            self.assertEqual(len(stream.receive().answer), 1)
            stream.close()
        dnsd.process.send_signal(signal.SIGTERM)
        dnsd.process.wait(20)
        totals = [dict(x.split("=") for x in line.split() if "=" in x) for line in dnsd.lines("dns_totals")]
        self.assertEqual(dnsd.stop(), 0)
        self.assertEqual(len(totals), 2)
        self.assertEqual(sum(int(t["queries"]) for t in totals), 400)
        for t in totals:
            self.assertGreater(int(t["queries"]), 0)
            self.assertGreater(int(t["tcp_connections"]), 0)

    def test_upstream_is_ourselves(self):
        udp, tcp = Stub.bind("127.0.0.1")  # a port that is free for both
        port = udp.getsockname()[1]
        udp.close()
        tcp.close()
        for listen, upstream in (("127.0.0.1:%d", "127.0.0.1:%d"), ("0.0.0.0:%d", "127.0.0.1:%d")):
            dnsd = Daemon(POLICY, "--listen", listen % port, "--upstream", upstream % port, expect_ready=False)
            self.assertEqual(dnsd.status, 78)
            self.assertIn(upstream % port, dnsd.log())
            self.assertIn(listen % port, dnsd.log())
            dnsd.stop()

    def test_port_in_use(self):
        for kind, workers in ((socket.SOCK_DGRAM, "1"), (socket.SOCK_STREAM, "1"), (socket.SOCK_DGRAM, "2"),
                              (socket.SOCK_STREAM, "2")):
            with socket.socket(socket.AF_INET, kind) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # another dnsd of ours would have it
                s.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    s.listen(1)
                address = "127.0.0.1:%d" % s.getsockname()[1]
                dnsd = Daemon(POLICY, "--listen", address, "--upstream", "127.0.0.1:9", "--workers", workers,
                              expect_ready=False)
                self.assertEqual(dnsd.status, 71)
                self.assertIn(address, dnsd.log())
                dnsd.stop()

    def test_bad_options_and_policies(self):
        for options, status, text in ((["--listen", "nonsense"], 64, "--listen"),
                                      (["--upstream", "dns.example"], 64, "--upstream"),
                                      (["--upstream", "0.0.0.0"], 64, "--upstream"),
                                      (["--pool", "10.0.0.1/8"], 64, "--pool"),
                                      (["--never", "x"], 64, "--never"),
                                      (["--allow-client", "x"], 64, "--allow-client"),
                                      (["--ttl-min", "2h"], 64, "--ttl-min"),
                                      (["--deny", "maybe"], 64, "--deny"),
                                      (["--frobnicate"], 64, "frobnicate"),
                                      (["--resolv-conf", "/nonexistent"], 78, "/nonexistent"),
                                      (["--resolv-conf", os.environ["top_srcdir"] + "/Makefile.am"], 78, "nameserver")):
            more = [] if "--upstream" in options or "--resolv-conf" in options else ["--upstream", "127.0.0.1:9"]
            dnsd = Daemon(POLICY, *options, *more, expect_ready=False)
            self.assertEqual((dnsd.status, text in dnsd.log()), (status, True), "%s: %s" % (options, dnsd.log()))
            dnsd.stop()
        dnsd = Daemon("version: 2\n", "--upstream", "127.0.0.1:9", expect_ready=False)
        self.assertEqual(dnsd.status, 78)
        dnsd.stop()

    def test_what_is_given_again_is_told_and_counted_as_before(self):
        zone = {("gateway.discord.gg", w.A): addresses(V4, "169.254.169.254", ttl=60)}
        for level in ("info", "debug"):  # with a line for each answer nothing may be given again without
            dnsd = self.start("--aaaa", "nodata", "--log-level", level, stub=Stub(zone))
            for _ in range(2):
                self.assertEqual(dnsd.ask("evil.example.org").rcode, w.NXDOMAIN)
            self.assertEqual((dnsd.ask("evil.example.org", edns=w.opt()).ede() or (None,))[0], 15)
            for _ in range(3):
                self.assertEqual(len(dnsd.ask("gateway.discord.gg").answer), 1)
            for _ in range(3):
                self.assertEqual(len(dnsd.ask("localhost").answer), 1)
            dnsd.process.terminate()
            dnsd.process.wait(20)
            self.assertIn(" addresses_left_out=3 ", dnsd.lines("dns_totals")[0])
            self.assertEqual(len(dnsd.lines("dns_denied")), 3)

    def test_every_answer_has_its_line_at_debug(self):
        dnsd = self.start("--aaaa", "nodata", "--log-level", "debug")
        for _ in range(4):
            self.assertEqual(len(dnsd.ask("gateway.discord.gg").answer), 1)
        dnsd.process.terminate()
        dnsd.process.wait(20)
        self.assertEqual(len(dnsd.lines("dns_admitted")), 4)

    def test_a_client_that_has_sent_all_gets_its_answer(self):
        zone = {("gateway.discord.gg", w.A): late(0.3, addresses(V4))}
        s = self.start("--aaaa", "nodata", stub=Stub(zone)).tcp()
        s.send(w.query("gateway.discord.gg"))
        s.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(len(s.receive().answer), 1)
        s.close()

    def test_ttl_bounds(self):
        zone = {("gateway.discord.gg", w.A): addresses(V4, ttl=2), ("x.t.example.net", w.A): addresses(V4, ttl=900)}
        dnsd = self.start("--ttl-min", "20s", "--ttl-max", "1m", stub=Stub(zone))
        for name, ttl in (("gateway.discord.gg", 20), ("x.t.example.net", 60)):
            self.assertEqual([r.ttl for r in dnsd.ask(name).answer], [ttl])

    def test_upstreams_of_resolv_conf(self):
        stub = Stub(ZONE)
        # resolv.conf has no ports: an upstream of 127.0.0.1:53 is there or not, but it is read.
        dnsd = Daemon(POLICY, "--upstream", stub.address)
        path = os.path.join(dnsd.dir, "resolv.conf")
        with open(path, "w") as f:
            f.write("search example.org\nnameserver 127.9.9.9\noptions ndots:5\nnameserver 127.8.8.8\n")
        other = Daemon(POLICY, "--resolv-conf", path)
        self.assertEqual([line.split("addr=")[1] for line in other.lines("upstream")],
                         ["127.9.9.9:53", "127.8.8.8:53"])
        self.assertEqual((other.stop(), dnsd.stop()), (0, 0))

    def test_reload(self):
        stub = Stub(ZONE)
        dnsd = self.start(stub=stub)
        self.assertEqual(len(dnsd.ask("gateway.discord.gg").answer), 1)
        self.assertEqual(dnsd.ask("evil.example.org").soa()[3], 1)
        dnsd.write_policy(POLICY.replace("gateway.discord.gg", "discord.com"))
        dnsd.process.send_signal(signal.SIGHUP)
        dnsd.wait_log("policy_in_use worker=0 generation=2")
        m = dnsd.ask("gateway.discord.gg")
        self.assertEqual((m.rcode, m.soa()[3]), (w.NXDOMAIN, 2))
        dnsd.write_policy("version: 1\nnonsense: true\n")  # a bad one changes nothing
        dnsd.process.send_signal(signal.SIGHUP)
        dnsd.wait_log("nonsense")
        self.assertEqual(dnsd.ask("evil.example.org").soa()[3], 2)
        self.assertEqual(dnsd.ask("discord.com").rcode, w.NXDOMAIN)
        self.assertTrue(stub.asked("discord.com"))

    def test_signals_that_were_ignored_are_heard(self):
        """nohup(1) ignores SIGHUP, sh(1) SIGINT for a background command: both are inherited."""
        former = [(n, signal.signal(n, signal.SIG_IGN)) for n in (signal.SIGHUP, signal.SIGINT)]
        dnsd = Daemon(POLICY, "--upstream", "127.0.0.1:1")
        for n, handler in former:
            signal.signal(n, handler)
        dnsd.process.send_signal(signal.SIGHUP)
        dnsd.wait_log("policy_unchanged generation=1")
        dnsd.process.send_signal(signal.SIGINT)
        self.assertEqual(dnsd.process.wait(20), 0)
        dnsd.stop()

    def test_an_answer_that_comes_after_a_reload_is_judged_by_the_new_policy(self):
        dnsd = self.start()
        with dnsd.udp() as s:
            s.settimeout(10)
            s.send(w.query("slow.t.example.net"))
            dnsd.write_policy(POLICY.replace("*.t.example.net", "*.u.example.net"))
            dnsd.process.send_signal(signal.SIGHUP)
            dnsd.wait_log("policy_in_use worker=0 generation=2")
            self.assertEqual(w.Message(s.recv(4096)).rcode, w.NXDOMAIN)

    def test_what_a_reload_denies_is_not_asked_for_any_more(self):
        stub = Stub({**both("mute.t.example.net", silence, silence), **both("mute.slack.com", silence, silence)})
        dnsd = Daemon(POLICY, "--upstream", stub.address, *NO_BRAKES)
        with dnsd.udp() as s, dnsd.udp() as kept:
            s.settimeout(10)
            kept.settimeout(10)
            s.send(w.query("mute.t.example.net"))
            kept.send(w.query("mute.slack.com"))
            lab.wait_until(lambda: stub.asked("mute.t.example.net") and stub.asked("mute.slack.com"))
            start = time.monotonic()
            dnsd.write_policy(POLICY.replace("*.t.example.net", "*.u.example.net"))
            dnsd.process.send_signal(signal.SIGHUP)
            self.assertEqual(w.Message(s.recv(4096)).rcode, w.NXDOMAIN)
            self.assertLess(time.monotonic() - start, 2.5)  # the question would have been given up after 3.5 s
            asked = len(stub.asked("mute.t.example.net"))
            self.assertEqual(w.Message(kept.recv(4096)).rcode, w.SERVFAIL)  # still asked for, to its end
            self.assertEqual(len(stub.asked("mute.t.example.net")), asked)
            self.assertGreater(len(stub.asked("mute.slack.com")), asked)
        self.assertEqual(dnsd.stop(), 0)

    def test_every_client_gets_its_answer_before_the_end(self):
        dnsd = Daemon(POLICY, "--upstream", Stub(ZONE).address)
        with dnsd.udp() as s:
            s.settimeout(10)
            s.send(w.query("slow.t.example.net"))
            self.assertEqual(len(dnsd.ask("localhost").answer), 1)  # so the first one has been read
            dnsd.process.send_signal(signal.SIGTERM)
            self.assertEqual(len(w.Message(s.recv(4096)).answer), 1)
        self.assertEqual(dnsd.stop(), 0)
        dnsd = Daemon(POLICY, "--upstream", Stub(ZONE).address)
        idle, stream = dnsd.tcp(), dnsd.tcp()
        stream.send(w.query("slow.t.example.net", ident=1), w.query("localhost", ident=2))
        self.assertEqual(stream.receive().id, 2)
        dnsd.process.send_signal(signal.SIGTERM)
        self.assertIsNone(idle.receive())
        self.assertEqual(stream.receive().id, 1)
        self.assertIsNone(stream.receive())
        self.assertEqual(dnsd.stop(), 0)
        idle.close()
        stream.close()

    def test_nobody_waits_for_one_that_goes(self):
        stub = Stub({**ZONE, ("mute.t.example.net", w.A): silence})
        dnsd = Daemon(POLICY, "--upstream", stub.address, *NO_BRAKES)
        self.assertEqual(len(dnsd.ask("p1.t.example.net").answer), 1)
        with dnsd.udp() as s:
            s.settimeout(10)
            s.send(w.query("mute.t.example.net"))
            lab.wait_until(lambda: stub.asked("mute.t.example.net"))
            dnsd.process.send_signal(signal.SIGTERM)
            dnsd.wait_log(" stopping ")
            start = time.monotonic()
            m = dnsd.ask("p2.t.example.net", edns=w.opt())
            self.assertEqual((m.rcode, m.ede()), (w.SERVFAIL, (0, "shutting down")))
            self.assertEqual(len(dnsd.ask("p1.t.example.net").answer), 1)
            self.assertEqual(dnsd.ask("evil.example.org").rcode, w.NXDOMAIN)
            self.assertLess(time.monotonic() - start, 1)
            self.assertEqual(w.Message(s.recv(4096)).rcode, w.SERVFAIL)
            self.assertEqual(stub.asked("p2.t.example.net"), [])
        self.assertEqual(dnsd.stop(), 0)

    def test_answers_leave_from_the_address_asked(self):
        dnsd = self.start("--listen", "0.0.0.0:0")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.77", dnsd.addresses["udp"][0][1]))  # connected: others' answers do not arrive
            s.settimeout(10)
            s.send(w.query("localhost"))
            self.assertEqual(len(w.Message(s.recv(4096)).answer), 1)

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
                s.bind(("::1", 0))
        except OSError:
            self.skipTest("no IPv6 loopback here")
        dnsd = self.start("--listen", "[::1]:0")
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.connect(dnsd.addresses["udp"][0])
            s.settimeout(10)
            s.send(w.query("localhost"))
            self.assertEqual(len(w.Message(s.recv(4096)).answer), 1)
        stream = Stream(dnsd.addresses["tcp"][0])
        stream.send(w.query("gateway.discord.gg"))
        self.assertEqual(len(stream.receive().answer), 1)
        stream.close()

    def test_passed_sockets(self):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.bind(("127.0.0.1", 0))
        tcp.listen(8)
        dnsd = self.start(passed=(udp, tcp))
        self.assertEqual(dnsd.addresses, {"udp": [udp.getsockname()], "tcp": [tcp.getsockname()]})
        self.assertEqual(len(dnsd.ask("gateway.discord.gg").answer), 1)
        stream = dnsd.tcp()
        stream.send(w.query("localhost"))
        self.assertEqual(len(stream.receive().answer), 1)
        stream.close()
        udp.close()
        tcp.close()

    def test_a_restart_on_passed_sockets_loses_no_question_and_no_address(self):
        udp, tcp = Stub.bind("127.0.0.1")
        names = ["gateway.discord.gg", "dual.slack.com", "host.openshell.internal"] + ["p%d.t.example.net" % i for i in range(9)]
        with tempfile.TemporaryDirectory() as directory:
            options = ("--answer", "synthetic", "--map", os.path.join(directory, "map"))
            stub = Stub(ZONE)
            first = Daemon(POLICY, "--upstream", stub.address, *options, passed=(udp, tcp))
            before = {name: first.ask(name).answer[0].data for name in names}
            self.assertEqual(len(set(before.values())), len(names))
            self.assertEqual(first.stop(), 0)
            waiting, stream = first.udp(), first.tcp()  # nobody is there: what is asked waits in the sockets
            for i, name in enumerate(names):
                waiting.send(w.query(name, ident=i))
                stream.send(w.query(name, ident=i))
            self.start(*options, stub=stub, passed=(udp, tcp))
            waiting.settimeout(10)
            for receive in (lambda: w.Message(waiting.recv(4096)), stream.receive):
                got = {m.questions[0][0]: m.answer[0].data for m in (receive() for _ in names)}
                self.assertEqual(got, before)
            waiting.close()
            stream.close()
        udp.close()
        tcp.close()

    def test_denials_are_logged_within_bounds(self):
        dnsd = self.start()
        with dnsd.udp() as s:
            s.settimeout(10)
            for i in range(600):
                s.send(w.query("n%d.evil.example.org" % i))
                s.recv(4096)
        dnsd.wait_log(r"dns_denied .*suppressed=\d+")
        told = len([x for x in dnsd.lines("dns_denied") if "name=" in x])
        kept = sum(int(x) for x in re.findall(r" dns_denied .*suppressed=(\d+)", dnsd.log()))
        self.assertGreater(told, 50)
        self.assertLessEqual(told + kept, 600)

    def test_a_denial_says_the_same_each_time(self):
        dnsd = self.start("--log-level", "info")  # at debug each is decided anew
        for _ in range(4):  # the third and the fourth are not decided anew
            self.assertEqual(dnsd.ask("evil.example.org").rcode, w.NXDOMAIN)
        dnsd.process.terminate()
        dnsd.process.wait(20)
        told = [x.split(" dns_denied ")[1] for x in dnsd.lines("dns_denied")]
        self.assertEqual(told, ["name=evil.example.org type=A client=127.0.0.1 reason=policy_denied"] * 4)

    def test_cache_size_is_for_all_workers(self):
        names = ["n%d.t.example.net" % i for i in range(1500)]
        dnsd = self.start("--workers", "2", "--cache-size", "128KiB", "--aaaa", "nodata", "--log-level", "info",
                          "--rate-limit", "0", "--wildcard-budget", "0",
                          stub=Stub({(name, w.A): addresses(V4, ttl=3600) for name in names}))
        for name in names:
            self.assertEqual(len(dnsd.ask(name).answer), 1)
        dnsd.process.terminate()
        dnsd.process.wait(20)
        told = dnsd.lines("dns_totals")
        counted = {key: [int(re.search(" %s=(\\d+)" % key, x).group(1)) for x in told]
                   for key in ("cache_bytes", "cache_entries", "cache_evicted")}
        for held in counted["cache_bytes"]:  # of 64 KiB each, a part of which holds answers that are ready
            self.assertGreater(held, 32 << 10)
            self.assertLess(held, 56 << 10)
        self.assertEqual(sum(counted["cache_entries"]) + sum(counted["cache_evicted"]), len(names))

    def test_a_synthetic_pool_without_ipv6(self):
        dnsd = self.start("--answer", "synthetic", "--pool", "198.18.0.0/24", "--map",
                          os.path.join("/tmp", "dnsd-test-map.%d" % os.getpid()))
        self.addCleanup(lambda: os.unlink(os.path.join("/tmp", "dnsd-test-map.%d" % os.getpid())))
        self.assertEqual(len(dnsd.ask("dual.slack.com").answer), 1)
        m = dnsd.ask("dual.slack.com", w.AAAA)
        self.assertEqual((m.rcode, m.answer), (w.NOERROR, []))

    def test_idle_tcp_connections_end_after_ten_seconds(self):
        dnsd = self.start()
        idle, slow = dnsd.tcp(), dnsd.tcp()
        start = time.monotonic()
        slow.socket.sendall(b"\0")  # half a length: not a whole question
        idle.send(w.query("localhost"))
        self.assertEqual(len(idle.receive().answer), 1)
        for stream in (idle, slow):
            self.assertIsNone(stream.receive())
            self.assertTrue(9.0 < time.monotonic() - start < 15.0)
            stream.close()


if __name__ == "__main__":
    lab.own_ports()
    unittest.main(verbosity=1)
