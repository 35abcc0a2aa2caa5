# SPDX-License-Identifier: Apache-2.0
"""Where openshell-tunneld connects to: every class of address, asked of the real daemon.

In this namespace every address there is leads to a server of the test, and a packet socket sees every SYN. So what was
refused is seen to have cost no packet, and what was dialled is exactly what passed. The lab is that of tunneld.py.
Arguments choose tests by name.
"""
import collections
import re
import socket
import struct
import threading

import lab
from lab import refused, wait_until
from tunneld import OWN4, main, policy

PORT, OTHER_PORT, CONTROL = 7031, 7032, (2379, 2380, 6443, 10250, 10255)
WILD, EXACT = "%s.wild.example.org", "%s.exact.example.org"

NEVER = [  # whatever a rule says
    "127.0.0.1", "127.9.9.9", "::1",  # loopback
    "169.254.1.1", "fe80::1",  # link-local
    "0.0.0.0", "::", "0.1.2.3",  # unspecified and 0/8
    "224.0.0.1", "239.1.2.3", "ff02::1", "ff0e::1",  # multicast
    "240.0.0.1", "255.255.255.255",  # reserved, broadcast
    "169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "169.254.170.2",  # metadata
    "198.18.0.1", "198.19.255.1", "fd00:5e11::1",  # the synthetic pools
    "::ffff:45.50.0.1", "::45.50.0.1", "::ffff:0:45.50.0.1",  # mapped, compatible, translated
    "2002:2d32:1::1", "2001:0:2d32:1::1", "2606:4700::5efe:45.50.0.1",  # 6to4, Teredo, ISATAP
    "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::198.18.0.1", "64:ff9b:1::127.0.0.1",  # NAT64, inside
]
PRIVATE = [  # an exact host, or allowed_ips
    "10.1.2.3", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1",
    "192.0.0.1", "fc00::1", "fd12:3456::1", "2001:db8::1", "64:ff9b::10.1.2.3", "64:ff9b:1::192.168.1.1",
]
PUBLIC = ["45.50.0.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "2a00:1450::1", "64:ff9b::45.50.0.1"]


def label(address):
    packed = socket.inet_pton(lab.family_of(address), address)
    return "a" + packed.hex()


class Zone:
    """A name says its address: a, then 4 or 16 bytes in hexadecimal. Others are in extra, which maps a name to a list of
    answers that are given in turn, each a list of addresses; the last one stays."""

    def __init__(self):
        self.extra = {}
        self.asked = collections.Counter()

    def __iter__(self):
        return iter([])

    def get(self, key, _):
        name, qtype = key
        self.asked[name, qtype] += 1
        first = name.split(".")[0]
        if name in self.extra:
            turns = self.extra[name]
            addresses = turns[min(self.asked[name, qtype], len(turns)) - 1]
        elif not re.fullmatch("a([0-9a-f]{8}|[0-9a-f]{32})", first):
            return 3
        else:
            raw = bytes.fromhex(first[1:])
            addresses = [socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)]
        return [a for a in addresses if lab.family_of(a) == (socket.AF_INET if qtype == 1 else socket.AF_INET6)]


