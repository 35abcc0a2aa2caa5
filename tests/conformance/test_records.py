# SPDX-License-Identifier: Apache-2.0
"""SRV and TXT records of the real openshell-dnsd: which are asked for, which are given out, in which form."""
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

import dns_wire as w
import lab
from daemon import NO_BRAKES, Daemon
from dns_stub import OWNER, Stub, addresses, nodata, rcode, reply, silence

CLUSTER, SERVICE = "cluster0.abcde.mongodb.net", "_mongodb._tcp.cluster0.abcde.mongodb.net"
SHARDS = ["cluster0-shard-00-%02d.abcde.mongodb.net" % i for i in range(3)]
V4 = "93.184.216.34"
POLICY = """\
version: 1
egress:
  hosts: { fixed.t.example.net: [10.0.0.1] }
  endpoints:
    - { host: shaped.t.example.net, dns: { types: [TXT] } }
network_policies:
  mongodb:
    endpoints:
      - { host: _mongodb._tcp.cluster0.abcde.mongodb.net, port: 27017, dns: { types: [SRV] } }
      - { host: cluster0.abcde.mongodb.net, port: 27017, dns: { types: [TXT] } }
      - { host: "cluster0-shard-*.abcde.mongodb.net", port: 27017 }
  other:
    endpoints:
      - { host: shaped.t.example.net, port: 443 }
      - { host: plain.t.example.net, port: 443 }
      - { host: fixed.t.example.net, port: 443 }
      - { host: "*.s.t.example.net", port: 443, dns: { types: [SRV, TXT] } }
      - { host: below.ent.s.t.example.net, port: 443 }
      - { host: ent.s.t.example.net, port: 443, dns: { types: [SRV] } }
"""
NARROW = POLICY.replace('cluster0-shard-*', 'cluster0-shard-00-01')


def srv(target, port=27017, priority=0, weight=5):
    return struct.pack("!HHH", priority, weight, port) + (target if isinstance(target, bytes) else w.name(target))


def txt(*texts):
    return b"".join(bytes([len(t)]) + t for t in texts)


def records(rtype, *datas, ttl=300):
    return lambda ask: [reply(ask, answer=[w.record(OWNER, rtype, ttl, d) for d in datas])]


def over_tcp(act):
    return lambda ask: act(ask) if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)]


def alias(ask):
    """An alias in front, the records behind it, and somebody else's beside it."""
    target = w.name("srv.cdn.example.org")
    return [reply(ask, answer=[w.record(OWNER, w.CNAME, 20, target),
                               w.record(target, w.SRV, 200, srv("a.s.t.example.net", 443)),
                               w.record(w.name("x.example.org"), w.SRV, 1, srv("b.s.t.example.net", 443))])]


def alias_alone(ask):
    return [reply(ask, answer=[w.record(OWNER, w.CNAME, 20, w.name("far.cdn.example.org"))])]


