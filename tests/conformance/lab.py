# SPDX-License-Identifier: Apache-2.0
"""A network namespace of its own with addresses that look public, servers in it, and a daemon under test.

Standard library only. The namespace needs no tool: addresses and routes are set over netlink.
"""
import concurrent.futures
import ctypes
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback

SKIP = 77
GIVE_UP_S = 20.0  # generous: a machine may be busy, a sanitizer slow
END_S = 40.0  # of a process: the kernel may take its time over the last inotify descriptor (fsnotify_destroy_group)
REST_S = 2.5  # udp_pool.h: what a second has not needed is closed at the end of the next


def skip(why):
    print("SKIP:", why)
    sys.exit(SKIP)


def wait_until(condition, timeout=GIVE_UP_S):
    """What the condition says at last, which is true."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
    return found


# ---- the tests of a module ----

def raise_descriptors(wanted=8192):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, wanted)), hard))


def run_test(name, function, env):
    began = time.monotonic()
    try:
        function(env)
    except Exception:  # pylint: disable=broad-except
        print("FAIL %s\n%s" % (name, traceback.format_exc()), flush=True)
        return False
    print("ok   %-36s %5.2f s" % (name, time.monotonic() - began), flush=True)
    return True


def run_tests(scope, env, at_once=1, alone=()):
    """Runs the functions test_* of scope, or those that the command line wants, at_once at a time; then those of
    alone. True if all have passed. The caller ends with os._exit(): the threads of its servers never do."""
    wanted = sys.argv[1:]
    tests = [(n, f) for n, f in scope.items() if n.startswith("test_") and (not wanted or n in wanted)]
    assert tests, "no such test"
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda t: run_test(t[0], t[1], env), [t for t in tests if t[1] not in alone]))
    results += [run_test(t[0], t[1], env) for t in tests if t[1] in alone]
    print("%d of %d passed" % (sum(results), len(results)), flush=True)
    return all(results)


# ---- namespace ----

def _unshare_network():
    """0, or the error that says why there is none to be had."""
    clone_newuser, clone_newnet = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    flags = clone_newnet if uid == 0 else clone_newnet | clone_newuser
    if libc.unshare(flags) != 0:
        return ctypes.get_errno()
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", "%d %d 1" % (uid, uid)),
                           ("gid_map", "%d %d 1" % (gid, gid))):
            with open("/proc/self/" + name, "w", encoding="ascii") as f:
                f.write(text)
    return 0


def enter_namespace():
    """A fresh network namespace, in a fresh user namespace unless we are root already."""
    error = _unshare_network()
    if error:
        skip("no network namespace to be had: " + os.strerror(error))


def own_ports():
    """Where there is a network namespace to be had, all ports of 127.0.0.1 and ::1 are ours, so that one can be taken
    that another protocol has. Elsewhere they are shared, which goes well as a rule."""
    if _unshare_network() == 0:
        Netlink().lo_up()
        try:
            await_route("::1")
        except OSError:
            pass  # no IPv6 in this kernel


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _attr(kind, data):
    raw = struct.pack("=HH", 4 + len(data), kind) + data
    return raw + b"\0" * (-len(raw) % 4)


def await_route(text, link=0):
    """A new IPv6 address is this host's a moment later, by a worker of the kernel's: until then what is sent to it comes
    back as unreachable (ENETUNREACH) or gets lost, though it can be bound. A datagram to oneself tells."""
    with socket.socket(family_of(text), socket.SOCK_DGRAM) as s:
        s.bind((text, 0, 0, link if text.startswith("fe80") else 0) if ":" in text else (text, 0))
        s.settimeout(0.1)
        end = time.monotonic() + END_S
        while True:
            try:
                s.sendto(b"me", s.getsockname())
                s.recv(2)
                return
            except OSError:
                assert time.monotonic() < end, "nothing reaches %s, an address of this host" % text
                time.sleep(0.01)


class Netlink:
    """Just enough rtnetlink(7) to bring lo up and give it addresses and local routes."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.lo = socket.if_nametoindex("lo")

    def _ask(self, kind, flags, body):
        head = struct.pack("=IHHII", 16 + len(body), kind, 5 | flags, 1, 0)  # NLM_F_REQUEST | NLM_F_ACK
        self.sock.send(head + body)
        error = -struct.unpack_from("=i", self.sock.recv(65536), 16)[0]
        if error:
            skip("netlink: " + os.strerror(error))

    def lo_up(self):
        self._ask(16, 0, struct.pack("=BBHiII", 0, 0, 0, self.lo, 1, 1))  # RTM_NEWLINK, IFF_UP

    def _addr(self, text, bits):
        family = family_of(text)
        raw = socket.inet_pton(family, text)
        flags = 0x02 if family == socket.AF_INET6 else 0  # IFA_F_NODAD
        return struct.pack("=BBBBi", family, bits, flags, 0, self.lo) + _attr(2, raw) + _attr(1, raw)

    def add_addr(self, text, bits):
        self._ask(20, 0x600, self._addr(text, bits))  # RTM_NEWADDR
        await_route(text, self.lo)

    def del_addr(self, text, bits):
        self._ask(21, 0, self._addr(text, bits))  # RTM_DELADDR

    def add_local_route(self, prefix, bits, source=None):
        """AnyIP: the whole prefix is this host's."""
        family = family_of(prefix)
        body = struct.pack("=BBBBBBBBI", family, bits, 0, 0, 255, 3, 254 if family == socket.AF_INET else 0, 2, 0)
        body += _attr(1, socket.inet_pton(family, prefix)) + _attr(4, struct.pack("=i", self.lo))
        if source:
            body += _attr(7, socket.inet_pton(family, source))
        self._ask(24, 0x600, body)  # RTM_NEWROUTE


