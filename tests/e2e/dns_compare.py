# SPDX-License-Identifier: Apache-2.0
"""openshell-dnsd beside unbound and dnsmasq, in front of one authoritative server.

Run by dns_compare.sh inside the lab. The server has ten thousand names of all kinds, the policy admits every one of them by
name, and each resolver is asked for A and AAAA of each. All three must agree on the answer (its class, and its set of
addresses) unless a rule of RULES explains why dnsd is meant to differ; a rule that explains nothing is a failure as well.

usage: dns_compare.py DIRECTORY
"""
import collections
import multiprocessing
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/conformance"))
import dns_wire as w  # noqa: E402
from daemon import NO_BRAKES, Daemon  # noqa: E402

NAMES = 10000
IN_FLIGHT = 100
TTL_MAX = 3600  # dnsd's --ttl-max
AUTHORITY, UNBOUND, DNSMASQ, DNSD = "127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13"
SUFFIX = "compare.example.org"
Result = collections.namedtuple("Result", "what addresses ttl")


# ---- the zone ----

class Zone:
    """records: {(name in lower case, type): (rcode, [(owner, type, ttl, data)], authority SOA?, RA?)}; a name with records
    of another type is NODATA, any other NXDOMAIN. Owners and CNAME targets are text, in whatever case."""

    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.records, self.exists, self.kinds = {}, set(), {}
        makers = [(int(weight), getattr(self, "make_" + name)) for name, weight in
                  (item.split("=") for item in MAKERS.split())]
        wheel = [maker for weight, maker in makers for _ in range(weight)]
        for i in range(NAMES):
            make = wheel[i % len(wheel)]
            kind = make.__name__[5:]
            name = "%s-%d.%s" % (kind.replace("_", "-"), i, SUFFIX)
            self.kinds[name] = kind
            make(name)

    def v4(self, prefix=None):
        head = prefix or self.rnd.choice(([45, 33], [93, 184], [151, 101], [8, 8]))
        return ".".join(str(n) for n in head + [self.rnd.randrange(1, 255) for _ in range(4 - len(head))])

    def v6(self, prefix="2606:4700"):
        return prefix + "".join(":%x" % self.rnd.randrange(1, 65536) for _ in range(8 - len(prefix.split(":"))))

    def ttl(self):
        return self.rnd.choice((60, 300, 1800, 3599, 3600, 86400))

    def put(self, name, qtype, answer=(), rcode=w.NOERROR, has_soa=None, is_lame=False):
        self.exists.add(name.lower())
        self.records[name.lower(), qtype] = (rcode, list(answer), not answer if has_soa is None else has_soa, is_lame)

    def addresses(self, name, v4=0, v6=0, ttl=None):
        ttl = self.ttl() if ttl is None else ttl
        if v4:
            self.put(name, w.A, [(name, w.A, ttl, self.v4()) for _ in range(v4)])
        if v6:
            self.put(name, w.AAAA, [(name, w.AAAA, ttl, self.v6()) for _ in range(v6)])

    # Everything that looks the same through any resolver

    def make_a(self, name):
        self.addresses(name, v4=self.rnd.randrange(1, 5))

    def make_aaaa(self, name):
        self.addresses(name, v6=self.rnd.randrange(1, 5))

    def make_both(self, name):
        self.addresses(name, v4=self.rnd.randrange(1, 5), v6=self.rnd.randrange(1, 5))

    def make_nodata(self, name):
        self.put(name, w.TXT, [])

    def make_nxdomain(self, name):
        pass

    def make_chain(self, name, hops=None):
        """In one reply."""
        hops = hops or self.rnd.randrange(1, 9)
        names = [name] + ["c%d.%s.cdn.example.net" % (i, name.split(".")[0]) for i in range(hops)]
        links = [(a, w.CNAME, self.ttl(), b) for a, b in zip(names, names[1:])]
        self.addresses(names[-1], v4=2, v6=self.rnd.randrange(2))
        for qtype in (w.A, w.AAAA):
            last = self.records.get((names[-1], qtype), (0, []))[1]
            for i, link in enumerate(names[:-1]):
                self.put(link, qtype, links[i:] + last, has_soa=not last)

    def make_links(self, name):
        """Each link in a reply of its own."""
        names = [name] + ["l%d.%s.cdn.example.net" % (i, name.split(".")[0]) for i in range(self.rnd.randrange(1, 8))]
        self.addresses(names[-1], v4=2, v6=2)
        for a, b in zip(names, names[1:]):
            for qtype in (w.A, w.AAAA):
                self.put(a, qtype, [(a, w.CNAME, self.ttl(), b)])

    def make_many(self, name):
        self.addresses(name, v4=60)

    def make_many_v6(self, name):
        """More than fits into a datagram: asked again over TCP."""
        self.addresses(name, v6=60)

    def make_ttl_zero(self, name):
        self.addresses(name, v4=1, v6=1, ttl=0)

    def make_ttl_huge(self, name):
        self.addresses(name, v4=1, v6=1, ttl=self.rnd.choice((1 << 31, (1 << 31) - 1, (1 << 32) - 1, 604800)))

    def make_private(self, name):
        """Admitted by name: private addresses are fine."""
        self.put(name, w.A, [(name, w.A, 60, self.v4(p)) for p in ([10], [192, 168], [172, 20])])
        self.put(name, w.AAAA, [(name, w.AAAA, 60, self.v6("fd00:5e11"))])

    def make_upper(self, name):
        """The server writes as it likes."""
        target = "EDGE.%s.Cdn.Example.NET" % name.split(".")[0].upper()
        self.addresses(target, v4=1, v6=1)
        for qtype in (w.A, w.AAAA):
            self.put(name, qtype, [(name.upper(), w.CNAME, 60, target)] + self.records[target.lower(), qtype][1])

    def make_wildcard(self, name):
        self.put(name, w.A, [(name, w.A, 60, "45.33.32.156")])

    def make_twice(self, name):
        address = self.v4()
        self.put(name, w.A, [(name, w.A, 60, address)] * 3 + [(name, w.A, 60, self.v4())])

    def make_gone(self, name):
        """A CNAME to a name that does not exist."""
        for qtype in (w.A, w.AAAA):
            self.put(name, qtype, [(name, w.CNAME, 60, "gone.%s.cdn.example.net" % name.split(".")[0])], w.NXDOMAIN, True)

    def make_empty(self, name):
        """A CNAME to a name without addresses."""
        target = "empty.%s.cdn.example.net" % name.split(".")[0]
        self.put(target, w.TXT)
        for qtype in (w.A, w.AAAA):
            self.put(name, qtype, [(name, w.CNAME, 60, target)], has_soa=True)

    def make_failed(self, name):
        for qtype in (w.A, w.AAAA):
            self.put(name, qtype, rcode=self.rnd.choice((w.SERVFAIL, w.REFUSED)), has_soa=False)

    # What dnsd is meant to see differently

    def make_bad_aaaa(self, name):
        self.addresses(name, v4=2)
        self.put(name, w.AAAA, rcode=self.rnd.choice((w.SERVFAIL, w.REFUSED, w.NXDOMAIN)), has_soa=False)

    def make_bad_a(self, name):
        self.addresses(name, v6=2)
        self.put(name, w.A, rcode=self.rnd.choice((w.SERVFAIL, w.REFUSED, w.NXDOMAIN)), has_soa=False)

    def make_no_name(self, name):
        """A says that there is no such name, AAAA fails."""
        self.put(name, w.A, rcode=w.NXDOMAIN)
        self.put(name, w.AAAA, rcode=w.SERVFAIL, has_soa=False)

    def make_parent(self, name):
        """NXDOMAIN, although the policy admits a name below."""
        child = "child." + name
        self.kinds[child] = "a"
        self.addresses(child, v4=1)
        for qtype in (w.A, w.AAAA):
            self.put(name, qtype, rcode=w.NXDOMAIN)

    def make_never(self, name):
        """Addresses that nobody may be given, some among public ones."""
        bad = [(name, w.A, 60, a) for a in ("127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255")]
        self.put(name, w.A, self.rnd.sample(bad, 3) + [(name, w.A, 60, self.v4())] * self.rnd.randrange(2))
        self.put(name, w.AAAA, [(name, w.AAAA, 60, a) for a in ("::1", "::", "fe80::1", "::ffff:127.0.0.1")])

    def make_long_chain(self, name):
        self.make_chain(name, self.rnd.randrange(9, 12))

    def make_loop(self, name):
        other = "loop.%s.cdn.example.net" % name.split(".")[0]
        for qtype in (w.A, w.AAAA):
            links = [(name, w.CNAME, 60, other), (other, w.CNAME, 60, name)]
            self.put(name, qtype, links, has_soa=False)
            self.put(other, qtype, links[::-1], has_soa=False)

    def make_crowd(self, name):
        self.addresses(name, v4=self.rnd.randrange(65, 73))

    def make_lame(self, name):
        """Nothing, no SOA, and no recursion to be had: that server does not know."""
        for qtype in (w.A, w.AAAA):
            self.put(name, qtype, has_soa=False, is_lame=True)


