#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every way in which a native connection gets to tunneld. Needs ip(8) and nft(8); each case has namespaces of its own."""
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

import dns_wire as w
import lab
from elsewhere import SERVER, Elsewhere, Servers, must_work, sh, talk

BUILD = sys.argv[1]
EGRESS = os.path.join(BUILD, "openshell-egress")
NAME = "db.example.org"
POLICY = """\
version: 1
network_policies:
  db:
    endpoints:
      - { host: %s, ports: [5432, 8443] }
""" % NAME
PORTS = (5432, 8443)
UNUSED = {4: "198.18.77.77", 6: "fd00:5e11::7777"}  # never handed out


# Listens once for both families, as a socket unit of systemd does, so that IPv4 addresses come inside IPv6 ones.
PASS_BOTH = """
import fcntl, os, socket, sys
at = sys.argv.index("--ready-fd") + 1
os.dup2(int(sys.argv[at]), 199)
sys.argv[at] = "199"
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", 15001))
s.listen(64)
os.dup2(fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 200), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="capture")
os.execv(sys.argv[1], sys.argv[1:])
"""


def capture(*words, check=True):
    return sh(EGRESS, "capture", *words, check=check)


class Programs(Elsewhere):
    """Whose packets to synthetic addresses come in here."""

    def __init__(self):
        super().__init__("vB", "10.9.0", "fd00:9:")
        self.run_tool("ip", "route", "add", "198.18.0.0/15", "via", self.here[4])
        self.run_tool("ip", "-6", "route", "add", "fd00:5e11::/64", "via", self.here[6])


class Here:
    """The programs are in this namespace."""

    def call(self, function):
        return function()

    def end(self):
        pass


def ask(server, port, family):
    """The synthetic address of NAME."""
    with socket.socket(lab.family_of(server), socket.SOCK_DGRAM) as s:
        s.settimeout(lab.GIVE_UP_S)
        s.connect((server, port))
        s.send(w.query(NAME, w.A if family == 4 else w.AAAA, 7))
        reply = w.Message(s.recv(4096))
    found = [r for r in reply.answer if r.type == (w.A if family == 4 else w.AAAA)]
    assert len(found) == 1, (reply.rcode, found)
    return socket.inet_ntop(socket.AF_INET if family == 4 else socket.AF_INET6, found[0].data)


def datagram(address):
    """What becomes of a UDP packet, as QUIC would send it."""
    with socket.socket(lab.family_of(address), socket.SOCK_DGRAM) as s:
        s.settimeout(1.0)
        try:
            s.connect((address, 443))
            s.send(b"x")
            s.recv(100)
            return "answered"
        except TimeoutError:
            return "silence"
        except OSError as error:
            return errno.errorcode[error.errno]


def serve_everybody():
    """What else this host offers, on every address it has."""
    def run(listening):
        while True:
            conn, _ = listening.accept()
            while conn.recv(4096):
                pass
            conn.sendall(b"another service")
            conn.close()

    for host in ("0.0.0.0", "::"):
        s = socket.socket(lab.family_of(host), socket.SOCK_STREAM)
        if host == "::":
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((host, 2222))
        s.listen(8)
        threading.Thread(target=run, args=(s,), daemon=True).start()


STATE = [("nft", "list", "ruleset")] + [("ip", family, *words) for family in ("-4", "-6") for words in (
    ("rule", "show"), ("route", "show", "table", "local"), ("route", "show", "table", "1869833575"))]


def state():
    """All that capture may have set up. Other routes come and go by themselves: link-local ones, after a while."""
    told = [sh(*words, check=False).stdout for words in STATE]  # a table without routes is an error to ip
    return told[0] + "".join(line + "\n" for text in told[1:] for line in text.splitlines()
                             if re.search(r"198\.1[89]\.|fd00:5e11:|6f736567|1869833575|local default", line))


def assert_nothing_left():
    left = [word for word in ("openshell_capture", "198.18.", "fd00:5e11:", "6f736567", "local default") if word in state()]
    assert not left, (left, state())