SHARD_RECORDS = [srv(s) for s in SHARDS]
OPTIONS = txt(b"authSource=admin&replicaSet=atlas-abc-shard-0")
ZONE = {
    (SERVICE, w.SRV): records(w.SRV, srv(SHARDS[0].upper()), *SHARD_RECORDS[1:], srv("evil.example.org"),
                              srv(SHARDS[0], 22), srv("."), ttl=77),
    (CLUSTER, w.TXT): records(w.TXT, OPTIONS, ttl=88),
    **{(s, w.A): addresses(V4) for s in SHARDS}, **{(s, w.AAAA): nodata for s in SHARDS},
    ("evil.s.t.example.net", w.SRV): records(w.SRV, srv("one.example.org", 443), srv("two.example.org", 443)),
    ("no.s.t.example.net", w.SRV): records(w.SRV, srv(".", 0)),
    ("alias.s.t.example.net", w.SRV): alias,
    ("hop.s.t.example.net", w.TXT): alias_alone,
    ("hopless.s.t.example.net", w.TXT): lambda ask: [reply(ask, w.NXDOMAIN, answer=[
        w.record(OWNER, w.CNAME, 20, w.name("gone.cdn.example.org"))], authority=[w.soa()])],
    ("far.cdn.example.org", w.TXT): records(w.TXT, txt(b"far"), ttl=400),
    ("empty.s.t.example.net", w.TXT): nodata,
    ("zero.s.t.example.net", w.TXT): records(w.TXT, txt(b"never kept"), ttl=0),
    ("ill.s.t.example.net", w.SRV): rcode(w.SERVFAIL),
    ("silent.s.t.example.net", w.TXT): silence,
    ("shaped.t.example.net", w.TXT): records(w.TXT, txt(b"\0\xff", b"", b"x" * 255)),
    ("many.s.t.example.net", w.TXT): over_tcp(records(w.TXT, *[txt(bytes([i]) * 100) for i in range(30)])),
    ("full.s.t.example.net", w.SRV): over_tcp(records(w.SRV, *[srv("n%d.s.t.example.net" % i, 443)
                                                              for i in range(40)])),
    ("cut.s.t.example.net", w.TXT): lambda ask: [reply(ask, answer=[w.record(OWNER, w.TXT, 9, b"\5abc")])],
}
NODE = """
import { Resolver } from 'node:dns/promises'
const r = new Resolver({ timeout: 4000, tries: 1 })
r.setServers([process.argv[1]])
const [service, cluster, plain] = process.argv.slice(2)
const code = await r.resolveTxt(plain).then(() => 'answered', (e) => e.code)
console.log(JSON.stringify({ srv: await r.resolveSrv(service), txt: await r.resolveTxt(cluster), code }))
"""


class Case(unittest.TestCase):
    OPTIONS = ()

    def setUp(self):
        self.stub = Stub(ZONE)
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, *NO_BRAKES, *self.OPTIONS)

    def tearDown(self):
        self.assertEqual(self.dnsd.stop(), 0)

    def assert_negative(self, m, code=w.NOERROR):
        self.assertEqual((m.rcode, m.answer), (code, []))
        self.assertIsNotNone(m.soa())

    def targets(self, m):
        """(host, port) of each SRV record, which must be as a rebuilt one is: asked name, nothing compressed."""
        out = []
        for r in m.answer:
            self.assertEqual((r.owner_raw, r.type, r.rclass), (OWNER, w.SRV, 1))
            self.assertNotIn(0xC0, r.data[6:])
            out.append((m.read_name(r.at + 6)[0], struct.unpack("!H", r.data[4:6])[0]))
        return out

    def texts(self, m):
        for r in m.answer:
            self.assertEqual((r.owner_raw, r.type, r.rclass), (OWNER, w.TXT, 1))
        return [r.data for r in m.answer]


