# SPDX-License-Identifier: GPL-2.0-only
# test_upstreams.py - targets, weights, retries by the table, pools and deadlines of the origin's side.
import socket
import threading
import time

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib.case import scale

RETRY = "retry-policy { max-attempts 3; backoff-base-ms 5; backoff-max-ms 20; budget-percent 100; }\n"


def test_weights_are_kept_smoothly(t):
    a, b = t.origin(), t.origin()
    s = t.sentinel(a, b, upstreams='upstream "o" {\ntarget "127.0.0.1:%d" weight=3\ntarget "127.0.0.1:%d"\n}' % (a.port, b.port))
    for _ in range(40):
        fetch(s.port, "/bytes/1")
    check_eq((len(a.requests), len(b.requests)), (30, 10))


def test_round_robin_alternates(t):
    origins = [t.origin() for _ in range(3)]
    s = t.sentinel(*origins)
    for _ in range(30):
        fetch(s.port, "/bytes/1")
    check_eq([len(o.requests) for o in origins], [10, 10, 10])


def test_weight_zero_takes_a_target_out(t):
    a, b = t.origin(), t.origin()
    s = t.sentinel(a, b, upstreams='upstream "o" {\ntarget "127.0.0.1:%d" weight=0\ntarget "127.0.0.1:%d"\n}' % (a.port, b.port))
    for _ in range(10):
        check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_eq((len(a.requests), len(b.requests)), (0, 10))


def test_least_connections_avoids_the_busy_target(t):
    a, b = t.origin(), t.origin()
    s = t.sentinel(a, b, upstream='load-balancing "least_connections"')
    busy = Client(s.port)
    busy.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: a.requests or b.requests, "the slow request")
    held, free = (a, b) if a.requests else (b, a)
    for _ in range(10):
        check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_eq((len(held.requests), len(free.requests)), (1, 10))
    held.gate.set()
    check_eq(busy.response().status, 200)


def test_random_of_two_uses_all(t):
    origins = [t.origin() for _ in range(3)]
    s = t.sentinel(*origins, upstream='load-balancing "p2c"')
    for _ in range(90):  # so few of them at one are less likely than a fault of the machine
        fetch(s.port, "/bytes/1")
    check(all(len(o.requests) >= 5 for o in origins), "%s", [len(o.requests) for o in origins])


def test_refused_connection_is_503_without_a_retry_policy(t):
    s = t.sentinel("127.0.0.1:%d" % t.port())
    check_eq(fetch(s.port, "/").status, 503)
    check_eq(s.metric("upstream_failures_total"), 1)


def test_refused_connection_is_tried_on_another_target_for_every_method(t):
    o = t.origin()
    s = t.sentinel("127.0.0.1:%d" % t.port(), o, route=RETRY)
    for method in ("GET", "POST", "PATCH", "DELETE"):
        for _ in range(2):
            r = fetch(s.port, "/echo", method, body=b"body")
            check_eq((r.status, r.body), (200, b"body"), method)
    check(s.metric("upstream_retries_total") >= 4)


def fails_once(o, how):
    """/flaky fails the first time by `how`, then answers."""
    count = [0]

    def flaky(connection, request):
        count[0] += 1
        if count[0] == 1:
            connection.read_body(request)
            how(connection)
        else:
            connection.answer(body=b"second " + connection.read_body(request))
    o.on("/flaky", flaky)
    return count


def test_reset_before_the_answer_is_retried_for_idempotent_methods_only(t):
    o = t.origin()
    s = t.sentinel(o, "[::ffff:127.0.0.1]:%d" % o.port, route=RETRY)
    for how in (lambda c: c.reset(), lambda c: c.close()):
        for method, wanted in (("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", 502), ("PATCH", 502)):
            count = fails_once(o, how)
            r = fetch(s.port, "/flaky", method, body=b"x")
            check_eq((r.status, count[0]), (wanted, 2 if wanted == 200 else 1), method)


def test_route_may_opt_in_to_retry_posts(t):
    o = t.origin()
    s = t.sentinel(o, "[::ffff:127.0.0.1]:%d" % o.port, route=RETRY.replace("budget", "retry-non-idempotent #true; budget"))
    count = fails_once(o, lambda c: c.reset())
    r = fetch(s.port, "/flaky", "POST", body=b"body")
    check_eq((r.status, r.body, count[0]), (200, b"second body", 2))


def test_statuses_are_retried_as_configured_and_the_last_answer_is_delivered(t):
    o = t.origin()
    s = t.sentinel(o, "[::ffff:127.0.0.1]:%d" % o.port, route=RETRY.replace("budget", "retryable-status-codes 503; budget"))
    count = fails_once(o, lambda c: c.answer(503, b"busy"))
    check_eq((fetch(s.port, "/flaky").status, count[0]), (200, 2))
    o.on("/busy", lambda c, r: c.answer(503, b"busy"))
    r = fetch(s.port, "/busy")
    check_eq((r.status, r.body), (503, b"busy"))
    check_eq(fetch(s.port, "/status/500").status, 500)
    check_eq(len([r for r in o.requests if r.target == "/status/500"]), 1)


