# SPDX-License-Identifier: GPL-2.0-only
# test_tls_hostile.py - handshakes that are slow, broken, cut, or no TLS at all; nothing of them may remain.
import os
import ssl
import threading
import time

from lib import Client, check, check_eq, check_in, wait_for
from lib.case import scale
from lib.client import OPEN, PeerReset
from lib.tls import TlsClient, alert_of, context, hello_bytes, tls_fetch, tls_proxy


def failures(s, reason):
    return s.metric("handshake_failures_total", listener="main", reason=reason)


def wait_failures(s, reason, count, seconds=5):
    wait_for(lambda: failures(s, reason) >= count,
             lambda: "%d failures `%s`; there are %s" % (count, reason, [
                 x for x in s.metrics().samples if x[0] == "sentinel_handshake_failures_total"]), seconds)
    check_eq(failures(s, reason), count, reason)


def test_http_on_a_tls_port(t):
    s, _ = tls_proxy(t)
    for text in (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"POST /x HTTP/1.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with Client(s.port) as c:
            how, data = c.send(text).end()
            check(b"HTTP/1" not in data or data.startswith(b"HTTP/1.1 400 "), "%r", data)
    wait_failures(s, "not_tls", 3)
    check_eq(s.origins[0].requests, [])
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)


def test_tls_on_an_http_port(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        how, data = c.send(hello_bytes()).end()
        check(data.startswith(b"HTTP/1.1 400 "), "%r", data)
    check_eq(s.origins[0].received, b"")


def test_garbage_gets_an_alert_and_an_end(t):
    s, _ = tls_proxy(t)
    hello = hello_bytes()
    broken = bytearray(hello)
    broken[5 + 4 + 2 + 32] = 200  # length of the session id
    cases = [os.urandom(500) for _ in range(20)]
    cases += [b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff" + bytes(100), b"\x17\x03\x03\x00\x10" + bytes(16),
              b"\x15\x03\x01\x00\x02\x02\x28", b"\x80\x2e\x01\x03\x01" + bytes(60), bytes(broken),
              b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x16\x03\x01\x00\x04\x01\xff\xff\xff" + b"\x16\x03\x01\x40\x00" + bytes(16384),
              b"\x16\x03\x03\x00\x04\x14\x00\x00\x00", hello[:5] + bytes(len(hello) - 5), b"\x14\x03\x03\x00\x01\x01"]
    for data in cases:
        with Client(s.port, timeout=8) as c:
            try:
                c.send(data)
                c.half_close()
            except (PeerReset, OSError):
                pass
            how, got = c.end()
            check(not got or alert_of(got), "answer %r to %r", got, data[:40])
    with Client(s.port) as c:  # the alert says what is wrong
        check_eq(alert_of(c.send(broken).end()[1]), (2, 50))
    check_eq(s.origins[0].requests, [])
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)


def test_broken_bytes_after_the_handshake(t):
    s, ca = tls_proxy(t)
    for version in ("1.2", "1.3"):
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x17\x03\x03\x00\x20" + os.urandom(32), b"\x16\x03\x03\x00\x20" + os.urandom(32),
                     b"\x17\x03\x03\xff\xff" + bytes(100)):
            c = TlsClient(s.port, context(ca, version=version))
            check_eq(c.get("/bytes/5").status, 200)
            descriptor = os.dup(c.socket.fileno())
            os.write(descriptor, junk)
            os.close(descriptor)
            try:
                data = c.recv()
                check(not data, "%r", data)
            except OSError:
                pass
            except PeerReset:
                pass
            c.close()
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)


def test_half_a_hello_and_silence_end_at_the_deadline(t):
    s, _ = tls_proxy(t, listener="handshake-timeout-secs 1")
    hello = hello_bytes()
    began = time.monotonic()
    clients = [Client(s.port).send(hello[:count]) for count in (1, 5, 6, 100, len(hello) - 1, len(hello))]
    silent = Client(s.port)
    for c in clients + [silent]:
        c.end()
        check(0.8 < time.monotonic() - began < 4 * scale(), "ended after %.1f s", time.monotonic() - began)
    wait_for(lambda: failures(s, "timeout") >= len(clients), "the count of time-outs")
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)


