# SPDX-License-Identifier: Apache-2.0
"""openshell-tunneld at its limits: in all, per client, per rule, unfinished heads, descriptors.

The lab is that of tunneld.py. Arguments choose tests by name.
"""
import concurrent.futures
import http.client
import os
import resource
import socket
import time

import lab
from lab import connect, read_exactly, read_to_end, refused, wait_until
from tunneld import ADDR4, ALL, DIGEST, ECHO, MUTE, connects, endpoint, main, policy, resource_seconds, try_connect

FOUR = "four.example.org:%d" % ECHO
HALF = b"CONNECT " + FOUR.encode() + b" HTTP/1.1\r\nX-Slow: "
WEB = 7021  # answers every head with the same page
OTHER = "127.0.0.2"  # another client


def dial_from(d, source):
    s = socket.create_connection(("127.0.0.1", d.port), lab.GIVE_UP_S, (source, 0))
    s.settimeout(lab.GIVE_UP_S)
    return s


def half_head(d, source="127.0.0.1", raw=HALF):
    s = dial_from(d, source)
    s.sendall(raw)
    return s


def answer_of(s):
    with s:
        return lab.Answer(lab.read_head(s), read_to_end(s))


def is_limit(answer, status, option):
    body = answer.json()
    assert answer.status == status and body["error"] == "limit_reached", (answer.status, body)
    assert option in body["reason"], body
    assert int(answer.fields["Retry-After"]) > 0, answer.fields
    assert "error=connection_limit_reached" in answer.fields["Proxy-Status"], answer.fields
    return True


class Pages:
    """The admin page of one daemon."""

    def __init__(self, path):
        self.path = path

    def metric(self, name):
        conn = http.client.HTTPConnection("admin")
        conn.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        conn.sock.connect(self.path)
        conn.request("GET", "/metrics")
        text = conn.getresponse().read().decode()
        conn.close()
        return next(int(line.split()[-1]) for line in text.splitlines()
                    if line.split(" ")[0] in (name, name + "_total"))


def admin(d_dir):
    path = os.path.join(d_dir, "admin")
    return ("--admin", "unix:" + path), Pages(path)


def serve_page(sock):
    while sock.recv(1, socket.MSG_PEEK):
        lab.read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


# ---- rules ----

def test_per_rule(env):
    both = policy(endpoint("four.example.org"), endpoint("echo.example.org"))
    with env.scratch() as where:
        option, pages = admin(where)
        with env.daemon(both, "--max-tunnels-per-rule", "2", *option) as d:
            one, two = connect(d, FOUR), connect(d, FOUR)
            assert is_limit(refused(d, FOUR), 503, "--max-tunnels-per-rule")
            denied = d.wait_log("tunnel_denied", reason="limit_reached")
            assert denied["rule"] == "rule0" and "--max-tunnels-per-rule" in denied["why"], denied
            assert pages.metric("openshell_tunneld_limit_reached") == 1
            connect(d, "echo.example.org:%d" % ECHO).close()  # another rule has its own
            d.reload(both + "# read again\n")  # what stands is counted by the rule's name
            assert is_limit(refused(d, FOUR), 503, "--max-tunnels-per-rule")
            one.close()
            wait_until(lambda: try_connect(d))
            lab.reset(two)
            d.wait_count(3, "tunnel_close", host="four.example.org")
            again = [connect(d, FOUR) for _ in range(2)]  # not one place was lost, none is there twice
            assert is_limit(refused(d, FOUR), 503, "--max-tunnels-per-rule")
            for s in again:
                s.close()


def test_per_rule_from_environment(env):
    variables = dict(os.environ, OPENSHELL_TUNNELD_MAX_TUNNELS_PER_RULE="1")
    with env.daemon(policy(endpoint("four.example.org")), env=variables) as d:
        with connect(d, FOUR):
            assert is_limit(refused(d, FOUR), 503, "--max-tunnels-per-rule")