class Case:
    def __init__(self, name, transparent, up=(), other=False, pools=(), exposed=False, families=(4, 6)):
        self.name, self.transparent, self.up, self.other = name, transparent, up, other
        self.pools, self.exposed, self.families = pools, exposed, families

    def run(self):
        lab.enter_namespace()
        lab.Netlink().lo_up()
        must_work("ip", "link", "add", "probe", "type", "veth", "peer", "name", "probe2")
        must_work("nft", "add", "table", "inet", "probe")
        servers = Servers(PORTS)
        where = Programs() if self.other else Here()
        scratch = tempfile.mkdtemp()
        serve_everybody()
        try:
            self.set_up(scratch)
            self.talk_all(where, scratch)
            self.take_down()
        finally:
            where.end()
            servers.end()
            shutil.rmtree(scratch)

    def set_up(self, scratch):
        policy = os.path.join(scratch, "policy.yaml")
        with open(policy, "w", encoding="utf-8") as f:
            f.write(POLICY)
        words = [word.replace("POLICY", policy) for word in self.up]
        if words:
            capture("up", *words)
            capture("up", *words)  # twice is as good as once
            done = state()
            capture("down", *self.words_down())
            sh("sh", "-e", "-c", capture("up", *words, "--dry-run").stdout)  # what it prints is what it does
            assert state() == done, (done, state())
            sh("sh", "-e", "-c", capture("down", *self.words_down(), "--dry-run").stdout)
            assert_nothing_left()
            capture("up", *words)

    def words_down(self):
        return [word for at, word in enumerate(self.up)
                if word != "--policy" and self.up[at - 1] != "--policy" and word != "--anyip-exposed"]

    def take_down(self):
        if self.up:
            capture("down", *self.words_down())
            capture("down", *self.words_down())
            assert_nothing_left()

    def talk_all(self, where, scratch):
        stub = lab.Dns({(NAME, 1): [SERVER[4]], (NAME, 28): [SERVER[6]]})
        shared = ["--upstream", "127.0.0.1:%d" % stub.port, "--map", os.path.join(scratch, "map"), "--workers", "2"]
        for pool in self.pools:
            shared += ["--pool", pool]
        if self.other:
            shared += ["--allow-client", "10.9.0.0/24", "--allow-client", "fd00:9::/64", "--allow-client", "127.0.0.0/8"]
        own = ["--listen", where.here[4] + ":5353"] if self.other else []
        listeners = [word for text in self.transparent for word in ("--transparent", text)]
        program = os.path.join(BUILD, "openshell-tunneld")
        with lab.Daemon(os.path.join(BUILD, "openshell-dnsd"), POLICY, "--answer", "synthetic", "--aaaa", "pass", *own,
                        *shared, listening=("proto", "udp")) as dnsd, \
                lab.Daemon(program if listeners else [sys.executable, "-c", PASS_BOTH, program], POLICY, *listeners,
                           *shared, listening=("kind", "connect" if listeners else "capture")) as tunneld:
            server = (where.here[4], 5353) if self.other else ("127.0.0.1", dnsd.port)
            for family in self.families:
                address = where.call(lambda f=family: ask(*server, f))
                self.talk_family(where, tunneld, family, address)
                print("  ok   %-28s %s" % (self.name, address), flush=True)

    def talk_family(self, where, tunneld, family, address):
        for port in PORTS:
            got = where.call(lambda p=port: talk(address, p))
            assert got == "%d:hello" % port, (self.name, address, port, got)
            tunneld.wait_log("tunnel_open", host=NAME, port=port, via="capture")
        unused = UNUSED[family] if not self.pools else "127.77.1.2"
        got = where.call(lambda: talk(unused, PORTS[0]))
        assert got == "reset", (self.name, unused, got)  # taken, and refused by name
        got = where.call(lambda: talk(address, 2222))  # no port of the policy
        expected = "another service" if self.exposed else "reset" if self.up and "--policy" not in self.up else "refused"
        assert got == expected, (self.name, "port 2222", got)
        if self.up:
            got = where.call(lambda: datagram(address))
            assert got == "ECONNREFUSED", (self.name, "udp", got)
        direct = self.direct(where, family)
        if direct is not None:
            got = where.call(lambda: talk(*direct))
            assert got in ("reset", "refused"), (self.name, direct, got)

    def direct(self, where, family):
        """tunneld's own listener, which is no way to anywhere."""
        if self.other and "tproxy" not in self.up:
            return where.here[family], 15001 if "redirect" in self.up else PORTS[0]
        return None if self.other else ("127.0.0.1" if family == 4 else "::1",
                                        15001 if "redirect" in self.up else PORTS[0])


