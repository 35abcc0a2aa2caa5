# SPDX-License-Identifier: Apache-2.0
"""openshell-tunneld in front of another proxy: --chain-proxy with a parent that does what the test says.

Everything runs in a fresh network namespace, as in tunneld.py. The first label of the host that the parent is asked
for is the name of its script. Arguments choose tests by name.
"""
import base64
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import lab
from lab import Daemon, connect, is_ended, read_exactly, read_head, read_to_end, refused, wait_until

ADDR4, ADDR6, OWN4 = "45.33.32.1", "2600:9000::1", "45.33.32.2"
ECHO = 7001
POOL4 = "198.18.0.0/24"
SECRET = "chain-user:s3cret word"
OK = b"HTTP/1.1 200 OK\r\n\r\n"

ZONE = {
    ("echo.example.org", 1): [ADDR4],
    ("proxy.example.net", 1): ["127.0.0.1"],
    ("ourselves.example.net", 1): [OWN4],
    ("empty.example.net", 16): [],
    ("silence.example.net", 1): None,
    ("silence.example.net", 28): None,
    ("both.l7.example.org", 1): [ADDR4],
    ("both.l7.example.org", 28): [ADDR6],
    ("six.l7.example.org", 28): [ADDR6],
    ("ten.l7.example.org", 1): ["10.1.2.3"],
    ("mixed.l7.example.org", 1): ["127.0.0.1", ADDR4],
    ("servfail.l7.example.org", 1): 2,
    ("servfail.l7.example.org", 28): 2,
}


def policy(*endpoints, extra=""):
    """A policy with one rule per endpoint; JSON is YAML."""
    text = "version: 1\nnetwork_policies:\n"
    for i, one in enumerate(endpoints):
        rule = dict(name="rule%d" % i, endpoints=[one], binaries=[dict(path="/**")])
        text += "  rule%d: %s\n" % (i, json.dumps(rule))
    return text + extra


def rest(host, **more):
    return dict(host=host, port=ECHO, protocol="rest", enforcement="enforce", access="read-only", **more)


def plain(host, **more):
    return dict(host=host, port=ECHO, **more)


ALL = policy(rest("*.l7.example.org"), plain("*.chain.example.org", proxy="chain"), plain("echo.example.org"),
             plain(ADDR4, proxy="chain"), plain("127.0.0.1", proxy="chain"))