def test_per_rule_counts_what_fails_and_what_is_forwarded(env):
    """A dial that comes to nothing gives its place back; a request for an http:// URL takes one while it lasts."""
    text = policy(dict(host="four.example.org", ports=[WEB, MUTE, ECHO, 7009]))
    raw = b"GET http://four.example.org:%d/ HTTP/1.1\r\nHost: four.example.org\r\n\r\n"
    with env.daemon(text, "--max-tunnels-per-rule", "1") as d:
        for _ in range(3):
            assert refused(d, "four.example.org:7009").status == 502
        with d.dial() as kept, connect(d, FOUR) as tunnel:
            kept.sendall(raw % WEB)
            head = lab.read_head(kept)
            body = read_exactly(kept, int(dict(h.split(": ", 1) for h in head.decode().split("\r\n")[1:] if h)
                                          ["Content-Length"]))
            assert b" 503 " in head and b"limit_reached" in body, (head, body)
            tunnel.close()
            d.wait_log("tunnel_close")

            def is_served():
                kept.sendall(raw % WEB)
                answer = lab.read_head(kept)
                size = int(dict(h.split(": ", 1) for h in answer.decode().split("\r\n")[1:] if h)["Content-Length"])
                body = read_exactly(kept, size)
                assert (b" 200 " in answer and body == b"ok") or b"limit_reached" in body, (answer, body)
                return b" 200 " in answer

            for _ in range(3):  # each gives its place back behind its answer, though the connection stays
                wait_until(is_served)  # of another worker's tunnel the line in the log may come before its place does
            wait_until(lambda: connects(d, FOUR))


# ---- request heads ----

def test_heads_per_client(env):
    with env.scratch() as where:
        option, pages = admin(where)
        with env.daemon(ALL, "--max-heads-per-client", "3", *option) as d:
            halves = [half_head(d) for _ in range(3)]
            wait_until(lambda: pages.metric("openshell_tunneld_heads") == 3)
            assert is_limit(answer_of(d.dial()), 429, "--max-heads-per-client")
            with dial_from(d, OTHER) as s:  # another client has its own
                s.sendall(HALF + b"\r\n\r\n")
                assert b" 200 " in lab.read_head(s)
            halves[0].sendall(b"\r\n\r\n")
            assert b" 200 " in lab.read_head(halves[0])  # a tunnel is no unfinished head
            halves.append(half_head(d))
            wait_until(lambda: pages.metric("openshell_tunneld_heads") == 3)
            assert is_limit(answer_of(d.dial()), 429, "--max-heads-per-client")
            d.wait_log("tunnel_denied", reason="limit_reached")
            for s in halves:
                s.close()
            wait_until(lambda: pages.metric("openshell_tunneld_heads") == 0)
            connect(d, FOUR).close()


def test_heads_on_kept_connections(env):
    """Between requests nothing is unfinished; the next head counts from its first byte."""
    text = policy(dict(host="four.example.org", ports=[WEB, ECHO]))
    raw = b"GET http://four.example.org:%d/ HTTP/1.1\r\nHost: four.example.org\r\n\r\n" % WEB
    with env.scratch() as where:
        option, pages = admin(where)
        with env.daemon(text, "--max-heads-per-client", "1", *option) as d:
            kept = []
            for _ in range(2):
                s = d.dial()
                kept.append(s)
                s.sendall(raw)
                assert b" 200 " in lab.read_head(s) and read_exactly(s, 2) == b"ok"
            with half_head(d):
                wait_until(lambda: pages.metric("openshell_tunneld_heads") == 1)
                kept[0].sendall(raw[:20])
                assert is_limit(answer_of(kept[0]), 429, "--max-heads-per-client")
            wait_until(lambda: pages.metric("openshell_tunneld_heads") == 0)
            kept[1].sendall(raw[:20])
            wait_until(lambda: pages.metric("openshell_tunneld_heads") == 1)
            assert is_limit(answer_of(d.dial()), 429, "--max-heads-per-client")
            kept[1].sendall(raw[20:])
            assert b" 200 " in lab.read_head(kept[1]) and read_exactly(kept[1], 2) == b"ok"
            connect(d, FOUR).close()
            kept[1].close()


