# SPDX-License-Identifier: Apache-2.0
"""openshell-dnsd with an upstream over TLS: who is believed, what is said when nobody is, and what is on the wire."""
import concurrent.futures
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

import dns_wire as w
import lab
from daemon import EGRESS, PROGRAM, TUNNELD, Daemon
from dns_stub import LOOP_GUARD, Stub, addresses, nodata, silence
from dot_stub import NAME, DotStub, Pki

V4, OTHER4 = "93.184.216.34", "93.184.216.35"
HOST = "gateway.discord.gg"
POLICY = """\
version: 1
network_policies:
  bot:
    endpoints:
      - { host: gateway.discord.gg, port: 443 }
      - { host: "*.wild.example.org", port: 443 }
"""
EVERYTHING = {"*": lambda ask: (addresses(V4) if ask.qtype == w.A else nodata)(ask)}
LIMIT_S = 4.0  # a client's first timer is 5 s


def until(what, wait_s=20):
    end = time.monotonic() + wait_s
    while not what():
        if time.monotonic() > end:
            raise AssertionError("it did not come to be")
        time.sleep(0.01)


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="dot-test.")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.pki = Pki(cls.dir)
        cls.good = cls.pki.server("good")
        os.environ["SSL_CERT_FILE"] = cls.pki.path("ca.crt")
        cls.addClassCleanup(os.environ.pop, "SSL_CERT_FILE")

    def stub(self, zone=None, cert=None, **more):
        s = DotStub(zone or EVERYTHING, cert or self.good, **more)
        self.addCleanup(s.stop)
        return s

    def start(self, *upstreams, options=()):
        for u in upstreams:
            options += ("--upstream", u if isinstance(u, str) else u.url())
        d = Daemon(POLICY, *options)
        self.addCleanup(d.stop)
        return d

    def assert_answered(self, m, address=V4):
        self.assertEqual(m.rcode, w.NOERROR)
        self.assertEqual([socket.inet_ntoa(r.data) for r in m.answer], [address])


