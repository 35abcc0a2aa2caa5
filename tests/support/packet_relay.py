# SPDX-License-Identifier: Apache-2.0
"""A wire that delays, reorders, loses: two TUN devices, one here and one in a network namespace of its own, and a thread
that carries packets between them. No kernel module is needed but tun, and no netem.

    with Wire() as wire:       # FAR is reachable through it; what runs there is Wire.run(code)
        wire.delay = (0.01, 0.05)

As a program ("packet_relay.py far FD") it is the far end.
"""
import array
import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

NEAR, FAR = "45.46.1.1", "45.46.2.1"
TUNSETIFF, IFF_TUN_NO_PI = 0x400454ca, 0x1001
CLONE_NEWNET = 0x40000000


class Unavailable(Exception):
    pass


def open_tun(name, address, peer):
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    except OSError as e:
        raise Unavailable("/dev/net/tun: %s" % e) from None
    for command in ("ip address add %s/32 dev %s" % (address, name), "ip link set %s up" % name,
                    "ip route add %s/32 dev %s" % (peer, name)):
        subprocess.run(command.split(), check=True)
    return fd


def far_end(fd):
    """Makes the far namespace, hands its device over, then runs the code that it is sent."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        sys.exit("no network namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run("ip link set lo up".split(), check=True)
    tun = open_tun("far", FAR, NEAR)
    sock = socket.socket(fileno=fd)
    sock.sendmsg([b"r"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [tun]))])
    os.close(tun)
    size = struct.unpack("=I", sock.recv(4))[0]
    code = b""
    while len(code) < size:
        code += sock.recv(size - len(code))
    exec(compile(code, "far", "exec"), {"FAR": FAR, "NEAR": NEAR, "ready": lambda: sock.sendall(b"!")})  # pylint: disable=exec-used


class Wire:
    """delay: a range in seconds, drawn for each packet, so that they overtake each other; loss: a share of 1."""

    def __init__(self, code):
        self.delay, self.loss = (0.0, 0.0), 0.0
        self.carried = self.overtaken = self.lost = 0
        self.near = open_tun("near", NEAR, FAR)
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "far", str(theirs.fileno())],
                                        pass_fds=(theirs.fileno(),))
        theirs.close()
        ours.settimeout(10)
        _, rights, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        if not rights:
            raise Unavailable("no second network namespace")
        self.far = array.array("i", rights[0][2])[0]
        os.set_blocking(self.far, False)
        self.ours = ours
        ours.sendall(struct.pack("=I", len(code)) + code.encode())
        self.is_open = True
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()
        assert ours.recv(1) == b"!", "the far end is not ready"

    def _carry(self):
        heap, number, sent = [], 0, {self.near: 0, self.far: 0}
        rng = random.Random(1)
        while self.is_open:
            wait = max(0.0, heap[0][0] - time.monotonic()) if heap else 0.2
            for fd in select.select([self.near, self.far], [], [], wait)[0]:
                packet = os.read(fd, 65536)
                number += 1
                if rng.random() < self.loss:
                    self.lost += 1
                    continue
                to = self.far if fd == self.near else self.near
                heapq.heappush(heap, (time.monotonic() + rng.uniform(*self.delay), number, to, packet))
            while heap and heap[0][0] <= time.monotonic():
                _, order, to, packet = heapq.heappop(heap)
                self.overtaken += order < sent[to]
                sent[to] = max(sent[to], order)
                self.carried += 1
                try:
                    os.write(to, packet)
                except OSError:
                    self.lost += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_open = False
        self.thread.join()
        self.process.kill()
        self.process.wait()
        for fd in (self.near, self.far):
            os.close(fd)
        self.ours.close()


if __name__ == "__main__":
    far_end(int(sys.argv[2]))
