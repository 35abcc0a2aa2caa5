#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What openshell-dnsd costs, beside floors and peers, in one run, and what that says of each target.

Servers on one core, load and authorities on another, in a network namespace of its own (run through
`unshare -n`, as `make bench-dns` does). For each column all servers are started and warmed, then asked in turn,
in an order that changes, a short while each, round after round: what disturbs the machine disturbs all of
them. CPU is user + system of the server, in microseconds for each answer at saturation (seconds per million);
every answer is checked by the load generator. Take ratios, not absolutes: those printed are the medians of the
rounds' own ratios.
"""
import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

NAMES = 10000
NEW_NAMES = 10000000  # none is asked for twice within a column
PEERS = ["dnsmasq", "unbound", "dnsdist"]
WITH_CACHE = "dnsdist, with its cache"  # as it is for "cached"; without it, it has less to do for a miss
ECHO, FORWARD, DIRECT = "floor: echo", "floor: forwarder, a socket each", "authority, asked directly"
CACHED, DENIED, NEW, MISS, LATENCY = "cached", "denied", "denied, new", "miss", "miss, us"
RSS = "rss MB"
COLUMNS = [CACHED, DENIED, NEW, MISS, LATENCY]
UNITS = {LATENCY: "latency of a question asked alone, us, median", RSS: "resident memory, MB"}


def dnsd_row(rules):
    return f"openshell-dnsd, {rules} rules"


def be_preferred():
    """Other programs disturb the servers and the load alike, but less is better. Needs root; not vital."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        with open("/proc/self/autogroup", "w") as f:
            f.write("-20")
    except OSError:
        pass


class Program:
    """A server or an authority: one process, pinned, its output in a file."""

    def __init__(self, core, argv, out):
        self.out = out
        with open(out, "w") as log:
            self.process = subprocess.Popen(["taskset", "-c", str(core)] + argv, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=subprocess.STDOUT, preexec_fn=be_preferred)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with open(self.out) as log:
            return log.read()

    def is_over(self):
        return self.process.poll() is not None

    def cpu_ns(self):
        total = 0
        for tid in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{tid}/schedstat") as f:
                total += int(f.read().split()[0])
        return total

    def rss_mb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024 / 1e6
        return 0.0


class Server:
    """One row of a column: the program that is measured and the authority it may ask."""

    def __init__(self, row, number):
        self.row = row
        self.at = f"127.0.0.1:{5400 + number}"
        self.upstream = f"127.0.0.1:{5500 + number}"
        self.program = self.authority = None
        self.next_name = 0
        self.answers = 0


