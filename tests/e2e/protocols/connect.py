#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""connect.py: CONNECT for clients that know no proxy, and a look at what a server says first.

  connect.py pipe HOST PORT               standard input and output are the tunnel: ssh's ProxyCommand
  connect.py listen FILE HOST PORT        a port of 127.0.0.1, written to FILE, leads to HOST:PORT; until killed
  connect.py first captured|connect HOST PORT FILE MS
                                          a client that never sends a byte gets FILE's bytes, at once: one that waits
                                          for the client, be it for 250 ms, is seen, if the server itself takes MS

The proxy is that of HTTPS_PROXY. Standard library only.
"""
import os
import socket
import sys
import threading
import time
import urllib.parse

WAIT_S = 0.25  # the shortest wait for a client's bytes that the proxy knows
TRY_FOR_S = 30  # on a busy machine some are late through no fault of the proxy's; one that is in time is a proof


def open_tunnel(host, port):
    proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
    sock = socket.create_connection((proxy.hostname, proxy.port))
    sock.sendall(b"CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n" % ((host.encode(), port.encode()) * 2))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)  # never a byte of what follows the head
        if not byte:
            sys.exit("connect.py: the proxy ended the connection: %r" % head)
        head += byte
    if head.split(b" ")[1] != b"200":
        sys.exit("connect.py: %s:%s: %s" % (host, port, head.split(b"\r\n")[0].decode()))
    return sock


def copy(read, write, finish):
    try:
        while True:
            data = read(65536)
            if not data:
                break
            write(data)
    except OSError:
        pass
    try:
        finish()
    except OSError:
        pass


def join(read, write, finish, sock):
    """Both directions until both have ended."""
    up = threading.Thread(target=copy, args=(read, sock.sendall, lambda: sock.shutdown(socket.SHUT_WR)), daemon=True)
    up.start()
    copy(sock.recv, write, finish)
    return up


def write_all(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]


def pipe(host, port):
    sock = open_tunnel(host, port)
    # The server has had the last word: what may still stand in our input is of no use to anybody.
    join(lambda size: os.read(0, size), write_all, lambda: os.close(1), sock)


def serve(client, host, port):
    with client, open_tunnel(host, port) as sock:
        join(client.recv, client.sendall, lambda: client.shutdown(socket.SHUT_WR), sock).join()


def listen(path, host, port):
    listener = socket.create_server(("127.0.0.1", 0))
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write("%d\n" % listener.getsockname()[1])
    os.rename(path + ".new", path)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, host, port), daemon=True).start()


def first(way, host, port, path, own_ms):
    with open(path, "rb") as file:
        wanted = file.read()
    limit = WAIT_S + int(own_ms) / 1e3
    end = time.monotonic() + TRY_FOR_S
    while True:
        start = time.monotonic()
        sock = open_tunnel(host, port) if way == "connect" else socket.create_connection((host, int(port)))
        with sock:
            sock.settimeout(TRY_FOR_S)
            got = b""
            try:
                while len(got) < len(wanted):
                    data = sock.recv(len(wanted) - len(got))
                    if not data:
                        break
                    got += data
            except TimeoutError:
                pass
        now = time.monotonic()
        if got != wanted:
            sys.exit("connect.py: %s:%s, %s: %r instead of %r" % (host, port, way, got, wanted))
        if now - start < limit:
            return
        if now > end:
            sys.exit("connect.py: %s:%s, %s: the banner never came within %.0f ms" % (host, port, way, limit * 1e3))


def main():
    verbs = {"pipe": pipe, "listen": listen, "first": first}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