def test_body_above_the_replay_buffer_is_sent_once_only(t):
    o = t.origin()
    s = t.sentinel(o, "[::ffff:127.0.0.1]:%d" % o.port, route=RETRY.replace("budget", "replay-buffer-size 1000; budget"))
    count = fails_once(o, lambda c: c.reset())
    check_eq((fetch(s.port, "/flaky", "PUT", body=b"x" * 900).status, count[0]), (200, 2))
    count = fails_once(o, lambda c: c.reset())
    check_eq((fetch(s.port, "/flaky", "PUT", body=b"x" * 5000).status, count[0]), (502, 1))


def test_retries_are_bounded_by_the_budget(t):
    s = t.sentinel("127.0.0.1:%d" % t.port(), "127.0.0.1:%d" % t.port(), "127.0.0.1:%d" % t.port(),
                   route=RETRY.replace("budget-percent 100", "budget-percent 20"))
    began = time.monotonic()
    with Client(s.port) as c:
        for _ in range(800):
            check_eq(c.get("/").status, 503)
    page, most = s.metrics(), 162 + 100 * ((time.monotonic() - began) // 10)  # in each ten seconds 100 are free
    check(page.sum("upstream_retries_total") <= most, "%d retries of 800 requests", page.sum("upstream_retries_total"))
    check(page.sum("retry_budget_exhausted_total") > 0)


def test_stale_idle_connection_costs_no_request(t):
    o = t.origin()
    s = t.sentinel(o)
    for i in range(20):
        check_eq(fetch(s.port, "/bytes/3").status, 200)
        for c in list(o.connections):  # the origin gives up its idle connections at any moment
            try:
                c.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
    check_eq(len([r for r in o.requests if r.target == "/bytes/3"]), 20)


def test_origin_that_closes_as_the_next_request_comes_is_asked_anew(t):
    o = t.origin()
    kept = []

    def close_on_second(connection, request):
        if connection not in kept:
            kept.append(connection)
            connection.answer(body=b"first")
            connection.reader.fill()  # the next request came: now it is too late for the client to know
            connection.reset()
        else:
            connection.answer(body=b"never")
    o.on("/race", close_on_second)
    s = t.sentinel(o)
    with Client(s.port) as c:
        for _ in range(10):
            r = c.get("/race")
            check_eq((r.status, r.body), (200, b"first"))


def test_max_requests_of_a_connection(t):
    o = t.origin()
    s = t.sentinel(o, upstream="connection-pool { max-requests 2; }")
    with Client(s.port) as c:
        for _ in range(6):
            check_eq(c.get("/bytes/1").status, 200)
    check_eq(len(o.connections), 3)


def test_idle_timeout_closes_connections_to_origins(t):
    o = t.origin()
    s = t.sentinel(o, upstream='connection-pool { idle-timeout "200ms"; }')
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    o.wait_ends()
    check_eq(o.connections[0].end, "fin")


def test_max_idle_zero_keeps_none(t):
    o = t.origin()
    s = t.sentinel(o, upstream="connection-pool { max-idle 0; }")
    with Client(s.port) as c:
        for _ in range(3):
            check_eq(c.get("/bytes/1").status, 200)
    check_eq(len(o.connections), 3)


def test_max_connections_of_a_target_makes_requests_wait_in_order(t):
    o = t.origin()
    s = t.sentinel(o, upstream='connection-pool { max-connections 2; }\ntimeouts { connect %d; }' % (8 * scale()))
    clients = [Client(s.port) for _ in range(6)]
    for i, c in enumerate(clients):
        c.send("GET /never?%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
        if i < 2:
            o.wait_requests(i + 1)
        else:
            wait_for(lambda: s.metric("exchanges") >= i + 1, "the request in the queue")
    check_eq((len(o.connections), len(o.requests)), (2, 2))
    o.gate.set()
    for c in clients:
        check_eq(c.response().status, 200)
        c.close()
    check_eq([r.target[-1] for r in o.requests[:2]], ["0", "1"])
    check_eq(sorted(r.target[-1] for r in o.requests), list("012345"))
    check_eq(len(o.connections), 2)


def test_waiting_for_a_connection_ends_with_503(t):
    o = t.origin()
    s = t.sentinel(o, upstream='connection-pool { max-connections 1; }\ntimeouts { connect "300ms"; }')
    busy = Client(s.port)
    busy.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    check_eq(fetch(s.port, "/bytes/1").status, 503)
    o.gate.set()
    check_eq(busy.response().status, 200)
    check_eq(fetch(s.port, "/bytes/1").status, 200)


def test_waiting_client_that_leaves_frees_its_place(t):
    o = t.origin()
    s = t.sentinel(o, upstream='connection-pool { max-connections 1; }')
    busy = Client(s.port)
    busy.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    waiting = Client(s.port)
    waiting.send(b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: s.metric("exchanges") >= 2, "the request in the queue")
    waiting.reset()
    wait_for(lambda: s.metric("exchanges") <= 1, "the exchange of the client that left")
    o.gate.set()
    check_eq(busy.response().status, 200)
    check_eq(fetch(s.port, "/bytes/2").status, 200)
    check_eq([r.target for r in o.requests], ["/never", "/bytes/2"])


def full_backlog(t):
    """A port where connecting hangs: nobody accepts and the queue is full."""
    o = t.origin(backlog=0, is_accepting=False)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", o.port))
        fillers.append(filler)
    t.closers.append(lambda: [f.close() for f in fillers])
    return o


def test_connect_timeout_is_504(t):
    o = full_backlog(t)
    s = t.sentinel(o, upstream='timeouts { connect "300ms"; }')
    began = time.monotonic()
    check_eq(fetch(s.port, "/").status, 504)
    check(time.monotonic() - began < 3 * scale())


def test_first_byte_timeout_is_504_and_ends_the_origin_connection(t):
    for path in ("/never", "/slow-head"):
        o = t.origin()
        s = t.sentinel(o, upstream='timeouts { request "300ms"; }')
        check_eq(fetch(s.port, path).status, 504, path)
        o.gate.set()
        o.wait_ends()


def test_read_timeout_inside_a_body_breaks_the_answer(t):
    from lib import PeerClosed, PeerReset
    o = t.origin()
    s = t.sentinel(o, upstream='timeouts { read "300ms"; }')
    with Client(s.port) as c:
        try:
            c.get("/slow-body")
            raise AssertionError("the answer is complete")
        except (PeerClosed, PeerReset):
            pass


def test_total_timeout_is_504_or_a_broken_answer(t):
    from lib import PeerClosed, PeerReset
    o = t.origin()
    s = t.sentinel(o, route='policies { timeout-secs "400ms"; }')
    check_eq(fetch(s.port, "/never").status, 504)
    with Client(s.port) as c:
        try:
            c.get("/slow-body")
            raise AssertionError("the answer is complete")
        except (PeerClosed, PeerReset):
            pass


def test_name_that_does_not_resolve_does_not_stop_the_start(t):
    o = t.origin()
    s = t.sentinel(o, upstreams='upstream "o" { target "127.0.0.1:%d"; }\n'
                   'upstream "lost" { target "no-such-host.invalid:80"; }' % o.port,
                   routes='route "l" { matches { path-prefix "/lost"; }; upstream "lost"; }\n'
                          'route "o" { matches { path-prefix "/"; }; upstream "o"; }')
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    check_eq(fetch(s.port, "/lost").status, 503)
    wait_for(lambda: s.metric("dns_failures_total") > 0, "the failure in the metrics", 10)


def test_name_is_resolved_in_the_background(t):
    o = t.origin()
    s = t.sentinel("localhost:%d" % o.port)
    wait_for(lambda: fetch(s.port, "/bytes/1").status == 200, "localhost did not resolve")


def test_unix_socket_target(t):
    path = t.path("origin.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    t.closers.append(listener.close)

    def serve():
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            c.recv(65536)
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix")
            c.close()
    threading.Thread(target=serve, daemon=True).start()
    s = t.sentinel("unix:" + path)
    for _ in range(3):
        check_eq(fetch(s.port, "/").body, b"unix")


def test_ipv6_on_both_sides(t):
    o = t.origin(family=socket.AF_INET6)
    s = t.sentinel("[::1]:%d" % o.port, start=False)
    s.write_config(listeners='listener "main" { address "[::]:%d"; }' % s.port)
    s.start()
    check_eq(fetch(s.port, "/bytes/5", connect="::1").status, 200)
    check_eq(fetch(s.port, "/bytes/5", connect="127.0.0.1").status, 200)
    check_eq([r.get("x-real-ip") for r in o.requests], ["::1", "127.0.0.1"])


def test_upstream_metrics_are_fed(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        for _ in range(5):
            c.get("/bytes/1")
        check_eq(s.metric("upstream_attempts_total", upstream="o", route="all"), 5)
        # of a moment after the last one: they are published now and then
        wait_for(lambda: s.metric("connection_pool_acquired_total", upstream="o") >= 4, "connections from the pool")
        check_in(s.metric("connection_pool_acquired_total", upstream="o"), (4, 5))
        wait_for(lambda: s.metric("connection_pool_size", upstream="o") == 1, "pool size")
        wait_for(lambda: s.metric("connection_pool_idle", upstream="o") == 1, "idle")
