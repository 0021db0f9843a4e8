# SPDX-License-Identifier: GPL-2.0-only
# test_proxy_protocol.py - the PROXY protocol, accepted from whom we trust, and sent to origins with what we know of TLS.
import json
import socket
import struct
import time

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib.case import scale
from lib.client import PeerReset
from lib.tls import Authority, TlsOrigin, context, curl, tls_block, tls_fetch

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source="192.0.2.7", destination="198.51.100.1", source_port=4711, port=443, family="TCP4"):
    return b"PROXY %b %b %b %d %d\r\n" % (family.encode(), source.encode(), destination.encode(), source_port, port)


def v2(source="192.0.2.7", destination="198.51.100.1", source_port=4711, port=443, tlvs=b"", command=1):
    is_6 = ":" in source
    family = socket.AF_INET6 if is_6 else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack(">HH", source_port, port) + tlvs
    return SIGNATURE + bytes([0x20 | command, 0x21 if is_6 else 0x11]) + struct.pack(">H", len(body)) + body


def tlv(kind, value):
    return bytes([kind]) + struct.pack(">H", len(value)) + value


def setup(t, mode="accept", trusted='"127.0.0.1/32"', more="", **keys):
    return t.sentinel(t.origin(), listener='proxy-protocol "%s"\ntrusted-proxies %s\n%s' % (mode, trusted, more), **keys)


def client_of(s, header, source=None, tls=None):
    """X-Real-IP at the origin, of a request behind the header."""
    if tls:
        r = tls_fetch(s.port, "/headers", tls, proxy_header=header)
    else:
        with Client(s.port, source=source) as c:
            c.send(header)
            r = c.get("/headers")
    check_eq(r.status, 200)
    return {n.lower(): v for n, v in json.loads(r.body)["fields"]}["x-real-ip"]


