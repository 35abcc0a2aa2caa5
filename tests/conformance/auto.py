# SPDX-License-Identifier: Apache-2.0
"""`--transparent auto`: a listener on every port that the policy names, and on no other, whatever the policy does.

Native connections go to synthetic addresses that are local here (AnyIP); the servers are in another namespace, since a
listener on every address leaves them no port in this one. Arguments choose tests by name.
"""
import json
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import elsewhere
import lab
from elsewhere import must_work, sh, talk
from lab import wait_until

NAME, OWN = "db.example.org", "own.example.org"
POOLS = {4: "198.18.0.0/24", 6: "fd00:5e11::/64"}
LOW, HIGH, EXTRA, BUSY, ADMIN = 443, 8443, 5432, 9443, 9100
SPARE = range(7100, 7116)
BUILD = os.environ["top_builddir"]
TUNNELD = os.path.join(BUILD, "openshell-tunneld")


def policy(*ports, name=NAME):
    rules = {"r%d" % p: dict(name="r%d" % p, endpoints=[dict(host=h, port=p) for h in (name, OWN)]) for p in ports}
    return "version: 1\nnetwork_policies: %s\negress: { hosts: { %s: [10.8.0.1] } }\n" % (json.dumps(rules), OWN)


class Lab:
    def __init__(self):
        sh("ip", "link", "set", "lo", "up")
        must_work("ip", "link", "add", "probe", "type", "veth", "peer", "name", "probe2")
        for family, pool in POOLS.items():
            source = () if family == 6 else ("src", "127.0.0.1")  # a pool address is no client that is let in
            sh("ip", "-%d" % family, "route", "add", "local", pool, "dev", "lo", *source)
        self.servers = elsewhere.Servers((LOW, HIGH, EXTRA, BUSY, *SPARE))
        self.stub = lab.Dns({(NAME, 1): [elsewhere.SERVER[4]], (NAME, 28): [elsewhere.SERVER[6]]})
        self.dir = tempfile.TemporaryDirectory()
        os.chmod(self.dir.name, 0o755)  # another user has to come through
        path = os.path.join(self.dir.name, "map")
        out = subprocess.run([os.path.join(BUILD, "tests", "conformance", "map_write"), path, "3600",
                              ",".join(POOLS.values()), NAME], check=True, stdout=subprocess.PIPE).stdout.decode()
        _, v4, v6 = out.split()
        self.synthetic = {4: v4, 6: v6}
        self.options = ["--map", path, "--upstream", "127.0.0.1:%d" % self.stub.port, "--transparent", "auto",
                        "--allow-client", "127.0.0.0/8", "--allow-client", POOLS[6], "--allow-client", "::1/128",
                        "--allow-client", "fd00:8::/64"]
        for pool in POOLS.values():
            self.options += ["--pool", pool]

    def daemon(self, text, *more, workers=2):
        at = tempfile.mkdtemp(dir=self.dir.name)
        os.chmod(at, 0o755)
        path = os.path.join(at, "policy.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return lab.Daemon(TUNNELD, None, *self.options, "--workers", workers, *more, policy_path=path)

    def refusal(self, text, *more, **how):
        """Status and standard error of a daemon that does not start."""
        path = os.path.join(self.dir.name, "refused.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        done = subprocess.run([TUNNELD, "--policy", path, "--listen", "127.0.0.1:0", *self.options, *more],
                              capture_output=True, text=True, timeout=lab.GIVE_UP_S, check=False, **how)
        return done.returncode, done.stderr

    def stop(self):
        self.servers.end()
        self.dir.cleanup()


def talk_all(env, *ports):
    for family, address in env.synthetic.items():
        for port in ports:
            got = talk(address, port)
            assert got == "%d:hello" % port, (family, port, got)


def all_refuse(env, *ports):
    for family, address in env.synthetic.items():
        for port in ports:
            got = talk(address, port)
            assert got == "refused", (family, port, got)


class Tunnel:
    """One that stands: bytes go up, and their echo is asked for at the end."""

    def __init__(self, daemon, address, port):
        self.port, self.sent = port, b""
        self.sock = socket.create_connection((address, port), lab.GIVE_UP_S)
        self.sock.settimeout(lab.GIVE_UP_S)
        self.send()
        host, own = self.sock.getsockname()[:2]
        daemon.wait_log("tunnel_open", client=("[%s]:%d" if ":" in host else "%s:%d") % (host, own))

    def send(self):
        self.sock.sendall(b"more")
        self.sent += b"more"

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)
        assert lab.read_to_end(self.sock) == b"%d:" % self.port + self.sent
        self.sock.close()