# ---- servers ----

def listener(host, port, backlog=1024):
    s = socket.socket(family_of(host), socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port))
    s.listen(backlog)
    return s


def serve(host, port, handler, **options):
    """Each connection runs handler(sock) in a thread; what a vanished peer causes is no error."""
    listening = listener(host, port)

    def run_one(conn):
        try:
            with conn:
                handler(conn, **options)
        except OSError:
            pass

    def run():
        while True:
            conn, _ = listening.accept()
            conn.settimeout(120)
            threading.Thread(target=run_one, args=(conn,), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()


def silent_listener(host, port):
    """A port whose SYNs are dropped: its accept queue is full and nobody empties it."""
    s = listener(host, port, 0)
    # One connection fills it; a busy machine may take a while until it stands.
    first = socket.create_connection((host, port), END_S)
    end = time.monotonic() + END_S
    held = [s, first]
    while True:
        c = socket.socket(family_of(host), socket.SOCK_STREAM)
        c.settimeout(0.2)
        held.append(c)
        try:
            c.connect((host, port))
        except TimeoutError:
            return held
        assert time.monotonic() < end, "the listener on %s takes more than its queue holds" % host


class Dns:
    """A stub authoritative server: zone maps (name, type) to a list of addresses, or to a number (an rcode), or to
    None (silence). What is missing is NODATA for a known name and NXDOMAIN otherwise. The TTL is 1, or that of the name
    in ttls."""

    def __init__(self, zone):
        self.zone = zone
        self.ttls = {}
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            packet, peer = self.sock.recvfrom(4096)
            reply = self._answer(packet)
            if reply:
                self.sock.sendto(reply, peer)

    def _answer(self, packet):
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode().lower())
            at += 1 + packet[at]
        qtype = struct.unpack_from(">H", packet, at + 1)[0]
        question = packet[12:at + 5]
        name = ".".join(labels)
        self.asked.append((name, qtype))
        known = any(key[0] == name for key in self.zone)
        what = self.zone.get((name, qtype), [] if known else 3)
        if what is None:
            return None
        rcode, addrs = (what, []) if isinstance(what, int) else (0, what)
        head = packet[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, len(addrs), 0, 0)
        body = b""
        for text in addrs:
            raw = socket.inet_pton(family_of(text), text)
            body += b"\xc0\x0c" + struct.pack(">HHIH", qtype, 1, self.ttls.get(name, 1), len(raw)) + raw
        return head + question + body


# ---- the daemon ----

