# SPDX-License-Identifier: Apache-2.0
"""openshell-tunneld over real sockets: one test per promise of its manual.

Loopback is never dialled, so everything runs in a fresh network namespace whose lo also has addresses that look
public. Arguments choose tests by name.
"""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import lab
from lab import Daemon, connect, read_exactly, read_to_end, refused, request, wait_until

ADDR4, ADDR6, GONE4 = "45.33.32.1", "2600:9000::1", "45.33.32.9"
SILENT6 = "2600:9000::bad"
OWN4 = "45.33.32.2"
ECHO, BANNER, DIGEST, FIN_FIRST, STALL, DRIP, MUTE, HANGUP, CLOSED, SILENT = range(7001, 7011)
PORTS = list(range(7001, 7011))
MIB = 1 << 20
POOL4, POOL6 = "198.18.0.0/24", "fd00:5e11::/64"

ZONE = {
    ("echo.example.org", 1): [ADDR4],
    ("echo.example.org", 28): [ADDR6],
    ("four.example.org", 1): [ADDR4],
    ("gone.example.org", 1): [GONE4],
    ("dual.example.org", 1): [ADDR4],
    ("dual.example.org", 28): [SILENT6],
    ("half.example.org", 1): [ADDR4],
    ("half.example.org", 28): None,
    ("badv6.example.org", 1): [ADDR4],
    ("badv6.example.org", 28): 2,
    ("silent6.example.org", 28): [SILENT6],
    ("servfail.example.org", 1): 2,
    ("servfail.example.org", 28): 2,
    ("silence.example.org", 1): None,
    ("silence.example.org", 28): None,
    ("empty.example.org", 16): [],
    ("mixed.wild.example.org", 1): ["127.0.0.1", ADDR4],
    ("loop.wild.example.org", 1): ["127.0.0.1"],
    ("meta.wild.example.org", 1): ["169.254.169.254"],
    ("ten.wild.example.org", 1): ["10.1.2.3"],
    ("six.wild.example.org", 28): ["::1"],
    ("mapped.wild.example.org", 28): ["::ffff:45.33.32.1"],
    ("self.wild.example.org", 1): [OWN4],
}


def policy(*endpoints, extra="", binaries="/**"):
    """A policy with one rule per endpoint; JSON is YAML."""
    text = "version: 1\nnetwork_policies:\n"
    for i, one in enumerate(endpoints):
        rule = dict(name="rule%d" % i, endpoints=[one], binaries=[dict(path=binaries)])
        text += "  rule%d: %s\n" % (i, json.dumps(rule))
    return text + extra


def endpoint(host, **more):
    return dict(host=host, ports=PORTS, **more)


ALL = policy(*[endpoint(h) for h in sorted({name for name, _ in ZONE if ".wild." not in name})],
             endpoint("nx.example.org"), endpoint("*.wild.example.org"), endpoint(ADDR4), endpoint(ADDR6))


class Lab:
    def __init__(self):
        top = os.environ["top_builddir"]
        self.program = os.path.join(top, "openshell-tunneld")
        self.map_write = os.path.join(top, "tests", "conformance", "map_write")
        self.lab_net = lab.Netlink()
        self.lab_net.lo_up()
        for text in (ADDR4, GONE4, OWN4):
            self.lab_net.add_addr(text, 32)
        for text in (ADDR6, SILENT6):
            self.lab_net.add_addr(text, 128)
        self.lab_net.add_local_route("198.18.0.0", 24, "127.0.0.1")
        self.lab_net.add_local_route("fd00:5e11::", 64)
        self.dns = lab.Dns(ZONE)
        self.digests = {}
        self.stalled = threading.Event()
        for host in (ADDR4, ADDR6, GONE4):
            lab.serve(host, ECHO, self.serve_echo)
        lab.serve(ADDR4, BANNER, self.serve_banner)
        lab.serve(ADDR4, DIGEST, self.serve_digest)
        lab.serve(ADDR4, FIN_FIRST, self.serve_fin_first)
        lab.serve(ADDR4, STALL, self.serve_stall)
        lab.serve(ADDR4, DRIP, self.serve_drip)
        lab.serve(ADDR4, MUTE, self.serve_mute)
        lab.serve(ADDR4, HANGUP, self.serve_hangup)
        self.held = lab.silent_listener(SILENT6, ECHO) + lab.silent_listener(ADDR4, SILENT)

    @staticmethod
    def scratch():
        return tempfile.TemporaryDirectory()

    def daemon(self, text, *options, env=None):
        if "--workers" not in options:
            options += ("--workers", "4")  # more than most machines that test have: something to race with
        # test_brakes.py is about the brakes; here one address stands for many clients
        return Daemon(self.program, text, "--upstream", "127.0.0.1:%d" % self.dns.port, "--rate-limit", "0", *options,
                      env=env)

    @staticmethod
    def serve_echo(sock):
        while True:
            data = sock.recv(65536)
            if not data:
                return
            sock.sendall(data)

    @staticmethod
    def serve_banner(sock):
        sock.sendall(b"SSH-2.0-banner\r\n")
        Lab.serve_echo(sock)

    @staticmethod
    def serve_digest(sock):
        """The request up to its FIN, then its digest and a long answer."""
        data = read_to_end(sock)
        sock.sendall(hashlib.sha256(data).digest() + lab.pattern(MIB, 2))

    def serve_fin_first(self, sock):
        """A long answer and FIN first; what the client sends afterwards is kept by its first eight bytes."""
        sock.sendall(lab.pattern(MIB, 3))
        sock.shutdown(socket.SHUT_WR)
        data = read_to_end(sock)
        self.digests[data[:8]] = hashlib.sha256(data).digest()

    def serve_stall(self, sock):
        """Reads nothing until told, then everything."""
        self.stalled.wait(60)
        sock.sendall(hashlib.sha256(read_to_end(sock)).digest())

    @staticmethod
    def serve_drip(sock):
        while True:
            sock.sendall(b".")
            time.sleep(0.2)

    @staticmethod
    def serve_mute(sock):
        """Never says anything and never ends by itself."""
        time.sleep(60)

    @staticmethod
    def serve_hangup(sock):
        """Echoes one message, then resets."""
        sock.sendall(sock.recv(100))
        sock.recv(1)
        lab.reset(sock)