# How many of each, in parts.
MAKERS = """a=8 aaaa=3 both=12 nodata=4 nxdomain=6 chain=10 links=4 many=2 many_v6=1 ttl_zero=2 ttl_huge=2 private=3 upper=3
wildcard=2 twice=2 gone=2 empty=2 failed=1 bad_aaaa=4 bad_a=2 no_name=1 parent=2 never=3 long_chain=2 loop=1 crowd=1
lame=1"""


# ---- the rules: (kinds, peers, what dnsd says given what the peer says and what the zone holds, why) ----

def is_never(text):
    return text.startswith(("127.", "169.254.", "0.", "224.", "255.", "fe80:", "::"))


def permitted(peer):
    return frozenset(a for a in peer.addresses if not is_never(a))


BOTH = ("unbound", "dnsmasq")
RULES = [
    ("bad_aaaa bad_a", BOTH, lambda d, p: d.what == "nodata" and p.what in ("failed", "nxdomain"),
     "a bad family is NODATA while the other is good"),
    ("no_name", BOTH, lambda d, p: d.what == "nxdomain" and p.what == "failed", "no name has no AAAA, whatever that says"),
    ("parent", BOTH, lambda d, p: d.what == "nodata" and p.what == "nxdomain", "the parent of an admitted name exists"),
    ("never", BOTH, lambda d, p: p.what == "ok" and d.addresses == permitted(p) and
     d.what == ("ok" if permitted(p) else "nodata"), "addresses of the never classes are left out"),
    ("long_chain", BOTH, lambda d, p: d.what == "failed" and p.what in ("ok", "nodata"), "at most eight CNAMEs"),
    ("loop", ("dnsmasq",), lambda d, p: d.what == "failed" and p.what == "nodata", "a loop is a failure, not an empty answer"),
    ("crowd", BOTH, lambda d, p: d.what == p.what == "ok" and len(d.addresses) == 64 and d.addresses < p.addresses,
     "at most 64 addresses"),
    ("lame", BOTH, lambda d, p: d.what == "failed" and p.what == "nodata", "an empty reply without recursion is no answer"),
    ("links", ("dnsmasq",), lambda d, p: d.what == "ok" and p.what == "nodata", "dnsmasq follows no CNAME, dnsd does"),
    ("gone", ("dnsmasq",), lambda d, p: d.what == "nxdomain" and p.what == "nodata",
     "dnsmasq keeps the CNAME, and not that it leads nowhere"),
]


