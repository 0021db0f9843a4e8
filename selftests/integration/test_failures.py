# SPDX-License-Identifier: GPL-2.0-only
# test_failures.py - every row of failures.def: what provokes it, what the client gets, the log and the metrics of it.
import json
import os
import re
import signal
import socket
import struct
import threading

from lib import Client, PeerClosed, PeerReset, check, check_eq, fetch, wait_for

ROW = re.compile(r'^FAILURE\((\w+), (\d+), (\w+), "(\w+)"', re.M)
PROVOKED = re.compile(r'\bfails\(s, "(\w+)"')
DECLARATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../userspace/proxy/failures.def")
ELSEWHERE = {
    "misdirected", "too_early",  # test_tls_sni.py, test_tls_sessions.py
    "status",  # no failure of a request: test_a_status_that_is_retried_is_a_failure_of_the_attempt
    "response_malformed",  # no filter of ours does that: selftests/unit/proxy/test_exchange.c
    "geo_blocked", "banned",  # test_geo.py, test_guard_budgets.py
    "overload", "route_connections", "memory", "namespace_requests",  # test_client_limits.py, test_namespaces.py
    "rate_limited", "limit_store",  # test_rate_limit.py, test_shared_limits.py
}


def rows():
    """{label: status}"""
    with open(DECLARATIONS, encoding="utf-8") as file:
        found = ROW.findall(file.read())
    check(len(found) > 15, "failures.def was not understood: %d rows", len(found))
    return {label: int(status) for _, status, _, label in found}


def fails(s, label, family="blocked_requests_total", status=None, number=1, attempts=None):
    """The last line of the log, of `number`, and one more in the metric of this failure."""
    line = json.loads(s.access_lines(number)[-1])
    check_eq((line.get("failure"), line["status"]), (label, status or rows()[label]))
    if attempts is not None:
        check_eq(line["upstream_attempts"], attempts, label)
    check_eq(s.metric(family, reason=label), 1, "%s in %s" % (label, family))
    for other in ("blocked_requests_total", "client_errors_total", "upstream_failures_total"):
        check(other == family or s.metric(other, reason=label) == 0 or label == "pool_full", "%s in %s", label, other)
    return line


def status_of(s, *words, **keys):
    return fetch(s.port, *words, **keys).status


def breaks(client):
    """The answer that began does not end as if it were whole."""
    try:
        client.response()
    except (PeerClosed, PeerReset):
        return
    raise AssertionError("the answer is complete")


def test_every_row_is_provoked_in_this_file(t):
    with open(os.path.abspath(__file__), encoding="utf-8") as file:
        provoked = set(PROVOKED.findall(file.read()))
    check_eq(provoked | ELSEWHERE, set(rows()))
    check_eq(provoked & ELSEWHERE, set())


# ---- the client's doing

def test_client_that_resets(t):
    o = t.origin()
    s = t.sentinel(o)
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    c.reset()
    fails(s, "client_reset", "client_errors_total", attempts=1)


def test_body_that_stops(t):
    s = t.sentinel(t.origin(), listener='body-idle-timeout-secs "200ms"')
    c = Client(s.port)
    c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    check_eq(c.response().status, 408)
    fails(s, "client_timeout", "client_errors_total")


def test_body_that_is_no_http(t):
    s = t.sentinel(t.origin())
    c = Client(s.port)
    c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
    check_eq(c.response().status, 400)
    fails(s, "client_malformed", "client_errors_total")


def test_trailers_that_are_too_large(t):
    s = t.sentinel(t.origin())
    c = Client(s.port)
    c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 20000 + b"\r\n\r\n")
    check_eq(c.response().status, 431)
    fails(s, "headers_too_large")


# ---- what we refuse

def test_path_that_cannot_be_decoded(t):
    s = t.sentinel(t.origin())
    check_eq(status_of(s, "/%zz"), 400)
    fails(s, "bad_path", attempts=0)


