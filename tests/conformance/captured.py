# SPDX-License-Identifier: Apache-2.0
"""What tests of captured connections share: a map that hands names out, policies, and how tests are run."""
import concurrent.futures
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import lab

POOL = "198.18.0.0/24"


def policy(*endpoints, extra=""):
    """One rule for each endpoint; JSON is YAML."""
    rules = {"rule%d" % i: dict(name="rule%d" % i, endpoints=[one]) for i, one in enumerate(endpoints)}
    return "version: 1\nnetwork_policies: %s\n%s" % (json.dumps(rules), extra)


class Map:
    """Synthetic addresses of names, and the options for a daemon that listens on each of them at each port."""

    def __init__(self, names, ports, unknown=()):
        self.dir = tempfile.TemporaryDirectory()
        path = os.path.join(self.dir.name, "map")
        program = os.path.join(os.environ["top_builddir"], "tests", "conformance", "map_write")
        out = subprocess.run([program, path, "3600", POOL, *names], check=True, stdout=subprocess.PIPE).stdout.decode()
        self.addr = {line.split()[0]: line.split()[1] for line in out.splitlines()}
        self.options = ["--map", path, "--pool", POOL]
        for addr in list(self.addr.values()) + list(unknown):
            for port in ports:
                self.options += ["--transparent", "%s:%d" % (addr, port)]

    def dial(self, name, port):
        return dial(self.addr[name], port)


def dial(addr, port):
    s = socket.create_connection((addr, port), lab.GIVE_UP_S)
    s.settimeout(lab.GIVE_UP_S)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


def wait_until(condition, timeout=lab.GIVE_UP_S):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def run_one(name, function, env):
    began = time.monotonic()
    try:
        function(env)
    except Exception:  # pylint: disable=broad-except
        print("FAIL %s\n%s" % (name, traceback.format_exc()), flush=True)
        return False
    print("ok   %-36s %5.2f s" % (name, time.monotonic() - began), flush=True)
    return True


def main(make_env, names, at_once=6):
    """Runs the functions test_* of names, or those that the command line wants, in a network namespace of our own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    lab.enter_namespace()
    env = make_env()
    wanted = sys.argv[1:]
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and (not wanted or n in wanted)]
    assert tests, "no such test"
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda t: run_one(t[0], t[1], env), tests))
    print("%d of %d passed" % (sum(results), len(results)), flush=True)
    if hasattr(env, "stop"):
        env.stop()
    os._exit(0 if all(results) else 1)  # server threads never end
