# SPDX-License-Identifier: Apache-2.0
#
# What tests/e2e/fence_net.sh runs behind the fence. Each line it prints is one finding.
import errno
import os
import socket
import ssl
import struct
import sys
import time

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def say(*words):
    print(*words, flush=True)


def outcome(attempt):
    """ok, the name of the error, or silence; "late" in front if it took a second."""
    start = time.monotonic()
    try:
        attempt()
        word = "ok"
    except TimeoutError:
        word = "silence"
    except OSError as error:
        word = errno.errorcode.get(error.errno, str(error))
    return word if time.monotonic() - start < 1 else "late " + word


def tcp(address, port, version=4):
    def attempt():
        with socket.socket(FAMILY[version]) as s:
            s.settimeout(10)
            s.connect((address, port))
            s.recv(1)  # who is let in and thrown out is no better off
            raise OSError(errno.ECONNRESET, "closed")

    say("tcp", address, port, outcome(attempt))


def udp(address, port, version=4):
    def attempt():
        with socket.socket(FAMILY[version], socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.connect((address, port))
            s.send(b"\xc0 the first packet of QUIC")
            s.recv(1)

    say("udp", address, port, outcome(attempt))


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def dns(server, name, version=4):
    """Asks the server over UDP and TCP: the rcode, and whether an answer has an address of the pool."""

    def describe(reply):
        rcode = struct.unpack("!H", reply[2:4])[0] & 15
        return f"{rcode}{' synthetic' if reply[-4:-2] in (bytes([198, 18]), bytes([198, 19])) else ''}"

    try:
        with socket.socket(FAMILY[version], socket.SOCK_DGRAM) as s:
            s.settimeout(10)
            s.sendto(question(name), (server, 53))
            reply, sender = s.recvfrom(4096)
            say("dns udp", server, name, describe(reply) if sender[0] == server else f"from {sender[0]}")
        with socket.create_connection((server, 53), timeout=10) as s:
            s.sendall(struct.pack("!H", len(question(name))) + question(name))
            stream = s.makefile("rb")
            say("dns tcp", server, name, describe(stream.read(struct.unpack("!H", stream.read(2))[0])))
    except OSError as error:
        say("dns", server, name, errno.errorcode.get(error.errno, error))


def is_carried(host, port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=10) as s, context.wrap_socket(s):
            return True
    except OSError:
        return False


def refusals(real4, real6):
    for address in (real4, "8.8.8.8", "10.0.0.1", "169.254.169.254", "223.255.255.254"):
        tcp(address, 443)
        udp(address, 443)
    tcp(real4, 8443)
    if real6:
        tcp(real6, 443, 6)
        udp(real6, 443, 6)
        tcp("fe00::1", 443, 6)
    udp("224.0.0.251", 5353)
    pooled = socket.getaddrinfo("discord.com", 443, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    say("pooled", pooled)
    udp(pooled, 443)
    tcp("127.0.0.1", 15001)


def servers(real4, real6):
    for server in ("8.8.8.8", "127.0.0.1", "127.0.0.53", real4):
        dns(server, "discord.com")
        dns(server, "www.example.com")
    if real6:
        dns("2001:4860:4860::8888", "discord.com", 6)


def own_services():
    """Ports of the policy are the command's own as well."""
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket() as s:
            s.bind((address, 8443))
            s.listen()
            with socket.create_connection(("127.0.0.1", 8443), timeout=10):
                say("own", address, "ok")


def reload(marks):
    """Waits until what the test adds to the policy works."""
    for name, host, port in (("port", "discord.com", 8443), ("host", "gateway.discord.gg", 443)):
        say("before", name, is_carried(host, port))
        open(os.path.join(marks, name), "w").close()
        end = time.monotonic() + 30
        while not is_carried(host, port) and time.monotonic() < end:
            time.sleep(0.1)
        say("after", name, is_carried(host, port))


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "all":
        refusals(sys.argv[2], sys.argv[3])
        servers(sys.argv[2], sys.argv[3])
        own_services()
    elif what == "reload":
        reload(sys.argv[2])