class Parent:
    """A proxy whose answers are scripts; asked holds every head it was sent."""

    def __init__(self):
        self.asked = []
        self.closed = threading.Event()  # a connection of `mute` has ended
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listening.getsockname()[1]
        self.url = "http://127.0.0.1:%d" % self.port
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            conn, _ = self.listening.accept()
            conn.settimeout(60)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            with conn:
                head = read_head(conn).decode("latin-1")
                self.asked.append(head)
                host = head.split(" ")[1]
                getattr(self, "do_" + host.split(".")[0].replace("-", "_"), self.do_ok)(conn)
        except (OSError, AssertionError):
            pass

    def heads_for(self, start):
        return [h for h in list(self.asked) if h.startswith("CONNECT " + start)]

    @staticmethod
    def echo(conn):
        while True:
            data = conn.recv(65536)
            if not data:
                return
            conn.sendall(data)

    def do_ok(self, conn):
        conn.sendall(OK)
        self.echo(conn)

    def do_banner(self, conn):
        conn.sendall(OK + b"SSH-2.0-banner\r\n")
        self.echo(conn)

    def do_body(self, conn):
        """A length on the 200 means nothing: what follows is the tunnel's."""
        conn.sendall(b"HTTP/1.0 200 Connection established\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabcdef")
        self.echo(conn)

    def do_204(self, conn):
        """Any 2xx stands for a tunnel (RFC 9110, 9.3.6)."""
        conn.sendall(b"HTTP/1.1 204 No Content\r\n\r\nabcdef")
        self.echo(conn)

    def do_interim(self, conn):
        conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
        self.echo(conn)

    def do_bytewise(self, conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(OK)):
            conn.sendall(OK[i:i + 1])
            time.sleep(0.005)
        self.echo(conn)

    @staticmethod
    def do_large(conn):
        """Right behind the head, more than any buffer here holds."""
        conn.sendall(OK + lab.pattern(1 << 20, 7))

    @staticmethod
    def do_fin(conn):
        conn.sendall(OK + b"all there is")

    @staticmethod
    def answer(conn, status, body=b"secret of the parent"):
        conn.sendall(b"HTTP/1.1 %d x\r\nProxy-Authenticate: Basic realm=\"parent\"\r\nContent-Length: %d\r\n\r\n%s" %
                     (status, len(body), body))

    def do_407(self, conn):
        self.answer(conn, 407)

    def do_403(self, conn):
        self.answer(conn, 403)

    def do_302(self, conn):
        self.answer(conn, 302)

    def do_101(self, conn):
        self.answer(conn, 101)

    def do_503(self, conn):
        self.answer(conn, 503)

    def do_password(self, conn):
        """Like a real one: 407 without the right credentials."""
        want = "\r\nProxy-Authorization: Basic %s\r\n" % base64.b64encode(SECRET.encode()).decode()
        if want in self.asked[-1]:
            self.do_ok(conn)
        else:
            self.answer(conn, 407)

    def do_close(self, conn):
        pass

    def do_half(self, conn):
        conn.sendall(b"HTTP/1.1 200 O")

    def do_reset(self, conn):
        conn.sendall(b"HTTP/1.1 200 O")
        lab.reset(conn)

    def do_garbage(self, conn):
        conn.sendall(b"220 mail.example ESMTP\r\n")
        conn.recv(1)

    def do_oversize(self, conn):
        conn.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
        conn.recv(1)

    def do_flood(self, conn):
        while True:
            conn.sendall(b"HTTP/1.1 100 x\r\n\r\n")

    def do_drip(self, conn):
        for byte in b"HTTP/1.1 200 " + b"x" * 200:
            conn.sendall(bytes([byte]))
            time.sleep(0.05)

    def do_mute(self, conn):
        try:
            conn.recv(1)
        finally:
            self.closed.set()


class Lab:
    def __init__(self):
        top = os.environ["top_builddir"]
        self.program = os.path.join(top, "openshell-tunneld")
        self.map_write = os.path.join(top, "tests", "conformance", "map_write")
        net = lab.Netlink()
        net.lo_up()
        for text in (ADDR4, OWN4):
            net.add_addr(text, 32)
        net.add_addr(ADDR6, 128)
        net.add_local_route("198.18.0.0", 24, "127.0.0.1")
        self.dns = lab.Dns(ZONE)
        self.parent = Parent()
        lab.serve(ADDR4, ECHO, Parent.echo)

    def daemon(self, *options, text=ALL, url=None):
        return Daemon(self.program, text, "--upstream", "127.0.0.1:%d" % self.dns.port, "--rate-limit", "0",
                      "--wildcard-budget", "0", "--workers", "2", "--chain-proxy", url or self.parent.url, *options)


def failed(d, host, status=None):
    answer = refused(d, "%s:%d" % (host, ECHO))
    body = answer.json()
    assert answer.status == 502 and body["error"] == "chain_failed" and body["reason"], (host, answer.status, body)
    assert b"secret of the parent" not in answer.body and "Proxy-Authenticate" not in answer.fields, answer.fields
    proxy_status = answer.fields["Proxy-Status"]
    assert ("; received-status=%s" % status in proxy_status) if status else "received" not in proxy_status, proxy_status
    return body["reason"], proxy_status


def echoes(sock):
    sock.sendall(b"ping")
    return read_exactly(sock, 4) == b"ping"


# ---- what the parent answers ----

