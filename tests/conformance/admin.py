# SPDX-License-Identifier: Apache-2.0
"""The admin pages of both daemons over real sockets: one test per promise of their manuals.

In a network namespace of its own, since one promise is that nothing carried reaches the listener. Arguments choose
tests by name.
"""
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

import daemon
import lab
from lab import wait_until

ADDR4, OWN4 = "45.33.32.1", "45.33.32.2"
ECHO = 7001
ZONE = {("echo.example.org", 1): [ADDR4], ("own.example.org", 1): [OWN4]}
POLICY = """version: 1
network_policies:
  echo: { name: echo, endpoints: [ { host: echo.example.org, port: %d } ], binaries: [ { path: "/**" } ] }
  own: { name: own, endpoints: [ { host: own.example.org, ports: [7002, 7003, 7004] },
    { host: %s, ports: [7002, 7003, 7004] } ], binaries: [ { path: "/**" } ] }
""" % (ECHO, OWN4)
BROKEN = "version: 1\nnetwork_policies:\n  echo: { nmae: echo }\n"
PASS_ADMIN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="admin")
os.execv(sys.argv[2], sys.argv[2:])
"""
WAIT_S = 20  # for things that are there in milliseconds on an idle machine


class Lab:
    def __init__(self):
        top = os.environ["top_builddir"]
        self.tunneld_path = os.path.join(top, "openshell-tunneld")
        net = lab.Netlink()
        net.lo_up()
        for text in (ADDR4, OWN4):
            net.add_addr(text, 32)
        self.dns = lab.Dns(ZONE)
        self.upstream = "127.0.0.1:%d" % self.dns.port
        lab.serve(ADDR4, ECHO, self.serve_echo)
        self.dir = tempfile.mkdtemp(prefix="admin-test.")
        self.paths = 0

    @staticmethod
    def serve_echo(sock):
        while data := sock.recv(65536):
            sock.sendall(data)

    def path(self):
        self.paths += 1
        return os.path.join(self.dir, "admin%d" % self.paths)

    def tunneld(self, *options, env=None):
        return lab.Daemon(self.tunneld_path, POLICY, "--upstream", self.upstream, "--workers", "2", *options, env=env)

    def dnsd(self, *options):
        return Dnsd(POLICY, "--upstream", self.upstream, *options)


class Dnsd(daemon.Daemon):
    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.log(), flush=True)
        status = self.stop()
        if kind is None and status != 0:
            raise AssertionError("exit status %d" % status)


# ---- a client ----

def dial(where):
    """where: a path, or (host, port)."""
    family = socket.AF_UNIX if isinstance(where, str) else lab.family_of(where[0])
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(WAIT_S)
    s.connect(where)
    return s


def finish(s):
    head = lab.read_head(s)
    body = lab.read_to_end(s)
    answer = lab.Answer(head, body)
    assert answer.fields["Connection"] == "close"
    assert int(answer.fields["Content-Length"]) == len(body)
    return answer


def ask(where, raw):
    with dial(where) as s:
        s.sendall(raw)
        return finish(s)


def host_of(where):
    if isinstance(where, str):
        return "x"
    return ("[%s]:%d" if ":" in where[0] else "%s:%d") % where


def get(where, page):
    answer = ask(where, b"GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (page.encode(), host_of(where).encode()))
    if answer.status == 200:
        kinds = {"status": "application/json", "metrics": "text/plain; version=0.0.4; charset=utf-8"}
        assert answer.fields["Content-Type"] == kinds.get(page, "text/plain; charset=utf-8")
    return answer


def status_of(where):
    return json.loads(get(where, "status").body)


def admin_addr(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def tcp_of(d):
    return admin_addr(d.wait_log("admin_listening")["addr"])


def metrics_of(where):
    """A strict reader of the Prometheus text format 0.0.4: {name: value}, each sample described before it."""
    text = get(where, "metrics").body.decode("ascii")
    assert text.endswith("\n") and "\n\n" not in text
    helped, types, values = set(), {}, {}
    for line in text[:-1].split("\n"):
        if found := re.fullmatch(r"# HELP ([a-z_:][a-z0-9_:]*) ([^\\]+)", line):
            name = found[1]
            assert name not in helped, "two HELP of " + name
            helped.add(name)
            open_name = name
        elif found := re.fullmatch(r"# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge)", line):
            assert found[1] == open_name and found[1] not in types and found[1] not in values
            types[found[1]] = found[2]
        else:
            found = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"\})? ([0-9]+)', line)
            assert found, "not a sample: " + line
            assert found[1] == open_name and found[1] not in values and types[found[1]]
            assert found[1].endswith("_total") == (types[found[1]] == "counter"), line
            values[found[1]] = int(found[3])
    assert helped == set(types) == set(values)
    return values


# ---- tests ----

def test_pages_on_a_unix_socket(env):
    path = env.path()
    with env.tunneld("--admin", "unix:" + path) as d:
        info = os.lstat(path)
        assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o660, oct(info.st_mode)
        assert get(path, "healthz").body == b"ok\n"
        ready = get(path, "readyz")
        assert (ready.status, ready.body) == (200, b"ready\n") and "Policy" not in ready.fields
        status = status_of(path)
        assert status["program"] == "openshell-tunneld" and status["pid"] == d.process.pid
        assert status["state"] == "ready" and status["workers"] == 2 and status["admin"] == "unix:" + path
        assert status["capabilities"] == [] and status["upstreams"] == [env.upstream]
        assert status["listeners"] == [{"kind": "connect", "addr": "127.0.0.1:%d" % d.port}]
        policy = status["policy"]
        assert policy["files"] == [d.policy_path] and policy["generation"] == 1
        assert (policy["rules"], policy["endpoints"]) == (2, 3)
        assert not policy["stale"] and policy["error"] is None and policy["failed_at"] is None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", policy["loaded_at"])
        assert ask(path, b"GET /status HTTP/1.0\r\n\r\n").status == 200
        missing = get(path, "nowhere")
        assert missing.status == 404
        for page in (b"/healthz", b"/readyz", b"/status", b"/metrics"):
            assert page in missing.body
        assert d.count_log("admin_exposed") == 0
    assert not os.path.lexists(path)


def test_environment_and_check(env):
    path = env.path()
    with env.tunneld(env={**os.environ, "OPENSHELL_TUNNELD_ADMIN": "unix:" + path}):
        assert get(path, "healthz").status == 200
    for bad in ("unix:relative", "9090", "localhost:9090"):
        for more in ((), ("--check",)):
            done = subprocess.run([env.tunneld_path, "--policy", os.devnull, "--admin", bad, *more],
                                  stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, timeout=WAIT_S, check=False)
            assert done.returncode == 64 and b"--admin" in done.stderr, (bad, done)


def test_socket_file_of_the_dead_and_of_the_living(env):
    path = env.path()
    first = env.tunneld("--admin", "unix:" + path)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert os.path.lexists(path)  # left behind
    with env.tunneld("--admin", "unix:" + path) as second:
        assert status_of(path)["pid"] == second.process.pid
        try:
            env.tunneld("--admin", "unix:" + path)
            raise AssertionError("two on one path")
        except AssertionError as e:
            assert "not ready" in str(e) and path in str(e), e
        assert status_of(path)["pid"] == second.process.pid  # unharmed
    precious = env.path()
    with open(precious, "w", encoding="ascii") as f:
        f.write("precious")
    try:
        env.tunneld("--admin", "unix:" + precious)
        raise AssertionError("over a file")
    except AssertionError as e:
        assert "is not a socket" in str(e), e
    with open(precious, encoding="ascii") as f:
        assert f.read() == "precious"


def test_passed_socket(env):
    path = env.path()
    with socket.socket(socket.AF_UNIX) as s, tempfile.TemporaryDirectory() as where:
        s.bind(path)
        s.listen()
        policy = os.path.join(where, "policy.yaml")
        with open(policy, "w", encoding="ascii") as f:
            f.write(POLICY)
        # beside an option for the proxy itself, which a socket for the admin pages does not replace
        command = [sys.executable, "-c", PASS_ADMIN, str(s.fileno()), env.tunneld_path, "--policy", policy,
                   "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:1", "--upstream", env.upstream]
        with subprocess.Popen(command, pass_fds=[s.fileno()], stderr=subprocess.DEVNULL) as process:
            status = status_of(path)  # waits in the backlog until the daemon serves
            assert status["pid"] == process.pid and status["admin"] == "unix:" + path
            assert [one["kind"] for one in status["listeners"]] == ["connect"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
    assert os.path.lexists(path)  # it is whoever made it's


def test_host_on_tcp(env):
    for address in ("127.0.0.1", "[::1]", "0.0.0.0"):
        with env.tunneld("--admin", address + ":0") as d:
            d.wait_log("admin_exposed")
            host, port = tcp_of(d)
            where = (OWN4 if host == "0.0.0.0" else host, port)
            right = host_of(where)
            for name, wanted in ((right, 200), ("localhost", 200), ("localhost:%d" % port, 200),
                                 ("evil.example", 421), ("evil.example:%d" % port, 421), (where[0], 421),
                                 ("localhost:%d" % (port ^ 1), 421), ("0.0.0.0:%d" % port, 421), ("", 421)):
                answer = ask(where, b"GET /status HTTP/1.1\r\nHost: %s\r\n\r\n" % name.encode())
                assert answer.status == wanted, (name, answer.status)
                assert wanted == 200 or b"openshell" not in answer.body
            assert ask(where, b"GET /status HTTP/1.1\r\n\r\n").status == 400
            assert ask(where, b"GET /status HTTP/1.1\r\nHost: %s\r\nHost: %s\r\n\r\n" %
                       (right.encode(), right.encode())).status == 400


def test_only_get(env):
    with env.tunneld("--admin", "127.0.0.1:0") as d:
        where = tcp_of(d)
        fields = b" HTTP/1.1\r\nHost: localhost\r\n"
        for method in (b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE"):
            answer = ask(where, method + b" /status" + fields + b"\r\n")
            assert answer.status == 405 and answer.fields["Allow"] == "GET"
        long = b"x" * 100000  # more than is read at once: the answer must not be lost in a reset
        answer = ask(where, b"POST /status" + fields + b"Content-Length: 100000\r\n\r\n" + long)
        assert answer.status == 405
        assert get(where, "healthz").status == 200


def test_oversized_and_broken(env):
    path = env.path()
    with env.tunneld("--admin", "unix:" + path):
        start = b"GET /healthz HTTP/1.1\r\nX: "
        fits = start + b"a" * (2048 - len(start) - 4) + b"\r\n\r\n"
        assert ask(path, fits).status == 200
        assert ask(path, start + b"a" * (2049 - len(start) - 4) + b"\r\n\r\n").status == 431
        assert ask(path, b"a" * 100000).status == 431
        for broken in (b"\x16\x03\x01\x02\x00\x01", b"GET /healthz HTTP/1.1\n\n", b"GET /healthz\r\n\r\n"):
            assert ask(path, broken).status == 400
        assert get(path, "healthz").status == 200


def test_slow_clients_are_cut_and_bounded(env):
    path = env.path()
    with env.tunneld("--admin", "unix:" + path) as d:
        fds = settled_fds(d, path)
        begin = time.monotonic()
        held = []
        for i in range(16):
            s = dial(path)
            s.sendall(b"GET /status HTTP/1.1\r\n"[:i])
            held.append(s)
        wait_until(lambda: d.fd_count() == fds + 16)
        for _ in range(4):
            with dial(path) as s:  # no room: closed at once
                assert lab.is_ended(s, 3)
        assert d.fd_count() == fds + 16
        for s in held:
            assert lab.is_ended(s, WAIT_S)
            s.close()
        took = time.monotonic() - begin
        assert 4.5 < took < WAIT_S, took
        assert get(path, "healthz").status == 200
        wait_until(lambda: d.fd_count() == fds)


def test_refused_reload_is_seen_and_forgotten(env):
    path, other = env.path(), env.path()
    with env.tunneld("--admin", "unix:" + path) as d, env.dnsd("--admin", "unix:" + other) as n:
        for where, one, place, pid in ((path, d, d.policy_path, d.process.pid), (other, n, n.policy, n.process.pid)):
            one.write_policy(BROKEN)
            os.kill(pid, signal.SIGHUP)
            status = wait_until(lambda w=where: (s := status_of(w))["policy"]["stale"] and s)
            policy = status["policy"]
            assert policy["generation"] == 1 and policy["failures"] >= 1 and policy["error_count"] >= 1
            assert policy["error"].startswith("%s:3:" % place) and policy["failed_at"], policy
            assert status["state"] == "ready"
            ready = get(where, "readyz")  # what is served is the last good policy
            assert ready.status == 200 and ready.fields["Policy"] == "stale"
            first, second, end = ready.body.decode().split("\n")
            assert first == "ready" and end == ""
            assert second.startswith("policy stale: generation 1 in use since ")
            assert second.endswith(": " + policy["error"])
            name = status["program"].replace("-", "_")
            metrics = metrics_of(where)
            assert metrics[name + "_policy_stale"] == 1 and metrics[name + "_policy_reload_failures_total"] >= 1
            one.write_policy(POLICY + "# and more\n")
            os.kill(pid, signal.SIGHUP)
            policy = wait_until(lambda w=where: not (s := status_of(w)["policy"])["stale"] and s)
            assert policy["error"] is None and policy["error_count"] == 0 and policy["failures"] >= 1
            assert get(where, "readyz").body == b"ready\n"
            assert metrics_of(where)[name + "_policy_stale"] == 0


def test_new_policy_is_counted(env):
    path = env.path()
    with env.tunneld("--admin", "unix:" + path) as d:
        d.reload(POLICY.replace("example.org", "example.net"))
        policy = status_of(path)["policy"]
        assert policy["generation"] == 2 and not policy["stale"] and policy["failures"] == 0
        assert metrics_of(path)["openshell_tunneld_policy_generation"] == 2


def test_draining(env):
    path = env.path()
    with env.tunneld("--admin", "unix:" + path, "--drain-timeout", "60s") as d:
        with lab.connect(d, "echo.example.org:%d" % ECHO) as s:
            d.process.send_signal(signal.SIGTERM)
            d.wait_log("stopping")
            ready = get(path, "readyz")
            assert (ready.status, ready.body) == (503, b"draining\n")
            assert get(path, "healthz").status == 200
            status = status_of(path)
            assert status["state"] == "draining" and status["gauges"]["tunnels"] == 1
            assert metrics_of(path)["openshell_tunneld_draining"] == 1
            s.sendall(b"still here")
            assert lab.read_exactly(s, 10) == b"still here"
        assert d.process.wait(WAIT_S) == 0
    assert not os.path.lexists(path)


def test_numbers_of_tunneld(env):
    path = env.path()
    with env.tunneld("--admin", "unix:" + path) as d:
        with lab.connect(d, "echo.example.org:%d" % ECHO) as s:
            s.sendall(b"12345")
            assert lab.read_exactly(s, 5) == b"12345"
            assert status_of(path)["gauges"]["tunnels"] == 1
        assert lab.refused(d, "denied.example.org:443").status == 403
        assert lab.request(d, b"nonsense\r\n\r\n").status == 400
        wait_until(lambda: status_of(path)["gauges"]["tunnels"] == 0)
        counters = status_of(path)["counters"]
        expected = {"connections": 3, "tunnels_opened": 1, "denied": 1, "bad_requests": 1, "bytes_up": 5, "bytes_down": 5}
        expected.update(failed=0, rate_limited=0, wildcard_budget=0, wildcard_length=0, wildcard_names=0)
        assert {name: counters[name] for name in expected} == expected, counters
        metrics = metrics_of(path)
        for name, value in counters.items():
            assert metrics["openshell_tunneld_%s_total" % name] == value
        assert metrics["openshell_tunneld_tunnels"] == 0 and metrics["openshell_tunneld_build_info"] == 1


def test_numbers_of_dnsd(env):
    path = env.path()
    with env.dnsd("--admin", "unix:" + path) as d:
        assert d.ask("echo.example.org").rcode == 0
        assert d.ask("denied.example.org").rcode == 3
        status = status_of(path)
        assert status["program"] == "openshell-dnsd" and status["answer"] == "real"
        assert {(one["kind"], one["proto"]) for one in status["listeners"]} == {("dns", "udp"), ("dns", "tcp")}
        assert status["upstreams"] == [env.upstream]
        counters = status["counters"]
        assert counters["queries"] == 2 and counters["admitted"] == 1 and counters["denied"] == 1, counters
        metrics = metrics_of(path)
        for name, value in counters.items():
            assert metrics["openshell_dnsd_%s_total" % name] == value


def test_nothing_carried_reaches_it(env):
    with env.tunneld("--admin", "%s:7002" % OWN4) as d:
        assert get((OWN4, 7002), "healthz").status == 200
        assert lab.refused(d, OWN4 + ":7002").json()["error"] == "ssrf_denied"
        assert lab.refused(d, "own.example.org:7002").json()["error"] == "ssrf_denied"
        # the rule is good, it is the listener that counts
        assert lab.refused(d, OWN4 + ":7003").json()["error"] == "upstream_unreachable"
    with env.tunneld("--admin", "0.0.0.0:7003") as d:  # every address of the host
        assert lab.refused(d, OWN4 + ":7003").json()["error"] == "ssrf_denied"
        assert lab.refused(d, OWN4 + ":7004").json()["error"] == "upstream_unreachable"


def test_dnsd_does_not_answer_it(env):
    one_port = POLICY.replace("[7002, 7003, 7004]", "[7004]")
    with env.dnsd("--admin", "%s:7004" % OWN4) as d:
        assert get((OWN4, 7004), "healthz").status == 200
        assert len(d.ask("own.example.org").answer) == 1  # two more ports: something could be dialled
        d.write_policy(one_port)
        d.process.send_signal(signal.SIGHUP)
        d.wait_log("policy_loaded generation=2")
        answer = d.ask("own.example.org")
        assert answer.rcode == 0 and not answer.answer


def test_no_descriptor_left(env):
    """Accepting pauses, does not spin, and goes on by itself."""
    path = env.path()
    with env.tunneld("--admin", "unix:" + path, "--max-tunnels-per-client", "0") as d:
        limit = settled_fds(d, path) + 8
        resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        held = [dial(path) for _ in range(16)]
        d.wait_log("accept_paused")
        before = cpu_of(d)
        time.sleep(1)  # a time to measure in, not to wait for something
        assert cpu_of(d) - before < 0.3
        for s in held:
            s.close()
        assert wait_until(lambda: answers(path))


def settled_fds(d, path):
    """How many descriptors it has at rest: those of the start and of a request are closed."""
    assert get(path, "healthz").status == 200
    counts = [d.fd_count()]
    while len(counts) < 5 or len(set(counts[-5:])) > 1:
        time.sleep(0.02)
        counts.append(d.fd_count())
    return counts[-1]


def cpu_of(d):
    with open("/proc/%d/stat" % d.process.pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers(path):
    try:
        return get(path, "healthz").status == 200
    except (OSError, AssertionError):
        return False


def main():
    lab.enter_namespace()
    env = Lab()
    passed = lab.run_tests(globals(), env)
    subprocess.run(["rm", "-rf", env.dir], check=False)
    os._exit(0 if passed else 1)  # server threads never end


main()
