# SPDX-License-Identifier: Apache-2.0
"""The resolvers that programs really use against openshell-dnsd, whatever the upstream and the policy do.

Run by dns_clients.sh inside the lab. Each client has a dnsd of its own as its only name server, and names of its own, so
that none finds in the cache what another one asked for. The rows are what an upstream does with A and AAAA, or what the
policy says; the promises are those of the manual: an admitted name resolves whatever the upstream does with the other
family; a denied one is "no such host" at once; "try again" only where every upstream failed, and before a client's own
timer ends.

usage: dns_clients.py DIRECTORY CLIENT=COMMAND...      (COMMAND is split at blanks)
"""
import collections
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.environ["top_srcdir"], "tests/conformance"))
import dns_wire as w  # noqa: E402
from daemon import Daemon  # noqa: E402
from dns_stub import OWNER, Ask, Stub, addresses, late, nodata, rcode, reply, silence  # noqa: E402

V4, V6 = "93.184.216.34", "2606:2800:220:1::1"
MANY = ["93.184.%d.%d" % (i, i) for i in range(1, 61)]
POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: "*.%s.example.net", port: 443 }
      - { host: one.%s.test, port: 443 }
      - { host: host.openshell.internal, port: 8080 }
egress:
  hosts:
    host.openshell.internal: [10.200.0.1]