def test_body_above_the_maximum(t):
    s = t.sentinel(t.origin(), limits="max-body-size 10")
    check_eq(status_of(s, "/echo", "POST", body=b"x" * 11), 413)
    fails(s, "body_too_large", attempts=0)


def test_request_without_a_route(t):
    s = t.sentinel(t.origin(), routes='route "r" { matches { path-prefix "/only"; }; upstream "o"; }')
    check_eq(status_of(s, "/other"), 404)
    fails(s, "no_route", attempts=0)


def test_upgrade_that_the_route_does_not_allow(t):
    s = t.sentinel(t.origin())
    check_eq(status_of(s, "/", fields=[("Connection", "upgrade"), ("Upgrade", "websocket")]), 403)
    fails(s, "websocket_not_enabled", attempts=0)


def test_connect_that_no_route_allows(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        check_eq(c.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").response().status, 405)
    fails(s, "connect_not_allowed", attempts=0)


def test_upstream_whose_targets_all_have_weight_zero(t):
    s = t.sentinel(upstreams='upstream "o" { target "127.0.0.1:%d" weight=0; }' % t.origin().port, route='upstream "o"',
                   routes='route "all" { matches { path-prefix "/"; }; upstream "o"; }')
    check_eq(status_of(s, "/"), 503)
    fails(s, "no_target", attempts=0)


def test_request_that_waits_too_long_for_a_connection(t):
    o = t.origin()
    s = t.sentinel(o, upstream='connection-pool { max-connections 1; }\ntimeouts { connect "300ms"; }')
    busy = Client(s.port)
    busy.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    check_eq(status_of(s, "/bytes/1"), 503)
    fails(s, "pool_full", attempts=1)
    check_eq((s.metric("upstream_attempts_total"), s.metric("upstream_failures_total", reason="pool_full")), (2, 1))
    o.gate.set()
    check_eq(busy.response().status, 200)


def test_request_that_takes_too_long_as_a_whole(t):
    s = t.sentinel(t.origin(), route='policies { timeout-secs "300ms"; }')
    check_eq(status_of(s, "/never"), 504)
    fails(s, "total_timeout", attempts=1)


def test_request_that_is_in_progress_when_the_daemon_stops_at_once(t):
    o = t.origin()
    s = t.sentinel(o, system="graceful-shutdown-timeout-secs 1")
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    seen = []
    reader = threading.Thread(target=lambda: seen.append(c.end()), daemon=True)
    reader.start()
    s.signal(signal.SIGTERM)
    check_eq(s.wait_exit(), 0)
    reader.join(10)
    check(seen and (not seen[0][1] or seen[0][1].startswith(b"HTTP/1.1 503 ")), "%r", seen)
    s.metric = lambda family, **labels: family == "blocked_requests_total"  # the daemon is gone: the log has it
    fails(s, "shutdown", attempts=1)


# ---- the origin's doing

def test_origin_that_refuses(t):
    s = t.sentinel("127.0.0.1:%d" % t.port())
    check_eq(status_of(s, "/"), 503)
    fails(s, "connect_failed", "upstream_failures_total", attempts=1)


def test_origin_that_lets_a_connect_hang(t):
    o = t.origin(backlog=0, is_accepting=False)
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", o.port))
    s = t.sentinel(o, upstream='timeouts { connect "300ms"; }')
    check_eq(status_of(s, "/"), 504)
    fails(s, "connect_timeout", "upstream_failures_total", attempts=1)


def test_origin_that_closes_a_kept_connection_under_a_post(t):
    o = t.origin()

    def once(connection, request):
        if len(connection.requests) == 1:
            connection.answer(body=connection.read_body(request))
        else:
            connection.read_body(request)
            connection.close()
    o.on("/once", once)
    s = t.sentinel(o)
    with Client(s.port) as c:
        check_eq(c.request("POST", "/once", body=b"first").status, 200)
        check_eq(c.request("POST", "/once", body=b"second").status, 502)
    line = fails(s, "stale_connection", "upstream_failures_total", number=2, attempts=1)
    check(line["connection_reused"])


def test_origin_that_resets(t):
    s = t.sentinel(t.origin())
    check_eq(status_of(s, "/reset"), 502)
    fails(s, "reset", "upstream_failures_total", attempts=1)


def test_origin_that_closes_without_an_answer(t):
    s = t.sentinel(t.origin())
    check_eq(status_of(s, "/nothing"), 502)
    fails(s, "closed_early", "upstream_failures_total", attempts=1)


def test_origin_that_speaks_something_else(t):
    s = t.sentinel(t.origin())
    check_eq(status_of(s, "/garbage"), 502)
    fails(s, "bad_response", "upstream_failures_total", attempts=1)


def test_a_status_that_is_retried_is_a_failure_of_the_attempt(t):
    o = t.origin()
    o.on("/busy", lambda c, r: c.answer(503, b"busy") if len(o.requests) == 1 else c.answer(200, b"idle"))
    s = t.sentinel(o, route="retry-policy { max-attempts 2; backoff-base-ms 1; retryable-status-codes 503; }")
    check_eq(status_of(s, "/busy"), 200)
    line = json.loads(s.access_lines(1)[0])
    check_eq((line["status"], line["upstream_attempts"], line.get("failure")), (200, 2, None))
    check_eq(s.metric("upstream_failures_total", reason="status"), 1)
    check_eq((s.metric("upstream_attempts_total"), s.metric("upstream_failures_total")), (2, 1))


def test_origin_that_does_not_answer(t):
    s = t.sentinel(t.origin(), upstream='timeouts { request "300ms"; }')
    check_eq(status_of(s, "/never"), 504)
    fails(s, "first_byte_timeout", "upstream_failures_total", attempts=1)


def test_origin_that_stops_inside_its_body(t):
    s = t.sentinel(t.origin(), upstream='timeouts { read "300ms"; }')
    with Client(s.port) as c:
        breaks(c.send(b"GET /slow-body HTTP/1.1\r\nHost: a\r\n\r\n"))
    # the client has the head of the answer
    fails(s, "read_timeout", "upstream_failures_total", status=200, attempts=1)


def test_origin_that_reads_nothing(t):
    o = t.origin(rcvbuf=4096)
    o.on("/deaf", lambda connection, request: connection.origin.gate.wait(20))
    s = t.sentinel(o, upstream='timeouts { write "400ms"; }', limits='max-body-size "1GB"')
    with Client(s.port) as c:
        c.send(b"POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")

        def push():
            try:
                for _ in range(1000):
                    c.send(b"x" * 100000)
            except (PeerReset, OSError):
                pass
        threading.Thread(target=push, daemon=True).start()
        check_eq(c.response().status, 504)
    fails(s, "write_timeout", "upstream_failures_total", attempts=1)


# ---- origins that speak HTTP/2 or TLS

def h2_frame(kind, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, 0, stream) + payload


def listen(t, serve):
    """Each connection in a thread of its own; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            try:
                peer = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    t.closers.append(lambda: (listener.shutdown(socket.SHUT_RDWR), listener.close()))
    return listener.getsockname()[1]


def h2_kinds(got):
    """Of the frames behind the client's preface."""
    at, kinds = 24, []
    while at + 9 <= len(got):
        kinds.append(got[at + 3])
        at += 9 + int.from_bytes(got[at:at + 3], "big")
    return kinds


def h2_origin_says(t, *frames):
    """Answers the first request of each connection with the frames; the port."""
    def serve(peer):
        peer.sendall(h2_frame(4, 0))  # SETTINGS
        got = b""
        while 1 not in h2_kinds(got):  # HEADERS
            data = peer.recv(65536)
            if not data:
                return
            got += data
        peer.sendall(b"".join(frames))
        while peer.recv(65536):
            pass
    return listen(t, serve)


def test_origin_that_refuses_a_stream(t):
    port = h2_origin_says(t, h2_frame(3, 1, struct.pack(">I", 7)))  # RST_STREAM(REFUSED_STREAM)
    s = t.sentinel("127.0.0.1:%d" % port, upstream="http-version { min-version 2; }")
    check_eq(status_of(s, "/"), 503)
    fails(s, "refused_stream", "upstream_failures_total", attempts=1)


def test_origin_that_goes_away_each_time(t):
    port = h2_origin_says(t, h2_frame(7, 0, struct.pack(">II", 0, 0)))  # GOAWAY: no stream was looked at
    s = t.sentinel("127.0.0.1:%d" % port, upstream="http-version { min-version 2; }")
    check_eq(status_of(s, "/"), 502)
    fails(s, "goaway", "upstream_failures_total", attempts=1)


def test_websocket_to_an_origin_without_extended_connect(t):
    port = h2_origin_says(t)
    s = t.sentinel("127.0.0.1:%d" % port, upstream="http-version { min-version 2; }", route="websocket #true")
    check_eq(status_of(s, "/", fields=[("Connection", "upgrade"), ("Upgrade", "websocket"),
                                       ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "x" * 22 + "==")]), 502)
    fails(s, "no_extended_connect", "upstream_failures_total", attempts=1)


def test_origin_that_does_not_speak_tls(t):
    def serve(peer):
        peer.recv(65536)
        peer.sendall(b"hello, this is no TLS\r\n")
        peer.recv(65536)
    s = t.sentinel("127.0.0.1:%d" % listen(t, serve), upstream="tls { insecure-skip-verify #true; }")
    check_eq(status_of(s, "/"), 502)
    line = fails(s, "tls_failed", "upstream_failures_total", attempts=1)
    check(line["failure_detail"].startswith("not_tls: "), line["failure_detail"])
    check_eq(s.metric("upstream_tls_failures_total", upstream="o", reason="not_tls"), 1)
    check("no handshake with 127.0.0.1" in s.stderr(), s.stderr())


def test_origin_that_is_silent_in_the_tls_handshake(t):
    o = t.origin(is_accepting=False)
    s = t.sentinel(o, upstream='tls { insecure-skip-verify #true; }\ntimeouts { connect "300ms"; }')
    check_eq(status_of(s, "/"), 504)
    fails(s, "tls_timeout", "upstream_failures_total", attempts=1)
    check_eq(s.metric("upstream_tls_failures_total", reason="timeout"), 1)


# ---- what is counted

def test_log_and_metric_agree_on_attempts(t):
    o, dead = t.origin(), t.port()
    o.on("/twice", lambda c, r: c.answer(body=b"first") if c.requests == [r] else c.close())
    s = t.sentinel("127.0.0.1:%d" % dead, o, route="retry-policy { max-attempts 2; backoff-base-ms 1; }")
    with Client(s.port) as c:
        for _ in range(8):  # half of them meet the dead target first; every second kept connection is stale
            check_eq(c.get("/twice").status, 200)
    logged = [json.loads(line)["upstream_attempts"] for line in s.access_lines(8)]
    check_eq(sum(logged), s.metric("upstream_attempts_total"))
    check_eq(max(logged), 2)
    check_eq(sum(n - 1 for n in logged), s.metric("upstream_retries_total"))
    check_eq(s.metric("upstream_failures_total"), s.metric("upstream_failures_total", reason="connect_failed"))


def test_addresses_of_one_name_are_one_attempt(t):
    o = t.origin()  # on 127.0.0.1; nobody serves ::1
    s = t.sentinel("localhost:%d" % o.port)
    statuses = []

    def resolves():
        statuses.append(fetch(s.port, "/bytes/1", fields=[("Connection", "close")]).status)
        return statuses[-1] == 200
    wait_for(resolves, "localhost resolves")
    before, count = s.metric("upstream_attempts_total"), len(statuses)
    for _ in range(6):
        o.clear()
        check_eq(status_of(s, "/until-close"), 200)
    lines = s.access_lines(count + 6)[count:]
    check_eq([json.loads(line)["upstream_attempts"] for line in lines], [1] * 6)
    check_eq(s.metric("upstream_attempts_total") - before, 6)
