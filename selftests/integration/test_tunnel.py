# SPDX-License-Identifier: GPL-2.0-only
# test_tunnel.py - upgrades: refused without permission, raw bytes both ways, ended side by side.
from lib import Client, check, check_eq, wait_for
from lib.case import scale
from lib.origin import pattern

UPGRADE = (b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


def tunnel_open(s, path=b"/upgrade", more=b"", **keys):
    c = Client(s.port, **keys)
    c.send(UPGRADE % path + more)
    r = c.head()
    check_eq(r.status, 101)
    check_eq(r.get("upgrade"), "websocket")
    check_eq((r.get("connection") or "").lower(), "upgrade")
    return c


def exactly(c, count):
    data = bytearray(c.reader.buffer)
    c.reader.buffer.clear()
    while len(data) < count:
        piece = c.recv()
        check(piece, "ended after %d of %d bytes", len(data), count)
        data += piece
    return bytes(data)


def echoes(c, data):
    c.send(data)
    check_eq(exactly(c, len(data)), data)


def test_upgrade_without_permission_is_403_and_nothing_reaches_the_origin(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        r = c.send(UPGRADE % b"/upgrade").response()
        check_eq(r.status, 403)
        check(b"WebSocket not enabled" in r.body, "%r", r.body)
    check_eq(o.received, b"")


def test_upgrade_becomes_a_raw_tunnel(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    c = tunnel_open(s)
    for data in (b"hello", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), b"\r\n\r\n"):
        echoes(c, data)
    check_eq(o.requests[0].get("upgrade"), "websocket")
    check_eq(o.requests[0].get("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==")
    check_eq(s.metric("tunnels_active"), 1)
    c.half_close()
    check_eq(c.check_closed(), "fin")
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel is counted as open")
    check(s.metric("tunnel_bytes_total") > 500)


def test_large_messages_pass_with_backpressure(t):
    import threading
    s = t.sentinel(t.origin(), route="websocket #true")
    c = tunnel_open(s)
    data = pattern(8 << 20)
    sender = threading.Thread(target=lambda: c.send(data), daemon=True)
    sender.start()
    check_eq(exactly(c, len(data)) == data, True)
    sender.join(5)


def test_bytes_sent_before_the_101_reach_the_origin_only_after_it(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    c = tunnel_open(s, more=b"too early")
    check_eq(exactly(c, 9), b"too early")
    check(o.requests[0].body == b"")


def test_request_behind_a_refused_upgrade_is_a_request(t):
    o = t.origin()
    s = t.sentinel(o, routes='route "ws" { matches { path-prefix "/upgrade"; }; upstream "o"; websocket #true; }\n'
                             'route "secret" { matches { path-prefix "/secret"; }; builtin-handler "not-found"; }')
    o.on("/upgrade/no", lambda connection, request: connection.answer(200, b"no upgrade"))
    with Client(s.port) as c:
        c.send(UPGRADE % b"/upgrade/no" + b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n")
        check_eq(c.response().body, b"no upgrade")
        check_eq(c.response().status, 404)
    check(b"secret" not in o.received, "pipelined bytes passed the routes")


def test_fin_of_the_client_is_forwarded_and_the_other_way_stays_open(t):
    o = t.origin()

    def serve(connection, request):
        connection.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        got = b""
        while True:
            piece = connection.reader.some()
            if not piece:
                break
            got += piece
        connection.send(b"got " + got)
        connection.shutdown()
    o.on("/half", serve)
    s = t.sentinel(o, route="websocket #true")
    c = tunnel_open(s, b"/half")
    c.send(b"question")
    c.half_close()
    check_eq(c.end(), ("fin", b"got question"))


def test_fin_of_the_origin_is_forwarded_and_the_other_way_stays_open(t):
    o = t.origin()
    got = []

    def serve(connection, request):
        connection.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbye")
        connection.shutdown()
        while True:
            piece = connection.reader.some()
            if not piece:
                break
            got.append(piece)
    o.on("/half", serve)
    s = t.sentinel(o, route="websocket #true")
    c = tunnel_open(s, b"/half")
    check_eq(c.end(), ("fin", b"bye"))
    c.send(b"still here")
    c.half_close()
    wait_for(lambda: b"".join(got) == b"still here", "the bytes after the origin's end")
    o.wait_ends()


def test_origin_that_ends_together_with_its_101_harms_nobody(t):
    o = t.origin()

    def slam(connection, request):
        connection.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbye")
        connection.close()
    o.on("/slam", slam)
    s = t.sentinel(o, route="websocket #true")
    for _ in range(20):
        with Client(s.port) as c:
            c.send(UPGRADE % b"/slam")
            check_eq(c.head().status, 101)
            check_eq(exactly(c, 3), b"bye")
            c.half_close()
            c.check_closed()
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel is counted as open")


def test_idle_tunnel_is_ended(t):
    o = t.origin()
    limit = 1 + int(scale())
    s = t.sentinel(o, route='websocket #true\npolicies { tunnel-idle-timeout-secs %d; }' % limit)
    c = tunnel_open(s)
    for _ in range(6):  # bytes keep it alive
        echoes(c, b"x")
        s.sleep_ticks(0.25 * limit)
    c.end()
    o.wait_ends()


def test_reset_of_one_side_ends_the_other(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    c = tunnel_open(s)
    echoes(c, b"x")
    c.reset()
    o.wait_ends()
    c = tunnel_open(s)
    echoes(c, b"x")
    o.connections[-1].reset()
    c.end()
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel is counted as open")


def test_route_timeout_does_not_end_a_tunnel(t):
    s = t.sentinel(t.origin(), route='websocket #true\npolicies { timeout-secs "300ms"; }')
    c = tunnel_open(s)
    for _ in range(6):
        echoes(c, b"alive")
        s.sleep_ticks(0.1)


def test_tunnel_is_logged_when_it_ends(t):
    s = t.sentinel(t.origin(), route="websocket #true")
    c = tunnel_open(s)
    echoes(c, b"x")
    c.half_close()
    c.end()
    check("101" in s.access_lines(1)[0], "%s", s.access_lines(1)[0])