"""
LOOP_GUARD = "loop.openshell.invalid"

# Milliseconds. A lookup that went wrong shows as a multiple of a client's own timer, 5 s; the rest is room for a machine
# that is busy with other tests.
AT_ONCE = 100  # the best of three
SOON = 2000
FAMILY_GIVEN_UP = 3000  # 1 s after the other family arrived
BEFORE_FIRST_TIMER = 4900
MUSL_TIMER = 6500  # musl takes no error for an answer and waits for its own timer's end, whoever answers


def truncated(act):
    return lambda ask: act(ask) if ask.is_tcp else [reply(ask, flags=w.RA | w.TC)]


def without_ra(act):
    """Clears RA in what act says: such a server looks lame."""
    return lambda ask: [m[:2] + bytes([m[2], m[3] & 0x7F]) + m[4:] for m in act(ask)]


def chain(length, act):
    """CNAMEs out of the client's names; the last one's addresses come in the same reply."""
    def run(ask):
        owner, out = OWNER, []
        for i in range(length):
            target = w.name("c%d.cdn.example.org" % i)
            out.append(w.record(owner, w.CNAME, 60, target))
            owner = target
        for text in act:
            family = socket.AF_INET6 if ":" in text else socket.AF_INET
            if (ask.qtype == w.AAAA) == (family == socket.AF_INET6):
                out.append(w.record(owner, ask.qtype, 60, socket.inet_pton(family, text)))
        return [reply(ask, answer=out, authority=[w.soa()] if len(out) == length else [])]
    return run


GOOD = addresses(V4, V6)
NXDOMAIN, REFUSED, SERVFAIL, NOTIMP, FORMERR = (rcode(n) for n in (w.NXDOMAIN, w.REFUSED, w.SERVFAIL, w.NOTIMP, w.FORMERR))

# name: (what A gets, what AAAA gets, verdict, addresses, limit of the first try)
UPSTREAM = {
    "both": (GOOD, GOOD, "ok", {V4, V6}, SOON),
    "a-nodata": (GOOD, nodata, "ok", {V4}, SOON),
    "a-nxdomain": (GOOD, NXDOMAIN, "ok", {V4}, SOON),
    "a-refused": (GOOD, REFUSED, "ok", {V4}, SOON),
    "a-notimp": (GOOD, NOTIMP, "ok", {V4}, SOON),
    "a-formerr": (GOOD, FORMERR, "ok", {V4}, SOON),
    "a-servfail": (GOOD, SERVFAIL, "ok", {V4}, SOON),
    "a-silence": (GOOD, silence, "ok", {V4}, FAMILY_GIVEN_UP),
    "a-late": (GOOD, late(1.2, GOOD), "ok", {V4}, FAMILY_GIVEN_UP),
    "a-lame": (GOOD, without_ra(rcode(w.NOERROR)), "ok", {V4}, SOON),
    "nodata-aaaa": (nodata, GOOD, "ok", {V6}, SOON),
    "nxdomain-aaaa": (NXDOMAIN, GOOD, "ok", {V6}, SOON),
    "refused-aaaa": (REFUSED, GOOD, "ok", {V6}, SOON),
    "servfail-aaaa": (SERVFAIL, GOOD, "ok", {V6}, SOON),
    "silence-aaaa": (silence, GOOD, "ok", {V6}, FAMILY_GIVEN_UP),
    "late-aaaa": (late(1.2, GOOD), GOOD, "ok", {V6}, FAMILY_GIVEN_UP),
    "late-nodata": (late(1.2, GOOD), nodata, "ok", {V4}, FAMILY_GIVEN_UP),
    "late-late": (late(1.2, GOOD), late(1.2, GOOD), "ok", {V4, V6}, FAMILY_GIVEN_UP),
    "truncated": (truncated(GOOD), truncated(GOOD), "ok", {V4, V6}, SOON),
    "truncated-nodata": (truncated(GOOD), nodata, "ok", {V4}, SOON),
    "chain": (chain(8, [V4]), chain(8, [V4]), "ok", {V4}, SOON),
    "many": (addresses(*MANY), nodata, "ok", set(MANY), SOON),
    "nxdomain-nxdomain": (NXDOMAIN, NXDOMAIN, "nosuch", set(), SOON),
    "nodata-nodata": (nodata, nodata, "nosuch", set(), SOON),
    "nxdomain-refused": (NXDOMAIN, REFUSED, "nosuch", set(), SOON),
    "nxdomain-servfail": (NXDOMAIN, SERVFAIL, "nosuch", set(), SOON),
    "private": (addresses("10.1.2.3"), nodata, "nosuch", set(), SOON),
    "refused-refused": (REFUSED, REFUSED, "again", set(), SOON),
    "servfail-servfail": (SERVFAIL, SERVFAIL, "again", set(), SOON),
    "formerr-formerr": (FORMERR, FORMERR, "again", set(), SOON),
    "notimp-notimp": (NOTIMP, NOTIMP, "again", set(), SOON),
    "silence-silence": (silence, silence, "again", set(), BEFORE_FIRST_TIMER),
    # One family fails and the other has nothing: a resolver that is ill, not a name that is denied.
    "servfail-nodata": (SERVFAIL, nodata, "again", set(), SOON),
    "servfail-nxdomain": (SERVFAIL, NXDOMAIN, "again", set(), SOON),
    "refused-nodata": (REFUSED, nodata, "again", set(), SOON),
    "silence-nodata": (silence, nodata, "again", set(), BEFORE_FIRST_TIMER),
    "nodata-servfail": (nodata, SERVFAIL, "again", set(), SOON),
}

SUFFIXES = {
    "plain": [],
    "search2": ["default.svc.cluster.local", "svc.cluster.local"],
    "search5": ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example.com", "example.net"],
    "dead": [],  # the one whose upstream never answers
    "second": [],  # behind it stands another name server, which answers everything, a little later
    "synthetic": [],  # the one that answers as `openshell-egress run` does
    "no-aaaa": [],  # the one that gives out no AAAA, as the default is where there is no IPv6
}
OPEN_SERVER = "127.0.9.1"
POOLS = ("198.18.0.0/15", "fd00:5e11::/64")

# What each client can be asked. Search lists are for those that have any.
FORWARD = ("any", "v4", "v6")
CLIENTS = {
    "glibc": (FORWARD + ("ptr", "type10", "type16", "type64", "type65", "type255"), True),
    "musl": (FORWARD + ("ptr", "type10", "type16", "type64", "type65", "type255"), True),
    "python": (FORWARD + ("ptr",), True),
    "node": (FORWARD + ("ptr",), True),
    "c-ares": (FORWARD + ("ptr", "type6", "type15", "type16", "type33", "type255"), False),
    "go": (FORWARD + ("ptr", "type15", "type16", "type33"), True),
    "java": (("any", "ptr"), True),
    "jndi": (("any", "v4", "v6", "type6", "type15", "type16", "type33", "type255"), False),
}

Row = collections.namedtuple("Row", "key operation argument verdict addresses limit at_once asks_upstream")


def upstream_rows(client):
    for name, (_, _, verdict, found, limit) in UPSTREAM.items():
        yield Row(name, "any", "%s.%s.example.net" % (name, client), verdict, found, limit, False, True)
    # One family alone.
    for operation, one in (("v4", V4), ("v6", V6)):
        yield Row("both-" + operation, operation, "both-%s.%s.example.net" % (operation, client), "ok", {one}, SOON,
                  False, True)
    yield Row("a-only-v6", "v6", "a-only-v6.%s.example.net" % client, "nosuch", set(), SOON, False, True)
    yield Row("both-dot", "any", "both-dot.%s.example.net." % client, "ok", {V4, V6}, SOON, False, True)
    yield Row("Upper", "any", "Both-Upper.%s.Example.NET" % client.upper(), "ok", {V4, V6}, SOON, False, True)


def policy_rows(client, prefix=""):
    """What costs not one packet upstream."""
    def row(key, operation, argument, verdict="nosuch", found=()):
        return Row(prefix + key, operation, argument, verdict, set(found), SOON, True, False)
    for operation in FORWARD:
        yield row("denied-" + operation, operation, "secret.%s.example.org" % client)
    yield row("denied-below-exact", "any", "x.one.%s.test" % client)
    yield row("denied-below-wildcard", "any", "x.y.%s.example.net" % client)
    yield row("parent", "any", "%s.example.net" % client)
    yield row("single-label", "any", "wpad")
    yield row("hosts", "any", "host.openshell.internal", "ok", ["10.200.0.1"])
    yield row("localhost", "v4", "a.localhost", "ok", ["127.0.0.1"])
    yield row("ptr-own", "ptr", "10.200.0.1", "ok", ["host.openshell.internal"])
    yield row("ptr-v4", "ptr", "8.8.8.8")
    yield row("ptr-v6", "ptr", "2001:4860:4860::8888")
    yield row("ptr-private", "ptr", "10.0.0.7")
    for rtype in (6, 10, 15, 16, 33, 64, 65, 255):
        yield row("type%d" % rtype, "type%d" % rtype, "typed.%s.example.net" % client)
        yield row("denied-type%d" % rtype, "type%d" % rtype, "secret.%s.example.org" % client)


def search_rows(client, conf):
    """Below five dots the suffixes come first, and each of the names they make is denied."""
    for name in ("both", "a-nodata", "a-servfail", "truncated"):
        _, _, verdict, found, limit = UPSTREAM[name]
        yield Row(name, "any", "%s-%s.%s.example.net" % (name, conf, client), verdict, found, limit, False, True)
    yield Row("exact", "any", "one.%s.test" % client, "ok", {V4, V6}, SOON, False, True)
    yield Row("denied", "any", "secret.%s.example.org" % client, "nosuch", set(), SOON, True, False)
    yield Row("single-label", "any", "wpad", "nosuch", set(), SOON, True, False)
    yield Row("hosts", "any", "host.openshell.internal", "ok", {"10.200.0.1"}, SOON, True, False)


def dead_rows(client):
    yield Row("allowed", "any", "both-dead.%s.example.net" % client, "again", set(), BEFORE_FIRST_TIMER, False, False)
    yield from policy_rows(client)


def second_rows(client):
    """A denial is final: nobody goes on to the next name server with it."""
    name = "both-second.%s.example.net" % client
    yield Row("allowed", "any", name, "ok", {V4, V6}, SOON, False, True)
    for row in policy_rows(client):
        if row.key.startswith("denied"):
            yield row


def synthetic_rows(client):
    """One good address of either family is enough for a synthetic address of both."""
    for row in upstream_rows(client):
        if row.key == "a-only-v6":
            row = row._replace(verdict="ok")
        yield row._replace(addresses=POOLS if row.verdict == "ok" else set())
    for row in policy_rows(client):
        if row.key != "ptr-own":  # its name leads to another address now, and Java looks
            yield row._replace(addresses=POOLS) if row.key == "hosts" else row


def no_aaaa_rows(client):
    """Only A decides: what it has, that it has nothing, or "try again"; also for who asks for AAAA alone."""
    for row in upstream_rows(client):
        a = UPSTREAM.get(row.key, UPSTREAM["both"])[0]
        found = {V4} if row.key == "late-aaaa" else row.addresses - {V6}
        if row.verdict == "ok" and not found:
            row = row._replace(verdict="nosuch" if row.operation == "v6" or a in (nodata, NXDOMAIN) else "again")
        elif row.key == "nodata-servfail":
            row = row._replace(verdict="nosuch")
        yield row._replace(addresses=found, limit=BEFORE_FIRST_TIMER if a is silence else row.limit)
    name = "servfail-v6.%s.example.net" % client
    yield Row("servfail-v6", "v6", name, "again", set(), SOON, False, True)
    yield from policy_rows(client)


def rows_of(client, conf):
    operations, has_search = CLIENTS[client]
    if conf == "plain":
        rows = list(upstream_rows(client)) + list(policy_rows(client))
    elif conf == "synthetic":
        rows = list(synthetic_rows(client))
    elif conf == "no-aaaa":
        rows = list(no_aaaa_rows(client))
    elif conf == "second":
        rows = list(second_rows(client))
    elif conf == "dead":
        rows = list(dead_rows(client))
    else:
        rows = list(search_rows(client, conf)) if has_search else []
    return [row for row in rows if row.operation in operations]


class Upstream(Stub):
    """What a name gets is its first label's business: NAME or NAME-WHATEVER of UPSTREAM."""

    def act(self, raw, is_tcp, port):
        self.zone = Behaviour()
        return super().act(raw, is_tcp, port)