class TestRecords(Case):
    def test_a_connection_string_of_mongodb(self):
        m = self.dnsd.ask(SERVICE, w.SRV, edns=w.opt())
        self.assertEqual(self.targets(m), [(s, 27017) for s in SHARDS])
        self.assertEqual((m.authority, m.ede()), ([], None))
        self.assertTrue(all(0 < r.ttl <= 77 for r in m.answer))
        m = self.dnsd.ask(CLUSTER, w.TXT)
        self.assertEqual(self.texts(m), [OPTIONS])
        for host, _ in self.targets(self.dnsd.ask(SERVICE, w.SRV)):
            self.assertEqual(len(self.dnsd.ask(host).answer), 1)
        self.assertEqual(len(self.stub.asked(SERVICE)), 1, "cached")
        self.dnsd.wait_log(r"dns_target_denied name=\S+ type=SRV \S+ rule=mongodb target=evil.example.org port=27017 "
                           r"rcode=NOERROR addrs=0 records=3")
        self.dnsd.wait_log(r"dns_admitted name=\S+ type=TXT .*rule=mongodb .*records=1")

    def test_only_what_is_listed_is_asked(self):
        for name, qtype in ((SERVICE, w.TXT), (CLUSTER, w.SRV), ("plain.t.example.net", w.TXT),
                            ("plain.t.example.net", w.SRV), ("fixed.t.example.net", w.TXT), (SHARDS[0], w.SRV),
                            ("shaped.t.example.net", w.SRV), (CLUSTER, w.MX), (SERVICE, w.ANY),
                            ("x.s.t.example.net", w.HTTPS)):
            self.assert_negative(self.dnsd.ask(name, qtype))
        for name in ("_x._tcp.cluster0.abcde.mongodb.net", "denied.example.org", "x.y.s.t.example.net"):
            self.assert_negative(self.dnsd.ask(name, w.SRV), w.NXDOMAIN)
        self.assertEqual(self.stub.seen, [])

    def test_what_the_upstream_gets(self):
        self.dnsd.ask(SERVICE.upper(), w.SRV, edns=w.opt(options=w.option(10, b"12345678")))
        (ask,) = self.stub.asked(SERVICE)
        self.assertEqual((ask.qtype, ask.message.flags), (w.SRV, w.RD))
        self.assertEqual(ask.message.options(), {})

    def test_no_target_admitted(self):
        m = self.dnsd.ask("evil.s.t.example.net", w.SRV, edns=w.opt())
        self.assert_negative(m)
        self.assertEqual(m.ede(), (15, "policy_denied: no endpoint admits the SRV target one.example.org:443"))
        self.dnsd.wait_log(r"dns_denied name=evil\S+ type=SRV \S+ reason=policy_denied why=.*target=one.example.org "
                           r"port=443")
        m = self.dnsd.ask("no.s.t.example.net", w.SRV, edns=w.opt())
        self.assert_negative(m)
        self.assertEqual(m.ede()[0], 15)

    def test_aliases(self):
        """What is behind one is another's, and whether anything is there is not told either: nobody is asked."""
        for qname, rtype in (("alias.s.t.example.net", w.SRV), ("hop.s.t.example.net", w.TXT),
                             ("hopless.s.t.example.net", w.TXT)):
            for _ in range(2):  # the second from the cache
                m = self.dnsd.ask(qname, rtype, edns=w.opt())
                self.assert_negative(m)
                self.assertEqual(m.ede(), (15, "policy_denied: no record can be given out: behind an alias, "
                                               "no host name as target, or too long"))
        self.assertEqual(self.stub.asked("far.cdn.example.org"), [])

    def test_negative_answers(self):
        self.assert_negative(self.dnsd.ask("empty.s.t.example.net", w.TXT))
        self.assert_negative(self.dnsd.ask("gone.s.t.example.net", w.SRV), w.NXDOMAIN)
        self.assert_negative(self.dnsd.ask("ent.s.t.example.net", w.SRV))  # NXDOMAIN, but there is a name below it
        for _ in range(2):
            self.dnsd.ask("gone.s.t.example.net", w.SRV)
        self.assertEqual(len(self.stub.asked("gone.s.t.example.net")), 1, "cached")

    def test_failures(self):
        m = self.dnsd.ask("ill.s.t.example.net", w.SRV, edns=w.opt())
        self.assertEqual((m.rcode, m.ede()[0]), (w.SERVFAIL, 22))
        m = self.dnsd.ask("ill.s.t.example.net", w.SRV, edns=w.opt())
        self.assertEqual((m.rcode, m.ede()[0]), (w.SERVFAIL, 13))
        began = time.monotonic()
        m = self.dnsd.ask("silent.s.t.example.net", w.TXT)
        self.assertEqual(m.rcode, w.SERVFAIL)
        self.assertLess(time.monotonic() - began, 4.5)
        m = self.dnsd.ask("cut.s.t.example.net", w.TXT)
        self.assertEqual(m.rcode, w.SERVFAIL)  # no parser reads such a record: as if nothing had come

    def test_bytes_of_texts(self):
        m = self.dnsd.ask("shaped.t.example.net", w.TXT)
        self.assertEqual(self.texts(m), [txt(b"\0\xff", b"", b"x" * 255)])

    def test_bounds_and_truncation(self):
        m = self.dnsd.ask("many.s.t.example.net", w.TXT, edns=w.opt(4096))
        self.assertTrue(m.flags & w.TC)
        self.assertLessEqual(len(m.raw), 1232)
        self.assertEqual(self.texts(m), [txt(bytes([i]) * 100) for i in range(len(m.answer))])
        self.assertGreater(len(m.answer), 5)
        s = self.dnsd.tcp()
        s.send(w.query("many.s.t.example.net", w.TXT), w.query("full.s.t.example.net", w.SRV))
        found = sorted((len(m.answer), m.flags & w.TC) for m in (s.receive(), s.receive()))
        self.assertEqual(found, [(16, 0), (32, 0)])
        s.close()

    def test_a_reload_counts_from_the_next_answer(self):
        self.assertEqual(len(self.targets(self.dnsd.ask(SERVICE, w.SRV))), 3)
        self.dnsd.write_policy(NARROW)
        end = time.monotonic() + 10
        while len(self.dnsd.ask(SERVICE, w.SRV).answer) != 1 and time.monotonic() < end:
            pass
        self.assertEqual(self.targets(self.dnsd.ask(SERVICE, w.SRV)), [(SHARDS[1], 27017)])
        self.assertEqual(len(self.stub.asked(SERVICE)), 1, "of what is cached")

    def test_left_out_is_counted(self):
        self.dnsd.ask(SERVICE, w.SRV)
        self.dnsd.process.terminate()
        self.dnsd.wait_log(r"records_left_out=3")

    @unittest.skipUnless(shutil.which("node"), "node is missing")
    def test_with_node(self):
        host, port = self.dnsd.addresses["udp"][0]
        argv = ["node", "--input-type=module", "-e", NODE, "%s:%d" % (host, port), SERVICE, CLUSTER, "plain.t.example.net"]
        out = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=30).stdout
        found = json.loads(out)
        self.assertEqual([(x["name"], x["port"], x["priority"], x["weight"]) for x in found["srv"]],
                         [(s, 27017, 0, 5) for s in SHARDS])
        self.assertEqual(found["txt"], [["authSource=admin&replicaSet=atlas-abc-shard-0"]])
        self.assertEqual(found["code"], "ENODATA")


