# SPDX-License-Identifier: GPL-2.0-only
# test_http1_basics.py - HTTP/1.1 as a client and an origin see it: keep-alive, pipelines, methods, framing.
import json

from lib import Client, PeerReset, check, check_eq, check_in, fetch, parse_requests, wait_for
from lib.case import scale


def test_request_reaches_the_origin_and_the_answer_the_client(t):
    o = t.origin()
    s = t.sentinel(o)
    r = fetch(s.port, "/echo", "POST", body=b"hello")
    check_eq((r.status, r.body), (200, b"hello"))
    check_eq(len(o.requests), 1)
    check_eq(o.requests[0].version, "HTTP/1.1")


def test_connections_are_kept_on_both_sides(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        for i in range(20):
            r = c.get("/headers?n=%d" % i)
            check_eq(r.status, 200)
            check_eq(json.loads(r.body)["target"], "/headers?n=%d" % i)
    check_eq(len(o.connections), 1, "connections to the origin")


def test_connection_close_of_the_client_is_obeyed(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.get("/", ("Connection", "close"))
        check_in("close", (r.get("connection") or "").lower())
        check_eq(c.check_closed(), "fin")


def test_pipelined_burst_is_answered_in_order(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        count = 200
        c.send(b"".join(b"GET /headers?n=%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(count)))
        for i in range(count):
            check_eq(json.loads(c.response().body)["target"], "/headers?n=%d" % i)
        check(c.is_quiet(), "more than the answers came")


def test_pipelined_bodies_are_told_apart(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        burst = b""
        for i in range(30):
            body = b"GET /smuggled HTTP/1.1\r\n\r\n%d" % i
            if i % 2:
                burst += b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            else:
                burst += (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
                          % (len(body), body))
        c.send(burst)
        for i in range(30):
            check_eq(c.response().body, b"GET /smuggled HTTP/1.1\r\n\r\n%d" % i)
    check(all(r.target == "/echo" for r in o.requests), "a body became a request")


def test_request_in_single_bytes_is_understood(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        c.send_slowly(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n", 1)
        check_eq(c.response().body, b"abcde")


def test_head_gets_no_body_and_the_connection_goes_on(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.request("HEAD", "/bytes/1000")
        check_eq((r.status, r.body, r.get("content-length")), (200, b"", "1000"))
        r = c.request("HEAD", "/chunked")
        check_eq((r.status, r.body), (200, b""))
        check_eq(c.get("/bytes/10").body[:4], r"".join(map(chr, c.get("/bytes/10").body[:4])).encode("latin-1"))
        check(c.is_quiet(), "bytes after the answers")


def test_204_and_304_have_no_body(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        for status in (204, 304, 204):
            check_eq(c.get("/status/%d" % status).status, status)
        check_eq(c.get("/bytes/3").status, 200)


def test_http10_client_gets_a_close_and_no_chunks(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.get("/chunked", version="HTTP/1.0")
        check_eq(r.body, b"hello world")
        check_eq(r.framing, "close")
        check(not r.has("transfer-encoding"), "chunks for HTTP/1.0")
    with Client(s.port) as c:
        r = c.get("/bytes/5", version="HTTP/1.0")
        check_eq(len(r.body), 5)
        check_eq(c.check_closed(), "fin")


def test_http10_client_may_keep_the_connection(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        for _ in range(3):
            r = c.get("/bytes/5", ("Connection", "keep-alive"), version="HTTP/1.0")
            check_in("keep-alive", (r.get("connection") or "").lower())


def test_http10_request_without_host_is_served(t):
    s = t.sentinel(t.origin())
    check_eq(fetch(s.port, "/bytes/5", version="HTTP/1.0", host=None).status, 200)


def test_http11_request_without_host_is_refused(t):
    o = t.origin()
    s = t.sentinel(o)
    check_eq(fetch(s.port, "/", host=None).status, 400)
    check_eq(o.received, b"")


def test_absolute_form_reaches_the_origin_as_a_path(t):
    o = t.origin()
    s = t.sentinel(o)
    r = fetch(s.port, "http://abs.example:81/headers?x=1", host="abs.example:81")
    seen = json.loads(r.body)
    check_eq(seen["target"], "/headers?x=1")
    check_eq([v for n, v in seen["fields"] if n.lower() == "host"], ["abs.example:81"])


def test_options_asterisk_is_forwarded_as_such(t):
    o = t.origin()
    s = t.sentinel(o, routes='route "all" {\npriority "low"\nupstream "o"\n}')
    check_eq(fetch(s.port, "*", "OPTIONS").status, 200)
    check_eq((o.requests[0].method, o.requests[0].target), ("OPTIONS", "*"))


def test_asterisk_with_another_method_is_malformed(t):
    o = t.origin()
    s = t.sentinel(o)
    check_eq(fetch(s.port, "*", "GET").status, 400)
    check_eq(o.received, b"")


def test_connect_is_refused_by_default(t):
    o = t.origin()
    s = t.sentinel(o, routes='route "all" {\npriority "low"\nupstream "o"\n}')
    with Client(s.port) as c:
        r = c.request("CONNECT", "db.example:5432", host="db.example:5432")
        check_eq(r.status, 405)
        check(r.has("allow"), "405 without Allow")
    check_eq(o.received, b"")


def test_connect_passes_where_a_route_allows_it(t):
    o = t.origin()

    def accept(connection, request):
        from lib.origin import tunnel
        connection.send("HTTP/1.1 200 Connected\r\n\r\n")
        tunnel(connection)
    o.on("db.example:5432", accept)
    s = t.sentinel(o, routes='route "all" {\npriority "low"\nupstream "o"\nallow-connect #true\n}')
    with Client(s.port) as c:
        r = c.request("CONNECT", "db.example:5432", host="db.example:5432")
        check_eq(r.status, 200)
        c.send(b"\x00\x01 raw bytes \r\n\r\n")
        got = b""
        while len(got) < 16:
            got += c.recv()
        check_eq(got, b"\x00\x01 raw bytes \r\n\r\n")
        c.half_close()
        check_eq(c.check_closed(), "fin")


def test_unknown_method_is_501_and_in_the_log(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        check_eq(c.request("BREW", "/pot").status, 501)
        c.check_closed()
    check_eq(o.received, b"")
    check_in("BREW", "\n".join(s.access_lines(1)) + s.stderr())


def test_known_methods_pass(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "REPORT"):
            check_eq(json.loads(c.request(method, "/headers").body)["method"], method)


def test_lower_case_method_is_refused(t):
    o = t.origin()
    s = t.sentinel(o)
    check_in(fetch(s.port, "/", "get").status, (400, 501))
    check_eq(o.received, b"")


def test_unsupported_version_is_505(t):
    o = t.origin()
    s = t.sentinel(o)
    for line in (b"GET / HTTP/2.0", b"GET / HTTP/1.2", b"PRI * HTTP/2.0"):
        with Client(s.port) as c:
            check_in(c.send(line + b"\r\nHost: a\r\n\r\n").response().status, (400, 505))
            c.check_closed()
    check_eq(o.received, b"")


def test_expect_100_continue_is_answered_before_the_body(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        check_eq(c.interim().status, 100)
        c.send(b"hello")
        check_eq(c.response().body, b"hello")
    check(not o.requests[0].has("expect"), "Expect went to the origin")


def test_body_that_does_not_wait_for_100_gets_none(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
        r = c.response()
        check_eq((r.status, r.body), (200, b"hello"))


def test_other_expectation_is_417(t):
    o = t.origin()
    s = t.sentinel(o)
    check_eq(fetch(s.port, "/", "POST", [("Expect", "the-unexpected")], b"x").status, 417)
    check_eq(o.received, b"")


def test_chunked_request_reaches_the_origin_with_trailers(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        c.send(b"POST /headers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n"
               b"5\r\nhello\r\n0\r\nX-Check: yes\r\n\r\n")
        seen = json.loads(c.response().body)
    check_eq((seen["framing"], seen["body"]), ("chunked", "hello"))
    check_in(["X-Check", "yes"], seen["trailers"])


def test_fields_that_are_ours_do_not_pass_as_trailers(t):
    """Some origins join trailers with the head: there a client could name any address as its own."""
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        c.send("POST /headers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "1\r\nx\r\n0\r\nX-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=a\r\n"
               "X-Sum: 1\r\n\r\n")
        check_eq(json.loads(c.response().body)["trailers"], [["X-Sum", "1"]])


def test_chunked_answer_reaches_the_client_with_trailers(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.get("/chunked", ("TE", "trailers"))
        check_eq((r.framing, r.body), ("chunked", b"hello world"))
        check_in(("X-Sum", "11"), r.trailers)
        check_eq(c.get("/bytes/1").status, 200)


def test_answer_until_close_becomes_chunks_and_the_connection_stays(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.get("/until-close")
        check_eq((r.framing, r.body), ("chunked", b"until the end"))
        check_eq(c.get("/bytes/1").status, 200)


def test_early_hints_pass_to_http11_and_not_to_http10(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.get("/early-hints")
        check_eq(([i.status for i in r.interim], r.body), ([103], b"after hints"))
        check_eq(r.interim[0].get("link"), "</a.css>; rel=preload")
    r = fetch(s.port, "/early-hints", version="HTTP/1.0")
    check_eq((r.interim, r.body), ([], b"after hints"))


def test_empty_lines_before_a_request_are_tolerated_or_refused_cleanly(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        r = c.send(b"\r\nGET /headers HTTP/1.1\r\nHost: a\r\n\r\n").response()
        check_in(r.status, (200, 400))  # RFC 9112 2.2: SHOULD ignore at least one
    if o.received:
        check_eq(len(parse_requests(o.received)), 1)


def test_keepalive_max_requests_closes(t):
    s = t.sentinel(t.origin(), listener="keepalive-max-requests 3")
    with Client(s.port) as c:
        answers = [c.get("/bytes/1") for _ in range(3)]
        check(all("close" not in (r.get("connection") or "") for r in answers[:2]))
        check_in("close", (answers[2].get("connection") or "").lower())
        c.check_closed()


def test_keepalive_timeout_closes_idle_connections(t):
    s = t.sentinel(t.origin(), listener='keepalive-timeout-secs "200ms"')
    with Client(s.port) as c:
        check_eq(c.get("/bytes/1").status, 200)
        check_eq(c.check_closed(), "fin")
    wait_for(lambda: s.metric("open_connections") == 0, "the connection is counted as open")


def test_answer_before_the_body_stops_the_request_and_is_delivered(t):
    for path in ("/early", "/early-close"):
        o = t.origin()
        s = t.sentinel(o, limits='max-body-size "100MB"')
        with Client(s.port) as c:
            c.send("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" % path)
            c.send(b"x" * 1000)
            r = c.response()
            check_eq((r.status, r.body), (413, b"early"), path)
            try:
                for _ in range(500):
                    c.send(b"x" * 100000)
                raise AssertionError("%s: 50 MB that nobody wants were taken" % path)
            except PeerReset:
                pass
        o.wait_ends()
        check(o.received_count < 8 << 20, "the origin got %d bytes", o.received_count)


def test_curl_gets_along(t):
    import shutil
    import subprocess
    from lib import Skip
    if not shutil.which("curl"):
        raise Skip("no curl")
    s = t.sentinel(t.origin())
    done = subprocess.run(["curl", "-sS", "-T", "-", "-H", "Expect: 100-continue", "http://127.0.0.1:%d/echo" % s.port],
                          input=b"z" * 100000, stdout=subprocess.PIPE, check=True, timeout=20 * scale())
    check_eq(len(done.stdout), 100000)
