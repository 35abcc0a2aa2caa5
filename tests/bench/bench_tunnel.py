#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a tunnel through openshell-tunneld costs, beside bare relays and peers, in one run.

Server on one core, load and origin on another, in a network namespace of its own (run through `unshare -n`, as
`make bench-tunnel` does). CPU is user + system of the server's process; every byte is compared by the load
generator or the origin. Rounds are interleaved, and a ratio is the median of the ratios of each round. Ends with a
line for each target: met, missed, or not measured.
"""
import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ORIGIN = "8.8.4.4"  # what dns_floor answers; an address of lo in our namespace
PORTS = 16  # of the origin, so that the server does not run out of local ports
UPSTREAM = "127.0.0.1:5301"
NAME = "origin.bench.example"
OURS, OURS_BARE = "openshell-tunneld", "openshell-tunneld, no log, no name"
COPY, SPLICE, DIRECT = "floor: bare relay, read/write", "floor: bare relay, splice", "no proxy"
IDLE_AIM, RSS_AIM_MIB = 50000, 64
WINDOW_S = 5  # in which an idle tunnel is watched; shorter than its keepalive


def cpu_ns(pid):
    """User + system of a process, threads that have ended included: its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def wakeups(pid):
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/status") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches:"))
    return total


def pipes(pid):
    return sum(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("pipe:") for fd in os.listdir(f"/proc/{pid}/fd"))


def prepare_namespace():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", ORIGIN + "/32", "dev", "lo"], check=True)
    for name, value in (("ip_local_port_range", "4096 65535"), ("tcp_tw_reuse", "1")):
        try:
            with open("/proc/sys/net/ipv4/" + name, "w") as f:
                f.write(value)
        except OSError as e:
            print(f"bench_tunnel: {name}: {e}: long runs may run out of ports", file=sys.stderr)


def raise_descriptors():
    """Returns how many descriptors a process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 2 * IDLE_AIM + 1000
    for limits in ((want, max(hard, want)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return limits[0]
        except (ValueError, OSError):
            pass
    return soft


class Bench:
    def __init__(self, args, scratch):
        self.args, self.scratch = args, scratch
        self.children, self.servers = [], {}
        self.results = []  # one dict a round: row -> column -> value
        self.verdicts = []
        self.port = 3100
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.load_core = str(cores[0]), str(cores[-1])
        self.descriptors = raise_descriptors()

    # ---- programs ----

    def path(self, name, text=None):
        path = os.path.join(self.scratch, name)
        if text is not None:
            with open(path, "w") as f:
                f.write(text)
        return path

    def tool(self, name):
        return os.path.join(self.args.build, "tests/bench", name)

    def spawn(self, core, argv):
        log = open(self.path(f"log.{len(self.children)}.{os.path.basename(argv[0])}"), "w")
        p = subprocess.Popen(["taskset", "-c", core] + argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        p.log = log.name
        self.children.append(p)
        return p

    def stop(self, p):
        if p.poll() is None:
            p.terminate()
            try:
                p.wait(3)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def stop_all(self):
        for p in self.children:
            self.stop(p)

    def listen(self):
        self.port += 1
        return f"127.0.0.1:{self.port}"

    def tunneld_argv(self, listen, *more):
        ports = ", ".join(str(443 + i) for i in range(PORTS))
        hosts = "".join(f"      - {{ host: {h}, ports: [{ports}] }}\n" for h in (NAME, ORIGIN))
        os.makedirs(self.path("policy"), exist_ok=True)  # tunneld looks on at what is written beside its policy
        policy = self.path("policy/policy.yaml", "version: 1\nnetwork_policies:\n  bench:\n    endpoints:\n" + hosts +
                           "    binaries:\n      - { path: \"/**\" }\n")
        return [os.path.join(self.args.build, "openshell-tunneld"), "--policy", policy, "--listen", listen,
                "--upstream", UPSTREAM, "--workers", "1", "--max-tunnels-per-client", "0", "--rate-limit", "0",
                "--binary-identity", "ignore", "--drain-timeout", "0", *more]

    def tinyproxy_argv(self, listen):
        host, port = listen.split(":")
        return ["tinyproxy", "-d", "-c", self.path("tinyproxy.conf", f"Listen {host}\nPort {port}\nTimeout 600\n"
                                                   "MaxClients 2000\nLogLevel Critical\n")]

    def squid_argv(self, listen):
        os.chmod(self.scratch, 0o777)  # it gives root up before it opens its log
        return ["squid", "-N", "-f", self.path("squid.conf", f"""http_port {listen}
