# SPDX-License-Identifier: Apache-2.0
"""openshell-egress explain as people and scripts run it, and against what the daemons themselves do.

Loopback is never dialled, so everything runs in a fresh network namespace whose lo also has addresses that look
public. Arguments choose tests by name.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import lab
import daemon as dnsd_daemon
import dns_wire
from lab import Daemon, connect, request

ADDR4, ADDR6, SILENT6, STATIC4 = "45.33.32.1", "2600:9000::1", "2600:9000::bad", "10.9.0.5"
OPEN, SILENT, CLOSED, PARENT = 7001, 7010, 7009, 7020
LONG_S = 30  # far more than anything here takes

ZONE = {
    ("both.example.org", 1): [ADDR4],
    ("both.example.org", 28): [ADDR6],
    ("four.example.org", 1): [ADDR4],
    ("dual.example.org", 1): [ADDR4],
    ("dual.example.org", 28): [SILENT6],
    ("badv6.example.org", 1): [ADDR4],
    ("badv6.example.org", 28): 2,
    ("servfail.example.org", 1): 2,
    ("servfail.example.org", 28): 2,
    ("empty.example.org", 16): [],
    ("mixed.wild.example.org", 1): ["127.0.0.1", ADDR4],
    ("loop.wild.example.org", 1): ["127.0.0.1"],
    ("ten.wild.example.org", 1): ["10.1.2.3"],
    ("ten.example.org", 1): ["10.9.0.5"],
    ("denied.example.org", 1): [ADDR4],
    ("four.chained.example.org", 1): [ADDR4],
    ("loop.chained.example.org", 1): ["127.0.0.1"],
    ("mixed.chained.example.org", 1): ["127.0.0.1", ADDR4],
    ("servfail.chained.example.org", 1): 2,
    ("servfail.chained.example.org", 28): 2,
    ("l7.example.org", 1): [ADDR4],
}
POLICY = """version: 1
network_policies:
  lab:
    binaries: [{ path: "/**" }]
    endpoints:
      - { host: both.example.org, ports: [7001, 7009] }
      - { host: four.example.org, ports: [7001, 7009, 7010], timeouts: { idle: 5m } }
      - { host: dual.example.org, port: 7001, keepalive: off }
      - { host: badv6.example.org, port: 7001 }
      - { host: servfail.example.org, port: 7001 }
      - { host: empty.example.org, port: 7001 }
      - { host: nx.example.org, port: 7001 }
      - { host: "*.wild.example.org", port: 7001 }
      - { host: ten.example.org, port: 7001 }
      - { host: static.example.org, port: 7001 }
      - { host: 45.33.32.1, port: 7001 }
      - { host: 127.0.0.1, port: 7001 }
      - { host: l7.example.org, port: 7001, protocol: rest, access: read-only, enforcement: enforce }
      - { host: records.example.org, port: 7001, dns: { types: [TXT, SRV] } }
      - { host: texts.example.org, port: 7001, dns: { types: [TXT] } }
      - { host: direct.example.org, port: 7001, protocol: rest, access: full, enforcement: enforce, proxy: direct }
      - { host: "*.chained.example.org", port: 7001, proxy: chain }
egress:
  hosts: { static.example.org: [10.9.0.5] }