WILDCARDS = tuple("%s:%d" % (host, port) for host in ("0.0.0.0", "[::]") for port in PORTS)
ONE = ("0.0.0.0:15001", "[::]:15001")
CASES = [
    Case("anyip", WILDCARDS, ("--mode", "anyip", "--policy", "POLICY")),
    Case("anyip, exposed", WILDCARDS, ("--mode", "anyip", "--anyip-exposed"), exposed=True),
    Case("anyip, across a veth", WILDCARDS, ("--mode", "anyip", "--policy", "POLICY"), other=True),
    Case("redirect", ("127.0.0.1:15001", "[::1]:15001"), ("--mode", "redirect")),
    Case("redirect, across a veth", ONE, ("--mode", "redirect", "--interface", "vB"), other=True),
    Case("redirect, passed", (), ("--mode", "redirect")),
    Case("redirect, passed, veth", (), ("--mode", "redirect", "--interface", "vB"), other=True),
    Case("tproxy, across a veth", ("127.0.0.1:15001", "[::1]:15001"), ("--mode", "tproxy", "--interface", "vB"),
         other=True),
    Case("127.64.0.0/10, no set-up", tuple("0.0.0.0:%d" % p for p in PORTS), pools=("127.64.0.0/10",),
         exposed=True, families=(4,)),
]


def check_changes():
    """One mode after another, and what goes wrong: nothing is left without its rules, or undone without a word."""
    lab.enter_namespace()
    lab.Netlink().lo_up()
    must_work("ip", "link", "add", "v1", "type", "veth", "peer", "name", "v2")
    anyip, redirect = ("--mode", "anyip", "--port", "443"), ("--mode", "redirect", "--interface", "v1", "--interface", "v2")
    for other in (redirect, ("--mode", "tproxy", "--interface", "v1")):
        capture("up", *anyip)
        capture("up", *other)
        for family in ("-4", "-6"):  # else all that listens here could be reached at the pool's addresses
            routes = sh("ip", family, "route", "show", "table", "local").stdout
            assert "198.18." not in routes and "fd00:5e11:" not in routes, (other, routes)
        capture("down", "--mode", "anyip")  # whatever it is
        assert_nothing_left()
    capture("up", *redirect)
    assert sh("nft", "list", "ruleset").stdout.count('iifname { "v1", "v2" }') == 4, state()
    powerless = sh("setpriv", "--bounding-set=-all", "--inh-caps=-all", EGRESS, "capture", "down", *redirect, check=False)
    assert powerless.returncode == 71 and "CAP_NET_ADMIN" in powerless.stderr, powerless
    capture("down", *redirect)
    with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "w", encoding="ascii") as f:
        f.write("1")
    done = capture("up", *anyip)
    assert "IPv6 is off on lo" in done.stderr and "fd00" not in state(), (done, state())
    done = capture("up", *anyip, "--pool", "fd00:5e11::/64", check=False)
    assert done.returncode == 71 and "capture down takes away" in done.stderr, done
    capture("down", "--mode", "anyip")
    assert_nothing_left()
    print("  ok   changes", flush=True)