def test_head_limit_leaves_room_for_a_storm(env):
    """500 clients behind one address that reconnect at once are served by default."""
    with env.daemon(ALL) as d:
        held = [d.dial() for _ in range(500)]
        for s in held:
            s.sendall(HALF + b"\r\n\r\n")
        for s in held:
            assert b" 200 " in lab.read_head(s)
            s.close()


def test_unfinished_heads_are_cheap(env):
    """What each costs in the daemon: a session and one small buffer, whatever they have sent of it."""
    count = 1000
    shapes = (("nothing", b"", 2048), ("connect", HALF + b"a" * 6000, 2048),
              ("forward", b"GET http://four.example.org/ HTTP/1.1\r\nX-Slow: " + b"a" * 3000, 8192))
    for name, raw, bound in shapes:
        with env.daemon(ALL, "--max-heads-per-client", "0", "--max-tunnels-per-client", "0", "--workers", "1",
                        "--head-timeout", "0") as d:
            warm = [half_head(d, raw=raw) for _ in range(100)]
            wait_until(lambda: d.fd_count() > 100)
            fds, rss = d.fd_count(), d.rss_kib()
            halves = [half_head(d, raw=raw) for _ in range(count)]
            wait_until(lambda: d.fd_count() >= fds + count - 8)  # a few were for the DNS, and have gone
            halves[-1].sendall(b"a")
            assert try_connect(d)  # behind all of them
            each = (d.rss_kib() - rss) * 1024 // count
            print("an unfinished head (%s): %d bytes" % (name, each), flush=True)
            assert lab.is_sanitized(env.program) or each <= bound, (name, each)
            for s in warm + halves:
                lab.reset(s)