"""


class Lab:
    def __init__(self):
        top = os.environ["top_builddir"]
        self.egress = os.path.join(top, "openshell-egress")
        self.tunneld = os.path.join(top, "openshell-tunneld")
        net = lab.Netlink()
        net.lo_up()
        for text in (ADDR4, STATIC4):
            net.add_addr(text, 32)
        for text in (ADDR6, SILENT6):
            net.add_addr(text, 128)
        self.dns = lab.Dns(ZONE)
        self.received, self.accepted, self.chained = [], [], []
        for host in (ADDR4, ADDR6, STATIC4, "127.0.0.1"):
            lab.serve(host, OPEN, self.serve, at=host)
        lab.serve("127.0.0.1", PARENT, self.carry)
        self.held = lab.silent_listener(SILENT6, OPEN) + lab.silent_listener(ADDR4, SILENT)
        self.dir = tempfile.TemporaryDirectory()
        self.policy = self.write("policy.yaml", POLICY)

    def serve(self, sock, at):
        self.accepted.append(at)
        self.received.append(lab.read_to_end(sock))

    def carry(self, sock):
        """A chain proxy: every tunnel stands, and ends."""
        self.chained.append(lab.read_head(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def write(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def run(self, *words, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENSHELL_")}
        env.update(variables)
        done = subprocess.run([self.egress, "explain", *words], env=env, timeout=LONG_S, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Sanitizer" not in err and "runtime error" not in err and "check_failed" not in err, err
        return done.returncode, out, err

    def explain(self, target, *options, **variables):
        """The exit status, the text and the document, which agree."""
        words = ["--policy", self.policy, *options, target]
        status, text, err = self.run(*words, **variables)
        json_status, document, _ = self.run("--format", "json", *words, **variables)
        assert status == json_status, (text, document, err)
        if not text:
            raise AssertionError(err)
        agree(text, json.loads(document))
        return status, text, json.loads(document)

    def live(self, target, *options):
        return self.explain(target, "--live", "--upstream", "127.0.0.1:%d" % self.dns.port, *options)


def agree(text, document):
    lines = text.splitlines()
    verdicts = [line for line in lines if line.startswith(("ALLOWED  ", "DENIED   "))]
    assert lines[0] in verdicts, text
    assert any(line.startswith("ALLOWED") for line in verdicts) == (document["verdict"] == "allowed"), text
    if document["verdict"] == "denied":
        assert "[%s]" % document["reason"] in lines[0] and document["why"] in lines[0], text
    for one in document["tunneld"]:
        action = {"raw": "carried raw", "chain": "carried through the chain proxy ", "refuse": "refused, "}[one["action"]]
        said = "port %d: %s" % (one["port"], action)
        assert said in text, (said, text)
        if one["endpoint"]:
            assert "%s:%d" % (one["endpoint"]["file"], one["endpoint"]["line"]) in text, text
        for name, value in one.get("timers", {}).items():
            assert one["verdict"] == "denied" or value["text"] in text, (name, text)
        for a in one["addresses"]:
            assert a["address"] in text, text
    for answer in document["dnsd"]["answers"]:
        assert answer["text"] in text, text
    for hint in document["hints"]:
        assert hint in text, text


def only(document):
    assert len(document["tunneld"]) == 1, document
    return document["tunneld"][0]


def dials(document):
    return {a["address"]: a["dial"] for a in only(document)["addresses"]}


# ---- without --live ----

def test_statuses(env):
    assert env.explain("four.example.org:7001")[0] == 0
    assert env.explain("four.example.org:1")[0] == 1
    assert env.explain("other.example.org")[0] == 1
    assert env.explain("b\u00fccher.de:443")[0] == 1
    bad = env.write("bad.yaml", "version: 1\nnetwork_polices: {}\n")
    table = [
        (["--policy", env.policy, "https://four.example.org/x"], "type four.example.org:443"),
        (["--policy", env.policy, "four.example.org:0"], "no port"),
        (["--policy", env.policy], "no host"),
        (["--policy", bad, "a.example"], "policy is not good"),
        (["--policy", env.dir.name + "/none.yaml", "a.example"], "none.yaml"),
        (["--policy", env.policy, "--l7", "maybe", "a.example"], "--l7"),
        (["--policy", env.policy, "--pool", "1.2.3.4", "a.example"], "--pool"),
        (["--policy", env.policy, "--listen", "127.0.0.1:1", "a.example"], "--listen"),
    ]
    for words, expect in table:
        status, out, err = env.run(*words)
        assert status == 2 and not out and expect in err, (words, status, out, err)
    status, out, _ = env.run("--help")
    assert status == 0 and "HOST[:PORT]" in out


def test_without_a_port(env):
    status, text, document = env.explain("four.example.org")
    assert status == 0 and [t["port"] for t in document["tunneld"]] == [7001, 7009, 7010], document
    assert text.startswith("ALLOWED  four.example.org:7001,7009,7010 by rule \"lab\" ("), text
    assert document["live"] is None


def test_options_and_environment(env):
    _, _, document = env.explain("four.example.org:7001", "--lifetime", "3h", OPENSHELL_TUNNELD_IDLE_TIMEOUT="9s",
                                 OPENSHELL_TUNNELD_CONNECT_TIMEOUT="2s")
    timers = only(document)["timers"]
    assert timers["idle"]["ms"] == 300000 and timers["idle"]["from"] == "endpoint", timers
    assert timers["idle"]["file"] == env.policy and timers["idle"]["line"] == 7, timers
    assert timers["connect"]["ms"] == 2000 and timers["connect"]["from"] == "environment", timers
    assert timers["lifetime"]["ms"] == 10800000 and timers["lifetime"]["from"] == "option", timers
    assert timers["user"]["from"] == "builtin" and timers["user"]["ms"] == 120000, timers
    assert timers["keepalive"]["probes"] == 4, timers
    assert env.explain("l7.example.org:7001")[2]["reason"] == "l7_inspection_required"
    assert env.explain("l7.example.org:7001", "--l7", "tunnel")[0] == 0
    assert env.explain("l7.example.org:7001", OPENSHELL_TUNNELD_L7="tunnel")[0] == 0
    assert env.explain("45.33.32.1:7001", "--never", "45.33.32.0/24")[2]["reason"] == "ssrf_denied"
    answers = env.explain("other.example.net", "--deny", "refused")[2]["dnsd"]["answers"]
    assert [a["rcode"] for a in answers] == ["REFUSED"] * 4, answers


# ---- with --live ----

def test_connects_and_sends_nothing(env):
    before = len(env.received)
    status, text, document = env.live("both.example.org:7001")
    assert status == 0 and "connected to %s in" % ADDR6 in text.splitlines()[0], text
    assert only(document)["connected"] is True
    assert dials(document)[ADDR6] == "connected", document  # IPv6 first, as tunneld
    assert document["live"]["a"]["addresses"] == [ADDR4] and document["live"]["aaaa"]["addresses"] == [ADDR6]
    answers = {a["type"]: a for a in document["dnsd"]["answers"]}
    assert answers["A"]["addresses"] == [ADDR4], answers
    end = time.monotonic() + LONG_S
    while len(env.received) < before + 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert set(env.received) == {b""}, env.received


def test_happy_eyeballs(env):
    status, _, document = env.live("dual.example.org:7001")
    assert status == 0 and dials(document) == {SILENT6: "overtaken", ADDR4: "connected"}, document
    assert 200 < only(document)["addresses"][0]["ms"] < 5000, document  # the stagger of dial_plan
    status, _, document = env.live("badv6.example.org:7001")
    assert status == 0 and document["live"]["aaaa"]["status"] == "failed", document


def test_allowed_but_not_reachable(env):
    status, text, document = env.live("four.example.org:%d" % CLOSED)
    assert status == 2 and dials(document) == {ADDR4: "failed"}, document
    assert only(document)["addresses"][0]["error"] == "Connection refused", document
    assert text.startswith("ALLOWED  ") and "but no permitted address can be connected to" in text.splitlines()[0], text
    assert only(document)["connected"] is False
    began = time.monotonic()
    status, _, document = env.live("four.example.org:%d" % SILENT, "--connect-timeout", "400ms")
    assert status == 2 and dials(document) == {ADDR4: "silent"}, document
    assert time.monotonic() - began < 8
    for name, expect in (("nx", "NXDOMAIN"), ("servfail", "SERVFAIL"), ("empty", "NODATA")):
        status, text, document = env.live(name + ".example.org:7001")
        assert status == 2 and document["verdict"] == "allowed" and expect in document["why"], (name, document)
        assert "but its name has no address now" in text.splitlines()[0], text
    status, out, err = env.run("--policy", env.policy, "--live", "--resolv-conf", "/nonexistent/resolv.conf",
                               "four.example.org:7001")
    assert status == 2 and not out and "/nonexistent/resolv.conf" in err, err


def test_refused_is_not_dialled(env):
    status, text, document = env.live("loop.wild.example.org:7001")
    assert status == 1 and document["reason"] == "ssrf_denied", document
    assert dials(document) == {"127.0.0.1": "none"} and "loopback" in text.splitlines()[0], text
    answers = {a["type"]: a for a in document["dnsd"]["answers"]}
    assert answers["A"]["ede"] == 15 and answers["A"]["rcode"] == "NOERROR" and not answers["A"]["addresses"], answers
    status, _, document = env.live("mixed.wild.example.org:7001")
    assert status == 0 and dials(document) == {"127.0.0.1": "none", ADDR4: "connected"}, document
    assert env.live("127.0.0.1:7001")[0] == 1
    assert "127.0.0.1" not in env.accepted, env.accepted


def test_denied_is_asked_of_nobody(env):
    status, text, document = env.live("denied.example.org:7001")
    assert status == 1 and document["live"]["asked"] is False and "asked of nobody" in text, document
    assert not [a for a in env.dns.asked if a[0] == "denied.example.org"], env.dns.asked
    before = len(env.accepted)
    status, _, document = env.live("four.example.org:1")  # dnsd would answer it: that is looked up, no more
    assert status == 1 and document["dnsd"]["answers"][0]["addresses"] == [ADDR4], document
    assert only(document)["addresses"] == [] and len(env.accepted) == before


def test_literal_and_static(env):
    status, _, document = env.live("45.33.32.1:7001")
    assert status == 0 and dials(document) == {ADDR4: "connected"}, document
    status, _, document = env.live("static.example.org:7001")
    assert status == 0 and dials(document) == {STATIC4: "connected"} and document["live"]["asked"] is False, document
    assert not [a for a in env.dns.asked if a[0] == "static.example.org"]
    _, _, document = env.live("both.example.org:7001", "--answer", "synthetic")
    assert document["dnsd"]["answers"][0]["synthetic"] is True, document


def test_as_tunneld_does(env):
    """The daemon itself and explain: the same verdict and reason for each target."""
    targets = ["four.example.org:7001", "both.example.org:7001", "four.example.org:1", "loop.wild.example.org:7001",
               "ten.wild.example.org:7001", "ten.example.org:7001", "mixed.wild.example.org:7001", "l7.example.org:7001",
               "denied.example.org:7001", "static.example.org:7001", "45.33.32.1:7001", "127.0.0.1:7001",
               "[::1]:7001", "FOUR.example.org.:7001"]
    with Daemon(env.tunneld, POLICY, "--upstream", "127.0.0.1:%d" % env.dns.port, "--workers", "1") as d:
        for target in targets:
            status, _, document = env.live(target)
            if status == 0:
                connect(d, target).close()
                continue
            raw = "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)
            answer = request(d, raw.encode())
            assert answer.status == 403 and answer.json()["error"] == document["reason"], (target, answer.body, document)


def test_as_a_chained_tunnel(env):
    """The same for what goes through a chain proxy: explain says nothing to that, and looks up no less than tunneld."""
    for mode in ("name", "address"):
        options = ["--chain-proxy", "http://127.0.0.1:%d" % PARENT, "--chain-target", mode]
        with Daemon(env.tunneld, POLICY, "--upstream", "127.0.0.1:%d" % env.dns.port, "--workers", "1", *options) as d:
            for name in ("four.chained", "mixed.chained", "loop.chained", "nx.chained", "servfail.chained", "l7", "direct"):
                target = name + ".example.org:7001"
                before = len(env.chained)
                status, text, document = env.live(target, *options)
                assert len(env.chained) == before, "explain spoke to the chain proxy"
                raw = "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)
                answer = request(d, raw.encode())
                expect = 0 if answer.status == 200 else 1 if answer.status == 403 else 2
                assert status == expect, (mode, target, status, text, answer.status)
                assert status != 1 or answer.json()["error"] == document["reason"], (target, answer.body, document)
                assert status != 2 or "no address now" in document["why"], (target, document)


def test_records_that_are_listed(env):
    both, one = [env.explain(name + ".example.org:7001") for name in ("records", "texts")]
    none = env.explain("four.example.org:7001")[2]
    for name, answers in (("SRV", both), ("TXT", both), ("TXT", one)):
        said = [a for a in answers[2]["dnsd"]["answers"] if a["type"] == name]
        assert len(said) == 1 and said[0]["from"] == "upstream" and "rcode" not in said[0], said
    assert "targets those are answered that the policy admits, with their port" in both[1], both[1]
    assert "TXT    resolved upstream; at most 16 records, 2048 bytes" in one[1], one[1]
    assert "SRV " not in one[1], one[1]
    assert [a["type"] for a in none["dnsd"]["answers"]] == ["A", "AAAA", "HTTPS", "other"], none


def test_as_dnsd_answers(env):
    names = ["both.example.org", "four.example.org", "loop.wild.example.org", "ten.wild.example.org", "ten.example.org",
             "mixed.wild.example.org", "l7.example.org", "denied.example.org", "static.example.org", "example.org",
             "badv6.example.org", "nx.example.org", "empty.example.org"]
    types = {"A": dns_wire.A, "AAAA": dns_wire.AAAA, "SRV": 33, "TXT": 16, "HTTPS": 65, "other": 15}
    rcodes = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN"}
    dnsd_daemon.PROGRAM = os.path.join(os.environ["top_builddir"], "openshell-dnsd")
    d = dnsd_daemon.Daemon(POLICY, "--upstream", "127.0.0.1:%d" % env.dns.port, "--aaaa", "pass")
    try:
        for name in names:
            document = env.live(name, "--aaaa", "pass", "--connect-timeout", "300ms")[2]
            for one in document["dnsd"]["answers"]:
                answer = d.ask(name, types[one["type"]])
                assert rcodes[answer.rcode] == one["rcode"], (name, one, answer.rcode)
                got = [socket.inet_ntop(socket.AF_INET if len(r.data) == 4 else socket.AF_INET6, r.data)
                       for r in answer.answer]
                assert sorted(got) == sorted(one["addresses"]), (name, one, got)
    finally:
        d.stop()


def main():
    lab.enter_namespace()
    env = Lab()
    if not os.access(env.egress, os.X_OK):
        sys.exit("%s is not built" % env.egress)
    os._exit(0 if lab.run_tests(globals(), env) else 1)  # server threads never end


main()