http_access allow all
cache deny all
access_log none
cache_log {self.scratch}/squid.log
cache_store_log none
pid_filename none
coredump_dir {self.scratch}
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname bench
max_filedescriptors 8192
""")]

    def start_server(self, row, argv, listen, target):
        self.servers[row] = (self.spawn(self.server_core, argv), listen, target)
        end = time.monotonic() + 20
        while True:
            p = subprocess.run(self.load_argv(row, "setup", "--count", "1"), stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
            if p.returncode == 0 and json.loads(p.stdout)["good"] == 1:
                return
            if self.servers[row][0].poll() is not None or time.monotonic() > end:
                with open(self.servers[row][0].log) as f:
                    raise SystemExit(f"bench_tunnel: {row} does not work: {f.read()[-2000:]}")
            time.sleep(0.05)

    def start_all(self):
        self.spawn(self.load_core, [self.tool("dns_floor"), "answer", UPSTREAM, "3600"])
        self.spawn(self.load_core, [self.tool("tunnel_origin"), ORIGIN + ":443", str(PORTS)])
        for row, kind in ((COPY, "copy"), (SPLICE, "splice")):
            listen = self.listen()
            self.start_server(row, [self.tool("tunnel_floor"), kind, listen, ORIGIN + ":443", str(PORTS)], listen, ORIGIN)
        listen = self.listen()
        self.start_server(OURS, self.tunneld_argv(listen), listen, NAME)
        listen = self.listen()
        self.start_server(OURS_BARE, self.tunneld_argv(listen, "--log-level", "error"), listen, ORIGIN)
        for peer, argv in (("tinyproxy", self.tinyproxy_argv), ("squid", self.squid_argv), ("3proxy", None)):
            if peer not in self.args.peers:
                continue
            if argv is None or shutil.which(peer) is None:
                why = "no package of Debian 12 has it" if argv is None else "it is not installed"
                print(f"bench_tunnel: {peer} IS NOT MEASURED: {why}", file=sys.stderr)
                continue
            listen = self.listen()
            self.start_server(peer, argv(listen), listen, ORIGIN)

    # ---- measuring ----

    def load_argv(self, row, mode, *more):
        if row == DIRECT:
            where = ["--direct", ORIGIN + ":443"]
        else:
            where = ["--proxy", self.servers[row][1], "--target", self.servers[row][2]]
        return ["taskset", "-c", self.load_core, self.tool("tunnel_load"), mode, *where, "--ports", str(PORTS), *more]

    def load(self, row, mode, *more):
        p = subprocess.run(self.load_argv(row, mode, *more), stdout=subprocess.PIPE, timeout=300)
        if p.returncode != 0:
            raise SystemExit(f"bench_tunnel: {row}: {mode} failed")
        r = json.loads(p.stdout)
        if r["bad"] * 1000 > r["good"]:
            print(f"bench_tunnel: {row}: {mode}: {r['bad']} of {r['bad'] + r['good']} went wrong", file=sys.stderr)
        return r

    def measure(self, row, mode, *more):
        """What load found, and the server's CPU for each thing that was good, in ns."""
        if row == DIRECT:
            return self.load(row, mode, *more), 0.0
        before = cpu_ns(self.servers[row][0].pid)
        r = self.load(row, mode, *more)
        return r, (cpu_ns(self.servers[row][0].pid) - before) / max(r["good"], 1)

    def round(self):
        duration = ["--ms", str(int(self.args.seconds * 1000))]
        found = {row: {} for row in list(self.servers) + [DIRECT]}
        for row in self.servers if "setup" in self.args.parts else ():
            r, ns = self.measure(row, "setup", "--tunnels", "32", *duration)
            found[row].update({"set-up us": ns / 1e3, "set-ups/s": r["per_s"]})
        for row in found if "bulk" in self.args.parts else ():
            size = self.args.bulk_mib << 20
            r, ns = self.measure(row, "down", "--bytes", str(size))
            found[row].update({"down s/GB": ns, "down GB/s": r["per_s"] / 1e9})
            r, ns = self.measure(row, "both", "--tunnels", "16", "--bytes", str(size // 16))
            found[row].update({"16 both s/GB": ns, "16 both GB/s": r["per_s"] / 1e9})
        for row in found if "frames" in self.args.parts else ():
            r, ns = self.measure(row, "frames", *duration)
            found[row].update({"frame p50 us": r["p50_us"], "frame us": ns / 1e3})
            r, ns = self.measure(row, "frames", "--tunnels", "64", *duration)
            found[row]["64 frame us"] = ns / 1e3
        self.results.append({row: {c: v for c, v in values.items() if row != DIRECT or not c.endswith(("us", "s/GB"))
                                   or c == "frame p50 us"} for row, values in found.items()})

    # ---- idle tunnels ----

    def open_idle(self, row, count):
        loads = []
        while count > 0:
            part = min(count, self.descriptors - 50, 25000)
            loads.append(subprocess.Popen(self.load_argv(row, "idle", "--tunnels", str(part)), stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, text=True))
            if loads[-1].stdout.readline() != "open\n":
                raise SystemExit("bench_tunnel: the idle tunnels could not be opened")
            count -= part
        return loads

    def close_idle(self, loads):
        """Returns how many tunnels carried a frame after all the time."""
        return sum(json.loads(p.communicate(timeout=120)[0].splitlines()[-1])["good"] for p in loads)

    def idle(self):
        listen, row = self.listen(), "openshell-tunneld, fresh"
        self.start_server(row, self.tunneld_argv(listen), listen, NAME)
        pid = self.servers[row][0].pid
        most = min(self.args.idle, (self.descriptors - 100) // 2)
        self.settle(pid)
        none = {"rss": rss_kib(pid), "pipes": pipes(pid)}
        loads, points = [], []
        for part in (most // 2, most - most // 2):
            loads += self.open_idle(row, part)
            self.settle(pid)
            points.append(rss_kib(pid))
        some = {"rss": points[-1], "pipes": pipes(pid), "wakeups": self.watch(pid)}
        alive = self.close_idle(loads)
        self.stop(self.servers.pop(row)[0])
        each = (some["rss"] - none["rss"]) * 1024.0 / most
        all_mib = (none["rss"] * 1024.0 + each * IDLE_AIM) / 2**20
        print(f"\nidle: {most} tunnels, RSS {none['rss']} KiB without, {points[0]} KiB with half, {some['rss']} KiB with "
              f"all: {each:.0f} bytes each; {alive} carried a frame after {self.args.window:g} s")
        if most < IDLE_AIM:
            print(f"idle: {IDLE_AIM} need {2 * IDLE_AIM} descriptors in one process, the limit here is {self.descriptors}: "
                  "the figure for them is projected, not measured")
        self.verdict("user memory of an idle tunnel, bytes", each, 1024)
        self.verdict(f"RSS with {IDLE_AIM} idle tunnels, MiB" + (" (projected)" if most < IDLE_AIM else ""), all_mib,
                     RSS_AIM_MIB)
        self.verdict("pipes held by all idle tunnels", some["pipes"] - none["pipes"], 0)
        self.verdict(f"wake-ups in {self.args.window:g} s with all idle tunnels", some["wakeups"], 0)
        self.verdict("idle tunnels lost", most - alive, 0)

    def settle(self, pid):
        """Waits until the server has done what opening left it to do and sleeps."""
        end = time.monotonic() + 20
        before = -1
        while time.monotonic() < end and wakeups(pid) != before:
            before = wakeups(pid)
            time.sleep(min(1.5, self.args.window))

    def watch(self, pid):
        before = wakeups(pid)
        time.sleep(self.args.window)
        return wakeups(pid) - before

    # ---- counting, which noise cannot touch ----

    def calls(self, row, per, mode, *more):
        """System calls of the server while that load runs, by name, for one of per."""
        out = self.path("strace.out")
        p = subprocess.Popen(["strace", "-f", "-q", "-c", "-U", "name,calls", "-o", out, "-p",
                              str(self.servers[row][0].pid)], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while not self.is_traced(row) and time.monotonic() < end:
            time.sleep(0.05)
        self.load(row, mode, *more)
        p.send_signal(signal.SIGINT)
        p.wait()
        with open(out) as f:
            return {m[1]: int(m[2]) / per for m in re.finditer(r"^\s*(\w+)\s+(\d+)\s*$", f.read(), re.M)}

    def is_traced(self, row):
        pid = self.servers[row][0].pid
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/status") as f:
                if "TracerPid:\t0\n" in f.read():
                    return False
        return True

    def print_calls(self, what, rows, found):
        print(f"\nsystem calls {what}")
        names = sorted({n for calls in found for n in calls if calls[n] >= 0.01}, key=lambda n: (n == "total", n))
        for name in names:
            print(f"  {name:16}" + "".join(f"{calls.get(name, 0):9.2f}" for calls in found))
        print("  (columns: " + "; ".join(rows) + ")")

    def system_calls(self):
        if shutil.which("strace") is None:
            print("bench_tunnel: strace is not installed: no system calls are counted", file=sys.stderr)
            return
        rows, count = (COPY, OURS, OURS_BARE), 2000
        self.print_calls("of one set-up, one frame each way and the end, one after the other", rows,
                         [self.calls(row, count, "setup", "--count", str(count)) for row in rows])
        rows, mib = (SPLICE, OURS), 512
        self.print_calls("for each MiB of bulk, 1 tunnel down", rows,
                         [self.calls(row, mib, "down", "--bytes", str(mib << 20)) for row in rows])

    # ---- the end ----

    def ratio(self, column, row, other, base=None):
        def value(r, of):
            return r[of][column] - (r[base][column] if base else 0)
        ratios = [value(r, row) / value(r, other) for r in self.results if value(r, other) > 0]
        return statistics.median(ratios)

    def verdict(self, what, measured, target, below=False):
        good = measured < target if below else measured <= target
        self.verdicts.append((what, measured, target, good))

    def judge(self):
        parts = self.args.parts
        if "setup" in parts:
            self.verdict("CPU of a set-up: times a bare relay's", self.ratio("set-up us", OURS, COPY), 1.5)
        for peer in ("tinyproxy", "squid"):
            if "setup" in parts and peer in self.servers:
                self.verdict(f"CPU of a set-up: times {peer}'s (below)", self.ratio("set-up us", OURS, peer), 1.0, True)
        for column, what in (("down s/GB", "1 tunnel down"), ("16 both s/GB", "16 tunnels, 8 each way")):
            if "bulk" in parts:
                self.verdict(f"bulk CPU, {what}: times a splice relay's", self.ratio(column, OURS, SPLICE), 1.1)
        if "frames" in parts:
            self.verdict("added median round trip: times a bare relay's", self.ratio("frame p50 us", OURS, COPY, DIRECT), 1.2)

    def report(self):
        columns = list(self.results[0][OURS])
        print(f"medians of {len(self.results)} rounds; CPU is the server's, user + system")
        print(f"{'':38}" + "".join(f"{c:>14}" for c in columns))
        for row in self.results[0]:
            cells = [[r[row][c] for r in self.results if c in r[row]] for c in columns]
            print(f"{row:38}" + "".join(f"{statistics.median(c):14.3f}" if c else f"{'-':>14}" for c in cells))

    def print_verdicts(self):
        print()
        for what, measured, target, good in self.verdicts:
            print(f"{'met   ' if good else 'MISSED'}  {what}: {measured:.2f}, target {target}")

    def run(self):
        self.start_all()
        for i in range(self.args.rounds if {"setup", "bulk", "frames"} & set(self.args.parts) else 0):
            self.round()
            if sys.stderr.isatty():
                print(f"round {i + 1} of {self.args.rounds}", file=sys.stderr)
        if self.results:
            self.report()
            self.judge()
        if "calls" in self.args.parts:
            self.system_calls()
        if "idle" in self.args.parts:
            self.idle()
        self.print_verdicts()
        if self.args.json:
            with open(self.args.json, "w") as f:
                json.dump({"rounds": self.results, "verdicts": self.verdicts}, f)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", required=True, help="the build directory")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=float, default=1, help="of each measurement that is not bounded by bytes")
    p.add_argument("--bulk-mib", type=int, default=256)
    p.add_argument("--idle", type=int, default=IDLE_AIM, help="tunnels, as far as descriptors reach")
    p.add_argument("--window", type=float, default=WINDOW_S, help="seconds in which wake-ups are counted")
    p.add_argument("--peers", nargs="*", default=["tinyproxy", "squid", "3proxy"])
    p.add_argument("--parts", nargs="*", default=["setup", "bulk", "frames", "calls", "idle"])
    p.add_argument("--json")
    args = p.parse_args()
    prepare_namespace()
    # Not in /tmp: tunneld wakes up when a name appears in a directory that leads to its policy.
    with tempfile.TemporaryDirectory(prefix="bench-tunnel.", dir=args.build) as scratch:
        bench = Bench(args, scratch)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            bench.run()
        finally:
            bench.stop_all()


main()
