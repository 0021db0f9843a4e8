# SPDX-License-Identifier: GPL-2.0-only
# test_h2_translation.py - every mix of HTTP/1.1 and HTTP/2 on both sides: bodies, trailers, tunnels, no smuggling.
import json
import struct

from lib import Client, check, check_eq, check_in, wait_for
from lib import h2
from lib.h2 import H2C, TO_H2, H2Client, h2_origin
from lib.origin import pattern

WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WEBSOCKET_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
RAW = "/raw"


class Answer:
    """A response, whichever protocol brought it."""

    def __init__(self, status, fields, body, trailers, interim):
        self.status, self.body = status, bytes(body)
        self.fields = {n.lower(): v for n, v in fields if not n.startswith(":")}
        self.trailers = {n.lower(): v for n, v in trailers or []}
        self.interim = interim


class H1Side:
    """A client of HTTP/1.1 with the calls of the other one."""

    name = "h1"

    def __init__(self, port):
        self.client = Client(port)

    def ask(self, method, path, fields=(), body=None, is_chunked=False, trailers=None):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: test.example"] + ["%s: %s" % f for f in fields]
        data = body or b""
        if is_chunked or trailers is not None:
            lines.append("Transfer-Encoding: chunked")
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data += b"0\r\n" + "".join("%s: %s\r\n" % f for f in trailers or []).encode() + b"\r\n"
        elif body is not None:
            lines.append("Content-Length: %d" % len(body))
        self.client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        r = self.client.response(method)
        return Answer(r.status, r.fields, r.body, r.trailers, [m.status for m in r.interim])


class H2Side:
    name = "h2"

    def __init__(self, port):
        self.client = H2Client(port)

    def ask(self, method, path, fields=(), body=None, is_chunked=False, trailers=None):
        fields = list(fields)
        if body is not None and not is_chunked and trailers is None:
            fields.append(("content-length", str(len(body))))
        stream = self.client.request(method, path, fields, body, is_end=trailers is None)
        if trailers is not None:
            stream.end(trailers)
        stream.wait_end()
        return Answer(stream.status, stream.fields, stream.body, stream.trailers,
                      [int(dict(f)[":status"]) for f in stream.interim])