# ---- tunnels ----

def test_connect(env):
    with env.daemon(ALL) as d:
        for target in ("echo.example.org:%d", "ECHO.Example.ORG.:%d", ADDR4 + ":%d", "[" + ADDR6 + "]:%d"):
            with connect(d, target % ECHO) as s:
                s.sendall(b"hello")
                assert read_exactly(s, 5) == b"hello"
        opened = d.wait_log("tunnel_open")
        assert opened["host"] == "echo.example.org" and opened["port"] == ECHO, opened
        assert opened["rule"].startswith("rule") and opened["via"] == "connect", opened
        assert opened["addr"] == "[%s]:%d" % (ADDR6, ECHO), opened
        assert opened["connect_ms"] < 2000 and opened["client"].startswith("127.0.0.1:"), opened
        closed = d.wait_log("tunnel_close")
        assert closed["reason"] == "client_closed" and closed["who"] == "client", closed
        assert closed["bytes_up"] == 5 and closed["bytes_down"] == 5, closed
        assert closed["duration_ms"] >= 0, closed


def test_early_bytes(env):
    with env.daemon(ALL) as d:
        with connect(d, "four.example.org:%d" % ECHO, b"early bytes") as s:
            s.sendall(b" and later ones")
            assert read_exactly(s, 26) == b"early bytes and later ones"
        early = lab.pattern(40000, 9)
        with connect(d, "four.example.org:%d" % ECHO, early) as s:
            assert read_exactly(s, len(early)) == early
        with connect(d, "four.example.org:%d" % DIGEST, b"x") as s:  # and FIN at once
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s)[:32] == hashlib.sha256(b"x").digest()


def test_server_first(env):
    with env.daemon(ALL) as d:
        with connect(d, "four.example.org:%d" % BANNER) as s:
            assert read_exactly(s, 16) == b"SSH-2.0-banner\r\n"


def test_half_close_client_first(env):
    sent = lab.pattern(MIB, 1)
    with env.daemon(ALL) as d:
        with connect(d, "four.example.org:%d" % DIGEST) as s:
            s.sendall(sent)
            s.shutdown(socket.SHUT_WR)
            answer = read_to_end(s)
        assert answer[:32] == hashlib.sha256(sent).digest()
        assert answer[32:] == lab.pattern(MIB, 2)
        closed = d.wait_log("tunnel_close")
        assert closed["reason"] == "client_closed" and closed["bytes_up"] == MIB, closed
        assert closed["bytes_down"] == MIB + 32, closed


def test_half_close_server_first(env):
    sent = b"finfirst" + lab.pattern(MIB, 4)
    with env.daemon(ALL) as d:
        with connect(d, "four.example.org:%d" % FIN_FIRST) as s:
            assert read_to_end(s) == lab.pattern(MIB, 3)
            s.sendall(sent)
        closed = d.wait_log("tunnel_close")
        assert closed["reason"] == "upstream_closed" and closed["who"] == "upstream", closed
        assert closed["bytes_up"] == len(sent), closed
    wait_until(lambda: b"finfirst" in env.digests)
    assert env.digests[b"finfirst"] == hashlib.sha256(sent).digest()


def test_back_pressure(env):
    """A sender is stopped by a reader that sleeps; the daemon does not keep what was sent; nothing is lost."""
    sent = lab.pattern(48 * MIB, 5)
    with env.daemon(ALL) as d:
        with connect(d, "four.example.org:%d" % ECHO) as s:
            s.sendall(b"warm")
            read_exactly(s, 4)
        before = d.rss_kib()
        with connect(d, "four.example.org:%d" % STALL) as s:
            s.settimeout(1.0)
            done = 0
            try:
                while done < len(sent):
                    done += s.send(sent[done:done + 65536])
            except socket.timeout:
                pass
            assert done < len(sent), "the sender was never stopped"
            assert d.rss_kib() - before < 4096, (before, d.rss_kib())
            env.stalled.set()
            s.settimeout(30)
            s.sendall(memoryview(sent)[done:])
            s.shutdown(socket.SHUT_WR)
            assert read_exactly(s, 32) == hashlib.sha256(sent).digest()


def test_pipes_at_rest(env):
    """Bulk goes through pipes, one pipe for a direction; tunnels that have carried it hold none afterwards."""
    kept = 2 * 8  # PIPE_POOL_KEPT of the one worker, two descriptors each
    data = lab.pattern(MIB, 6)
    with env.daemon(ALL, "--workers", "1") as d:
        first = d.pipe_count()
        tunnels = [connect(d, "four.example.org:%d" % ECHO) for _ in range(12)]
        sent = [0] * len(tunnels)
        for i, s in enumerate(tunnels):  # an echo that is not read: both directions fill up
            s.settimeout(0.2)
            try:
                while True:
                    sent[i] += s.send(data)
            except socket.timeout:
                pass
        assert d.pipe_count() - first > kept
        for i, s in enumerate(tunnels):
            s.settimeout(lab.GIVE_UP_S)
            read_exactly(s, sent[i])
        wait_until(lambda: d.pipe_count() - first <= kept)
        assert d.count_log("tunnel_close") == 0


def test_slow_client(env):
    """The other direction: a client that does not read stops the server, and gets every byte in the end."""
    with env.daemon(ALL) as d:
        with connect(d, "four.example.org:%d" % DIGEST) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            s.shutdown(socket.SHUT_WR)
            time.sleep(0.5)
            assert read_to_end(s)[32:] == lab.pattern(MIB, 2)


def test_resets_are_passed_on(env):
    with env.daemon(ALL) as d:
        s = connect(d, "four.example.org:%d" % MUTE)
        lab.reset(s)
        closed = d.wait_log("tunnel_close")
        assert closed["reason"] == "client_reset" and closed["who"] == "client", closed
        s = connect(d, "four.example.org:%d" % HANGUP)
        s.sendall(b"ping")
        assert read_exactly(s, 4) == b"ping"
        s.sendall(b"!")
        try:
            assert s.recv(1) is None, "the reset became a clean end"
        except ConnectionResetError:
            pass
        s.close()
        d.wait_log("tunnel_close", reason="upstream_reset", who="upstream")


# ---- timers ----