def check_routes():
    """A pool that this host has a route into is told, with the route."""
    lab.enter_namespace()
    lab.Netlink().lo_up()
    must_work("ip", "link", "add", "v1", "type", "veth", "peer", "name", "v2")
    sh("ip", "link", "set", "v1", "up")
    sh("ip", "address", "add", "198.18.5.1/24", "dev", "v1")
    sh("ip", "-6", "address", "add", "fd00:5e11::9/80", "dev", "v1")
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--answer", "synthetic", "--upstream", "127.0.0.2", "--map", os.path.join(scratch, "map")]
        for pools, expected in (((), ["198.18.5.0/24", "fd00:5e11::/80"]), (("--pool", "198.19.0.0/16"), [])):
            with lab.Daemon(os.path.join(BUILD, "openshell-dnsd"), POLICY, *options, *pools,
                            listening=("proto", "udp")) as dnsd:
                dnsd.wait_log("ready")
                told = [line["route"] for line in dnsd.logs if line["event"] == "pool_overlaps_route" and line["dev"] == "v1"]
                assert told == expected, (pools, told)
        for inside in (("--upstream", "198.18.0.53"), ("--zone", "corp.example=[fd00:5e11::53]:5300")):
            try:
                with lab.Daemon(os.path.join(BUILD, "openshell-dnsd"), POLICY, *options, *inside,
                                listening=("proto", "udp")):
                    raise RuntimeError("started with a resolver at an address of the pool")
            except AssertionError as e:
                assert inside[1].split("=")[-1] + (":53" if "[" not in inside[1] else "") + " is in --pool" in str(e), e
    print("  ok   routes", flush=True)


USAGE = [
    ([], "say up or down"), (["sideways"], "say up or down"), (["up"], "--mode: is missing"),
    (["up", "--mode", "magic"], "--mode: 'magic' is none of anyip, redirect and tproxy"),
    (["up", "--mode", "anyip"], "--anyip-exposed"), (["up", "--mode", "anyip", "--to", "1", "--port", "1"], "--to"),
    (["up", "--mode", "tproxy"], "needs --interface"), (["up", "--mode", "redirect", "--port", "443"], "only anyip"),
    (["up", "--mode", "redirect", "--interface", 'a" accept'], "not the name of an interface"),
    (["up", "--mode", "redirect", "--to", "0"], "1 to 65535"), (["up", "--mode", "redirect", "--to", "65536"], "65535"),
    (["up", "--mode", "redirect", "--pool", "198.18.0.1/15"], "did you mean 198.18.0.0/15 or 198.18.0.1/32?"), (["up", "x"], "not an option"),
    (["up", "--mode", "redirect", "--nothing"], "no such option"), (["up", "--dry-run=1"], "takes no value"),
]


def check_usage():
    for words, says in USAGE:
        done = capture(*words, "--dry-run", check=False) if words else capture(check=False)
        assert done.returncode == 64 and says in done.stderr and not done.stdout, (words, done)
    done = capture("up", "--mode", "anyip", "--policy", "/nonexistent", "--dry-run", check=False)
    assert done.returncode == 78 and "cannot be read" in done.stderr, done
    done = subprocess.run([EGRESS, "capture", "up", "--mode", "redirect"], capture_output=True, text=True, check=False,
                          env={"PATH": "/nonexistent"})
    assert done.returncode == 71 and "nftables" in done.stderr, done
    assert capture("--help").stdout.startswith("usage: openshell-egress capture")


def main():
    failed = 0
    check_usage()
    for case in CASES + [check_changes, check_routes]:  # a process each: a namespace is left by ending
        pid = os.fork()
        if pid == 0:
            try:
                (case.run if isinstance(case, Case) else case)()
                status = 0
            except SystemExit as e:
                status = e.code
            except BaseException:  # pylint: disable=broad-except
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == lab.SKIP:
            sys.exit(lab.SKIP)
        if status != 0:
            print("  FAIL %s" % getattr(case, "name", case))
            failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
