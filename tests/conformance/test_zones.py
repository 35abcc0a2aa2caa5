# SPDX-License-Identifier: Apache-2.0
"""Who is asked for which name: split zones, and resolv.conf as it changes. Packets are counted where they arrive.

In a network namespace of its own, where port 53 of every loopback address is free.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import dns_wire as w
import lab
from daemon import EGRESS, NO_BRAKES, PROGRAM, TUNNELD, Daemon
from dns_stub import OWNER, Stub, addresses, nodata, reply, silence

V4, PRIVATE = "93.184.216.34", "10.43.0.20"
POLICY = """\
version: 1
network_policies:
  t:
    endpoints:
      - { host: gateway.discord.gg, port: 443 }
      - { host: alias.example.com, port: 443 }
      - { host: "*.slow.example.com", port: 443 }
      - { host: db.prod.cluster.local, port: 5432 }
      - { host: out.prod.cluster.local, port: 5432 }
      - { host: "*.web.cluster.local", port: 443 }
      - { host: a.deep.cluster.local, port: 443 }
      - { host: xcluster.local, port: 443 }
"""


class Everything(dict):
    """Each A has the addresses; a function by first label may say otherwise."""

    def __init__(self, *texts, **by_label):
        super().__init__()
        self.answer, self.by_label = addresses(*texts), by_label

    def get(self, key, default=None):
        name, qtype = key
        act = self.by_label.get(name.split(".")[0])
        return act or (self.answer if qtype in (w.A, w.AAAA) else nodata)


def server(*texts, host="127.0.0.1", **by_label):
    s = Stub({}, host)
    s.zone = Everything(*texts, **by_label)
    return s


class Stub53(Stub):
    @staticmethod
    def bind(host):
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((host, 53))
        tcp.bind((host, 53))
        tcp.listen(64)
        return udp, tcp


def seen_by(stub):
    """Names in order, without what every upstream is asked at start and now and then."""
    with stub.lock:
        return [a.name for a in stub.seen if a.name != "loop.openshell.invalid"]


def names_of(stub):
    return set(seen_by(stub))


def alias(target):
    """A CNAME and nothing else: whoever wants the address has to ask on."""
    return lambda ask: [reply(ask, answer=[w.record(OWNER, w.CNAME, 60, w.name(target))])]


def texts_of(m):
    family = socket.AF_INET6 if m.questions[0][1] == w.AAAA else socket.AF_INET
    return [socket.inet_ntop(family, r.data) for r in m.answer]


class Case(unittest.TestCase):
    def start(self, *options, policy=POLICY, **more):
        dnsd = Daemon(policy, *options, **more)
        self.addCleanup(lambda: self.assertEqual(dnsd.stop(), 0 if more.get("expect_ready", True) else dnsd.status))
        return dnsd


class TestZones(Case):
    def setUp(self):
        self.main = server(V4, alias=alias("db.prod.cluster.local"))
        self.cluster = server(PRIVATE, out=alias("www.example.com"))
        self.deep = server(V4)
        self.options = ["--upstream", self.main.address, "--zone", "cluster.local=" + self.cluster.address,
                        "--zone", "deep.cluster.local=" + self.deep.address]

    def test_each_name_reaches_only_its_own(self):
        dnsd = self.start(*self.options)
        self.assertEqual(texts_of(dnsd.ask("gateway.discord.gg")), [V4])
        self.assertEqual(texts_of(dnsd.ask("xcluster.local")), [V4])
        self.assertEqual(texts_of(dnsd.ask("DB.prod.Cluster.LOCAL")), [PRIVATE])
        self.assertEqual(texts_of(dnsd.ask("a.deep.cluster.local")), [V4])
        self.assertEqual(names_of(self.main), {"gateway.discord.gg", "xcluster.local"})
        self.assertEqual(names_of(self.cluster), {"db.prod.cluster.local"})
        self.assertEqual(names_of(self.deep), {"a.deep.cluster.local"})

    def test_a_zone_opens_nothing(self):
        dnsd = self.start(*self.options)
        for name in ("other.prod.cluster.local", "cluster.local", "b.deep.cluster.local"):
            m = dnsd.ask(name, edns=w.opt())
            self.assertIn(m.rcode, (w.NXDOMAIN, w.NOERROR))
            self.assertEqual(m.answer, [])
        m = dnsd.ask("x.web.cluster.local", edns=w.opt())  # a private address under a wildcard
        self.assertEqual((m.answer, m.ede()[0]), ([], 15))
        self.assertIn("allowed_ips", m.ede()[1])
        self.assertEqual(names_of(self.cluster) - {"x.web.cluster.local"}, set())
        self.assertEqual(names_of(self.deep) | names_of(self.main), set())

    def test_an_alias_is_asked_of_the_servers_of_the_asked_name(self):
        dnsd = self.start(*self.options)
        self.assertEqual(texts_of(dnsd.ask("alias.example.com")), [V4])
        self.assertEqual(names_of(self.main), {"alias.example.com", "db.prod.cluster.local"})
        self.assertEqual(names_of(self.cluster), set())
        self.assertEqual(texts_of(dnsd.ask("out.prod.cluster.local")), [PRIVATE])
        self.assertEqual(names_of(self.cluster), {"out.prod.cluster.local", "www.example.com"})
        self.assertNotIn("www.example.com", names_of(self.main))

    def test_a_dead_zone_slows_no_other_name(self):
        self.cluster.zone = Everything(PRIVATE, db=silence)
        dnsd = self.start(*self.options)
        with dnsd.udp() as s:
            s.send(w.query("db.prod.cluster.local", w.A))
            begin = time.monotonic()
            self.assertEqual(texts_of(dnsd.ask("gateway.discord.gg")), [V4])
            self.assertLess(time.monotonic() - begin, 0.7)
            s.settimeout(20)
            self.assertEqual(w.Message(s.recv(4096)).rcode, w.SERVFAIL)
        self.assertNotIn("db.prod.cluster.local", names_of(self.main))
        dnsd.wait_log(r" dns_failed name=db\.prod\.cluster\.local .*why=\"no upstream answered in time\" "
                      r"upstream=%s zone=cluster\.local( |\n)" % self.cluster.address)

    def test_a_dead_zone_leaves_places(self):
        """Far more questions than a worker has places wait for a server that is silent; others are answered."""
        full = (w.SERVFAIL, "too many questions in flight to the upstreams of this name")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:  # nobody reads what comes there
            deaf.bind(("127.0.0.1", 0))
            dnsd = self.start("--upstream", self.main.address, "--zone", "cluster.local=127.0.0.1:%d" %
                              deaf.getsockname()[1], *NO_BRAKES, "--log-level", "info")
            with dnsd.udp() as s:
                s.setblocking(False)
                seen = set()
                for i in range(0, 30000, 50):
                    for j in range(i, i + 50):
                        s.send(w.query("n%d.web.cluster.local" % j, w.A, j, edns=w.opt()))
                    lab.wait_until(lambda: dnsd.exchange(w.query("localhost"), 1))  # these have been read
                    try:
                        m = w.Message(s.recv(4096))
                        seen.add((m.rcode, m.ede()[1]))
                    except BlockingIOError:
                        pass
                    if full in seen:
                        break
                self.assertIn(full, seen)
                for i in range(50):
                    begin = time.monotonic()
                    self.assertEqual(texts_of(dnsd.ask("x%d.slow.example.com" % i)), [V4])
                    self.assertLess(time.monotonic() - begin, 0.7)

    def test_several_servers_of_a_zone(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            closed = "127.0.0.1:%d" % s.getsockname()[1]
        dnsd = self.start("--upstream", self.main.address, "--zone",
                          "cluster.local=%s,%s" % (closed, self.cluster.address))
        self.assertEqual(texts_of(dnsd.ask("db.prod.cluster.local")), [PRIVATE])
        self.assertEqual(names_of(self.main), set())

    def test_settings(self):
        env = dict(os.environ, OPENSHELL_DNSD_ZONE="lan=10.0.0.1,open  corp.example=10.0.0.2:5353")
        out = subprocess.run([PROGRAM, "--dump-config"], env=env, capture_output=True, text=True, check=True).stdout
        self.assertRegex(out, r"(?m)^zone +lan=10\.0\.0\.1,open corp\.example=10\.0\.0\.2:5353 +# from environment")
        for options, text in ((["--zone", "lan"], "--zone: lan: not of the form"),
                              (["--zone", ".=10.0.0.1"], "root"),
                              (["--zone", "lan=dns.lan"], "only addresses"),
                              (["--zone", "lan=10.0.0.1", "--zone", "Lan.=10.0.0.2"], "given twice"),
                              (["--zone", "10.in-addr.arpa=10.0.0.1"], "reverse")):
            for program in (PROGRAM, TUNNELD):
                for check in ([], ["--check"]):
                    run = subprocess.run([program, "--policy", os.devnull, "--upstream", "127.0.0.1:9", *options, *check],
                                         capture_output=True, text=True, check=False)
                    self.assertEqual((run.returncode, text in run.stderr), (64, True), run.stderr)

    def test_our_own_listener_is_no_zone(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.9", 0))
            own = "127.0.0.9:%d" % s.getsockname()[1]
        dnsd = self.start("--listen", own, "--upstream", self.main.address, "--zone", "lan=" + own, expect_ready=False)
        self.assertEqual(dnsd.status, 78)
        self.assertIn("--zone lan: upstream %s is our own listener" % own, dnsd.log())
        self.assertNotIn("--upstream", dnsd.log())  # it would not help
        for options, text in ((["--upstream", own], "upstream %s is our own listener" % own),
                              (["--upstream", "127.0.0.9", "--zone", "lan=" + own], "--zone lan: upstream " + own),
                              (["--resolv-conf", "/nonexistent"], "--resolv-conf: /nonexistent"),
                              (["--upstream", "198.18.0.1", "--answer", "synthetic"], "is in --pool")):
            run = subprocess.run([PROGRAM, "--policy", os.devnull, "--listen", own, *options, "--check"],
                                 capture_output=True, text=True, check=False)
            self.assertEqual((run.returncode, text in run.stderr), (78, True), run.stderr)

    def test_tunneld(self):
        with tempfile.TemporaryDirectory() as d:
            admin = os.path.join(d, "admin")
            t = lab.Daemon(TUNNELD, POLICY, *self.options, "--admin", "unix:" + admin,
                           "--zone", "open.example=127.0.0.1:9,open", "--never", PRIVATE + "/32", "--never", V4 + "/32")
            self.addCleanup(lambda: (t.stop(), t.process.stderr.close()))
            for host, status in (("db.prod.cluster.local:5432", 403), ("gateway.discord.gg:443", 403),
                                 ("x.open.example:443", 403)):
                with t.dial() as s:
                    s.sendall(b"CONNECT %s HTTP/1.1\r\n\r\n" % host.encode())
                    self.assertIn(b" %d " % status, lab.read_head(s))
            self.assertEqual(names_of(self.cluster), {"db.prod.cluster.local"})
            self.assertEqual(names_of(self.main), {"gateway.discord.gg"})
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(admin)
                s.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                text = lab.read_to_end(s)
            zones = json.loads(text.split(b"\r\n\r\n", 1)[1])["zones"]
            self.assertEqual(zones[0], {"suffix": "cluster.local", "upstreams": [self.cluster.address], "open": False})
            self.assertEqual([z["open"] for z in zones], [False, False, True])


class TestOpenZone(Case):
    def setUp(self):
        self.main = server(V4)
        self.cluster = server(PRIVATE, "127.0.0.1", "169.254.169.254", "fd12::1", "::1", own=addresses("127.0.0.1"),
                              none=lambda ask: [reply(ask, w.NXDOMAIN, authority=[w.soa()])])
        self.options = ["--upstream", self.main.address, "--zone", "cluster.local=%s,open" % self.cluster.address,
                        "--aaaa", "pass"]

    def check_answers(self, dnsd):
        for name in ("any.svc.cluster.local", "db.prod.cluster.local", "cluster.local", "x.web.cluster.local"):
            self.assertEqual(texts_of(dnsd.ask(name)), [PRIVATE], name)
            self.assertEqual(texts_of(dnsd.ask(name, w.AAAA)), ["fd12::1"], name)
        m = dnsd.ask("own.cluster.local", edns=w.opt())
        self.assertEqual((m.rcode, m.answer, m.ede()[0]), (w.NOERROR, [], 15))
        self.assertEqual(dnsd.ask("none.cluster.local").rcode, w.NXDOMAIN)
        before = len(seen_by(self.cluster))
        for qtype in (w.TXT, w.SRV, w.HTTPS, w.ANY, w.PTR):
            m = dnsd.ask("any.svc.cluster.local", qtype)
            self.assertEqual((m.rcode, m.answer, m.soa()[2]), (w.NOERROR, [], "dnsd.openshell.invalid"))
        m = dnsd.ask("20.0.43.10.in-addr.arpa", w.PTR)
        self.assertEqual(m.rcode, w.NXDOMAIN)
        m = dnsd.ask("local")
        self.assertEqual((m.rcode, m.answer), (w.NOERROR, []))
        self.assertEqual(dnsd.ask("other.local").rcode, w.NXDOMAIN)
        self.assertEqual(len(seen_by(self.cluster)), before)
        self.assertEqual(names_of(self.main), set())
        dnsd.wait_log(r"warn .* dns_address_denied name=any\.svc\.cluster\.local type=A client=127\.0\.0\.1 "
                      r"why=\"a loopback address is never dialled\" address=127\.0\.0\.1 refused=2 "
                      r"rcode=NOERROR addrs=1")
        dnsd.wait_log(r"debug .* dns_open_zone name=none\.cluster\.local type=A client=127\.0\.0\.1 "
                      r"rcode=NXDOMAIN addrs=0")

    def test_real(self):
        self.check_answers(self.start(*self.options))
        self.check_answers(self.start(*self.options, "--strict-private", "--wildcard-budget", "1"))

    def test_synthetic(self):
        with tempfile.TemporaryDirectory() as d:
            dnsd = self.start(*self.options, "--answer", "synthetic", "--map", os.path.join(d, "map"))
            self.check_answers(dnsd)
            self.assertTrue(texts_of(dnsd.ask("gateway.discord.gg"))[0].startswith("198.1"))

    def test_explain(self):
        with tempfile.TemporaryDirectory() as d:
            policy = os.path.join(d, "policy.yaml")
            with open(policy, "w", encoding="ascii") as f:
                f.write(POLICY)
            argv = [EGRESS, "explain", "--policy", policy, *self.options]
            run = subprocess.run([*argv, "--live", "any.svc.cluster.local:443"], capture_output=True, text=True,
                                 check=False)
            self.assertEqual(run.returncode, 1, run.stderr)  # tunneld grants nothing
            self.assertRegex(run.stdout, r"(?m)^Zone +cluster\.local -> %s, open$" % self.cluster.address)
            self.assertIn(PRIVATE, run.stdout)
            self.assertIn("asked %s," % self.cluster.address, run.stdout)
            run = subprocess.run([*argv, "--format", "json", "any.svc.cluster.local"], capture_output=True, text=True,
                                 check=False)
            self.assertEqual(json.loads(run.stdout)["zone"],
                             {"suffix": "cluster.local", "upstreams": [self.cluster.address], "open": True})
            run = subprocess.run([*argv, "--format", "json", "gateway.discord.gg"], capture_output=True, text=True,
                                 check=False)
            self.assertIsNone(json.loads(run.stdout)["zone"])


class TestResolvConf(Case):
    """Each server has an address of its own to give, so that an answer says who gave it."""

    @classmethod
    def setUpClass(cls):
        cls.first = Stub53({}, "127.0.0.2")
        cls.second = Stub53({}, "127.0.0.3")
        cls.first.zone = Everything("93.184.216.2", mute=silence)
        cls.second.zone = Everything("93.184.216.3")

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = os.path.join(self.dir.name, "resolv.conf")
        self.number = 0

    def write(self, *servers, path=None):
        """As every tool does it: a new file, renamed."""
        path = path or self.path
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write("search example.org\n" + "".join("nameserver %s\n" % s for s in servers))
        os.rename(path + ".new", path)

    def expect(self, dnsd, *texts):
        self.number += 1  # a name that no cache has
        self.assertEqual(texts_of(dnsd.ask("n%d.slow.example.com" % self.number)), list(texts))

    def wait(self, dnsd, pattern, count=1):
        end = time.monotonic() + 20
        while len([x for x in dnsd.log().splitlines() if pattern in x]) < count:
            self.assertLess(time.monotonic(), end, dnsd.log())
            time.sleep(0.02)

    def test_rename(self):
        self.write("127.0.0.2")
        dnsd = self.start("--resolv-conf", self.path, "--workers", "2")
        self.expect(dnsd, "93.184.216.2")
        self.write("127.0.0.3")
        self.wait(dnsd, "upstreams_changed old=127.0.0.2:53 new=127.0.0.3:53")
        for _ in range(8):  # every worker
            self.expect(dnsd, "93.184.216.3")

    def test_a_family_that_was_silent_is_asked_of_the_new_one(self):
        name = "quiet.slow.example.com"
        self.addCleanup(setattr, self.first, "zone", self.first.zone)
        self.addCleanup(setattr, self.second, "zone", self.second.zone)
        self.first.zone = {(name, w.A): addresses("93.184.216.2"), (name, w.AAAA): silence}
        self.second.zone = {(name, w.A): addresses("93.184.216.3"), (name, w.AAAA): addresses("2606:2800:220:1::1")}
        self.write("127.0.0.2")
        dnsd = self.start("--resolv-conf", self.path, "--aaaa", "pass")
        self.assertEqual(texts_of(dnsd.ask(name, w.AAAA)), [])  # silent beside a good A: remembered for 30 s
        self.write("127.0.0.3")
        self.wait(dnsd, "upstreams_changed ")
        self.assertEqual(len(dnsd.ask(name, w.AAAA).answer), 1)

    def test_symbolic_link(self):
        stub, real = os.path.join(self.dir.name, "stub"), os.path.join(self.dir.name, "real")
        self.write("127.0.0.2", path=stub)
        self.write("127.0.0.3", path=real)
        os.symlink("stub", self.path)
        dnsd = self.start("--resolv-conf", self.path)
        self.expect(dnsd, "93.184.216.2")
        os.symlink("real", self.path + ".new")
        os.rename(self.path + ".new", self.path)
        self.wait(dnsd, "upstreams_changed ")
        self.expect(dnsd, "93.184.216.3")
        self.write("127.0.0.2", path=real)
        self.wait(dnsd, "upstreams_changed ", 2)
        self.expect(dnsd, "93.184.216.2")

    def test_gone_empty_ourselves_and_back(self):
        self.write("127.0.0.2")
        dnsd = self.start("--resolv-conf", self.path, "--listen", "127.0.0.4:53")
        os.unlink(self.path)
        self.wait(dnsd, "upstreams_kept ")
        self.expect(dnsd, "93.184.216.2")
        self.write()
        self.wait(dnsd, "upstreams_kept ", 2)
        self.write("127.0.0.4")
        self.wait(dnsd, "upstreams_kept why=\"%s: upstream 127.0.0.4:53 is our own listener 127.0.0.4:53" % self.path)
        self.expect(dnsd, "93.184.216.2")
        self.write("127.0.0.4", "127.0.0.3")
        self.wait(dnsd, "upstream_ignored addr=127.0.0.4:53 file=%s why=" % self.path)
        self.expect(dnsd, "93.184.216.3")
        self.write("127.0.0.3")
        time.sleep(0.5)
        dnsd.process.send_signal(signal.SIGHUP)
        self.expect(dnsd, "93.184.216.3")
        self.assertEqual(len(dnsd.lines("upstreams_changed")), 1)

    def test_an_address_of_the_pool(self):
        """A start refuses it; the file brought it in later, and the good server was gone."""
        self.write("127.0.0.2")
        dnsd = self.start("--resolv-conf", self.path, "--answer", "synthetic", "--map", os.path.join(self.dir.name, "map"))
        self.write("198.18.0.1")
        self.wait(dnsd, "upstream 198.18.0.1:53 is in --pool")
        self.assertEqual(dnsd.lines("upstreams_changed"), [])
        self.write("198.18.0.1", "127.0.0.3")
        self.wait(dnsd, "upstream_ignored addr=198.18.0.1:53")
        self.wait(dnsd, "upstreams_changed old=127.0.0.2:53 new=127.0.0.3:53")

    def test_a_question_under_way_turns_to_the_new_server(self):
        self.write("127.0.0.2")
        dnsd = self.start("--resolv-conf", self.path)
        with dnsd.udp() as s:
            s.settimeout(20)
            s.send(w.query("mute.slow.example.com", w.A))
            while not self.first.asked("mute.slow.example.com"):
                time.sleep(0.01)
            self.write("127.0.0.3")
            self.assertEqual(texts_of(w.Message(s.recv(4096))), ["93.184.216.3"])

    def test_a_server_that_is_not_there_is_no_reason_not_to_start(self):
        self.write("127.0.0.53")
        dnsd = self.start("--resolv-conf", self.path)
        self.assertEqual(dnsd.ask("n.slow.example.com").rcode, w.SERVFAIL)
        self.write("127.0.0.3")
        self.wait(dnsd, "upstreams_changed ")
        self.assertEqual(texts_of(dnsd.ask("n.slow.example.com")), ["93.184.216.3"])  # the failure is forgotten

    def test_only_ourselves_at_start(self):
        self.write("127.0.0.4")
        dnsd = self.start("--resolv-conf", self.path, "--listen", "127.0.0.4:53", expect_ready=False)
        self.assertEqual((dnsd.status, "with --upstream" in dnsd.log()), (78, True))
        self.assertIn("\nopenshell-dnsd: %s: upstream 127.0.0.4:53 is our own listener" % self.path, dnsd.log())

    def test_another_dnsd_alone(self):
        self.start("--upstream", "127.0.0.2", "--listen", "127.0.0.5:53")
        self.write("127.0.0.5")
        dnsd = self.start("--resolv-conf", self.path, expect_ready=False)
        self.assertEqual(dnsd.status, 78)
        self.assertIn("\nopenshell-dnsd: %s: upstream 127.0.0.5:53 is an openshell-dnsd itself" % self.path, dnsd.log())

    def test_an_address_of_the_pool_at_start(self):
        self.write("198.18.0.1")
        dnsd = self.start("--resolv-conf", self.path, "--answer", "synthetic", "--map",
                          os.path.join(self.dir.name, "map"), expect_ready=False)
        self.assertEqual(dnsd.status, 78)
        self.assertIn("\nopenshell-dnsd: %s: upstream 198.18.0.1:53 is in --pool" % self.path, dnsd.log())

    def test_upstream_option_is_not_followed(self):
        self.write("127.0.0.3")
        dnsd = self.start("--resolv-conf", self.path, "--upstream", "127.0.0.2")
        self.write("127.0.0.9")
        dnsd.process.send_signal(signal.SIGHUP)
        self.wait(dnsd, "policy_unchanged")
        self.expect(dnsd, "93.184.216.2")
        self.assertEqual(dnsd.lines("upstreams_changed"), [])

    def test_tunneld(self):
        self.write("127.0.0.2")
        t = lab.Daemon(TUNNELD, POLICY, "--resolv-conf", self.path, "--workers", "2",
                       "--never", "93.184.216.0/24")
        self.addCleanup(lambda: (t.stop(), t.process.stderr.close()))
        for number, server_of in enumerate((self.first, self.second)):
            for attempt in range(40):  # each worker takes the new list when it comes round
                host = "t%d-%d.slow.example.com" % (number, attempt)
                with t.dial() as s:
                    s.sendall(b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % host.encode())
                    self.assertIn(b" 403 ", lab.read_head(s))
                if server_of.asked(host):
                    break
                time.sleep(0.05)
            self.assertTrue(server_of.asked(host))
            if number == 0:
                self.write("127.0.0.3")
                t.wait_log("upstreams_changed", old="127.0.0.2:53", new="127.0.0.3:53")


if __name__ == "__main__":
    lab.enter_namespace()
    lab.Netlink().lo_up()
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w", encoding="ascii") as ports:
        ports.write("0")
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