def test_idle(env):
    with env.daemon(ALL, "--idle-timeout", "1s") as d:
        began = time.monotonic()
        with connect(d, "four.example.org:%d" % ECHO) as s, connect(d, "four.example.org:%d" % DRIP) as stream:
            assert lab.is_ended(s, 5)
            assert 0.9 < time.monotonic() - began < 4
            closed = d.wait_log("tunnel_close")
            assert closed["reason"] == "idle" and closed["who"] == "tunneld", closed
            assert closed["duration_ms"] >= 1000, closed
            read_exactly(stream, 15)  # 3 s of one-way traffic: one clock for both directions
            d.wait_count(1, "tunnel_close")


def test_idle_zero_is_never(env):
    """0 in the option beats 1s in egress.defaults; 1s at an endpoint beats the option."""
    text = policy(endpoint("four.example.org"), endpoint("echo.example.org", timeouts=dict(idle="1s")),
                  extra="egress:\n  defaults: { timeouts: { idle: 500ms } }\n")
    with env.daemon(text, "--idle-timeout", "0") as d:
        with connect(d, "four.example.org:%d" % ECHO) as s, connect(d, "echo.example.org:%d" % ECHO) as other:
            assert lab.is_ended(other, 5)
            d.wait_log("tunnel_close", reason="idle", host="echo.example.org")
            time.sleep(1.2)
            s.sendall(b"alive")
            assert read_exactly(s, 5) == b"alive"


def test_idle_from_defaults_and_environment(env):
    text = policy(endpoint("four.example.org"), extra="egress:\n  defaults: { timeouts: { idle: 1s } }\n")
    with env.daemon(text) as d:
        with connect(d, "four.example.org:%d" % ECHO) as s:
            assert lab.is_ended(s, 5)
    variables = dict(os.environ, OPENSHELL_TUNNELD_IDLE_TIMEOUT="0")
    with env.daemon(text, env=variables) as d:
        with connect(d, "four.example.org:%d" % ECHO) as s:
            assert not lab.is_ended(s, 1.8)


def test_lifetime(env):
    with env.daemon(ALL, "--lifetime", "1s") as d:
        with connect(d, "four.example.org:%d" % DRIP) as s:
            read_to_end(s)
        d.wait_log("tunnel_close", reason="lifetime", who="tunneld")


def test_half_close_timer(env):
    with env.daemon(ALL, "--half-close-timeout", "1s") as d:
        with connect(d, "four.example.org:%d" % MUTE) as s, connect(d, "four.example.org:%d" % DRIP) as stream:
            s.shutdown(socket.SHUT_WR)
            stream.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            assert lab.is_ended(s, 5)
            assert 0.9 < time.monotonic() - began < 4
            d.wait_log("tunnel_close", reason="half_closed", who="tunneld")
            read_exactly(stream, 15)  # every byte of the other direction restarts it
            d.wait_count(1, "tunnel_close")


def test_half_close_zero_is_never(env):
    with env.daemon(ALL, "--half-close-timeout", "0") as d:
        with connect(d, "four.example.org:%d" % MUTE) as s:
            s.shutdown(socket.SHUT_WR)
            assert not lab.is_ended(s, 1.5)


