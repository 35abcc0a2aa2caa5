# SPDX-License-Identifier: Apache-2.0
#
# What tests/e2e/fence_ports.sh runs behind the fence, one process from the first line to the last: it does what it is told
# on standard input, a line a task ("NAME VERB ARGUMENT..."), and prints "NAME RESULT".
import errno
import os
import socket
import ssl
import sys
import time

FAMILY = {"4": socket.AF_INET, "6": socket.AF_INET6}
PATIENCE = 30

own = {}


def connected(host, port, version):
    address = socket.getaddrinfo(host, int(port), FAMILY[version], socket.SOCK_STREAM)[0][4]
    s = socket.socket(FAMILY[version])
    s.settimeout(10)
    try:
        s.connect(address)
    except OSError:
        s.close()
        raise
    return s


def attempt(host, port, version):
    """carried: a TLS server at the other end has answered. Else the name of the error."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connected(host, port, version) as s, context.wrap_socket(s):
            return "carried"
    except ssl.SSLError:
        return "alert"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def until(wanted, host, port, version="4"):
    end = time.monotonic() + PATIENCE
    result = attempt(host, port, version)
    while result != wanted and time.monotonic() < end:
        time.sleep(0.05)
        result = attempt(host, port, version)
    return result


def times(count, host, port, version="4"):
    """How many of that many connections are carried."""
    return sum(attempt(host, port, version) == "carried" for _ in range(int(count)))


def bind(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", int(port)))
        s.listen()
    except OSError as error:
        s.close()
        return errno.errorcode[error.errno]
    own[port] = s
    return "bound"


def unbind(port):
    own.pop(port).close()
    return "unbound"


def descriptor(path):
    """shown: its target can be read, and so could what it is about. Else the name of the error."""
    try:
        os.readlink(path)
        return "shown"
    except OSError as error:
        return errno.errorcode[error.errno]


def peek(name):
    """What becomes of the attempt to look at descriptors of the process of that name; none: there is no such process."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                is_it = f.read() == name + "\n"
        except OSError:
            continue  # it has ended
        if is_it:
            return " ".join(sorted({descriptor(f"/proc/{pid}/fd/{fd}") for fd in range(16)} - {"ENOENT"}))
    return "none"


VERBS = {"now": attempt, "until": until, "times": times, "bind": bind, "unbind": unbind, "peek": peek}


def say(text):
    """In one piece: whoever reads along must not see half a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


say(f"pid {os.getpid()}")
for line in sys.stdin:
    name, verb, *arguments = line.split()
    say(f"{name} {VERBS[verb](*arguments)}")
