# SPDX-License-Identifier: Apache-2.0
"""An upstream that speaks DNS over TLS, and the certificates it may have. It keeps what it saw on the wire."""
import os
import socket
import ssl
import struct
import subprocess
import threading

import dns_stub
import dns_wire as w

NAME = "dns.example.net"


class Pki:
    """A certificate authority of its own, and certificates of it; all of elliptic curves: they are quick to make."""

    def __init__(self, directory):
        self.dir = directory
        self.ca = self.make("ca", "/CN=Test CA", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")

    def path(self, name):
        return os.path.join(self.dir, name)

    def openssl(self, *argv):
        subprocess.run(("openssl",) + argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def make(self, name, subject, extensions, issuer=None, days=("-days", "2")):
        """A key with its certificate, in one file: its path. issuer None: signed by itself."""
        key, request, cert, both = (self.path(name + end) for end in (".key", ".csr", ".crt", ".pem"))
        with open(self.path("ext"), "w") as f:
            f.write(extensions)
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        self.openssl("req", "-new", "-key", key, "-subj", subject, "-out", request)
        sign = ("-CA", self.path(issuer + ".crt"), "-CAkey", self.path(issuer + ".key"), "-CAcreateserial") \
            if issuer else ("-signkey", key)
        self.openssl("x509", "-req", "-in", request, *sign, *days, "-extfile", self.path("ext"), "-out", cert)
        with open(both, "w") as out:
            for part in (key, cert):
                with open(part) as f:
                    out.write(f.read())
        return both

    def server(self, name, alt="DNS:" + NAME, issuer="ca", **more):
        return self.make(name, "/CN=" + NAME, "subjectAltName=%s\n" % alt, issuer, **more)

    def expired(self, name, dates=("20200101000000Z", "20210101000000Z")):
        """Ended long ago: only `openssl ca` takes dates."""
        self.server(name)
        conf, new = self.path("ca.conf"), self.path("new")
        os.makedirs(new, exist_ok=True)
        with open(conf, "w") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nnew_certs_dir=%s\nserial=%s\npolicy=p\ndefault_md=sha256\n"
                    "unique_subject=no\n[p]\ncommonName=supplied\n" % (self.path("index"), new, self.path("serial")))
        open(self.path("index"), "w").close()
        with open(self.path("serial"), "w") as f:
            f.write("77\n")
        self.openssl("ca", "-batch", "-notext", "-config", conf, "-cert", self.path("ca.crt"), "-keyfile",
                     self.path("ca.key"), "-startdate", dates[0], "-enddate", dates[1],
                     "-in", self.path(name + ".csr"), "-extfile", self.path("ext"), "-out", self.path(name + ".crt"))
        both = self.path(name + ".pem")
        with open(both, "w") as out:
            for part in (self.path(name + ".key"), self.path(name + ".crt")):
                with open(part) as f:
                    out.write(f.read())
        return both


class Connection:
    """What became of one connection."""

    def __init__(self):
        self.received = b""  # as it was on the wire
        self.sni = self.alpn = self.version = self.reused = self.error = None
        self.is_done = self.got_goodbye = False
        self.queries = []  # raw, without the daemons' own question
        self.sent = 0


class DotStub:
    """zone: as of dns_stub.Stub. hold: answers when so many questions are there, the last one first. piece: bytes it
    sends at a time. before, after: called with the socket before and behind the handshake. stall: called with the
    number of bytes that have been sent before each piece."""

    def __init__(self, zone, cert, port=0, context=None, **ways):
        self.zone, self.hold, self.piece = dict(zone), ways.pop("hold", 1), ways.pop("piece", 65536)
        self.before, self.after, self.stall = (ways.pop(n, None) for n in ("before", "after", "stall"))
        assert not ways, ways
        self.connections, self.open, self.lock = [], [], threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert)
        self.context.set_alpn_protocols(["dot"])
        self.context.sni_callback = self.note_sni
        if context:
            context(self.context)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, name=NAME):
        return "tls://127.0.0.1:%d#%s" % (self.port, name)

    @staticmethod
    def note_sni(tls, name, _):
        tls.seen.sni = name

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.open.append(conn)
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def close_connections(self):
        with self.lock:
            for conn in self.open:
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.open = []

    def stop(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.close_connections()

    def serve(self, conn):
        seen = Connection()
        with self.lock:
            self.connections.append(seen)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
        tls.seen = seen
        try:
            if self.before:
                self.before(conn)
            self.turn(conn, seen, incoming, outgoing, tls.do_handshake)
            seen.alpn, seen.version = tls.selected_alpn_protocol(), tls.version()
            seen.reused, seen.is_done = tls.session_reused, True
            if self.after:
                self.after(conn)
            self.answer(seen, lambda f, *a: self.turn(conn, seen, incoming, outgoing, f, *a), tls)
        except (ssl.SSLError, OSError) as e:
            seen.error = e
        finally:
            with self.lock:
                if conn in self.open:
                    self.open.remove(conn)
            conn.close()

    def turn(self, conn, seen, incoming, outgoing, function, *args):
        """Calls until it does not want to read any more."""
        while True:
            try:
                out, is_done = function(*args), True
            except ssl.SSLWantReadError:
                out, is_done = None, False
            finally:
                data = outgoing.read()
                for at in range(0, len(data), self.piece):
                    if self.stall:
                        self.stall(seen.sent)
                    seen.sent += len(data[at:at + self.piece])
                    conn.sendall(data[at:at + self.piece])
            if is_done:
                return out
            data = conn.recv(65536)
            if not data:
                raise ConnectionResetError("the other end closed")
            seen.received += data
            incoming.write(data)

    def answer(self, seen, call, tls):
        data, asks = b"", []
        while True:
            got = call(tls.read, 65536)
            if not got:
                seen.got_goodbye = True
                return
            data += got
            while len(data) >= 2 and len(data) - 2 >= struct.unpack("!H", data[:2])[0]:
                size = struct.unpack("!H", data[:2])[0]
                ask, data = dns_stub.Ask(data[2:2 + size], True, 0), data[2 + size:]
                if ask.name == dns_stub.LOOP_GUARD:
                    self.act(ask, self.zone.get(ask.name, dns_stub.rcode(w.NXDOMAIN)), call, tls)
                else:
                    asks.append(ask)
                    seen.queries.append(ask.raw)
            if len(asks) >= self.hold:
                for ask in reversed(asks):
                    act = self.zone.get((ask.name, ask.qtype)) or self.zone.get("*", dns_stub.rcode(w.NXDOMAIN))
                    self.act(ask, act, call, tls)
                asks = []

    @staticmethod
    def act(ask, act, call, tls):
        for message in act(ask):
            call(tls.write, struct.pack("!H", len(message)) + message)

    def done(self):
        """Those that carried a question which somebody asked."""
        with self.lock:
            return [c for c in self.connections if c.queries]
