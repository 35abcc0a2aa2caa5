# SPDX-License-Identifier: Apache-2.0
"""What a program behind the fence tries, for bypass.py. Each attempt is a function without arguments, or is made by one
with some, and returns one word for what came of it: "reached", the name of an error, or what it was told. The first three
functions are used outside as well, to see that every trap answers.
"""
import ctypes
import errno
import glob
import os
import re
import socket
import ssl
import struct
import subprocess

SERVER, SERVER6 = os.environ.get("SERVER", ""), os.environ.get("SERVER6", "")
PROXY = ("127.0.0.1", 3128)
MARK = "BYPASS"
ABSTRACT = "\0openshell-egress-test"
LIBC = ctypes.CDLL(None, use_errno=True)


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def word_of(error):
    return "silence" if isinstance(error, TimeoutError) else errno.errorcode.get(error.errno, str(error))


def read_answer(sock):
    data = sock.recv(4096)
    return "reached" if b"TRAP" in data else "closed" if not data else "told" if data[:1] == b"\x15" else repr(data)


def tcp(host, port, text=MARK):
    def attempt():
        with socket.socket(family_of(host)) as s:
            s.settimeout(10)
            s.connect((host, port))
            s.sendall(text.encode())
            return read_answer(s)
    return attempt


def udp(host, port):
    def attempt():
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect((host, port))
            s.send(MARK.encode())
            return read_answer(s)
    return attempt


def other_kind(*words, send_at_once=False):
    """What is neither plain TCP nor UDP: to the admitted server, at a port that is admitted."""
    def attempt():
        with socket.socket(socket.AF_INET, *words) as s:
            s.settimeout(10)
            if send_at_once:
                s.setblocking(True)  # or connecting would go on behind our back
                s.sendto(MARK.encode(), socket.MSG_FASTOPEN, (SERVER, 443))
            else:
                s.connect((SERVER, 443))
                s.send(MARK.encode())
            return read_answer(s)
    return attempt


def native(name, port, text=MARK):
    """As every program does it."""
    def attempt():
        for info in socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM):
            return tcp(*info[4], text)()
        return "no address"
    return attempt


def native_udp(name, port):
    return lambda: udp(socket.getaddrinfo(name, port, socket.AF_INET)[0][4][0], port)()


def lookup(name, *flags):
    def attempt():
        try:
            return "reached" if socket.getaddrinfo(name, 443, *flags) else "no address"
        except socket.gaierror as error:
            return {socket.EAI_NONAME: "NONAME", socket.EAI_AGAIN: "AGAIN", socket.EAI_NODATA: "NODATA"}[error.errno]
    return attempt


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def nameserver(host, name, stream=False):
    """Another server than ours: it cannot be reached, or it is ours that answers. A trap's answer is no DNS message."""
    def attempt():
        with socket.socket(family_of(host), socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect((host, 53))
            asked = question(name)
            s.sendall(struct.pack("!H", len(asked)) + asked if stream else asked)
            reply = s.recv(4096)[2 if stream else 0:]
            return "rcode %d" % (reply[3] & 15) if reply[:2] == asked[:2] else "reached"
    return attempt


def ask_proxy(raw):
    """Its status and the word that it gives for it; reached if the answer is a trap's."""
    with socket.create_connection(PROXY, 10) as s:
        s.sendall(raw)
        data = b""
        while b"TRAP" not in data and (more := s.recv(4096)):
            data += more
            if data.startswith(b"HTTP/1.1 200 Connection"):
                return "reached"
        if b"TRAP" in data:
            return "reached"
        word = re.search(rb'"error": ?"(\w+)"', data)
        return (data.split(b" ")[1] + (b" " + word[1] if word else b"")).decode() if data else "closed"


def connect(target, host=None):
    return lambda: ask_proxy(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host or target))


def http(raw):
    return lambda: ask_proxy(raw.replace(b"\n", b"\r\n"))


def pipelined():
    """The first request is admitted, the second on the same connection is not."""
    with socket.create_connection(PROXY, 10) as s:
        s.sendall(b"GET http://web.example.org/ HTTP/1.1\r\nHost: web.example.org\r\n\r\n"
                  b"GET http://denied.example.org/%s HTTP/1.1\r\nHost: denied.example.org\r\nConnection: close\r\n\r\n" %
                  MARK.encode())
        data = b""
        while more := s.recv(4096):
            data += more
    return " ".join(re.findall(r"HTTP/1\.1 (\d+)", data.decode("latin-1"))[1:]) or "closed"


