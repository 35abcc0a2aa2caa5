#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""client.py urllib|requests: the cases of clients.sh, as a Python program finds the proxy: in its environment."""
import hashlib
import json
import os
import ssl
import sys
import urllib.error
import urllib.request

WEB, TLS, DENIED = "http://web.example.org", "https://web.example.org", "www.example.com"
BLOB = open(os.environ["BLOB"], "rb").read()
SUM, CHUNKS = hashlib.sha256(BLOB).hexdigest(), os.environ["CHUNKS"]


def pieces():
    for at in range(0, len(BLOB), 50000):
        yield BLOB[at:at + 50000]


class Urllib:
    """Answers are (status, bytes); a tunnel that is refused is an OSError."""

    keeps = False

    def __init__(self):
        self.context = ssl.create_default_context(cafile=os.environ["CA"])

    def get(self, url, body=None):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60, context=self.context) as got:
                return got.status, got.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class Requests:
    keeps = True

    def __init__(self):
        import requests

        self.session = requests.Session()
        self.session.verify = os.environ["CA"]

    def get(self, url, body=None):
        got = self.session.request("GET" if body is None else "POST", url, data=body, timeout=60)
        return got.status_code, got.content


def check(wanted, got):
    if got != wanted:
        raise AssertionError("%r instead of %r" % (got, wanted))


def framed(answer):
    return answer[0], {key: json.loads(answer[1])[key] for key in ("sha256", "framing")}


def case_forward(client):
    status, body = client.get(WEB + "/seen?a=b")
    seen = json.loads(body)
    check((200, "/seen?a=b", "web.example.org"), (status, seen["url"], seen["headers"]["host"]))
    check("1.1 ", seen["headers"]["via"][:4])


def case_connect(client):
    check((200, b"hello\n"), client.get(TLS + "/hello"))


def case_post(client):
    check((200, {"sha256": SUM, "framing": "length"}), framed(client.get(WEB + "/digest", BLOB)))


def case_https_post(client):
    check((200, {"sha256": SUM, "framing": "length"}), framed(client.get(TLS + "/digest", BLOB)))


def case_chunked_up(client):
    check((200, {"sha256": SUM, "framing": "chunked"}), framed(client.get(WEB + "/digest", pieces())))


def case_chunked_down(client):
    check(CHUNKS, hashlib.sha256(client.get(WEB + "/chunks")[1]).hexdigest())


def case_to_the_end(client):
    check((200, b"to the end " * 9999), client.get(WEB + "/to-end"))


def case_redirect(client):
    check((200, b"hello\n"), client.get(WEB + "/redirect"))


def case_denied_http(client):
    status, body = client.get("http://%s/" % DENIED)
    check((403, "policy_denied"), (status, json.loads(body)["error"]))


def case_denied_https(client):
    try:
        got = client.get("https://%s/" % DENIED)
    except OSError as error:
        check(True, "403" in str(error))
        return
    raise AssertionError("an answer: %r" % (got,))


def case_no_proxy(client):
    check((200, b"hello\n"), client.get("http://direct.example.org/hello"))
    check((200, b"hello\n"), client.get("https://direct.example.org/hello"))


def case_keep_alive(client):
    if not client.keeps:
        return False  # it says "Connection: close" itself
    for _ in range(3):
        check((200, b"hello\n"), client.get("http://keep.example.org/hello"))
    return True


def main():
    client = {"urllib": Urllib, "requests": Requests}[sys.argv[1]]()
    for name, case in list(globals().items()):
        if not name.startswith("case_"):
            continue
        try:
            if case(client) is not False:
                print("ok", name[5:], flush=True)
        except Exception as error:
            print("FAIL %s: %s: %s" % (name[5:], type(error).__name__, error), flush=True)


if __name__ == "__main__":
    main()
