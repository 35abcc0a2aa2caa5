# SPDX-License-Identifier: Apache-2.0
"""--answer steer: dnsd says tunneld's own address for every admitted name, tunneld goes by what the client says first.

Both real daemons in a fresh network namespace. Arguments choose tests by name.
"""
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import tempfile

import captured
import dns_wire as w
import lab
from captured import policy
from hellos import ALERT, KEY_SHARE, hello, records, sni
from lab import Daemon, read_exactly, read_head, read_to_end

ADDR, HOST, OTHER, PRIVATE = "45.33.32.1", "host.example.org", "other.example.org", "private.wild.example.org"
TLS, WEB, ECHO, BANNER = PORTS = (443, 8080, 7001, 7002)
HERE = {4: "127.0.0.1", 6: "::1"}
RIGHT = records(hello(sni(HOST)))
ALL = policy(dict(host=HOST, ports=list(PORTS)), dict(host=OTHER, ports=[WEB]),
             dict(host="*.wild.example.org", ports=list(PORTS)))


class Lab:
    def __init__(self):
        self.net = lab.Netlink()
        self.net.lo_up()
        self.net.add_addr(ADDR, 32)
        self.dns = lab.Dns({(HOST, 1): [ADDR], (OTHER, 1): [ADDR], (PRIVATE, 1): ["10.1.2.3"], (PRIVATE, 28): []})
        self.requests = []
        self.files = tempfile.TemporaryDirectory()
        self.key, self.cert = (os.path.join(self.files.name, n) for n in ("key.pem", "cert.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "30", "-subj", "/CN=" + HOST, "-addext", "subjectAltName=DNS:" + HOST, "-keyout",
                        self.key, "-out", self.cert], check=True, stderr=subprocess.DEVNULL)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(self.cert, self.key)
        lab.serve(ADDR, TLS, self.serve_tls)
        lab.serve(ADDR, WEB, self.serve_web)
        lab.serve(ADDR, ECHO, captured.echo)
        lab.serve(ADDR, BANNER, lambda s: s.sendall(b"220 hello\r\n"))

    def stop(self):
        pass

    def serve_tls(self, sock):
        try:
            with self.server.wrap_socket(sock, server_side=True) as s:
                captured.echo(s)
        except ssl.SSLError:
            pass

    def serve_web(self, sock):
        while sock.recv(1, socket.MSG_PEEK):
            head = read_head(sock).decode("latin-1")
            self.requests.append(head)
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = read_exactly(sock, int(fields.get("Content-Length", 0)))
            if fields.get("Upgrade"):
                sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
                captured.echo(sock)
                return
            text = json.dumps({"host": fields["Host"], "line": head.split("\r\n")[0], "body": len(body)}).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)

    def daemon(self, *options, text=ALL):
        listeners = [o for host in ("127.0.0.1", "[::1]") for port in PORTS
                     for o in ("--transparent", "%s:%d" % (host, port))]
        return Daemon(os.path.join(os.environ["top_builddir"], "openshell-tunneld"), text, "--upstream",
                      "127.0.0.1:%d" % self.dns.port, "--workers", "2", "--steer-address", HERE[4], "--steer-address",
                      HERE[6], "--map", os.path.join(self.files.name, "none"), *listeners, *options)

    def dnsd(self, *options, text=ALL):
        return Daemon(os.path.join(os.environ["top_builddir"], "openshell-dnsd"), text, "--upstream",
                      "127.0.0.1:%d" % self.dns.port, "--answer", "steer", *options, listening=("proto", "udp"))


def dial(port, family=4):
    return captured.dial(HERE[family], port)


def ask(daemon, name, qtype):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(lab.GIVE_UP_S)
        s.connect(("127.0.0.1", daemon.port))
        s.send(w.query(name, qtype, 7, edns=w.opt()))
        return w.Message(s.recv(4096))


def ede(reply):
    data = reply.opt.data
    return int.from_bytes(data[4:6], "big") if len(data) >= 6 else None


def reset_or_end(s):
    try:
        return read_to_end(s)
    except ConnectionResetError:
        return "reset"