def test_established(env):
    with env.daemon() as d:
        for host in ("ok.l7.example.org", "ok.chain.example.org", "interim.l7.example.org", "bytewise.l7.example.org"):
            with connect(d, "%s:%d" % (host, ECHO)) as s:
                assert echoes(s), host
            assert env.parent.heads_for("%s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (host, ECHO, host, ECHO)), host
        opened = d.wait_log("tunnel_open", host="ok.l7.example.org")
        assert opened["addr"] == "127.0.0.1:%d" % env.parent.port, opened
        assert opened["chain"] == "ok.l7.example.org:%d" % ECHO and opened["rule"] == "rule0", opened
        closed = d.wait_log("tunnel_close", host="ok.l7.example.org")
        assert closed["chain"] == opened["chain"] and closed["bytes_up"] == closed["bytes_down"] == 4, closed
        with connect(d, "echo.example.org:%d" % ECHO) as s:  # what needs no chain does not go there
            assert echoes(s)
        opened = d.wait_log("tunnel_open", host="echo.example.org")
        assert "chain" not in opened and opened["addr"] == "%s:%d" % (ADDR4, ECHO), opened
    assert not env.parent.heads_for("echo.example.org")
    assert not any(name.endswith((".l7.example.org", ".chain.example.org")) and name.startswith(("ok.", "interim."))
                   for name, _ in env.dns.asked), "names are the parent's to resolve"


def test_bytes_behind_the_head(env):
    with env.daemon() as d:
        with connect(d, "banner.l7.example.org:%d" % ECHO) as s:
            assert read_exactly(s, 16) == b"SSH-2.0-banner\r\n"
            assert echoes(s)
        for host in ("body.l7.example.org", "204.l7.example.org"):
            with connect(d, "%s:%d" % (host, ECHO)) as s:
                assert read_exactly(s, 6) == b"abcdef", host
                assert echoes(s), host
        with connect(d, "large.l7.example.org:%d" % ECHO) as s:
            assert read_to_end(s) == lab.pattern(1 << 20, 7)
        with connect(d, "fin.l7.example.org:%d" % ECHO) as s:
            assert read_to_end(s) == b"all there is"


def test_early_bytes(env):
    early = lab.pattern(20000, 3)
    with env.daemon() as d:
        with connect(d, "ok.l7.example.org:%d" % ECHO, early) as s:
            assert read_exactly(s, len(early)) == early
        with connect(d, "bytewise.l7.example.org:%d" % ECHO, b"x") as s:
            assert read_exactly(s, 1) == b"x"
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == b""
    assert all(h.endswith("\r\n\r\n") and h.count("\r\n\r\n") == 1 for h in env.parent.asked)


def test_refused_by_parent(env):
    with env.daemon() as d:
        why, status = failed(d, "407.l7.example.org", 407)
        assert "give --chain-auth-file" in why and "error=proxy_configuration_error" in status, (why, status)
        why, status = failed(d, "403.l7.example.org", 403)
        assert "its own rules" in why and "error=destination_unavailable" in status, (why, status)
        why, _ = failed(d, "503.chain.example.org", 503)
        assert "could not reach" in why, why
        for code in (302, 101):
            failed(d, "%d.l7.example.org" % code, code)
        line = d.wait_log("tunnel_failed", reason="chain_failed", host="407.l7.example.org")
        assert line["received_status"] == 407 and line["rule"] == "rule0" and "--chain-auth-file" in line["why"], line
        assert line["addr"] == "127.0.0.1:%d" % env.parent.port, line


def test_broken_parent(env):
    rows = {"close": "http_response_incomplete", "half": "http_response_incomplete", "reset": "http_response_incomplete",
            "garbage": "http_protocol_error", "oversize": "http_response_header_section_size",
            "flood": "http_response_header_section_size"}
    with env.daemon() as d:
        before = lab.fds_at_rest([d])
        for script, error in rows.items():
            host = script + ".l7.example.org"
            answer = refused(d, "%s:%d" % (host, ECHO))
            assert answer.status == 502 and answer.json()["error"] == "chain_failed", (script, answer.body)
            assert "error=%s;" % error in answer.fields["Proxy-Status"], (script, answer.fields)
            d.wait_log("tunnel_failed", reason="chain_failed", host=host)
        assert lab.fds_at_rest([d]) == before


def test_slow_parent(env):
    """The connect timeout is for everything up to the 200."""
    with env.daemon("--connect-timeout", "600ms") as d:
        for script in ("mute", "drip"):
            began = time.monotonic()
            why, status = failed(d, script + ".l7.example.org")
            assert 0.5 < time.monotonic() - began < 3, script
            assert "--connect-timeout" in why and "error=http_response_timeout" in status, (why, status)


def test_no_parent(env):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with env.daemon(url="http://127.0.0.1:%d" % port) as d:
        why, status = failed(d, "ok.l7.example.org")
        assert "connection refused" in why and "error=connection_refused" in status, (why, status)
    held = lab.silent_listener(OWN4, 7003)
    with env.daemon("--connect-timeout", "500ms", url="http://%s:7003" % OWN4) as d:
        why, status = failed(d, "ok.l7.example.org")
        assert "in time" in why and "error=connection_timeout" in status, (why, status)
    for s in held:
        s.close()


def test_client_goes(env):
    """A client that resets while the parent thinks: the parent's connection ends too."""
    env.parent.closed.clear()
    with env.daemon() as d:
        s = d.dial()
        s.sendall(b"CONNECT mute.chain.example.org:%d HTTP/1.1\r\n\r\n" % ECHO)
        wait_until(lambda: env.parent.heads_for("mute.chain.example.org"))
        lab.reset(s)
        assert env.parent.closed.wait(lab.GIVE_UP_S)
        d.wait_log("tunnel_failed", reason="client_reset")


# ---- where the parent is, and what it is asked for ----

def test_parent_by_name(env):
    with env.daemon(url="http://Proxy.example.net:%d/" % env.parent.port) as d:
        with connect(d, "ok.l7.example.org:%d" % ECHO) as s:
            assert echoes(s)
        line = d.wait_log("chain_proxy")
        assert line["proxy"] == "proxy.example.net:%d" % env.parent.port and line["target"] == "name", line
        assert "chain proxy's to check" in line["checked_here"], line
    with env.daemon(url="http://empty.example.net:%d" % env.parent.port) as d:
        why, status = failed(d, "ok.l7.example.org")
        assert "has no address" in why and "error=dns_error" in status, (why, status)
    with env.daemon("--connect-timeout", "500ms", url="http://silence.example.net:1") as d:
        why, status = failed(d, "ok.l7.example.org")
        assert "not resolved in time" in why and "error=dns_timeout" in status, (why, status)


def test_own_listener(env):
    listen = ("--listen", OWN4 + ":7002")
    with env.daemon(*listen, url="http://ourselves.example.net:7002") as d:
        answer = refused(d, "ok.l7.example.org:%d" % ECHO)
        assert answer.status == 502 and answer.json()["error"] == "proxy_loop", answer.body
        assert "error=proxy_loop_detected" in answer.fields["Proxy-Status"], answer.fields
    for url in ("http://%s:7002" % OWN4, "http://0.0.0.0:7002", "http://[::ffff:%s]:7002" % OWN4):
        status, said = run_once(env, "--chain-proxy", url, *listen)
        assert status == 78 and "it would ask itself" in said, (url, status, said)
    status, said = run_once(env, "--chain-proxy", "http://127.0.0.2:7002", "--listen", "0.0.0.0:7002")
    assert status == 78 and "it would ask itself" in said, (status, said)


def test_by_address(env):
    with env.daemon("--chain-target", "address") as d:
        assert d.wait_log("chain_proxy")["target"] == "address"
        for host, literal in (("both.l7", ADDR4), ("six.l7", "[%s]" % ADDR6), ("mixed.l7", ADDR4)):
            with connect(d, "%s.example.org:%d" % (host, ECHO)) as s:
                assert echoes(s)
            opened = d.wait_log("tunnel_open", host=host + ".example.org")
            assert opened["chain"] == "%s:%d" % (literal, ECHO), opened
            assert env.parent.asked[-1] == "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % ((literal, ECHO) * 2)
        asked = len(env.parent.asked)
        answer = refused(d, "ten.l7.example.org:%d" % ECHO)
        assert answer.status == 403 and answer.json()["error"] == "ssrf_denied", answer.body
        d.wait_log("tunnel_denied", reason="ssrf_denied", addr="10.1.2.3:%d" % ECHO)
        for host in ("servfail", "nx"):
            answer = refused(d, "%s.l7.example.org:%d" % (host, ECHO))
            assert answer.status == 502 and answer.json()["error"] == "dns_failed", answer.body
        assert len(env.parent.asked) == asked, "the parent was asked for what is denied"


def test_literals_are_judged(env):
    """An address literal is known here whatever --chain-target says."""
    with env.daemon() as d:
        with connect(d, "%s:%d" % (ADDR4, ECHO)) as s:
            assert echoes(s)
        assert env.parent.heads_for("%s:%d " % (ADDR4, ECHO))
        answer = refused(d, "127.0.0.1:%d" % ECHO)
        assert answer.status == 403 and answer.json()["error"] == "ssrf_denied", answer.body
    assert not env.parent.heads_for("127.0.0.1")


def test_denied_is_not_asked(env):
    with env.daemon() as d:
        asked = len(env.parent.asked)
        for target in ("other.example.org:%d" % ECHO, "ok.l7.example.org:1", "10.0.0.1:%d" % ECHO):
            answer = refused(d, target)
            assert answer.status == 403 and answer.json()["error"] == "policy_denied", answer.body
        assert len(env.parent.asked) == asked


# ---- which endpoints ----

def test_without_a_parent(env):
    text = policy(rest("ok.l7.example.org"), plain("ok.chain.example.org", proxy="chain"),
                  rest("echo.example.org", proxy="direct"))
    common = ("--upstream", "127.0.0.1:%d" % env.dns.port, "--workers", "1")
    with Daemon(env.program, text, *common) as d:
        for host, what in (("ok.l7", "give --chain-proxy"), ("ok.chain", "there is no --chain-proxy")):
            answer = refused(d, "%s.example.org:%d" % (host, ECHO))
            assert answer.status == 403 and answer.json()["error"] == "l7_inspection_required", answer.body
            assert what in answer.json()["reason"], answer.body
        with connect(d, "echo.example.org:%d" % ECHO) as s:
            assert echoes(s)
        assert sum("--chain-proxy" in line and "policy_warning" in line for line in d.stderr_lines) == 2
        assert sum("carried raw" in line and "policy_warning" in line for line in d.stderr_lines) == 1
    with Daemon(env.program, text, "--l7", "tunnel", *common) as d:  # not what says proxy: chain
        answer = refused(d, "ok.chain.example.org:%d" % ECHO)
        assert answer.status == 403 and answer.json()["error"] == "l7_inspection_required", answer.body


def test_direct_and_l7_tunnel(env):
    """proxy: direct is carried raw though there is a parent; --l7=tunnel takes nothing from the parent."""
    text = policy(rest("echo.example.org", proxy="direct"), rest("ok.l7.example.org"))
    with env.daemon("--l7", "tunnel", text=text) as d:
        asked = len(env.parent.asked)
        with connect(d, "echo.example.org:%d" % ECHO) as s:
            assert echoes(s)
        assert len(env.parent.asked) == asked
        with connect(d, "ok.l7.example.org:%d" % ECHO) as s:
            assert echoes(s)
        assert "chain" in d.wait_log("tunnel_open", host="ok.l7.example.org")
        assert d.count_log("l7_carried_raw") == 0


def test_exceptions(env):
    text = policy(rest("both.l7.example.org"), plain("echo.example.org", proxy="chain"), plain(ADDR4, proxy="chain"),
                  plain("ok.chain.example.org", proxy="chain"))
    excepts = ("--chain-except", "*.l7.example.org", "--chain-except", "echo.example.org:%d" % ECHO,
               "--chain-except", ADDR4 + "/32", "--chain-except", "ok.chain.example.org:1")
    with env.daemon(*excepts, text=text) as d:
        asked = len(env.parent.asked)
        for host in ("echo.example.org", ADDR4):
            with connect(d, "%s:%d" % (host, ECHO)) as s:
                assert echoes(s)
            assert "chain" not in d.wait_log("tunnel_open", host=host)
        answer = refused(d, "both.l7.example.org:%d" % ECHO)  # a raw tunnel would widen it
        assert answer.status == 403 and answer.json()["error"] == "l7_inspection_required", answer.body
        assert "--chain-except" in answer.json()["reason"], answer.body
        assert len(env.parent.asked) == asked
        with connect(d, "ok.chain.example.org:%d" % ECHO) as s:  # only on another port
            assert echoes(s)
        assert len(env.parent.asked) == asked + 1
    with env.daemon("--l7", "tunnel", *excepts, text=text) as d:
        d.wait_log("l7_carried_raw", rule="rule0")
        d.wait_count(1, "l7_carried_raw", rule="rule0")
        with connect(d, "both.l7.example.org:%d" % ECHO) as s:
            assert echoes(s)


def test_bad_options(env):
    for options, what in (
            (("--chain-proxy", "https://a.example:1"), "plain HTTP"), (("--chain-proxy", "a.example:1"), "http://"),
            (("--chain-proxy", "http://a.example"), "port"), (("--chain-proxy", "http://a.example:0"), "port"),
            (("--chain-proxy", "http://a.example:1/x"), "port"), (("--chain-proxy", "http://a b:1"), "host"),
            (("--chain-proxy", "http://::1:1"), "host"), (("--chain-proxy", "http://u:pw@a.example:1"), "--chain-auth-file"),
            (("--chain-auth-file", "/x"), "without --chain-proxy"), (("--chain-except", "a.example"), "without --chain-proxy"),
            (("--chain-proxy", "http://a.example:1", "--chain-except", "*"), "--chain-except"),
            (("--chain-proxy", "http://a.example:1", "--chain-except", "a.example:x"), "--chain-except"),
            (("--chain-proxy", "http://a.example:1", "--chain-target", "ip"), "--chain-target")):
        status, said = run_once(env, *options)
        assert status == 64 and what in said and "pw" not in said, (options, status, said)


# ---- credentials ----

@contextlib.contextmanager
def auth_file(text, mode=0o600):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "auth")
        with open(path, "wb") as f:
            f.write(text)
        os.chmod(path, mode)
        yield path


