# SPDX-License-Identifier: Apache-2.0
"""What tests of captured connections share: a map that hands names out, policies, and how tests are run."""
import json
import os
import socket
import subprocess
import tempfile

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


def main(make_env, names, at_once=6):
    """Runs the functions test_* of names, or those that the command line wants, in a network namespace of our own."""
    lab.raise_descriptors()
    lab.enter_namespace()
    env = make_env()
    passed = lab.run_tests(names, env, at_once)
    if hasattr(env, "stop"):
        env.stop()
    os._exit(0 if passed else 1)  # server threads never end