def is_reset(address, port):
    """A ClientHello there, and no answer; the reset may come before connect() has returned."""
    try:
        with captured.dial(address, port) as s:
            s.sendall(RIGHT)
            return reset_or_end(s) == "reset"
    except ConnectionError:
        return True


def request(s, text):
    s.sendall(text.replace("\n", "\r\n").encode())
    answer = http.client.HTTPResponse(s)
    answer.begin()
    return answer.status, answer.read()


# ---- what dnsd says ----

def test_answers(env):
    with env.dnsd("--steer-address", HERE[4]) as d:
        reply = ask(d, HOST, w.A)
        assert [r.data for r in reply.answer] == [socket.inet_aton(HERE[4])] and reply.answer[0].ttl == 30
        assert reply.rcode == 0 and ede(reply) == 4
        reply = ask(d, HOST, w.AAAA)
        assert reply.rcode == 0 and not reply.answer and reply.authority[0].type == w.SOA
        assert ask(d, "denied.example.org", w.A).rcode == w.NXDOMAIN
        reply = ask(d, PRIVATE, w.A)  # nothing that may be dialled: as in real mode
        assert reply.rcode == 0 and not reply.answer and ede(reply) == 15
        assert ask(d, HOST, 65).rcode == 0 and not ask(d, HOST, 65).answer
    with env.dnsd("--steer-address", HERE[6], "--steer-address", "10.0.0.7") as d:
        reply = ask(d, HOST, w.AAAA)  # a program may go by IPv6 where the server has none
        assert [r.data for r in reply.answer] == [socket.inet_pton(socket.AF_INET6, HERE[6])]
        assert [r.data for r in ask(d, HOST, w.A).answer] == [socket.inet_aton("10.0.0.7")]


def test_settings(env):
    for options, says in (((), "--answer steer needs --steer-address"),
                          (("--steer-address", "127.0.0.1", "--steer-address", "127.0.0.2"), "second address"),
                          (("--steer-address", "0.0.0.0"), "not an address that can be connected to"),
                          (("--steer-address", "198.18.3.4"), "is in --pool"),
                          (("--steer-address", "here"), "is a name, and an address is wanted")):
        try:
            with env.dnsd(*options):
                raise RuntimeError("started with %r" % (options,))
        except AssertionError as e:
            assert says in str(e), (options, str(e))
    program = os.path.join(os.environ["top_builddir"], "openshell-tunneld")
    try:
        with Daemon(program, ALL, "--upstream", "127.0.0.1:1", "--steer-address", "127.0.0.1"):
            raise RuntimeError("started")
    except AssertionError as e:
        assert "--steer-address needs --transparent" in str(e), str(e)


# ---- TLS ----

def test_tls(env):
    """As a program does it: the certificate is the server's, the bytes are its own."""
    context = ssl.create_default_context(cafile=env.cert)
    with env.daemon() as d:
        for family in (4, 6):
            with context.wrap_socket(dial(TLS, family), server_hostname=HOST) as s:
                data = random.Random(family).randbytes(300000)
                for at in range(0, len(data), 10000):
                    s.sendall(data[at:at + 10000])
                    assert read_exactly(s, 10000) == data[at:at + 10000]
        entry = d.wait_log("tunnel_open", host=HOST, port=TLS, via="steer")
        assert entry["addr"] == "%s:%d" % (ADDR, TLS) and entry["rule"] == "rule0"


def test_hellos_in_pieces(env):
    with env.daemon() as d:
        for size in (1, 7, 100):
            message = records(hello(KEY_SHARE, sni(HOST.upper() + ".")), size)
            with dial(ECHO) as s:
                for at in range(0, len(message), 97):
                    s.sendall(message[at:at + 97])
                assert read_exactly(s, len(message)) == message  # exactly once, in order
                s.sendall(b"more")
                assert read_exactly(s, 4) == b"more"
        d.wait_count(3, "tunnel_open", host=HOST, via="steer")


