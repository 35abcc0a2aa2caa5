# SPDX-License-Identifier: Apache-2.0
"""Network namespaces behind veth pairs, for tests in which not everything may be one host's. Needs ip(8)."""
import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import traceback

import lab

SERVER = {4: "45.45.45.1", 6: "2a0f:45::1"}
LIBC = ctypes.CDLL(None, use_errno=True)


def sh(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError("%s: %s%s" % (" ".join(words), done.stdout, done.stderr))
    return done


def must_work(*words):
    """What only the machine can lack."""
    done = sh(*words, check=False)
    if done.returncode != 0:
        lab.skip("%s: %s" % (" ".join(words), done.stderr.strip()))


class Elsewhere:
    """Another network namespace behind a veth pair: where programs are, or servers. net: "10.9.0" and "fd00:9:"."""

    def __init__(self, link, net4, net6):
        self.here = {4: net4 + ".1", 6: net6 + ":1"}
        self.there = {4: net4 + ".2", 6: net6 + ":2"}
        self.link = link
        ready_read, ready_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            LIBC.prctl(1, signal.SIGKILL)
            os.write(ready_write, b"x" if LIBC.unshare(0x40000000) == 0 else b"-")
            signal.pause()
            os._exit(0)
        os.close(ready_write)
        assert os.read(ready_read, 1) == b"x", "no second namespace"
        os.close(ready_read)
        sh("ip", "link", "add", link, "type", "veth", "peer", "name", "peer", "netns", str(self.pid))
        self.dress(sh, link, self.here)
        self.run_tool("ip", "link", "set", "lo", "up")
        self.dress(self.run_tool, "peer", self.there)

    @staticmethod
    def dress(run, link, addresses):
        run("ip", "addr", "add", addresses[4] + "/24", "dev", link)
        run("ip", "-6", "addr", "add", addresses[6] + "/64", "dev", link, "nodad")
        run("ip", "link", "set", link, "up")

    def run_tool(self, *words):
        assert self.call(lambda: sh(*words).returncode) == 0

    def call(self, function):
        """Its result, from over there; what it raises is raised here."""
        out_read, out_write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                fd = os.open("/proc/%d/ns/net" % self.pid, os.O_RDONLY)
                assert LIBC.setns(fd, 0x40000000) == 0
                answer = {"result": function()}
            except BaseException:  # pylint: disable=broad-except
                answer = {"error": traceback.format_exc()}
            os.write(out_write, json.dumps(answer).encode())
            os._exit(0)
        os.close(out_write)
        with os.fdopen(out_read) as f:
            text = f.read()
        os.waitpid(child, 0)
        answer = json.loads(text)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        sh("ip", "link", "del", self.link, check=False)


class Servers(Elsewhere):
    """The Internet: addresses of a public class, with an echo on each of the ports."""

    def __init__(self, ports):
        super().__init__("vS", "10.8.0", "fd00:8:")
        self.ports = ports
        self.run_tool("ip", "addr", "add", SERVER[4] + "/32", "dev", "lo")
        self.run_tool("ip", "-6", "addr", "add", SERVER[6] + "/128", "dev", "lo", "nodad")
        sh("ip", "route", "add", SERVER[4] + "/32", "via", self.there[4])
        sh("ip", "-6", "route", "add", SERVER[6] + "/128", "via", self.there[6])
        ready_read, ready_write = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            LIBC.prctl(1, signal.SIGKILL)
            self.call_here(ready_write)
        os.close(ready_write)
        assert os.read(ready_read, 1) == b"x", "no servers"
        os.close(ready_read)

    def call_here(self, ready):
        assert LIBC.setns(os.open("/proc/%d/ns/net" % self.pid, os.O_RDONLY), 0x40000000) == 0
        for host in SERVER.values():
            for port in self.ports:
                lab.serve(host, port, echo, at=port)
        os.write(ready, b"x")
        signal.pause()

    def end(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        super().end()


def talk(address, port):
    """Both ways, and the end of both; "refused" if nobody takes the connection, "reset" if it is taken and thrown away."""
    s = socket.socket(lab.family_of(address), socket.SOCK_STREAM)
    s.settimeout(lab.GIVE_UP_S)
    try:
        s.connect((address, port))
        s.sendall(b"hello")
        s.shutdown(socket.SHUT_WR)
        data = b""
        while True:
            piece = s.recv(4096)
            if not piece:
                return data.decode()
            data += piece
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except OSError as e:
        if e.errno in (errno.ENOTCONN, errno.EPIPE):  # the reset came before shutdown() or the last send()
            return "reset"
        return "error: " + e.strerror if e.strerror else "timeout"
    finally:
        s.close()


def echo(conn, at):
    data = b""
    while True:
        piece = conn.recv(4096)
        if not piece:
            break
        data += piece
    conn.sendall(b"%d:" % at + data)
