# SPDX-License-Identifier: Apache-2.0
"""Both daemons while the policy they share is replaced again and again, half of the time by a broken one, by every
way a file can change, with and without SIGHUP, under queries and tunnels.

20 changes in 2 s; with OPENSHELL_TEST_LONG=1 100 in 10 s. Whatever happens:
- two hosts that every good version admits always work, and their tunnels are never cut;
- a host that none admits is never answered, carried, or asked of the upstream;
- a host that good versions admit or not, in phases, follows the phase;
- nothing piles up: memory, descriptors, and with a sanitizer nothing else.
"""
import json
import os
import random
import resource
import signal
import socket
import struct
import sys
import threading
import time
import traceback

import dns_wire as w
import lab

ADDR, ECHO = "45.33.32.1", 7001
KEPT = ("kept.example.org", "other.kept.example.net")
DENIED, TOGGLED = "denied.example.org", "toggled.example.org"
ZONE = {(name, w.A): [ADDR] for name in KEPT + (DENIED, TOGGLED)}
IS_LONG = os.environ.get("OPENSHELL_TEST_LONG", "") not in ("", "0")
CHANGES, SECONDS, PHASE_S = (100, 10.0, 5.0) if IS_LONG else (20, 2.0, 2.0)
RULES = 1000 if IS_LONG else 100  # so many that a leak of versions shows
SETTLE_S = 3.0  # a phase begins with a good version and SIGHUP: this long after it, it must be in force
GROWTH_KIB = 8 * 1024


def good(version, is_toggled):
    """The hosts that are kept come by an exact rule or by a wildcard, in turn: their tunnels are judged anew."""
    kept = [KEPT[0], "*.kept.example.net" if version % 2 else KEPT[1]]
    rules = {"kept": kept, "filler%d" % version: ["v%d.example.com" % version]}
    if is_toggled:
        rules["toggled"] = [TOGGLED]
    for i in range(RULES):
        rules["rule%d" % i] = ["h%d.v%d.example.com" % (i, version % 3)]
    text = "version: 1\nnetwork_policies:\n"
    for key, hosts in rules.items():
        rule = dict(name=key, endpoints=[dict(host=h, port=ECHO) for h in hosts], binaries=[dict(path="/**")])
        text += "  %s: %s\n" % (key, json.dumps(rule))
    return text


def broken(version):
    """Each would admit what must stay denied, if what can be read of it were taken."""
    text = good(version, True).replace(KEPT[0], DENIED)
    return random.choice((text + "  - nonsense: [\n", text + "  kept: {}\n", text + "netwrok_policies: {}\n",
                          text.replace("version: 1", "version: 2"), text.replace("port", "prot"), "", "\0",
                          None))  # None: the file is gone


