# SPDX-License-Identifier: GPL-2.0-only
# test_ambiguous_responses.py - answers of an origin that two readers could read differently: 502, connection closed.
from lib import Client, Malformed, PeerClosed, PeerReset, check, check_eq
from lib.origin import pattern

BROKEN_HEADS = {
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "chunked not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding on http/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare lf": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "only lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare cr": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnocolon\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "http/2 version": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000,
    "head without end": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * (2 << 20),
    "field without end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100000,
}

BROKEN_CHUNKS = {
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "bare lf after the size": b"5\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": b"3\r\nhello\r\n0\r\n\r\n",
    "bare lf after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "bare lf at the end": b"5\r\nhello\r\n0\r\n\n",
    "folded trailer": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    "end inside": b"5\r\nhello\r\n",
}


def test_ambiguous_answers_are_502_and_the_origin_connection_ends(t):
    o = t.origin()
    s = t.sentinel(o)
    wrong = []
    for name, head in BROKEN_HEADS.items():
        def answer(connection, request, head=head):
            try:
                connection.send(head)
                connection.wait_end()
            except OSError:
                connection.end = "rst"
        o.clear()
        o.on("/broken", answer)
        try:
            with Client(s.port, timeout=4) as c:
                r = c.get("/broken")
                check_eq(r.status, 502)
                check_eq(c.get("/bytes/2").status, 200)
            check(o.requests[0].connection is not o.requests[-1].connection, "the connection was used again")
        except Exception as error:
            wrong.append("%s: %s: %s" % (name, type(error).__name__, str(error)[:300]))
    check(not wrong, "%d of %d:\n%s", len(wrong), len(BROKEN_HEADS), "\n".join(wrong))


def test_framing_error_in_an_answers_body_breaks_the_client_connection(t):
    o = t.origin()
    s = t.sentinel(o)
    wrong = []
    for name, body in BROKEN_CHUNKS.items():
        def answer(connection, request, body=body):
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            if name == "end inside":
                connection.close()
            else:
                connection.wait_end()
        o.on("/broken", answer)
        try:
            with Client(s.port, timeout=4) as c:
                try:
                    r = c.get("/broken")
                    check_eq(r.status, 502, "complete answer")
                except (PeerClosed, PeerReset, Malformed) as error:
                    check(not isinstance(error, Malformed), "malformed: %s", error)
        except Exception as error:
            wrong.append("%s: %s: %s" % (name, type(error).__name__, error))
    check(not wrong, "%d of %d:\n%s", len(wrong), len(BROKEN_CHUNKS), "\n".join(wrong))


def test_garbage_and_silence_are_502(t):
    s = t.sentinel(t.origin())
    for path in ("/garbage", "/nothing", "/reset"):
        with Client(s.port) as c:
            check_eq(c.request("POST", path, body=b"x").status, 502, path)
            check_eq(c.get("/bytes/2").status, 200, path)


def test_short_answer_breaks_the_client_connection(t):
    s = t.sentinel(t.origin())
    for path in ("/short", "/reset-body"):
        with Client(s.port) as c:
            try:
                c.get(path)
                raise AssertionError("%s: the answer is complete" % path)
            except (PeerClosed, PeerReset):
                pass


def test_bytes_behind_an_answer_reach_nobody(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        check_eq(c.get("/too-much").body, b"hello")
        for _ in range(5):
            check_eq(c.get("/bytes/7").body, pattern(7))
    check(o.requests[0].connection is not o.requests[1].connection, "the connection with a forged answer was used again")


def test_unknown_status_passes(t):
    o = t.origin()
    o.on("/odd", lambda connection, request: connection.answer(599, b"odd"))
    s = t.sentinel(o)
    with Client(s.port) as c:
        r = c.get("/odd")
        check_eq((r.status, r.body), (599, b"odd"))