def test_addresses_of_both_versions(t):
    s = setup(t)
    for header, address in ((v1(), "192.0.2.7"), (v2(), "192.0.2.7"), (v1("2001:db8::5", "2001:db8::1", family="TCP6"), "2001:db8::5"),
                            (v2("2001:db8::5", "2001:db8::1"), "2001:db8::5"), (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
                            (b"PROXY UNKNOWN ff 1 2 3\r\n", "127.0.0.1"), (v2(command=0), "127.0.0.1"),
                            (v2(tlvs=tlv(4, bytes(50)) + tlv(0xEE, b"x" * 900)), "192.0.2.7"), (b"", "127.0.0.1")):
        check_eq(client_of(s, header), address, repr(header[:60]))
    lines = [json.loads(x) for x in s.access_lines(9)]
    check_eq(lines[0]["client_ip"], "192.0.2.7")
    check_in("192.0.2.7", dict(s.origins[0].requests[0].fields)["x-forwarded-for"])


def test_header_in_pieces_and_with_the_request(t):
    s = setup(t)
    for header in (v1(), v2(tlvs=tlv(4, bytes(300)))):
        with Client(s.port) as c:
            c.send_slowly(header + b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n", 1, 0.0005)
            check_in('"192.0.2.7"', c.response().body.decode())
        with Client(s.port) as c:
            c.send(header + b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
            for _ in range(3):  # for all requests of the connection
                check_in('"192.0.2.7"', c.response().body.decode())


def test_only_trusted_peers_are_believed(t):
    s = setup(t)
    for header in (v1(), v2()):
        with Client(s.port, source="127.0.0.2") as c:
            how, data = c.send(header + b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n").end()
            check(data.startswith(b"HTTP/1.1 400 "), "%s %r", how, data)
    check_eq(s.origins[0].requests, [])
    check_eq(client_of(s, b"", source="127.0.0.2"), "127.0.0.2")


def test_required_headers(t):
    s = setup(t, "require", more="handshake-timeout-secs 1")
    check_eq(client_of(s, v2()), "192.0.2.7")
    for source, data in (("127.0.0.1", b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n"), ("127.0.0.2", b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n"),
                         ("127.0.0.2", v1() + b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n"), ("127.0.0.1", b"")):
        c = Client(s.port, source=source)
        try:
            c.send(data)
        except PeerReset:
            pass
        check_eq(c.end()[1], b"", "%s %r" % (source, data[:20]))
    check_eq(len(s.origins[0].requests), 1)
    check(s.metric("handshake_failures_total", reason="proxy_header") >= 3)


def test_headers_that_are_wrong(t):
    s = setup(t, more="handshake-timeout-secs 1")
    good = v2()
    for header in (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
                   b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 2\r\n", b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
                   b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY " + b"x" * 200 + b"\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
                   good[:12] + b"\x31" + good[13:], good[:13] + b"\x11\xff\xff" + good[16:], good[:12] + b"\x21\x11\x00\x03abc",
                   v2(tlvs=tlv(3, b"\x01\x02\x03\x04")), v2(tlvs=b"\x04\xff\xff"), good[:12] + b"\x2f" + good[13:]):
        with Client(s.port) as c:
            try:
                c.send(header + b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n")
            except PeerReset:
                pass
            check_eq(c.end()[1], b"", repr(header[:60]))
    check_eq(s.origins[0].requests, [])
    check_eq(s.metric("handshake_failures_total", reason="proxy_header"), 15)
    check_eq(client_of(s, v1()), "192.0.2.7")


def is_refused(s, header, source=None):
    c = Client(s.port, source=source)
    try:
        c.send(header + b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    except PeerReset:
        pass
    how, data = c.end()
    check(data == b"" or b" 200 " in data[:20], "%s %r", how, data[:100])
    return data == b""


def test_the_clients_address_is_judged_like_a_peers(t):
    s = setup(t, top='kernel { mode "off"; acl { deny "192.0.2.0/28" "2001:db8:1::/48"; }\n}')
    for header, refused in ((v1("192.0.2.7"), True), (v2("192.0.2.7"), True), (v1("192.0.2.17"), False),
                            (v2("2001:db8:1::7", "::1"), True), (v2("2001:db8:2::7", "::1"), False), (b"", False)):
        check_eq(is_refused(s, header), refused, repr(header[:60]))
    check_eq(s.metric("refused_connections_total", reason="acl"), 3)
    s.command("ban", "add", "192.0.2.17", "--for", "1h")
    check(is_refused(s, v2("192.0.2.17")), "a banned client was served")
    check_eq(s.metric("refused_connections_total", reason="block"), 1)
    check(not is_refused(s, v2("192.0.2.18")))
    check(not is_refused(s, b"", source="127.0.0.2"))  # of whom no header is read
    check_eq(s.metric("handshake_failures_total"), 0)


def test_half_a_header_and_silence(t):
    s = setup(t, more="handshake-timeout-secs 1")
    base = s.baseline()
    began = time.monotonic()
    clients = [Client(s.port).send(x) for x in (v1()[:5], v1()[:-1], v2()[:12], v2()[:20], b"P")]
    for c in clients:
        c.end()
    check(0.8 < time.monotonic() - began < 4 * scale(), "ended after %.1f s", time.monotonic() - began)
    for x in (b"PROXY", v2()[:13]):
        for _ in range(3):
            Client(s.port).send(x).reset()
    s.wait_gauges(base)


def test_a_checker_that_says_nothing_is_no_failure(t):
    s = setup(t)
    for _ in range(5):
        Client(s.port).close()
    wait_for(lambda: s.metric("accepted_connections_total") >= 5 and s.metric("open_connections") == 0, "the connections")
    check_eq(s.metric("handshake_failures_total"), 0)


def test_before_tls(t):
    ca = Authority(t)
    pair = ca.issue("a.example", ["a.example"])
    s = setup(t, more=tls_block(pair))
    for header in (v1(), v2(), v2("2001:db8::5", "2001:db8::1", tlvs=tlv(4, bytes(100)))):
        check_eq(client_of(s, header, tls=context(ca)), "2001:db8::5" if b"\x20\x01" in header else "192.0.2.7")
    check_eq(client_of(s, b"", tls=context(ca)), "127.0.0.1")
    got = curl("--haproxy-protocol", "--cacert", ca.cert, "--http2", "--resolve", "a.example:%d:127.0.0.1" % s.port,
               "https://a.example:%d/headers" % s.port)
    check_in("127.0.0.1", got)


def test_curl_in_front(t):
    s = setup(t, "require")
    check_in('"x-real-ip", "127.0.0.1"', curl("--haproxy-protocol", "http://127.0.0.1:%d/headers" % s.port))


# ---- sent

KINDS = {1: "alpn", 2: "authority", 3: "crc32c", 5: "unique_id", 0x20: "ssl"}
SSL_KINDS = {0x21: "version", 0x22: "cn", 0x23: "cipher", 0x24: "sig_alg", 0x25: "key_alg"}


def split_tlvs(data, names):
    found = {}
    while data:
        size = struct.unpack(">H", data[1:3])[0]
        found[names.get(data[0], data[0])] = data[3:3 + size]
        check(len(data) >= 3 + size, "a TLV that is cut: %r", data)
        data = data[3 + size:]
    return found


def read_header(sock):
    """The header at the front of a connection: {version, source, destination, TLVs}."""
    data = b""
    while len(data) < 16 or (data.startswith(b"PROXY") and not data.endswith(b"\r\n")):
        piece = sock.recv(1)
        check(piece, "no whole header: %r", data)
        data += piece
    if data.startswith(b"PROXY"):
        words = data.decode().split()
        return {"version": 1, "source": (words[2], int(words[4])), "destination": (words[3], int(words[5]))}
    check_eq(data[:12], SIGNATURE)
    check_eq(data[12], 0x21)
    rest, size = b"", struct.unpack(">H", data[14:16])[0]
    while len(rest) < size:
        rest += sock.recv(size - len(rest))
    length, family = (4, socket.AF_INET) if data[13] == 0x11 else (16, socket.AF_INET6)
    ports = struct.unpack(">HH", rest[2 * length:2 * length + 4])
    header = split_tlvs(rest[2 * length + 4:], KINDS)
    header.update(version=2, source=(socket.inet_ntop(family, rest[:length]), ports[0]),
                  destination=(socket.inet_ntop(family, rest[length:2 * length]), ports[1]))
    if "ssl" in header:
        ssl = header["ssl"]
        header["ssl"] = dict(split_tlvs(ssl[5:], SSL_KINDS), client=ssl[0], verify=struct.unpack(">I", ssl[1:5])[0])
    return header


class HeaderOrigin:
    """An origin whose connections begin with a header: .headers in order."""

    def __init__(self, t, pair=None):
        self.headers = []
        self.origin = TlsOrigin(t, pair, proxy_header=self.take) if pair else t.origin()
        if not pair:
            serve = self.origin.connection_class.serve
            take = self.take

            class Connection(self.origin.connection_class):
                def serve(self):
                    take(self.socket)
                    serve(self)
            self.origin.connection_class = Connection
        self.port = self.origin.port

    def take(self, sock):
        self.headers.append(read_header(sock))
        return self.headers[-1]


def test_the_client_is_told_to_the_origin(t):
    for version in (1, 2):
        o = HeaderOrigin(t)
        s = t.sentinel(o, upstream='proxy-protocol "v%d"' % version)
        for source in ("127.0.0.5", "127.0.0.6"):
            with Client(s.port, source=source) as c:
                local = c.socket.getsockname()
                for path in ("/bytes/10", "/headers"):
                    check_eq(c.get(path).status, 200)
                check_eq({k: o.headers[-1][k] for k in ("version", "source", "destination")},
                         {"version": version, "source": local, "destination": ("127.0.0.1", s.port)})
        # No connection is used for two clients.
        for connection in o.origin.connections:
            check_eq(len(connection.requests), 1)
        s.stop()


def test_addresses_that_we_were_told_are_passed_on(t):
    o = HeaderOrigin(t)
    s = t.sentinel(o, upstream='proxy-protocol "v2"', listener='proxy-protocol "require"\ntrusted-proxies "127.0.0.1/32"')
    for header, source in ((v1(), ("192.0.2.7", 4711)), (v2("2001:db8::5", "2001:db8::1"), ("2001:db8::5", 4711))):
        check_in(client_of(s, header), source[0])
        check_eq(o.headers[-1]["source"], source)


def test_tls_is_told_to_the_origin(t):
    ca, people = Authority(t), Authority(t, "People CA")
    pair = ca.issue("a.example", ["a.example"])
    o = HeaderOrigin(t)
    block = tls_block(pair, more='client-auth "optional"\nca-file "%s"' % people.cert)
    s = t.sentinel(o, upstream='proxy-protocol "v2"', listener=block)
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca, version="1.3", alpn=["http/1.1"])).status, 200)
    h = o.headers[-1]
    check_eq((h["alpn"], h["authority"]), (b"http/1.1", b"a.example"))
    check_eq((h["ssl"]["client"], h["ssl"]["version"], h["ssl"]["cipher"]), (1, b"TLSv1.3", b"TLS_AES_128_GCM_SHA256"))
    check(h["ssl"]["verify"] != 0 and "cn" not in h["ssl"], "%r", h["ssl"])
    alice = people.issue("alice", ["alice"], usage="clientAuth")
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca, version="1.2", cert=alice)).status, 200)
    h = o.headers[-1]
    check_eq((h["ssl"]["client"] & 1, h["ssl"]["client"] & 6 != 0, h["ssl"]["verify"], h["ssl"]["cn"], h["ssl"]["version"]),
             (1, True, 0, b"alice", b"TLSv1.2"))
    check_eq(tls_fetch(s.port, "/bytes/1", context(), name=None, host="a.example").status, 200)
    check("authority" not in o.headers[-1], "%r", o.headers[-1])


def test_header_before_tls_to_the_origin(t):
    ca = Authority(t)
    o = HeaderOrigin(t, ca.issue("a.example", ["a.example"]))
    s = t.sentinel(o, upstream='proxy-protocol "v2"\ntls {\nca-file "%s"\nsni "a.example"\n}' % ca.cert)
    for _ in range(3):
        check_eq(fetch(s.port, "/bytes/1", source="127.0.0.9").status, 200)
        check_eq(o.headers[-1]["source"][0], "127.0.0.9")
    check("ssl" not in o.headers[-1], "%r", o.headers[-1])


def test_header_of_raw_streams(t):
    ca = Authority(t)
    o = HeaderOrigin(t, ca.issue("a.example", ["a.example"]))
    s = t.sentinel(o, upstream='proxy-protocol "v2"', listener='protocol "tls-passthrough"')
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca), source="127.0.0.8").status, 200)
    check_eq((o.headers[-1]["source"][0], o.headers[-1].get("authority")), ("127.0.0.8", b"a.example"))
    plain = HeaderOrigin(t)
    s = t.sentinel(plain, upstream='proxy-protocol "v1"', listener='protocol "tcp"')
    check_eq(fetch(s.port, "/bytes/1", source="127.0.0.7").status, 200)
    check_eq(plain.headers[-1]["source"][0], "127.0.0.7")


