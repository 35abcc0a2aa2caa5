# SPDX-License-Identifier: Apache-2.0
"""What a refused client is told: over CONNECT in JSON, captured in the protocol it turns out to speak.

Everything runs in a fresh network namespace, as in tunneld.py. Arguments choose tests by name.
"""
import os
import socket
import subprocess
import time

import captured
import lab
from captured import policy
from lab import Daemon, connect, read_to_end, refused, request, wait_until

ADDR, SILENT = "45.33.32.1", "45.33.32.7"
ECHO, CLOSED, UNNAMED, WEB = 7001, 7002, 7999, 7003
PORTS = (ECHO, CLOSED, UNNAMED)
NEVER = "198.18.0.99"
ALERT = bytes([21, 3, 3, 0, 2, 2, 49])
HELLO = b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(200)
GET = b"GET /path HTTP/1.1\r\nHost: other.example.org\r\n\r\n"

ZONE = {
    ("host.example.org", 1): [ADDR],
    ("rest.example.org", 1): [ADDR],
    ("loop.example.org", 1): ["127.0.0.1"],
    ("silent.example.org", 1): [SILENT],
    ("servfail.example.org", 1): 2, ("servfail.example.org", 28): 2,
    ("mute.example.org", 1): None, ("mute.example.org", 28): None,
}
NAMES = sorted({n for n, _ in ZONE}) + ["other.example.org", "chained.example.org", "own.example.org"]


def endpoint(host, **more):
    return dict(host=host, ports=[ECHO, CLOSED, WEB], **more)


ALL = policy(*[endpoint(n) for n in NAMES if n.split(".")[0] not in ("rest", "other", "chained")],
             endpoint("rest.example.org", protocol="rest", enforcement="enforce", access="read-only"),
             endpoint("chained.example.org", proxy="chain"), endpoint("*.wild.example.org"),
             extra="egress:\n  hosts: { own.example.org: [%s] }\n" % ADDR)

# Host, port, status, error, token.
DENIALS = [
    ("other.example.org", ECHO, 403, "policy_denied", "http_request_denied"),
    ("host.example.org", UNNAMED, 403, "policy_denied", "http_request_denied"),
    ("rest.example.org", ECHO, 403, "l7_inspection_required", "http_request_denied"),
    ("loop.example.org", ECHO, 403, "ssrf_denied", "destination_ip_prohibited"),
    ("servfail.example.org", ECHO, 502, "dns_failed", "dns_error"),
    ("mute.example.org", ECHO, 502, "dns_failed", "dns_timeout"),
    ("host.example.org", CLOSED, 502, "upstream_unreachable", "connection_refused"),
    ("silent.example.org", ECHO, 504, "upstream_timeout", "connection_timeout"),
]


class Lab:
    def __init__(self):
        self.program = os.path.join(os.environ["top_builddir"], "openshell-tunneld")
        self.net = lab.Netlink()
        self.net.lo_up()
        for addr in (ADDR, SILENT):
            self.net.add_addr(addr, 32)
        self.net.add_local_route("198.18.0.0", 24, "127.0.0.1")
        self.dns = lab.Dns(ZONE)
        self.map = captured.Map(NAMES, PORTS, unknown=[NEVER])
        self.held = lab.silent_listener(SILENT, ECHO)
        lab.serve(ADDR, ECHO, captured.echo)
        lab.serve(ADDR, WEB, self.serve_head)
        lab.serve("127.0.0.1", 3999, self.serve_407)

    @staticmethod
    def serve_head(sock):
        """Answers with the request."""
        head = lab.read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)

    @staticmethod
    def serve_407(sock):
        lab.read_head(sock)
        sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    def daemon(self, *options):
        options += () if "--workers" in options else ("--workers", "2")
        return Daemon(self.program, ALL, "--upstream", "127.0.0.1:%d" % self.dns.port, "--connect-timeout", "700ms",
                      *self.map.options, *options)

    def ask(self, name, port, raw):
        """All that comes back on a captured connection, or None for a reset."""
        try:
            with self.map.dial(name, port) as s:
                s.sendall(raw)
                return read_to_end(s)
        except ConnectionResetError:
            return None


def parse(raw):
    head, body = raw.split(b"\r\n\r\n", 1)
    return lab.Answer(head + b"\r\n\r\n", body)


# ---- captured ----

def test_told_over_http(env):
    """The answer is that of CONNECT, but for what was asked; the log has the same word, once for each."""
    with env.daemon() as d:
        for host, port, status, error, token in DENIALS:
            start = len(d.logs)
            answer, same = parse(env.ask(host, port, GET)), refused(d, "%s:%d" % (host, port))
            body, told = answer.json(), same.json()
            assert answer.status == same.status == status, (host, answer.status, same.status)
            assert body["error"] == told["error"] == error, (host, body, told)
            assert answer.fields["Proxy-Status"] == same.fields["Proxy-Status"], (answer.fields, same.fields)
            assert "error=%s; details=\"%s\"" % (token, error) in answer.fields["Proxy-Status"], answer.fields
            assert told["detail"] == "CONNECT " + body["detail"] and body["detail"].startswith("%s:%d " % (host, port))
            assert body.get("reason") == told.get("reason") and body.get("rule_missing") == told.get("rule_missing")
            assert ("rule_missing" in body) == (error == "policy_denied"), body
            for via in ("capture", "connect"):
                wait_until(lambda v=via, n=start: any(e.get("via") == v for e in d.logs[n:]))
                said = [e for e in d.logs[start:] if e.get("via") == via]
                assert len(said) == 1 and said[0]["reason"] == error, said
                assert said[0]["host"] == host and said[0]["port"] == port, said