class ConfigMap:
    """A directory as the kubelet's atomic writer keeps it."""

    def __init__(self, directory, text):
        self.directory, self.count = directory, 0
        self.swap(text)
        os.symlink("..data/policy.yaml", os.path.join(directory, "policy.yaml"))

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def swap(self, text):
        self.count += 1
        stamp = "..2026_07_30_12_00_00.%d" % self.count
        os.mkdir(self.path(stamp))
        if text is not None:
            with open(self.path(stamp, "policy.yaml"), "w", encoding="utf-8") as f:
                f.write(text)
        old = os.readlink(self.path("..data")) if self.count > 1 else None
        os.symlink(stamp, self.path("..data_tmp"))
        os.rename(self.path("..data_tmp"), self.path("..data"))
        if old:
            for name in os.listdir(self.path(old)):
                os.unlink(self.path(old, name))
            os.rmdir(self.path(old))

    def rename(self, text):
        if text is None:
            self.remove()
            return
        with open(self.path("..data", "policy.yaml.new"), "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.path("..data", "policy.yaml.new"), self.path("..data", "policy.yaml"))

    def edit(self, text):
        with open(self.path("..data", "policy.yaml"), "w", encoding="utf-8") as f:
            f.write(text)

    def remove(self):
        try:
            os.unlink(self.path("..data", "policy.yaml"))
        except FileNotFoundError:
            pass


class Storm:
    """The changes, and what may be said about the toggled host at a time."""

    def __init__(self, config_map, daemons):
        self.config_map, self.daemons = config_map, daemons
        self.lock = threading.Lock()
        self.is_toggled, self.since = True, time.monotonic()

    def set_phase(self, is_toggled):
        with self.lock:
            if is_toggled != self.is_toggled:
                self.is_toggled, self.since = is_toggled, time.monotonic()

    def expected(self, began):
        """True, False, or None for either, of what was asked at began and is answered now."""
        with self.lock:
            return self.is_toggled if began > self.since + SETTLE_S else None

    def change(self, text, with_signal, how):
        getattr(self.config_map, how)(text)
        if with_signal:
            for d in self.daemons:
                d.process.send_signal(signal.SIGHUP)

    def run(self, on_change):
        began = time.monotonic()
        phase = -1
        for number in range(CHANGES):
            due = began + (number + random.uniform(0, 0.9)) * SECONDS / CHANGES
            time.sleep(max(0.0, due - time.monotonic()))
            now_phase = int((time.monotonic() - began) / PHASE_S)
            is_first = now_phase != phase
            phase = now_phase
            is_toggled = phase % 2 == 0
            if is_first:
                self.set_phase(is_toggled)
            is_good = is_first or number % 2 == 0
            text = good(number, is_toggled) if is_good else broken(number)
            how = random.choice(("swap", "rename") if is_good else ("swap", "rename", "edit"))
            if how == "edit":  # the one way that can be read half done, so every half of it is broken
                text = good(number, True).replace("version: 1", "version: 2")
            self.change(text, is_first or random.random() < 0.5, how)
            on_change(number)


class Load:
    """Threads that ask and connect until told to stop; the first wrong verdict of each is kept."""

    def __init__(self, storm, dnsd, tunneld):
        self.storm, self.dnsd, self.tunneld = storm, dnsd, tunneld
        self.stopping = threading.Event()
        self.wrong, self.counts = [], {}
        self.threads = []

    def start(self, step, *arguments):
        def run():
            try:
                while not self.stopping.is_set():
                    step(*arguments)
                    self.counts[step.__name__] = self.counts.get(step.__name__, 0) + 1
                    time.sleep(0.004)
            except Exception:  # pylint: disable=broad-except
                self.wrong.append(traceback.format_exc())
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(lab.GIVE_UP_S)
            assert not thread.is_alive(), "a client hangs"
        assert not self.wrong, "\n".join(self.wrong)

    def ask(self, sock, name, verdict):
        began = time.monotonic()
        ident = random.randrange(65536)
        sock.send(w.query(name, w.A, ident=ident))
        answer = w.Message(sock.recv(4096))
        assert answer.id == ident, "an answer to another question"
        is_admitted = answer.rcode == w.NOERROR and len(answer.answer) == 1
        assert is_admitted or answer.rcode == w.NXDOMAIN, (name, answer.rcode)
        wanted = verdict(began)
        assert wanted in (None, is_admitted), "dnsd: %s is %s" % (name, "admitted" if is_admitted else "denied")

    def connect(self, name, verdict):
        began = time.monotonic()
        with self.tunneld.dial() as s:
            target = b"%s:%d" % (name.encode(), ECHO)
            s.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n\r\n")
            status = int(lab.read_head(s).split()[1])
            assert status in (200, 403), (name, status)
            wanted = verdict(began)
            assert wanted in (None, status == 200), "tunneld: %s is %d" % (name, status)
            if wanted and status == 200:
                s.sendall(b"hello")
                assert lab.read_exactly(s, 5) == b"hello"

    def stand(self, sock, name):
        """A tunnel that has stood since before the storm."""
        data = os.urandom(300)
        sock.sendall(data)
        assert lab.read_exactly(sock, len(data)) == data, name

    def start_all(self, standing):
        for name in KEPT:
            self.start(self.ask, self.udp(), name, lambda began: True)
            self.start(self.connect, name, lambda began: True)
        self.start(self.ask, self.udp(), DENIED, lambda began: False)
        self.start(self.connect, DENIED, lambda began: False)
        self.start(self.ask, self.udp(), TOGGLED, self.storm.expected)
        self.start(self.connect, TOGGLED, self.storm.expected)
        for name, sock in standing:
            self.start(self.stand, sock, name)

    def udp(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(("127.0.0.1", self.dnsd.port))
        s.settimeout(lab.GIVE_UP_S)
        return s


def serve_echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


def wait_until(condition, what):
    end = time.monotonic() + lab.GIVE_UP_S
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def take_version(config_map, daemons, version, is_toggled):
    """It is taken without a signal."""
    config_map.swap(good(version, is_toggled))
    for d in daemons:
        d.wait_log("policy_rule_added", rule="filler%d" % version)


def check_revocation(storm, config_map, daemons):
    """What is not admitted any more is cut without a signal; what is, stands: see Load.stand."""
    storm.set_phase(True)
    take_version(config_map, daemons, -1, True)
    with lab.connect(daemons[1], "%s:%d" % (TOGGLED, ECHO)) as s:
        storm.set_phase(False)
        take_version(config_map, daemons, -4, False)
        assert lab.is_ended(s), "a tunnel that is not admitted any more stands"


def check_log(d):
    loaded = [e for e in d.logs if e.get("event") == "policy_loaded"]
    generations = [e["generation"] for e in loaded]
    assert generations == sorted(set(generations)), generations
    assert d.count_log("policy_reload_failed") > 0, "no broken version was ever read"
    assert d.count_log("policy_watch_failed") == 0
    print("%s: %d generations in force, %d refusals, %d restored" % (
        os.path.basename(d.process.args[0]), len(loaded) + 1, d.count_log("policy_reload_failed"),
        d.count_log("policy_restored")), flush=True)


def environment():
    env = dict(os.environ)
    # What is freed shall be free again: otherwise the sanitizer's quarantine is all that grows.
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    return env


def storm_under_load(config_map, dns, dnsd, tunneld):
    daemons = (dnsd, tunneld)
    storm = Storm(config_map, daemons)
    standing = [(name, lab.connect(tunneld, "%s:%d" % (name, ECHO))) for name in KEPT * 3]
    load = Load(storm, dnsd, tunneld)
    take_version(config_map, daemons, -2, True)
    at_rest = lab.fds_at_rest(daemons)
    early = {}

    def on_change(number):
        if number == CHANGES // 5 - 1:
            early.update({d: d.rss_kib() for d in daemons})

    load.start_all(standing)
    storm.run(on_change)
    grown = {d: d.rss_kib() - early[d] for d in daemons}
    check_revocation(storm, config_map, daemons)
    load.stop()
    for name, sock in standing:
        load.stand(sock, name)
    load.connect(TOGGLED, lambda began: False)
    for d, count in zip(daemons, at_rest):
        wait_until(lambda d=d, count=count: d.fd_count() == count,
                   lambda d=d, count=count: "%d descriptors instead of %d" % (d.fd_count(), count))
        check_log(d)
        assert grown[d] < GROWTH_KIB, "grew by %d KiB from change %d on" % (grown[d], CHANGES // 5)
    assert not [name for name, _ in dns.asked if name == DENIED], "a denied name was asked of the upstream"
    print("%r; grown by %r KiB" % (load.counts, list(grown.values())), flush=True)
    for _, sock in standing:
        sock.close()


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    seed = int(os.environ.get("OPENSHELL_TEST_SEED", "0")) or struct.unpack("I", os.urandom(4))[0]
    random.seed(seed)
    print("OPENSHELL_TEST_SEED=%d, %d changes in %g s" % (seed, CHANGES, SECONDS), flush=True)
    lab.enter_namespace()
    net = lab.Netlink()
    net.lo_up()
    net.add_addr(ADDR, 32)
    lab.serve(ADDR, ECHO, serve_echo)
    dns = lab.Dns(ZONE)
    top = os.environ["top_builddir"]
    with lab.tempfile.TemporaryDirectory() as directory:
        config_map = ConfigMap(directory, good(-3, True))
        options = dict(env=environment(), policy_path=os.path.join(directory, "policy.yaml"))
        upstream = ("--upstream", "127.0.0.1:%d" % dns.port, "--workers", "3", "--rate-limit", "0")
        with lab.Daemon(os.path.join(top, "openshell-dnsd"), None, *upstream, listening=("proto", "udp"),
                        **options) as dnsd, \
                lab.Daemon(os.path.join(top, "openshell-tunneld"), None, *upstream, "--revoke-grace", "200ms",
                           **options) as tunneld:
            storm_under_load(config_map, dns, dnsd, tunneld)
    print("ok", flush=True)
    os._exit(0)  # server threads never end


if __name__ == "__main__":
    try:
        main()
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
