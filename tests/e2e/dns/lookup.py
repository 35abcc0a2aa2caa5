# SPDX-License-Identifier: Apache-2.0
"""Python's socket module for tests/e2e/dns_clients.py; lookup.c says what is read and printed."""
import socket
import sys
import threading
import time

FAMILIES = {"any": socket.AF_UNSPEC, "v4": socket.AF_INET, "v6": socket.AF_INET6}
NO_SUCH = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


def once(operation, argument):
    try:
        if operation == "ptr":
            return "ok", [socket.gethostbyaddr(argument)[0]]
        found = socket.getaddrinfo(argument, 443, FAMILIES[operation], socket.SOCK_STREAM)
        return "ok", [entry[4][0] for entry in found]
    except socket.gaierror as error:
        if error.errno in NO_SUCH:
            return "nosuch", []
        return "again" if error.errno == socket.EAI_AGAIN else "EAI(%d)" % error.errno, []
    except socket.herror as error:  # gethostbyaddr: 1 is HOST_NOT_FOUND, 2 TRY_AGAIN, 4 NO_DATA
        return {1: "nosuch", 2: "again", 4: "nosuch"}.get(error.errno, "h_errno(%d)" % error.errno), []


def run(row, operation, argument):
    start = time.monotonic()
    verdict, answer = once(operation, argument)
    first = best = time.monotonic() - start
    for _ in range(2):
        if time.monotonic() - start > 1:
            break
        again = time.monotonic()
        more = once(operation, argument)[0]
        best = min(best, time.monotonic() - again)
        verdict = verdict if verdict == more else "mixed"
    with LOCK:
        print(row, verdict, "%.1f %.1f" % (first * 1e3, best * 1e3), *answer, flush=True)


LOCK = threading.Lock()
for line in sys.stdin:
    threading.Thread(target=run, args=line.split()).start()
