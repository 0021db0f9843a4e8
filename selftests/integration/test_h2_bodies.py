# SPDX-License-Identifier: GPL-2.0-only
# test_h2_bodies.py - large bodies through HTTP/2 with flat memory, and readers that stand still.
import subprocess
import threading
import time

from lib import check, check_eq, wait_for
from lib import h2, tls
from lib.case import scale
from lib.h2 import H2C, TO_H2, H2Client, h2_origin
from lib.origin import pattern

IS_ALONE = True
GIB = 1 << 30
GROWTH = 12 << 20
LIMITS = 'max-body-size "8GiB"'


def size():
    """Less under a sanitizer, where it is not the memory of the daemon that is measured."""
    return GIB if scale() == 1 else GIB // 16


class Peak:
    """The most resident memory while it lasts, above what it was before."""

    def __init__(self, s):
        self.s = s
        self.first = self.most = s.rss()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.is_over.wait(0.02):
            self.most = max(self.most, self.s.rss())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        self.most = max(self.most, self.s.rss())

    @property
    def growth(self):
        return self.most - self.first


def h1_bulk(t):
    o = t.origin(recv_size=1 << 20)
    block = pattern(1 << 20)

    def source(connection, request):
        count = int(request.target.split("/")[2])
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count << 20))
        for _ in range(count):
            connection.send(block)

    def sink(connection, request):
        count = sum(len(piece) for piece in connection.body_pieces(request))
        connection.answer(body=b"%d" % count)
    return o.on("/source/*", source).on("/sink", sink)