def test_flood_of_heads_does_not_stop_others(env):
    """One client opens connections without a head as fast as it can; another hardly notices."""
    with env.daemon(ALL, "--workers", "2") as d:
        until = time.monotonic() + 2.0

        def flood(n):
            held = []
            while time.monotonic() < until:
                try:
                    held.append(half_head(d, OTHER, HALF if n % 2 else b""))
                except OSError:
                    pass
                if len(held) > 400:
                    lab.reset(held.pop(0))
            for s in held:
                s.close()

        times = []
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            flooding = [pool.submit(flood, n) for n in range(4)]
            while time.monotonic() < until:
                began = time.monotonic()
                with connect(d, FOUR) as s:
                    s.sendall(b"x")
                    assert read_exactly(s, 1) == b"x"
                times.append(time.monotonic() - began)
            for f in flooding:
                f.result()
        times.sort()
        print("%d tunnels beside the flood, median %.0f ms, worst %.0f ms" %
              (len(times), times[len(times) // 2] * 1000, times[-1] * 1000), flush=True)
        assert len(times) >= 2 and times[len(times) // 2] < 2.0, times
        assert d.count_log("tunnel_denied", reason="limit_reached") > 0  # the flood did meet the limit


# ---- descriptors ----

def test_descriptor_table_is_large_from_the_start(env):
    """Growing it would hold up a worker, and all its tunnels, until every processor has been through the scheduler."""
    def size():
        with open("/proc/%d/status" % d.process.pid, encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("FDSize:"))

    with env.daemon(ALL) as d:
        at_start = size()
        assert at_start >= min(resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE)[0], 65536), at_start
        held = [connect(d, FOUR) for _ in range(200)]
        assert size() == at_start, (at_start, size())
        for s in held:
            s.close()


def test_no_descriptor_for_a_client(env):
    """503 with Retry-After at once; what stands goes on; nothing spins; it serves again by itself."""
    with env.scratch() as where:
        option, pages = admin(where)
        with env.daemon(ALL, "--workers", "1", *option) as d:
            pid = d.process.pid
            standing = connect(d, FOUR)
            pages.metric("openshell_tunneld_accept_paused")  # whatever it opens for that is open
            used = max(int(n) for n in os.listdir("/proc/%d/fd" % pid)) + 1
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
            filling = []
            answer = None
            while answer is None:  # holes below the highest descriptor are filled first
                s = d.dial()
                s.sendall(HALF)
                s.settimeout(0.5)
                try:
                    answer = lab.Answer(lab.read_head(s), read_to_end(s))
                except socket.timeout:
                    filling.append(s)
            assert is_limit(answer, 503, "no descriptor left")
            paused = d.wait_log("accept_paused")
            assert paused["refused"] >= 1 and paused["listen"] == "127.0.0.1:%d" % d.port, paused
            cpu = resource_seconds(d)
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                standing.sendall(b"x")
                assert read_exactly(standing, 1) == b"x"
                time.sleep(0.05)
            assert resource_seconds(d) - cpu < 0.5, "it spins"
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            wait_until(lambda: try_connect(d), 15)
            assert pages.metric("openshell_tunneld_accept_paused") >= 1
            assert pages.metric("openshell_tunneld_limit_reached") >= 1
            for s in filling + [standing]:
                s.close()


def test_no_descriptor_for_the_destination(env):
    """The client was taken with the last one: it is told, and the daemon still answers."""
    with env.daemon(policy(endpoint(ADDR4)), "--workers", "1") as d:
        pid = d.process.pid
        connect(d, "%s:%d" % (ADDR4, ECHO)).close()
        d.wait_count(1, "tunnel_close")
        s = d.dial()
        s.sendall(b"CONNECT ")
        wait_until(lambda: any(row == s.getsockname()[1] for row in remote_ports(pid)))
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        lowest = next(n for n in range(4096) if not os.path.exists("/proc/%d/fd/%d" % (pid, n)))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, hard))
        s.sendall(b"%s:%d HTTP/1.1\r\n\r\n" % (ADDR4.encode(), ECHO))
        assert is_limit(answer_of(s), 503, "no descriptor is left")
        d.wait_log("tunnel_denied", reason="limit_reached", rule="rule0")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait_until(lambda: connects(d, "%s:%d" % (ADDR4, ECHO)))


def remote_ports(pid):
    """Of the IPv4 connections that the process has accepted or made."""
    inodes = set()
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            link = os.readlink("/proc/%d/fd/%s" % (pid, name))
        except OSError:
            continue
        if link.startswith("socket:["):
            inodes.add(int(link[8:-1]))
    with open("/proc/self/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            field = line.split()
            if int(field[9]) in inodes:
                yield int(field[2].split(":")[1], 16)


# ---- clients ----

def test_one_client_does_not_take_all(env):
    """A client that holds all it may leaves the daemon's own limit to others."""
    with env.daemon(ALL, "--max-tunnels-per-client", "4", "--max-tunnels", "6") as d:
        held = [dial_from(d, OTHER) for _ in range(4)]
        for s in held:
            s.sendall(HALF + b"\r\n\r\n")
            assert b" 200 " in lab.read_head(s)
        for _ in range(20):
            assert is_limit(answer_of(dial_from(d, OTHER)), 429, "--max-tunnels-per-client")
        mine = [connect(d, "four.example.org:%d" % DIGEST) for _ in range(2)]
        assert is_limit(answer_of(d.dial()), 503, "--max-tunnels")
        for s in held + mine:
            s.close()
        wait_until(lambda: try_connect(d))


ALONE = (test_flood_of_heads_does_not_stop_others, test_head_limit_leaves_room_for_a_storm,
         test_unfinished_heads_are_cheap)


def extra_servers(_):
    lab.serve(ADDR4, WEB, serve_page)


if __name__ == "__main__":
    main(globals(), ALONE, extra_servers)
