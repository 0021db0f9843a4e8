# SPDX-License-Identifier: GPL-2.0-only
# test_bodies.py - large bodies stream with flat memory, and a slow side stops the fast one.
import hashlib
import os
import select
import threading
import time

from lib import Client, check, check_eq, fetch, wait_for
from lib.case import scale
from lib.origin import pattern

LONG = ("test_gigabyte_to_a_slow_reader_costs_no_memory_and_stops_the_origin",)
PIECE = pattern(65536)
GIGABYTE = 1 << 30


def send_pieces(connection, total, sent):
    """Pieces of the pattern; sent[0] tells how far it got."""
    while sent[0] < total:
        sent[0] += connection.socket.send(PIECE[sent[0] % 65536:][:total - sent[0]])


def digest_of(total):
    digest = hashlib.sha256()
    for _ in range(total // 65536):
        digest.update(PIECE)
    digest.update(PIECE[:total % 65536])
    return digest.hexdigest()


def queued(port, peer):
    """(not acknowledged, not read): bytes in the kernel, of the socket with that port that is connected to the peer's."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        for words in map(str.split, file):
            if words[1].endswith(":%04X" % port) and words[2].endswith(":%04X" % peer):
                return tuple(int(n, 16) for n in words[4].split(":"))
    raise AssertionError("no connection from port %d to %d" % (port, peer))


def taken_by_proxy(s, o, c, ahead, is_upload):
    """
    What the proxy took from the sender and the receiver's kernel does not have: in its memory, and given to the kernel
    to send.  `ahead`: bytes that one side sent and the other did not read.  What the proxy left in its receive buffer
    is not its doing: how large that grows the kernel decides, up to net.ipv4.tcp_rmem.
    """
    client, towards_origin = c.socket.getsockname()[1], o.requests[-1].connection.peer[1]
    ends = [(client, s.port), (o.port, towards_origin)]
    inside = [(s.port, client), (towards_origin, o.port)]
    sender, receiver = ends if is_upload else ends[::-1]
    return ahead - queued(*sender)[0] - queued(*inside[0 if is_upload else 1])[1] - queued(*receiver)[1]


def test_gigabyte_to_a_slow_reader_costs_no_memory_and_stops_the_origin(t):
    o = t.origin(sndbuf=65536)
    sent = [0]

    def big(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        send_pieces(connection, GIGABYTE, sent)
    o.on("/big", big)
    s = t.sentinel(o)
    for _ in range(5):
        fetch(s.port, "/bytes/100000")  # warm
    before = s.rss()
    with Client(s.port, rcvbuf=65536, timeout=60) as c:
        c.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.head()
        digest, taken, grown = hashlib.sha256(), 0, 0
        pieces = c.pieces(head)
        began = time.monotonic()
        seconds = float(os.environ.get("SENTINEL_TEST_HOLD", "20"))
        while time.monotonic() - began < seconds:  # 64 KiB a second
            piece = next(pieces)
            digest.update(piece)
            taken += len(piece)
            grown = max(grown, s.rss() - before)
            if taken > 65536 * (time.monotonic() - began):
                time.sleep(0.1)
        held = taken_by_proxy(s, o, c, sent[0] - taken - len(c.reader.buffer), False)
        check(held < 1 << 20, "the proxy is %d KiB ahead of the reader", held >> 10)
        check(grown < 2 << 20 or scale() > 1, "RSS grew by %d KiB", grown >> 10)
        for piece in pieces:
            digest.update(piece)
            taken += len(piece)
        check_eq(taken, GIGABYTE)
        check_eq(digest.hexdigest(), digest_of(GIGABYTE))
    grown = s.rss() - before
    check(grown < 2 << 20 or scale() > 1, "RSS grew by %d KiB", grown >> 10)


def test_gigabyte_upload_costs_no_memory_and_arrives_whole(t):
    o = t.origin()
    result = {}

    def take(connection, request):
        digest, count = hashlib.sha256(), 0
        for piece in connection.body_pieces(request):
            digest.update(piece)
            count += len(piece)
        result["digest"], result["count"] = digest.hexdigest(), count
        connection.answer(body=b"taken")
    o.on("/take", take)
    s = t.sentinel(o, limits='max-body-size "2GB"')
    for _ in range(5):
        fetch(s.port, "/echo", "POST", body=b"x" * 100000)
    before, grown = s.rss(), 0
    with Client(s.port, timeout=60) as c:
        c.send("POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        for i in range(GIGABYTE // 65536):
            c.send(PIECE)
            if i % 500 == 0:
                grown = max(grown, s.rss() - before)
        check_eq(c.response().body, b"taken")
    check_eq((result["count"], result["digest"]), (GIGABYTE, digest_of(GIGABYTE)))
    check(grown < 2 << 20 or scale() > 1, "RSS grew by %d KiB", grown >> 10)


def test_slow_origin_stops_the_fast_uploader(t):
    o = t.origin(rcvbuf=16384)
    o.on("/deaf", lambda connection, request: (connection.origin.gate.wait(30 * scale()), connection.answer(
        body=b"%d" % len(connection.read_body(request)))))
    s = t.sentinel(o, limits='max-body-size "200MB"', upstream="timeouts { write 25; }")
    total = 100 << 20
    with Client(s.port, timeout=30, sndbuf=65536) as c:
        c.send("POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
        sent, quiet_since = 0, time.monotonic()
        c.socket.setblocking(False)
        while time.monotonic() - quiet_since < 0.7 * scale():  # until nothing was taken for so long
            _, writable, _ = select.select([], [c.socket], [], 0.1)
            if writable:
                sent += c.socket.send(PIECE[:min(65536, total - sent)])
                quiet_since = time.monotonic()
        held = taken_by_proxy(s, o, c, sent, True)
        check(held < 1 << 20, "%d KiB were taken for an origin that reads nothing", held >> 10)
        o.gate.set()
        c.set_timeout(30)
        while sent < total:
            sent += c.socket.send(PIECE[:min(65536, total - sent)])
        check_eq(c.response().body, b"%d" % total)


def test_bodies_of_many_sizes_arrive_whole_both_ways(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        for size in (0, 1, 2, 1023, 1024, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 131072, 999999):
            data = pattern(size)
            for framing in ("length", "chunked"):
                if framing == "length":
                    r = c.request("POST", "/echo", body=data)
                else:
                    c.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for at in range(0, size, 5000):
                        piece = data[at:at + 5000]
                        c.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                    r = c.send(b"0\r\n\r\n").response()
                check_eq((r.status, r.body == data), (200, True), "%d bytes by %s" % (size, framing))


def test_tiny_windows_work(t):
    o = t.origin(rcvbuf=2304)
    s = t.sentinel(o)
    data = pattern(300000)
    with Client(s.port, rcvbuf=2304, sndbuf=4608, timeout=30) as c:
        threading.Thread(target=lambda: c.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data) + data), daemon=True).start()
        check_eq(c.response().body == data, True)


def test_many_slow_downloads_share_the_worker(t):
    o = t.origin()
    s = t.sentinel(o)
    clients = [Client(s.port, rcvbuf=8192) for _ in range(50)]
    for c in clients:
        c.send(b"GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    o.wait_requests(50, 10)
    check_eq(fetch(s.port, "/bytes/10", timeout=5).status, 200)
    for c in clients:
        r = c.response()
        check_eq((len(r.body), r.body == pattern(3000000)), (3000000, True))
        c.close()
    wait_for(lambda: s.metric("exchanges") == 0, "exchanges remain")
