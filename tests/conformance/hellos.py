# SPDX-License-Identifier: Apache-2.0
"""ClientHellos of TLS, made by hand, and the alert that answers those that are refused."""
import struct

ALERT = bytes([21, 3, 3, 0, 2, 2, 49])


def u16(n):
    return struct.pack(">H", n)


def extension(kind, body):
    return u16(kind) + u16(len(body)) + body


def sni(*names):
    entries = b"".join(b"\0" + u16(len(n.encode())) + n.encode() for n in names)
    return extension(0, u16(len(entries)) + entries)


ECH, GREASE, KEY_SHARE = extension(0xfe0d, bytes(200)), extension(0x3a3a, b""), extension(51, bytes(1220))


def hello(*extensions):
    all_of_them = b"".join(extensions)
    body = b"\3\3" + bytes(32) + b"\x20" + bytes(32) + u16(4) + b"\x13\1\x13\2" + b"\1\0"
    body += u16(len(all_of_them)) + all_of_them
    return b"\1" + len(body).to_bytes(3, "big") + body


def records(message, size=16384):
    return b"".join(b"\x16\3\1" + u16(len(message[i:i + size])) + message[i:i + size]
                    for i in range(0, len(message), size))
