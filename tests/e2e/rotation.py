# SPDX-License-Identifier: Apache-2.0
"""What a client does not notice: that the addresses of a name change, and that its own cache is old.

rotation: the name has another address every 2 s, the one before it stops taking connections soon after. Two tunnels, one
          captured and one through CONNECT, live through all of it; new ones of both kinds, ten a second, all work.
cache:    a client connects to an address that it was given 10 minutes ago; both daemons have been restarted meanwhile,
          and another name has asked for an address of a pool that is full. The 10 minutes are a time namespace's: the
          daemons are started where CLOCK_BOOTTIME, by which the map goes, is 600 s ahead. That they did pass is seen
          beside it: where addresses are held for no longer than their TTL, the other name gets one.

usage: rotation.py ADDRESS...    public-looking addresses of this host
"""
import ctypes
import os
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/conformance"))
import dns_wire as w  # noqa: E402
import lab  # noqa: E402

PORT = 7007
PERIOD_S, OVERLAP_S, ROTATIONS = 2.0, 1.5, 5
NAMES = ["kept.example.org", "filler.example.org", "other.example.org"]
POLICY = """\
version: 1
network_policies:
  test:
    endpoints:
""" + "".join("      - { host: %s, port: %d }\n" % (name, PORT) for name in NAMES)
AGE_S = 600
CLONE_NEWTIME = 0x80


class Server:
    """Says which address it was reached at, and sends back what it gets. retire() ends the listener, not its connections."""

    def __init__(self, host):
        self.host = host
        self.listening = lab.listener(host, PORT)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    def talk(self, conn):
        with conn:
            conn.sendall(self.host.encode() + b"\n")
            while data := conn.recv(4096):
                conn.sendall(data)

    def retire(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


class Tunnel:
    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(lab.GIVE_UP_S)
        self.server = b""
        while not self.server.endswith(b"\n"):
            byte = self.sock.recv(1)
            assert byte, "the tunnel ended before the server's greeting"
            self.server += byte

    def echo(self, text):
        self.sock.sendall(text)
        assert lab.read_exactly(self.sock, len(text)) == text


def ask(port, name):
    """The reply, and its address if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(lab.GIVE_UP_S)
        s.connect(("127.0.0.1", port))
        s.send(w.query(name, w.A, 7))
        reply = w.Message(s.recv(4096))
    found = [r for r in reply.answer if r.type == w.A]
    return reply, socket.inet_ntoa(found[0].data) if found else None


def daemon(name, *options):
    listening = ("proto", "udp") if name == "dnsd" else ("kind", "connect")
    return lab.Daemon(os.path.join(os.environ["top_builddir"], "openshell-" + name), POLICY, "--workers", "1", *options,
                      listening=listening)


def capture(address):
    return socket.create_connection((address, PORT), lab.GIVE_UP_S)


def rotate(stub, addresses, done):
    """Opens the next door before the name leads to it, closes the last one when the TTL of 1 s has passed."""
    server = Server(addresses[0])
    stub.zone[(NAMES[0], 1)] = [addresses[0]]
    yield
    for i in range(1, ROTATIONS + 1):
        last, server = server, Server(addresses[i % len(addresses)])
        stub.zone[(NAMES[0], 1)] = [server.host]
        end = time.monotonic() + OVERLAP_S
        while time.monotonic() < end:
            yield
        last.retire()
        end = time.monotonic() + PERIOD_S - OVERLAP_S
        while time.monotonic() < end:
            yield
    done.set()


def check_rotation(addresses):
    stub = lab.Dns({(NAMES[0], 1): []})
    done = threading.Event()
    turns = rotate(stub, addresses, done)
    next(turns)
    with tempfile.TemporaryDirectory() as scratch:
        shared = ["--upstream", "127.0.0.1:%d" % stub.port, "--map", scratch + "/map", "--pool", "127.64.0.0/10"]
        with daemon("dnsd", "--answer", "synthetic", *shared) as dnsd:
            synthetic = ask(dnsd.port, NAMES[0])[1]
            with daemon("tunneld", "--transparent", "%s:%d" % (synthetic, PORT), *shared) as tunneld:
                ways = (lambda: Tunnel(capture(ask(dnsd.port, NAMES[0])[1])),
                        lambda: Tunnel(lab.connect(tunneld, "%s:%d" % (NAMES[0], PORT))))
                live = [way() for way in ways]
                seen, count = [set(), set()], 0
                for _ in turns:
                    for tunnel in live:
                        tunnel.echo(b"still here %d" % count)
                    for i, way in enumerate(ways):
                        tunnel = way()
                        tunnel.echo(b"new")
                        seen[i].add(tunnel.server)
                        tunnel.sock.close()
                    count += 1
                    time.sleep(0.1)
                assert done.is_set() and all(len(one) == len(addresses) for one in seen), seen
                assert tunneld.count_log("tunnel_failed") == 0
                for tunnel in live:
                    tunnel.sock.close()
    print("rotation: %d rotations, 2 tunnels lived, 2 x %d new ones worked" % (ROTATIONS, count), flush=True)


def check_cache(address):
    Server(address)
    stub = lab.Dns({(name, 1): [address] for name in NAMES})
    with tempfile.TemporaryDirectory() as scratch:
        def options(which, pool):
            return ["--upstream", "127.0.0.1:%d" % stub.port, "--map", "%s/%s" % (scratch, which), "--pool", pool]
        held = options("held", "127.64.0.0/30")
        freed = options("freed", "127.65.0.0/30")
        no_grace = ["--map-grace", "0"]
        cached = {}
        for which, shared in (("held", held), ("freed", freed + no_grace)):
            with daemon("dnsd", "--answer", "synthetic", *shared) as dnsd:
                cached[which] = [ask(dnsd.port, name)[1] for name in NAMES[:2]]
                assert None not in cached[which] and len(set(cached[which])) == 2, cached
                assert ask(dnsd.port, NAMES[2])[1] is None, "the pool has more than two addresses"
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWTIME) != 0:
            lab.skip("no time namespaces here (CONFIG_TIME_NS); the rotation passed")
        with open("/proc/self/timens_offsets", "w", encoding="ascii") as f:
            f.write("boottime %d 0\n" % AGE_S)
        with daemon("dnsd", "--answer", "synthetic", *freed, *no_grace) as dnsd:
            assert ask(dnsd.port, NAMES[2])[1] in cached["freed"], "the ten minutes did not pass"
        with daemon("dnsd", "--answer", "synthetic", *held) as dnsd:
            assert ask(dnsd.port, NAMES[2])[1] is None, "an address that may be cached was given to another name"
            kept = cached["held"][0]
            with daemon("tunneld", "--transparent", "%s:%d" % (kept, PORT), *held) as tunneld:
                Tunnel(capture(kept)).echo(b"as if nothing had happened")
                tunneld.wait_log("tunnel_open", host=NAMES[0], via="capture")
            assert ask(dnsd.port, NAMES[0])[1] == kept, "the name has another address now"
    print("cache: %s, handed out %d s ago by a daemon that has ended since, still is %s" % (kept, AGE_S, NAMES[0]), flush=True)


if __name__ == "__main__":
    check_rotation(sys.argv[1:4])
    check_cache(sys.argv[4])