def test_credentials(env):
    with auth_file(SECRET.encode() + b"\n") as path, env.daemon("--chain-auth-file", path, "--log-level", "debug") as d:
        with connect(d, "password.l7.example.org:%d" % ECHO) as s:
            assert echoes(s)
        why, _ = failed(d, "407.l7.example.org", 407)
        assert "does not accept the credentials" in why, why
        with open(path, "w", encoding="utf-8") as f:  # rotated: taken at the next reload
            f.write("chain-user:rotated-pw\n")
        d.process.send_signal(signal.SIGHUP)
        d.wait_log("policy_unchanged")
        failed(d, "password.l7.example.org", 407)
        os.chmod(path, 0o644)  # no longer fit: the last good ones stay
        with open(path, "w", encoding="utf-8") as f:
            f.write(SECRET)
        d.process.send_signal(signal.SIGHUP)
        kept = d.wait_log("chain_credentials_kept")
        assert kept["level"] == "error" and path in kept["why"], kept
        failed(d, "password.l7.example.org", 407)
        os.chmod(path, 0o600)
        d.process.send_signal(signal.SIGHUP)
        wait_until(lambda: d.count_log("policy_unchanged") >= 3)
        with connect(d, "password.l7.example.org:%d" % ECHO) as s:
            assert echoes(s)
        secrets = [SECRET, "s3cret", base64.b64encode(SECRET.encode()).decode(), "rotated-pw"]
        assert not [line for line in d.stderr_lines if any(word in line for word in secrets)]