class Bench:
    def __init__(self, args, scratch):
        self.args, self.scratch = args, scratch
        self.results = {"rounds": {}, "upstream": {}}
        self.running = []
        self.file_count = 0

    def file(self, name, text=None):
        self.file_count += 1
        path = os.path.join(self.scratch, f"{self.file_count}.{name}")
        if text is not None:
            with open(path, "w") as f:
                f.write(text)
        return path

    def tool(self, name):
        return os.path.join(self.args.build, "tests/bench", name)

    def spawn(self, core, argv):
        p = Program(core, argv, self.file(os.path.basename(argv[0]) + ".log"))
        self.running.append(p)
        return p

    def stop_all(self):
        for p in self.running:
            p.stop()
        self.running = []

    # ---- programs ----

    def policy(self, rules):
        """rules endpoints, the first NAMES of them named n%07u.bench.example."""
        path = os.path.join(self.scratch, f"policy{rules}.yaml")
        if not os.path.exists(path):
            with open(path, "w") as f:
                f.write("version: 1\nnetwork_policies:\n  bench:\n    endpoints:\n")
                for i in range(rules):
                    f.write(f"      - {{ host: n{i:07d}.bench.example, port: 443 }}\n")
                f.write("    binaries:\n      - { path: \"/**\" }\n")
        return path

    def dnsd(self, s, rules):
        return [os.path.join(self.args.build, "openshell-dnsd"), "--policy", self.policy(rules), "--listen", s.at,
                "--upstream", s.upstream, "--workers", "1", "--log-level", "error", "--rate-limit", "0",
                "--wildcard-budget", "0"] + self.args.dnsd

    def dnsmasq(self, s):
        host, port = s.upstream.split(":")
        lines = ["keep-in-foreground", "no-resolv", "no-hosts", "pid-file=", "port=" + s.at.split(":")[1],
                 "listen-address=127.0.0.1", "bind-interfaces", "cache-size=20000", "dns-forward-max=2000",
                 "user=root", "address=/#/"]
        lines += [f"server=/n{i:07d}.bench.example/{host}#{port}" for i in range(NAMES)]
        return ["dnsmasq", "-C", self.file("dnsmasq.conf", "\n".join(lines) + "\n")]

    def unbound(self, s):
        text = f"""server:
  interface: {s.at.replace(":", "@")}
  username: ""
  chroot: ""
  directory: "{self.scratch}"
  pidfile: "{self.file('unbound.pid')}"
  do-daemonize: no
  num-threads: 1
  do-not-query-localhost: no
  use-syslog: no
  verbosity: 0
  module-config: "iterator"
  msg-cache-size: 32m
  rrset-cache-size: 64m
  outgoing-range: 4096
  num-queries-per-thread: 4096
  so-reuseport: no
  local-zone: "." always_nxdomain
"""
        text += "".join(f"  local-zone: \"n{i:07d}.bench.example.\" transparent\n" for i in range(NAMES))
        text += f"forward-zone:\n  name: \".\"\n  forward-addr: {s.upstream.replace(':', '@')}\n"
        text += "remote-control:\n  control-enable: no\n"
        return ["unbound", "-d", "-c", self.file("unbound.conf", text)]

    def dnsdist(self, s, has_cache):
        text = f"""setLocal("{s.at}", {{reusePort=false}})
newServer({{address="{s.upstream}", checkInterval=60, sockets=16}})
setMaxUDPOutstanding(10000)
allowed = newDNSNameSet()
for i = 0, {NAMES - 1} do allowed:add(newDNSName(string.format("n%07d.bench.example.", i))) end
addAction(NotRule(QNameSetRule(allowed)), RCodeAction(DNSRCode.NXDOMAIN))
"""
        if has_cache:
            text += 'pc = newPacketCache(20000, {maxTTL=3600})\ngetPool(""):setCache(pc)\n'
        return ["dnsdist", "--supervised", "--disable-syslog", "-C", self.file("dnsdist.conf", text)]

    def rows(self, column):
        """What is measured in a column: name and how its command is made."""
        rows = []
        if column in (CACHED, DENIED, NEW):
            rows.append((ECHO, lambda s: [self.tool("dns_floor"), "echo", s.at]))
        else:
            rows.append((FORWARD, lambda s: [self.tool("dns_floor"), "forward", s.at, s.upstream]))
        if column == LATENCY:
            rows.append((DIRECT, None))
        for rules in self.args.rules:
            rows.append((dnsd_row(rules), lambda s, rules=rules: self.dnsd(s, rules)))
        peers = {"dnsmasq": self.dnsmasq, "unbound": self.unbound,
                 "dnsdist": lambda s: self.dnsdist(s, column == CACHED)}
        for peer in self.args.peers:
            if shutil.which(peer) is None:
                print(f"bench_dns: {peer} is not installed: left out", file=sys.stderr)
            else:
                rows.append((peer, peers[peer]))
                if peer == "dnsdist" and column in (MISS, LATENCY):
                    rows.append((WITH_CACHE, lambda s: self.dnsdist(s, True)))
        return rows

    # ---- measuring ----

    def load(self, s, column, seconds, window):
        """Questions as the column wants them; the load generator's counts."""
        pattern, expect, names = "n%07u.bench.example", "addr", NAMES
        if column in (DENIED, NEW):
            pattern, expect = "x%07u.denied.example", "nxdomain"
        if s.row == ECHO:
            expect = "echo"
        if column == NEW:  # a share of the names for each round
            names = NEW_NAMES // (self.args.rounds + 2)
        argv = ["taskset", "-c", "1", self.tool("dns_load"), "--server", s.at if s.row != DIRECT else s.upstream,
                "--pattern", pattern, "--names", str(names), "--expect", expect, "--seconds", str(seconds),
                "--window", str(window), "--start", str(s.next_name)]
        out = subprocess.run(argv, stdout=subprocess.PIPE, timeout=seconds + 60, preexec_fn=be_preferred, check=True)
        r = json.loads(out.stdout)
        if column == NEW and window > 1:
            s.next_name += names
        s.answers += r["good"] + r["bad"]
        return r

    def start(self, column, number, row, command):
        s = Server(row, number)
        ttl_s = "0" if column in (MISS, LATENCY) else "3600"
        s.authority = self.spawn(1, [self.tool("dns_floor"), "answer", s.upstream, ttl_s])
        s.program = self.spawn(0, command(s)) if command is not None else s.authority
        end = time.monotonic() + 30
        while self.load(s, column, 1, 1)["good"] == 0:
            if s.program.is_over() or time.monotonic() > end:
                raise SystemExit(f"bench_dns: {row} gives no right answer: {s.program.stop()}")
        if column != LATENCY:
            self.load(s, column, 1, 256)
        return s

    def note(self, column, row, value):
        self.results["rounds"].setdefault(column, {}).setdefault(row, []).append(value)

    def measure(self, column, s):
        before_ns = s.program.cpu_ns()
        r = self.load(s, column, self.args.seconds, 1 if column == LATENCY else 256)
        used_ns = s.program.cpu_ns() - before_ns
        answers = r["good"] + r["bad"]
        if r["good"] == 0 or r["bad"] * 1000 > answers or r["lost"] * 100 > answers:
            print(f"bench_dns: {s.row}, {column}: {r['bad']} wrong and {r['lost']} lost of {answers}", file=sys.stderr)
        if column == LATENCY:
            self.note(column, s.row, r["p50_us"])
        else:
            self.note(column, s.row, used_ns / 1000.0 / max(answers, 1))
            self.note(column + ", q/s", s.row, r["qps"])

    def column(self, column):
        servers = [self.start(column, i, row, command) for i, (row, command) in enumerate(self.rows(column))]
        for _ in range(self.args.rounds):
            for s in random.sample(servers, len(servers)):
                self.measure(column, s)
        for s in servers:
            if column == CACHED and s.row != ECHO:
                self.note(RSS, s.row, s.program.rss_mb())
            if s.program is not s.authority:
                s.program.stop()
            said = json.loads(s.authority.stop())
            if s.row not in (ECHO, DIRECT):
                self.results["upstream"].setdefault(column, {})[s.row] = said | {"answers": s.answers}
        self.running = []

    def run(self):
        for column in self.args.columns:
            self.column(column)
        return self.results