# ---- the authoritative server ----

def to_wire(zone):
    """{(qname in lower case on the wire, type): (flags, counts, body)}; the owner of what was asked for is a pointer."""
    out = {}
    for (name, qtype), (rcode, answer, has_soa, is_lame) in zone.records.items():
        body = b""
        for owner, rtype, ttl, data in answer:
            raw = w.name(data) if rtype == w.CNAME else \
                socket.inet_pton(socket.AF_INET6 if rtype == w.AAAA else socket.AF_INET, data)
            body += w.record(b"\xc0\x0c" if owner == name else w.name(owner), rtype, ttl, raw)
        if has_soa:
            body += w.soa(w.name(SUFFIX))
        out[w.name(name), qtype] = (w.QR | w.AA | (0 if is_lame else w.RA) | rcode, (len(answer), int(has_soa)), body)
    return out


class Authority:
    def __init__(self, zone):
        self.replies, self.exists = to_wire(zone), {w.name(name) for name in zone.exists}
        self.negative = w.soa(w.name(SUFFIX))

    def answer(self, raw, room):
        end = raw.index(0, 12) + 1
        qname, (qtype,) = raw[12:end], struct.unpack_from("!H", raw, end)
        default = (w.QR | w.AA | w.RA | (0 if qname.lower() in self.exists else w.NXDOMAIN), (0, 1), self.negative)
        flags, (answers, authority), body = self.replies.get((qname.lower(), qtype), default)
        has_opt = raw[11] != 0
        if room is None:
            room = struct.unpack_from("!H", raw, end + 7)[0] if has_opt else 512
        tail = w.opt(1232) if has_opt else b""
        if end + 4 + len(body) + len(tail) > room:
            flags, answers, authority, body = flags | w.TC, 0, 0, b""
        return raw[:2] + struct.pack("!HHHHH", flags | raw[2] << 8 & w.RD, 1, answers, authority, int(has_opt)) + \
            raw[12:end + 4] + body + tail

    def serve_stream(self, conn):
        with conn:
            while True:
                head = conn.recv(2, socket.MSG_WAITALL)
                if len(head) < 2:
                    return
                message = self.answer(conn.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL), 65535)
                conn.sendall(struct.pack("!H", len(message)) + message)

    def serve_tcp(self, tcp):
        while True:
            threading.Thread(target=self.serve_stream, args=(tcp.accept()[0],), daemon=True).start()

    def serve(self, udp, tcp):
        threading.Thread(target=self.serve_tcp, args=(tcp,), daemon=True).start()
        while True:
            raw, peer = udp.recvfrom(4096)
            try:
                udp.sendto(self.answer(raw, None), peer)
            except ConnectionError:  # of an earlier answer that nobody waited for
                pass