def test_tls_refused(env):
    """No name, several, one that no rule names, and one that a rule names on another port: an alert at once."""
    with env.daemon() as d:
        for message, reason in ((hello(), "steer_no_name"), (hello(sni(HOST, OTHER)), "steer_no_name"),
                              (hello(sni("a b.example.org")), "steer_no_name"),
                              (hello(sni("denied.example.org")), "policy_denied"),
                              (hello(sni(OTHER)), "policy_denied"),
                              (hello(sni("127.0.0.1")), "policy_denied"),
                              (hello(sni(PRIVATE)), "ssrf_denied")):
            start = len(d.logs)
            with dial(TLS) as s:
                s.sendall(records(message))
                assert read_to_end(s) == ALERT, (reason, message)
            d.wait_log("tunnel_denied", start=start, reason=reason, port=TLS, via="steer")
        assert d.count_log("tunnel_open") == 0


def test_not_steered_elsewhere(env):
    """The names of others at an address that is no steer address are still nothing."""
    env.net.add_local_route("198.18.0.0", 24, "127.0.0.1")
    with env.daemon("--transparent", "198.18.0.9:443") as d:
        assert is_reset("198.18.0.9", 443)
        d.wait_log("tunnel_denied", reason="not_mapped")


def test_not_steered_behind_redirect(env):
    """nft's redirect makes the map's addresses the steer address: what was dialled counts, not what it became."""
    subprocess.run(["nft", "-f", "-"], check=True, text=True, input="""table inet capture {
        chain out { type nat hook output priority -100; ip daddr 198.19.0.0/24 tcp dport 443 redirect to :%d; }
    }""" % ECHO)
    env.net.add_local_route("198.19.0.0", 24, "127.0.0.1")
    try:
        with env.daemon() as d:
            assert is_reset("198.19.0.7", 443)
            d.wait_log("tunnel_denied", reason="not_mapped", port=443)
            assert d.count_log("tunnel_open") == 0
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "capture"], check=True)


def test_silence(env):
    """A server that speaks first cannot be steered: both wait, until the head timer says why."""
    with env.daemon("--head-timeout", "400ms") as d:
        with dial(BANNER) as s:
            assert reset_or_end(s) == "reset"
        d.wait_log("tunnel_denied", reason="steer_no_name", port=BANNER)
        with dial(TLS) as s:  # a hello that never ends
            s.sendall(RIGHT[:40])
            assert reset_or_end(s) in ("reset", ALERT)
        with dial(ECHO) as s:  # no TLS, no HTTP: at once
            s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            assert reset_or_end(s) == "reset"
        d.wait_count(3, "tunnel_denied", reason="steer_no_name")
        with dial(ECHO):
            pass
        with dial(TLS) as s:
            s.sendall(RIGHT[:40])
            s.shutdown(socket.SHUT_WR)
            assert reset_or_end(s) in ("reset", ALERT)
    assert d.count_log("tunnel_open") == 0


def test_sni_check_beside(env):
    """--sni enforce looks at the same bytes once more, and agrees."""
    context = ssl.create_default_context(cafile=env.cert)
    with env.daemon("--sni", "enforce") as d:
        with context.wrap_socket(dial(TLS), server_hostname=HOST) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        assert d.count_log("sni_mismatch") == 0


# ---- HTTP ----

def test_http(env):
    """Each request goes by its own Host, on one connection, to the port that was connected to."""
    with env.daemon() as d:
        with dial(WEB) as s:
            for host in (HOST, OTHER, HOST.upper() + ":8080", HOST):
                status, body = request(s, "GET /a?b=c HTTP/1.1\nHost: %s\n\n" % host)
                said = json.loads(body)
                assert status == 200 and said["line"] == "GET /a?b=c HTTP/1.1", said
                assert said["host"] == "%s:8080" % host.lower().split(":")[0], said
            status, body = request(s, "POST / HTTP/1.1\nHost: %s\nContent-Length: 5\n\nhello" % HOST)
            assert status == 200 and json.loads(body)["body"] == 5
            status, body = request(s, "GET http://%s:8080/x HTTP/1.1\nHost: denied.example.org\n\n" % OTHER)
            assert status == 200 and json.loads(body)["host"] == OTHER + ":8080"  # RFC 9112 3.2.2
            status, body = request(s, "OPTIONS * HTTP/1.1\nHost: %s\n\n" % HOST)
            assert status == 200 and json.loads(body)["line"] == "OPTIONS * HTTP/1.1"
        d.wait_log("forward", host=OTHER, method="GET", status=200, rule="rule1", via="steer")
    assert all("Via: " in r for r in env.requests)