class OpenServer(Stub):
    """Has an address for every name, and stands at port 53."""

    @staticmethod
    def bind(host):
        udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp.bind((host, 53))
        tcp.bind((host, 53))
        tcp.listen(64)
        return udp, tcp

    def act(self, raw, is_tcp, port):
        self.zone = {}
        super().act(raw, is_tcp, port)
        return late(1.5, addresses("93.184.216.66", "2606:2800:220:1::66"))(Ask(raw, is_tcp, port))

    def problems(self, clients):
        """musl asks all name servers at once, whatever the first one says: that is why there must be one only."""
        for client in clients:
            asked = [a.name for a in self.seen if ".%s." % client in a.name]
            if client == "musl" and not asked:
                yield "musl never asked the second name server: this proves nothing"
            elif client != "musl" and asked:
                yield "%s asked the second name server for %s" % (client, sorted(set(asked)))


class Behaviour:
    def get(self, key, default):
        name, qtype = key
        label = name.split(".")[0]
        if label.startswith("one"):
            label = "both"
        if label.startswith("a-only"):
            label = "a-nodata"
        if label == "servfail-v6":
            label = "servfail-servfail"
        row = UPSTREAM.get(label) or next((UPSTREAM[k] for k in ("both", "a-nodata", "a-servfail", "truncated")
                                           if label.startswith(k + "-")), None)
        if not row or qtype not in (w.A, w.AAAA):
            return default
        return row[0 if qtype == w.A else 1]


