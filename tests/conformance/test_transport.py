# SPDX-License-Identifier: Apache-2.0
"""Sockets of openshell-dnsd on hosts with several addresses of both families, in a network namespace of its own."""
import os
import resource
import signal
import socket
import time
import unittest

import dns_wire as w
import lab
from daemon import Daemon, Stream
from dns_stub import Stub, addresses

POLICY = """\
version: 1
network_policies:
  web:
    endpoints:
      - { host: gateway.discord.gg, port: 443 }
"""
HERE4 = ["127.0.0.1", "127.9.9.9", "45.33.32.1", "45.33.32.2", "10.77.0.1"]
HERE6 = ["::1", "2600:9000::1", "2600:9000::2", "fd00:77::1"]
LINK6 = "fe80::77"


def ask_udp(local, to, qname="localhost", qtype=w.A):
    """From one address to another, on a connected socket: an answer from anywhere else does not arrive."""
    with socket.socket(lab.family_of(to[0]), socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        if local:
            s.bind((local, 0))
        s.connect(to)
        s.send(w.query(qname, qtype))
        return w.Message(s.recv(4096))


class TestAddresses(unittest.TestCase):
    def start(self, *options, **more):
        d = Daemon(POLICY, "--upstream", Stub({("gateway.discord.gg", w.A): addresses("93.184.216.34")}).address,
                   "--allow-client", "0.0.0.0/0", "--allow-client", "::/0", *options, **more)
        self.addCleanup(lambda: self.assertEqual(d.stop(), 0))
        return d

    def assert_serves_all(self, port4, port6):
        for here, port in ((HERE4, port4), (HERE6, port6)):
            for to in here if port else ():
                for local in here:
                    self.assertEqual(len(ask_udp(local, (to, port)).answer), 1, (local, to))
                stream = Stream((to, port))
                stream.send(w.query("localhost"))
                self.assertEqual(len(stream.receive().answer), 1, to)
                stream.close()

    def test_wildcards_answer_from_the_address_asked(self):
        for workers in ("1", "3"):
            d = self.start("--listen", "0.0.0.0:0", "--listen", "[::]:0", "--workers", workers)
            ports = {host: port for host, port in d.addresses["udp"]}
            self.assert_serves_all(ports["0.0.0.0"], ports["::"])
            port = ports["0.0.0.0"]
            for to in HERE4:  # also one that had to wait for the upstream, and the one after it
                for _ in range(2):
                    self.assertEqual(len(ask_udp("127.0.0.1", (to, port), "gateway.discord.gg").answer), 1)

    def test_more_than_one_turn_takes(self):
        """The socket leaves the loop's epoll while it is full, and comes back: everybody is answered, then and later."""
        d = self.start("--listen", "127.0.0.1:0", "--workers", "1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.settimeout(10)
            s.connect(d.addresses["udp"][0])
            for name in ("denied.example", "localhost", "gateway.discord.gg"):
                os.kill(d.process.pid, signal.SIGSTOP)
                idents = set(range(150))  # more than a turn's 64, less than the daemon's socket holds
                for ident in idents:
                    s.send(w.query(name, ident=ident))
                os.kill(d.process.pid, signal.SIGCONT)
                self.assertEqual({w.Message(s.recv(4096)).id for _ in idents}, idents, name)
                self.assertEqual(len(ask_udp(None, d.addresses["udp"][0]).answer), 1)

    def test_a_client_that_cannot_be_reached_costs_the_others_nothing(self):
        d = self.start("--listen", "0.0.0.0:0", "--workers", "1")
        port = d.addresses["udp"][0][1]
        net = lab.Netlink()
        net.add_addr("45.33.99.1", 32)
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(9)]
        sockets[0].bind(("45.33.99.1", 0))
        os.kill(d.process.pid, signal.SIGSTOP)
        for s in sockets:
            s.settimeout(5)
            s.sendto(w.query("localhost"), ("127.0.0.1", port))
        net.del_addr("45.33.99.1", 32)
        os.kill(d.process.pid, signal.SIGCONT)
        for s in sockets[1:]:
            self.assertEqual(len(w.Message(s.recv(4096)).answer), 1)
        for s in sockets:
            s.close()
        self.assertEqual(d.process.poll(), None)
        d.process.terminate()
        d.process.wait(20)
        self.assertIn(" unsent=1 ", d.lines("dns_totals")[0])

    def test_link_local_clients(self):
        d = self.start("--listen", "[::]:0")
        port = d.addresses["udp"][0][1]
        scope = socket.if_nametoindex("lo")
        self.assertEqual(len(ask_udp(None, (LINK6, port, 0, scope)).answer), 1)
        self.assertEqual(len(ask_udp(None, (LINK6, port, 0, scope), "gateway.discord.gg").answer), 1)

    def test_one_address_each(self):
        options = []
        for text in HERE4 + ["[%s]" % a for a in HERE6]:
            options += ["--listen", text + ":0"]
        d = self.start(*options)
        self.assertEqual({host for host, _ in d.addresses["udp"]}, set(HERE4 + HERE6))
        self.assertEqual(set(d.addresses["udp"]), set(d.addresses["tcp"]))
        for to in d.addresses["udp"]:
            for local in HERE6 if ":" in to[0] else HERE4:
                self.assertEqual(len(ask_udp(local, to).answer), 1, (local, to))

    def test_passed_socket_of_both_families(self):
        """Bound to ::, it also gets IPv4, as addresses inside IPv6."""
        passed = []
        udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind(("::", 0))
        port = udp.getsockname()[1]
        tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        tcp.bind(("::", port))
        tcp.listen(16)
        passed += [udp, tcp]
        self.start(passed=passed)
        self.assert_serves_all(port, port)
        for s in passed:
            s.close()

    def test_passed_sockets_of_several_addresses(self):
        passed = []
        for host in ("45.33.32.1", "2600:9000::2"):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                s = socket.socket(lab.family_of(host), kind)
                s.bind((host, 5353))
                if kind == socket.SOCK_STREAM:
                    s.listen(16)
                passed.append(s)
        self.start("--workers", "2", passed=passed)
        for host, local in (("45.33.32.1", "10.77.0.1"), ("2600:9000::2", "fd00:77::1")):
            self.assertEqual(len(ask_udp(local, (host, 5353)).answer), 1)
            stream = Stream((host, 5353))
            stream.send(w.query("localhost"))
            self.assertEqual(len(stream.receive().answer), 1)
            stream.close()
        for s in passed:
            s.close()

    def test_mapped_clients_are_judged_as_what_they_are(self):
        udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind(("::", 0))
        d = Daemon(POLICY, "--upstream", "127.0.0.1:9", "--allow-client", "45.33.32.1", passed=(udp,))
        self.addCleanup(lambda: self.assertEqual(d.stop(), 0))
        port = udp.getsockname()[1]
        self.assertEqual(ask_udp("45.33.32.1", ("45.33.32.1", port)).rcode, w.NOERROR)
        self.assertEqual(ask_udp("45.33.32.2", ("45.33.32.1", port)).rcode, w.REFUSED)
        self.assertEqual(ask_udp("::1", ("::1", port)).rcode, w.REFUSED)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # whatever a stranger sends
            s.settimeout(10)
            s.bind(("45.33.32.2", 0))
            s.sendto(w.query("localhost", qclass=3) + b"x", ("45.33.32.1", port))
            self.assertEqual(w.Message(s.recv(4096)).rcode, w.REFUSED)
        udp.close()

    def test_no_descriptor_left(self):
        """TCP waits, UDP goes on, and nothing spins."""
        d = self.start()
        pid = d.process.pid
        self.assertEqual(len(d.ask("gateway.discord.gg").answer), 1)
        used = len(os.listdir("/proc/%d/fd" % pid))
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, hard))
        streams = [d.tcp() for _ in range(12)]  # the kernel takes them; the daemon cannot
        d.wait_log("accept_paused")
        before = self.cpu_ticks(pid)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            self.assertEqual(len(d.ask("localhost").answer), 1)
            self.assertEqual(len(d.ask("gateway.discord.gg").answer), 1)
            time.sleep(0.05)
        self.assertLess(self.cpu_ticks(pid) - before, 60)  # of 100
        m = d.ask("other.discord.gg", edns=w.opt())
        self.assertEqual(m.rcode, w.NXDOMAIN)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for s in streams:
            s.close()
        end = time.monotonic() + 15
        while True:
            stream = d.tcp()
            stream.send(w.query("localhost"))
            got = stream.receive()
            stream.close()
            if got or time.monotonic() > end:
                break
        self.assertEqual(len(got.answer), 1)

    def test_a_policy_that_could_not_be_read_for_want_of_descriptors_is_read_again(self):
        d = self.start()
        pid = d.process.pid
        self.assertEqual(len(d.ask("gateway.discord.gg").answer), 1)  # in the cache from now on
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, hard))
        d.write_policy(POLICY.replace("gateway.discord.gg", "discord.com"))
        d.wait_log(r"policy_reload_failed why=\"Too many open files\"")
        lab.wait_until(lambda: len(d.lines("policy_still_refused")) == 2)  # after 1 s, and 2 s more
        self.assertEqual(len(d.ask("gateway.discord.gg").answer), 1)  # from the policy as it was
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        d.wait_log("policy_loaded generation=2")  # though nobody touches the file
        lab.wait_until(lambda: d.ask("gateway.discord.gg").rcode == w.NXDOMAIN)

    @staticmethod
    def cpu_ticks(pid):
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    lab.enter_namespace()
    net = lab.Netlink()
    net.lo_up()
    for one in HERE4[2:]:
        net.add_addr(one, 32)
    for one in HERE6[1:] + [LINK6]:
        net.add_addr(one, 64 if one == LINK6 else 128)
    unittest.main(verbosity=1)
