# SPDX-License-Identifier: Apache-2.0
"""Every timer of openshell-tunneld, for each level that can set it, and keepalive as both sockets of a tunnel have it.

The sockets are the daemon's own, looked at through pidfd_getfd(2). The lab is that of tunneld.py. Arguments choose tests
by name.
"""
import ctypes
import os
import socket
import time

import lab
from lab import connect, is_ended, read_exactly, refused
from tunneld import ADDR4, DRIP, ECHO, MUTE, SILENT, endpoint, main, policy

WEB = 7022
TCP_USER_TIMEOUT, TCP_INFO = 18, 11
FOUR = "four.example.org:%d" % ECHO
BUILT_IN = (1, 60, 15, 4, 120000)  # keepalive, idle, interval, probes, and the user timeout that follows
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
libc = ctypes.CDLL(None, use_errno=True)


def sockets_of(pid):
    """Duplicates of the process's TCP connections."""
    pidfd = libc.syscall(SYS_PIDFD_OPEN, pid, 0)
    if pidfd < 0:
        lab.skip("pidfd_open: " + os.strerror(ctypes.get_errno()))
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            if not os.readlink("/proc/%d/fd/%s" % (pid, name)).startswith("socket:"):
                continue
        except OSError:
            continue
        fd = libc.syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
        if fd < 0:
            lab.skip("pidfd_getfd: " + os.strerror(ctypes.get_errno()))
        with socket.socket(fileno=fd) as s:
            try:
                s.getpeername()
            except OSError:
                continue
            if s.type == socket.SOCK_STREAM and s.family in (socket.AF_INET, socket.AF_INET6):
                yield s
    os.close(pidfd)