def status(daemon):
    with socket.create_connection(("127.0.0.1", ADMIN), lab.GIVE_UP_S) as s:
        s.sendall(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % ADMIN)
        return json.loads(lab.read_to_end(s).split(b"\r\n\r\n", 1)[1])


def captured_at(answer):
    return sorted(one["addr"] for one in answer["listeners"] if one["kind"] == "capture")


def both(*ports):
    return sorted("%s:%d" % (host, p) for host in ("0.0.0.0", "[::]") for p in ports)


# ---- tests ----

def follow(env, *options):
    """What is common to a daemon that keeps its user and one that does not."""
    with env.daemon(policy(HIGH, EXTRA), "--revoke-grace", "1h", "--admin", "127.0.0.1:%d" % ADMIN, *options) as d:
        talk_all(env, HIGH, EXTRA)
        all_refuse(env, LOW)
        answer = status(d)
        assert captured_at(answer) == both(HIGH, EXTRA), answer["listeners"]
        assert answer["capabilities"] == ["net_bind_service"], answer["capabilities"]
        assert answer["not_listening"] == []
        stays, goes = Tunnel(d, env.synthetic[4], EXTRA), Tunnel(d, env.synthetic[6], HIGH)
        d.reload(policy(LOW, EXTRA))  # one that needs the capability comes, one goes
        talk_all(env, LOW, EXTRA)
        all_refuse(env, HIGH)
        assert captured_at(status(d)) == both(LOW, EXTRA)
        d.wait_log("listen_closed", addr="[::]:%d" % HIGH)
        goes.send()
        d.reload(policy(HIGH, LOW, EXTRA))  # back again
        talk_all(env, HIGH, LOW, EXTRA)
        goes.finish()
        stays.finish()


def test_follows_the_policy(env):
    follow(env)


def test_binds_as_nobody(env):
    if not env.is_root:
        env.missing = "real root, for another user"
        return
    follow(env, "--user", "nobody")


def test_needs_the_capability(env):
    if not env.is_root:
        env.missing = "real root, for another user"
        return
    user = pwd.getpwnam("nobody")
    code, text = env.refusal(policy(LOW), user=user.pw_uid, group=user.pw_gid, extra_groups=[])
    assert code == 71 and "0.0.0.0:%d" % LOW in text, (code, text)
    assert "CAP_NET_BIND_SERVICE" in text and "ip_unprivileged_port_start" in text, text


def test_port_in_use(env):
    other = lab.listener("0.0.0.0", BUSY)
    code, text = env.refusal(policy(HIGH, BUSY))
    assert code == 71 and "0.0.0.0:%d" % BUSY in text and "in use" in text, (code, text)
    with env.daemon(policy(HIGH), "--admin", "127.0.0.1:%d" % ADMIN) as d:
        d.reload(policy(HIGH, BUSY, EXTRA))
        failed = d.wait_log("listen_failed", addr="0.0.0.0:%d" % BUSY)
        assert "in use" in failed["why"] and "SIGHUP" in failed["retry"], failed
        talk_all(env, HIGH, EXTRA)  # the rest goes on
        assert talk(env.synthetic[6], BUSY) == "%d:hello" % BUSY
        answer = status(d)
        assert "0.0.0.0:%d" % BUSY not in captured_at(answer)
        assert [(one["addr"], one["state"]) for one in answer["not_listening"]] == \
            [("0.0.0.0:%d" % BUSY, "failed")], answer["not_listening"]
        other.close()
        before = len(d.logs)
        d.process.send_signal(signal.SIGHUP)  # nothing new in the files: what failed is tried again
        d.wait_log("listening", start=before, addr="0.0.0.0:%d" % BUSY)
        d.wait_log("policy_unchanged", start=before)
        talk_all(env, HIGH, EXTRA, BUSY)
        assert status(d)["not_listening"] == []


def test_own_listeners_have_their_ports(env):
    with env.daemon(policy(HIGH, ADMIN), "--admin", "127.0.0.1:%d" % ADMIN) as d:
        assert d.wait_log("listen_skipped", addr="0.0.0.0:%d" % ADMIN)["why"] == "--admin"
        answer = status(d)
        assert answer["not_listening"] == [dict(addr="0.0.0.0:%d" % ADMIN, state="skipped", why="--admin")]
        talk_all(env, HIGH)


