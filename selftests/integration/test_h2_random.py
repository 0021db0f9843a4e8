# SPDX-License-Identifier: GPL-2.0-only
# test_h2_random.py - random frames of clients and origins, right and wrong ones: nobody else notices, nothing is left.
import os
import random
import struct
import threading
import time

from lib import PeerClosed, PeerReset, check, check_eq, fetch, wait_for
from lib import h2
from lib.case import scale
from lib.h2 import H2C, TO_H2, H2Client

SECONDS = float(os.environ.get("SENTINEL_TEST_RANDOM_S", "2"))
PATHS = ["/headers", "/echo", "/bytes/0", "/bytes/100", "/bytes/70000", "/bytes/300000", "/status/204", "/status/304",
         "/never", "/sink",
         "/odd", "/upgrade", "/early-hints", "/chunked", "/reset", "/short", "/garbage", "/slow-body", "*"]


def pick_head(r, is_broken):
    method = r.choice(["GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "BREW"])
    head = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", r.choice(PATHS))]
    if method == "CONNECT":
        head = head[:1] + head[2:3] if r.random() < 0.5 else head + [(":protocol", "websocket")]
    for _ in range(r.randrange(4)):
        head.append(r.choice([("x", "y" * r.randrange(50)), ("cookie", "a=1"),
                              ("content-length", str(r.randrange(100))), ("te", "trailers"),
                              ("expect", "100-continue"), ("range", "bytes=0-5"), ("accept", "*/*"), ("host", "a")]))
    if is_broken:
        at = r.randrange(len(head) + 1)
        head.insert(at, r.choice([("Upper", "x"), ("connection", "close"), (":path", "/"), ("x", "a\r\nb"), ("", ""),
                                  ("te", "x"),
                                  ("transfer-encoding", "chunked"), (":status", "200"), ("x" * 20000, "y")]))
        if r.random() < 0.3:
            r.shuffle(head)
    return head


def pick_frame(r, numbers):
    """Of any kind, on any stream."""
    kind = r.choice([0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 8, 9, 99])
    number = r.choice(numbers + [0, 1, 2, numbers[-1] + 2, 0x7fffffff])
    body = {3: struct.pack(">I", r.choice([0, 5, 7, 8, 11, 99])),
            8: struct.pack(">I", r.choice([0, 1, 100, 70000, 0x7fffffff])),
            6: os.urandom(8), 2: struct.pack(">IB", r.choice(numbers), 3),
            7: struct.pack(">II", r.choice([0, 1, 0x7fffffff]), 0),
            4: struct.pack(">HI", r.randrange(10),
                           r.choice([0, 1, 100, 16384, 65535, 1 << 20]))}.get(kind, os.urandom(r.randrange(40)))
    if r.random() < 0.1:
        body = body[:-1] + os.urandom(r.randrange(3))
    return h2.frame(kind, r.choice([0, 0, 1, 4, 5, 8, 9, 0x20, 0x2d, r.randrange(256)]), number, body)


def client_life(s, r):
    """One connection: mostly right, sometimes not."""
    c = H2Client(s.port, own=r.choice([{}, {}, {h2.INITIAL_WINDOW: r.choice([0, 1, 100, 1 << 20])},
                                       {h2.TABLE_SIZE: 0}]),
                 window=r.choice([1 << 24, 65535]))
    c.answers_pings = r.random() < 0.8
    wildness = r.choice([0, 0.02, 0.2])
    numbers = [1]
    try:
        for _ in range(r.randrange(1, 60)):
            what = r.random()
            if what < wildness:
                c.write(pick_frame(r, numbers))
            elif what < 0.5:
                is_end = r.random() < 0.5
                priority = struct.pack(">IB", 0, 9) if r.random() < 0.1 else None
                with c.sending:
                    stream = c.open()
                    stream.keeps_data = False
                    stream.gives_window = r.random() < 0.8
                    head = pick_head(r, r.random() < wildness)
                    stream.method = dict(head).get(":method", "GET")
                    c.send_block(stream.id, head, is_end, priority=priority,
                                 sizes=[r.randrange(9)] if r.random() < 0.2 else ())
                numbers.append(stream.id)
            elif what < 0.8:
                number = r.choice(numbers)
                stream = c.streams.get(number)
                size = r.choice([0, 1, 100, 16384])
                if stream and stream.window >= size and c.window >= size:
                    with c.changed:
                        stream.window -= size
                        c.window -= size
                    c.write(h2.frame(h2.DATA, r.choice([0, 0, 1]), number, bytes(size)))
            elif what < 0.9:
                c.write(h2.rst(r.choice(numbers), h2.CANCEL))
            else:
                time.sleep(r.random() * 0.01)
            if c.end:
                break
    except (PeerReset, PeerClosed, h2.StreamReset):
        pass
    check(not [e for e in c.errors if "DATA on stream" not in e and "content-length" not in e], "%s", c.errors)
    if r.random() < 0.3:
        c.kill()
    else:
        c.close()


def odd_origin(stream, r):
    """An answer that is mostly right."""
    link = stream.link
    for _ in range(r.randrange(1, 8)):
        what = r.random()
        if what < 0.15:
            stream.head([(":status", r.choice(["100", "103"]))])
        elif what < 0.4:
            stream.head([(":status", r.choice(["200", "204", "404", "304", "99", "101"])), ("x", "y")] +
                        ([("content-length", str(r.randrange(50)))] if r.random() < 0.3 else []), r.random() < 0.3)
        elif what < 0.7:
            link.write(h2.frame(h2.DATA, r.choice([0, 0, 1]), stream.id, bytes(r.choice([0, 1, 50, 5000]))))
        elif what < 0.8:
            link.write(h2.rst(stream.id, r.choice([0, 2, 7, 8])))
        elif what < 0.85:
            link.goaway(r.choice([0, max(0, stream.id - 2), stream.id, 0x7fffffff]))
        elif what < 0.9:
            link.write(pick_frame(r, [stream.id]))
        elif what < 0.93:
            link.close()
            return
        else:
            time.sleep(r.random() * 0.01)
    stream.end()


def run(t, make, odd, upstream):
    seed = int(os.environ.get("SENTINEL_TEST_SEED", t.random.randrange(1 << 30)))
    print("seed %d" % seed)
    r = random.Random(seed)
    o = make()
    o.on("/odd", odd)
    s = t.sentinel(o, listener=H2C + "\nh2-ping-interval-secs 1\nbody-idle-timeout-secs 2\nwrite-idle-timeout-secs 2",
                   upstream=upstream + "\ntimeouts { request 2; read 2; write 2; }\nconnection-pool { max-connections 500; }",
                   route="websocket #true\nallow-connect #true\nretry-policy { max-attempts 2; backoff-base-ms 1; }", workers=2)
    check_eq(fetch(s.admin_port, "/health").status, 200)
    base = s.baseline()
    failed, deadline = [], time.monotonic() + SECONDS

    def many(seed):
        r = random.Random(seed)
        while time.monotonic() < deadline and not failed:
            try:
                client_life(s, r)
            except ConnectionError:
                failed.append("the daemon is gone")
            except Exception as error:  # told below
                failed.append(repr(error))
    threads = [threading.Thread(target=many, args=(r.random(),), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 30 * scale())
    check(not failed, "%s", failed)
    check(s.process.poll() is None, "the daemon died with %s", s.process.poll())
    o.gate.set()
    print("all clients have left")

    def is_served():  # connections to a wild origin may still break, or be silent until a deadline
        try:
            stream = c.request(path="/bytes/1000").wait_end()
        except h2.StreamReset:  # it broke after the head
            return False
        return stream.status == 200 and stream.received == 1000
    with H2Client(s.port) as c:
        wait_for(is_served, "nobody is served any more", 20)
    print("served again")
    wait_for(lambda: s.metric("active_requests") == 0 and s.metric("tunnels_active") == 0,
             lambda: "%d requests and %d tunnels stay" % (
        s.metric("active_requests"), s.metric("tunnels_active")), 10)
    for c in getattr(o, "links", None) or o.connections:
        c.close() if hasattr(c, "goaway") else c.reset()
    s.wait_gauges(dict(base, sessions=base["sessions"] + 1, open_connections=base["open_connections"] + 1), 10,
                  ignore=("descriptors", "ops_inflight"))


def test_random_clients_to_an_h1_origin(t):
    def odd(connection, request):
        r = random.Random()
        connection.send(r.choice([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\n", b""]))
        connection.send(r.choice([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
                                  b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nuntil close",
                                  b"HTTP/1.1 101 Go\r\n\r\n", b"HTTP/9"]))
        if r.random() < 0.5:
            connection.close()
    run(t, t.origin, odd, "")


def test_random_clients_to_a_wild_h2_origin(t):
    def make():
        o = h2.h2_origin(t, own={h2.MAX_STREAMS: 20, h2.ENABLE_CONNECT: 1})
        o.is_judging = False  # it breaks its connections itself
        return o
    run(t, make, lambda stream: odd_origin(stream, random.Random()), TO_H2)