def settings(s):
    get = s.getsockopt
    on = get(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    user = get(socket.IPPROTO_TCP, TCP_USER_TIMEOUT)
    if not on:
        return 0, user
    tcp = socket.IPPROTO_TCP
    return (on, get(tcp, socket.TCP_KEEPIDLE), get(tcp, socket.TCP_KEEPINTVL), get(tcp, socket.TCP_KEEPCNT), user)


def legs(d, client):
    """What the two sockets of this client's tunnel are set to, client's first; there is no other tunnel."""
    ours, theirs = None, None
    for s in sockets_of(d.process.pid):
        if s.getpeername()[1] == client.getsockname()[1]:
            ours = settings(s)
        elif s.getsockname()[1] != d.port:
            assert theirs is None, "more than one connection upstream"
            theirs = settings(s)
    return ours, theirs


def defaults(**more):
    return "egress:\n  defaults: %s\n" % flow(more)


def flow(what):
    """A YAML flow mapping."""
    if isinstance(what, dict):
        return "{ %s }" % ", ".join("%s: %s" % (k, flow(v)) for k, v in what.items())
    return str(what)


def environment(**variables):
    return dict(os.environ, **{"OPENSHELL_TUNNELD_" + k.upper(): v for k, v in variables.items()})


KEEP1 = dict(keepalive=dict(idle="10s", interval="2s", probes=3))
KEEP2 = dict(keepalive=dict(idle="20s", interval="3s", probes=5))


def test_keepalive_of_every_level(env):
    """endpoint > option > environment > egress.defaults > built in, on both legs; the user timeout agrees."""
    table = [  # endpoint, defaults, options, environment, what the sockets have
        ({}, "", (), {}, BUILT_IN),
        ({}, defaults(**KEEP1), (), {}, (1, 10, 2, 3, 16000)),
        ({}, defaults(**KEEP1), (), dict(keepalive="30s,5s,2"), (1, 30, 5, 2, 40000)),
        ({}, defaults(**KEEP1), ("--keepalive", "40s,4s,6"), dict(keepalive="30s,5s,2"), (1, 40, 4, 6, 64000)),
        (KEEP2, defaults(**KEEP1), ("--keepalive", "40s,4s,6"), dict(keepalive="30s,5s,2"), (1, 20, 3, 5, 35000)),
        (dict(keepalive="off"), defaults(**KEEP1), ("--keepalive", "40s,4s,6"), {}, (0, 120000)),
        ({}, defaults(keepalive="off"), (), {}, (0, 120000)),
        (KEEP2, "", ("--keepalive", "off"), {}, (1, 20, 3, 5, 35000)),
        ({}, "", ("--keepalive", "32767s,32767s,127"), {}, (1, 32767, 32767, 127, 2147483647)),
        ({}, "", ("--keepalive", "1s,1s,1"), {}, (1, 1, 1, 1, 2000)),
        # the user timeout by itself; a number stands for both, 0 leaves the kernel's
        ({}, "", ("--user-timeout", "7s"), {}, (1, 60, 15, 4, 7000)),
        ({}, "", ("--user-timeout", "0"), {}, (1, 60, 15, 4, 0)),
        ({}, "", ("--user-timeout", "0", "--keepalive", "off"), {}, (0, 0)),
        ({}, defaults(timeouts=dict(user="9s")), (), {}, (1, 60, 15, 4, 9000)),
        ({}, defaults(timeouts=dict(user="9s")), (), dict(user_timeout="8s"), (1, 60, 15, 4, 8000)),
        ({}, defaults(timeouts=dict(user="9s")), ("--user-timeout", "auto"), dict(user_timeout="8s"), BUILT_IN),
        (dict(timeouts=dict(user="6s")), defaults(timeouts=dict(user="9s")), ("--user-timeout", "7s"), {},
         (1, 60, 15, 4, 6000)),
        (dict(timeouts=dict(user="auto"), **KEEP1), "", ("--user-timeout", "7s"), {}, (1, 10, 2, 3, 16000)),
    ]
    for more, extra, options, variables, want in table:
        text = policy(dict(host="four.example.org", ports=[ECHO], **more), extra=extra)
        with env.daemon(text, "--workers", "1", *options, env=environment(**variables)) as d, connect(d, FOUR) as s:
            assert legs(d, s) == (want, want), (more, extra, options, variables, legs(d, s))


def test_keepalive_follows_the_endpoint(env):
    """Two endpoints of one daemon; a tunnel keeps what it was opened with under a new policy."""
    def text(one, two):
        return policy(dict(host="four.example.org", ports=[ECHO], **one), dict(host="echo.example.org", ports=[ECHO], **two))

    with env.daemon(text(KEEP1, {}), "--workers", "1") as d:
        with connect(d, "echo.example.org:%d" % ECHO) as s:
            assert legs(d, s) == (BUILT_IN, BUILT_IN)
        d.wait_count(1, "tunnel_close")
        with connect(d, FOUR) as s:
            assert legs(d, s) == ((1, 10, 2, 3, 16000),) * 2
            d.reload(text(KEEP2, {}))
            assert legs(d, s) == ((1, 10, 2, 3, 16000),) * 2
        d.wait_count(2, "tunnel_close")
        with connect(d, FOUR) as s:
            assert legs(d, s) == ((1, 20, 3, 5, 35000),) * 2


def test_keepalive_of_forwarded_requests_and_upgrades(env):
    def upgrade(sock):
        lab.read_head(sock)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        while sock.recv(100):
            pass

    env.lab_net.add_addr("45.33.32.22", 32)
    lab.serve("45.33.32.22", WEB, upgrade)
    with env.daemon(policy(dict(host="45.33.32.22", ports=[WEB], **KEEP1)), "--workers", "1") as d, d.dial() as s:
        s.sendall(b"GET http://45.33.32.22:%d/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" % WEB)
        assert b" 101 " in lab.read_head(s)
        assert legs(d, s) == ((1, 10, 2, 3, 16000),) * 2


def test_keepalive_that_cannot_be(env):
    """Beyond what Linux takes it is an error at load, not one of setsockopt."""
    for bad in ("0s,1s,1", "1s,0s,1", "1s,1s,0", "32768s,1s,1", "1s,32768s,1", "1s,1s,128", "500ms,1s,1", "1s,1s"):
        try:
            with env.daemon(policy(endpoint(ADDR4)), "--keepalive", bad):
                raise AssertionError("it took --keepalive " + bad)
        except AssertionError as e:
            assert "not ready" in str(e) and "--keepalive" in str(e), e
    for bad in (dict(idle="32768s", interval="1s", probes=1), dict(idle="1s", interval="1s", probes=128),
                dict(idle=0, interval="1s", probes=1), dict(idle="1s", interval="1500ms", probes=1)):
        try:
            with env.daemon(policy(endpoint(ADDR4, keepalive=bad))):
                raise AssertionError("it took %r" % bad)
        except AssertionError as e:
            assert "not ready" in str(e) and "keepalive" in str(e), e


# ---- timers ----

def of_every_level(env, key, option, port, reason):
    """The highest level that speaks decides, 0 included."""
    short, never = "400ms", "0"
    variable = option[2:].replace("-", "_")
    levels = [  # endpoint, option, environment, defaults: the first that is not None decides
        (short, never, never, never), (None, short, never, never), (None, None, short, never), (None, None, None, short),
        (never, short, short, short), (None, never, short, short), (None, None, never, short),
    ]
    for level in levels:
        of_endpoint, of_option, of_environment, of_defaults = level
        more = dict(timeouts={key: of_endpoint}) if of_endpoint else {}
        text = policy(dict(host="four.example.org", ports=[port], **more), extra=defaults(timeouts={key: of_defaults}))
        options = (option, of_option) if of_option else ()
        variables = environment(**{variable: of_environment}) if of_environment else environment()
        with env.daemon(text, "--workers", "1", *options, env=variables) as d:
            s = connect(d, "four.example.org:%d" % port)
            if key == "half_close":
                s.shutdown(socket.SHUT_WR)
            if next(v for v in level if v) == never:
                time.sleep(0.7)
                assert d.count_log("tunnel_close") == 0, (key, level)
            else:
                closed = d.wait_log("tunnel_close")
                assert closed["reason"] == reason and 400 <= closed["duration_ms"] < 4000, (level, closed)
            lab.reset(s)


def test_idle_of_every_level(env):
    of_every_level(env, "idle", "--idle-timeout", MUTE, "idle")


def test_lifetime_of_every_level(env):
    of_every_level(env, "lifetime", "--lifetime", DRIP, "lifetime")


def test_half_close_of_every_level(env):
    of_every_level(env, "half_close", "--half-close-timeout", MUTE, "half_closed")


def test_connect_timer_of_every_level(env):
    levels = [("400ms", "9s", "9s", "9s"), (None, "400ms", "9s", "9s"), (None, None, "400ms", "9s"), (None, None, None, "400ms")]
    for of_endpoint, of_option, of_environment, of_defaults in levels:
        more = dict(timeouts=dict(connect=of_endpoint)) if of_endpoint else {}
        text = policy(dict(host="four.example.org", ports=[SILENT], **more), extra=defaults(timeouts=dict(connect=of_defaults)))
        variables = environment(connect_timeout=of_environment) if of_environment else environment()
        with env.daemon(text, *(("--connect-timeout", of_option) if of_option else ()), env=variables) as d:
            began = time.monotonic()
            assert refused(d, "four.example.org:%d" % SILENT).status == 504
            assert 0.35 < time.monotonic() - began < 5


def test_half_close_restarts_with_every_byte(env):
    """And idle is one clock for both directions."""
    with env.daemon(policy(endpoint("four.example.org")), "--half-close-timeout", "600ms", "--idle-timeout", "600ms") as d:
        with connect(d, "four.example.org:%d" % DRIP) as s:  # a byte each 200 ms
            s.shutdown(socket.SHUT_WR)
            read_exactly(s, 8)
            assert d.count_log("tunnel_close") == 0
        with connect(d, FOUR) as s:
            for _ in range(5):
                time.sleep(0.3)
                s.sendall(b"x")
                assert read_exactly(s, 1) == b"x"
            began = time.monotonic()
            assert is_ended(s)
            assert 0.5 < time.monotonic() - began < 4
        d.wait_log("tunnel_close", reason="idle")


if __name__ == "__main__":
    main(globals())
