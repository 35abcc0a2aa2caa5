# SPDX-License-Identifier: Apache-2.0
"""dig's view of the real openshell-dnsd: an implementation that is not ours reads every answer, and warns of what it
does not like. What dig cannot send (QR=1, two questions, a cut message) is in test_dnsd.py."""
import os
import re
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

import dns_wire as w
import lab
from daemon import Daemon
from dns_stub import Stub, addresses, nodata, rcode, silence

POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: "*.t.example.net", port: 443 }
egress:
  hosts:
    static.t.example.net: [10.200.0.1]
"""
ONE, MANY, DENIED, GONE, ILL, DEAD, STATIC = (
    label + ".example.net" for label in ("one.t", "many.t", "denied", "gone.t", "ill.t", "dead.t", "static.t"))
ZONE = {
    (ONE, w.A): addresses("93.184.216.34"), (ONE, w.AAAA): addresses("2606:2800:220:1::1"),
    (MANY, w.A): addresses(*["93.184.%d.%d" % (i, i) for i in range(1, 61)]), (MANY, w.AAAA): nodata,
    (GONE, w.A): rcode(w.NXDOMAIN), (GONE, w.AAAA): rcode(w.NXDOMAIN),
    (ILL, w.A): rcode(w.SERVFAIL), (ILL, w.AAAA): rcode(w.SERVFAIL),
    (DEAD, w.A): silence, (DEAD, w.AAAA): silence,
}

# dig's arguments; status; flags; records in answer and authority; the line of the OPT record without "; ", "-" for none;
# then what else must be there.
EDNS, EDNS_DO, NONE = "EDNS: version: 0, flags:; udp: 1232", "EDNS: version: 0, flags: do; udp: 1232", "-"
CASES = [
    # RFC 8906 section 8.1: the basic protocol
    ("+noedns +noad +norec %s SOA" % ONE, "NOERROR", "qr ra", 0, 1, NONE),
    ("+noedns +noad +norec %s" % ONE, "NOERROR", "qr ra", 1, 0, NONE),
    ("+noedns +noad %s" % ONE, "NOERROR", "qr rd ra", 1, 0, NONE, r"one\.t\.example\.net\.\s+\d+\s+IN\s+A\s+93\.184\.216\.34"),
    ("+noedns +noad +norec %s TYPE666" % ONE, "NOERROR", "qr ra", 0, 1, NONE),
    ("+noedns +noad +norec +cd %s" % ONE, "NOERROR", "qr ra cd", 1, 0, NONE),
    ("+noedns +norec +ad %s" % ONE, "NOERROR", "qr ra", 1, 0, NONE),
    ("+noedns +noad +norec +zflag %s" % ONE, "NOERROR", "qr ra", 1, 0, NONE),
    ("+noedns +noad +aaflag +raflag +tcflag %s" % ONE, "NOERROR", "qr rd ra", 1, 0, NONE),
    ("+noedns +noad +norec +header-only +opcode=15", "NOTIMP", "qr ra", 0, 0, NONE, "opcode: RESERVED15"),
    ("+noedns +noad +norec +tcp %s" % ONE, "NOERROR", "qr ra", 1, 0, NONE, r"\(TCP\)"),
    ("+noedns +header-only", "FORMERR", "qr rd ra", 0, 0, NONE),
    # Section 8.2: EDNS
    ("+noad %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+edns=1 +noednsneg +noad +norec %s" % ONE, "BADVERS", "qr ra", 0, 0, EDNS),
    ("+edns=255 +noednsneg +dnssec %s" % ONE, "BADVERS", "qr rd ra", 0, 0, EDNS_DO),
    ("+edns=1 %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS, "BADVERS, retrying with EDNS version 0"),
    ("+ednsopt=100 +noad +norec %s" % ONE, "NOERROR", "qr ra", 1, 0, EDNS),
    ("+edns=1 +noednsneg +ednsopt=100 +noad +norec %s" % ONE, "BADVERS", "qr ra", 0, 0, EDNS),
    ("+ednsflags=0x0080 +noad +norec %s" % ONE, "NOERROR", "qr ra", 1, 0, EDNS),
    ("+edns=1 +noednsneg +ednsflags=0x0080 +noad +norec %s" % ONE, "BADVERS", "qr ra", 0, 0, EDNS),
    ("+dnssec +noad +norec %s" % ONE, "NOERROR", "qr ra", 1, 0, EDNS_DO),
    ("+tcp +dnssec +bufsize=512 %s" % MANY, "NOERROR", "qr rd ra", 60, 0, EDNS_DO),
    ("+cookie +noad %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+cookie=0102030405060708a1a2a3a4a5a6a7a8 %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+nsid %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+expire +padding=64 +keepalive +tcp %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+subnet=0.0.0.0/0 %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+subnet=93.184.216.0/24 +nsid +cookie +ednsopt=100:0badf00d %s" % ONE, "NOERROR", "qr rd ra", 1, 0, EDNS),
    ("+cd +ad %s" % ONE, "NOERROR", "qr rd ra cd", 1, 0, EDNS),
    # Truncation: as many as fit, and the rest over TCP
    ("+ignore +noedns %s" % MANY, "NOERROR", "qr tc rd ra", 29, 0, NONE),
    ("+ignore +bufsize=512 +dnssec %s" % MANY, "NOERROR", "qr tc rd ra", 29, 0, EDNS_DO),
    ("+ignore +bufsize=0 %s" % MANY, "NOERROR", "qr tc rd ra", 29, 0, EDNS),
    ("+ignore +bufsize=1232 %s" % MANY, "NOERROR", "qr rd ra", 60, 0, EDNS),
    ("+ignore +bufsize=65535 %s" % MANY, "NOERROR", "qr rd ra", 60, 0, EDNS),
    ("+noedns %s" % MANY, "NOERROR", "qr rd ra", 60, 0, NONE, r"Truncated, retrying in TCP mode", r"\(TCP\)"),
    # What is not offered
    ("%s ANY +notcp" % ONE, "NOERROR", "qr rd ra", 0, 1, EDNS),
    ("%s ANY" % ONE, "NOERROR", "qr rd ra", 0, 1, EDNS, r"\(TCP\)"),
    ("%s HTTPS" % ONE, "NOERROR", "qr rd ra", 0, 1, EDNS, r"dnsd\.openshell\.invalid\."),
    ("version.bind -c CH -t TXT", "REFUSED", "qr rd ra", 0, 0, EDNS),
    ("%s -c ANY -t A" % ONE, "REFUSED", "qr rd ra", 0, 0, EDNS),
    ("+noedns +opcode=NOTIFY %s SOA" % ONE, "NOTIMP", "qr rd ra", 0, 0, NONE),
    ("+noedns +opcode=UPDATE %s SOA" % ONE, "NOTIMP", "qr rd ra", 0, 0, NONE),
    ("+noedns +opcode=STATUS %s" % ONE, "NOTIMP", "qr rd ra", 0, 0, NONE),
    ("+noedns +opcode=IQUERY %s" % ONE, "NOTIMP", "qr rd ra", 0, 0, NONE),
    ("+opcode=STATUS %s" % ONE, "NOTIMP", "qr rd ra", 0, 0, EDNS),
    ("+header-only +opcode=15 +dnssec", "NOTIMP", "qr rd ra", 0, 0, EDNS_DO),
    ("+header-only", "FORMERR", "qr rd ra", 0, 0, EDNS),
    # Negatives, and what an Extended DNS Error says
    (DENIED, "NXDOMAIN", "qr rd ra", 0, 1, EDNS, r"; EDE: 15 \(Blocked\): \(policy_denied: .*openshell-egress explain denied\.example\.net"),
    ("+noedns %s" % DENIED, "NXDOMAIN", "qr rd ra", 0, 1, NONE),
    ("+tcp %s TXT" % DENIED, "NXDOMAIN", "qr rd ra", 0, 1, EDNS, r"; EDE: 15 \(Blocked\)"),
    ("-x 8.8.8.8", "NXDOMAIN", "qr rd ra", 0, 1, EDNS),
    ("-x 10.200.0.1", "NOERROR", "qr rd ra", 1, 0, EDNS, r"PTR\s+static\.t\.example\.net\."),
    ("-x 2001:4860:4860::8888", "NXDOMAIN", "qr rd ra", 0, 1, EDNS),
    (". NS", "NOERROR", "qr rd ra", 0, 1, EDNS),
    ("example.net", "NOERROR", "qr rd ra", 0, 1, EDNS),
    ("localhost", "NOERROR", "qr rd ra", 1, 0, EDNS, r"IN\s+A\s+127\.0\.0\.1"),
    ("localhost AAAA", "NOERROR", "qr rd ra", 1, 0, EDNS, r"IN\s+AAAA\s+::1"),
    (GONE, "NXDOMAIN", "qr rd ra", 0, 1, EDNS),
    ("%s AAAA" % MANY, "NOERROR", "qr rd ra", 0, 1, EDNS),
    (ILL, "SERVFAIL", "qr rd ra", 0, 0, EDNS, r"; EDE: (22|13) "),
    (DEAD, "SERVFAIL", "qr rd ra", 0, 0, EDNS, r"; EDE: (22|13) "),
]
# dig's words for an answer it does not like.
COMPLAINT = re.compile(r"WARNING|Warning|bad packet|mismatch|extra bytes|malformed|unexpected|error|timed out")


def header(text):
    """Status, flags, records in answer and authority, and the OPT line of the last answer that dig prints."""
    status = re.findall(r"status: (\w+),", text)[-1]
    flags, answer, authority = re.findall(r"^;; flags: ([a-z ]*);.* ANSWER: (\d+), AUTHORITY: (\d+),", text, re.M)[-1]
    opt = re.findall(r"^; (EDNS: .*)$", text, re.M)
    return status, flags.strip(), int(answer), int(authority), opt[-1] if opt else NONE


class TestDig(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.stub = Stub(ZONE)
        cls.dnsd = Daemon(POLICY, "--upstream", cls.stub.address, "--aaaa", "pass", *cls.options)

    @classmethod
    def tearDownClass(cls):
        status = cls.dnsd.stop()
        if status != 0:
            raise AssertionError("exit status %d" % status)

    def dig(self, arguments):
        host, port = self.dnsd.addresses["udp"][0]
        environment = {**os.environ, "HOME": "/nonexistent", "LC_ALL": "C"}  # no ~/.digrc
        run = subprocess.run(["dig", "@" + host, "-p", str(port), "+tries=1", "+time=10", "+nocookie",
                              *arguments.split()], capture_output=True, text=True, env=environment, check=False)
        return run.returncode, run.stdout + run.stderr

    def test_cases(self):
        with ThreadPoolExecutor(4) as pool:
            for case, (status, text) in zip(CASES, pool.map(self.dig, [case[0] for case in CASES])):
                with self.subTest(case[0]):
                    self.assertEqual(status, 0, text)
                    self.assertIn("status: ", text)
                    self.assertEqual(header(text), case[1:6], text)
                    for pattern in case[6:]:
                        self.assertRegex(text, pattern)
                    self.assertEqual([line for line in text.splitlines() if COMPLAINT.search(line) and
                                      "EDE:" not in line], [])
                    # No option of the client's comes back.
                    self.assertNotRegex(text, r"; (COOKIE|NSID|CLIENT-SUBNET|OPT=|PAD|EXPIRE|TCP.KEEPALIVE)")

    def test_transfers(self):
        for arguments in ("%s AXFR" % ONE, "%s IXFR=1" % ONE):
            self.assertIn("; Transfer failed.", self.dig(arguments)[1])

    def test_a_tsig_key_that_nobody_knows(self):
        """It is ignored: no key is shared with anyone, and dig says that the answer is not signed."""
        _, text = self.dig("-y hmac-sha256:nobody:c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA== %s" % ONE)
        self.assertEqual(header(text), ("NOERROR", "qr rd ra", 1, 0, EDNS), text)
        self.assertIn("expected a TSIG or SIG(0)", text)

    def test_not_one_option_went_upstream(self):
        self.dig("+subnet=93.184.216.0/24 +nsid +cookie +dnssec +cd fresh.t.example.net")
        (ask,) = self.stub.asked("fresh.t.example.net", w.A)
        self.assertEqual((ask.message.flags, ask.message.opt.rclass, ask.message.opt.ttl, ask.message.opt.data),
                         (w.RD, 1232, 0, b""))


class TestDigAgain(TestDig):
    """The same where dnsd gives an answer again as it was: each case follows one of its own."""
    options = ("--log-level", "info")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in (ONE, MANY, DENIED, GONE):
            for qtype in (w.A, w.AAAA, w.TXT, w.SOA, w.HTTPS):
                for _ in range(2):
                    cls.dnsd.ask(name, qtype)

    @classmethod
    def tearDownClass(cls):
        cls.dnsd.process.terminate()
        cls.dnsd.process.wait(20)
        (totals,) = cls.dnsd.lines("dns_totals")
        if not re.search(r" hot=[1-9]", totals):
            raise AssertionError("never given again: this proves nothing")
        super().tearDownClass()


if __name__ == "__main__":
    lab.own_ports()
    unittest.main(verbosity=1)