class TestAnswers(Base):
    def test_resolves(self):
        s = self.stub()
        d = self.start(s)
        m = d.ask(HOST, edns=w.opt())
        self.assert_answered(m)
        c = s.done()[0]
        self.assertEqual((c.sni, c.alpn, c.version, c.reused), (NAME, "dot", "TLSv1.3", False))
        self.assertIn("upstream addr=tls://127.0.0.1:%d#%s" % (s.port, NAME), d.log())
        self.assertEqual(d.lines("upstream_tls_failed"), [])

    def test_questions_are_padded_and_hidden(self):
        s = self.stub()
        d = self.start(s)
        names = [HOST, "a.wild.example.org", "b" * 60 + ".wild.example.org"]
        for n in names:
            self.assert_answered(d.ask(n))
        for raw in [q for c in s.done() for q in c.queries]:
            self.assertEqual(len(raw) % 128, 0)
            self.assertIn(12, w.Message(raw).options())
        wire = b"".join(c.received for c in s.connections)
        for label in (b"gateway", b"discord", b"bbbbbbbb", b"wild"):
            self.assertNotIn(label, wire)

    def test_one_connection_for_many_out_of_order(self):
        s = self.stub(hold=8)
        d = self.start(s)
        with d.udp() as client:
            client.settimeout(20)
            for i in range(8):
                client.send(w.query("n%d.wild.example.org" % i, ident=i))
            got = {w.Message(client.recv(4096)).id for _ in range(8)}
        self.assertEqual(got, set(range(8)))
        self.assertEqual([len(c.queries) for c in s.done()], [8])

    def test_tls_1_2(self):
        s = self.stub(context=lambda c: setattr(c, "maximum_version", ssl.TLSVersion.TLSv1_2))
        d = self.start(s)
        self.assert_answered(d.ask(HOST))
        self.assertEqual(s.done()[0].version, "TLSv1.2")
        s.close_connections()
        self.assert_answered(d.ask("a.wild.example.org"))
        self.assertEqual([c.reused for c in s.done()], [False, True])

    def test_byte_by_byte(self):
        s = self.stub(piece=1)
        self.assert_answered(self.start(s).ask(HOST))

    def test_name_is_an_address(self):
        s = self.stub(cert=self.pki.server("ip", alt="IP:127.0.0.1"))
        d = self.start("tls://127.0.0.1:%d#127.0.0.1" % s.port)
        self.assert_answered(d.ask(HOST))
        self.assertIsNone(s.done()[0].sni)

    def test_wildcard_certificate(self):
        s = self.stub(cert=self.pki.server("wild", alt="DNS:*.example.net"))
        self.assert_answered(self.start(s).ask(HOST))

    def test_zone(self):
        plain, s = Stub({(HOST, w.A): addresses(OTHER4)}), self.stub()
        d = self.start(plain.address, options=("--zone", "wild.example.org=" + s.url()))
        self.assert_answered(d.ask("a.wild.example.org"))
        self.assert_answered(d.ask(HOST), OTHER4)
        self.assertEqual([q.name for q in plain.seen if "wild" in q.name], [])
        self.assertEqual(len(s.done()), 1)

    def test_loop(self):
        """Who answers there is a dnsd: found out at the start, over TLS."""
        behind = self.start(Stub({}).address)
        s = self.stub({LOOP_GUARD: lambda ask: [behind.exchange(ask.raw).raw]})
        d = Daemon(POLICY, "--upstream", s.url(), expect_ready=False)
        self.assertEqual(d.status, 78)
        self.assertIn("upstream %s is an openshell-dnsd itself" % s.url(), d.log())

    def test_explain(self):
        s = self.stub()
        run = self.explain(s)
        self.assertIn("asked %s," % s.url(), run.stdout)
        self.assertIn("1 address,", run.stdout)

    def explain(self, s):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as policy:
            policy.write(POLICY)
            policy.flush()
            return subprocess.run([EGRESS, "explain", "--policy", policy.name, "--upstream", s.url(), "--live",
                                   HOST + ":443"], capture_output=True, text=True, check=False)

    def test_explain_tells_why(self):
        run = self.explain(self.stub(cert=self.pki.server("wrong2", alt="DNS:other.example.net")))
        self.assertIn("failed: the upstream's certificate is for another name", run.stdout)

    def test_tunneld(self):
        s = self.stub(cert=self.pki.server("self5", issuer=None))
        with lab.Daemon(TUNNELD, POLICY, "--upstream", s.url(), "--workers", "1") as t:
            with t.dial() as client:
                client.sendall(b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % HOST.encode())
                self.assertRegex(lab.read_head(client), rb"^HTTP/1.1 50[234] ")
            t.wait_log("tunnel_failed", reason="dns_failed", why="the upstream's certificate is not trusted")
            t.wait_log("upstream_tls_failed", why="tls_untrusted")
        s.context.load_cert_chain(self.good)
        with lab.Daemon(TUNNELD, POLICY, "--upstream", s.url(), "--workers", "1") as t:
            with t.dial() as client:
                client.sendall(b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % HOST.encode())
                until(s.done)
            self.assertEqual(t.count_log("upstream_tls_failed"), 0)