def check_another_user(env, uid):
    """--user: the file may be that user's, and must be readable for it, which is found out before READY."""
    with auth_file(b"u:p\n") as path:
        directory = os.path.dirname(path)
        os.chmod(directory, 0o755)
        policy_path = os.path.join(directory, "policy.yaml")
        with open(policy_path, "w", encoding="utf-8") as f:
            f.write(ALL)
        options = ["--upstream", "127.0.0.1", "--chain-proxy", env.parent.url, "--chain-auth-file", path, "--user", "nobody"]
        os.chown(path, uid, -1)
        with Daemon(env.program, None, *options, policy_path=policy_path) as d:
            d.process.send_signal(signal.SIGHUP)
            d.wait_log("policy_unchanged")
            assert d.count_log("chain_credentials_kept") == 0
        os.chown(path, 0, -1)
        command = [env.program, "--policy", policy_path, "--listen", "127.0.0.1:0", *options]
        done = subprocess.run(command, stderr=subprocess.PIPE, timeout=20, check=False)
        assert done.returncode == 78 and path.encode() in done.stderr, done.stderr


def test_bad_credentials(env):
    rows = ((b"u:p\n", 0o644, "chmod"), (b"u:p\n", 0o620, "chmod"), (b"u:p\nx:y\n", 0o600, "second line"),
            (b"up\n", 0o600, "USER:PASSWORD"), (b":p\n", 0o600, "USER:PASSWORD"), (b"", 0o600, "USER:PASSWORD"),
            (b"u:\x01\n", 0o600, "control"), (b"u:" + b"p" * 511, 0o600, "512"))
    for text, mode, what in rows:
        with auth_file(text, mode) as path:
            status, said = run_once(env, "--chain-proxy", env.parent.url, "--chain-auth-file", path)
            assert status == 78 and what in said and path in said, (text, status, said)
            status, _ = run_once(env, "--chain-proxy", env.parent.url, "--chain-auth-file", path, "--check")
            assert status == 78, text
    for path in ("/nonexistent", "/dev/null", "/tmp"):
        status, said = run_once(env, "--chain-proxy", env.parent.url, "--chain-auth-file", path)
        assert status == 78 and path in said, (path, status, said)
    for text, mode in ((b"u:p:q", 0o400), (b"u:\r\n", 0o640), (b"u:" + b"p" * 510 + b"\r\n", 0o600)):
        with auth_file(text, mode) as path:
            status, said = run_once(env, "--chain-proxy", env.parent.url, "--chain-auth-file", path, "--check")
            assert status == 0, (text, status, said)
    if os.getuid() == 0:
        check_another_user(env, pwd.getpwnam("nobody").pw_uid)
        with auth_file(b"u:p\n") as path:
            os.chown(path, 12345, -1)
            status, said = run_once(env, "--chain-proxy", env.parent.url, "--chain-auth-file", path)
            assert status == 78 and "another user" in said, (status, said)


