# SPDX-License-Identifier: GPL-2.0-only
# test_h2_floods.py - HTTP/2 clients that only cost: each ends, is counted by reason, and harms nobody else.
import struct
import threading
import time

from lib import PeerClosed, PeerReset, check, check_eq, wait_for
from lib import h2
from lib.case import scale
from lib.h2 import H2C, H2Client, faults
from lib.origin import pattern

HEAD = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/headers")]
RSS_GROWTH = 48 << 20  # not with a sanitizer, which keeps what was freed


class Bystander:
    """Another client, who must be served all the time."""

    def __init__(self, s):
        self.client = H2Client(s.port)
        self.count = 0
        self.slowest = 0
        self.error = None
        self.is_over = threading.Event()
        self.ask()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def ask(self):
        began = time.monotonic()
        check_eq(self.client.get("/bytes/1000").received, 1000)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.count += 1

    def run(self):
        try:
            while not self.is_over.wait(0.01):
                self.ask()
        except Exception as error:  # told in end()
            self.error = error

    def end(self):
        self.is_over.set()
        self.thread.join(20 * scale())
        check(self.error is None, "the bystander: %r", self.error)
        self.ask()
        check(not self.client.goaways, "the bystander got GOAWAY")
        check(self.slowest < 3 * scale(), "the bystander waited %.1f s", self.slowest)
        self.client.close()


def flood(s, reason, send, code=h2.ENHANCE_YOUR_CALM, own=None):
    """send(client) floods until it is told not to; it must be."""
    other, rss, before = Bystander(s), s.rss(), faults(s, reason)
    c = H2Client(s.port, own=own)
    try:
        c.wait_settings()
        c.round_trip()
        send(c)
        c.wait_goaway(code)
    except (PeerReset, PeerClosed):
        pass
    c.wait_closed(15)
    check(c.goaways and c.goaways[-1][1] == code, "%s: ended with %s", reason, c.goaways)
    wait_for(lambda: faults(s, reason) == before + 1, lambda: "%s is not counted: %s" % (reason, [
        x for x in s.metrics().samples if "session_faults" in x[0]]))
    other.end()
    check(s.rss() < rss + RSS_GROWTH or scale() > 1, "%s: %d bytes more", reason, s.rss() - rss)
    c.close()


def h2c(t, *origins, listener="", **keys):
    return t.sentinel(*origins, listener=H2C + "\n" + listener, **keys)