def h1_behaviours(o):
    """The same paths on an origin of HTTP/1.1 as on one of HTTP/2."""
    def trailers(connection, request):
        connection.read_body(request)
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 11\r\n\r\n")

    def not_modified(connection, request):
        connection.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 500\r\n\r\n")

    def unknown_length(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one ", b"two ", b"three"):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.send("0\r\n\r\n")

    def slow_continue(connection, request):
        connection.send("HTTP/1.1 100 Continue\r\n\r\n")
        connection.read_body(request)
        connection.answer(body=request.body)

    def hop(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n"
                        "Proxy-Connection: close\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok")
    for path, f in (("/trailers", trailers), ("/304", not_modified), ("/unknown", unknown_length),
                    ("/100", slow_continue), ("/hop", hop)):
        o.on(path, f)
    return o


def h2_behaviours(o):
    def trailers(stream):
        stream.wait_end()
        stream.head([(":status", "200")]).send(b"hello").end([("x-sum", "11")])

    def unknown_length(stream):
        stream.head([(":status", "200")])
        for piece in (b"one ", b"two ", b"three"):
            stream.send(piece)
        stream.end()

    def slow_continue(stream):
        stream.head([(":status", "100")])
        stream.wait_end()
        stream.answer(body=stream.body)

    def early_hints(stream):
        stream.head([(":status", "103"), ("link", "</a.css>; rel=preload")])
        stream.answer(body=b"after hints")
    o.on("/trailers", trailers).on("/unknown", unknown_length).on("/100", slow_continue).on("/early-hints", early_hints)
    o.on("/304", lambda stream: stream.head([(":status", "304"), ("etag", '"a"'), ("content-length", "500")], True))
    return o


def pairs(t, **keys):
    """(client, origin, name) of all four mixes."""
    for origin_name in ("h1", "h2"):
        o = h1_behaviours(t.origin()) if origin_name == "h1" else h2_behaviours(h2_origin(t))
        upstream = TO_H2 if origin_name == "h2" else ""
        for side in (H1Side, H2Side):
            s = t.sentinel(o, listener=H2C if side is H2Side else "", upstream=upstream, **keys)
            yield side(s.port), o, "%s to %s" % (side.name, origin_name)


def seen_by(o):
    """(method, path, fields, body, trailers) of the last request at the origin."""
    r = o.requests[-1]
    if isinstance(r, h2.Stream):
        r.wait_end()
        fields = {n: v for n, v in r.fields if not n.startswith(":")}
        return r.method, r.path, dict(fields, host=r.get(":authority")), r.body, dict(r.trailers or [])
    return r.method, r.target, {n.lower(): v for n, v in r.fields}, r.body, {n.lower(): v for n, v in r.trailers}


def test_requests_and_their_bodies(t):
    for c, o, name in pairs(t):
        r = c.ask("GET", "/headers?a=b", [("x-a", "1"), ("cookie", "a=1; b=2"), ("te", "trailers")])
        check_eq(r.status, 200, name)
        method, path, fields, body, _ = seen_by(o)
        check_eq((method, path, fields["host"], fields["x-a"], fields["cookie"]),
                 ("GET", "/headers?a=b", "test.example", "1", "a=1; b=2"), name)
        check("content-length" not in fields and "transfer-encoding" not in fields, "%s: %s", name, fields)
        for size in (0, 1, 70000, 1000000):
            r = c.ask("POST", "/headers", body=pattern(size))
            _, _, fields, body, _ = seen_by(o)
            check(r.status == 200 and body == pattern(size), "%s: body of %d: %d, %d", name, size, r.status, len(body))
            check_eq(fields.get("content-length"), str(size), name)
            r = c.ask("POST", "/headers", body=pattern(size), is_chunked=True)
            _, _, fields, body, _ = seen_by(o)
            check(r.status == 200 and body == pattern(size), "%s: chunked of %d: %d, %d", name, size, r.status,
                  len(body))
            if size:
                check("content-length" not in fields, "%s: a length nobody told", name)
        r = c.ask("POST", "/headers", body=b"abc", trailers=[("x-sum", "6"), ("x-more", "yes")])
        check_eq(seen_by(o)[3:], (b"abc", {"x-sum": "6", "x-more": "yes"}), name)


def test_responses_and_their_bodies(t):
    for c, o, name in pairs(t):
        for size in (0, 1, 65535, 1000000):
            r = c.ask("GET", "/bytes/%d" % size)
            check(r.body == pattern(size) and r.fields["content-length"] == str(size), "%s: %d of %d", name,
                  len(r.body), size)
        r = c.ask("GET", "/unknown")
        check_eq((r.body, r.fields.get("content-length")), (b"one two three", None), name)
        r = c.ask("GET", "/trailers", [("te", "trailers")])
        check_eq((r.body, r.trailers), (b"hello", {"x-sum": "11"}), name)
        r = c.ask("HEAD", "/bytes/777")
        check_eq((r.status, r.fields.get("content-length"), r.body), (200, "777", b""), name)
        r = c.ask("GET", "/status/204")
        check_eq((r.status, r.fields.get("content-length"), r.body), (204, None, b""), name)
        r = c.ask("GET", "/304", [("if-none-match", '"a"')])
        check_eq((r.status, r.fields["etag"], r.body), (304, '"a"', b""), name)
        r = c.ask("GET", "/early-hints")
        check_eq((r.status, r.body, r.interim), (200, b"after hints", [103]), name)
        r = c.ask("GET", "/hop") if " to h1" in name else r
        check(not {"connection", "keep-alive", "x-hop", "proxy-connection"} & set(r.fields) or name.startswith("h1 to"),
              "%s: %s", name, r.fields)
        check("x-hop" not in r.fields, "%s: a field that Connection named", name)
        check_eq(c.ask("GET", "/headers").status, 200, name)


def test_expect_100_continue(t):
    for c, o, name in pairs(t):
        fields = [("expect", "100-continue")]
        if c.name == "h1":
            client = c.client.send("POST /100 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            check_eq(client.interim().status, 100, name)
            check_eq(client.send("hello").response().body, b"hello", name)
        else:
            stream = c.client.request("POST", "/100", fields + [("content-length", "5")], is_end=False)
            stream.wait(lambda: stream.interim, "no 100")
            check_eq(dict(stream.interim[0])[":status"], "100", name)
            check_eq(stream.send(b"hello", True).wait_end().body, b"hello", name)
            check_eq(len([f for f in stream.interim if dict(f)[":status"] == "100"]), 1, name)


def test_bodies_both_ways_at_once(t):
    """Each piece comes back before the next one is sent."""
    o = h2_origin(t)
    s = t.sentinel(o, listener=H2C, upstream=TO_H2)
    with H2Client(s.port) as c:
        stream = c.request("POST", "/echo", is_end=False)
        for n in range(1, 30):
            stream.send(b"piece")
            stream.wait_data(5 * n)
        stream.end([("x-last", "1")])
        stream.wait_end()
        check_eq((stream.body, stream.trailers), (b"piece" * 29, [("x-last", "1")]))


# ---- WebSocket and CONNECT

def h1_websocket(o):
    """Answers as it is asked: with the accept for the key."""
    import base64
    import hashlib

    def serve(connection, request):
        key = request.get("sec-websocket-key", "")
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        connection.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n" % accept)
        while True:
            piece = connection.reader.some()
            if not piece:
                connection.shutdown()
                return
            connection.send(piece)
    return o.on("/ws", serve)


def h2_websocket(o):
    def serve(stream):
        stream.head([(":status", "200"), ("sec-websocket-protocol", "chat")])
        at = 0
        while not (stream.is_ended and at == stream.received):
            stream.wait(lambda: stream.received > at or stream.is_ended, "no more", 60)
            piece = bytes(stream.data[at:])
            at += len(piece)
            stream.send(piece)
        stream.end()
    return o.on("/ws", serve)


def websocket_frame(data):
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return b"\x82" + size + bytes(4) + data


def test_websocket_of_every_mix(t):
    for origin in (h1_websocket(t.origin()),
                   h2_websocket(h2_origin(t, own={h2.ENABLE_CONNECT: 1, h2.MAX_STREAMS: 100}))):
        is_h2 = isinstance(origin, h2.H2Origin)
        s = t.sentinel(origin, listener=H2C, upstream=TO_H2 if is_h2 else "", route="websocket #true")
        with H2Client(s.port) as c:
            check_eq(c.wait_settings().get(h2.ENABLE_CONNECT), 1)
            stream = c.raw([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws?x"),
                            (":authority", "test.example"), ("sec-websocket-version", "13"),
                            ("sec-websocket-protocol", "chat")], False)
            check_eq(stream.wait_head().status, 200)
            check_eq(stream.get("sec-websocket-protocol"), "chat")
            check(not stream.all("sec-websocket-accept") and not stream.all("upgrade"), "%s", stream.fields)
            sent = 0
            for data in (b"hello", bytes(range(100)), b"x" * 60000):
                stream.send(websocket_frame(data))
                sent += len(websocket_frame(data))
                stream.wait_data(sent)
                check(stream.body.endswith(websocket_frame(data)), "the echo differs")
            check_eq(s.metric("tunnels_active"), 1)
            check_eq(c.get("/headers").status, 200)  # beside it
            stream.end()
            stream.wait_end()
        r = origin.requests[0]
        if is_h2:
            check_eq((r.method, r.get(":protocol"), r.path), ("CONNECT", "websocket", "/ws?x"))
        else:
            check_eq((r.method, r.get("upgrade"), r.target, r.get("sec-websocket-version")),
                     ("GET", "websocket", "/ws?x", "13"))
            check_eq(len(r.get("sec-websocket-key")), 24)
        s1 = t.sentinel(origin, upstream=TO_H2 if is_h2 else "", route="websocket #true")
        with Client(s1.port) as c:
            c.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: %s\r\n\r\n" % WEBSOCKET_KEY)
            r = c.head()
            check_eq((r.status, r.get("upgrade"), r.get("sec-websocket-accept")), (101, "websocket", WEBSOCKET_ACCEPT))
            for data in (b"hello", b"y" * 60000):
                c.send(websocket_frame(data))
                check_eq(c.reader.exactly(len(websocket_frame(data))), websocket_frame(data))
            c.half_close()
            check_eq(c.check_closed(), "fin")


def test_websocket_without_permission(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    with H2Client(s.port) as c:
        stream = c.raw([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
                        (":authority", "a"), ("sec-websocket-version", "13")], False)
        check_eq(stream.wait_head().status, 403)
        check_eq(c.get("/headers").status, 200)
    check(b"/ws" not in o.received, "it reached the origin")


def test_websocket_that_the_origin_refuses(t):
    o = t.origin()
    o.on("/ws", lambda connection, request: connection.answer(404, b"no such socket"))
    no_connect = h2_origin(t)
    refusing = h2_origin(t, own={h2.ENABLE_CONNECT: 1, h2.MAX_STREAMS: 100})
    refusing.on("/ws", lambda stream: stream.answer(404, b"no such socket"))
    for origin, status in ((o, 404), (refusing, 404), (no_connect, 502)):
        upstream = TO_H2 if isinstance(origin, h2.H2Origin) else ""
        s = t.sentinel(origin, listener=H2C, upstream=upstream, route="websocket #true")
        with H2Client(s.port) as c:
            stream = c.raw([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
                            (":authority", "a"), ("sec-websocket-version", "13")], False)
            check_eq(stream.wait_head().status, status)
            check_eq(c.get("/headers").status, 200)
        s = t.sentinel(origin, upstream=upstream, route="websocket #true")
        with Client(s.port) as c:
            c.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: %s\r\n\r\n" % WEBSOCKET_KEY)
            check_eq(c.response().status, status)


def test_tunnels_end_on_both_sides(t):
    for origin in (h1_websocket(t.origin()),
                   h2_websocket(h2_origin(t, own={h2.ENABLE_CONNECT: 1, h2.MAX_STREAMS: 100}))):
        is_h2 = isinstance(origin, h2.H2Origin)
        s = t.sentinel(origin, listener=H2C, upstream=TO_H2 if is_h2 else "", route="websocket #true")
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
                (":authority", "a")]
        with H2Client(s.port) as c:
            stream = c.raw(head, False)
            stream.wait_head()
            stream.send(b"x").wait_data(1).cancel()  # by the client's reset
            if is_h2:
                check_eq(origin.requests[-1].wait_reset(), h2.CANCEL)
            else:
                wait_for(lambda: origin.requests[-1].connection.end, "the origin's side stays open")
            stream = c.raw(head, False)
            stream.wait_head()
            stream.send(b"x").wait_data(1)
            if is_h2:  # by the origin's
                origin.requests[-1].cancel(h2.INTERNAL_ERROR)
            else:
                origin.requests[-1].connection.reset()
            check(stream.wait_reset() != h2.NO_ERROR, "it ended in peace")
            check_eq(c.get("/headers").status, 200)
        wait_for(lambda: s.metric("tunnels_active") == 0, "a tunnel is counted as open")


def test_tunnel_that_the_origin_ends_with_its_answer(t):
    o = h2_origin(t, own={h2.ENABLE_CONNECT: 1, h2.MAX_STREAMS: 100})
    got = []

    def end_at_once(stream):
        stream.head([(":status", "200")], True)
        stream.wait_end()
        got.append(stream.body)
    o.behaviour = lambda path: end_at_once
    o.on("/headers", h2.headers)
    s = t.sentinel(o, listener=H2C, upstream=TO_H2, route="allow-connect #true\nwebsocket #true")
    h1 = t.sentinel(o, upstream=TO_H2, route="allow-connect #true\nwebsocket #true")
    for head in ([(":method", "CONNECT"), (":authority", "a:1")],
                 [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
                  (":authority", "a")]):
        with H2Client(s.port) as c:
            stream = c.raw(head, False)
            check_eq(stream.wait_end().status, 200)
            stream.send(b"still here", True)  # the other way stays open
            wait_for(lambda: got, "the bytes after the origin's end")
            check_eq(got.pop(), b"still here")
    with Client(h1.port) as c:
        c.send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        check_eq(c.head("CONNECT").status, 200)
        c.send(b"still here").half_close()
        check_eq(c.check_closed(), "fin")
    wait_for(lambda: got == [b"still here"], "the bytes after the origin's end")
    for proxy in (s, h1):
        wait_for(lambda: proxy.metric("tunnels_active") == 0, "a tunnel is counted as open")

    def end_and_reset(stream):
        stream.head([(":status", "200")], r.random() < 0.5)
        stream.cancel(h2.CANCEL)
    import random
    r = random.Random(1)
    o.behaviour = lambda path: end_and_reset
    with H2Client(s.port) as c:
        for _ in range(50):
            stream = c.raw([(":method", "CONNECT"), (":authority", "a:1")], False)
            stream.wait(lambda: stream.is_ended or stream.reset is not None, "no end")
            stream.cancel()
    wait_for(lambda: s.metric("tunnels_active") == 0, "a tunnel is counted as open")


def test_connect_to_an_h2_origin(t):
    o = h2_origin(t)
    o.behaviour = lambda path: h2.echo
    s = t.sentinel(o, listener=H2C, upstream=TO_H2, route="allow-connect #true")
    with H2Client(s.port) as c:
        stream = c.raw([(":method", "CONNECT"), (":authority", "db.example:5432")], False)
        check_eq(stream.wait_head().status, 200)
        check_eq(stream.send(b"query").wait_data(5).body, b"query")
        stream.end()
        stream.wait_end()
    check_eq([f for f in o.requests[0].fields if f[0].startswith(":")],
             [(":method", "CONNECT"), (":authority", "db.example:5432")])
    s = t.sentinel(o, upstream=TO_H2, route="allow-connect #true")
    with Client(s.port) as c:
        c.send("CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n")
        check_eq(c.head("CONNECT").status, 200)
        c.send(b"query")
        check_eq(c.reader.exactly(5), b"query")


# ---- smuggling

def raw_head(c, method="GET", path="/", authority="test.example", fields=(), data=None):
    """A request of exactly these fields, then one that must arrive as it is."""
    head = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)] + list(fields)
    stream = c.raw(head, data is None)
    if data is not None:
        c.write(h2.data_frames(stream.id, data, True))
    try:
        stream.wait_end()
        return stream.status
    except h2.StreamReset:
        return "reset"


