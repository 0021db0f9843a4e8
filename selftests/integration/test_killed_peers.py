# SPDX-License-Identifier: GPL-2.0-only
# test_killed_peers.py - client and origin die at every step of an exchange; nothing may remain.
from lib import Client, check_eq, fetch, wait_for


# How far an exchange goes before somebody dies: (name, bytes that the client sends, path that the origin serves)
STEPS = [
    ("after the connect", b""),
    ("inside the head", b"GET /never HTTP/1.1\r\nHo"),
    ("waiting for the answer", b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("inside the body", b"POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000),
    ("inside a chunk", b"POST /never HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nabc"),
    ("between chunks", b"POST /never HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ("inside trailers", b"POST /never HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: "),
    ("before 100-continue", b"POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
    ("inside the answer's head", b"GET /slow-head HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("inside the answer's body", b"GET /slow-body HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("in a large answer", b"GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("with a pipeline behind", b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n" * 50),
    ("after an early answer", b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000),
    ("in a tunnel", b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("in a tunnel with bytes", b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
     + b"y" * 100000),
]


def steps_proxy(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true", upstream="connection-pool { max-idle 0; }", limits='max-body-size "10MB"')
    check_eq(fetch(s.port, "/bytes/1", fields=[("Connection", "close")]).status, 200)
    for c in list(o.connections):
        c.reset()
    o.wait_ends()
    base = s.baseline()
    return o, s, base


def reach(o, s, data):
    """Sends, and waits until the exchange is where it should be."""
    count = len(o.requests)
    before = s.metric("accepted_connections_total")
    c = Client(s.port, rcvbuf=8192)
    c.send(data)
    if b"\r\n\r\n" in data and b"Expect" not in data:
        o.wait_requests(count + 1)
    else:
        wait_for(lambda: s.metric("accepted_connections_total") > before, "the connection to be accepted")
    if b"/slow-body" in data or b"/early" in data or b"/upgrade" in data or b"/bytes/3" in data:
        c.reader.until(b"\r\n\r\n")
    return c


def forget_origins(o):
    for connection in list(o.connections):
        connection.reset()


def test_client_resets_at_every_step(t):
    o, s, base = steps_proxy(t)
    for name, data in STEPS:
        for _ in range(3):
            reach(o, s, data).reset()
    forget_origins(o)
    s.wait_gauges(base)
    check_eq(fetch(s.port, "/bytes/7").status, 200)


def test_client_closes_at_every_step(t):
    o, s, base = steps_proxy(t)
    for name, data in STEPS:
        for _ in range(2):
            reach(o, s, data).close()
    forget_origins(o)
    s.wait_gauges(base)
    check_eq(fetch(s.port, "/bytes/7").status, 200)


def test_origin_resets_at_every_step(t):
    o, s, base = steps_proxy(t)
    for name, data in STEPS:
        c = reach(o, s, data)
        forget_origins(o)
        c.close()
    s.wait_gauges(base)
    check_eq(fetch(s.port, "/bytes/7").status, 200)


def test_origin_closes_at_every_step_and_the_client_is_told(t):
    o, s, base = steps_proxy(t)
    for name, data in STEPS:
        if b"/never" not in data or b"chunked" in data or b"100000" in data or b"Expect" in data or b"\r\n\r\n" not in data:
            continue
        c = reach(o, s, data)
        forget_origins(o)
        check_eq(c.response().status, 502, name)
        c.close()
    s.wait_gauges(base)


def test_both_die_together(t):
    o, s, base = steps_proxy(t)
    for name, data in STEPS:
        c = reach(o, s, data)
        for connection in list(o.connections):
            connection.reset()
        c.reset()
    s.wait_gauges(base)
    check_eq(fetch(s.port, "/bytes/7").status, 200)


def test_origin_that_is_gone_and_comes_back(t):
    port = t.port()  # of the test's own range: nobody else gets it meanwhile
    o = t.origin(port=port)
    s = t.sentinel(o)
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    o.close()
    wait_for(lambda: fetch(s.port, "/bytes/1").status in (502, 503), "the failure")
    from lib import Origin
    second = Origin(port=port)
    t.closers.append(second.close)
    wait_for(lambda: fetch(s.port, "/bytes/1").status == 200, "the origin's return")
