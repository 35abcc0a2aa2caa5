# SPDX-License-Identifier: Apache-2.0
"""openshell-tunneld when things go wrong around it; run by faults.sh inside the lab, as root there.

Packets are dropped, lost and refused by nft, slowed by tbf, delayed and reordered by tests/support/packet_relay.py; system
calls fail and the wall clock is set by tests/support/inject.c. Every case says what the log has to say of it.
"""
import contextlib
import errno
import hashlib
import mmap
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

for where in ("conformance", "support"):
    sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests", where))
import lab  # noqa: E402
import packet_relay  # noqa: E402
from lab import connect, is_ended, read_exactly, read_to_end, refused, wait_until  # noqa: E402
from tunneld import ADDR4, ADDR6, ECHO, MIB, PORTS, connects, main, policy  # noqa: E402

KEEPALIVE = ("--keepalive", "1s,1s,2")  # found within 3 s
skipped = []
numbers = iter(range(1, 250))
numbers_lock = threading.Lock()


def next_number():
    with numbers_lock:
        return next(numbers)


def new_host(env, handler=None):
    """An address of its own, so that what is done to it concerns one test only; handler serves its port ECHO."""
    host = "45.47.0.%d" % next_number()
    env.lab_net.add_addr(host, 32)
    if handler:
        lab.serve(host, ECHO, handler)
    return host


def at(host, port=ECHO):
    return "%s:%d" % (host, port)


def allow(*hosts):
    return policy(*[dict(host=h, ports=PORTS) for h in hosts])


def dial(d, source, target):
    """A tunnel of the client with this address of 127/8."""
    s = socket.create_connection(("127.0.0.1", d.port), lab.GIVE_UP_S, (source, 0))
    s.settimeout(lab.GIVE_UP_S)
    s.sendall(b"CONNECT %s HTTP/1.1\r\n\r\n" % target.encode())
    head = lab.read_head(s)
    assert b" 200 " in head, head
    return s


# ---- what goes wrong ----

def nft(*words):
    return subprocess.run(["nft", "-a", "-e", *words], check=True, stdout=subprocess.PIPE).stdout.decode()


@contextlib.contextmanager
def packets(*rules):
    """While the block runs, these rules hold for what the lab receives."""
    handles = [re.search(r"handle (\d+)", nft("add rule inet faults arrival " + rule)).group(1) for rule in rules]
    try:
        yield
    finally:
        for handle in handles:
            nft("delete rule inet faults arrival handle " + handle)


def gone(host):
    """Nothing to it or from it arrives any more."""
    return packets("ip saddr %s drop" % host, "ip daddr %s drop" % host)


class Inject:
    """The file of tests/support/inject.c, and the environment that preloads it."""

    def __init__(self, directory):
        path = os.path.join(directory, "inject")
        with open(path, "wb") as f:
            f.write(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), mmap.PAGESIZE)
        options = os.environ.get("ASAN_OPTIONS", "")
        self.env = dict(os.environ, LD_PRELOAD=os.environ["INJECT"], TEST_INJECT_FILE=path,
                        ASAN_OPTIONS=options + ":verify_asan_link_order=0")

    def set(self, clock_s=0, connect_errno=0, send_errno=0, accept_errno=0):
        struct.pack_into("=qiii", self.map, 0, clock_s, connect_errno, send_errno, accept_errno)