class TestSessions(Base):
    def test_idle_close_and_resumption(self):
        s = self.stub()
        d = self.start(s)
        self.assert_answered(d.ask("a.wild.example.org"))
        for i in range(3):
            s.close_connections()
            self.assert_answered(d.ask("n%d.wild.example.org" % i))
        self.assertEqual([c.reused for c in s.done()], [False, True, True, True])
        self.assertEqual(d.lines("upstream_tls_failed"), [])
        d.process.terminate()
        self.assertEqual(d.process.wait(20), 0)
        totals = "".join(d.lines("dns_totals"))
        self.assertRegex(totals, r" upstream_tls_handshakes=[4-6] .*upstream_tls_resumed=[3-5] upstream_tls_failed=0")

    def test_no_session_outlives_the_certificate(self):
        end = int(time.time()) + 6
        dates = ("20200101000000Z", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
        s = self.stub(cert=self.pki.expired("short", dates))
        d = self.start(s)
        self.assert_answered(d.ask("a.wild.example.org"))
        s.close_connections()
        self.assert_answered(d.ask("b.wild.example.org"))
        self.assertEqual([c.reused for c in s.done()], [False, True])
        time.sleep(max(0, end + 1.2 - time.time()))
        s.close_connections()
        m = d.ask("c.wild.example.org", edns=w.opt())
        self.assertEqual((m.rcode, m.answer), (w.SERVFAIL, []))
        self.assertEqual(m.ede()[0], 23)
        d.wait_log("upstream_tls_failed .*why=tls_expired")

    def test_closes_with_a_question_in_hand(self):
        """It is asked again at once, on a new connection."""
        def closes(ask):
            if len(asked) < 2:
                asked.append(ask)
                raise ConnectionResetError("on purpose")
            return addresses(V4)(ask)
        asked = [None]
        s = self.stub({"*": addresses(V4), ("gateway.discord.gg", w.A): closes})
        d = self.start(s)
        self.assert_answered(d.ask("a.wild.example.org"))
        begin = time.monotonic()
        self.assert_answered(d.ask(HOST))
        self.assertLess(time.monotonic() - begin, 1)
        self.assertEqual([c.reused for c in s.done()], [False, True])
        first, second = [len(c.queries) for c in s.done()]
        self.assertIn(first, (2, 3))  # once more where the machine is so busy that the answer comes late
        self.assertIn(second, (1, 2))

    def test_workers(self):
        """They share what is trusted, and nothing else."""
        s = self.stub()
        d = self.start(s, options=("--workers", "3"))
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for m in pool.map(d.ask, ["n%d.wild.example.org" % i for i in range(60)]):
                self.assert_answered(m)
            s.close_connections()
            for m in pool.map(d.ask, ["m%d.wild.example.org" % i for i in range(60)]):
                self.assert_answered(m)

    def test_server_restarts(self):
        """Its ticket keys are gone: a full handshake, and nobody hears of it."""
        s = self.stub()
        d = self.start(s)
        self.assert_answered(d.ask("a.wild.example.org"))
        port = s.port
        s.stop()
        again = self.stub(port=port)
        self.assert_answered(d.ask("b.wild.example.org"))
        self.assertEqual([c.reused for c in again.done()], [False])

    def test_goodbye(self):
        s = self.stub()
        d = self.start(s)
        self.assert_answered(d.ask(HOST))
        d.process.terminate()
        self.assertEqual(d.process.wait(20), 0)
        until(lambda: s.done()[0].got_goodbye)


class TestRefused(Base):
    def assert_refused(self, stub, why, text, url=None):
        """Nobody is asked, nor in plain text; client and operator hear why, in time."""
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(plain.close)
        plain.bind(("127.0.0.1", stub.port))
        d = self.start(url or stub.url())
        begin = time.monotonic()
        m = d.ask(HOST, edns=w.opt())
        self.assertLess(time.monotonic() - begin, LIMIT_S)
        self.assertEqual((m.rcode, m.answer), (w.SERVFAIL, []))
        code, said = m.ede()
        self.assertEqual(code, 22 if why == "timeout" else 23)
        self.assertIn(text, said)
        d.wait_log("dns_failed .*why=.*" + text)
        d.wait_log("upstream_tls_failed .*why=" + why)
        self.assertEqual([q for c in stub.connections for q in c.queries], [])
        plain.setblocking(False)
        self.assertRaises(BlockingIOError, plain.recv, 512)
        return d

    def test_wrong_name(self):
        s = self.stub(cert=self.pki.server("wrong", alt="DNS:other.example.net,DNS:more.example.net"))
        d = self.assert_refused(s, "tls_name", "for another name")
        line = "".join(d.lines("upstream_tls_failed"))
        self.assertIn("certificate=other.example.net,more.example.net", line)

    def test_common_name_is_no_name(self):
        s = self.stub(cert=self.pki.make("cn", "/CN=" + NAME, "subjectAltName=DNS:x.example.net\n", "ca"))
        self.assert_refused(s, "tls_name", "for another name")

    def test_address_is_not_its_name(self):
        s = self.stub()
        self.assert_refused(s, "tls_name", "for another name", s.url("127.0.0.1"))

    def test_expired(self):
        d = self.assert_refused(self.stub(cert=self.pki.expired("old")), "tls_expired", "expired")
        d.wait_log(" upstream_tls_failed .*certificate=%s .*not_before=2020-01-01T00:00:00Z "
                   "not_after=2021-01-01T00:00:00Z" % NAME)

    def test_not_yet_valid(self):
        s = self.stub(cert=self.pki.expired("new", ("20990101000000Z", "20990201000000Z")))
        d = self.assert_refused(s, "tls_expired", "expired")
        d.wait_log(" upstream_tls_failed .*not_before=2099-01-01T00:00:00Z not_after=2099-02-01T00:00:00Z")

    def test_self_signed(self):
        s = self.stub(cert=self.pki.server("self", issuer=None))
        self.assert_refused(s, "tls_untrusted", "not trusted")

    def test_old_version(self):
        """Whatever the system's configuration of OpenSSL would allow."""
        conf = self.pki.path("openssl.cnf")
        with open(conf, "w") as f:
            f.write("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = lax\n"
                    "[lax]\nMinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\n")
        os.environ["OPENSSL_CONF"] = conf
        self.addCleanup(os.environ.pop, "OPENSSL_CONF")

        def old(context):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is old is the point
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
        s = self.stub(context=old)
        self.assert_refused(s, "tls_handshake", "TLS with the upstream fails")

    def test_plain_dns_behind_the_port(self):
        s = self.stub(before=lambda conn: conn.sendall(b"\0\x0cnot TLS at all"))
        self.assert_refused(s, "tls_handshake", "TLS with the upstream fails")

    def test_closes_in_the_handshake(self):
        s = self.stub(before=lambda conn: conn.shutdown(socket.SHUT_RDWR))
        d = self.assert_refused(s, "tls_handshake", "TLS with the upstream fails")
        self.assertIn("closed the connection", "".join(d.lines("upstream_tls_failed")))

    def test_silent_handshake(self):
        end = threading.Event()
        self.addCleanup(end.set)
        s = self.stub(before=lambda conn: end.wait())
        self.assert_refused(s, "timeout", "in time")

    def test_half_a_handshake(self):
        end = threading.Event()
        self.addCleanup(end.set)
        s = self.stub(piece=100, stall=lambda sent: sent >= 300 and end.wait())
        self.assert_refused(s, "timeout", "in time")
        self.assertEqual({c.sent for c in s.connections}, {300})

    def test_garbage_behind_the_handshake(self):
        s = self.stub(after=lambda conn: conn.sendall(b"\0\x0cnot TLS at all"))
        d = self.start(s)
        begin = time.monotonic()
        m = d.ask(HOST, edns=w.opt())
        self.assertLess(time.monotonic() - begin, LIMIT_S)
        self.assertEqual(m.rcode, w.SERVFAIL)
        self.assertIn("TLS with the upstream fails", m.ede()[1])
        d.wait_log("upstream_tls_failed .*why=tls_handshake")

    def test_silent_behind_the_handshake(self):
        s = self.stub({"*": silence})
        d = self.start(s)
        begin = time.monotonic()
        self.assertEqual(d.ask(HOST).rcode, w.SERVFAIL)
        self.assertLess(time.monotonic() - begin, LIMIT_S)

    def test_said_once(self):
        s = self.stub(cert=self.pki.server("self2", issuer=None))
        d = self.start(s, options=("--workers", "4"))
        for i in range(20):
            self.assertEqual(d.ask("n%d.wild.example.org" % i).rcode, w.SERVFAIL)
        self.assertEqual(len(d.lines("upstream_tls_failed")), 1)  # by the check at the start
        self.assertGreater(len(s.connections), 5)

    def test_comes_and_goes(self):
        """A balancer: every second server behind the address is a broken one."""
        contexts = []

        def change(conn):
            s.context = contexts[len(s.connections) % 2]
        s = self.stub(before=change)
        bad = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        bad.load_cert_chain(self.pki.server("self5", issuer=None))
        bad.sni_callback = s.note_sni
        contexts += [s.context, bad]
        d = self.start(s, options=("--workers", "2"))
        for i in range(20):
            d.ask("n%d.wild.example.org" % i)
            s.close_connections()
        self.assertGreater(len(s.connections), 20)
        told = [re.search(r" why=(\w+) ", line).group(1) for line in d.lines("upstream_tls_failed")]
        self.assertIn("tls_untrusted", told)
        self.assertEqual(len(told), len(set(told)), told)  # each once: a handshake that is cut off is another trouble
        self.assertEqual(len(d.lines("upstream_tls_restored")), 1)

    def test_restored(self):
        s = self.stub(cert=self.pki.server("self3", issuer=None))
        d = self.start(s)
        self.assertEqual(d.ask("a.wild.example.org").rcode, w.SERVFAIL)
        s.context.load_cert_chain(self.good)
        self.assert_answered(d.ask("b.wild.example.org"))
        self.assertEqual(len(d.lines("upstream_tls_restored")), 1)


class TestOthers(Base):
    def test_next_upstream(self):
        bad = self.stub(cert=self.pki.server("self4", issuer=None))
        plain = Stub({(HOST, w.A): addresses(OTHER4)})
        d = self.start(bad, plain.address)
        self.assert_answered(d.ask(HOST), OTHER4)

    def test_order(self):
        s, plain = self.stub(), Stub({(HOST, w.A): addresses(OTHER4)})
        d = self.start(s, plain.address)
        self.assert_answered(d.ask(HOST), V4)
        d = self.start(plain.address, s)
        self.assert_answered(d.ask(HOST), OTHER4)

    def test_slow_handshake_is_answered(self):
        """Slower than an attempt, faster than a client: the question waits for it."""
        s = self.stub(before=lambda conn: time.sleep(1.5))
        d = self.start(s)
        begin = time.monotonic()
        self.assert_answered(d.ask(HOST))
        self.assertLess(time.monotonic() - begin, LIMIT_S)
        self.assertEqual(len(s.done()), 1)


class TestStart(Base):
    def fail(self, *options, status, text, **env):
        got = subprocess.run([PROGRAM, "--policy", self.policy, "--listen", "127.0.0.1:0", *options],
                             env=dict(os.environ, **env), capture_output=True, text=True, timeout=20)
        self.assertEqual(got.returncode, status, got.stderr)
        self.assertIn(text, got.stderr)

    def setUp(self):
        self.policy = os.path.join(self.dir, "policy.yaml")
        with open(self.policy, "w") as f:
            f.write(POLICY)

    def test_no_name(self):
        self.fail("--upstream", "tls://192.0.2.1", status=64, text="tls://ADDR[:PORT]#NAME")
        self.fail("--upstream", "tls://192.0.2.1#", status=64, text="tls://ADDR[:PORT]#NAME")
        self.fail("--upstream", "tls://192.0.2.1#a..b", status=64, text="tls://192.0.2.1#a..b")

    def test_no_trust(self):
        up = ("--upstream", "tls://192.0.2.1#" + NAME)
        missing, empty = self.pki.path("missing"), self.pki.path("empty")
        open(empty, "w").close()
        os.makedirs(self.pki.path("none"), exist_ok=True)
        self.fail(*up, status=78, text="SSL_CERT_FILE=" + missing, SSL_CERT_FILE=missing)
        self.fail(*up, status=78, text="SSL_CERT_FILE=" + empty, SSL_CERT_FILE=empty)
        self.fail(*up, status=78, text="SSL_CERT_DIR=" + missing, SSL_CERT_DIR=missing)
        no_file = {k: v for k, v in os.environ.items() if k != "SSL_CERT_FILE"}
        got = subprocess.run([PROGRAM, "--policy", self.policy, "--listen", "127.0.0.1:0", *up],
                             env=dict(no_file, SSL_CERT_DIR=self.pki.path("none")), capture_output=True, text=True,
                             timeout=20)
        self.assertEqual(got.returncode, 78)
        self.assertIn("no trusted certificates", got.stderr)

    def test_directory(self):
        trusted = self.pki.path("trusted")
        os.makedirs(trusted)
        shutil.copy(self.pki.path("ca.crt"), os.path.join(trusted, "0123abcd.0"))
        with open(os.path.join(trusted, "89abcdef.0"), "w") as f:
            f.write("no certificate\n")
        file = os.environ.pop("SSL_CERT_FILE")
        os.environ["SSL_CERT_DIR"] = trusted
        try:
            d = self.start(self.stub())
        finally:
            os.environ["SSL_CERT_FILE"] = file
            del os.environ["SSL_CERT_DIR"]
        shutil.rmtree(trusted)  # it was read at the start, once
        self.assert_answered(d.ask(HOST))


def missing():
    built = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout
    if "DNS over TLS yes" not in built:
        got = subprocess.run([PROGRAM, "--policy", "/dev/null", "--check", "--upstream", "tls://192.0.2.1#" + NAME],
                             capture_output=True, text=True, timeout=20)
        assert (got.returncode, "--with-openssl" in got.stderr) == (64, True), got
        return "built without OpenSSL"
    return None if shutil.which("openssl") else "openssl is missing"


if __name__ == "__main__":
    why = missing()
    if why:
        print("SKIP: " + why)
        sys.exit(77)
    lab.own_ports()
    unittest.main()