def is_sanitized(program):
    """Built with a sanitizer: what it uses of memory says nothing, and its allocator may end the process."""
    with open(program, "rb") as f:
        text = f.read()
    return b"__asan_init" in text or b"__tsan_init" in text


class Daemon:
    def __init__(self, program, policy, *options, env=None, policy_path=None, listening=("kind", "connect")):
        """policy is written to a file of its own, unless policy_path is given. program is a path, or a command that
        becomes it. No script written here and executed: a process that another thread has just started may still
        hold the file open for writing, and then the kernel says ETXTBSY."""
        self.dir = tempfile.TemporaryDirectory()
        self.policy_path = policy_path or os.path.join(self.dir.name, "policy.yaml")
        if not policy_path:
            self.write_policy(policy)
        self.logs, self.stderr_lines, self.half_line = [], [], b""
        self.news = threading.Condition()
        ready_read, ready_write = os.pipe()
        command = [program] if isinstance(program, str) else list(program)
        command += ["--policy", self.policy_path, "--log-format", "json", "--listen", "127.0.0.1:0",
                    "--ready-fd", str(ready_write)] + [str(o) for o in options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        pass_fds=(ready_write,), env=env)
        os.close(ready_write)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        with os.fdopen(ready_read, "rb") as f:
            line = f.readline()
        if line != b"READY\n":
            self.process.wait(END_S)
            self.reader.join(END_S)
            raise AssertionError("not ready:\n" + "\n".join(self.stderr_lines[-5:]))
        self.port = int(self.wait_log("listening", **dict([listening]))["addr"].rsplit(":", 1)[1])

    def write_policy(self, policy):
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(policy)

    def reload(self, policy):
        before = len(self.logs)
        self.write_policy(policy)
        self.process.send_signal(signal.SIGHUP)
        return self.wait_log("policy_loaded", start=before)

    def _read(self):
        fd = self.process.stderr.fileno()
        os.set_blocking(fd, False)  # catch_up() may be quicker
        while True:
            select.select([fd], [], [])
            with self.news:
                if not self._take(fd):
                    return

    def _take(self, fd):
        """With news held: reads and notes what is there. False at the end."""
        try:
            data = os.read(fd, 1 << 20)
        except BlockingIOError:
            return True
        lines = (self.half_line + data).split(b"\n")
        self.half_line = lines.pop()
        if not data and self.half_line:
            lines.append(self.half_line)
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            self.stderr_lines.append(line)
            try:
                self.logs.append(json.loads(line))
            except ValueError:
                pass
        self.news.notify_all()
        return bool(data)

    def catch_up(self):
        """Whatever the daemon has written by now is in logs behind this."""
        fd = self.process.stderr.fileno()
        with self.news:
            while struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0] > 0:
                self._take(fd)

    def wait_log(self, event, timeout=GIVE_UP_S, start=0, **fields):
        def find():
            for entry in self.logs[start:]:
                if entry.get("event") == event and all(entry.get(k) == v for k, v in fields.items()):
                    return entry
            return None
        with self.news:
            self.news.wait_for(lambda: find() is not None, timeout)
            found = find()
        if found is None:
            raise AssertionError("no log line %s %r in:\n%s" % (event, fields, "\n".join(self.stderr_lines[-30:])))
        return found

    def count_log(self, event, **fields):
        """How many the daemon has written by now. What it writes behind an answer may not be among them:
        wait_count()."""
        self.catch_up()
        with self.news:
            return sum(1 for e in self.logs if e.get("event") == event and
                       all(e.get(k) == v for k, v in fields.items()))

    def wait_count(self, count, event, **fields):
        """Waits until there are so many, and they are not more."""
        end = time.monotonic() + GIVE_UP_S
        while (found := self.count_log(event, **fields)) < count and time.monotonic() < end:
            time.sleep(0.01)
        if found != count:
            raise AssertionError("%d log lines %s %r, not %d:\n%s" %
                                 (found, event, fields, count, "\n".join(self.stderr_lines[-30:])))

    def fd_links(self):
        """What each descriptor is; one that is closed meanwhile is left out."""
        for name in os.listdir("/proc/%d/fd" % self.process.pid):
            try:
                yield os.readlink("/proc/%d/fd/%s" % (self.process.pid, name))
            except OSError:
                pass

    def fd_count(self):
        """Without pipes: of these a few are kept for the next bulk (pipe_pool.h)."""
        return sum(1 for link in self.fd_links() if not link.startswith("pipe:"))

    def pipe_count(self):
        return sum(1 for link in self.fd_links() if link.startswith("pipe:"))

    def rss_kib(self):
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def dial(self):
        s = socket.create_connection(("127.0.0.1", self.port), GIVE_UP_S)
        s.settimeout(GIVE_UP_S)
        return s

    def stop(self, timeout=END_S):
        """Ends it and returns its exit status; anything a sanitizer printed is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0)
            try:
                self.process.wait(0.3)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)  # a second one ends at once
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("does not end:\n" + "\n".join(self.stderr_lines[-30:])) from None
        self.reader.join(timeout)
        self.dir.cleanup()
        for line in self.stderr_lines:
            if "ERROR: " in line or "runtime error" in line or "WARNING: ThreadSanitizer" in line or \
                    "check_failed" in line:
                raise AssertionError("\n".join(self.stderr_lines[-60:]))
        return status

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("what it said:\n" + "\n".join(self.stderr_lines[-30:]), flush=True)
        status = self.stop()
        if kind is None and status != 0:
            raise AssertionError("exit status %d:\n%s" % (status, "\n".join(self.stderr_lines[-60:])))


# ---- a client ----

def fds_at_rest(daemons):
    """How many descriptors each has when nothing has changed for longer than an idle socket to the upstream is kept."""
    counts, since = [d.fd_count() for d in daemons], time.monotonic()
    end = since + GIVE_UP_S
    while time.monotonic() < since + REST_S:
        assert time.monotonic() < end, "the descriptors do not settle: %r" % counts
        time.sleep(0.05)
        now = [d.fd_count() for d in daemons]
        if now != counts:
            counts, since = now, time.monotonic()
    return counts


def read_head(sock):
    """Reads to the end of an HTTP head, not a byte further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise AssertionError("connection ended inside a head: %r" % head)
        head += byte
    return head


