# SPDX-License-Identifier: GPL-2.0-only
# test_header_fuzz.py - two thousand mutated heads: the proxy lives, answers well, and passes on strict requests only.
import os
import random
import socket

from lib import Client, Malformed, PeerClosed, PeerReset, check, check_eq, fetch, iter_requests

COUNT = 2000
SEEDS = [
    b"GET /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nX-Long: aaaaaaaaaaaaaaaa\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\nCookie: a=b; c=d\r\nExpect: 100-continue\r\n\r\n",
    b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
]
PIECES = [b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b"\r\n\r\n", b"\r\n ", b"%2e%2e/", b"../", b"\xff", b"\x7f",
          b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"chunked", b",", b";", b"0\r\n\r\n",
          b"Connection: close\r\n", b"HTTP/1.0", b"-1", b"99999999999999999999", b"A" * 300, b"#", b"\\", b"\xe2\x82\xac"]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 2:
            data[at:at] = rng.choice(PIECES)
        elif kind == 3:
            del data[at:at + rng.randrange(1, 8)]
        elif kind == 4:
            end = min(len(data), at + rng.randrange(1, 40))
            data[at:at] = data[at:end]
        else:
            other = rng.choice(SEEDS)
            data[at:] = other[rng.randrange(len(other)):]
    return bytes(data)


def ask(port, data):
    """Sends, half-closes, and reads strictly to the end."""
    with Client(port, timeout=5) as c:
        try:
            c.send(data)
            c.socket.shutdown(socket.SHUT_WR)
        except (PeerReset, OSError):
            pass
        count = 0
        while True:
            try:
                head = c.head("GET")
                if head.status == 101:
                    c.end()
                    return
                for _ in c.pieces(head):
                    pass
                count += 1
            except (PeerClosed, PeerReset, EOFError):
                check(not c.reader.buffer, "a cut answer: %r", bytes(c.reader.buffer[:100]))
                return


def test_mutated_heads_harm_nobody(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    base = s.baseline()
    seed = int(os.environ.get("SENTINEL_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    rng = random.Random(seed)
    for i in range(COUNT):
        data = mutate(rng, rng.choice(SEEDS))
        before = len(o.connections)
        try:
            ask(s.port, data)
        except Exception as error:
            raise AssertionError("seed %d, number %d, %r: %s: %s" % (seed, i, data, type(error).__name__, error)) from error
        check(s.process.poll() is None, "seed %d, number %d, %r: the proxy died", seed, i, data)
        for connection in o.connections[max(0, before - 1):]:
            check(not isinstance(connection.error, Malformed), "seed %d, number %d, %r: at the origin: %s", seed, i, data,
                  connection.error)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    for connection in o.connections:
        try:
            for request in iter_requests(connection.received):
                check(request.has("x-request-id"), "seed %d: a request that we did not write: %r", seed, request.head)
                if request.has("upgrade"):
                    break  # what follows are bytes of a tunnel
        except EOFError:
            pass  # the client ended inside a body
    for connection in o.connections:
        connection.reset()
    s.wait_gauges(base)
