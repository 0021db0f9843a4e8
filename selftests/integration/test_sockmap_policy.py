# SPDX-License-Identifier: GPL-2.0-only
# test_sockmap_policy.py - which tunnels go into the kernel, and when they come back.
import hashlib
import random
import threading
import time

from lib import Client, check, check_eq, wait_for
from lib.origin import pattern
from test_sockmap import MIB, Traffic, by_kernel, echoes, exactly, in_kernel, is_over, log_line, setup, \
    sockmap_lines, tunnel_open

LIMIT_S = 180
# How busy a worker is, is measured.
ALONE = ("test_busy_worker_sends_them_in_and_a_calm_one_recalls_them", "test_bulk_leaves_for_splice_and_may_come_back")
LONG = ("test_random_traffic_through_all_engines_with_reloads",)
# None of these matches, and each takes a while to say so.
SLOW_ROUTES = "\n".join('route "slow%d" { priority 1000; matches { path-regex "^/slow/%d?(a|aa|a?)*(a|aa)*[cd]$"; }; upstream "o"; }'
                        % (i, i) for i in range(8))
ROUTES = 'route "all" { matches { path-prefix "/"; }; upstream "o"; websocket #true; }\n' + SLOW_ROUTES


class Load:
    """Requests whose route takes the worker some milliseconds to find (a regular expression that backtracks)."""

    def __init__(self, s):
        self.s = s
        self.stopping = False
        self.count = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with Client(self.s.port, timeout=30) as c:
            while not self.stopping:
                c.get("/slow/" + 40 * "a" + "b")
                self.count += 1

    def stop(self):
        self.stopping = True
        self.thread.join(30)


def test_busy_worker_sends_them_in_and_a_calm_one_recalls_them(t):
    o, s = setup(t, top='kernel { splice "auto"; }', routes=ROUTES)
    c = tunnel_open(s)
    flow = Traffic(t, s, 2000, 0.02)
    s.sleep_ticks(3)
    check_eq((s.metric("busy_workers"), s.metric("sockmap_joins_total")), (0, 0), "of a calm worker")
    load = Load(s)
    in_kernel(s, 2)
    check_eq(s.metric("busy_workers"), 1)
    echoes(c, pattern(100000))
    s.sleep_ticks(2)
    load.stop()
    stopped = time.monotonic()
    wait_for(lambda: s.metric("busy_workers") == 0, "the worker stays busy", 40)
    check(time.monotonic() - stopped > 8, "calm after %.1f s already", time.monotonic() - stopped)
    wait_for(lambda: s.metric("sockmap_tunnels") == 0, lambda: "they stay: %s" % sockmap_lines(s), 10)
    check_eq(s.metric("sockmap_recalled_total", reason="calm"), 2)
    copied = s.metric("body_bytes_total", engine="copy")
    echoes(c, pattern(50000))
    wait_for(lambda: s.metric("body_bytes_total", engine="copy") >= copied + 100000, "it is not copied again")
    flow.finish()
    c.half_close()
    check_eq(c.check_closed(), "fin")
    is_over(s)
    check_eq((s.metric("sockmap_failed_total"), s.metric("sockmap_lost_races_total")), (0, 0))


def test_bulk_leaves_for_splice_and_may_come_back(t):
    """A tunnel of a busy worker that moves bulk: sockmap, splice(2), and sockmap again; each byte arrives."""
    gate = threading.Event()

    def origin(connection, request):
        connection.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        gate.wait(60)
        count, h = 0, hashlib.sha256()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            connection.send(pattern(65536))
            h.update(pattern(65536))
            count += 65536
        h.update(b"end")
        connection.sent = count + 3, h.hexdigest()
        connection.send(b"end")
        while True:
            piece = connection.recv()
            if not piece:
                break
            connection.send(piece)
        connection.shutdown()

    o, s = setup(t, top='kernel { splice "auto"; }', routes=ROUTES)
    o.on("/bulk", origin)
    c = tunnel_open(s, b"/bulk")
    c.set_timeout(30)
    load = Load(s)
    in_kernel(s, 1)
    gate.set()
    connection = next(k for k in o.connections if k.requests and k.requests[0].target == "/bulk")
    got, h, last = len(c.reader.buffer), hashlib.sha256(bytes(c.reader.buffer)), b""
    c.reader.buffer.clear()
    while not last.endswith(b"end"):
        piece = c.recv()
        check(piece, "ended after %d bytes", got)
        h.update(piece)
        got += len(piece)
        last = (last + piece)[-3:]
    check_eq((got, h.hexdigest()), connection.sent)
    check(s.metric("sockmap_recalled_total", reason="bulk") >= 1, "%s", sockmap_lines(s))
    check(s.metric("body_bytes_total", engine="splice") > 0, "nothing was spliced")
    for _ in range(40):  # calm again: a byte now and then is what tells it
        echoes(c, pattern(1000))
        if s.metric("sockmap_tunnels") == 1:
            break
        time.sleep(0.2)
    in_kernel(s)
    load.stop()
    c.half_close()
    check_eq(c.check_closed(), "fin")
    line = log_line(s, "/bulk")
    check(line["bytes_sent_sockmap"] > 0 and line["bytes_sent_spliced"] > 0, "%r", line)