def test_http_refused(env):
    env.requests.clear()
    with env.daemon():
        for text, status, reason in (
                ("GET / HTTP/1.1\nHost: denied.example.org\n\n", 403, "policy_denied"),
                ("GET / HTTP/1.1\nHost: %s:443\n\n" % HOST, 400, "bad_request"),
                ("GET http://%s/ HTTP/1.1\nHost: %s\n\n" % (HOST, HOST), 400, "bad_request"),  # port 80
                ("GET https://%s:8080/ HTTP/1.1\nHost: %s\n\n" % (HOST, HOST), 400, "bad_request"),
                ("GET / HTTP/1.1\n\n", 400, "bad_request"), ("GET / HTTP/1.0\n\n", 400, "bad_request"),
                ("GET / HTTP/1.1\nHost:\n\n", 400, "bad_request"),
                ("GET / HTTP/1.1\nHost: %s\nHost: %s\n\n" % (HOST, OTHER), 400, "bad_request"),
                ("GET / HTTP/1.1\nHost: user@%s\n\n" % HOST, 400, "bad_request"),
                ("CONNECT %s:8080 HTTP/1.1\nHost: %s\n\n" % (HOST, HOST), 400, "bad_request"),
                ("TRACE / HTTP/1.1\nHost: %s\n\n" % HOST, 405, "method_not_allowed"),
                ("GET * HTTP/1.1\nHost: %s\n\n" % HOST, 400, "bad_request"),
                ("GET /#x HTTP/1.1\nHost: %s\n\n" % HOST, 400, "bad_request"),
                ("GET / HTTP/1.1\nHost: %s\nTransfer-Encoding: chunked\nContent-Length: 1\n\n" % HOST, 400,
                 "bad_request")):
            with dial(WEB) as s:
                got, body = request(s, text)
                assert got == status and json.loads(body)["error"] == reason, (text, got, body)
    assert not env.requests


def test_http_upgrade(env):
    with env.daemon() as d:
        with dial(WEB) as s:
            s.sendall(b"GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" % HOST.encode())
            assert b" 101 " in read_head(s)
            s.sendall(b"frames")
            assert read_exactly(s, 6) == b"frames"
        d.wait_log("tunnel_open", host=HOST, port=WEB)


def test_both_daemons(env):
    """The whole chain: the name is asked, its address connected to, the server reached."""
    context = ssl.create_default_context(cafile=env.cert)
    with env.dnsd("--steer-address", HERE[4]) as dnsd, env.daemon() as d:
        address = socket.inet_ntoa(ask(dnsd, HOST, w.A).answer[0].data)
        with context.wrap_socket(captured.dial(address, TLS), server_hostname=HOST) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        before = d.port
        d.reload(policy(dict(host=OTHER, ports=[WEB])))
        with captured.dial(address, TLS) as s:
            s.sendall(RIGHT)
            assert read_to_end(s) == ALERT
        assert d.port == before


def test_heads_are_limited(env):
    """Connections that have not named a host yet are unfinished requests; whichever of them comes too late is reset."""
    with env.daemon("--max-heads-per-client", "3") as d:
        held = []
        for _ in range(8):
            try:
                held.append(dial(TLS))
                held[-1].sendall(RIGHT[:20])
            except ConnectionError:  # refused already, maybe before connect() has returned
                pass
        d.wait_count(5, "tunnel_denied", reason="limit_reached")
        for s in held:
            s.close()
        d.wait_count(3, "tunnel_denied", reason="steer_no_name")
        context = ssl.create_default_context(cafile=env.cert)
        with context.wrap_socket(dial(TLS), server_hostname=HOST) as s:  # there is room again
            s.sendall(b"x")
            assert s.recv(1) == b"x"


if __name__ == "__main__":
    captured.main(Lab, globals(), 1)