def tcp_rows():
    """(local port, remote port, state, timer, inode) of each IPv4 socket (proc_net_tcp)."""
    with open("/proc/self/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            field = line.split()
            yield (int(field[1].split(":")[1], 16), int(field[2].split(":")[1], 16), field[3], field[5], int(field[9]))


def is_accepted(client):
    """The daemon has taken the connection: one that is only queued has no inode."""
    here, there = client.getsockname()[1], client.getpeername()[1]
    return any(row[:2] == (there, here) and row[4] != 0 for row in tcp_rows())


def keepalive_timers(port):
    """How many established sockets with this local or remote port run the keepalive timer."""
    return sum(1 for row in tcp_rows() if port in row[:2] and row[2] == "01" and row[3].startswith("02:"))


def test_keepalive_on_both_legs(env):
    env.lab_net.add_addr("45.33.32.20", 32)
    lab.serve("45.33.32.20", 7020, Lab.serve_mute)
    text = policy(dict(host="45.33.32.20", port=7020))
    for option, want in (("60s,15s,4", 1), ("off", 0)):
        with env.daemon(text, "--keepalive", option) as d:
            with connect(d, "45.33.32.20:7020"):
                assert keepalive_timers(d.port) == want, option  # the test's own sockets have none
                assert keepalive_timers(7020) == want, option


def test_vanished_peer(env):
    """Its address is taken away: nothing it was sent is answered any more, nor refused."""
    text = policy(endpoint("gone.example.org"))
    with env.daemon(text, "--keepalive", "1s,1s,2") as d:
        with connect(d, "gone.example.org:%d" % ECHO) as s:
            s.sendall(b"there")
            assert read_exactly(s, 5) == b"there"
            env.lab_net.del_addr(GONE4, 32)
            began = time.monotonic()
            assert lab.is_ended(s, 9)
            assert 1.5 < time.monotonic() - began < 8
        d.wait_log("tunnel_close", reason="peer_vanished", who="upstream")


# ---- requests ----

def test_bad_heads(env):
    good = b"CONNECT four.example.org:7001 HTTP/1.1\r\n"
    table = [
        (b"GET http://u@four.example.org/ HTTP/1.1\r\nHost: four.example.org\r\n\r\n", 400, "Authorization"),
        (b"GET https://four.example.org/ HTTP/1.1\r\n\r\n", 400, "CONNECT"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "this is a proxy"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", 400, "this is a proxy"),
        (b"GET ftp://x/ HTTP/1.1\r\n\r\n", 400, "this is a proxy"),
        (b"TRACE / HTTP/1.1\r\n\r\n", 405, "TRACE"),
        (good + b"Host: a\r\nHost: b\r\n\r\n", 400, "more than one Host"),
        (good + b"Content-Length: 3\r\n\r\n", 400, "body"),
        (good + b"Transfer-Encoding: chunked\r\n\r\n", 400, "body"),
        (good + b" folded\r\n\r\n", 400, "folding"),
        (good[:-2] + b"\n\n", 400, "CR LF"),
        (b"CONNECT four.example.org HTTP/1.1\r\n\r\n", 400, "host:port"),
        (b"CONNECT four.example.org:0 HTTP/1.1\r\n\r\n", 400, "port"),
        (b"CONNECT four.example.org:65536 HTTP/1.1\r\n\r\n", 400, "port"),
        (b"CONNECT u@four.example.org:443 HTTP/1.1\r\n\r\n", 400, "host:port"),
        (b"CONNECT four..example.org:443 HTTP/1.1\r\n\r\n", 400, "label"),
        (b"CONNECT 0x7f000001:443 HTTP/1.1\r\n\r\n", 400, ""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request line"),
        (good + b"X: " + b"a" * 8192 + b"\r\n\r\n", 431, "8192"),
        (good + b"X: " + b"a" * 200000, 431, "8192"),
    ]
    errors = {400: "bad_request", 405: "method_not_allowed", 431: "head_too_large"}
    with env.daemon(ALL) as d:
        for raw, status, text in table:
            answer = request(d, raw)
            body = answer.json()
            assert answer.status == status, (raw[:60], answer.status)
            assert body["error"] == errors[status] and text in body["reason"], (raw[:60], body)
            assert "error=http_request_error" in answer.fields["Proxy-Status"], answer.fields
            assert (answer.fields.get("Allow", "").startswith("CONNECT, GET")) == (status == 405)
        d.wait_log("request_refused", reason="bad_request")
        for fine in (b"Content-Length: 0\r\n", b"Host: other.example\r\n", b""):
            with d.dial() as s:
                s.sendall(good + fine + b"\r\n")
                assert b" 200 " in lab.read_head(s)


def test_head_in_pieces(env):
    with env.daemon(ALL) as d:
        with d.dial() as s:
            for byte in b"CONNECT four.example.org:7001 HTTP/1.0\r\nHost:\r\n\r\n":
                s.sendall(bytes([byte]))
            assert b" 200 " in lab.read_head(s)


def test_head_timeout(env):
    with env.daemon(ALL, "--head-timeout", "500ms") as d:
        with d.dial() as s, d.dial() as loris:
            began = time.monotonic()
            for byte in b"CONNECT":
                loris.sendall(bytes([byte]))
                time.sleep(0.05)
            for sock in (s, loris):
                head = lab.read_head(sock)
                assert b" 408 " in head, head
                assert json.loads(read_to_end(sock))["error"] == "head_timeout"
            assert 0.4 < time.monotonic() - began < 4
    with env.daemon(ALL, "--head-timeout", "0") as d:
        with d.dial() as s:
            assert not lab.is_ended(s, 1.0)


def test_denied(env):
    with env.daemon(ALL) as d:
        refused(d, "warm.example.org:443")
        times = []
        for _ in range(5):
            began = time.monotonic()
            answer = refused(d, "other.example.org:443")
            times.append(time.monotonic() - began)
        assert min(times) < 0.1, times
        body = answer.json()
        assert answer.status == 403 and body["error"] == "policy_denied", body
        assert "other.example.org" in body["rule_missing"] and "443" in body["rule_missing"], body
        assert "other.example.org:443" in body["detail"], body
        assert "error=http_request_denied" in answer.fields["Proxy-Status"], answer.fields
        denied = d.wait_log("tunnel_denied", host="other.example.org")
        assert denied["level"] == "warn" and denied["rule"] == "none" and denied["port"] == 443, denied
        assert denied["reason"] == "policy_denied" and denied["via"] == "connect", denied
        assert refused(d, "four.example.org:443").status == 403  # a name that is admitted on other ports
        assert refused(d, "45.33.32.9:%d" % ECHO).json()["error"] == "policy_denied"
        assert "45.33.32.9" in refused(d, "45.33.32.9:%d" % ECHO).json()["rule_missing"]
        for never in ("127.0.0.1", "[::1]", "169.254.169.254", "198.18.0.9"):  # no rule would open these
            body = refused(d, "%s:%d" % (never, ECHO)).json()
            assert body["error"] == "policy_denied" and "rule_missing" not in body, body
            assert "would not help: " in body["reason"], body
    assert not any(name.startswith("other.") for name, _ in env.dns.asked)


def test_denials_are_rate_limited(env):
    """What is not logged is counted: the number appears once there is room again."""
    with env.daemon(ALL, "--workers", "1") as d:
        until = time.monotonic() + lab.GIVE_UP_S
        asked = []

        def flood():
            while time.monotonic() < until and not any("suppressed" in e for e in d.logs):
                assert refused(d, "x.example.org:1").status == 403
                asked.append(1)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for flooding in [pool.submit(flood) for _ in range(8)]:
                flooding.result()
        assert d.wait_log("tunnel_denied")["level"] == "warn"
        assert any(e.get("suppressed", 0) > 0 for e in d.logs)
        assert d.count_log("tunnel_denied") < len(asked)


def test_suppressed_is_told_at_the_end(env):
    """A burst, then nothing: what had no line was never told."""
    with env.daemon(ALL, "--workers", "1") as d:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda i: refused(d, "x%d.example.org:1" % i), range(250)):
                assert answer.status == 403
        d.process.terminate()
        assert d.process.wait(lab.END_S) == 0
        d.wait_log("stopped")
        lines = [e for e in d.logs if e.get("event") == "tunnel_denied"]
        named = sum(1 for e in lines if "reason" in e)
        assert 100 <= named < 250, named
        assert named + sum(e.get("suppressed", 0) for e in lines) == 250, lines[-1]


def test_suppressed_is_told_after_a_while(env):
    with env.daemon(ALL, "--workers", "1") as d:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda i: refused(d, "servfail.example.org:%d" % ECHO), range(80)):
                assert answer.status == 502
        wait_until(lambda: sum(1 + e.get("suppressed", 0) - ("reason" not in e) for e in d.logs
                               if e.get("event") == "tunnel_failed") == 80)


def test_l7_and_binaries(env):
    rest = endpoint("echo.example.org", protocol="rest", enforcement="enforce", access="read-only")
    with env.daemon(policy(rest)) as d:
        answer = refused(d, "echo.example.org:%d" % ECHO)
        assert answer.status == 403 and answer.json()["error"] == "l7_inspection_required", answer.body
        d.wait_log("tunnel_denied", reason="l7_inspection_required", rule="rule0")
    with env.daemon(policy(rest), "--l7", "tunnel") as d:
        d.wait_count(1, "l7_carried_raw", rule="rule0")
        connect(d, "echo.example.org:%d" % ECHO).close()
    text = policy(endpoint("echo.example.org"), binaries="/usr/bin/curl")
    status, said = run_once(env, text)
    assert status == 78 and "--binary-identity=ignore" in said and "rule0" in said, (status, said)
    variables = dict(os.environ, OPENSHELL_NETWORK_BINARY_IDENTITY="relaxed")
    for options, env_vars in ((("--binary-identity", "ignore"), None), ((), variables)):
        with env.daemon(text, *options, env=env_vars) as d:
            connect(d, "echo.example.org:%d" % ECHO).close()


def test_ssrf(env):
    with env.daemon(ALL, "--listen", OWN4 + ":7001") as d:
        for name in ("loop", "meta", "ten", "six", "mapped", "self"):
            answer = refused(d, "%s.wild.example.org:%d" % (name, ECHO))
            body = answer.json()
            assert answer.status == 403 and body["error"] == "ssrf_denied" and body["reason"], (name, body)
            assert "error=destination_ip_prohibited" in answer.fields["Proxy-Status"], answer.fields
        d.wait_log("tunnel_denied", reason="ssrf_denied", addr="10.1.2.3:%d" % ECHO)
        with connect(d, "mixed.wild.example.org:%d" % ECHO) as s:  # only the address that passed is dialled
            s.sendall(b"ok")
            assert read_exactly(s, 2) == b"ok"
        d.wait_log("tunnel_open", host="mixed.wild.example.org", addr="%s:%d" % (ADDR4, ECHO))


def test_static_hosts(env):
    text = policy(endpoint("host.openshell.internal"),
                  extra="egress:\n  hosts:\n    host.openshell.internal: [%s]\n" % ADDR4)
    with env.daemon(text) as d:
        with connect(d, "host.openshell.internal:%d" % BANNER) as s:
            assert read_exactly(s, 3) == b"SSH"
    assert not any(name == "host.openshell.internal" for name, _ in env.dns.asked)


def test_unreachable(env):
    with env.daemon(ALL) as d:
        answer = refused(d, "four.example.org:%d" % CLOSED)
        body = answer.json()
        assert answer.status == 502 and body["error"] == "upstream_unreachable", body
        assert "error=connection_refused" in answer.fields["Proxy-Status"], answer.fields
        d.wait_log("tunnel_failed", reason="upstream_unreachable", addr="%s:%d" % (ADDR4, CLOSED))


def test_upstream_timeout(env):
    with env.daemon(ALL, "--connect-timeout", "700ms") as d:
        began = time.monotonic()
        answer = refused(d, "four.example.org:%d" % SILENT)
        assert 0.6 < time.monotonic() - began < 4
        assert answer.status == 504 and answer.json()["error"] == "upstream_timeout", answer.body
        assert "error=connection_timeout" in answer.fields["Proxy-Status"], answer.fields
        answer = refused(d, "silence.example.org:%d" % ECHO)
        assert answer.status == 502 and answer.json()["error"] == "dns_failed", answer.body
        assert "error=dns_timeout" in answer.fields["Proxy-Status"], answer.fields


def test_dns_failures(env):
    with env.daemon(ALL) as d:
        for name, why in (("nx", "no such name"), ("servfail", "the upstreams answer SERVFAIL"), ("empty", "no address")):
            answer = refused(d, "%s.example.org:%d" % (name, ECHO))
            body = answer.json()
            assert answer.status == 502 and body["error"] == "dns_failed", (name, body)
            assert why in body["reason"], (name, body)
            assert "error=dns_error" in answer.fields["Proxy-Status"], answer.fields
        answer = refused(d, "silence.example.org:%d" % ECHO)
        assert answer.json()["error"] == "dns_failed" and "dns_timeout" in answer.fields["Proxy-Status"]


def test_happy_eyeballs(env):
    with env.daemon(ALL) as d:
        for name in ("dual", "half", "badv6"):
            times = []
            for _ in range(3):  # the machine may be late once
                began = time.monotonic()
                with connect(d, "%s.example.org:%d" % (name, ECHO)) as s:
                    times.append(time.monotonic() - began)
                    s.sendall(b"v4")
                    assert read_exactly(s, 2) == b"v4"
            assert min(times) < 1.0, (name, times)
            d.wait_log("tunnel_open", host=name + ".example.org", addr="%s:%d" % (ADDR4, ECHO))


def test_client_leaves_while_dialling(env):
    with env.daemon(ALL) as d:
        before, = lab.fds_at_rest([d])
        for host, port in (("four.example.org", SILENT), ("silence.example.org", ECHO)):
            s = d.dial()
            s.sendall(b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host.encode(), port))
            time.sleep(0.3)
            assert d.fd_count() > before
            lab.reset(s)
            d.wait_log("tunnel_failed", reason="client_reset", host=host)
        wait_until(lambda: d.fd_count() <= before)