def repeat(data, count, batch=100):
    """Sends it that often, until the peer has enough."""
    def send(c):
        for _ in range(count // batch):
            c.write(data * batch)
            if c.goaways or c.end:
                return
    return send


def test_rapid_reset(t):
    o = t.origin()
    s = h2c(t, o)

    def send(c):
        for _ in range(3000):
            with c.sending:
                stream = c.open()
                block = c.encoder.encode(HEAD[:3] + [(":path", "/never")])
                c.write(h2.frame(h2.HEADERS, 5, stream.id, block) + h2.rst(stream.id, h2.CANCEL))
            if c.goaways or c.end:
                return
    flood(s, "h2_rapid_reset", send)
    reached = len([r for r in o.requests if r.target == "/never"])
    check(reached < 500, "%d requests reached the origin", reached)


def test_streams_that_make_us_reset_them(t):
    """The same through errors that we must answer with RST_STREAM."""
    o = t.origin()
    s = h2c(t, o)
    zero = struct.pack(">I", 0)
    tricks = {"WINDOW_UPDATE of 0": lambda n: h2.frame(h2.WINDOW_UPDATE, 0, n, zero),
              "window overflow": lambda n: h2.window_update(n, 0x7fffffff),
              "DATA after the end": lambda n: h2.frame(h2.DATA, 0, n, b"x"),
              "HEADERS after the end": lambda n: h2.frame(h2.HEADERS, 5, n, b"\x82"),
              "depends on itself": lambda n: h2.frame(h2.PRIORITY, 0, n, struct.pack(">IB", n, 1))}
    other = Bystander(s)
    for name, trick in tricks.items():
        o.clear()
        c = H2Client(s.port)
        c.wait_settings()
        c.round_trip()
        try:
            for _ in range(2000):
                with c.sending:
                    stream = c.open()
                    block = c.encoder.encode(HEAD[:3] + [(":path", "/never")])
                    c.write(h2.frame(h2.HEADERS, 5, stream.id, block) + trick(stream.id))
                if c.goaways or c.end:
                    break
            c.wait(lambda: c.goaways, name)
        except (PeerReset, PeerClosed):
            pass
        c.wait_closed()
        check(c.goaways, "%s: no GOAWAY", name)
        reached = len([r for r in o.requests if r.target == "/never"])
        check(reached < 500, "%s: %d requests reached the origin", name, reached)
    other.end()


def test_half_of_all_requests_may_be_reset(t):
    """A browser does that."""
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        for i in range(300):
            c.request(path="/bytes/10").cancel()
            check_eq(c.get("/bytes/10").status, 200)
        check(not c.goaways, "%s", c.goaways)


def test_continuation_floods(t):
    s = h2c(t, t.origin())
    for data, reason in ((b"", "h2_continuation_flood"), (b"\0\1a\1b" * 20, "h2_continuation_flood"),
                         (b"\0\1a\1b" * 3000, "h2_hpack_bomb")):
        def send(c, data=data):
            c.open()
            c.write(h2.frame(h2.HEADERS, 1, 1, c.encoder.encode(HEAD)))
            repeat(h2.frame(h2.CONTINUATION, 0, 1, data), 20000, 10)(c)
        flood(s, reason, send)


def test_settings_flood(t):
    s = h2c(t, t.origin())
    flood(s, "h2_settings_flood", repeat(h2.settings({}), 100000))
    flood(s, "h2_settings_flood", repeat(h2.settings({4: 1000, 1: 0}) + h2.settings({4: 100000, 1: 4096}), 100000))


def test_ping_flood(t):
    s = h2c(t, t.origin())
    flood(s, "h2_ping_flood", repeat(h2.frame(h2.PING, 0, 0, b"12345678"), 100000))


def test_empty_data_flood(t):
    s = h2c(t, t.origin())

    def send(c):
        stream = c.request("POST", "/echo", is_end=False)
        repeat(h2.frame(h2.DATA, 0, stream.id), 100000)(c)
    flood(s, "h2_empty_flood", send)

    def padded(c):
        stream = c.request("POST", "/echo", is_end=False)
        repeat(h2.frame(h2.DATA, h2.PADDED, stream.id, b"\1\0"), 30000)(c)
    flood(s, "h2_empty_flood", padded)


def test_window_update_floods(t):
    s = h2c(t, t.origin())
    flood(s, "h2_window_flood", repeat(h2.window_update(0, 1), 100000))

    def on_stream(c):
        stream = c.request(path="/never")
        repeat(h2.window_update(stream.id, 1), 100000)(c)
    flood(s, "h2_window_flood", on_stream)


def test_priority_and_unknown_frames(t):
    s = h2c(t, t.origin())
    flood(s, "h2_frame_flood", repeat(h2.frame(h2.PRIORITY, 0, 1, struct.pack(">IB", 3, 9)), 100000))
    flood(s, "h2_frame_flood", repeat(h2.frame(0xfe, 0, 0, b"grease"), 100000))


def test_hpack_bombs(t):
    o = t.origin()
    s = h2c(t, o)

    def bomb(c):
        first = c.encoder.encode(HEAD) + b"\x40\1x" + b"\x7f\xa1\x1e" + b"y" * 4000  # an entry that fills the table
        c.open()
        c.write(h2.frame(h2.HEADERS, 5, 1, first))
        c.round_trip()
        c.open()
        c.write(h2.frame(h2.HEADERS, 1, 3,
                         c.encoder.encode(HEAD) + b"\xbe" * 16000) + h2.frame(h2.CONTINUATION, 4, 3, b"\xbe" * 16000))
    flood(s, "h2_hpack_bomb", bomb)
    check(len(o.requests) < 50 and not [r for r in o.requests if len(r.all("x")) > 1], "the bomb reached the origin")


def test_malformed_message_flood(t):
    o = t.origin()
    s = h2c(t, o)

    def send(c):
        for i in range(3000):
            stream = c.raw(HEAD + [("connection", "close")])
            if i % 50 == 49:  # more than are allowed at once would be another error
                c.wait(lambda: stream.reset is not None or c.goaways, "no answer")
            if c.goaways or c.end:
                return
    flood(s, "h2_error_flood", send)


def test_answers_that_nobody_reads(t):
    """PING and SETTINGS of one who reads nothing, and has a large receive buffer full already."""
    s = h2c(t, t.origin(), listener="write-idle-timeout-secs 2")
    other, rss = Bystander(s), s.rss()
    c = H2Client(s.port, rcvbuf=4096)
    c.wait_settings()
    c.reading.clear()
    c.request(path="/bytes/3000000")
    try:
        for _ in range(3000):
            c.write(h2.frame(h2.PING, 0, 0, b"12345678") + h2.window_update(0, 30000))
            time.sleep(0.0005)
    except PeerReset:
        pass
    check(s.rss() < rss + RSS_GROWTH or scale() > 1, "%d bytes more", s.rss() - rss)
    other.end()
    c.reading.set()
    c.wait_closed(15)


def test_tiny_windows_hold_little(t):
    o = t.origin()
    s = h2c(t, o, listener="write-idle-timeout-secs 1", upstream="connection-pool { max-connections 1000; }")
    other, rss = Bystander(s), s.rss()
    clients = [H2Client(s.port, own={h2.INITIAL_WINDOW: 1}) for _ in range(5)]
    streams = []
    for c in clients:
        for _ in range(100):
            stream = c.request(path="/bytes/1000000")
            stream.gives_window = False
            streams.append(stream)
    wait_for(lambda: len([r for r in o.requests if r.target == "/bytes/1000000"]) >= 500, "the requests", 20)
    most = 0

    def are_over():
        nonlocal most
        most = max(most, s.rss() - rss)
        return all(x.reset is not None or x.link.end for x in streams)
    wait_for(are_over, "streams that do not move stay", 20)
    # 500 streams, each with what one exchange may hold
    check(most < 500 * (160 << 10) or scale() > 1, "%d bytes more", most)
    for c in clients:
        c.close()
    other.end()
    wait_for(lambda: s.metric("active_requests") == 0, "requests stay")


def test_window_of_one_byte_at_a_time(t):
    s = h2c(t, t.origin())

    def send(c):
        streams = [c.request(path="/bytes/100000") for _ in range(20)]
        for stream in streams:
            stream.gives_window = False
        for _ in range(2000):
            c.write(b"".join(h2.window_update(stream.id, 1) for stream in streams))
            if c.goaways or c.end:
                return
    flood(s, "h2_window_flood", send, own={h2.INITIAL_WINDOW: 1})


def test_uploads_to_an_origin_that_is_stuck(t):
    """All windows of a connection full: what it may hold is stated in http2.h."""
    o = t.origin(rcvbuf=4096)
    o.on("/stuck", lambda connection, request: o.gate.wait(30 * scale()))
    s = h2c(t, o, limits='max-body-size "1GiB"', upstream='connection-pool { max-connections 300; }')
    other, rss = Bystander(s), s.rss()
    c = H2Client(s.port)
    c.wait_settings()
    streams = [c.request("POST", "/stuck", is_end=False) for _ in range(100)]
    wait_for(lambda: len([r for r in o.requests if r.target == "/stuck"]) == 100, "the requests")
    data = pattern(1 << 16)
    moved, idle = 0, 0
    while idle < 20:  # until nothing more is taken
        idle += 1
        for stream in streams:
            with c.changed:
                count = min(c.window, stream.window, len(data))
                if count > 0:
                    c.window -= count
                    stream.window -= count
            if count > 0:
                c.write(h2.data_frames(stream.id, data[:count], False))
                moved += count
                idle = 0
        if idle:
            time.sleep(0.02)
    check(moved < 1 << 30, "%d bytes were taken", moved)
    held = 2 * (100 * 65536 + (4 << 20)) + 100 * (192 << 10)
    check(s.rss() - rss < held or scale() > 1, "%d bytes held, %d are stated", s.rss() - rss, held)
    other.end()
    o.gate.set()


def test_memory_of_many_flooders(t):
    """A hundred in a row leave nothing behind."""
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        c.get("/headers")
    base, rss = s.baseline(), 0
    for i in range(100):
        c = H2Client(s.port)
        try:
            c.write(h2.settings({}) * 200)
            c.wait_goaway(h2.ENHANCE_YOUR_CALM)
        except (PeerReset, PeerClosed):
            pass
        c.close()
        if i == 20:
            rss = s.rss()
    check(s.rss() < rss + (4 << 20) or scale() > 1, "%d bytes more", s.rss() - rss)
    s.wait_gauges(base)