class World:
    """Everything that is connected to here, and every SYN on the way to it."""

    def __init__(self, env):
        env.lab_net.add_local_route("0.0.0.0", 0, "127.0.0.1")
        env.lab_net.add_local_route("::", 0)
        self.syns = set()
        for port in (PORT, OTHER_PORT) + CONTROL:
            lab.serve("0.0.0.0", port, self.serve)
            listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(("::", port))
            listening.listen(64)
            threading.Thread(target=self.serve_v6, args=(listening,), daemon=True).start()
        self.packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
        self.packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        threading.Thread(target=self.watch, daemon=True).start()
        self.zone = Zone()
        self.dns = lab.Dns(self.zone)

    @staticmethod
    def serve(sock):
        sock.sendall(b"here")

    def serve_v6(self, listening):
        while True:
            sock, _ = listening.accept()
            with sock:
                self.serve(sock)

    def watch(self):
        while True:
            packet, address = self.packets.recvfrom(65536)
            if address[2] == 4:  # PACKET_OUTGOING: each is seen once more on its way in
                continue
            version = packet[0] >> 4
            if version == 4 and packet[9] == 6:
                tcp, dest = packet[(packet[0] & 15) * 4:], socket.inet_ntop(socket.AF_INET, packet[16:20])
            elif version == 6 and packet[6] == 6:
                tcp, dest = packet[40:], socket.inet_ntop(socket.AF_INET6, packet[24:40])
            else:
                continue
            if tcp[13] & 0x12 == 0x02:  # SYN without ACK
                self.syns.add((dest, struct.unpack(">H", tcp[2:4])[0]))

    def daemon(self, env, text, *options):
        return lab.Daemon(env.program, text, "--upstream", "127.0.0.1:%d" % self.dns.port, "--rate-limit", "0",
                          "--wildcard-budget", "0", "--workers", "1", *options)

    def was_dialled(self, address, port=PORT):
        return (socket.inet_ntop(lab.family_of(address), socket.inet_pton(lab.family_of(address), address)), port) in self.syns


def exact(addresses, ports=(PORT,), **more):
    return [dict(host=EXACT % label(a), ports=list(ports), **more) for a in addresses]


def reaches(d, target, address, port=PORT):
    """A tunnel that leads to the address, and the server there has said so."""
    start = len(d.logs)
    with d.dial() as s:
        s.sendall(b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (target.encode(), port))
        head = lab.read_head(s)
        assert b" 200 " in head, (target, address, head)
        assert lab.read_exactly(s, 4) == b"here"
    opened = d.wait_log("tunnel_open", start=start)
    here = opened["addr"].rsplit(":", 1)[0].strip("[]")
    family = lab.family_of(address)
    assert lab.family_of(here) == family, opened
    assert socket.inet_pton(family, here) == socket.inet_pton(family, address), opened
    return True


def denies(d, target, address, port=PORT, error="ssrf_denied"):
    answer = refused(d, "%s:%d" % (target, port))
    body = answer.json()
    assert answer.status == 403 and body["error"] == error and body["reason"], (target, address, answer.status, body)
    if error == "ssrf_denied":
        assert "error=destination_ip_prohibited" in answer.fields["Proxy-Status"], answer.fields
    return body["reason"]


def test_classes(env):
    """Each address behind a wildcard and behind an exact name; the SYNs are those of what passed."""
    every = NEVER + PRIVATE + PUBLIC
    text = policy(dict(host="*.wild.example.org", ports=[PORT]), *exact(every))
    w = env.world
    with w.daemon(env, text) as d:
        for a in NEVER:
            denies(d, WILD % label(a), a)
            denies(d, EXACT % label(a), a)
            d.wait_log("tunnel_denied", reason="ssrf_denied", host=EXACT % label(a))
        for a in PRIVATE:
            denies(d, WILD % label(a), a)
            assert not w.was_dialled(a), a
            assert reaches(d, EXACT % label(a), a)
            wait_until(lambda a=a: w.was_dialled(a))  # the packet socket does see what goes
        for a in PUBLIC:
            assert reaches(d, WILD % label(a), a) and reaches(d, EXACT % label(a), a)
            wait_until(lambda a=a: w.was_dialled(a))
        assert not any(w.was_dialled(a) for a in NEVER)


def test_strict_private(env):
    """Then an exact name is not enough: only allowed_ips are."""
    text = policy(*exact(["10.4.0.1"]), *exact(["10.4.0.2"], allowed_ips=["10.4.0.0/30"]))
    with env.world.daemon(env, text, "--strict-private") as d:
        assert "allowed_ips" in denies(d, EXACT % label("10.4.0.1"), "10.4.0.1")
        assert reaches(d, EXACT % label("10.4.0.2"), "10.4.0.2")
    assert not env.world.was_dialled("10.4.0.1")