# ---- what it says ----


def ratios(rounds, row, base, less=None):
    """row to base, round by round; less: what is taken off both before."""
    if row not in rounds or base not in rounds or (less is not None and less not in rounds):
        return []
    off = rounds[less] if less is not None else [0.0] * len(rounds[row])
    return [(a - o) / (b - o) for a, b, o in zip(rounds[row], rounds[base], off) if b > o]


class Verdicts:
    """A line for each target. What was not measured says so."""

    def __init__(self, results):
        self.rounds = results["rounds"]
        self.upstream = results["upstream"]
        self.missed = 0

    def line(self, target, bound, values, note=""):
        if not values:
            print(f"not measured: {target}")
            return
        middle = statistics.median(values)
        spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        is_met = middle <= bound
        self.missed += 0 if is_met else 1
        print(f"{'met   ' if is_met else 'MISSED'} {target}: at most {bound:g}, measured {middle:.2f}{spread}{note}")

    def best_peer(self, column, among=PEERS):
        medians = {p: statistics.median(v) for p, v in self.rounds.get(column, {}).items() if p in among}
        return min(medians, key=medians.get) if medians else None

    def beside_peer(self, column, target, bound, row, among=PEERS):
        peer = self.best_peer(column, among)
        values = ratios(self.rounds.get(column, {}), row, peer) if peer else []
        self.line(target, bound, values, f" ({peer})")

    def has_fresh_ports(self, row):
        """Whether a server's misses came from about as many source ports as they were, or as there are."""
        said = self.upstream.get(MISS, {}).get(row, {"ports": 0, "questions": 1})
        return said["ports"] * 2 >= min(said["questions"], 20000)

    def misses(self, row):
        """Of all peers, and of those that take a fresh random port for each question, as we have to."""
        self.beside_peer(MISS, "miss: CPU to that of the best peer", 1.0, row)
        target = "miss, a fresh source port each: CPU to that of the best peer that does so too"
        if self.has_fresh_ports(row):
            self.beside_peer(MISS, target, 1.0, row, [p for p in PEERS if self.has_fresh_ports(p)])
        else:
            was_measured = row in self.rounds.get(MISS, {})
            self.line(target, 1.0, [float("inf")] if was_measured else [], f" ({row} had too few ports)")
        self.beside_peer(MISS, "miss: CPU to that of dnsdist as it is for cached answers", 1.0, row, [WITH_CACHE])

    def all(self, few, many):
        row = dnsd_row(few)
        for column, share in ((CACHED, 0.7), (DENIED, 1.0), (NEW, 1.0)):
            self.line(f"{column}: CPU to that of the echo server", 1.25, ratios(self.rounds.get(column, {}), row, ECHO))
            self.beside_peer(column, f"{column}: CPU to that of the best peer", share, row)
        self.misses(row)
        latency = self.rounds.get(LATENCY, {})
        self.line("latency that a miss adds to that which the forwarder adds", 1.3, ratios(latency, row, FORWARD, DIRECT))
        for peer in PEERS:
            self.line(f"latency that a miss adds to that which {peer} adds", 1.0, ratios(latency, row, peer, DIRECT))
        self.line("latency that a miss adds to that which dnsdist as it is for cached answers adds", 1.0,
                  ratios(latency, row, WITH_CACHE, DIRECT))
        self.line(f"resident MB with {few} rules and {NAMES} cached names", 20, self.rounds.get(RSS, {}).get(row, []))
        for column in (CACHED, DENIED, NEW, MISS, LATENCY):
            self.line(f"{column}: {many} rules to {few} rules", 1.1,
                      ratios(self.rounds.get(column, {}), dnsd_row(many), row))


