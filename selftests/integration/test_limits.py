# SPDX-License-Identifier: GPL-2.0-only
# test_limits.py - sizes that a client may not exceed: 413, 414, 431, never 500.
from lib import Client, PeerReset, check, check_eq, check_in, fetch


def status_of(port, data, timeout=5):
    with Client(port, timeout=timeout) as c:
        try:
            c.send(data)
        except PeerReset:
            pass
        r = c.response()
        c.end()
        return r.status


def test_request_line_above_the_limit_is_414(t):
    o = t.origin()
    s = t.sentinel(o)
    check_eq(status_of(s.port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"), 414)
    check_eq(o.received, b"")
    check_eq(fetch(s.port, "/" + "a" * 8000).status, 200)


def test_head_above_the_limit_is_431(t):
    o = t.origin()
    s = t.sentinel(o)
    check_eq(status_of(s.port, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000 + b"\r\n\r\n"), 431)
    check_eq(o.received, b"")
    check_eq(fetch(s.port, "/", fields=[("X", "a" * 15000)]).status, 200)


def test_endless_head_is_refused_before_it_ends(t):
    s = t.sentinel(t.origin())
    check_eq(status_of(s.port, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100000), 431)
    check_eq(status_of(s.port, b"GET /" + b"a" * 500000), 414)


def test_too_many_fields_are_431(t):
    o = t.origin()
    s = t.sentinel(o)
    fields = [("X-%d" % i, "y") for i in range(99)]
    check_eq(fetch(s.port, "/", fields=fields).status, 200)
    o.clear()
    check_eq(fetch(s.port, "/", fields=fields + [("X-99", "y")]).status, 431)
    check_eq(o.received, b"")


def test_limits_can_be_set(t):
    s = t.sentinel(t.origin(), limits="max-header-size 2048\nmax-request-line-size 512\nmax-header-count 5")
    check_eq(fetch(s.port, "/" + "a" * 600).status, 414)
    check_eq(fetch(s.port, "/", fields=[("X", "a" * 2100)]).status, 431)
    check_eq(fetch(s.port, "/", fields=[("X-%d" % i, "y") for i in range(5)]).status, 431)
    check_eq(fetch(s.port, "/" + "a" * 400, fields=[("X", "a" * 1000)]).status, 200)


def test_body_above_the_limit_is_413_before_it_comes(t):
    o = t.origin()
    s = t.sentinel(o, limits="max-body-size 1000")
    check_eq(fetch(s.port, "/echo", "POST", body=b"x" * 1000).status, 200)
    o.clear()
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        check_eq(c.response().status, 413)
    check_eq(o.received, b"")


def test_body_with_expectation_above_the_limit_gets_no_100(t):
    s = t.sentinel(t.origin(), limits="max-body-size 1000")
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        check_eq(c.interim().status, 413)


def test_chunked_body_above_the_limit_is_413_and_the_origin_sees_no_end(t):
    o = t.origin()
    s = t.sentinel(o, limits="max-body-size 1000")
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.send(b"1f4\r\n" + b"x" * 500 + b"\r\n")
        c.send(b"258\r\n" + b"y" * 600 + b"\r\n0\r\n\r\n")
        check_eq(c.response().status, 413)
    o.wait_ends()
    check(b"\r\n0\r\n" not in o.received, "a final chunk reached the origin")


def test_route_has_its_own_body_limit(t):
    o = t.origin()
    s = t.sentinel(o, limits="max-body-size 10", routes='''
        route "big" {
            matches { path-prefix "/echo"; }
            upstream "o"
            policies { max-body-size 5000; }
        }
        route "rest" {
            matches { path-prefix "/"; }
            upstream "o"
        }''')
    check_eq(fetch(s.port, "/echo", "POST", body=b"x" * 5000).status, 200)
    check_eq(fetch(s.port, "/other", "POST", body=b"x" * 11).status, 413)


def test_max_connections_refuses_and_recovers(t):
    s = t.sentinel(t.origin(), system="max-connections 5")
    clients = [Client(s.port) for _ in range(5)]
    for c in clients:
        check_eq(c.get("/bytes/1").status, 200)
    refused = 0
    for _ in range(3):
        try:
            with Client(s.port, timeout=3) as extra:
                extra.get("/bytes/1")
        except Exception:
            refused += 1
    check_eq(refused, 3, "connections beyond max-connections")
    for c in clients:
        check_eq(c.get("/bytes/1").status, 200)
        c.close()
    from lib import wait_for
    wait_for(lambda: s.metric("open_connections") == 0, "connections are counted as open")
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_in(s.metric("refused_connections_total"), (3.0,))