class Answer:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        self.body = body

    def json(self):
        assert self.fields["Content-Type"] == "application/json"
        assert self.fields["Connection"] == "close"
        assert int(self.fields["Content-Length"]) == len(self.body)
        return json.loads(self.body)


def request(daemon, raw):
    """Sends raw bytes, reads the whole answer; the connection must end after an error."""
    with daemon.dial() as s:
        s.sendall(raw)
        head = read_head(s)
        body = b""
        while True:
            more = s.recv(65536)
            if not more:
                return Answer(head, body)
            body += more


def connect(daemon, target, early=b""):
    s = daemon.dial()
    s.sendall(b"CONNECT " + target.encode() + b" HTTP/1.1\r\nHost: " + target.encode() + b"\r\n\r\n" + early)
    head = read_head(s)
    assert head == b"HTTP/1.1 200 Connection Established\r\n\r\n", head
    return s


def refused(daemon, target):
    return request(daemon, b"CONNECT " + target.encode() + b" HTTP/1.1\r\nHost: " + target.encode() + b"\r\n\r\n")


def read_exactly(sock, count):
    data = bytearray()
    while len(data) < count:
        more = sock.recv(min(65536, count - len(data)))
        if not more:
            raise AssertionError("ended after %d of %d bytes" % (len(data), count))
        data += more
    return bytes(data)


def read_to_end(sock):
    data = bytearray()
    while True:
        more = sock.recv(65536)
        if not more:
            return bytes(data)
        data += more


def is_ended(sock, timeout=GIVE_UP_S):
    """True if the other side closed or reset within the time."""
    sock.settimeout(timeout)
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True
    except socket.timeout:
        return False


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def pattern(count, seed):
    """count bytes that repeat at no distance a buffer has."""
    out = bytearray()
    block = 0
    while len(out) < count:
        out += hashlib.sha256(b"%d %d" % (seed, block)).digest() * 32
        block += 1
    return bytes(out[:count])