# ---- limits ----

def test_limits(env):
    with env.daemon(ALL, "--max-tunnels-per-client", "2", "--max-tunnels", "3", "--workers", "2") as d:
        one = connect(d, "four.example.org:%d" % ECHO)
        two = connect(d, "four.example.org:%d" % ECHO)
        answer = refused(d, "four.example.org:%d" % ECHO)
        assert answer.status == 429 and answer.json()["error"] == "limit_reached", answer.body
        assert int(answer.fields["Retry-After"]) > 0
        assert "error=connection_limit_reached" in answer.fields["Proxy-Status"], answer.fields
        other = [socket.create_connection(("127.0.0.1", d.port), 5, ("127.0.0.2", 0)) for _ in range(2)]
        other[1].sendall(b"CONNECT four.example.org:7001 HTTP/1.1\r\n\r\n")
        statuses = []
        for s in other:
            s.settimeout(0.5)
            try:
                statuses.append(lab.read_head(s).split()[1])
            except socket.timeout:
                statuses.append(b"waits")
        assert statuses.count(b"503") == 1, statuses  # one of the two was too many, whichever came first
        d.wait_log("tunnel_denied", reason="limit_reached")
        for s in [one, two] + other:
            s.close()
        wait_until(lambda: try_connect(d))


def test_clients(env):
    with env.daemon(ALL, "--allow-client", "10.0.0.0/8") as d:
        answer = refused(d, "four.example.org:%d" % ECHO)
        assert answer.status == 403 and answer.json()["error"] == "client_not_allowed", answer.body
        d.wait_log("tunnel_denied", reason="client_not_allowed")


