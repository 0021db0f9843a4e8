# SPDX-License-Identifier: GPL-2.0-only
# test_headers.py - what an origin is told about the client, what never crosses, and ids.
import json
import re

from lib import Client, check, check_eq, check_in, fetch


def seen_by_origin(port, *fields, **more):
    r = fetch(port, "/headers", fields=fields, **more)
    check_eq(r.status, 200)
    pairs = json.loads(r.body)["fields"]
    seen = {}
    for name, value in pairs:
        seen.setdefault(name.lower(), []).append(value)
    return seen, r


def test_origin_is_told_who_asks(t):
    s = t.sentinel(t.origin())
    seen, r = seen_by_origin(s.port, host="shop.example:8080")
    check_eq(seen["x-forwarded-for"], ["127.0.0.1"])
    check_eq(seen["x-real-ip"], ["127.0.0.1"])
    check_eq(seen["x-forwarded-proto"], ["http"])
    check_eq(seen["x-forwarded-host"], ["shop.example:8080"])
    check_eq(seen["host"], ["shop.example:8080"])
    check_eq(seen["x-request-id"], [r.get("x-correlation-id")])


def test_what_a_stranger_says_of_himself_is_replaced(t):
    s = t.sentinel(t.origin())
    seen, _ = seen_by_origin(s.port, ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7"),
                             ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil"), ("X-Real-IP", "6.6.6.6"),
                             ("Forwarded", "for=6.6.6.6"), ("X-Forwarded-Port", "443"), ("X-Internal-Token", "t"),
                             ("Authorization-Internal", "t"))
    check_eq(seen["x-forwarded-for"], ["127.0.0.1"])
    check_eq(seen["x-real-ip"], ["127.0.0.1"])
    check_eq(seen["x-forwarded-proto"], ["http"])
    check_eq(seen["x-forwarded-host"], ["test.example"])
    for name in ("forwarded", "x-forwarded-port", "x-internal-token", "authorization-internal"):
        check(name not in seen, "%s reached the origin", name)


def test_trusted_proxy_is_believed_up_to_the_first_stranger(t):
    s = t.sentinel(t.origin(), system='trusted-proxies "127.0.0.0/8" "10.0.0.0/8"')
    seen, _ = seen_by_origin(s.port, ("X-Forwarded-For", "1.1.1.1, 9.9.9.9, 10.1.1.1"), ("X-Forwarded-Proto", "https"))
    check_eq(seen["x-real-ip"], ["9.9.9.9"])
    check_eq(seen["x-forwarded-for"], ["1.1.1.1, 9.9.9.9, 10.1.1.1, 127.0.0.1"])
    check_eq(seen["x-forwarded-proto"], ["https"])
    check_in('"9.9.9.9', s.access_lines(1)[0])


def test_listener_has_its_own_trusted_proxies(t):
    s = t.sentinel(t.origin(), system='trusted-proxies "127.0.0.0/8"', listener='trusted-proxies "192.0.2.0/24"')
    seen, _ = seen_by_origin(s.port, ("X-Forwarded-For", "9.9.9.9"))
    check_eq(seen["x-real-ip"], ["127.0.0.1"])


def test_hop_by_hop_fields_and_those_named_by_connection_stay_here(t):
    s = t.sentinel(t.origin())
    seen, _ = seen_by_origin(s.port, ("Connection", "keep-alive, X-Secret, x-other"), ("X-Secret", "1"), ("X-Other", "2"),
                             ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("TE", "trailers"),
                             ("Proxy-Authorization", "Basic x"), ("X-Kept", "yes"), ("Upgrade", "h2c"))
    for name in ("x-secret", "x-other", "keep-alive", "proxy-connection", "upgrade"):
        check(name not in seen, "%s reached the origin", name)
    check_eq(seen["x-kept"], ["yes"])