def test_forced_bulk_stays(t):
    o, s = setup(t)
    c = tunnel_open(s)
    in_kernel(s)
    c.set_timeout(30)
    h, done = hashlib.sha256(), []

    def send():
        for _ in range(64):
            c.send(pattern(MIB))
        done.append(True)
    threading.Thread(target=send, daemon=True).start()
    wanted = hashlib.sha256()
    for _ in range(64):
        wanted.update(pattern(MIB))
    h.update(exactly(c, 64 * MIB))
    check_eq(h.hexdigest(), wanted.hexdigest())
    check_eq((s.metric("sockmap_recalled_total"), s.metric("sockmap_tunnels")), (0, 1))
    c.half_close()
    check_eq(c.check_closed(), "fin")
    line = log_line(s)
    check(line["bytes_sent_sockmap"] > MIB, "%r", line)


def stream(seed, count, pieces):
    """`count` bytes in random pieces, the same ones for a seed; digest and number are kept in pieces."""
    r, h, done = random.Random(seed), hashlib.sha256(), 0
    while done < count:
        data = r.randbytes(min(r.choice((10, 1000, 20000, 100000)), count - done))
        h.update(data)
        done += len(data)
        yield data, r.random() < 0.02
    pieces.append((done, h.hexdigest()))


class Duplex(threading.Thread):
    """Both peers send all the time, in both directions at once, each its own bytes, and end when they like."""

    def __init__(self, s, o, seed, count):
        super().__init__(daemon=True)
        self.sent, self.got, self.error = [], None, None
        self.seed, self.count = seed, count
        self.c = tunnel_open(s, b"/duplex/%d/%d" % (seed, count))
        self.c.set_timeout(60)
        self.start()

    def run(self):
        try:
            writer = threading.Thread(target=self.write, daemon=True)
            writer.start()
            h, done = hashlib.sha256(bytes(self.c.reader.buffer)), len(self.c.reader.buffer)
            while True:
                piece = self.c.recv()
                if not piece:
                    break
                h.update(piece)
                done += len(piece)
            self.got = done, h.hexdigest()
            writer.join(60)
        except BaseException as error:
            self.error = error

    def write(self):
        for data, rests in stream(-self.seed - 1, self.count, self.sent):
            self.c.send(data)
            if rests:
                time.sleep(0.01)
        self.c.half_close()


def duplex(connection, request):
    seed, count = (int(w) for w in request.target.split("/")[2:])
    connection.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    connection.duplex_sent = []

    def write():
        for data, rests in stream(seed, count, connection.duplex_sent):
            connection.send(data)
            if rests:
                time.sleep(0.01)
        connection.shutdown()
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    h, done = hashlib.sha256(), 0
    while True:
        piece = connection.recv()
        if not piece:
            break
        h.update(piece)
        done += len(piece)
    writer.join()
    connection.duplex_got = done, h.hexdigest()


def test_both_peers_send_all_the_time(t):
    o, s = setup(t, workers=2, upstream='connection-pool { max-connections 400; }')
    o.on("/duplex/*", duplex)
    flows = [Duplex(s, o, i, 8 * MIB) for i in range(8)]
    while any(f.is_alive() for f in flows):
        s.check_reload(level="warn")
        s.sleep_ticks(0.5)
    for f in flows:
        check(not f.error, "tunnel %d: %r", f.seed, f.error)
        peer = next(c for c in o.connections if c.requests and c.requests[0].target == "/duplex/%d/%d" % (f.seed, f.count))
        wait_for(lambda: hasattr(peer, "duplex_got"), "the origin's end of tunnel %d" % f.seed, 20)
        check_eq((f.got, peer.duplex_got), (peer.duplex_sent[0], f.sent[0]), "tunnel %d" % f.seed)
    is_over(s)
    check(by_kernel(s) > 8 * MIB, "%s", sockmap_lines(s))
    check_eq((s.metric("sockmap_failed_total"), s.metric("sockmap_lost_races_total")), (0, 0))


def test_random_traffic_through_all_engines_with_reloads(t):
    """Tunnels of all three words, fast and slow ones, while the worker gets busy and calm and the file changes."""
    top = 'kernel { splice "%s"; }'
    routes = "\n".join('route "%s" { priority 500; matches { path-prefix "/%s"; }; upstream "o"; websocket #true; splice "%s"; }'
                       % (w, w, w) for w in ("sockmap", "auto", "splice")) + "\n" + ROUTES
    o, s = setup(t, top=top % "auto", routes=routes, workers=2, upstream='connection-pool { max-connections 400; }')
    for w in ("sockmap", "auto", "splice"):
        o.on("/" + w, o.behaviour("/upgrade"))
    flows = []
    for i in range(12):
        for w in ("sockmap", "auto", "splice"):
            size, pause = random.choice(((200, 0.02), (3000, 0.05), (200000, 0.2), (20000, 0)))
            flows.append(Traffic(t, s, size, pause, path=b"/" + w.encode()))
    load = Load(s)
    for i in range(12):
        s.check_reload(level="warn" if i % 2 else "info")
        s.sleep_ticks(1)
    load.stop()
    for flow in flows:
        flow.finish()
    total = sum(f.bytes for f in flows)
    is_over(s)
    wait_for(lambda: s.metric("tunnel_bytes_total") == 2 * total, lambda: "%d bytes are counted of %d" % (
        s.metric("tunnel_bytes_total"), 2 * total))
    check(by_kernel(s) > 0, "nothing by sockmap")
    check(s.metric("body_bytes_total", engine="splice") > 0, "nothing by splice")
    check_eq((s.metric("sockmap_failed_total"), s.metric("sockmap_lost_races_total")), (0, 0))