def test_a_trickle_ends_at_the_same_deadline(t):
    s, _ = tls_proxy(t, listener="handshake-timeout-secs 1")
    c = Client(s.port)
    began = time.monotonic()
    try:
        while time.monotonic() - began < 10:
            for byte in hello_bytes()[:-1]:
                c.send(bytes([byte]))
                time.sleep(0.02)
    except PeerReset:
        pass
    check(time.monotonic() - began < 4 * scale(), "ended after %.1f s", time.monotonic() - began)


def test_a_hello_byte_by_byte_is_served(t):
    s, ca = tls_proxy(t, listener="handshake-timeout-secs 60")
    tls = context(ca, alpn=["http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(incoming, outgoing, server_hostname="a.example")
    c = Client(s.port)
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            c.send_slowly(outgoing.read(), 1, 0.0005)
            incoming.write(c.recv())
    session.write(b"GET /bytes/7 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    c.send_slowly(outgoing.read(), 1, 0.0005)
    got = b""
    while b"\r\n\r\n" not in got:
        incoming.write(c.recv())
        try:
            got += session.read(65536)
        except ssl.SSLWantReadError:
            pass
    check_in(b"HTTP/1.1 200", got)


def test_only_so_many_handshakes_at_once(t):
    s, ca = tls_proxy(t, listener="max-handshakes 3\nhandshake-timeout-secs %d" % (4 * scale()))
    hello = hello_bytes()
    stuck = [Client(s.port).send(hello[:-1]) for _ in range(3)]
    wait_for(lambda: s.metric("open_connections") == 3, "the connections")
    waiting = Client(s.port).send(hello)
    check(waiting.is_quiet(0.5), "a fourth handshake began")
    stuck.pop().close()
    check_eq(waiting.recv()[:1], b"\x16")  # its turn has come
    waiting.close()
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)  # the others wait at most for the deadline
    for c in stuck:
        c.close()
    # Whoever has sent nothing takes nobody's turn.
    idle = [Client(s.port) for _ in range(10)]
    check_eq(tls_fetch(s.port, "/bytes/1", context(ca)).status, 200)
    for c in idle:
        c.close()


STEPS = [0, 1, 5, 6, 60, 200, -1, None]  # bytes of the ClientHello; None: all, then the answer


def test_clients_killed_in_the_handshake_leave_nothing(t):
    s, ca = tls_proxy(t)
    check_eq(tls_fetch(s.port, "/bytes/1", fields=[("Connection", "close")]).status, 200)
    for connection in list(s.origins[0].connections):
        connection.reset()
    base = s.baseline()
    hello = hello_bytes()
    for count in STEPS:
        for how in ("reset", "close", "half_close"):
            for _ in range(3):
                c = Client(s.port)
                c.send(hello if count is None else hello[:count])
                if count is None:
                    check_eq(c.recv()[:1], b"\x16")
                if how == "half_close":
                    c.half_close()
                    c.end()
                    c.close()
                else:
                    getattr(c, how)()
    s.wait_gauges(base)
    for version in ("1.2", "1.3"):  # and killed right after it
        for _ in range(5):
            c = TlsClient(s.port, context(ca, version=version))
            c.send(b"GET /never HTTP/1.1\r\nHost: a.exam")
            c.reset()
    s.wait_gauges(base)
    check_eq(tls_fetch(s.port, "/bytes/1").status, 200)


def test_a_storm_of_handshakes_leaves_nothing(t):
    s, ca = tls_proxy(t, workers=2)
    check_eq(tls_fetch(s.port, "/bytes/1", fields=[("Connection", "close")]).status, 200)
    base = s.baseline()
    base["sessions"] += 8  # idle connections to the origin
    base["ops_inflight"] += 24
    base["descriptors"] += 8
    tls = context(ca, version="1.3")
    errors = []

    def storm(number):
        for i in range(40):
            try:
                if (i + number) % 4 == 0:
                    Client(s.port).send(os.urandom(100)).reset()
                elif (i + number) % 4 == 1:
                    Client(s.port).send(hello_bytes()).close()
                else:
                    check_eq(tls_fetch(s.port, "/bytes/10", tls, fields=[("Connection", "close")]).status, 200)
            except Exception as error:
                errors.append("%s: %s" % (type(error).__name__, error))
    threads = [threading.Thread(target=storm, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_eq(errors, [])
    for c in OPEN:
        c.close()
    s.wait_gauges(base)

