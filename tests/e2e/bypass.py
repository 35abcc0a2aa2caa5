# SPDX-License-Identifier: Apache-2.0
"""The ways past the fence: bypass.sh starts each part of this where it belongs.

  serve LOG READY   outside: the traps. Whoever touches one is written to LOG with what it sent, and answered.
  control           outside, before there is a fence: every trap answers
  try, try-sni      behind the fence: each row is tried, one line of JSON each: what came of it and how long it took
  judge DIR         outside, at the end: prints the table; status 1 if a row is not refused, is slow where it must be fast,
                    is not in the log where a daemon saw it, or if a trap was touched by what the policy does not admit

A row is NAME: (attempt, what may come of it, seconds, what the log must say). An attempt returns one word for what came
of it; "reached" is never among the permitted ones.
"""
import json
import re
import signal
import socket
import sys
import threading
import time

import bypass_attempts as a
from bypass_attempts import ABSTRACT, MARK, SERVER, SERVER6, family_of, word_of

FAST_S, SLOW_S = 1.0, 20.0
TRAPS = [("tcp", host, port) for host, ports in (
    (SERVER, (53, 80, 443, 1080, 8443)), (SERVER6, (443,)), ("8.8.8.8", (53, 443)), ("10.0.0.1", (443,)),
    ("169.254.169.254", (80,)), ("127.0.0.1", (80, 443, 9000)), ("::1", (9000,))) for port in ports if host]
TRAPS += [("udp", host, port) for host, ports in ((SERVER, (53, 443)), ("8.8.8.8", (53, 443)), (SERVER6, (443,)))
          for port in ports if host]


# ---- outside: the traps ----

def write(log, lock, **entry):
    with lock, open(log, "a", encoding="utf-8") as f:
        f.write(json.dumps(entry) + "\n")


def serve_tcp(listening, note):
    def talk(conn):
        with conn:
            conn.settimeout(60)
            try:
                data = conn.recv(4096)
                note(data)
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTRAP")
                while data := conn.recv(4096):
                    note(data)
            except OSError:
                note(b"")

    while True:
        threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()


def serve_udp(sock, note):
    while True:
        data, peer = sock.recvfrom(4096)
        note(data)
        sock.sendto(b"TRAP", peer)