# ---- reload ----

def test_reload(env):
    chained, raw = policy(plain("echo.example.org", proxy="chain")), policy(plain("echo.example.org"))
    with env.daemon("--revoke-grace", "300ms", text=chained) as d:
        with connect(d, "echo.example.org:%d" % ECHO) as s:
            d.reload(policy(plain("echo.example.org", proxy="chain"), plain("x.example.org")))
            time.sleep(0.6)  # longer than the grace
            assert echoes(s), "a tunnel that is still admitted was touched"
            d.reload(raw)
            assert is_ended(s)
        d.wait_log("tunnel_close", reason="policy_changed", chain="echo.example.org:%d" % ECHO)
        with connect(d, "echo.example.org:%d" % ECHO) as s:
            assert echoes(s)
            d.reload(chained)
            assert is_ended(s)
        d.wait_count(2, "tunnel_close", reason="policy_changed")
        with connect(d, "echo.example.org:%d" % ECHO) as s:
            d.reload(policy(plain("x.example.org")))
            assert is_ended(s)


def test_reload_by_address(env):
    """In this mode the address is judged again too."""
    endpoint = rest("both.l7.example.org")
    with env.daemon("--revoke-grace", "200ms", "--chain-target", "address", text=policy(endpoint)) as d:
        with connect(d, "both.l7.example.org:%d" % ECHO) as s:
            d.reload(policy(endpoint, plain("x.example.org")))
            time.sleep(0.4)
            assert echoes(s)
            d.reload(policy(endpoint, extra="egress: { never: [\"%s:%d\"] }\n" % (ADDR4, ECHO)))
            assert is_ended(s)


