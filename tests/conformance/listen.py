# SPDX-License-Identifier: Apache-2.0
"""`openshell-egress listen` from outside: usage: listen.py BUILDDIR.

A child makes the other network namespace and waits; the command that `listen` becomes is this file again, which tells
what it was given.
"""
import json
import os
import socket
import subprocess
import sys

import lab

SO_NETNS_COOKIE = 71
EGRESS = os.path.join(os.path.abspath(sys.argv[1]), "openshell-egress")
failures = 0


def check(what, is_good, *shown):
    global failures
    if not is_good:
        failures += 1
        print("FAIL:", what, *shown)


def tell():
    """What a command was given, as JSON: addresses, types and whose namespace."""
    own = socket.socket().getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    given = []
    for fd in range(3, 3 + int(os.environ["LISTEN_FDS"])):
        sock = socket.socket(fileno=os.dup(fd))
        given.append([sock.type.name, "%s:%d" % sock.getsockname()[:2],
                      sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8) != own])
    print(json.dumps({"names": os.environ["LISTEN_FDNAMES"], "is_mine": os.environ["LISTEN_PID"] == str(os.getpid()),
                      "sockets": given, "nine": os.path.exists("/proc/self/fd/9"), "arguments": sys.argv[3:],
                      "netns": os.readlink("/proc/self/ns/net")}))  # fmt: skip


def other_namespace():
    """A child that waits in a network namespace of its own, its lo up. Ends with our end of the pipe."""
    ready, hold = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hold[1])
        lab.enter_namespace()
        lab.Netlink().lo_up()
        os.write(ready[1], b"x")
        os.read(hold[0], 1)
        os._exit(0)
    os.close(ready[1])
    if os.read(ready[0], 1) != b"x":
        lab.skip("no second network namespace to be had")
    return child, hold[1]


def listen(*arguments, **how):
    return subprocess.run([EGRESS, "listen", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=30, **how)


def check_refused(status, words, *arguments):
    done = listen(*arguments)
    check(arguments, done.returncode == status, "status", done.returncode)
    check(arguments, words in done.stderr, done.stderr)
    check(arguments, done.stdout == "", "the command ran")


def check_usage(path):
    check_refused(64, "--netns is missing", "--dns", "127.0.0.1", "--", "true")
    check_refused(64, "no socket: say --dns", "--netns", path, "--", "true")
    check_refused(64, "no command", "--netns", path, "--dns", "127.0.0.1")
    check_refused(64, "no command", "--netns", path, "--dns", "127.0.0.1", "--")
    check_refused(64, "put -- before", "--netns", path, "--dns", "127.0.0.1", "true")
    check_refused(64, "--nosuch: no such option", "--nosuch", "--", "true")
    check_refused(64, "--netns: a value is missing", "--netns")
    check_refused(64, '--capture: "127.0.0.1" is not ADDR:PORT', "--netns", path, "--capture", "127.0.0.1", "--", "true")
    check_refused(64, '--dns: "localhost" is a name, and an address is wanted: ADDR[:PORT]', "--netns", path, "--dns", "localhost", "--", "true")
    check_refused(64, '--connect: "127.0.0.1:0" does not end with a port', "--netns", path, "--connect", "127.0.0.1:0", "--", "true")
    done = listen("--help")
    check("--help", done.returncode == 0 and done.stdout.startswith("usage: openshell-egress listen"), done)


def check_errors(path):
    check_refused(71, "--netns: /nosuch: No such file", "--netns", "/nosuch", "--dns", "127.0.0.1", "--", "true")
    check_refused(71, "/dev/null: not a network namespace", "--netns", "/dev/null", "--dns", "127.0.0.1", "--", "true")
    check_refused(71, "--capture: cannot listen on 192.0.2.1:15002 (tcp)", "--netns", path, "--capture",
                  "192.0.2.1:15002", "--", "true")
    check_refused(71, "--dns: cannot listen on 127.0.0.1:53 (udp): Address already in use", "--netns", path,
                  "--dns", "127.0.0.1", "--dns", "127.0.0.1:53", "--", "true")
    check_refused(127, "/nosuch/command: No such file", "--netns", path, "--dns", "127.0.0.1", "--", "/nosuch/command")
    check_refused(126, "/dev/null: Permission denied", "--netns", path, "--dns", "127.0.0.1", "--", "/dev/null")


def check_handover(path):
    nine = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nine, 9)
    done = listen("--netns", path, "--capture", "127.0.0.1:15002", "--dns=127.0.0.53", "--connect", "127.0.0.1",
                  "--capture", "0.0.0.0:443", "--", sys.executable, __file__, sys.argv[1], "tell", "--netns", "x",
                  close_fds=False)
    if done.returncode != 0:
        check("the command runs", False, done.stderr)
        return
    told = json.loads(done.stdout)
    check("names", told["names"] == "capture:dns:dns:connect:capture", told)
    check("LISTEN_PID", told["is_mine"], told)
    check("sockets", told["sockets"] == [["SOCK_STREAM", "127.0.0.1:15002", True], ["SOCK_DGRAM", "127.0.0.53:53", True],
                                         ["SOCK_STREAM", "127.0.0.53:53", True], ["SOCK_STREAM", "127.0.0.1:3128", True],
                                         ["SOCK_STREAM", "0.0.0.0:443", True]], told)
    check("the command is outside", told["netns"] == os.readlink("/proc/self/ns/net"), told)
    check("its arguments are its own", told["arguments"] == ["--netns", "x"], told)
    check("a descriptor out of the way stays, for --ready-fd", told["nine"], told)


def main():
    try:
        socket.socket().getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    except OSError:
        lab.skip("needs Linux 5.14: the kernel does not tell whose namespace a socket is in")
    child, hold = other_namespace()
    path = "/proc/%d/ns/net" % child
    check_usage(path)
    check_errors(path)
    check_handover(path)
    os.close(hold)
    os.waitpid(child, 0)
    print("listen.py:", failures, "failed")
    return 1 if failures else 0


if sys.argv[2:3] == ["tell"]:
    tell()
else:
    sys.exit(main())
