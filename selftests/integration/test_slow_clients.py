# SPDX-License-Identifier: GPL-2.0-only
# test_slow_clients.py - clients that dawdle, stall or close one side.
import time

from lib import Client, PeerReset, check, check_eq, check_in, wait_for
from lib.case import scale


def test_slow_head_is_408(t):
    o = t.origin()
    s = t.sentinel(o, listener='head-timeout-secs "300ms"')
    with Client(s.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: ")
        check_eq(c.response().status, 408)
        c.check_closed()
    check_eq(o.received, b"")
    check_in("408", s.access_lines(1)[0])


def test_head_in_drops_is_bounded_as_a_whole(t):
    s = t.sentinel(t.origin(), listener='head-timeout-secs "400ms"')
    with Client(s.port) as c:
        began = time.monotonic()
        try:
            for _ in range(200):
                c.send(b"G")
                time.sleep(0.02)
        except PeerReset:
            pass
        check(time.monotonic() - began < 3.5 * scale(), "a byte now and then prolongs the deadline")


def test_connection_without_a_byte_is_closed_after_the_head_timeout(t):
    s = t.sentinel(t.origin(), listener='head-timeout-secs "300ms"')
    with Client(s.port, timeout=5) as c:
        how, _ = c.end()
        check_eq(how, "fin")


def test_slow_body_is_408_and_the_origin_connection_ends(t):
    o = t.origin()
    s = t.sentinel(o, listener='body-idle-timeout-secs "300ms"')
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        check_eq(c.response().status, 408)
        c.check_closed()
    o.wait_ends()
    check_eq(s.metric("upstream_failures_total"), 0, "the client's fault counted against the target")


def test_steady_slow_body_is_served(t):
    s = t.sentinel(t.origin(), listener='body-idle-timeout-secs "400ms"')
    with Client(s.port) as c:
        c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
        c.send_slowly(b"x" * 20, 2, 0.08)
        check_eq(c.response().body, b"x" * 20)


def test_client_that_stalls_after_an_early_answer_is_closed(t):
    s = t.sentinel(t.origin(), listener='body-idle-timeout-secs "300ms"', limits='max-body-size "100MB"')
    with Client(s.port, timeout=5) as c:
        c.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhalf")
        check_eq(c.response().status, 413)
        c.check_closed()


def test_reader_that_takes_nothing_is_ended_after_the_write_timeout(t):
    o = t.origin()
    s = t.sentinel(o, listener='write-idle-timeout-secs "400ms"')
    base = s.baseline()
    c = Client(s.port, rcvbuf=4096)
    c.send(b"GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: o.requests, "the request at the origin")
    o.wait_ends()
    s.wait_gauges(base, ignore=("descriptors",))
    check_eq(c.end()[0], "rst")
    c.close()


def test_half_closed_client_gets_its_answer(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        c.half_close()
        o.wait_requests(1)
        check(c.is_quiet(), "the answer did not wait for the origin")
        o.gate.set()
        check_eq(c.response().body, b"at last")
        check_eq(c.check_closed(), "fin")


def test_half_closed_pipeline_is_answered_whole(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        c.send(b"GET /bytes/4 HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        c.half_close()
        for _ in range(20):
            check_eq(len(c.response().body), 4)
        check_eq(c.check_closed(), "fin")


def test_client_that_ends_inside_a_head_is_closed(t):
    o = t.origin()
    s = t.sentinel(o)
    with Client(s.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHo")
        c.half_close()
        check_eq(c.response().status, 400)
        c.check_closed()
    check_eq(o.received, b"")


def test_client_that_resets_while_it_waits_is_logged_as_499_and_frees_the_origin(t):
    o = t.origin()
    s = t.sentinel(o)
    base = s.baseline()
    c = Client(s.port)
    c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(1)
    c.reset()
    o.wait_ends()
    check_in("499", s.access_lines(1)[0])
    s.wait_gauges(base, ignore=("descriptors",))
    check_eq(s.metric("upstream_failures_total"), 0, "the client's fault counted against the target")