def test_reload_while_the_parent_thinks(env):
    with env.daemon() as d:
        with d.dial() as s:
            s.sendall(b"CONNECT mute.l7.example.org:%d HTTP/1.1\r\n\r\n" % ECHO)
            wait_until(lambda: env.parent.heads_for("mute.l7.example.org"))
            d.reload(policy(plain("x.example.org")))
            assert read_head(s).startswith(b"HTTP/1.1 403 ")


# ---- captured connections ----

def test_capture(env):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "map")
        names = ["banner.l7.example.org", "403.l7.example.org"]
        out = subprocess.run([env.map_write, path, "3600", POOL4, *names], check=True, stdout=subprocess.PIPE)
        given = {line.split()[0]: line.split()[1] for line in out.stdout.decode().splitlines()}
        options = ["--map", path, "--pool", POOL4]
        for addr in given.values():
            options += ["--transparent", "%s:%d" % (addr, ECHO)]
        with env.daemon(*options) as d:
            with socket.create_connection((given["banner.l7.example.org"], ECHO), lab.GIVE_UP_S) as s:
                s.settimeout(lab.GIVE_UP_S)
                assert read_exactly(s, 16) == b"SSH-2.0-banner\r\n"
            opened = d.wait_log("tunnel_open", via="capture")
            assert opened["chain"] == "banner.l7.example.org:%d" % ECHO, opened
            try:
                with socket.create_connection((given["403.l7.example.org"], ECHO), lab.GIVE_UP_S) as s:
                    assert is_ended(s)
            except ConnectionResetError:
                pass  # the reset came before connect() had returned
            d.wait_log("tunnel_failed", reason="chain_failed", via="capture", received_status=403)