def test_connection_cannot_name_fields_away_that_we_set(t):
    s = t.sentinel(t.origin())
    seen, _ = seen_by_origin(s.port, ("Connection", "X-Forwarded-For, X-Real-IP, Host, Content-Length"))
    check_eq(seen["x-forwarded-for"], ["127.0.0.1"])
    check_eq(seen["x-real-ip"], ["127.0.0.1"])
    check_eq(seen["host"], ["test.example"])
    r = fetch(s.port, "/echo", "POST", [("Connection", "content-length")], b"hello")
    check_eq(r.body, b"hello")


def test_hop_by_hop_fields_of_an_answer_stay_here(t):
    o = t.origin()
    o.on("/hop", lambda connection, request: connection.answer(
        body=b"x", fields=[("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=9"), ("X-End", "2"),
                           ("Proxy-Connection", "close")]))
    s = t.sentinel(o)
    r = fetch(s.port, "/hop")
    for name in ("x-hop", "proxy-connection"):
        check(not r.has(name), "%s reached the client", name)
    check_eq(r.get("x-end"), "2")


def test_repeated_fields_keep_number_order_and_case(t):
    o = t.origin()
    o.on("/cookies", lambda connection, request: connection.answer(
        body=b"x", fields=[("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Set-Cookie", "c=3")]))
    s = t.sentinel(o)
    r = fetch(s.port, "/cookies", fields=[("X-Many", "1"), ("X-Many", "2"), ("x-many", "3")])
    check_eq(r.all("set-cookie"), ["a=1", "b=2", "c=3"])
    check_eq(o.requests[0].all("x-many"), ["1", "2", "3"])


def test_bytes_above_127_in_values_pass(t):
    o = t.origin()
    s = t.sentinel(o)
    seen, _ = seen_by_origin(s.port, ("X-Name", "caf\xe9"))
    check_eq(seen["x-name"], ["caf\xe9"])


def test_valid_id_of_a_client_is_kept(t):
    s = t.sentinel(t.origin())
    seen, r = seen_by_origin(s.port, ("X-Request-Id", "abc-123.X:y_z"))
    check_eq((seen["x-request-id"], r.get("x-correlation-id")), (["abc-123.X:y_z"], "abc-123.X:y_z"))
    seen, r = seen_by_origin(s.port, ("X-Request-Id", "second"), ("X-Trace-Id", "first"))
    check_eq(r.get("x-correlation-id"), "first")


def test_invalid_id_of_a_client_is_replaced(t):
    s = t.sentinel(t.origin())
    for bad in ('a"b', "a b", "{}", "<script>", "x" * 129, "", "caf\xe9", "a,b"):
        seen, r = seen_by_origin(s.port, ("X-Request-Id", bad))
        got = r.get("x-correlation-id")
        check(re.fullmatch(r"[1-9A-HJ-NP-Za-km-z]{11}", got or ""), "id for %r: %r", bad, got)
        check_eq(seen["x-request-id"], [got])


def test_ids_differ_and_can_be_uuids(t):
    s = t.sentinel(t.origin(), system='trace-id-format "uuid"')
    with Client(s.port) as c:
        ids = {c.get("/bytes/1").get("x-correlation-id") for _ in range(50)}
    check_eq(len(ids), 50)
    for one in ids:
        check(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one), "%s", one)


def test_traceparent_passes_if_it_is_valid(t):
    s = t.sentinel(t.origin())
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    seen, _ = seen_by_origin(s.port, ("traceparent", good), ("tracestate", "a=b"))
    check_eq((seen["traceparent"], seen["tracestate"]), ([good], ["a=b"]))
    for bad in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", good.upper(), good + "x", "garbage"):
        seen, _ = seen_by_origin(s.port, ("traceparent", bad), ("tracestate", "a=b"))
        check("traceparent" not in seen and "tracestate" not in seen, "%r reached the origin", bad)


def test_server_and_date_of_the_origin_pass(t):
    o = t.origin()
    o.on("/date", lambda connection, request: connection.answer(
        body=b"x", fields=[("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Server", "origin/1")]))
    s = t.sentinel(o)
    r = fetch(s.port, "/date")
    check_eq((r.all("date"), r.all("server")), (["Sun, 06 Nov 1994 08:49:37 GMT"], ["origin/1"]))