def serve(log, ready):
    lock = threading.Lock()
    for proto, host, port in TRAPS + [("unix", ABSTRACT, 0)]:
        if proto == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(host)
            sock.listen()
        else:
            sock = socket.socket(family_of(host), socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            if proto == "tcp":
                sock.listen(64)

        def note(data, where=(proto, host, port)):
            write(log, lock, where=where, data=data.decode("latin-1"))
        threading.Thread(target=serve_udp if proto == "udp" else serve_tcp, args=(sock, note), daemon=True).start()
    open(ready, "w", encoding="ascii").close()
    signal.pause()


# ---- the rows ----

GONE = {"ECONNREFUSED", "ENETUNREACH", "ECONNRESET", "EHOSTUNREACH", "EACCES", "closed"}
NOT_THERE = GONE | {"rcode 3", "rcode 5"}  # a server that cannot be reached, or ours that says no
NO = {"EPERM", "EACCES"}
TAKEN = "(taken)"  # the log must say the rest if the kernel took the connection for tunneld
DENIED_LOOKUP = r"dns_denied name=denied\.example\.org .* reason=policy_denied"
POLICY, BAD, SSRF = {"403 policy_denied"}, {"400 bad_request"}, {"403 ssrf_denied"}


def denied(host, port, reason="policy_denied"):
    return r"tunnel_denied reason=%s host=%s port=%s " % (reason, re.escape(host), port)


def rows_of_names():
    yield "denied name, lookup", a.lookup("denied.example.org"), {"NONAME"}, FAST_S, DENIED_LOOKUP
    yield "denied name, CONNECT", a.connect(b"denied.example.org:443"), POLICY, FAST_S, denied("denied.example.org", 443)
    yield "port of no rule, native", a.native("web.example.org", 8443), GONE, FAST_S, \
        TAKEN + denied("web.example.org", 8443)
    yield "port of no rule, CONNECT", a.connect(b"web.example.org:8443"), POLICY, FAST_S, denied("web.example.org", 8443)
    yield "its address, native", a.tcp(SERVER, 443), GONE, FAST_S, None
    yield "its address, CONNECT", a.connect(b"%s:443" % SERVER.encode()), POLICY, FAST_S, denied(SERVER, 443)
    yield "QUIC to an admitted name", a.native_udp("web.example.org", 443), GONE, FAST_S, None
    yield "QUIC to its address", a.udp(SERVER, 443), GONE, FAST_S, None
    yield "a pool address never handed out", a.tcp("198.18.200.200", 443), GONE, FAST_S, \
        TAKEN + r"tunnel_denied reason=not_mapped .* addr=198\.18\.200\.200:443 "
    for name, what in (("loop", "loopback"), ("meta", "metadata"), ("pool", "the pool"), ("mapped", "mapped loopback"),
                       ("nat64", "NAT64 metadata"), ("inside.wild", "private, by a wildcard")):
        host, port = name + ".example.org", 80 if name in ("meta", "nat64") else 443
        yield "name that leads to " + what, a.lookup(host), {"NONAME", "NODATA"}, SLOW_S, r"dns_denied name=%s .* reason=ssrf_denied " % host
        yield "the same, CONNECT", a.connect(b"%s:%d" % (host.encode(), port)), SSRF, SLOW_S, \
            denied(host, port, "ssrf_denied")


def rows_of_dns():
    for host in ("8.8.8.8", SERVER):
        yield "another nameserver, UDP, " + host, a.nameserver(host, "denied.example.org"), NOT_THERE, FAST_S, None
        yield "another nameserver, TCP, " + host, a.nameserver(host, "denied.example.org", True), NOT_THERE, FAST_S, None
    yield "another nameserver, CONNECT", a.connect(b"8.8.8.8:53"), POLICY, FAST_S, denied("8.8.8.8", 53)
    yield "DoH by name", a.native("dns.google", 443), {"NONAME"}, FAST_S, r"dns_denied name=dns\.google .* reason=policy_denied"
    yield "DoH by name, CONNECT", a.connect(b"dns.google:443"), POLICY, FAST_S, denied("dns.google", 443)
    yield "DoH by address", a.tcp("8.8.8.8", 443), GONE, FAST_S, None
    yield "DoH over QUIC", a.udp("8.8.8.8", 443), GONE, FAST_S, None
    yield "DoH by address, CONNECT", a.connect(b"8.8.8.8:443"), POLICY, FAST_S, denied("8.8.8.8", 443)
    yield "writing resolv.conf", a.write_file("/etc/resolv.conf"), {"EROFS"} | NO, FAST_S, None
    yield "writing hosts", a.write_file("/etc/hosts"), {"EROFS"} | NO, FAST_S, None


def rows_of_addresses():
    yield "loopback of the host", a.tcp("127.0.0.1", 9000), GONE, FAST_S, None
    yield "loopback of the host, IPv6", a.tcp("::1", 9000), GONE | {"EADDRNOTAVAIL"}, FAST_S, None
    yield "abstract socket of the host", a.abstract, GONE, FAST_S, None
    for port in (443, 15001):  # with a listener for each port, and with nft
        yield "tunneld's listener, natively, %d" % port, a.tcp("127.0.0.1", port), GONE, FAST_S, \
            TAKEN + r"tunnel_denied reason=not_mapped .* addr=127\.0\.0\.1:%d " % port
    yield "the proxy through itself, by a name", a.connect(b"loop.example.org:3128"), SSRF, FAST_S, \
        denied("loop.example.org", 3128, "ssrf_denied")
    targets = ["127.0.0.1:3128", "127.0.0.1:9000", "[::1]:9000", "198.18.0.1:443", "169.254.169.254:80", "10.0.0.1:443",
               "0.0.0.0:9000", "[::ffff:127.0.0.1]:9000", "[64:ff9b::a9fe:a9fe]:80", "[::ffff:%s]:443" % SERVER,
               "[64:ff9b::2d2d:2d02]:443", "[2002:2d2d:2d02::1]:443"]
    for target in targets + ["localhost:9000"]:
        yield "CONNECT " + target, a.connect(target.encode()), POLICY, FAST_S, denied(*target.rsplit(":", 1))
    for target in ("2130706433:9000", "0x7f000001:9000", "127.1:9000", "0177.0.0.1:9000"):
        yield "CONNECT " + target, a.connect(target.encode()), BAD, FAST_S, "request_refused reason=bad_request "
    for host in ("10.0.0.1", "169.254.169.254"):
        yield "native, " + host, a.tcp(host, 443 if host[0] == "1" and host[1] == "0" else 80), GONE, FAST_S, None
    yield "native, mapped", a.tcp("::ffff:" + SERVER, 443), GONE, FAST_S, None
    yield "native, NAT64", a.tcp("64:ff9b::2d2d:2d02", 443), GONE, FAST_S, None
    if SERVER6:
        yield "native, IPv6", a.tcp(SERVER6, 443), GONE, FAST_S, None
        yield "CONNECT IPv6", a.connect(b"[%s]:443" % SERVER6.encode()), POLICY, FAST_S, denied("[%s]" % SERVER6, 443)


def rows_of_kinds():
    unknown = GONE | {"EPROTONOSUPPORT", "ENOPROTOOPT"}  # where the kernel has none of it
    yield "TCP fast open", a.other_kind(socket.SOCK_STREAM, send_at_once=True), unknown, FAST_S, None
    yield "MPTCP", a.other_kind(socket.SOCK_STREAM, 262), unknown, FAST_S, None
    yield "SCTP", a.other_kind(socket.SOCK_STREAM, 132), unknown, FAST_S, None
    yield "UDP-Lite", a.other_kind(socket.SOCK_DGRAM, 136), unknown, FAST_S, None
    yield "ping", a.other_kind(socket.SOCK_DGRAM, 1), unknown, FAST_S, None
    yield "multicast", a.udp("224.0.0.251", 5353), GONE, FAST_S, None
    yield "broadcast", a.udp("255.255.255.255", 53), GONE, FAST_S, None


def rows_of_http():
    for target in (b"web.example.org:443@denied.example.org:443", b"web.example.org@denied.example.org:443",
                   b"denied.example.org:443#web.example.org:443", b"denied.example.org:443/web.example.org:443",
                   b"web.example.org:443,denied.example.org:443", b"denied.example.org%00web.example.org:443",
                   b"denied.example.org\x00.web.example.org:443", b"denied.example.org"):
        yield "CONNECT " + target.decode("latin-1").replace("\0", "<NUL>"), a.connect(target, b"web.example.org:443"), \
            BAD, FAST_S, "request_refused reason=bad_request "
    get, end = b"GET http://%s HTTP/1.1\n", b"Connection: close\n\n"
    yield "forward, denied host", a.http(get % b"denied.example.org/BYPASS" + b"Host: denied.example.org\n" + end), POLICY, FAST_S, \
        r"reason=policy_denied host=denied.example.org port=80 "
    yield "forward, userinfo", a.http(get % b"web.example.org@denied.example.org/BYPASS" + b"Host: web.example.org\n\n"), \
        BAD, FAST_S, "request_refused reason=bad_request "
    yield "forward, two Hosts", a.http(get % b"web.example.org/" + b"Host: web.example.org\nHost: denied.example.org\n\n"), \
        BAD, FAST_S, "request_refused reason=bad_request "
    yield "forward, length and chunks", a.http(b"POST http://web.example.org/ HTTP/1.1\nHost: web.example.org\n"
                                             b"Content-Length: 4\nTransfer-Encoding: chunked\n\n0\n\nGET /BYPASS HTTP/1.1\n\n"), \
        BAD, FAST_S, "request_refused reason=bad_request "
    yield "forward, folded field", a.http(get % b"web.example.org/" + b"Host: web.example.org\nX: a\n b: BYPASS\n\n"), BAD, FAST_S, \
        "request_refused reason=bad_request "
    yield "forward, second request elsewhere", a.pipelined, {"403"}, FAST_S, \
        r"reason=policy_denied host=denied.example.org port=80 "
    yield "forward, https:", a.http(b"GET https://denied.example.org/BYPASS HTTP/1.1\nHost: denied.example.org\n\n"), \
        BAD, FAST_S, "request_refused reason=bad_request "
    yield "TLS of another name, native", a.front(False), {"told", "closed", "ECONNRESET"}, FAST_S, "sni_mismatch "
    yield "TLS of another name, CONNECT", a.front(True), {"told", "closed", "ECONNRESET"}, FAST_S, "sni_mismatch "


def rows_of_environment():
    proxy = "http://%s:1080" % SERVER
    url = "https://denied.example.org/"
    failed = {"curl %d" % code for code in (5, 6, 7, 22, 28, 56, 97)} - {"curl 28"}
    yield "NO_PROXY=*", a.curl(url, NO_PROXY="*", no_proxy="*"), failed, SLOW_S, DENIED_LOOKUP
    yield "HTTPS_PROXY elsewhere", a.curl(url, HTTPS_PROXY=proxy, https_proxy=proxy), failed, SLOW_S, None
    yield "ALL_PROXY elsewhere, SOCKS", a.curl("http://denied.example.org/", ALL_PROXY="socks5h://%s:1080" % SERVER, http_proxy="",
                                             HTTP_PROXY=""), failed, SLOW_S, None
    yield "curl --connect-to", a.curl("http://web.example.org:80/", "--noproxy", "*", "--connect-to", "::%s:80" % SERVER), \
        failed, SLOW_S, None
    yield "curl --resolve", a.curl("http://web.example.org:80/", "--noproxy", "*", "--resolve", "web.example.org:80:" + SERVER), \
        failed, SLOW_S, None


# What the filter of system calls refuses, and its word for it: no other refusal will do.
FILTERED = {"AF_VSOCK": (a.opens(socket.AF_VSOCK, socket.SOCK_STREAM), {"EAFNOSUPPORT"}), "io_uring": (a.io_uring, {"ENOSYS"})}


def rows_of_kernel():
    yield "namespaces of its own", a.in_child(a.nested), {"ENETUNREACH"} | NO, FAST_S, None
    yield "setns", a.in_child(a.enter_namespaces), NO | {"none"}, FAST_S, None
    yield "ptrace", a.in_child(a.trace), NO | {"ESRCH", "EPERM ESRCH"}, FAST_S, None
    yield "descriptors of init", a.take_descriptors, NO | {"EBADF"}, FAST_S, None
    yield "the daemons in /proc", a.daemons_seen, {"none"}, FAST_S, None
    yield "writing the map", a.write_map, {"none"}, FAST_S, None
    yield "raw socket", a.opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), NO, FAST_S, None
    yield "raw socket, IPv6", a.opens(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6), NO, FAST_S, None
    yield "AF_PACKET", a.opens(socket.AF_PACKET, socket.SOCK_RAW, 3), NO | {"EAFNOSUPPORT"}, FAST_S, None
    yield "IP_TRANSPARENT", a.option(socket.SOL_IP, 19, 1), NO, FAST_S, None
    yield "SO_MARK", a.option(socket.SOL_SOCKET, socket.SO_MARK, 1), NO, FAST_S, None
    yield "a route of its own", a.add_route, NO, FAST_S, None
    for name, (attempt, permitted) in FILTERED.items():
        yield name, attempt, permitted, FAST_S, None