# ---- a real proxy ----

def test_tinyproxy(env):
    program = shutil.which("tinyproxy")
    if program is None:
        print("SKIP test_tinyproxy: tinyproxy is not installed", flush=True)
        return
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        path = os.path.join(directory, "conf")
        with open(path, "w", encoding="ascii") as f:
            f.write("Port %d\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nBasicAuth joe secret\nAllow 127.0.0.1\n"
                    "LogFile \"%s/log\"\n" % (port, directory))
        proxy = subprocess.Popen([program, "-d", "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: can_connect(port))
            url = "http://127.0.0.1:%d" % port
            text = policy(rest("both.l7.example.org"), plain("127.0.0.1", proxy="chain"))
            with env.daemon("--chain-target", "address", text=text, url=url) as d:
                why, _ = failed(d, "both.l7.example.org", 407)
                assert "give --chain-auth-file" in why, why
            with auth_file(b"joe:secret") as auth:
                with env.daemon("--chain-target", "address", "--chain-auth-file", auth, text=text, url=url) as d:
                    early = lab.pattern(30000, 1)
                    with connect(d, "both.l7.example.org:%d" % ECHO, early) as s:
                        assert read_exactly(s, len(early)) == early
                        assert echoes(s)
        finally:
            proxy.terminate()
            proxy.wait(lab.GIVE_UP_S)


# ---- helpers and main ----

def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def run_once(env, *options):
    """For starts that must fail: exit status and standard error."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "policy.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(ALL)
        command = [env.program, "--policy", path, "--upstream", "127.0.0.1", *options]
        if "--listen" not in options:
            command += ["--listen", "127.0.0.1:0"]
        done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, timeout=20, check=False)
        return done.returncode, done.stderr.decode()


def main():
    lab.enter_namespace()
    env = Lab()
    if not os.access(env.program, os.X_OK):
        sys.exit("%s is not built" % env.program)
    os._exit(0 if lab.run_tests(globals(), env) else 1)  # server threads never end


main()
