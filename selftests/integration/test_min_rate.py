# SPDX-License-Identifier: GPL-2.0-only
# test_min_rate.py - clients that are too slow are cut after grace and window; slow origins and long uploads are not.
import threading
import time

from lib import Client, PeerReset, check, check_eq, wait_for
from lib.client import PeerClosed

LONG = ("test_slow_clients_are_cut_and_others_are_not", "test_no_rate_no_limit")

# A quarter of the bytes that 240 a second would be, or four times as many; often enough for every idle limit.
SLOW, FAST, PAUSE = 30, 480, 0.5


def upload(s, piece, seconds, path="/echo"):
    """(status or None, seconds) of an upload that sends `piece` bytes each PAUSE."""
    c = Client(s.port, timeout=90)
    begin = time.monotonic()
    c.send("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path, int(seconds / PAUSE) * piece))
    try:
        for _ in range(int(seconds / PAUSE)):
            c.send(b"x" * piece)
            if not c.is_quiet(PAUSE):
                break
        return c.response().status, time.monotonic() - begin
    except (PeerReset, PeerClosed):
        return None, time.monotonic() - begin


def head(s, piece, seconds):
    c = Client(s.port, timeout=90)
    begin = time.monotonic()
    text = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%03d: %s\r\n" % (i, b"y" * 20) for i in range(90)) + b"\r\n"
    try:
        for at in range(0, int(seconds / PAUSE) * piece, piece):
            c.send(text[at:at + piece])
            if not c.is_quiet(PAUSE):
                break
        return c.response().status, time.monotonic() - begin
    except (PeerReset, PeerClosed):
        return None, time.monotonic() - begin


def download(s, piece, seconds):
    """Takes `piece` bytes each PAUSE; the socket holds little.  The connection, which nobody closes yet."""
    c = Client(s.port, rcvbuf=2048, timeout=90)
    c.send("GET /bytes/30000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        try:
            check(c.socket.recv(piece), "the response ended")
        except OSError:
            break
        time.sleep(PAUSE)
    return c


def test_slow_clients_are_cut_and_others_are_not(t):
    o = t.origin()
    found = {}
    s = t.sentinel(o, listener="head-timeout-secs 300\nbody-idle-timeout-secs 300\nwrite-idle-timeout-secs 300")

    o.on("/late", lambda connection, request: (time.sleep(44), connection.answer(body=b"x")))

    def waits_for_the_origin():
        """The client sent all that there is: nobody waits for it."""
        c = Client(s.port, timeout=90)
        c.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        begin = time.monotonic()
        return c.response().status, time.monotonic() - begin

    cases = {
        "slow body": lambda: upload(s, SLOW, 48),
        "fast body": lambda: upload(s, FAST, 44),
        "slow head": lambda: head(s, SLOW, 44),
        "slow origin": waits_for_the_origin,
        "slow reader": lambda: download(s, 1, 46),
        "fast reader": lambda: download(s, 100000, 46),
    }
    threads = [threading.Thread(target=lambda name=name, run=run: found.update({name: run()}))
               for name, run in cases.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status, spent = found["slow body"]
    check(status == 408 and 38 < spent < 50, "slow body: %r", found["slow body"])
    status, spent = found["slow head"]
    check(status == 408 and 38 < spent < 50, "slow head: %r", found["slow head"])
    check_eq(found["fast body"][0], 200)
    check_eq(found["slow origin"][0], 200)
    # Of the two that still read only the slow one was given up.  The others may have ended just now.
    wait_for(lambda: s.metric("active_requests") == 1, lambda: "%d requests are open" % s.metric("active_requests"))
    m = s.metrics()
    for reason in ("client_timeout", "head_timeout", "client_reset"):
        check_eq(m.sum("client_errors_total", reason=reason), 1, reason)


def test_no_rate_no_limit(t):
    s = t.sentinel(t.origin(), limits="min-rate 0", listener="body-idle-timeout-secs 300")
    check_eq(upload(s, SLOW, 45)[0], 200)
