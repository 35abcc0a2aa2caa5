#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dnsd with --direct-nft-set in a namespace whose output chain lets nothing out but what is in its sets."""
import json
import os
import socket
import subprocess
import sys
import tempfile

import dns_wire as w
import lab

DNSD = os.path.join(sys.argv[1], "openshell-dnsd")
SERVER = {4: "45.45.45.1", 6: "2a0f:45::1"}
MANY = ["45.45.%d.%d" % (45 + i // 250, i % 250 + 2) for i in range(60)]
POLICY = """\
version: 1
network_policies:
  rule:
    binaries: [{ path: "/**" }]
    endpoints:
      - { host: direct.example.org, ports: [5432, 8443], proxy: direct }
      - { host: mixed.example.org, port: 5432, proxy: direct }
      - { host: mixed.example.org, port: 8443 }
      - { host: plain.example.org, port: 5432 }
      - { host: "*.wild.example.org", port: 5432, proxy: direct }
      - { host: many.example.org, ports: [%s], proxy: direct }
""" % ", ".join(str(p) for p in range(1000, 1040))
RULES = """\
table inet fence {
  set let4 { type ipv4_addr . inet_service; flags timeout; }
  set let6 { type ipv6_addr . inet_service; flags timeout; }
  chain out {
    type filter hook output priority filter; policy accept;
    ct state established,related accept
    ip daddr 127.0.0.0/8 accept
    ip6 daddr ::1 accept
    ip daddr . tcp dport @let4 accept
    ip6 daddr . tcp dport @let6 accept
    meta l4proto tcp reject with tcp reset
    reject
  }
}
"""


def nft(*words, text=None):
    return subprocess.run(["nft", *words], input=text, capture_output=True, text=True, check=True).stdout


def elements(name):
    """{(address, port): seconds left}"""
    found = {}
    for item in json.loads(nft("-j", "list", "set", "inet", "fence", name))["nftables"]:
        for e in item.get("set", {}).get("elem", []):
            address, port = e["elem"]["val"]["concat"]
            found[(address, port)] = e["elem"]["expires"]
    return found


def ask(daemon, name, family):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(lab.GIVE_UP_S)
        s.connect(("127.0.0.1", daemon.port))
        s.send(w.query(name, w.A if family == 4 else w.AAAA, 7, edns=w.opt(size=4096)))
        reply = w.Message(s.recv(4096))
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    return reply, [socket.inet_ntop(kind, r.data) for r in reply.answer if r.type in (w.A, w.AAAA)]


def connect(address, port):
    try:
        return socket.create_connection((address, port), 2)
    except OSError:
        return None


def talk(s, word):
    s.sendall(word)
    assert s.recv(100) == word, word


def open_dnsd(stub, scratch, *options, **more):
    return lab.Daemon(DNSD, POLICY, "--upstream", "127.0.0.1:%d" % stub.port, "--map", os.path.join(scratch, "map"),
                      "--workers", "2", "--aaaa", "pass", *options, listening=("proto", "udp"), **more)


def refused(stub, scratch, says, *options, **more):
    try:
        with open_dnsd(stub, scratch, *options, **more):
            pass
    except AssertionError as e:
        assert says in str(e), str(e)
        return
    raise AssertionError("started: " + says)


def check_start(stub, scratch):
    option = ("--direct-nft-set", "fence/let")
    refused(stub, scratch, "is not TABLE/SET", "--direct-nft-set", "fence")
    refused(stub, scratch, "is not TABLE/SET", "--direct-nft-set", "fence/le t")
    refused(stub, scratch, "no set let4 in the table inet fence: nft add set inet fence let4", *option)
    nft("-f", "-", text="table inet fence { set let4 { type ipv4_addr; flags timeout; }; }")
    refused(stub, scratch, "type must be ipv4_addr . inet_service", *option)
    nft("delete", "table", "inet", "fence")
    nft("-f", "-", text=RULES)
    without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--ambient-caps=-net_admin"]
    if subprocess.run([*without, "true"], check=False, capture_output=True).returncode == 0:
        try:
            with lab.Daemon([*without, DNSD], POLICY, "--upstream", "127.0.0.1:%d" % stub.port, *option,
                            listening=("proto", "udp")):
                raise RuntimeError("started without CAP_NET_ADMIN")
        except AssertionError as e:
            assert "needs CAP_NET_ADMIN" in str(e), str(e)
    assert not elements("let4") and not elements("let6")  # what was tried out is gone


def check_modes(stub, scratch, mode, is_synthetic):
    """Direct names have real addresses in every mode, others what the mode says."""
    with open_dnsd(stub, scratch, "--answer", mode, "--direct-nft-set", "fence/let") as dnsd:
        for family in (4, 6):
            assert connect(SERVER[family], 5432) is None, "the fence is open"
            reply, got = ask(dnsd, "direct.example.org", family)
            assert got == [SERVER[family]] and reply.opt, (mode, got)
            for port in (5432, 8443):
                conn = connect(SERVER[family], port)
                assert conn, (mode, family, port)  # the very moment the answer is there
                talk(conn, b"hello")
                conn.close()
            assert connect(SERVER[family], 9999) is None
            name = "let%d" % family
            left = elements(name)
            assert set(left) == {(SERVER[family], 5432), (SERVER[family], 8443)}, left
            assert all(3500 < seconds <= 3601 for seconds in left.values()), left  # TTL and --map-grace
            for other in ("mixed.example.org", "plain.example.org"):
                nft("flush", "set", "inet", "fence", name)
                _, got = ask(dnsd, other, family)
                pool = "198.18." if family == 4 else "fd00:5e11:"
                assert len(got) == 1 and got[0].startswith(pool) == is_synthetic, (mode, other, got)
                assert not elements(name), "let through although not every endpoint is direct"
            _, got = ask(dnsd, "a.wild.example.org", family)
            assert got == [SERVER[family]] and (SERVER[family], 5432) in elements(name)
        check_expiry(dnsd)


def check_expiry(dnsd):
    """An element that ends takes no connection with it; asking again brings it back."""
    for _ in range(3):  # the third time it is known so well that nothing is judged any more
        ask(dnsd, "direct.example.org", 4)
    conn = connect(SERVER[4], 5432)
    nft("flush", "set", "inet", "fence", "let4")
    talk(conn, b"still here")
    conn.close()
    assert connect(SERVER[4], 5432) is None
    _, got = ask(dnsd, "direct.example.org", 4)
    assert got == [SERVER[4]] and connect(SERVER[4], 5432)


def check_shared(stub, scratch):
    """Names share an address: who was told of it first keeps it as long as it was told."""
    nft("flush", "set", "inet", "fence", "let4")
    with open_dnsd(stub, scratch, "--direct-nft-set", "fence/let", "--map-grace", "0") as dnsd:
        ask(dnsd, "long.wild.example.org", 4)  # TTL 300
        first = elements("let4")
        assert 290 < first[(SERVER[4], 5432)] <= 300, first
        ask(dnsd, "direct.example.org", 4)  # TTL 1
        left = elements("let4")
        assert 290 < left[(SERVER[4], 5432)] <= first[(SERVER[4], 5432)], left
        assert left.get((SERVER[4], 8443), 0) <= 1, left  # a port that only this name has
        lab.wait_until(lambda: (SERVER[4], 8443) not in elements("let4"))
        conn = connect(SERVER[4], 5432)
        assert conn, elements("let4")
        conn.close()


def check_renewal(stub, scratch):
    """A short hold is lengthened by the next answer, whatever the kernel thinks of adding twice."""
    with open_dnsd(stub, scratch, "--direct-nft-set", "fence/let", "--map-grace", "100s") as dnsd:
        nft("flush", "set", "inet", "fence", "let4")
        nft("add", "element", "inet", "fence", "let4", "{ %s . 5432 timeout 20s }" % SERVER[4])
        ask(dnsd, "direct.example.org", 4)
        left = elements("let4")
        assert left[(SERVER[4], 5432)] > 95, left  # TTL 1 and the grace, not 20
        _, got = ask(dnsd, "many.example.org", 4)  # more than one message's worth
        assert sorted(got) == sorted(MANY)
        # A listing can miss some while the kernel's table still grows; what is listed in the end is exact.
        lab.wait_until(lambda: len(elements("let4")) == 2 + len(MANY) * 40)
        nft("delete", "table", "inet", "fence")
        dnsd.reload(POLICY + "  more:\n    binaries: [{ path: \"/**\" }]\n    endpoints: [{ host: y.example.net, port: 1 }]\n")
        reply, got = ask(dnsd, "direct.example.org", 4)
        assert reply.rcode == w.SERVFAIL and not got, reply.rcode
        dnsd.wait_log("dns_failed", name="direct.example.org", why="an nft set of --direct-nft-set is gone")


def main():
    lab.enter_namespace()
    net = lab.Netlink()
    net.lo_up()
    for family in (4, 6):
        net.add_addr(SERVER[family], 32 if family == 4 else 128)
    if subprocess.run(["nft", "add", "table", "inet", "probe"], check=False, capture_output=True).returncode != 0:
        lab.skip("nft cannot make a table here")

    def echo(conn):
        while True:
            data = conn.recv(100)
            if not data:
                return
            conn.sendall(data)

    for host in SERVER.values():
        for port in (5432, 8443, 9999):
            lab.serve(host, port, echo)
    zone = {}
    for name in ("direct", "mixed", "plain", "a.wild", "long.wild"):
        zone[(name + ".example.org", 1)] = [SERVER[4]]
        zone[(name + ".example.org", 28)] = [SERVER[6]]
    zone[("many.example.org", 1)] = MANY
    stub = lab.Dns(zone)
    stub.ttls["long.wild.example.org"] = 300
    with tempfile.TemporaryDirectory() as scratch:
        check_start(stub, scratch)
        check_modes(stub, scratch, "real", False)
        nft("flush", "set", "inet", "fence", "let4")
        nft("flush", "set", "inet", "fence", "let6")
        check_modes(stub, scratch, "synthetic", True)
        check_shared(stub, scratch)
        check_renewal(stub, scratch)
    print("ok")


if __name__ == "__main__":
    main()