def test_allowed_ips_are_exclusive(env):
    """They open private addresses to a wildcard, and close everything else, public ones too."""
    text = policy(dict(host="*.wild.example.org", ports=[PORT], allowed_ips=["10.5.0.0/24", "45.51.0.1"]),
                  *exact(["45.51.0.2"], allowed_ips=["10.5.0.0/24"]))
    with env.world.daemon(env, text) as d:
        for a in ("10.5.0.7", "45.51.0.1", "64:ff9b::10.5.0.7"):
            assert reaches(d, WILD % label(a), a)
        for a in ("10.5.1.7", "45.51.0.3", "64:ff9b::10.5.1.7", "127.0.0.1", "169.254.169.254"):
            denies(d, WILD % label(a), a)
        denies(d, EXACT % label("45.51.0.2"), "45.51.0.2")
    assert not any(env.world.was_dialled(a) for a in ("10.5.1.7", "45.51.0.3", "64:ff9b::10.5.1.7", "45.51.0.2"))


def test_address_literals(env):
    """Only a rule that names the address, or a hostless one that lists it."""
    text = policy(dict(host="45.52.0.1", ports=[PORT]), dict(host="10.6.0.1", ports=[PORT]),
                  dict(ports=[PORT], allowed_ips=["45.52.1.0/24", "10.7.0.0/24", "2606:4700:52::/48"]),
                  dict(host="*.wild.example.org", ports=[PORT]))
    with env.world.daemon(env, text) as d:
        for a in ("45.52.0.1", "10.6.0.1", "45.52.1.9", "10.7.0.9", "[2606:4700:52::9]"):
            assert reaches(d, a, a.strip("[]"))
        for a in ("45.52.0.2", "10.6.0.2", "45.52.2.9", "127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:45.52.0.1]",
                  "[64:ff9b::45.52.0.1]"):
            denies(d, a, a, error="policy_denied")
        denies(d, "45.52.0.1", "45.52.0.1", OTHER_PORT, error="policy_denied")
    assert not any(env.world.was_dialled(a) for a in ("45.52.0.2", "10.6.0.2", "45.52.2.9"))


def test_control_plane_ports(env):
    """They need an exact port and an exact host, or allowed_ips."""
    ports = list(CONTROL)
    text = policy(dict(host="*.wild.example.org", ports=ports), *exact(["45.53.0.1"], ports),
                  dict(host="*.listed.example.org", ports=ports, allowed_ips=["45.53.0.0/24"]))
    with env.world.daemon(env, text) as d:
        for port in ports:
            assert "control-plane" in denies(d, WILD % label("45.53.0.9"), "45.53.0.9", port)
            assert reaches(d, EXACT % label("45.53.0.1"), "45.53.0.1", port)
            assert reaches(d, label("45.53.0.2") + ".listed.example.org", "45.53.0.2", port)
            assert not env.world.was_dialled("45.53.0.9", port)


def test_never(env):
    """--never with and without a port, and egress.never: whatever the rule; NAT64 is judged by what is inside, too."""
    addresses = ["45.54.0.1", "45.54.1.1", "45.54.2.1", "2606:4700:54::1", "64:ff9b::45.54.0.1"]
    text = policy(*exact(addresses, (PORT, OTHER_PORT)), extra="egress: { never: [ 45.54.2.0/24 ] }\n")
    options = ("--never", "45.54.0.0/24:%d" % PORT, "--never", "45.54.1.0/24", "--never",
               "[2606:4700:54::/48]:%d" % OTHER_PORT)
    with env.world.daemon(env, text, *options) as d:
        for a, forbidden in ((addresses[0], (PORT,)), (addresses[1], (PORT, OTHER_PORT)), (addresses[2], (PORT, OTHER_PORT)),
                             (addresses[3], (OTHER_PORT,)), (addresses[4], (PORT,))):
            for port in (PORT, OTHER_PORT):
                if port in forbidden:
                    denies(d, EXACT % label(a), a, port)
                    assert not env.world.was_dialled(a, port)
                else:
                    assert reaches(d, EXACT % label(a), a, port)