def test_never_dials_itself(env):
    """This host's addresses on the ports that are listened on, the new ones too; the name may be private."""
    with env.daemon(policy(HIGH), "--log-level", "debug") as d:
        for ports in ((HIGH,), (HIGH, EXTRA)):
            if len(ports) > 1:
                d.reload(policy(*ports))
            answer = lab.refused(d, "%s:%d" % (OWN, ports[-1]))
            assert answer.status == 403, answer.body
            assert "own listener" in json.dumps(answer.json()), answer.body
        for address in ("10.8.0.1", "127.0.0.1"):
            assert talk(address, EXTRA) == "reset"  # nor is its own address a way to anywhere


def test_too_many_ports(env):
    many = policy(*range(1, 1026))
    code, text = env.refusal(many, "--check")
    assert code == 78 and "names 1025 ports" in text and "1024 at most" in text, (code, text)
    with env.daemon(policy(HIGH)) as d:
        d.write_policy(many)
        d.process.send_signal(signal.SIGHUP)
        assert "1024 at most" in d.wait_log("policy_reload_failed")["why"]
        talk_all(env, HIGH)


def test_no_port_at_all(env):
    with env.daemon("version: 1\nnetwork_policies: {}\n") as d:
        all_refuse(env, HIGH)
        d.reload(policy(HIGH))
        talk_all(env, HIGH)


def test_explain_knows(env):
    path = os.path.join(env.dir.name, "explained.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(policy(HIGH))
    words = [os.path.join(BUILD, "openshell-egress"), "explain", "--policy", path]
    for more, code in (((), 0), (("--transparent", "auto"), 1)):
        done = subprocess.run([*words, *more, "%s:%d" % (OWN, HIGH)], capture_output=True, text=True, check=False)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert ("own listener" in done.stdout) == bool(more), done.stdout


def test_many_reloads(env):
    """Under connections to a port that stays: each works, what is served in the end is what the last policy says."""
    stop, results = threading.Event(), []

    def client(family):
        while not stop.is_set():
            results.append(talk(env.synthetic[family], HIGH))

    with env.daemon(policy(HIGH), workers=4) as d:
        talk_all(env, HIGH)
        at_first = d.fd_count()
        threads = [threading.Thread(target=client, args=(family,)) for family in (4, 6)]
        for t in threads:
            t.start()
        for _ in range(60):
            d.write_policy(policy(HIGH, *random.sample(SPARE, random.randrange(len(SPARE)))))
            d.process.send_signal(signal.SIGHUP)
            time.sleep(random.random() * 0.02)  # some come while the last one is on its way
        last = SPARE[3:8]
        d.write_policy(policy(HIGH, *last))
        d.process.send_signal(signal.SIGHUP)
        wait_until(lambda: all(talk(env.synthetic[4], p) == "%d:hello" % p for p in last) and
                 all(talk(env.synthetic[4], p) == "refused" for p in SPARE if p not in last))
        stop.set()
        for t in threads:
            t.join()
        assert len(results) > 20 and set(results) == {"%d:hello" % HIGH}, set(results)
        talk_all(env, HIGH, *last)
        all_refuse(env, *[p for p in SPARE if p not in last])
        d.reload(policy(HIGH))
        assert d.count_log("listen_failed") == 0
        wait_until(lambda: d.fd_count() <= at_first + 4)


def main():
    with open("/proc/self/uid_map", encoding="ascii") as f:
        is_root = int(f.read().split()[2]) > 1  # else there is no other user
    lab.enter_namespace()
    env = Lab()
    env.is_root, env.missing = is_root, None
    wanted = sys.argv[1:]
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_") and (not wanted or n in wanted)]
    assert tests, "no such test"
    failed = 0
    for name, function in tests:
        began = time.monotonic()
        try:
            function(env)
            print("ok   %-36s %5.2f s" % (name, time.monotonic() - began), flush=True)
        except Exception:  # pylint: disable=broad-except
            print("FAIL %s\n%s" % (name, traceback.format_exc()), flush=True)
            failed += 1
    env.stop()
    if failed == 0 and env.missing:
        lab.skip("all the others passed; needs " + env.missing)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