class Peer:
    """A peer in a process of its own, which can be stopped, continued and killed."""

    COMMON = """
import hashlib, socket, struct, sys, time
def say(text):
    print(text, flush=True)
def pour(s, count):
    block = bytes(range(256)) * 256
    digest = hashlib.sha256()
    while count > 0:
        part = block[:min(count, 65536)]
        s.sendall(part)
        digest.update(part)
        count -= len(part)
    return digest.hexdigest()
def drain(s):
    digest = hashlib.sha256()
    while True:
        data = s.recv(65536)
        if not data:
            return digest.hexdigest()
        digest.update(data)
"""
    ECHO_SERVER = """
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
say("ready")
s, _ = listening.accept()
while True:
    data = s.recv(65536)
    if not data:
        break
    s.sendall(data)
"""
    SINK_SERVER = """
listening = socket.create_server((sys.argv[1], int(sys.argv[2])))
say("ready")
s, _ = listening.accept()
s.sendall(b"!")
say(drain(s))
"""
    READING_CLIENT = """
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), None, (sys.argv[3], 0))
s.sendall(b"CONNECT " + sys.argv[2].encode() + b" HTTP/1.1\\r\\n\\r\\n")
head = b""
while not head.endswith(b"\\r\\n\\r\\n"):
    head += s.recv(1)
s.shutdown(socket.SHUT_WR)
say("ready")
try:
    say(drain(s))
except ConnectionResetError:
    say("reset")
"""

    def __init__(self, code, *args):
        self.process = subprocess.Popen([sys.executable, "-c", self.COMMON + code, *[str(a) for a in args]],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self.read() == "ready"

    def read(self):
        return self.process.stdout.readline().decode().strip()

    def send(self, number):
        self.process.send_signal(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


# ---- a peer that vanishes ----

def test_upstream_vanishes_at_rest(env):
    host = new_host(env, env.serve_echo)
    with env.daemon(allow(host), *KEEPALIVE) as d, connect(d, at(host)) as s:
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        began = time.monotonic()
        with gone(host):
            assert is_ended(s, 12)
            took = time.monotonic() - began
        assert 1.9 < took < 8, took
        closed = d.wait_log("tunnel_close", reason="peer_vanished", who="upstream")
        assert closed["error"] == "timed out" and closed["bytes_up"] == 1, closed


def test_client_vanishes_at_rest(env):
    host = new_host(env, env.serve_echo)
    source = "127.0.1.%d" % next_number()
    with env.daemon(allow(host), *KEEPALIVE) as d, dial(d, source, at(host)):
        began = time.monotonic()
        with gone(source):
            d.wait_log("tunnel_close", 12, reason="peer_vanished", who="client")
        assert 1.9 < time.monotonic() - began < 8


def test_peers_vanish_with_bytes_under_way(env):
    """Keepalive sends nothing then: TCP_USER_TIMEOUT, which is as long, ends it."""
    host = new_host(env, env.serve_echo)
    source = "127.0.1.%d" % next_number()
    with env.daemon(allow(host), *KEEPALIVE) as d, connect(d, at(host)) as s:
        began = time.monotonic()
        with gone(host):
            s.sendall(b"into the void")
            assert is_ended(s, 12)
        assert 1.9 < time.monotonic() - began < 10
        d.wait_log("tunnel_close", reason="peer_vanished", who="upstream")
        with dial(d, source, at(host)) as client:
            with packets("ip daddr %s drop" % source):  # it still speaks, and hears nothing
                client.sendall(b"what it asked for")
                d.wait_log("tunnel_close", 12, reason="peer_vanished", who="client")


def test_keepalive_keeps_what_lives(env):
    """Longer than it would take to find a peer that has vanished."""
    host = new_host(env, env.serve_echo)
    with env.daemon(allow(host), *KEEPALIVE) as d, connect(d, at(host)) as s:
        assert not is_ended(s, 5)
        s.sendall(b"x")
        assert read_exactly(s, 1) == b"x"
        assert d.count_log("tunnel_close") == 0


# ---- a peer that stops ----

def test_stopped_server_goes_on(env):
    """Its kernel answers the probes, so it is no peer that has vanished; what was sent meanwhile arrives."""
    host = new_host(env)
    with Peer(Peer.ECHO_SERVER, host, ECHO) as peer, env.daemon(allow(host), *KEEPALIVE) as d:
        with connect(d, at(host)) as s:
            peer.send(signal.SIGSTOP)
            s.sendall(b"meanwhile")
            assert not is_ended(s, 4.5)
            peer.send(signal.SIGCONT)
            s.settimeout(lab.GIVE_UP_S)
            assert read_exactly(s, 9) == b"meanwhile"
        d.wait_log("tunnel_close", reason="client_closed")


def stuff(s, limit=64 * MIB):
    """Sends until nothing more is taken; the number of bytes."""
    block = bytes(range(256)) * 256
    s.settimeout(0.7)
    sent = 0
    try:
        while sent < limit:
            sent += s.send(block[sent % 65536:])
    except socket.timeout:
        return sent
    raise AssertionError("%d bytes were taken for a peer that reads nothing" % sent)


def test_stopped_server_takes_nothing(env):
    """Bytes wait for it with its window closed: after the user timeout it counts as vanished; 0 waits for it."""
    host, patient = new_host(env), new_host(env)
    text = policy(dict(host=host, ports=PORTS), dict(host=patient, ports=PORTS, timeouts=dict(user=0)))
    with Peer(Peer.SINK_SERVER, host, ECHO) as peer, Peer(Peer.SINK_SERVER, patient, ECHO) as other, \
            env.daemon(text, "--user-timeout", "2s") as d:
        with connect(d, at(host)) as s, connect(d, at(patient)) as t:
            assert read_exactly(s, 1) == b"!" and read_exactly(t, 1) == b"!"
            peer.send(signal.SIGSTOP)
            other.send(signal.SIGSTOP)
            sent = stuff(t)
            stuff(s)
            closed = d.wait_log("tunnel_close", 15, reason="peer_vanished", who="upstream")
            assert closed["host"] == host, closed
            try:
                s.recv(1)
                raise AssertionError("the cut looks like an end")
            except ConnectionResetError:
                pass
            d.wait_count(1, "tunnel_close")
            other.send(signal.SIGCONT)
            t.settimeout(lab.GIVE_UP_S)
            t.shutdown(socket.SHUT_WR)
            block = bytes(range(256)) * 256
            assert other.read() == hashlib.sha256((block * (sent // 65536 + 1))[:sent]).hexdigest()
        d.wait_log("tunnel_close", reason="client_closed", host=patient, bytes_up=sent)


def test_stopped_client(env):
    size = 24 * MIB
    stopped = threading.Event()
    whole = hashlib.sha256(lab.pattern(MIB, 7) * (size // MIB)).hexdigest()

    def pour(sock):
        read_to_end(sock)
        stopped.wait(lab.GIVE_UP_S)
        for _ in range(size // MIB):
            sock.sendall(lab.pattern(MIB, 7))

    host, patient = new_host(env, pour), new_host(env, pour)
    text = policy(dict(host=host, ports=PORTS), dict(host=patient, ports=PORTS, timeouts=dict(user=0)))
    with env.daemon(text, "--user-timeout", "2s") as d:
        with Peer(Peer.READING_CLIENT, d.port, at(host), "127.0.0.1") as peer, \
                Peer(Peer.READING_CLIENT, d.port, at(patient), "127.0.0.1") as other:
            peer.send(signal.SIGSTOP)
            other.send(signal.SIGSTOP)
            stopped.set()
            closed = d.wait_log("tunnel_close", 15, reason="peer_vanished", who="client")
            assert closed["host"] == host and closed["bytes_down"] < size, closed
            peer.send(signal.SIGCONT)
            assert peer.read() == "reset"  # not a clean end
            other.send(signal.SIGCONT)
            assert other.read() == whole
        d.wait_log("tunnel_close", host=patient, bytes_down=size)


def test_killed_peers(env):
    """The kernel resets what a killed process had not read."""
    host = new_host(env)
    with Peer(Peer.SINK_SERVER, host, ECHO) as peer, env.daemon(allow(host)) as d, connect(d, at(host)) as s:
        assert read_exactly(s, 1) == b"!"
        peer.send(signal.SIGSTOP)
        stuff(s)
        peer.send(signal.SIGKILL)
        d.wait_log("tunnel_close", reason="upstream_reset", who="upstream")
        try:
            assert s.recv(1) is None, "the reset became a clean end"
        except ConnectionResetError:
            pass
    poured = new_host(env, lambda sock: sock.sendall(bytes(64 * MIB)))
    with env.daemon(allow(poured)) as d:
        with Peer(Peer.READING_CLIENT, d.port, at(poured), "127.0.0.1") as peer:
            peer.send(signal.SIGKILL)
            d.wait_log("tunnel_close", reason="client_reset", who="client")


# ---- resets ----

def test_reset_mid_stream(env):
    """By either end, in the middle of bulk both ways; and by a firewall that only one end hears of."""
    def reset_after(sock):
        sock.sendall(bytes(MIB))
        read_exactly(sock, 4 * MIB)
        lab.reset(sock)

    def never_reads(sock):
        try:
            sock.sendall(bytes(MIB))
            while sock.recv(65536):
                pass
            ends.append("FIN")
        except ConnectionResetError:
            ends.append("RST")

    ends = []
    host, quiet, walled = new_host(env, reset_after), new_host(env, never_reads), new_host(env, env.serve_echo)
    with env.daemon(allow(host, quiet, walled)) as d:
        with connect(d, at(host)) as s:
            try:
                for _ in range(64):
                    s.sendall(bytes(MIB))
                raise AssertionError("the reset never came")
            except ConnectionError:
                pass
            closed = d.wait_log("tunnel_close", host=host)
            assert closed["reason"] == "upstream_reset" and closed["who"] == "upstream", closed
            assert closed["error"] == "connection reset", closed
        s = connect(d, at(quiet))
        s.sendall(bytes(MIB))
        lab.reset(s)
        closed = d.wait_log("tunnel_close", host=quiet)
        assert closed["reason"] == "client_reset" and closed["who"] == "client", closed
        wait_until(lambda: ends)
        assert ends == ["RST"], ends
        with connect(d, at(walled)) as s, packets("ip daddr %s tcp dport %d reject with tcp reset" % (walled, ECHO)):
            s.sendall(b"x")
            assert is_ended(s)
            d.wait_log("tunnel_close", host=walled, reason="upstream_reset", who="upstream")


# ---- a bad wire ----

def both_ways(d, target, count):
    """count bytes there and back at once, in pieces of every size; the echo must be what was sent."""
    rng = random.Random(target)
    data = rng.randbytes(count)
    with connect(d, target) as s:
        s.settimeout(60)

        def send():
            done = 0
            while done < count:
                piece = rng.choice((1, 100, 1460, 20000, 65536))
                s.sendall(data[done:done + piece])
                done += piece
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = read_to_end(s)
        sender.join()
    assert got == data, "%d of %d bytes" % (len(got), count)
    return d.wait_log("tunnel_close", host=target.rsplit(":", 1)[0], reason="client_closed", bytes_up=count, bytes_down=count)


def test_loss(env):
    """One packet in twenty-five is lost, on both legs."""
    host = new_host(env, env.serve_echo)
    with env.daemon(allow(host)) as d:
        lossy = " numgen random mod 100 < 4 counter name lost drop"
        with packets("ip saddr %s%s" % (host, lossy), "ip daddr %s%s" % (host, lossy),
                     "tcp dport %d%s" % (d.port, lossy), "tcp sport %d%s" % (d.port, lossy)):
            both_ways(d, at(host), 2 * MIB)
        lost = int(re.search(r"packets (\d+)", nft("list counter inet faults lost")).group(1))
        print("%d packets were lost" % lost, flush=True)
        assert lost > 3


def test_slow_wire(env):
    """tbf lets 40 Mbit/s through: both directions are held back, and the daemon keeps nothing meanwhile."""
    host = new_host(env, env.serve_echo)
    with env.daemon(allow(host), "--workers", "1") as d:
        both_ways(d, at(host), 65536)
        before = d.rss_kib()
        subprocess.run("tc qdisc add dev lo root tbf rate 40mbit burst 256kb latency 400ms".split(), check=True)
        try:
            peak = []
            done = threading.Event()

            def watch():
                while not done.wait(0.05):
                    peak.append(d.rss_kib())

            watching = threading.Thread(target=watch)
            watching.start()
            began = time.monotonic()
            both_ways(d, at(host), 3 * MIB)
            took = time.monotonic() - began
            done.set()
            watching.join()
        finally:
            subprocess.run("tc qdisc del dev lo root".split(), check=True)
        assert took > 1.0, "nothing was held back: %.1f s" % took
        assert lab.is_sanitized(env.program) or max(peak) - before < 2048, (before, max(peak))


FAR_SERVER = """
import socket, threading
listening = socket.create_server((FAR, 7001))
def echo(s):
    with s:
        while True:
            data = s.recv(65536)
            if not data:
                return
            s.sendall(data)
ready()
while True:
    threading.Thread(target=echo, args=(listening.accept()[0],), daemon=True).start()
"""


def test_delay_and_reordering(env):
    """Packets take 5 to 40 ms, so that many overtake others, and some are lost as well; then all of them are."""
    far = packet_relay.FAR
    try:
        wire = packet_relay.Wire(FAR_SERVER)
    except packet_relay.Unavailable as e:
        skipped.append("no wire that reorders: %s" % e)
        return
    with wire, env.daemon(allow(far), *KEEPALIVE) as d:
        wire.delay = (0.005, 0.04)
        both_ways(d, at(far), MIB)
        wire.loss = 0.005
        both_ways(d, at(far), MIB // 2)
        print("the wire carried %d packets: %d overtaken, %d lost" % (wire.carried, wire.overtaken, wire.lost), flush=True)
        assert wire.overtaken > 20 and wire.lost > 0
        with connect(d, at(far)) as s:
            wire.loss = 1.0
            assert is_ended(s, 12)
        d.wait_log("tunnel_close", reason="peer_vanished", who="upstream")


# ---- dialling ----

def test_blackholed_ipv6(env):
    """Packets to it are dropped: IPv4 is connected to in less than 300 ms."""
    text = policy(dict(host="echo.example.org", ports=PORTS))
    with env.daemon(text) as d, packets("ip6 daddr %s tcp dport %d drop" % (ADDR6, ECHO)):
        took = []
        while not took or (min(took) >= 300 and len(took) < 8):  # a machine may be late, not eight times
            start = len(d.logs)
            connect(d, at("echo.example.org")).close()
            opened = d.wait_log("tunnel_open", start=start)
            assert opened["addr"] == at(ADDR4), opened
            took.append(opened["connect_ms"])
        print("connected past a blackholed IPv6 in %r ms" % took, flush=True)
        assert 240 <= min(took) < 300, took


def test_connect_timeout_is_the_total(env):
    """Over eight addresses that nothing comes back from, not for each of them."""
    hosts = [new_host(env) for _ in range(8)]
    dns = lab.Dns({("many.example.org", 1): hosts})
    with lab.Daemon(env.program, policy(dict(host="many.example.org", ports=PORTS)), "--upstream",
                    "127.0.0.1:%d" % dns.port, "--connect-timeout", "1500ms") as d:
        with packets("ip daddr 45.47.0.0/24 tcp dport %d tcp flags & (syn|ack) == syn drop" % PORTS[3]):
            began = time.monotonic()
            answer = refused(d, "many.example.org:%d" % PORTS[3])
            took = time.monotonic() - began
        assert answer.status == 504 and answer.json()["error"] == "upstream_timeout", answer.body
        assert 1.4 < took < 4, took
        d.wait_log("tunnel_failed", reason="upstream_timeout")


def test_firewalls(env):
    """What says no at once is told at once, with its reason."""
    host = new_host(env, env.serve_echo)
    says = (("tcp reset", "connection refused", "connection_refused"),
            ("icmp type admin-prohibited", "no route to host", "destination_ip_unroutable"),
            ("icmp type host-unreachable", "no route to host", "destination_ip_unroutable"))
    with env.daemon(allow(host)) as d:
        for how, why, token in says:
            with packets("ip daddr %s tcp dport %d reject with %s" % (host, ECHO, how)):
                began = time.monotonic()
                answer = refused(d, at(host))
                assert answer.status == 502 and answer.json()["error"] == "upstream_unreachable", answer.body
                assert answer.json()["reason"] == why, (how, answer.body)
                assert "error=" + token in answer.fields["Proxy-Status"], (how, answer.fields)
                assert time.monotonic() - began < 5
                d.wait_log("tunnel_failed", reason="upstream_unreachable", why=why)


# ---- DNS ----

def test_dns_dead(env):
    """Names that are known go on, others are a dns_failed within four seconds; it is over when the DNS is back."""
    hosts = [new_host(env, env.serve_echo) for _ in range(3)]
    names = ["known.example.org", "new.example.org", "later.example.org"]
    dns = lab.Dns({(name, 1): [host] for name, host in zip(names, hosts)})
    text = policy(*[dict(host=n, ports=PORTS) for n in names], dict(host=hosts[0], ports=PORTS))
    with lab.Daemon(env.program, text, "--upstream", "127.0.0.1:%d" % dns.port, "--workers", "1") as d:
        with connect(d, at(names[0])) as standing:
            with packets("udp dport %d drop" % dns.port, "tcp dport %d drop" % dns.port):
                time.sleep(1.1)  # the answer's TTL: it has expired
                began = time.monotonic()
                answer = refused(d, at(names[1]))
                took = time.monotonic() - began
                assert answer.status == 502 and answer.json()["error"] == "dns_failed", answer.body
                assert "error=dns_timeout" in answer.fields["Proxy-Status"] and took < 6, (answer.fields, took)
                d.wait_log("tunnel_failed", reason="dns_failed", host=names[1])
                connect(d, at(names[0])).close()  # what had expired is better than nothing
                connect(d, at(hosts[0])).close()  # no name, no DNS
                standing.sendall(b"x")
                assert read_exactly(standing, 1) == b"x"
            wait_until(lambda: connects(d, at(names[1])), 15)
            connect(d, at(names[2])).close()
        wait_until(lambda: d.count_log("tunnel_close") >= 4)


# ---- the machine ----

def test_clock_is_set(env):
    """An hour forward, two back: no tunnel, no timer and no pending request notices."""
    host = new_host(env, env.serve_echo)
    options = ("--idle-timeout", "60s", "--lifetime", "10m", "--head-timeout", "3s", "--half-close-timeout", "60s", *KEEPALIVE)
    with env.scratch() as where:
        inject = Inject(where)
        with env.daemon(allow(host, "silence.example.org"), *options, env=inject.env) as d:
            with connect(d, at(host)) as s, connect(d, at(host)) as half:
                half.shutdown(socket.SHUT_WR)
                assert is_ended(half)
                for step in (3600, -3600, 3600):
                    inject.set(clock_s=step)
                    began = time.monotonic()
                    with d.dial() as late, d.dial() as asking:
                        asking.sendall(b"CONNECT silence.example.org:7001 HTTP/1.1\r\n\r\n")
                        late.settimeout(lab.GIVE_UP_S)
                        assert b" 408 " in lab.read_head(late)
                        assert 2.5 < time.monotonic() - began < 6  # neither at once nor in an hour
                        assert b" 502 " in lab.read_head(asking)
                        assert 2.5 < time.monotonic() - began < 7
                    s.sendall(b"x")
                    assert read_exactly(s, 1) == b"x"
                    connect(d, at(host)).close()
                assert d.count_log("tunnel_close", reason="idle") + d.count_log("tunnel_close", reason="lifetime") == 0
            hours = {entry["time"][:13] for entry in d.logs}
            assert len(hours) >= 3, "the clock was never set: %r" % hours
        assert all(e.get("duration_ms", 0) < 60000 for e in d.logs)


def test_no_buffers(env):
    """ENOBUFS of connect, send and accept: each is told, none ends the daemon."""
    host = new_host(env, env.serve_echo)
    with env.scratch() as where:
        inject = Inject(where)
        with env.daemon(allow(host), "--workers", "1", env=inject.env) as d:
            with connect(d, at(host)) as s, connect(d, at(host)) as other:
                inject.set(connect_errno=errno.ENOBUFS)
                answer = refused(d, at(host))
                assert answer.status == 503 and answer.json()["error"] == "internal_error", answer.body
                d.wait_log("tunnel_failed", reason="internal_error", why="out of memory")
                inject.set(send_errno=errno.ENOBUFS)
                s.sendall(b"x")
                assert is_ended(s)
                closed = d.wait_log("tunnel_close", reason="internal_error")
                assert closed["who"] == "tunneld" and closed["error"] == "out of memory", closed
                inject.set(accept_errno=errno.ENOBUFS)
                waiting = d.dial()
                paused = d.wait_log("accept_paused")
                assert paused["error"] == "No buffer space available", paused
                other.sendall(b"x")
                assert read_exactly(other, 1) == b"x"
                inject.set()
                waiting.sendall(b"CONNECT %s HTTP/1.1\r\n\r\n" % at(host).encode())
                assert b" 200 " in lab.read_head(waiting)  # the kernel had kept it
                waiting.close()


def test_no_descriptor(env):
    """Bulk goes on without pipes, the next client hears 503, and it is over when there are descriptors again."""
    host = new_host(env, env.serve_echo)
    with env.daemon(allow(host), "--workers", "1") as d:
        with connect(d, at(host)) as s:
            pid = d.process.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            lowest = next(n for n in range(4096) if not os.path.exists("/proc/%d/fd/%d" % (pid, n)))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, hard))
            data = lab.pattern(8 * MIB, 3)
            sender = threading.Thread(target=s.sendall, args=(data,))
            sender.start()
            assert read_exactly(s, len(data)) == data
            sender.join()
            answer = refused(d, at(host))  # taken with the reserve, or with one that was closed meanwhile
            assert answer.status == 503 and answer.json()["error"] == "limit_reached", answer.body
            held = [d.dial() for _ in range(8)]
            d.wait_log("accept_paused", error="Too many open files")
            for one in held:
                one.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            wait_until(lambda: connects(d, at(host)), 15)


def data_bytes(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmData"))


def test_no_memory(env):
    """What cannot be had ends the connection that wanted it, with its reason, and nothing else."""
    if lab.is_sanitized(env.program):
        return  # a sanitizer's allocator ends the process instead
    host = new_host(env, env.serve_echo)
    raw = b"GET http://%s/ HTTP/1.1\r\nX-Slow: " % at(host).encode() + b"a" * 7000
    with env.daemon(allow(host), "--workers", "1", "--max-heads-per-client", "0", "--max-tunnels-per-client", "0",
                    "--head-timeout", "0") as d:
        pid = d.process.pid
        with connect(d, at(host)) as s:
            soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            resource.prlimit(pid, resource.RLIMIT_DATA, (data_bytes(pid) + 256 * 1024, hard))
            held = []
            for _ in range(3000):
                assert d.process.poll() is None, "it ended:\n" + "\n".join(d.stderr_lines[-5:])
                if d.count_log("tunnel_failed", reason="internal_error") > 0:
                    break
                with contextlib.suppress(OSError):  # what there is not even a session for is reset
                    held.append(d.dial())
                    held[-1].sendall(raw)
            failed = d.wait_log("tunnel_failed", reason="internal_error")
            assert failed["why"] == "out of memory", failed
            s.sendall(b"still here")
            assert read_exactly(s, 10) == b"still here"
            for one in held:
                one.close()
            resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))
            wait_until(lambda: connects(d, at(host)), 15)


ALONE = (test_slow_wire, test_blackholed_ipv6)


def prepare(_):
    nft("add counter inet faults lost")
    nft("add chain inet faults arrival { type filter hook input priority 0 ; }")


def finish(passed):
    for why in skipped:
        print("SKIP:", why, flush=True)
    return 0 if passed and not skipped else 77 if passed else 1


if __name__ == "__main__":
    main(globals(), ALONE, prepare, finish)