class Run:
    """One client with one resolv.conf."""

    def __init__(self, directory, client, conf, command, server):
        self.client, self.conf, self.problems = client, conf, []
        self.rows = {row.key: row for row in rows_of(client, conf)}
        etc = os.path.join(directory, "%s-%s" % (client, conf))
        os.mkdir(etc)
        suffixes = SUFFIXES[conf]
        with open(os.path.join(etc, "resolv.conf"), "w") as f:
            f.write("nameserver %s\n" % server)
            if conf == "second":
                f.write("nameserver %s\n" % OPEN_SERVER)
            if suffixes:
                f.write("search %s\noptions ndots:5\n" % " ".join(suffixes))
        with open(os.path.join(etc, "hosts"), "w") as f:
            f.write("127.0.0.1 localhost\n::1 localhost\n")
        with open(os.path.join(etc, "nsswitch.conf"), "w") as f:
            f.write("hosts: files dns\n")
        mounts = "".join("mount --bind %s/%s /etc/%s && " % (etc, name, name) for name in sorted(os.listdir(etc)))
        environment = {**os.environ, "UV_THREADPOOL_SIZE": "128", "GODEBUG": "netdns=go"}
        for name in ("LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES"):
            environment.pop(name, None)
        self.errors = open(os.path.join(etc, "stderr"), "w+")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mounts + 'exec "$@"', "sh", *command], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, env=environment, text=True)
        self.thread = threading.Thread(target=self.go)

    def go(self):
        text = "".join("%s %s %s\n" % (row.key, row.operation, row.argument) for row in self.rows.values())
        try:
            out, _ = self.process.communicate(text, timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
        self.said = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
        self.errors.seek(0)
        complaint = self.errors.read()
        if self.process.returncode != 0:
            self.problems.append("ended with %d: %s" % (self.process.returncode, complaint[-500:]))
        for key, row in self.rows.items():
            problem = self.check(row, self.said.get(key))
            if problem:
                self.problems.append("%s (%s %s): %s; it said: %s" % (
                    key, row.operation, row.argument, problem, " ".join(self.said.get(key, ["nothing"]))))

    def check(self, row, said):
        if not said:
            return "no answer"
        verdict, first, best, found = said[0], float(said[1]), float(said[2]), set(said[3:])
        limit = row.limit
        if self.client == "musl" and verdict == "again":
            limit = MUSL_TIMER
        if self.client == "jndi":
            limit += SOON  # one family after the other
        if verdict != row.verdict:
            return "not %s" % row.verdict
        if verdict == "ok" and not self.is_right(row, found):
            return "not %s" % sorted(row.addresses)
        if first > limit:
            return "later than %d ms" % limit
        if row.at_once and best > AT_ONCE:
            return "later than %d ms, even the fastest of three" % AT_ONCE
        return None

    def is_right(self, row, found):
        got, wanted = canonical(found), canonical(row.addresses)
        if row.addresses == POOLS:  # one of each family, if both were asked for
            v4, v6 = [x for x in got if len(x) == 4], [x for x in got if len(x) == 16]
            return all(x[:2] in (b"\xc6\x12", b"\xc6\x13") for x in v4) and \
                all(x[:4] == b"\xfd\x00\x5e\x11" for x in v6) and len(v4) + len(v6) == len(got) and \
                (len(v4), len(v6)) == {"v4": (1, 0), "v6": (0, 1), "any": (1, 1)}[row.operation]
        if row.key == "many":
            # Without EDNS only as many as fit into 512 bytes, and not everyone asks again over TCP.
            return len(got) >= 28 and got <= wanted
        if row.key in ("a-late", "late-aaaa", "late-late"):
            # 1 s after one family the other need not be waited for any longer.
            return got and got <= canonical([V4, V6]) and (got >= wanted or self.client == "jndi")
        return got == wanted


def canonical(found):
    out = set()
    for text in found:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        try:
            out.add(socket.inet_pton(family, text))
        except OSError:
            out.add(text.rstrip("."))
    return out


def check_upstream(stub, runs):
    """Only names that some row of ours may ask for, as A and AAAA alone, and each of them."""
    allowed = {row.argument.rstrip(".").lower() for run in runs for row in run.rows.values() if row.asks_upstream}
    with stub.lock:
        seen = [(ask.name, ask.qtype) for ask in stub.seen]
    problems = ["upstream was asked for %s, type %d" % pair for pair in sorted(set(seen))
                if pair[0] != LOOP_GUARD and (pair[0] not in allowed or pair[1] not in (w.A, w.AAAA))]
    missing = allowed - {name for name, _ in seen}
    if missing:
        problems.append("never asked for %s: this proves nothing" % sorted(missing))
    return problems


def main(directory, *clients):
    commands = dict(entry.split("=", 1) for entry in clients)
    stub, open_server = Upstream({}), OpenServer({}, OPEN_SERVER)
    dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dead.bind(("127.0.0.1", 0))  # bound and never read
    daemons, runs = [], []
    for i, (client, command) in enumerate(commands.items()):
        servers = {}
        synthetic = ["--answer", "synthetic", "--map", os.path.join(directory, client + ".map")]
        for pool in POOLS:
            synthetic += ["--pool", pool]
        for conf, upstream, aaaa, options in (("plain", stub.address, "pass", ()),
                                              ("synthetic", stub.address, "pass", synthetic),
                                              ("dead", "127.0.0.1:%d" % dead.getsockname()[1], "pass", ()),
                                              ("no-aaaa", stub.address, "nodata", ())):
            servers[conf] = "127.0.%d.%d" % (len(servers) + 1, i + 1)
            daemons.append(Daemon(POLICY % (client, client), "--upstream", upstream, "--aaaa", aaaa,
                                  "--listen", servers[conf] + ":53", *options))
        for conf in SUFFIXES:
            if rows_of(client, conf):
                runs.append(Run(directory, client, conf, command.split(), servers.get(conf, servers["plain"])))
    start = time.monotonic()
    for run in runs:
        run.thread.start()
    for run in runs:
        run.thread.join()
    problems = ["%s, %s: %s" % (run.client, run.conf, text) for run in runs for text in run.problems]
    problems += check_upstream(stub, runs)
    problems += open_server.problems(commands)
    problems += ["a dnsd ended with %d" % status for status in [daemon.stop() for daemon in daemons] if status != 0]
    for text in problems:
        print("dns_clients: FAIL:", text)
    for run in runs:
        print("dns_clients: %s, %s: %d rows" % (run.client, run.conf, len(run.rows)))
    print("dns_clients: %.1f s" % (time.monotonic() - start))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