def bulk(t, make, upstream, tls_pair=None, ca=None, share=1):
    """Both ways, by curl."""
    o = make(t)
    listener = tls.tls_block(tls_pair) if tls_pair else H2C
    s = t.sentinel(o, listener=listener, limits=LIMITS, upstream=upstream)
    base = ["--http2-prior-knowledge"]
    url = "http://127.0.0.1:%d" % s.port
    if tls_pair:
        base = ["--http2", "--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port]
        url = "https://a.example:%d" % s.port
    check_eq(tls.curl(*base, url + "/source/20", "-o", "/dev/null", "-w", "%{size_download}"), str(20 << 20))  # warm
    total = size() // share
    with Peak(s) as peak:
        out = tls.curl(*base, "-o", "/dev/null", "-w", "%{size_download} %{http_version}",
                       "%s/source/%d" % (url, total >> 20), timeout=60)
    check_eq(out, "%d 2" % total)
    check(peak.growth < GROWTH or scale() > 1, "down: %d bytes more", peak.growth)
    print("down: %d bytes more" % peak.growth)
    with open(t.path("zeros"), "wb") as file:
        file.truncate(total)
    with Peak(s) as peak:
        out = tls.curl(*base, "-T", t.path("zeros"), url + "/sink", timeout=60)
    check_eq(out, str(total))
    check(peak.growth < GROWTH or scale() > 1, "up: %d bytes more", peak.growth)
    print("up: %d bytes more" % peak.growth)


def test_a_gigabyte_to_and_from_an_h1_origin(t):
    bulk(t, h1_bulk, "")


def test_a_gigabyte_to_and_from_an_h2_origin(t):
    def make(t):
        return h2_origin(t, own={h2.MAX_STREAMS: 100, h2.INITIAL_WINDOW: 1 << 20})
    bulk(t, make, TO_H2)


def test_a_quarter_of_it_over_tls(t):
    ca = tls.Authority(t)
    bulk(t, h1_bulk, "", ca.issue("a.example"), ca, 4)


def test_a_quarter_of_it_between_h1_clients_and_an_h2_origin(t):
    o = h2_origin(t, own={h2.MAX_STREAMS: 100, h2.INITIAL_WINDOW: 1 << 20})
    s = t.sentinel(o, limits=LIMITS, upstream=TO_H2)
    url = "http://127.0.0.1:%d" % s.port
    total = size() // 4
    with open(t.path("zeros"), "wb") as file:
        file.truncate(total)
    tls.curl("-T", t.path("zeros"), "-H", "Transfer-Encoding: chunked", url + "/sink")
    with Peak(s) as peak:
        check_eq(tls.curl("-T", t.path("zeros"), "-H", "Transfer-Encoding: chunked", url + "/sink", timeout=60),
                 str(total))
        check_eq(tls.curl("-o", "/dev/null", "-w", "%{size_download}", "%s/source/%d" % (url, total >> 20), timeout=60),
                 str(total))
    check(peak.growth < GROWTH or scale() > 1, "%d bytes more", peak.growth)


def test_bytes_are_the_same(t):
    """What the large ones do not look at."""
    for make, upstream in ((h1_bulk, ""), (h2_origin, TO_H2)):
        s = t.sentinel(make(t), listener=H2C, limits=LIMITS, upstream=upstream)
        out = subprocess.run([tls.tool("curl"), "-sS", "--http2-prior-knowledge",
                              "http://127.0.0.1:%d/source/48" % s.port],
                             stdout=subprocess.PIPE, timeout=60 * scale()).stdout
        check(out == pattern(1 << 20) * 48, "other bytes, or %d", len(out))
        with open(t.path("body"), "wb") as file:
            file.write(out)
        with open(t.path("body"), "rb") as file:
            echo = subprocess.run([tls.tool("curl"), "-sS", "--http2-prior-knowledge", "--data-binary", "@-",
                                   "http://127.0.0.1:%d/echo" % s.port], stdin=file, stdout=subprocess.PIPE,
                                  timeout=60 * scale()).stdout
        check(echo == out, "other bytes, or %d", len(echo))


def test_a_stuck_reader_holds_a_window_only(t):
    """A gigabyte that nobody reads, on an HTTP/2 stream among others that go on."""
    for make, upstream in ((h1_bulk, ""), (h2_origin, TO_H2)):
        s = t.sentinel(make(t), listener=H2C, limits=LIMITS, upstream=upstream)
        with H2Client(s.port) as c:
            check_eq(c.get("/source/4").received, 4 << 20)
            with Peak(s) as peak:
                stuck = c.open()
                stuck.gives_window = False
                stuck.head(c.head("GET", "/source/1024"), True)
                stuck.wait_data(65535)
                for _ in range(20):
                    check_eq(c.get("/source/4").received, 4 << 20)
            check_eq(stuck.received, 65535)
            check(peak.growth < GROWTH or scale() > 1, "%d bytes more", peak.growth)
            stuck.cancel()


def thousand(c, is_stuck):
    """Seconds until 999 streams are complete; the other one is not read, or is complete too."""
    began = time.monotonic()
    first = c.open()
    first.gives_window = not is_stuck
    first.keeps_data = False
    first.head(c.head("GET", "/source/8"), True)
    streams = []
    for _ in range(999):
        stream = c.open()
        stream.keeps_data = False
        streams.append(stream.head(c.head("GET", "/bytes/80000"), True))
    for stream in streams:
        stream.wait_end(60)
        check_eq(stream.received, 80000)
    seconds = time.monotonic() - began
    if is_stuck:
        first.wait_data(h2.WINDOW_FIRST)  # it gets as much as the others, if not as fast
        check_eq((first.received, first.is_ended), (65535, False))
        first.cancel()
    else:
        first.wait_end(60)
    return seconds


def test_one_of_a_thousand_streams_is_stuck(t):
    o = h2_origin(t, own={h2.MAX_STREAMS: 1000, h2.INITIAL_WINDOW: 1 << 20})
    s = t.sentinel(o, listener=H2C + "\nmax-concurrent-streams 1000", limits=LIMITS,
                   upstream="http-version { min-version 2; max-h2-streams 1000; }")
    with H2Client(s.port) as c:
        check_eq(c.wait_settings()[h2.MAX_STREAMS], 1000)
        thousand(c, False)
        free = stuck = float("inf")
        with Peak(s) as peak:
            for i in range(6):  # one beside the other, and the best of them: the machine has other work
                free, stuck = min(free, thousand(c, False)), min(stuck, thousand(c, True))
                if i > 0 and stuck < free * 1.5:
                    break
        check(stuck < free * 1.5, "%.2f s with a stuck reader, %.2f s without", stuck, free)
        check(peak.growth < 1000 * (128 << 10) or scale() > 1, "%d bytes more", peak.growth)
        check(not c.goaways, "%s", c.goaways)
    print("with a stuck reader %.2f s, without %.2f s" % (stuck, free))


def test_streams_take_turns(t):
    """A small answer does not wait for the large ones before it."""
    s = t.sentinel(h2_origin(t), listener=H2C, limits=LIMITS, upstream=TO_H2)
    with H2Client(s.port) as c:
        large = []
        for _ in range(5):
            stream = c.open()
            stream.keeps_data = False
            large.append(stream.head(c.head("GET", "/source/64"), True))
        for stream in large:
            stream.wait_data(1)
        small = c.get("/bytes/100")
        check_eq(small.received, 100)
        check(all(not x.is_ended for x in large), "the large ones were over first")
        parts = [x.received for x in large]
        for stream in large:
            stream.wait_end(60)
            check_eq(stream.received, 64 << 20)
        check(max(parts) < (64 << 20), "%s", parts)


def test_early_end_of_an_upload_stops_it(t):
    """413 in the middle: the rest is not waited for."""
    s = t.sentinel(h1_bulk(t), listener=H2C, route='policies { max-body-size "1MiB"; }')
    with H2Client(s.port) as c:
        stream = c.request("POST", "/sink", is_end=False)
        try:
            for _ in range(64):
                stream.send(bytes(1 << 18))
        except h2.StreamReset:
            pass
        wait_for(lambda: stream.fields or stream.reset is not None, "no end")
        check_eq(stream.wait_head().status, 413)
        known = c.request("POST", "/sink", [("content-length", str(1 << 30))], is_end=False)
        check_eq(known.wait_head().status, 413)
        check_eq(c.get("/headers").status, 200)