def test_nothing_of_h2_becomes_a_second_request_in_h1(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    evil = "GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
    cases = [
        dict(fields=[("x", "a\r\n\r\n" + evil)]), dict(fields=[("x", "a\n\n" + evil)]),
        dict(fields=[("x\r\n\r\n" + evil, "a")]),
        dict(path="/ HTTP/1.1\r\nHost: a\r\n\r\n" + evil), dict(path="/x\r\ny"),
        dict(method="GET / HTTP/1.1\r\nHost: a\r\n\r\n" + evil),
        dict(authority="a\r\n\r\n" + evil),
        dict(method="POST", fields=[("transfer-encoding", "chunked")], data=b"0\r\n\r\n" + evil.encode()),
        dict(method="POST", path="/good", fields=[("content-length", "0")], data=evil.encode()),
        dict(method="POST", fields=[("content-length", "5"), ("content-length", "0")], data=b"12345"),
        dict(method="POST", fields=[("content-length", "5\r\nTransfer-Encoding: chunked")], data=b"12345"),
        dict(method="POST", fields=[("Transfer-Encoding", "chunked")], data=b"0\r\n\r\n" + evil.encode()),
        dict(method="POST", fields=[("transfer-encoding ", "chunked")], data=b"0\r\n\r\n" + evil.encode()),
        dict(method="POST", fields=[("transfer_encoding\0", "chunked")], data=b"0\r\n\r\n"),
        dict(fields=[("host", "evil")]), dict(fields=[("connection", "host")]), dict(path="http://evil/"),
        dict(path="//evil/\0"),
    ]
    with H2Client(s.port) as c:
        for case in cases:
            status = raw_head(c, **case)
            is_zero = case.get("path") == "/good"  # complete before its DATA came: an answer may have been faster
            check(status in (400, "reset", 501) or (is_zero and status == 200), "%s: %s", case, status)
            check_eq(raw_head(c, path="/good"), 200)
    check_eq({r.target for r in o.requests}, {"/good"})
    check(b"vil" not in o.received, "%r", o.received)
    o.clear()
    with H2Client(s.port) as c:  # legal there, and what becomes of it here
        check_eq(raw_head(c, method="GET", path="/body", data=evil.encode()), 200)
        check_eq(raw_head(c, method="POST", path="/body", data=evil.encode()), 200)
        check_eq(raw_head(c, path="//evil/path"), 200)
        check_eq(raw_head(c, path="/x?a=http://b/&c=#".rstrip("#"), fields=[("x-forwarded-host", "evil")]), 200)
    check_eq([(r.target, r.body) for r in o.requests],
             [("/body", evil.encode()), ("/body", evil.encode()), ("//evil/path", b""), ("/x?a=http://b/&c=", b"")])
    check_eq({r.get("host") for r in o.requests}, {"test.example"})


def test_nothing_of_h1_becomes_ambiguous_in_h2(t):
    o = h2_origin(t)
    s = t.sentinel(o, upstream=TO_H2, routes='route "all" { matches { path-prefix "/"; }; upstream "o"; }\n'
                                             'route "star" { matches { method "OPTIONS"; }; upstream "o"; }')
    ok = "GET %s HTTP/1.1\r\nHost: test.example\r\n%s\r\n"
    with Client(s.port) as c:
        for path, more in (("/a", "TE: gzip, trailers\r\n"),
                           ("/b", "Connection: x-hop, te\r\nX-Hop: 1\r\nTE: trailers\r\n"),
                           ("/c",
                            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
                           ("/d", "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\n"),
                           ("/e?x=%0d%0a", "X-UPPER: Value\r\n"),
                           ("/f", "Cookie: a=1\r\nCookie: b=2\r\n")):
            r = c.send(ok % (path, more)).response()
            check_eq(r.status, 200, path)
            have = dict(json.loads(r.body)["fields"])
            check_eq((have[":path"], have[":authority"], have[":method"], have[":scheme"]),
                     (path, "test.example", "GET", "http"))
            check(not {"x-hop", "connection", "host", "keep-alive", "upgrade", "http2-settings"} & set(have), "%s: %s",
                  path, have)
            check(have.get("te", "trailers") == "trailers", "%s", have)
        check_in("x-upper", dict(json.loads(c.send(ok % ("/e", "X-UPPER: v\r\n")).response().body)["fields"]))
        r = c.send("GET http://abs.example/x HTTP/1.1\r\nHost: abs.example\r\n\r\n").response()
        have = dict(json.loads(r.body)["fields"])
        check_eq((have[":path"], have[":authority"]), ("/x", "abs.example"))
        r = c.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").response()
        check_eq(dict(json.loads(r.body)["fields"])[":path"], "*")
        r = c.send("POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n").response()
        got = json.loads(r.body)
        check_eq((got["body"], got["trailers"]), ("abc", [["x-t", "1"]]))
    count = len(o.requests)
    for text in ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: a\r\n:path: /evil\r\n\r\n",
                 "GET / HTTP/1.1\r\nHost: a\r\n:authority: evil\r\n\r\n",
                 "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                 "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n:path: /evil\r\n\r\n",
                 "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"):
        with Client(s.port) as c:
            check_eq(c.send(text).response().status, 400, text)
    done = [r for r in o.requests[count:] if r.is_ended]
    check(not done, "complete at the origin: %s", [(r.path, r.fields) for r in done])


def test_h1_request_without_host(t):
    """Which only HTTP/1.0 may send; the target is asked by its own name, which HTTP/2 cannot do without."""
    for o, upstream in ((h2_origin(t), TO_H2), (t.origin(), "")):
        s = t.sentinel(o, upstream=upstream)
        with Client(s.port) as c:
            check_eq(c.send("GET /old HTTP/1.0\r\n\r\n").response().status, 200)
        check_eq(seen_by(o)[2]["host"], "127.0.0.1:%d" % o.port)
