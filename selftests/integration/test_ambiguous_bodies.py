# SPDX-License-Identifier: GPL-2.0-only
# test_ambiguous_bodies.py - framing errors in a body whose head has already gone to the origin.
from lib import Client, Malformed, PeerClosed, PeerReset, check, check_eq, check_in, parse_requests, wait_for

HEAD = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

BROKEN = {
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with a space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "size with a space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no hexadecimal size": b"g\r\nhello\r\n0\r\n\r\n",
    "size that overflows": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "negative size": b"-1\r\nhello\r\n0\r\n\r\n",
    "bare lf after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare cr after the size": b"5\rhello\r\n0\r\n\r\n",
    "bare lf in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "control byte in an extension": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
    "nul in an extension": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "long extension": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"3\r\nhello\r\n0\r\n\r\n",
    "chunk shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    "bare lf after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "bare cr after a chunk": b"5\r\nhello\r0\r\n\r\n",
    "bare lf at the end": b"5\r\nhello\r\n0\r\n\n",
    "bare lf after the last size": b"5\r\nhello\r\n0\n\r\n",
    "folded trailer": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    "trailer with bare lf": b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    "trailer with bare cr": b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n",
    "trailer with nul": b"5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n",
    "trailer with space before the colon": b"5\r\nhello\r\n0\r\nX : a\r\n\r\n",
    "trailer without colon": b"5\r\nhello\r\n0\r\nnocolon\r\n\r\n",
    "trailer with content-length": b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
    "trailer with transfer-encoding": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer with host": b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    "huge trailers": b"5\r\nhello\r\n0\r\n" + b"X: " + b"a" * 60000 + b"\r\n\r\n",
}


def check_nothing_complete(o, name):
    """At the origin: no complete request, and the connection was ended."""
    o.wait_ends()
    for connection in o.connections:
        try:
            requests = parse_requests(connection.received)
        except (EOFError, Malformed):
            continue
        check(not requests, "%s: the origin read a complete request: %r", name, bytes(connection.received))


def failures(one):
    wrong = []
    for name, body in BROKEN.items():
        try:
            one(name, body)
        except Exception as error:
            wrong.append("%s: %s: %s" % (name, type(error).__name__, error))
    check(not wrong, "%d of %d:\n%s", len(wrong), len(BROKEN), "\n".join(wrong))


def test_framing_error_before_any_answer_is_400_and_ends_the_origin_connection(t):
    o = t.origin()
    s = t.sentinel(o)

    def one(name, body):
        o.clear()
        with Client(s.port, timeout=4) as c:
            c.send(HEAD % b"/echo" + body + SMUGGLED)
            r = c.response()
            check_in(r.status, (400, 431) if "huge" in name else (400,), name)
            check_eq(c.end()[1], b"", name + ": bytes after the answer")
        check(b"smuggled" not in o.received, "%s: %r", name, o.received)
        check(b"\r\n0\r\n" not in o.received, "%s: a final chunk reached the origin: %r", name, o.received)
        check_nothing_complete(o, name)
    failures(one)


def test_framing_error_late_in_the_body_is_400(t):
    o = t.origin()
    s = t.sentinel(o)

    def one(name, body):
        o.clear()
        with Client(s.port, timeout=4) as c:
            c.send(HEAD % b"/echo" + b"4\r\nabcd\r\n")
            wait_for(lambda: b"abcd" in o.received, "the first chunk at the origin")
            c.send(body + SMUGGLED)
            r = c.response()
            check_in(r.status, (400, 431) if "huge" in name else (400,), name)
        check(b"smuggled" not in o.received, "%s: %r", name, o.received)
        check_nothing_complete(o, name)
    failures(one)


def test_framing_error_after_the_answer_began_resets(t):
    o = t.origin()

    def answer_first(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.wait_end()
    o.on("/first", answer_first)
    s = t.sentinel(o)
    with Client(s.port) as c:
        c.send(HEAD % b"/first" + b"4\r\nabcd\r\n")
        head = c.head()
        check_eq(head.status, 200)
        c.send(BROKEN["no hexadecimal size"])
        try:
            for _ in c.pieces(head):
                pass
            raise AssertionError("the body is complete")
        except (PeerClosed, PeerReset, EOFError):
            pass
    o.wait_ends()


def test_client_that_ends_inside_a_body_is_400_and_the_origin_sees_no_end(t):
    for rest in (b"", b"5\r\nhel", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"):
        o = t.origin()
        s = t.sentinel(o)
        with Client(s.port) as c:
            c.send(HEAD % b"/echo" + rest)
            c.half_close()
            check_eq(c.response().status, 400, "%r" % rest)
            c.end()
        check_nothing_complete(o, "%r" % rest)


def test_client_that_ends_inside_a_counted_body_is_400(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        c.half_close()
        check_eq(c.response().status, 400)
    check_nothing_complete(o, "cut body")
    check_eq(s.metric("upstream_failures_total"), 0, "the client's fault counted against the target")