def report(results, rules):
    rounds = results["rounds"]
    columns = [c for c in [CACHED, CACHED + ", q/s", DENIED, DENIED + ", q/s", NEW, MISS, MISS + ", q/s", LATENCY, RSS]
               if c in rounds]
    rows = []
    for c in columns:
        rows += [r for r in rounds[c] if r not in rows]
    print(f"CPU in seconds per million answers (user + system); \"{LATENCY}\": {UNITS[LATENCY]}; medians")
    print(f"{'':36}" + "".join(f"{c:>14}" for c in columns))
    for row in rows:
        cells = [f"{statistics.median(rounds[c][row]):14.2f}" if row in rounds[c] else f"{'-':>14}" for c in columns]
        print(f"{row:36}" + "".join(cells))
    print()
    for column, said in results["upstream"].items():
        for row, s in said.items():
            print(f"{column}, {row}: {s['answers']} answers, {s['questions']} questions to the authority from "
                  f"{s['ports']} ports, {s['repeats']} from the port of the one before")
    print()
    verdicts = Verdicts(results)
    verdicts.all(rules[0], rules[-1])
    return verdicts.missed


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", help="the build directory")
    p.add_argument("--seconds", type=int, default=1, help="of each server in each round")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--columns", nargs="*", default=COLUMNS)
    p.add_argument("--peers", nargs="*", default=PEERS)
    p.add_argument("--rules", nargs="*", type=int, default=[NAMES, 10 * NAMES])
    p.add_argument("--json", help="write what was measured there")
    p.add_argument("--from-json", help="measure nothing, say what such a file means")
    p.add_argument("--dnsd", nargs="*", default=[], help="more options of openshell-dnsd")
    args = p.parse_args()
    if args.from_json:
        with open(args.from_json) as f:
            report(json.load(f), args.rules)
        return
    if not args.build:
        p.error("--build is needed")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="bench-dns.") as scratch:
        bench = Bench(args, scratch)
        try:
            results = bench.run()
        finally:
            bench.stop_all()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(results, f)
    report(results, args.rules)


if __name__ == "__main__":
    main()