def start_authority(zone):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind((AUTHORITY, 53))
    tcp = socket.create_server((AUTHORITY, 53), backlog=256)
    process = multiprocessing.get_context("fork").Process(target=Authority(zone).serve, args=(udp, tcp), daemon=True)
    process.start()
    return process


# ---- the resolvers ----

def start_unbound(directory):
    conf = os.path.join(directory, "unbound.conf")
    with open(conf, "w") as f:
        f.write("""\
server:
  interface: %s
  do-daemonize: no
  use-syslog: no
  logfile: "%s/unbound.log"
  pidfile: ""
  chroot: ""
  username: ""
  directory: "%s"
  module-config: "iterator"
  do-not-query-localhost: no
  num-threads: 1
  msg-cache-size: 32m
  rrset-cache-size: 64m
  cache-max-ttl: %d
  aggressive-nsec: no
  qname-minimisation: no
  minimal-responses: no
  num-queries-per-thread: 1024
  edns-buffer-size: 1232
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: %s
""" % (UNBOUND, directory, directory, TTL_MAX, AUTHORITY))
    return subprocess.Popen(["unbound", "-d", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_dnsmasq(directory):
    return subprocess.Popen(
        ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-poll",
         "--server=" + AUTHORITY, "--listen-address=" + DNSMASQ, "--bind-interfaces", "--cache-size=10000",
         "--dns-forward-max=1000", "--edns-packet-max=1232",
         "--log-facility=" + os.path.join(directory, "dnsmasq.log")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_dnsd(zone):
    hosts = "".join("      - { host: %s, port: 443 }\n" % name for name in zone.kinds)
    return Daemon("version: 1\nnetwork_policies:\n  all:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n" + hosts,
                  "--upstream", AUTHORITY, "--listen", DNSD + ":53", "--aaaa", "pass", "--cache-size", "64MiB",
                  "--log-level", "info", *NO_BRAKES)  # at "debug" no answer is given again as it was


def await_server(host):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            s.connect((host, 53))
            try:
                s.send(w.query("ready." + SUFFIX))
                s.recv(4096)
                return
            except (ConnectionError, socket.timeout):
                time.sleep(0.05)
    raise AssertionError("%s does not answer" % host)


# ---- the client ----

def over_tcp(host, raw):
    with socket.create_connection((host, 53), 20) as s:
        s.sendall(struct.pack("!H", len(raw)) + raw)
        size = struct.unpack("!H", s.recv(2, socket.MSG_WAITALL))[0]
        return s.recv(size, socket.MSG_WAITALL)


def read_answer(raw):
    m = w.Message(raw)
    qname, qtype = m.questions[0][0].lower(), m.questions[0][1]
    if m.rcode == w.NXDOMAIN:
        return Result("nxdomain", frozenset(), 0)
    if m.rcode != w.NOERROR:
        return Result("failed", frozenset(), 0)
    links = {r.owner.lower(): r for r in m.answer if r.type == w.CNAME}
    at, ttls = qname, []
    for _ in range(len(links)):
        if at not in links:
            break
        ttls.append(links[at].ttl)
        at = m.read_name(links[at].at)[0].lower()
    family = socket.AF_INET6 if qtype == w.AAAA else socket.AF_INET
    mine = [r for r in m.answer if r.type == qtype and r.owner.lower() == at]
    if not mine:
        return Result("nodata", frozenset(), 0)
    return Result("ok", frozenset(socket.inet_ntop(family, r.data) for r in mine), min(ttls + [r.ttl for r in mine]))


def ask_all(host, questions):
    """{question: Result}. A window of questions in flight; what gets no answer within two seconds is asked again."""
    out, waiting, todo = {}, {}, list(reversed(questions))
    tries, ident = collections.Counter(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.connect((host, 53))
        while todo or waiting:
            while todo and len(waiting) < IN_FLIGHT:
                ident = ident + 1 & 0xFFFF
                question = todo.pop()
                tries[question] += 1
                if tries[question] > 5:
                    raise AssertionError("%s: no answer for %s" % (host, question))
                waiting[ident] = (question, time.monotonic())
                s.send(w.query(*question, ident=ident, edns=w.opt(1232)))
            if not select.select([s], [], [], 0.5)[0]:
                late = [i for i, (_, at) in waiting.items() if time.monotonic() - at > 2]
                todo += [waiting.pop(i)[0] for i in late]
                continue
            raw = s.recv(65535)
            entry = waiting.pop(struct.unpack("!H", raw[:2])[0], None)
            if entry is None:
                continue
            if raw[2] & 0x02:
                raw = over_tcp(host, w.query(*entry[0], edns=w.opt(1232)))
            out[entry[0]] = read_answer(raw)
    return out


# ---- the comparison ----

def least_ttl(zone, question):
    """What the least TTL of the chain allows, as RFC 2181 section 8 reads them and dnsd clamps them."""
    name, qtype = question
    ttls = []
    for _ in range(10):
        answer = zone.records[name, qtype][1]
        ttls += [0 if ttl >= 1 << 31 else ttl for _, _, ttl, _ in answer]
        if answer[-1][1] != w.CNAME:
            break
        name = answer[-1][3].lower()
    return min(ttls + [TTL_MAX])


def check_ttl(zone, question, mine, elapsed):
    if mine.what == "ok":
        allowed = least_ttl(zone, question)
        if not allowed - elapsed <= mine.ttl <= allowed:
            yield "%s %s: TTL %d, where the zone allows %d" % (*question, mine.ttl, allowed)


def compare_again(zone, first, begin):
    """Asked twice more: from the cache, and then as an answer that is kept ready. It is the same, but for its TTL."""
    for _ in range(2):
        for question, again in ask_all(DNSD, list(first)).items():
            if again[:2] != first[question][:2]:
                yield "%s %s: first %s %s, then %s %s" % (*question, first[question].what, sorted(first[question].addresses),
                                                          again.what, sorted(again.addresses))
            yield from check_ttl(zone, question, again, time.monotonic() - begin + 1)


def compare(zone, answers, elapsed):
    problems, used = [], collections.Counter()
    for question, mine in answers["dnsd"].items():
        kind = zone.kinds[question[0]]
        for peer in BOTH:
            theirs = answers[peer][question]
            if mine[:2] == theirs[:2]:
                continue
            for i, (kinds, peers, is_explained, _) in enumerate(RULES):
                if kind in kinds.split() and peer in peers and is_explained(mine, theirs):
                    used[i, peer] += 1
                    break
            else:
                problems.append("%s %s: dnsd says %s %s, %s says %s %s" % (
                    *question, mine.what, sorted(mine.addresses), peer, theirs.what, sorted(theirs.addresses)))
        problems += check_ttl(zone, question, mine, elapsed)
    for i, (kinds, peers, _, why) in enumerate(RULES):
        for peer in peers:
            print("dns_compare: %5d times unlike %s: %s" % (used[i, peer], peer, why))
            if not used[i, peer]:
                problems.append("the rule for %s (%s) explains nothing: is it still true?" % (kinds, why))
    return problems


def main(directory):
    zone = Zone(20409)
    start_authority(zone)
    start_unbound(directory)
    start_dnsmasq(directory)
    dnsd = start_dnsd(zone)
    questions = [(name, qtype) for name in zone.kinds for qtype in (w.A, w.AAAA)]
    answers, seconds = {}, {}
    for peer, host in (("dnsd", DNSD), ("unbound", UNBOUND), ("dnsmasq", DNSMASQ)):
        await_server(host)
        start = time.monotonic()
        answers[peer] = ask_all(host, questions)
        seconds[peer] = time.monotonic() - start
        if peer == "dnsd":
            problems = list(compare_again(zone, answers[peer], start))
        print("dns_compare: %s answered %d questions in %.1f s" % (peer, len(answers[peer]), seconds[peer]))
    problems += compare(zone, answers, seconds["dnsd"] + 1)
    dnsd.process.terminate()
    dnsd.process.wait(20)
    hot = int(re.search(r" hot=(\d+)", dnsd.lines("dns_totals")[0]).group(1))
    print("dns_compare: %d answers were given again as they were" % hot)
    if hot < 5000:
        problems.append("too few for a proof")
    for problem in problems[:20]:
        print("dns_compare: FAIL:", problem)
    if problems:
        kinds = collections.Counter(zone.kinds.get(p.split()[0], "?") for p in problems)
        print("dns_compare: FAIL: %d in all: %s" % (len(problems), dict(kinds)))
    return dnsd.stop() or (1 if problems else 0)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    sys.exit(main(*sys.argv[1:]))
