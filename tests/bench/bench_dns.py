#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What openshell-dnsd costs, beside floors and peers, in one run.

Server on one core, load and authority on another, in a network namespace of its own (run through
`unshare -n`, as `make bench-dns` does). CPU is user + system of the server, in seconds per million answers at
saturation; every answer is checked by the load generator. Take ratios, not absolutes.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

NAMES = 10000
UPSTREAM = "127.0.0.1:5301"  # names that may be cached
UPSTREAM_0 = "127.0.0.1:5302"  # TTL 0: every question is a miss


def cpu_ns(pid):
    total = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def pinned(core, argv, **kwargs):
    return subprocess.Popen(["taskset", "-c", str(core)] + argv, **kwargs)


class Server:
    """One program under test: how to start it for cached answers, denials, and misses."""

    def __init__(self, name, start, port, tests):
        self.name, self.start, self.port, self.tests = name, start, port, tests
        self.process = None


class Bench:
    def __init__(self, args, scratch):
        self.args, self.scratch = args, scratch
        self.results = {}
        self.children = []

    def path(self, name, text=None):
        path = os.path.join(self.scratch, name)
        if text is not None:
            with open(path, "w") as f:
                f.write(text)
        return path

    def tool(self, name):
        return os.path.join(self.args.build, "tests/bench", name)

    def spawn(self, core, argv):
        log = open(self.path("log." + os.path.basename(argv[0]) + str(len(self.children))), "w")
        p = pinned(core, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.children.append(p)
        return p

    def stop(self, p):
        if p.poll() is None:
            p.terminate()
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()

    def stop_all(self):
        for p in self.children:
            self.stop(p)

    # ---- programs ----

    def policy(self, rules):
        """rules endpoints, the first NAMES of them named n%06u.bench.example."""
        path = os.path.join(self.scratch, f"policy{rules}.yaml")
        if not os.path.exists(path):
            with open(path, "w") as f:
                f.write("version: 1\nnetwork_policies:\n  bench:\n    endpoints:\n")
                for i in range(rules):
                    f.write(f"      - {{ host: n{i:06d}.bench.example, port: 443 }}\n")
                f.write("    binaries:\n      - { path: \"/**\" }\n")
        return path

    def dnsd(self, rules, upstream):
        return [os.path.join(self.args.build, "openshell-dnsd"), "--policy", self.policy(rules), "--listen",
                "127.0.0.1:5400", "--upstream", upstream, "--workers", "1", "--log-level", "error",
                "--rate-limit", "0", "--wildcard-budget", "0"] + self.args.dnsd

    def dnsmasq(self, upstream):
        host, port = upstream.split(":")
        lines = ["keep-in-foreground", "no-resolv", "no-hosts", "port=5400",
                 "listen-address=127.0.0.1", "bind-interfaces", "cache-size=20000", "dns-forward-max=2000",
                 "user=root", "address=/#/"]
        lines += [f"server=/n{i:06d}.bench.example/{host}#{port}" for i in range(NAMES)]
        return ["dnsmasq", "-C", self.path("dnsmasq.conf", "\n".join(lines) + "\n")]

    def unbound(self, upstream):
        host, port = upstream.split(":")
        text = f"""server:
  interface: 127.0.0.1@5400
  username: ""
  chroot: ""
  directory: "{self.scratch}"
  pidfile: "{self.path('unbound.pid')}"
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
        text += "".join(f"  local-zone: \"n{i:06d}.bench.example.\" transparent\n" for i in range(NAMES))
        text += f"forward-zone:\n  name: \".\"\n  forward-addr: {host}@{port}\nremote-control:\n  control-enable: no\n"
        return ["unbound", "-d", "-c", self.path("unbound.conf", text)]

    def dnsdist(self, upstream, cached):
        text = f"""setLocal("127.0.0.1:5400", {{reusePort=false}})
newServer({{address="{upstream}", checkInterval=60, sockets=16}})
setMaxUDPOutstanding(10000)
allowed = newDNSNameSet()
for i = 0, {NAMES - 1} do allowed:add(newDNSName(string.format("n%06d.bench.example.", i))) end
addAction(NotRule(QNameSetRule(allowed)), RCodeAction(DNSRCode.NXDOMAIN))
"""
        if cached:
            text += 'pc = newPacketCache(20000, {maxTTL=3600})\ngetPool(""):setCache(pc)\n'
        return ["dnsdist", "--supervised", "--disable-syslog", "-C", self.path("dnsdist.conf", text)]

    # ---- measuring ----

    def load(self, pattern, expect, seconds, window, start=0, names=NAMES):
        p = pinned(1, [self.tool("dns_load"), "--server", "127.0.0.1:5400", "--pattern", pattern, "--names", str(names),
                       "--expect", expect, "--seconds", str(seconds), "--window", str(window), "--start", str(start)],
                   stdout=subprocess.PIPE)
        out, _ = p.communicate(timeout=seconds + 60)
        return json.loads(out)

    def wait_answer(self, pattern, expect, process):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if process.poll() is not None:
                raise SystemExit(f"bench_dns: a server ended at once: see {self.scratch}")
            p = subprocess.run([self.tool("dns_load"), "--server", "127.0.0.1:5400", "--pattern", pattern, "--names", "1",
                                "--expect", expect, "--seconds", "1", "--window", "16"], stdout=subprocess.PIPE)
            if p.returncode == 0 and json.loads(p.stdout)["good"] > 0:
                return
        raise SystemExit(f"bench_dns: no right answer from a server: see {self.scratch}")

    def note(self, row, column, value):
        self.results.setdefault(row, {}).setdefault(column, []).append(value)

    def saturate(self, row, column, process, pattern, expect):
        before = cpu_ns(process.pid)
        r = self.load(pattern, expect, self.args.seconds, 256)
        used = cpu_ns(process.pid) - before
        answers = r["good"] + r["bad"]
        if answers == 0 or (expect != "any" and r["bad"] * 100 > answers):
            print(f"{row} {column}: {r['bad']} wrong answers of {answers}", file=sys.stderr)
        self.note(row, column, used / 1000.0 / max(answers, 1))
        self.note(row, column + " q/s", r["qps"])
        if r["lost"] * 1000 > answers:
            print(f"{row} {column}: {r['lost']} lost of {answers}", file=sys.stderr)

    def measure(self, row, argv, upstream, column, warm=True):
        p = self.spawn(0, argv)
        pattern, expect = "n%06u.bench.example", "addr"
        if column == "denied":
            pattern, expect = "x%06u.denied.example", "nxdomain"
        try:
            self.wait_answer(pattern, expect, p)
            if column == "latency":
                r = self.load(pattern, expect, self.args.seconds, 1)
                self.note(row, "miss p50 us", r["p50_us"])
            else:
                if warm:
                    self.load(pattern, expect, 1, 256)
                self.saturate(row, column, p, pattern, expect)
                if column == "cached":
                    self.note(row, "rss MiB", rss_kib(p.pid) / 1024.0)
        finally:
            self.stop(p)

    def floor(self, kind, column):
        argv = [self.tool("dns_floor"), kind, "127.0.0.1:5400"] + ([UPSTREAM_0] if kind == "forward" else [])
        if kind == "echo":
            p = self.spawn(0, argv)
            time.sleep(0.2)
            before = cpu_ns(p.pid)
            r = self.load("n%06u.bench.example", "addr", self.args.seconds, 256)
            used = cpu_ns(p.pid) - before
            self.note("floor: echo", "cached", used / 1000.0 / max(r["good"] + r["bad"], 1))
            self.note("floor: echo", "cached q/s", r["qps"])
            self.stop(p)
        else:
            self.measure("floor: forwarder, a socket each", argv, UPSTREAM_0, column)

    def direct(self):
        p = self.spawn(0, [self.tool("dns_floor"), "answer", "127.0.0.1:5400", "0"])
        self.wait_answer("n%06u.bench.example", "addr", p)
        r = self.load("n%06u.bench.example", "addr", self.args.seconds, 1)
        self.note("authority, asked directly", "miss p50 us", r["p50_us"])
        self.stop(p)

    def round(self):
        wanted = self.args.columns
        if "cached" in wanted:
            self.floor("echo", "cached")
        if "miss" in wanted:
            self.floor("forward", "miss")
        if "latency" in wanted:
            self.direct()
            self.floor("forward", "latency")
        for column in wanted:
            upstream = UPSTREAM if column in ("cached", "denied") else UPSTREAM_0
            for rules in self.args.rules:
                self.measure(f"openshell-dnsd, {rules} rules", self.dnsd(rules, upstream), upstream, column)
            for peer in self.args.peers:
                if shutil.which(peer) is None:
                    print(f"bench_dns: {peer} is not installed: left out", file=sys.stderr)
                    continue
                argv = {"dnsmasq": lambda: self.dnsmasq(upstream), "unbound": lambda: self.unbound(upstream),
                        "dnsdist": lambda: self.dnsdist(upstream, column == "cached")}[peer]()
                self.measure(peer, argv, upstream, column)

    def run(self):
        self.spawn(1, [self.tool("dns_floor"), "answer", UPSTREAM, "3600"])
        self.spawn(1, [self.tool("dns_floor"), "answer", UPSTREAM_0, "0"])
        for _ in range(self.args.rounds):
            self.round()

    def report(self):
        columns = ["cached", "cached q/s", "denied", "denied q/s", "miss", "miss q/s", "miss p50 us", "rss MiB"]
        columns = [c for c in columns if any(c in r for r in self.results.values())]
        print("CPU in seconds per million answers (user + system), medians of", self.args.rounds)
        print(f"{'':36}" + "".join(f"{c:>14}" for c in columns))
        for row, values in self.results.items():
            cells = [f"{statistics.median(values[c]):14.2f}" if c in values else f"{'-':>14}" for c in columns]
            print(f"{row:36}" + "".join(cells))
        if self.args.json:
            with open(self.args.json, "w") as f:
                json.dump(self.results, f)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", required=True, help="the build directory")
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--columns", nargs="*", default=["cached", "denied", "miss", "latency"])
    p.add_argument("--peers", nargs="*", default=["dnsmasq", "unbound", "dnsdist"])
    p.add_argument("--rules", nargs="*", type=int, default=[10000, 100000])
    p.add_argument("--json")
    p.add_argument("--dnsd", nargs="*", default=[], help="more options of openshell-dnsd")
    args = p.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="bench-dns.") as scratch:
        bench = Bench(args, scratch)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            bench.run()
        finally:
            bench.stop_all()
        bench.report()


main()