def test_no_descriptor_left(env):
    """It pauses, refuses, goes on when there is room, and does not spin meanwhile."""
    limited = ("sh", "-c", "ulimit -n 48 && exec \"$0\" \"$@\"", env.program)
    with Daemon(limited, ALL, "--upstream", "127.0.0.1:%d" % env.dns.port, "--workers", "1") as d:
        held = [d.dial() for _ in range(60)]
        d.wait_log("accept_paused")
        used = resource_seconds(d)
        time.sleep(0.5)
        assert resource_seconds(d) - used < 0.3, "it spins"
        for s in held:
            s.close()
        wait_until(lambda: try_connect(d), 15)


def resource_seconds(d):
    with open("/proc/%d/stat" % d.process.pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def misbehave(env, d, rng, until):
    """One client that does every wrong thing at a random moment; what it is answered does not matter here."""
    targets = ["four.example.org:%d" % p for p in (ECHO, BANNER, DIGEST, FIN_FIRST, DRIP, MUTE, HANGUP, CLOSED, SILENT)]
    targets += ["silence.example.org:1", "echo.example.org:%d" % ECHO, "no.example.org:7001", "bad..name:1", "x:0"]
    while time.monotonic() < until:
        try:
            with d.dial() as s:
                s.settimeout(rng.random() * 0.1)
                raw = b"CONNECT " + rng.choice(targets).encode() + b" HTTP/1.1\r\n\r\n" + rng.randbytes(
                    rng.choice((0, 0, 10, 70000)))
                s.sendall(raw[:rng.choice((1, 20, len(raw), len(raw), len(raw), len(raw)))])
                for _ in range(rng.randrange(4)):
                    step = rng.randrange(4)
                    if step == 0:
                        s.shutdown(socket.SHUT_WR)
                    elif step == 1:
                        s.sendall(rng.randbytes(rng.choice((1, 5000, 300000))))
                    elif step == 2:
                        s.recv(100000)
                    else:
                        time.sleep(rng.random() * 0.05)
                if rng.randrange(2):
                    lab.reset(s)
        except OSError:
            pass


def test_chaos(env):
    """Resets, cuts and floods in every state, while the policy flaps; in the end nothing is left and it serves."""
    options = ("--connect-timeout", "300ms", "--revoke-grace", "20ms", "--idle-timeout", "400ms", "--half-close-timeout",
               "300ms", "--head-timeout", "200ms", "--lifetime", "1s", "--max-tunnels-per-client", "40")
    with env.daemon(ALL, *options) as d:
        wait_until(lambda: try_connect(d))
        before, = lab.fds_at_rest([d])
        pipes = d.pipe_count()
        until = time.monotonic() + 3
        seed = random.randrange(1 << 32)
        print("chaos seed %d" % seed, flush=True)
        clients = [threading.Thread(target=misbehave, args=(env, d, random.Random(seed + i), until)) for i in range(16)]
        for c in clients:
            c.start()
        texts = [policy(endpoint("echo.example.org")), ALL]
        turn = 0
        while time.monotonic() < until:
            d.write_policy(texts[turn % 2])
            d.process.send_signal(signal.SIGHUP)
            turn += 1
            time.sleep(0.05)
        for c in clients:
            c.join()
        d.write_policy(ALL + "# the last\n")
        d.process.send_signal(signal.SIGHUP)
        wait_until(lambda: try_connect(d))
        wait_until(lambda: d.fd_count() <= before)
        assert d.pipe_count() <= pipes + 4 * 2 * 8  # four workers keep eight pipes each


# ---- change and end ----

def test_reload(env):
    both = policy(endpoint("four.example.org"), endpoint("echo.example.org"))
    with env.daemon(both, "--revoke-grace", "1500ms", "--workers", "2") as d:
        kept = [connect(d, "four.example.org:%d" % ECHO) for _ in range(4)]
        cut = [connect(d, "echo.example.org:%d" % ECHO) for _ in range(4)]
        d.reload(policy(endpoint("four.example.org")))
        began = time.monotonic()
        for s in cut:
            s.sendall(b"grace")  # still served meanwhile
            assert read_exactly(s, 5) == b"grace"
            assert time.monotonic() - began < 1.5
        for s in cut:
            assert lab.is_ended(s, 5)
        assert time.monotonic() - began > 1.2
        closed = d.wait_log("tunnel_close", reason="policy_changed")
        assert closed["host"] == "echo.example.org" and closed["who"] == "tunneld", closed
        assert refused(d, "echo.example.org:%d" % ECHO).status == 403
        for s in kept:
            s.settimeout(5)
            s.sendall(b"untouched")
            assert read_exactly(s, 9) == b"untouched"
        d.reload(both)
        with connect(d, "echo.example.org:%d" % ECHO) as s:  # admitted again
            d.reload(policy(endpoint("four.example.org")) + "# changed\n")
            d.reload(both + "# changed\n")  # and again within the grace
            assert not lab.is_ended(s, 2.0)
        d.write_policy("version: 1\nnetwork_policies: { x: { endpoints: [ { hsot: y } ] } }\n")
        d.process.send_signal(signal.SIGHUP)
        d.wait_log("policy_reload_failed")
        for s in kept:
            s.sendall(b"still")
            assert read_exactly(s, 5) == b"still"
            s.close()
        wait_until(lambda: d.count_log("tunnel_close", reason="client_closed") >= 4)
        d.wait_count(4, "tunnel_close", reason="policy_changed")


def test_reload_names_the_rules(env):
    """What is cut off is logged with the rule that went and the one that decides now."""
    def rules(**hosts):
        text = "version: 1\nnetwork_policies:\n"
        for key, one in hosts.items():
            text += "  %s: %s\n" % (key, json.dumps(dict(endpoints=[one], binaries=[dict(path="/**")])))
        return text

    four, echo = endpoint("four.example.org"), endpoint("echo.example.org")
    with env.daemon(rules(old=four, web=echo), "--revoke-grace", "0", "--workers", "2") as d:
        with connect(d, "four.example.org:%d" % ECHO) as s, connect(d, "echo.example.org:%d" % ECHO) as other:
            d.reload(rules(new=four, web=echo))  # another rule admits it: nothing happens
            s.sendall(b"x")
            assert read_exactly(s, 1) == b"x"
            d.reload(rules(newest=endpoint("four.example.org", allowed_ips=["10.0.0.0/8"]), web=echo))
            assert lab.is_ended(s)
            closed = d.wait_log("tunnel_close", reason="policy_changed")
            assert closed["rule"] == "new" and closed["rule_now"] == "newest", closed
            other.sendall(b"x")
            assert read_exactly(other, 1) == b"x"
            d.reload(rules(newest=four))
            assert lab.is_ended(other)
            closed = d.wait_log("tunnel_close", reason="policy_changed", host="echo.example.org")
            assert closed["rule"] == "web" and closed["rule_now"] == "none", closed
        with connect(d, "four.example.org:%d" % ECHO) as s:
            s.shutdown(socket.SHUT_WR)
        closed = d.wait_log("tunnel_close", reason="client_closed")
        assert "rule_now" not in closed, closed


def test_reload_while_resolving(env):
    with env.daemon(ALL) as d:
        waiting = []
        for target in (b"silence.example.org:7001", b"four.example.org:%d" % SILENT):
            s = d.dial()
            s.sendall(b"CONNECT " + target + b" HTTP/1.1\r\n\r\n")
            waiting.append(s)
        time.sleep(0.3)
        d.reload(policy(endpoint("echo.example.org")))
        for s in waiting:
            assert b" 403 " in lab.read_head(s)
            assert json.loads(read_to_end(s))["error"] == "policy_denied"
            s.close()


def test_drain(env):
    with env.daemon(ALL, "--drain-timeout", "20s") as d:
        with connect(d, "four.example.org:%d" % ECHO) as s:
            unused = d.dial()
            wait_until(lambda: is_accepted(unused))
            d.process.send_signal(signal.SIGTERM)
            d.wait_log("stopping")
            assert lab.is_ended(unused, 5)
            wait_until(lambda: not can_dial(d))
            s.sendall(b"to the end")
            assert read_exactly(s, 10) == b"to the end"
            assert d.process.poll() is None
        assert d.process.wait(5) == 0
        d.wait_log("tunnel_close", reason="client_closed")
    with env.daemon(ALL, "--drain-timeout", "500ms") as d:
        with connect(d, "four.example.org:%d" % ECHO) as s:
            d.process.send_signal(signal.SIGTERM)
            assert lab.is_ended(s, 5)
        assert d.process.wait(5) == 0
        d.wait_log("tunnel_close", reason="shutdown", who="tunneld")


def test_drain_answers_who_waits(env):
    """Whose name is being resolved, or whose server does not answer, is told that this is the end."""
    asked = (b"CONNECT silence.example.org:%d HTTP/1.1\r\n\r\n" % ECHO,
             b"CONNECT four.example.org:%d HTTP/1.1\r\n\r\n" % SILENT,
             b"GET http://silence.example.org:%d/ HTTP/1.1\r\nHost: silence.example.org:%d\r\n\r\n" % (ECHO, ECHO))
    with env.daemon(ALL, "--drain-timeout", "300ms") as d:
        waiting = [d.dial() for _ in asked]
        for s, raw in zip(waiting, asked):
            s.sendall(raw)
        wait_until(lambda: all(is_accepted(s) for s in waiting))
        time.sleep(0.2)  # their heads have been read
        d.process.send_signal(signal.SIGTERM)
        for s in waiting:
            with s:
                head, body = lab.read_head(s), read_to_end(s)
                assert head.startswith(b"HTTP/1.1 503 ") and json.loads(body)["error"] == "shutdown", (head, body)
        assert d.process.wait(lab.END_S) == 0
        d.wait_count(3, "tunnel_failed", reason="shutdown")


# ---- capture ----

def captured(addr, port):
    s = socket.socket(lab.family_of(addr), socket.SOCK_STREAM)
    s.settimeout(lab.GIVE_UP_S)
    s.connect((addr, port))
    return s


def is_reset(addr, port):
    """Refused by RST, whenever it comes: it may overtake the client's own connect()."""
    try:
        with captured(addr, port) as s:
            s.recv(1)
    except ConnectionResetError:
        return True
    return False


def test_capture(env):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "map")
        names = ["four.example.org", "other.example.org", "echo.example.org"]

        def write(ttl, *more):
            out = subprocess.run([env.map_write, path, str(ttl), POOL4 + "," + POOL6, *more], check=True,
                                 stdout=subprocess.PIPE).stdout.decode()
            return {line.split()[0]: line.split()[1:] for line in out.splitlines()}

        given = write(3600, *names)
        expired = write(0, "half.example.org")
        options = ["--map", path, "--pool", POOL4, "--pool", POOL6, "--workers", "2",
                   "--allow-client", "127.0.0.0/8", "--allow-client", POOL6]
        # One listener per address: a wildcard one would be the servers' own address too, and those are never dialled.
        addrs = [a for pair in given.values() for a in pair] + expired["half.example.org"][:1]
        never4 = next(a for a in ("198.18.0.%d" % i for i in range(9, 254)) if a not in addrs)
        never6 = "fd00:5e11::ffff"
        for where in addrs + [never4, never6, "127.0.0.1"]:
            if ":" in where:  # Linux binds to no IPv6 address that is only routed here
                env.lab_net.add_addr(where, 128)
                where = "[%s]" % where
            for port in (ECHO, BANNER, 7999):
                options += ["--transparent", "%s:%d" % (where, port)]
        time.sleep(1.1)  # the lease of TTL 0 ends with the second
        with env.daemon(ALL, *options) as d:
            for addr in given["four.example.org"]:
                with captured(addr, ECHO) as s:
                    s.sendall(b"native")
                    assert read_exactly(s, 6) == b"native"
                began = time.monotonic()
                with captured(addr, BANNER) as s:  # the server speaks first
                    assert read_exactly(s, 3) == b"SSH"
                    assert time.monotonic() - began < 1
            opened = d.wait_log("tunnel_open", via="capture")
            assert opened["host"] == "four.example.org" and opened["port"] == ECHO, opened
            for addr in given["other.example.org"]:
                assert is_reset(addr, ECHO)
            d.wait_log("tunnel_denied", reason="policy_denied", via="capture", host="other.example.org")
            assert is_reset(given["four.example.org"][0], 7999)  # a port that no rule names
            d.wait_log("tunnel_denied", reason="policy_denied", host="four.example.org", port=7999)
            assert is_reset(never4, ECHO) and is_reset(never6, ECHO)
            denied = d.wait_log("tunnel_denied", reason="not_mapped")
            assert denied["addr"] == "%s:%d" % (never4, ECHO) and denied["host"] == "-", denied
            assert is_reset("127.0.0.1", ECHO)  # the listener's own address
            d.wait_log("tunnel_denied", reason="not_mapped", addr="127.0.0.1:%d" % ECHO)
            addr = expired["half.example.org"][0]
            assert is_reset(addr, ECHO)
            d.wait_log("tunnel_denied", reason="not_mapped", host="half.example.org")
            assert write(3600, "half.example.org")["half.example.org"][0] == addr  # handed out again while it serves
            with captured(addr, ECHO) as s:
                s.sendall(b"later")
                assert read_exactly(s, 5) == b"later"
            answer = refused(d, "%s:%d" % (given["four.example.org"][0], ECHO))
            assert answer.json()["error"] == "policy_denied"  # a synthetic address is no destination