def test_rule_missing_admits(env):
    """What rule_missing says is enough, and no more than that: the host, the port."""
    with env.daemon() as d:
        rule = parse(env.ask("other.example.org", ECHO, GET)).json()["rule_missing"]
        assert "other.example.org" in rule and str(ECHO) in rule and "*" not in rule.replace("/**", ""), rule
        egress = os.path.join(os.environ["top_builddir"], "openshell-egress")
        text = "version: 1\n" + rule
        path = d.policy_path + ".new.yaml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        for target, status in (("other.example.org:%d" % ECHO, 0), ("other.example.org:443", 1), ("example.org:7001", 1)):
            done = subprocess.run([egress, "explain", "--policy", path, target], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            assert done.returncode == status, (target, text, done.stdout)
        os.unlink(path)


def test_http_in_pieces(env):
    with env.daemon():
        whole = env.ask("other.example.org", ECHO, GET)
        with env.map.dial("other.example.org", ECHO) as s:
            for i in range(20):
                s.sendall(GET[i:i + 1])
            s.sendall(GET[20:])
            assert read_to_end(s) == whole
        head = env.ask("other.example.org", ECHO, b"HEAD / HTTP/1.1\r\n\r\n")
        assert head == whole[:whole.index(b"\r\n\r\n") + 4], head  # a length, and no body
        assert env.ask("other.example.org", ECHO, b"POST / HTTP/1.1\r\n\r\n" + bytes(100000)) == whole


def test_told_over_tls(env):
    with env.daemon("--chain-proxy", "http://127.0.0.1:3999") as d:
        for host, port in [row[:2] for row in DENIALS if row[0] != "rest.example.org"] + [("chained.example.org", ECHO)]:
            assert env.ask(host, port, HELLO) == ALERT, host
        assert env.ask("other.example.org", ECHO, HELLO + bytes(100000)) == ALERT
        assert d.wait_log("tunnel_failed", reason="chain_failed")["received_status"] == 407
    with env.daemon():
        assert env.ask("rest.example.org", ECHO, HELLO) == ALERT
        with env.map.dial("other.example.org", ECHO) as s:
            for i in range(20):
                s.sendall(HELLO[i:i + 1])
            assert read_to_end(s) == ALERT
        for version in ("-tls1_2", "-tls1_3"):
            where = "%s:%d" % (env.map.addr["other.example.org"], ECHO)
            done = subprocess.run(["openssl", "s_client", version, "-servername", "other.example.org", "-connect", where],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            assert b"alert access denied" in done.stdout, done.stdout


def test_reset(env):
    with env.daemon() as d:
        for raw in (b"SSH-2.0-x\r\n", b"\0\0\0\x08\4\xd2\x16\x2f", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\3\1\0\0",
                    b"GET /" + b"a" * 9000):
            assert env.ask("other.example.org", ECHO, raw) is None, raw
        for raw in (b"", b"GET / HTT", HELLO[:4]):  # a client that waits for the server, or for more of itself
            times = []
            for _ in range(3):
                began = time.monotonic()
                assert env.ask("other.example.org", ECHO, raw) is None, raw
                times.append(time.monotonic() - began)
            assert min(times) > 0.2 and min(times) < 1.5, times
        with env.map.dial("other.example.org", ECHO) as s:
            s.shutdown(socket.SHUT_WR)
            assert lab.is_ended(s)
        d.wait_count(5 + 9 + 1, "tunnel_denied", reason="policy_denied", via="capture")


def test_never_handed_out(env):
    """Stands for no name: nothing is looked at, it is reset at once."""
    with env.daemon() as d:
        times = []
        for _ in range(5):
            began = time.monotonic()
            try:
                with captured.dial(NEVER, ECHO) as s:
                    s.sendall(GET)
                    assert s.recv(1) is None, "it was answered"
            except ConnectionResetError:
                times.append(time.monotonic() - began)
        assert len(times) == 5 and min(times) < 0.2, times
        d.wait_log("tunnel_denied", reason="not_mapped", addr="%s:%d" % (NEVER, ECHO))


def test_limits(env):
    with env.daemon("--max-tunnels-per-client", "2") as d:
        held = [env.map.dial("own.example.org", ECHO) for _ in range(2)]
        for s in held:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        answer = parse(env.ask("own.example.org", ECHO, GET))
        assert answer.status == 429 and answer.json()["error"] == "limit_reached", answer.body
        assert int(answer.fields["Retry-After"]) > 0, answer.fields
        assert "error=connection_limit_reached" in answer.fields["Proxy-Status"], answer.fields
        assert env.ask("own.example.org", ECHO, HELLO) == ALERT
        d.wait_log("tunnel_denied", reason="limit_reached", via="capture")
        for s in held:
            s.close()
    with env.daemon("--max-tunnels", "1") as d:
        with connect(d, "own.example.org:%d" % ECHO):
            answer = parse(env.ask("own.example.org", ECHO, GET))
            assert answer.status == 503 and int(answer.fields["Retry-After"]) > 0, answer.fields
            answer = refused(d, "own.example.org:%d" % ECHO)
            assert answer.status == 503 and int(answer.fields["Retry-After"]) > 0, answer.fields
    with env.daemon("--allow-client", "10.0.0.0/8"):
        answer = parse(env.ask("own.example.org", ECHO, GET))
        assert answer.status == 403 and answer.json()["error"] == "client_not_allowed", answer.body


def test_nothing_is_left(env):
    with env.daemon() as d:
        env.ask("other.example.org", ECHO, GET)
        before, = lab.fds_at_rest([d])
        for raw in (GET, HELLO, b"", b"SSH"):
            s = env.map.dial("other.example.org", ECHO)
            s.sendall(raw)
            lab.reset(s)
            for _ in range(3):
                env.ask("other.example.org", ECHO, raw)
        waiting = [env.map.dial("other.example.org", ECHO) for _ in range(20)]
        wait_until(lambda: d.fd_count() <= before)
        for s in waiting:
            s.close()


# ---- over CONNECT ----

def test_statuses(env):
    """What of the table is neither in DENIALS nor about limits and brakes."""
    with env.daemon("--chain-proxy", "http://127.0.0.1:3999") as d:
        answer = refused(d, "chained.example.org:%d" % ECHO)
        assert answer.status == 502 and answer.json()["error"] == "chain_failed", answer.body
        assert "received-status=407" in answer.fields["Proxy-Status"], answer.fields
        assert refused(d, "rest.example.org:%d" % ECHO).json()["error"] == "chain_failed"
        looping = b"GET http://host.example.org:%d/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % WEB
        with d.dial() as s:  # our own name in Via, which the server sees
            s.sendall(looping + b"\r\n")
            via = next(line for line in read_to_end(s).split(b"\r\n") if line.startswith(b"Via:"))
        answer = request(d, looping + via + b"\r\n\r\n")
        assert answer.status == 502 and answer.json()["error"] == "proxy_loop", answer.body
        assert "error=proxy_loop_detected" in answer.fields["Proxy-Status"], answer.fields
        d.wait_log("tunnel_failed", reason="proxy_loop")


def test_brakes(env):
    for option, status, error, token in (
            (("--rate-limit", "1"), 429, "rate_limited", "connection_limit_reached"),
            (("--wildcard-budget", "1"), 403, "wildcard_budget", "http_request_denied"),
            (("--wildcard-length", "10"), 403, "wildcard_length", "http_request_denied")):
        with env.daemon(*option) as d:
            answers = [refused(d, "name%d.wild.example.org:%d" % (i, ECHO)) for i in range(6)]
            braked = [a for a in answers if a.json()["error"] != "dns_failed"]
            assert braked, option
            for answer in braked:
                assert answer.status == status and answer.json()["error"] == error, answer.body
                assert option[0] in answer.json()["reason"], answer.body
                assert "error=%s; details=\"%s\"" % (token, error) in answer.fields["Proxy-Status"], answer.fields
                assert answer.fields.get("Retry-After") == ("1" if status == 429 else None), answer.fields
            d.wait_count(len(braked), "tunnel_denied", reason=error)


def test_lingering(env):
    """The answer survives what the client goes on sending; 256 KiB or two seconds, then it is over."""
    with env.daemon() as d:
        head = b"CONNECT other.example.org:1 HTTP/1.1\r\n\r\n"
        with d.dial() as s:
            s.sendall(head + bytes(200 * 1024))
            answer = parse(read_to_end(s))
            assert answer.json()["error"] == "policy_denied"
        with d.dial() as s:  # far more: it is reset, behind the answer
            s.settimeout(0.5)
            sent = 0
            try:
                s.sendall(head)
                while sent < 64 * 1024 * 1024:
                    sent += s.send(bytes(65536))
            except OSError:
                pass
            assert sent < 64 * 1024 * 1024
        with d.dial() as s:  # reads the answer and does not close
            s.sendall(head)
            began = time.monotonic()
            assert parse(read_to_end(s)).status == 403  # our FIN
            wait_until(lambda: is_gone(s))
            assert 1.5 < time.monotonic() - began < 6


def is_gone(sock):
    """The other end is closed: what is sent there is reset."""
    try:
        sock.send(b"x")
        return False
    except OSError:
        return True


captured.main(Lab, globals(), at_once=1)