class TestSyntheticMode(Case):
    OPTIONS = ("--answer", "synthetic", "--pool", "198.18.0.0/24")

    def setUp(self):
        self.stub = Stub(ZONE)
        self.dir = tempfile.mkdtemp(prefix="records-test.")
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--map", os.path.join(self.dir, "map"), *NO_BRAKES,
                           *self.OPTIONS)

    def tearDown(self):
        super().tearDown()
        shutil.rmtree(self.dir)

    def test_targets_are_resolved_to_synthetic_addresses(self):
        m = self.dnsd.ask(SERVICE, w.SRV, edns=w.opt())
        self.assertEqual((self.targets(m), m.ede()), ([(s, 27017) for s in SHARDS], None))
        for host, _ in self.targets(m):
            (a,) = self.dnsd.ask(host).answer
            self.assertEqual(a.data[:3], bytes([198, 18, 0]))
        self.assertEqual(self.texts(self.dnsd.ask(CLUSTER, w.TXT)), [OPTIONS])


class TestBraked(Case):
    def setUp(self):
        self.stub = Stub(ZONE)
        self.dnsd = Daemon(POLICY, "--upstream", self.stub.address, "--rate-limit", "1", "--ttl-max", "1s")

    def test_what_had_expired_is_given(self):
        for _ in range(10):  # a token may come in between on a busy machine
            self.assertEqual(len(self.dnsd.ask(SERVICE, w.SRV).answer), 3)
            time.sleep(1.1)
            while self.dnsd.ask("zero.s.t.example.net", w.TXT).rcode == w.NOERROR:
                pass
            before = len(self.stub.asked(SERVICE))
            m = self.dnsd.ask(SERVICE, w.SRV, edns=w.opt())
            if len(self.stub.asked(SERVICE)) == before:
                break
        else:
            self.fail("never braked")
        self.assertEqual(self.targets(m), [(s, 27017) for s in SHARDS])
        self.assertEqual((m.answer[0].ttl, m.ede()), (30, (3, "expired, and this client may not ask upstream now")))


if __name__ == "__main__":
    lab.own_ports()
    unittest.main()