def hello_for(name):
    out = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def front(through_proxy, name="denied.example.org"):
    """TLS that names another host than the tunnel does."""
    def attempt():
        with socket.create_connection(PROXY if through_proxy else ("web.example.org", 443), 10) as s:
            if through_proxy:
                s.sendall(b"CONNECT web.example.org:443 HTTP/1.1\r\n\r\n")
                assert b" 200 " in s.recv(4096)
            s.sendall(hello_for(name))
            return read_answer(s)
    return attempt


def curl(url, *options, **environment):
    """Its exit status: 5, 6 no such name, 7 no connection, 22 and 56 what the proxy says, 97 a SOCKS proxy."""
    def attempt():
        done = subprocess.run(["curl", "-sS", "-f", "--max-time", "15", *options, url + "?" + MARK], check=False, timeout=30,
                              env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return "reached" if done.returncode == 0 else "curl %d" % done.returncode
    return attempt


def abstract():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(ABSTRACT)
        s.sendall(MARK.encode())
        return read_answer(s)


def opens(*words):
    """A socket of that kind."""
    def attempt():
        with socket.socket(*words):
            return "reached"
    return attempt


def option(level, name, value):
    def attempt():
        with socket.socket() as s:
            s.setsockopt(level, name, value)
            return "reached"
    return attempt


def system(result):
    return "reached" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def in_child(function):
    """A child that changes its namespaces: we keep ours."""
    def attempt():
        read, out = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                said = function()
            except OSError as error:
                said = word_of(error)
            os.write(out, said.encode())
            os._exit(0)
        os.close(out)
        with os.fdopen(read) as f:
            said = f.read()
        os.waitpid(child, 0)
        return said
    return attempt


def nested():
    """User and network namespaces of its own, every capability in them: they lead nowhere."""
    if LIBC.unshare(0x10000000 | 0x40000000) != 0:
        return errno.errorcode[ctypes.get_errno()]
    return tcp(SERVER, 443)()


def all_of(words):
    return " ".join(sorted(set(words))) or "none"


def enter_namespaces():
    """setns to whatever namespace of networks or users can be seen that is not ours."""
    ours = {os.readlink("/proc/self/ns/" + kind) for kind in ("net", "user", "mnt")}
    words = []
    for path in glob.glob("/proc/[0-9]*/ns/[num][nse][tet]*") + glob.glob("/run/netns/*") + glob.glob("/var/run/netns/*"):
        try:
            if path.startswith("/proc") and os.readlink(path) in ours:
                continue
            fd = os.open(path, os.O_RDONLY)
            words.append(system(LIBC.setns(fd, 0)))
        except OSError as error:
            words.append(word_of(error))
    return all_of(words)


def outside_pids():
    return [int(pid) for pid in os.environ.get("OUTSIDE_PIDS", "").split()]


def trace():
    """Whoever is not a child of ours: init, and the pids that processes have outside."""
    return all_of(system(LIBC.ptrace(0x4206, pid, 0, 0)) for pid in [1] + outside_pids())


def take_descriptors():
    """pidfd_getfd from init, which came from the launcher."""
    pidfd = os.pidfd_open(1)
    return all_of(system(LIBC.syscall(438, pidfd, fd, 0)) for fd in range(3, 32))


def daemons_seen():
    names = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        with open(path, encoding="utf-8") as f:
            names.append(f.read().strip())
    return "reached" if any(name in ("openshell-dnsd", "openshell-tunne") for name in names) else "none"


def write_map():
    """Wherever it may be: the launcher's private directory, or a descriptor of somebody's."""
    assert glob.glob(os.environ["TMPDIR"] + "/openshell-run.*"), "the launcher has no private directory here"
    found = glob.glob(os.environ["TMPDIR"] + "/**/egress.map*", recursive=True)
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if "egress.map" in os.readlink(path):
                found.append(path)
        except OSError:
            pass
    for path in found:
        with open(path, "r+b"):
            return "reached"
    return "none"


def write_file(path):
    def attempt():
        with open(path, "a", encoding="ascii"):
            return "reached"
    return attempt


def add_route():
    """RTM_NEWROUTE: a default route out of lo."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 3, 253, 1, 0)
    body += struct.pack("=HHi", 8, 4, socket.if_nametoindex("lo"))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), 24, 0x605, 1, 0) + body)
        code = -struct.unpack_from("=i", s.recv(4096), 16)[0]
        return errno.errorcode[code] if code else "reached"


def io_uring():
    return system(LIBC.syscall(425, 8, ctypes.create_string_buffer(120)))