def test_own_listeners(env):
    """By their address; a wildcard one by every address of the host; the admin page as well; other ports are none."""
    text = policy(*exact([OWN4, "45.55.0.1"], (PORT, OTHER_PORT)), dict(host="loop.example.org", ports=[PORT]))
    env.world.zone.extra["loop.example.org"] = [["127.0.0.1", "::1"]]
    with socket.socket() as probe:
        probe.bind((OWN4, 0))
        free = probe.getsockname()[1]
    more = policy(*exact([OWN4], (free, PORT)))
    for option in (("--listen", "%s:%d" % (OWN4, free)), ("--listen", "0.0.0.0:%d" % free), ("--listen", "[::]:%d" % free),
                   ("--admin", "%s:%d" % (OWN4, free))):
        with env.world.daemon(env, more, *option) as d:
            assert "own listener" in denies(d, EXACT % label(OWN4), OWN4, free), option
            assert reaches(d, EXACT % label(OWN4), OWN4)  # the same host, where we do not listen
            raw = b"GET http://%s:%d/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = lab.request(d, raw % ((EXACT % label(OWN4)).encode(), free))
            assert answer.status in (403, 502) and answer.json()["error"] in ("ssrf_denied", "proxy_loop"), answer.body
        assert not env.world.was_dialled(OWN4, free)
    with env.world.daemon(env, text) as d:
        denies(d, "loop.example.org", "127.0.0.1")


def test_static_hosts(env):
    """egress.hosts: no DNS; link-local is dialled for such a name alone, a metadata address never; the aliases of a gateway
    are names like any other."""
    aliases = ("host.openshell.internal", "host.docker.internal", "host.containers.internal")
    hosts = "egress: { hosts: { host.openshell.internal: [ 169.254.7.1 ], host.docker.internal: [ 172.17.0.1 ] } }\n"
    text = policy(*[dict(host=a, ports=[PORT]) for a in aliases], *exact(["169.254.7.1"]), extra=hosts)
    env.world.zone.extra["host.containers.internal"] = [["169.254.7.1"]]
    with env.world.daemon(env, text) as d:
        assert reaches(d, "host.openshell.internal", "169.254.7.1")
        assert reaches(d, "HOST.Docker.Internal", "172.17.0.1")
        denies(d, "host.containers.internal", "169.254.7.1")  # from the DNS: not to be trusted with it
        denies(d, EXACT % label("169.254.7.1"), "169.254.7.1")
    assert env.world.zone.asked[aliases[0], 1] == env.world.zone.asked[aliases[1], 1] == 0
    bad = policy(dict(host=aliases[0], ports=[PORT]), extra="egress: { hosts: { %s: [ 169.254.169.254 ] } }\n" % aliases[0])
    try:
        with env.world.daemon(env, bad) as d:
            denies(d, aliases[0], "169.254.169.254")
    except AssertionError as e:
        assert "not ready" in str(e), e  # refused at load is as good
    assert not env.world.was_dialled("169.254.169.254")


def test_only_what_passed_is_dialled(env):
    """Of a name with good and bad addresses; and resolved once, so that a second answer cannot differ."""
    zone = env.world.zone
    zone.extra["mixed.wild.example.org"] = [["127.0.0.1", "10.8.0.1", "45.56.0.1", "::1", "fd00:ec2::254"]]
    zone.extra["rebind.wild.example.org"] = [["45.56.0.2"], ["127.0.0.1"]]
    with env.world.daemon(env, policy(dict(host="*.wild.example.org", ports=[PORT]))) as d:
        assert reaches(d, "mixed.wild.example.org", "45.56.0.1")
        assert reaches(d, "rebind.wild.example.org", "45.56.0.2")
        assert zone.asked["rebind.wild.example.org", 1] == 1
        wait_until(lambda: zone.asked["rebind.wild.example.org", 1] > 1 or is_denied(d, "rebind.wild.example.org"))
        denies(d, "rebind.wild.example.org", "127.0.0.1")
    for a in ("10.8.0.1", "fd00:ec2::254"):
        assert not env.world.was_dialled(a)
    assert ("127.0.0.1", PORT) not in env.world.syns and ("::1", PORT) not in env.world.syns


def is_denied(d, name):
    with d.dial() as s:
        s.sendall(b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (name.encode(), PORT))
        return b" 403 " in lab.read_head(s)


def prepare(env):
    env.world = World(env)


if __name__ == "__main__":
    main(globals(), (), prepare)
