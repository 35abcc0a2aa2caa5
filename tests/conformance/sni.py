# SPDX-License-Identifier: Apache-2.0
"""--sni: what begins a tunnel as TLS names the tunnel's host, or else; and nothing of anybody's is late or lost.

Everything runs in a fresh network namespace, as in tunneld.py. Arguments choose tests by name.
"""
import hashlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time

import captured
import lab
from captured import policy
from hellos import ALERT, ECH, GREASE, KEY_SHARE, extension, hello, records, sni
from lab import Daemon, connect, read_exactly, read_to_end, wait_until

ADDR, HOST, OTHER = "45.33.32.1", "host.example.org", "other.example.org"
ECHO, BANNER, DIGEST, TLS, WEB, LATE, QUITS = PORTS = range(7001, 7008)
NAMES = [HOST, OTHER, "chained.example.org"]
ENFORCE, WARN = ("--sni", "enforce"), ("--sni", "warn")


def endpoint(host, **more):
    return dict(host=host, ports=list(PORTS), **more)


ALL = policy(endpoint(HOST), endpoint(ADDR), endpoint("chained.example.org", proxy="chain"))


RIGHT, WRONG = records(hello(sni(HOST))), records(hello(sni(OTHER)))


class Lab:
    def __init__(self):
        self.program = os.path.join(os.environ["top_builddir"], "openshell-tunneld")
        self.net = lab.Netlink()
        self.net.lo_up()
        self.net.add_addr(ADDR, 32)
        self.net.add_local_route("198.18.0.0", 24, "127.0.0.1")
        self.dns = lab.Dns({(HOST, 1): [ADDR], (OTHER, 1): [ADDR]})
        self.seen = {}  # by the port of the daemon's end: what DIGEST was sent
        self.parent_heads = []
        lab.serve(ADDR, ECHO, captured.echo)
        lab.serve(ADDR, BANNER, self.serve_banner)
        lab.serve(ADDR, DIGEST, self.serve_digest)
        lab.serve(ADDR, WEB, self.serve_upgrade)
        lab.serve(ADDR, LATE, self.serve_late)
        lab.serve(ADDR, QUITS, self.serve_quits)
        lab.serve("127.0.0.1", 3999, self.serve_parent)
        self.files = tempfile.TemporaryDirectory()
        self.tls_server = None

    def stop(self):
        if self.tls_server:
            self.tls_server.kill()
            self.tls_server.wait()

    def daemon(self, *options, text=ALL):
        options += () if "--workers" in options else ("--workers", "2")
        return Daemon(self.program, text, "--upstream", "127.0.0.1:%d" % self.dns.port, "--chain-proxy",
                      "http://127.0.0.1:3999", *options)

    def start_tls(self):
        """openssl s_server that sends each line back turned round."""
        key, cert = (os.path.join(self.files.name, n) for n in ("key.pem", "cert.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "30", "-subj", "/CN=" + HOST, "-keyout", key, "-out", cert], check=True,
                       stderr=subprocess.DEVNULL)
        self.tls_server = subprocess.Popen(["openssl", "s_server", "-accept", "%s:%d" % (ADDR, TLS), "-key", key, "-cert",
                                            cert, "-rev", "-quiet"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)

        def is_up():
            try:
                socket.create_connection((ADDR, TLS), 1).close()
                return True
            except OSError:
                return False
        wait_until(is_up)

    @staticmethod
    def serve_banner(sock):
        sock.sendall(b"220 banner\r\n")
        captured.echo(sock)

    def serve_digest(self, sock):
        """The digest of all up to the FIN; kept too, for who does not read it."""
        data = read_to_end(sock)
        self.seen[sock.getpeername()[1]] = data
        sock.sendall(hashlib.sha256(data).digest())

    @staticmethod
    def serve_upgrade(sock):
        lab.read_head(sock)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n")
        captured.echo(sock)

    @staticmethod
    def serve_late(sock):
        """Speaks first, but not at once."""
        time.sleep(0.5)
        Lab.serve_banner(sock)

    @staticmethod
    def serve_quits(sock):
        sock.sendall(b"bye")

    def serve_parent(self, sock):
        """A chain proxy that is the server as well."""
        self.parent_heads.append(lab.read_head(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        captured.echo(sock)


def at(port, host=HOST):
    return "%s:%d" % (host, port)


def is_refused(sock):
    """The alert, and then the end and not a reset, however much was sent."""
    return read_to_end(sock) == ALERT


def send_in(sock, data, size):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(0, len(data), size):
        sock.sendall(data[i:i + size])


# ---- who names what ----

def test_enforce(env):
    text = b"behind the hello"
    with env.daemon(*ENFORCE) as d:
        fine = [RIGHT, records(hello(GREASE, sni(HOST.upper() + "."), ECH)), records(hello(KEY_SHARE, sni(HOST))),
                records(hello(extension(21, bytes(17000)), sni(HOST)))]
        for one in fine:
            with connect(d, at(ECHO)) as s:
                s.sendall(one + text)
                assert read_exactly(s, len(one + text)) == one + text
        bad = [(WRONG, "another host", OTHER), (records(hello(GREASE)), "names no host", "-"),
               (records(hello(sni(HOST, HOST))), "several", HOST), (records(hello(sni("a\xe9.example"))), "ASCII", None),
               (records(hello(sni(HOST), sni(HOST))), "malformed", HOST), (records(hello(sni(ADDR))), "another", ADDR),
               (b"\x15\3\1\0\2\1\x5a" + RIGHT, "malformed", "-"), (b"\x16\3\1\x80\0", "malformed", "-"),
               (b"\x80\x2e\1\3\3\0\x15\0\0\0\x10" + bytes(37), "names no host", "-"),
               (records(hello(sni(HOST), extension(21, bytes(40000)))), "too long", "-")]
        for one, why, name in bad:
            start = len(d.logs)
            with connect(d, at(DIGEST)) as s:
                s.sendall(one + text)
                assert is_refused(s), why
            said = d.wait_log("sni_mismatch", start=start)
            assert why in said["why"] and said["host"] == HOST and said["port"] == DIGEST, said
            assert name is None or said["sni"] == name, said
            assert said["effect"] == "closed" and said["level"] == "warn" and said["via"] == "connect", said
            closed = d.wait_log("tunnel_close", start=start, reason="sni_mismatch")
            assert closed["who"] == "tunneld" and closed["host"] == HOST, closed
            assert closed["bytes_up"] == 0 and closed["bytes_down"] == 0, closed
        wait_until(lambda: list(env.seen.values()).count(b"") >= len(bad))
        assert not any(text in data for data in env.seen.values())  # not a byte has reached the server
        d.wait_count(len(fine) + len(bad), "tunnel_open")
        d.wait_count(len(fine) + len(bad), "tunnel_close")


def test_addresses(env):
    """RFC 6066 has no name for an address: a hello for one names none, or that address."""
    with env.daemon(*ENFORCE) as d:
        for one in (records(hello()), records(hello(GREASE)), records(hello(sni(ADDR)))):
            with connect(d, at(ECHO, ADDR)) as s:
                s.sendall(one)
                assert read_exactly(s, len(one)) == one
        for one in (RIGHT, records(hello(sni("45.33.32.2")))):
            with connect(d, at(ECHO, ADDR)) as s:
                s.sendall(one)
                assert is_refused(s)


def test_warn_and_off(env):
    with env.daemon(*WARN) as d:
        for one in (WRONG, records(hello()), b"\x16\3\1\0\0" + RIGHT):
            with connect(d, at(ECHO)) as s:
                s.sendall(one)
                assert read_exactly(s, len(one)) == one
        said = d.wait_log("sni_mismatch", sni=OTHER)
        assert said["effect"] == "passed" and said["host"] == HOST, said
        d.wait_count(3, "sni_mismatch")
        d.wait_count(3, "tunnel_close")
        d.wait_count(0, "tunnel_close", reason="sni_mismatch")
    with env.daemon() as d:
        with connect(d, at(ECHO)) as s:
            s.sendall(WRONG)
            assert read_exactly(s, len(WRONG)) == WRONG
        assert d.count_log("sni_mismatch") == 0


def test_ech(env):
    """What is seen of ECH is the outer name: it is the one that is compared, and the log says that it is."""
    with env.daemon("--log-level", "debug", *ENFORCE) as d:
        with connect(d, at(ECHO)) as s:
            one = records(hello(sni(HOST), ECH))
            s.sendall(one)
            assert read_exactly(s, len(one)) == one
        assert d.wait_log("sni_ech")["ech"] == HOST
        with connect(d, at(ECHO)) as s:
            s.sendall(records(hello(ECH, sni(OTHER))))
            assert is_refused(s)
        said = d.wait_log("sni_mismatch")
        assert said["ech"] == OTHER and said["sni"] == OTHER, said


# ---- every byte, once, in its order ----

def test_bytes(env):
    rng = random.Random(8)
    kinds = [hello(sni(HOST)), hello(KEY_SHARE, GREASE, sni(HOST)), hello(extension(21, bytes(15000)), sni(HOST))]
    tail = lab.pattern(300000, 11)
    with env.daemon(*ENFORCE) as d:
        for message in kinds:
            for record in (1, 7, 200, 16384):
                one = records(message, record)
                if len(one) > 65536:
                    continue
                cut = rng.randrange(1, len(one))
                ways = [lambda s, x: s.sendall(x), lambda s, x: send_in(s, x[:400], 1) or s.sendall(x[400:]),
                        lambda s, x, n=cut: s.sendall(x[:n]) or time.sleep(0.01) or s.sendall(x[n:])]
                for way in ways:
                    with connect(d, at(DIGEST)) as s:
                        way(s, one + tail)
                        s.shutdown(socket.SHUT_WR)
                        assert read_to_end(s) == hashlib.sha256(one + tail).digest(), (len(message), record)
        for early in (3, len(RIGHT), len(RIGHT) + 9000):  # behind the request, in one segment with it
            both = RIGHT + tail
            with connect(d, at(DIGEST), both[:early]) as s:
                s.sendall(both[early:])
                s.shutdown(socket.SHUT_WR)
                assert read_to_end(s) == hashlib.sha256(both).digest()
        assert d.count_log("sni_mismatch") == 0
        with connect(d, at(DIGEST), WRONG[:20]) as s:
            s.sendall(WRONG[20:])
            assert is_refused(s)


def test_not_tls(env):
    """Passes from its first byte: the echo comes although --sni-wait is longer than anybody waits here."""
    with env.daemon("--sni-wait", "1h", *ENFORCE) as d:
        for first in (b"S", b"GET / HTTP/1.1\r\n", b"\0\0\0\x08\4\xd2\x16\x2f", b"\x17\3\3", b"\x82\xfe\0\x7e",
                      b"\xff\xfb\1"):
            with connect(d, at(ECHO)) as s:
                s.sendall(first)
                assert read_exactly(s, len(first)) == first
                s.sendall(WRONG)  # what begins later is not looked at
                assert read_exactly(s, len(WRONG)) == WRONG
        assert d.count_log("sni_mismatch") == 0


def test_server_first(env):
    with env.daemon("--sni-wait", "1h", *ENFORCE) as d:
        for port in (BANNER, LATE):
            with connect(d, at(port)) as s:
                assert read_exactly(s, 12) == b"220 banner\r\n"
                for _ in range(3):
                    s.sendall(b"\x16\3\1 whatever")
                    assert read_exactly(s, 12) == b"\x16\3\1 whatever"
        with connect(d, at(QUITS)) as s:
            assert read_to_end(s) == b"bye"
        assert d.count_log("sni_mismatch") == 0


def test_silence_is_no_way_around(env):
    """A client that only waits is looked at when it speaks."""
    with env.daemon("--sni-wait", "100ms", *ENFORCE) as d:
        with connect(d, at(ECHO)) as late, connect(d, at(ECHO)) as wrong:
            time.sleep(0.5)
            late.sendall(RIGHT)
            assert read_exactly(late, len(RIGHT)) == RIGHT
            wrong.sendall(WRONG)
            assert is_refused(wrong)


# ---- a hello that does not come to an end ----

def test_wait(env):
    with env.daemon("--sni-wait", "300ms", *ENFORCE) as d:
        with connect(d, at(DIGEST)) as s:
            began = time.monotonic()
            s.sendall(RIGHT[:-1])
            assert is_refused(s)
            assert 0.25 < time.monotonic() - began < 5
        assert "--sni-wait" in d.wait_log("sni_mismatch")["why"]
    with env.daemon("--sni-wait", "300ms", *WARN) as d:
        with connect(d, at(ECHO)) as s:
            s.sendall(WRONG[:-1])
            assert read_exactly(s, len(WRONG) - 1) == WRONG[:-1]
            s.sendall(WRONG[-1:])
            assert read_exactly(s, 1) == WRONG[-1:]
        assert d.wait_log("sni_mismatch")["effect"] == "passed"
    with env.daemon("--sni-wait", "0", *ENFORCE) as d:
        with connect(d, at(ECHO)) as s:
            s.sendall(RIGHT[:-1])
            assert not lab.is_ended(s, 1.0)
            s.settimeout(lab.GIVE_UP_S)
            s.sendall(RIGHT[-1:])
            assert read_exactly(s, len(RIGHT)) == RIGHT


def test_ends(env):
    """Whoever ends whenever: it is seen, said, and leaves nothing behind."""
    with env.daemon("--sni-wait", "1h", *ENFORCE) as d:
        wait_until(lambda: connect(d, at(ECHO)).close() is None)
        before, = lab.fds_at_rest([d])
        with connect(d, at(DIGEST)) as s:  # FIN, and nothing in front of it
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == hashlib.sha256(b"").digest()
        with connect(d, at(DIGEST)) as s:  # FIN in the middle of a hello
            s.sendall(RIGHT[:50])
            s.shutdown(socket.SHUT_WR)
            assert is_refused(s)
        for times, sent in enumerate((b"", RIGHT[:50]), 1):
            s = connect(d, at(ECHO))
            s.sendall(sent)
            lab.reset(s)
            d.wait_count(times, "tunnel_close", reason="client_reset", who="client")
        wait_until(lambda: d.fd_count() <= before)


def test_timers_and_reload(env):
    """A tunnel that is looked at is a tunnel: its timers run, a new policy closes it, so does the end."""
    for option, reason in (("--idle-timeout", "idle"), ("--lifetime", "lifetime")):
        with env.daemon(option, "400ms", "--sni-wait", "1h", *ENFORCE) as d:
            for sent in (b"", RIGHT[:30]):
                with connect(d, at(ECHO)) as s:
                    s.sendall(sent)
                    assert lab.is_ended(s, 5)
            d.wait_count(2, "tunnel_close", reason=reason, who="tunneld")
    with env.daemon("--revoke-grace", "200ms", "--sni-wait", "1h", *ENFORCE) as d:
        with connect(d, at(ECHO)) as s, connect(d, at(ECHO)) as t:
            t.sendall(RIGHT[:30])
            time.sleep(0.2)
            d.reload(ALL + "# the same\n")
            d.reload(policy(endpoint(OTHER)))
            assert lab.is_ended(s, 5) and lab.is_ended(t, 5)
        d.wait_count(2, "tunnel_close", reason="policy_changed")
    with env.daemon("--drain-timeout", "300ms", "--sni-wait", "1h", *ENFORCE) as d:
        with connect(d, at(ECHO)) as s, connect(d, at(ECHO)) as t:
            t.sendall(RIGHT[:30])
            d.process.send_signal(signal.SIGTERM)
            assert lab.is_ended(s, 5) and lab.is_ended(t, 5)
        assert d.process.wait(5) == 0
        d.wait_count(2, "tunnel_close", reason="shutdown")


# ---- the other ways in and out ----

def test_capture(env):
    m = captured.Map([HOST], (ECHO, BANNER))
    with env.daemon(*m.options, *ENFORCE) as d:
        with m.dial(HOST, ECHO) as s:
            send_in(s, RIGHT, 1)
            assert read_exactly(s, len(RIGHT)) == RIGHT
        with m.dial(HOST, ECHO) as s:
            send_in(s, WRONG, 1)
            assert is_refused(s)
        assert d.wait_log("sni_mismatch")["via"] == "capture"
        with m.dial(HOST, BANNER) as s:
            assert read_exactly(s, 12) == b"220 banner\r\n"


def test_chain(env):
    with env.daemon(*ENFORCE) as d:
        right, wrong = (records(hello(sni(n))) for n in ("chained.example.org", HOST))
        with connect(d, at(ECHO, "chained.example.org")) as s:
            s.sendall(right)
            assert read_exactly(s, len(right)) == right
        with connect(d, at(ECHO, "chained.example.org")) as s:
            s.sendall(wrong)
            assert is_refused(s)
        assert d.wait_log("sni_mismatch")["host"] == "chained.example.org"
        assert len(env.parent_heads) == 2


def test_forwarded(env):
    """What follows a 101 was agreed on in plain text: it is not looked at."""
    with env.daemon(*ENFORCE) as d:
        with d.dial() as s:
            s.sendall(b"GET http://%s:%d/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                      b"Upgrade: own\r\n\r\n" % (HOST.encode(), WEB))
            assert b" 101 " in lab.read_head(s)
            s.sendall(WRONG)
            assert read_exactly(s, len(WRONG)) == WRONG


# ---- real TLS ----

class Splitter:
    """Takes one connection, opens a tunnel for it, and sends what the client says on byte by byte."""

    def __init__(self, daemon, target):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.up = None
        threading.Thread(target=self.run, args=(daemon, target), daemon=True).start()

    def run(self, daemon, target):
        conn, _ = self.listening.accept()
        self.listening.close()
        self.up = connect(daemon, target)
        threading.Thread(target=self.copy, args=(self.up, conn, 65536), daemon=True).start()
        self.copy(conn, self.up, 1)

    @staticmethod
    def copy(source, to, size):
        try:
            source.settimeout(30)
            while True:
                data = source.recv(65536)
                if not data:
                    break
                send_in(to, data, size)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_openssl(env):
    env.start_tls()
    with env.daemon(*ENFORCE) as d:
        for version in ("-tls1_2", "-tls1_3"):
            for split in (True, False):
                splitter = Splitter(d, at(TLS)) if split else None
                # without the splitter s_client asks for the tunnel itself
                way = () if split else ("-proxy", "127.0.0.1:%d" % d.port)
                options = ["-servername", HOST, "-quiet"]
                said = tls_line(splitter.port if split else None, version, way, options)
                assert "txet fo enil eno" in said, said
        for version in ("-tls1_2", "-tls1_3"):
            for name in (["-servername", OTHER], ["-noservername"]):
                start = len(d.logs)
                said = tls_line(Splitter(d, at(TLS)).port, version, (), name)
                assert "alert access denied" in said and "SSL alert number 49" in said, said
                d.wait_log("tunnel_close", reason="sni_mismatch", start=start)


def tls_line(port, version, way, options):
    """What openssl s_client says to a line that the server sends back turned round."""
    where = "127.0.0.1:%d" % port if port else at(TLS)
    p = subprocess.Popen(["openssl", "s_client", "-connect", where, *way, version, *options], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = []
    try:
        p.stdin.write(b"one line of text\n")
        p.stdin.flush()
        while not said or b"txet" not in said[-1]:
            line = p.stdout.readline()
            if not line:
                break
            said.append(line)
    except BrokenPipeError:
        said += p.stdout.readlines()
    finally:
        p.kill()
        p.wait()
    return b"".join(said).decode("utf-8", "replace")


captured.main(Lab, globals())