def rows(part):
    if part == "try-sni":
        return [("TLS of another name, --sni warn", a.front(False), {"reached"}, FAST_S, "sni_mismatch ")]
    return [row for some in (rows_of_names(), rows_of_dns(), rows_of_addresses(), rows_of_kinds(), rows_of_http(), rows_of_environment(),
                             rows_of_kernel()) for row in some]


def admitted():
    """What the policy admits works, both ways: else everything would be refused."""
    text = "GET /admitted HTTP/1.0\r\n\r\n"
    for attempt in (a.native("web.example.org", 80, text), a.native("web.example.org", 443, text),
                    a.http(b"GET http://web.example.org/admitted HTTP/1.1\nHost: denied.example.org\n\n"),
                    a.connect(b"web.example.org:443")):
        got = attempt()
        assert got == "reached", "what the policy admits does not work: " + got


def try_all(part):
    if part == "try":
        admitted()
    for name, attempt, *_ in rows(part):
        start = time.monotonic()
        try:
            got = attempt()
        except socket.gaierror as error:
            got = "NONAME" if error.errno == socket.EAI_NONAME else str(error)
        except OSError as error:
            got = word_of(error)
        print(json.dumps([name, got, time.monotonic() - start]), flush=True)


# ---- outside, before and after ----

def control():
    for proto, host, port in TRAPS:
        got = (a.udp if proto == "udp" else a.tcp)(host, port)()
        assert got == "reached", (proto, host, port, got)
    assert a.abstract() == "reached"