def test_one_sentinel_before_another(t):
    o = t.origin()
    back = t.sentinel(o, listener='proxy-protocol "require"\ntrusted-proxies "127.0.0.1/32"')
    for version in ("v1", "v2"):
        front = t.sentinel("127.0.0.1:%d" % back.port, upstream='proxy-protocol "%s"' % version)
        fields = dict(json.loads(fetch(front.port, "/headers", source="127.0.0.3").body)["fields"])
        check_eq(fields["x-real-ip"], "127.0.0.3")


def test_before_raw_streams(t):
    ca = Authority(t)
    o = TlsOrigin(t, ca.issue("a.example", ["a.example"]))
    s = t.sentinel(o, listener='protocol "tls-passthrough"\nproxy-protocol "require"\ntrusted-proxies "127.0.0.1/32"')
    for header in (v1(), v2(tlvs=tlv(4, bytes(500)))):
        check_eq(tls_fetch(s.port, "/bytes/1", context(ca), proxy_header=header).status, 200)
    check_eq([len(c.requests) for c in o.connections], [1, 1])
    back = HeaderOrigin(t)
    s = t.sentinel(back, upstream='proxy-protocol "v2"', listener='protocol "tcp"\nproxy-protocol "accept"\ntrusted-proxies "127.0.0.1/32"')
    with Client(s.port) as c:
        c.send(v1() + b"GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n")
        check_eq(c.response().status, 200)
    check_eq(back.headers[-1]["source"], ("192.0.2.7", 4711))
