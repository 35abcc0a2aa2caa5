#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""first_contact.py: the main job in four lines, seen from inside the fence. Run by ./quickstart.

Resolves gateway.discord.gg, opens the connection natively and reads Discord's HELLO over TLS and WebSocket; fetches
from discord.com through CONNECT; shows that a name outside the policy fails at once. Exit status 0 if all is as it
should be. Standard library only; NODE_EXTRA_CA_CERTS, where set, names one more certificate to trust.
"""
import base64
import os
import socket
import ssl
import sys
import time
import urllib.parse

GATEWAY = "gateway.discord.gg"
REST = "discord.com"
DENIED = "not-in-the-policy.example"
failures = 0


def report(good, what, started, detail):
    global failures
    failures += 0 if good else 1
    print("  %s  %-52s %5.0f ms  %s" % ("ok  " if good else "FAIL", what, (time.monotonic() - started) * 1000, detail))


def attempt(what, function):
    started = time.monotonic()
    try:
        report(True, what, started, function())
    except (OSError, ssl.SSLError, ValueError) as error:
        report(False, what, started, "%s: %s" % (type(error).__name__, error))


def tls(sock, name):
    context = ssl.create_default_context()
    extra = os.environ.get("NODE_EXTRA_CA_CERTS")
    if extra:
        context.load_verify_locations(extra)
    return context.wrap_socket(sock, server_hostname=name)


def read_some(sock, until):
    data = b""
    while until not in data and len(data) < 65536:
        more = sock.recv(4096)
        if not more:
            break
        data += more
    return data


def resolve():
    return socket.getaddrinfo(GATEWAY, 443, type=socket.SOCK_STREAM)[0][4][0]


def native():
    with socket.create_connection((GATEWAY, 443), timeout=10) as plain, tls(plain, GATEWAY) as sock:
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(("GET /?v=10&encoding=json HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (GATEWAY, key)).encode())
        answer = read_some(sock, b"heartbeat_interval")
        if b" 101 " not in answer.split(b"\r\n", 1)[0] or b"heartbeat_interval" not in answer:
            raise ValueError("no HELLO: %r" % answer[:80])
        return "WebSocket open, HELLO received"


def through_connect():
    proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
    with socket.create_connection((proxy.hostname, proxy.port), timeout=10) as plain:
        plain.sendall(("CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n" % (REST, REST)).encode())
        head = read_some(plain, b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(head.split(b"\r\n", 1)[0].decode(errors="replace"))
        with tls(plain, REST) as sock:
            sock.sendall(("GET /api/v10/gateway HTTP/1.1\r\nHost: %s\r\nUser-Agent: first-contact\r\n"
                          "Connection: close\r\n\r\n" % REST).encode())
            return read_some(sock, b"\r\n").split(b"\r\n", 1)[0].decode(errors="replace")


def denied():
    try:
        socket.getaddrinfo(DENIED, 443)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            return "no such host, as the policy says"
        raise
    raise ValueError("it resolved, and must not")


attempt("resolve %s" % GATEWAY, resolve)
attempt("connect to it natively, TLS, WebSocket", native)
attempt("%s through CONNECT" % REST, through_connect)
attempt("resolve %s (not in the policy)" % DENIED, denied)
sys.exit(1 if failures else 0)
