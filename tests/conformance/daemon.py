# SPDX-License-Identifier: Apache-2.0
"""Starts the real openshell-dnsd on ports of the kernel's choice and talks to it."""
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import dns_wire as w

PROGRAM, TUNNELD, EGRESS = (os.path.join(os.environ.get("top_builddir", "."), name)
                            for name in ("openshell-dnsd", "openshell-tunneld", "openshell-egress"))
READY_FD = 199  # clear of the descriptors that are passed
# sd_listen_fds: descriptors from 3 on, and the daemon's own process number in LISTEN_PID.
PASS_SOCKETS = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 200) for n in sys.argv[2].split(",")]
os.dup2(fcntl.fcntl(int(sys.argv[1]), fcntl.F_DUPFD, 200), 199)
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(["dns"] * len(fds)))
os.execv(sys.argv[3], sys.argv[3:])
"""
NO_BRAKES = ("--rate-limit", "0", "--wildcard-budget", "0")  # those have tests of their own
WAIT_S = 20  # for things that are there in milliseconds on an idle machine
END_S = 40  # of a process: the kernel may take its time over the last inotify descriptor (fsnotify_destroy_group)


class Daemon:
    def __init__(self, policy, *options, passed=(), expect_ready=True):
        self.dir = tempfile.mkdtemp(prefix="dnsd-test.")
        self.policy = os.path.join(self.dir, "policy.yaml")
        self.log_path = os.path.join(self.dir, "log")
        self.write_policy(policy)
        ready_r, ready_w = os.pipe()
        argv = [PROGRAM, "--policy", self.policy, "--ready-fd", str(READY_FD if passed else ready_w),
                *options]
        if "--log-level" not in options:
            argv += ["--log-level", "debug"]  # dnsd gives no answer again as it is then: each is to be logged
        if not passed and not any(o.startswith("--listen") for o in options):
            argv += ["--listen", "127.0.0.1:0"]
        if "--workers" not in options:
            argv += ["--workers", "1"]  # each has a cache of its own
        if passed:
            fds = ",".join(str(s.fileno()) for s in passed)
            argv = [sys.executable, "-c", PASS_SOCKETS, str(ready_w), fds] + argv
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENSHELL_")}
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env,
                                            pass_fds=[ready_w] + [s.fileno() for s in passed])
        os.close(ready_w)
        self.addresses = {}
        ready = select.select([ready_r], [], [], WAIT_S)[0] and os.read(ready_r, 16)
        os.close(ready_r)
        if not expect_ready:
            if ready:
                self.process.kill()
                raise AssertionError("ready, but should not be:\n%s" % self.log())
            self.status = self.process.wait(END_S)
            return
        if ready != b"READY\n":
            self.process.kill()
            raise AssertionError("not ready (%r):\n%s" % (ready, self.log()))
        for addr, proto in re.findall(r" listening addr=(\S+) proto=(\S+)", self.log()):
            host, port = addr.rsplit(":", 1)
            self.addresses.setdefault(proto, []).append((host.strip("[]"), int(port)))

    def write_policy(self, text):
        with open(self.policy + ".new", "w") as f:
            f.write(text)
        os.rename(self.policy + ".new", self.policy)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def lines(self, event):
        return [line for line in self.log().splitlines() if " %s " % event in line + " "]

    def wait_log(self, pattern):
        end = time.monotonic() + WAIT_S
        while not re.search(pattern, self.log()):
            if time.monotonic() > end:
                raise AssertionError("no %r in the log:\n%s" % (pattern, self.log()))
            time.sleep(0.02)

    def udp(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect(self.addresses["udp"][0])
        return s

    def exchange(self, raw, wait_s=WAIT_S):
        """The answer to one datagram, or None if there is none."""
        with self.udp() as s:
            s.settimeout(wait_s)
            s.send(raw)
            try:
                return w.Message(s.recv(65535))
            except socket.timeout:
                return None

    def ask(self, qname, qtype=w.A, edns=None, **more):
        return self.exchange(w.query(qname, qtype, edns=edns, **more))

    def tcp(self):
        return Stream(self.addresses["tcp"][0])

    def stop(self):
        """Asks it to stop; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("did not stop:\n%s" % self.log()) from None
        status, text = self.process.returncode, self.log()
        shutil.rmtree(self.dir, ignore_errors=True)
        if "Sanitizer" in text or "runtime error" in text:
            raise AssertionError(text)
        return status


class Stream:
    """A TCP connection with DNS framing."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, WAIT_S)
        self.socket.settimeout(WAIT_S)

    def send(self, *messages):
        self.socket.sendall(b"".join(struct.pack("!H", len(m)) + m for m in messages))

    def read(self, n):
        out = b""
        while len(out) < n:
            got = self.socket.recv(n - len(out))
            if not got:
                return out
            out += got
        return out

    def receive(self):
        """The next message, or None at the end of the stream."""
        try:
            head = self.read(2)
            if len(head) < 2:
                return None
            return w.Message(self.read(struct.unpack("!H", head)[0]))
        except ConnectionResetError:
            return None

    def close(self):
        self.socket.close()