def touched(directory):
    """Traps that met what they must not: all but the admitted server, and there what was sent to go elsewhere."""
    with open(directory + "/touched.jsonl", encoding="utf-8") as f:
        entries = [json.loads(line) for line in f]
    seen = 0
    for entry in entries:
        allowed = entry["where"][:2] == ["tcp", SERVER] and entry["where"][2] in (80, 443)
        if allowed and "/admitted" in entry["data"]:
            seen += 1
            allowed = "denied" not in entry["data"]
        elif allowed:
            allowed = MARK not in entry["data"] and ("denied" not in entry["data"] or entry["data"][:1] == "\x16")
        if not allowed:
            yield entry
    assert seen >= 3, "the admitted requests did not arrive"
    hellos = sum(entry["data"][:1] == "\x16" for entry in entries)
    assert hellos == 1, "%d ClientHellos of another name arrived, 1 of --sni warn should" % hellos


def outcome(attempt):
    try:
        return attempt()
    except OSError as error:
        return word_of(error)


def not_here():
    """Rows that prove nothing on this machine: without the fence, too, its kernel refuses that."""
    return {name: got for name, got in ((name, outcome(attempt)) for name, (attempt, _) in FILTERED.items()) if got != "reached"}


def judge(directory):
    status = 0
    unproven = not_here()
    for part, sni in (("try", "enforce"), ("try-sni", "warn")):
        with open("%s/%s.jsonl" % (directory, sni), encoding="utf-8") as f:
            results = [json.loads(line) for line in f]
        with open("%s/%s.log" % (directory, sni), encoding="utf-8") as f:
            log = f.read()
        table = rows(part)
        assert [row[0] for row in table] == [result[0] for result in results], "not every row was tried"
        for (name, _, permitted, limit, says), (_, got, took) in zip(table, results):
            wrong = [] if got in permitted else ["expected " + ", ".join(sorted(permitted))]
            wrong += [] if took < limit else ["too slow"]
            if says and says.startswith(TAKEN):
                says = says[len(TAKEN):] if got in ("ECONNRESET", "closed") else None
            wrong += [] if not says or re.search(says, log) else ["the log has no " + says]
            verdict = "FAIL: " + "; ".join(wrong) if wrong else "ok"
            if not wrong and name in unproven:
                verdict = "SKIP: proves nothing here, this kernel says %s without a fence, too" % unproven[name]
            print("%-58s %-22s %5.0f ms  %s" % (name, got, took * 1e3, verdict))
            status |= bool(wrong)
        # These lines do not tell what was asked for: there is one for each.
        bad = sum(got in BAD for _, got, _ in results)
        assert len(re.findall("request_refused reason=bad_request ", log)) == bad, "%d bad requests in the log" % bad
    for entry in touched(directory):
        print("FAIL: a trap was touched: %s" % json.dumps(entry))
        status = 1
    sys.exit(status)


def main():
    what, *rest = sys.argv[1:]
    if what in ("try", "try-sni"):
        try_all(what)
    else:
        {"serve": serve, "control": control, "judge": judge}[what](*rest)


if __name__ == "__main__":
    main()