# ---- start ----

def run_once(env, text, *options, upstream=("--upstream", "127.0.0.1")):
    """For starts that must fail: exit status and standard error."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "policy.yaml")
        if text is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        command = [env.program, "--policy", path, "--listen", "127.0.0.1:0"]
        done = subprocess.run(command + list(upstream + options), stderr=subprocess.PIPE, stdout=subprocess.PIPE, timeout=20,
                              check=False)
        return done.returncode, done.stderr.decode()


def test_failed_starts(env):
    status, said = run_once(env, None)
    assert status == 78, (status, said)
    status, said = run_once(env, "version: 1\nnetwork_policies: [\n")
    assert status == 78 and "policy.yaml:" in said, (status, said)
    status, said = run_once(env, ALL, "--no-such-option")
    assert status == 64 and "--no-such-option" in said, (status, said)
    status, said = run_once(env, ALL, "--idle-timeout", "soon")
    assert status == 64 and "--idle-timeout" in said, (status, said)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "127.0.0.1:%d" % taken.getsockname()[1]
        status, said = run_once(env, ALL, "--transparent", where)
        assert status == 71 and where in said, (status, said)
    for option, value in (("--transparent", "127.0.0.1"), ("--upstream", "nonsense"), ("--upstream", "1.1.1.1:0"),
                          ("--allow-client", "10.0.0.1/8"), ("--never", "x"), ("--pool", "10.0.0.0/8/1")):
        status, said = run_once(env, ALL, option, value)
        assert status == 64 and option in said, (option, value, status, said)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as empty:
        status, said = run_once(env, ALL, "--resolv-conf", empty.name, upstream=())
        assert status == 78 and "--upstream" in said, (status, said)


PASS_SOCKETS = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="connect")
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextlib.contextmanager
def on_passed_socket(env, stderr, *options):
    """LISTEN_FDS replaces --listen. Gives what connects to it."""
    read_end, write_end = os.pipe()
    with socket.create_server((OWN4, 0)) as listening, tempfile.NamedTemporaryFile("w", suffix=".yaml") as text:
        text.write(ALL)
        text.flush()
        command = [sys.executable, "-c", PASS_SOCKETS, str(listening.fileno()), env.program, "--policy", text.name,
                   "--upstream", "127.0.0.1:%d" % env.dns.port, "--ready-fd", str(write_end), *options]
        process = subprocess.Popen(command, pass_fds=(listening.fileno(), write_end), stderr=stderr)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as f:
            assert f.readline() == b"READY\n"
        yield lambda: socket.create_connection(listening.getsockname(), 5, (ADDR4, 0))
        process.terminate()
        assert process.wait(lab.END_S) == 0


def test_passed_sockets(env):
    """Every client is served then."""
    with on_passed_socket(env, subprocess.DEVNULL) as dial, dial() as s:
        s.sendall(b"CONNECT four.example.org:7001 HTTP/1.1\r\n\r\n")
        assert b" 200 " in lab.read_head(s)


def test_unlogged_takes_no_line_away(env):
    """Requests that are refused are not logged at this level, and used up the lines of what failed."""
    with tempfile.TemporaryFile("w+") as log:
        with on_passed_socket(env, log, "--workers", "1", "--log-level", "warn") as dial:
            for head, status in [(b"BAD", b" 400 ")] * 100 + [(b"CONNECT servfail.example.org:7001 HTTP/1.1", b" 502 ")]:
                with dial() as s:
                    s.sendall(head + b"\r\n\r\n")
                    assert status in lab.read_head(s)
        log.seek(0)
        lines = [line for line in log if " tunnel_failed " in line]
        assert len(lines) == 1 and "suppressed" not in lines[0], lines


# ---- helpers and main ----

def can_dial(d):
    try:
        d.dial().close()
        return True
    except OSError:
        return False


def connects(d, target):
    try:
        connect(d, target).close()
        return True
    except (AssertionError, OSError):
        return False


def try_connect(d):
    return connects(d, "four.example.org:%d" % ECHO)


# Keeps the servers of this process so busy that others would wait for an answer.
ALONE = (test_chaos,)


def main(scope, alone=(), prepare=None, finish=None):
    """Runs the tests of a module: six at a time, then those that want to be alone. finish makes an exit status of
    whether all have passed; who has one is in a namespace already."""
    lab.raise_descriptors()
    if not finish:
        lab.enter_namespace()
    env = Lab()
    if prepare:
        prepare(env)
    if not os.access(env.program, os.X_OK):
        sys.exit("%s is not built" % env.program)
    passed = lab.run_tests(scope, env, 6, alone)
    status = finish(passed) if finish else 0 if passed else 1
    os._exit(status)  # server threads never end


if __name__ == "__main__":
    main(globals(), ALONE)
