# SPDX-License-Identifier: GPL-2.0-only
# test_sockmap.py - tunnels that the kernel carries, with raw peers: every byte, and every way to end.
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

from lib import Client, check, check_eq, wait_for
from lib.case import scale
from lib.origin import pattern
from test_tunnel import UPGRADE, echoes, exactly, tunnel_open

ALONE = ("test_killed_daemon_ends_both_sides_and_leaves_nothing",)
SWITCH = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
FORCED = 'kernel { splice "sockmap"; }'
MIB = 1 << 20


def setup(t, origin=None, **keys):
    o = origin or t.origin()
    keys.setdefault("top", FORCED)
    s = t.sentinel(o, route="websocket #true\n" + keys.pop("route", ""), **keys)
    check_eq(s.metric("sockmap_available"), 1, "sockmap here")
    return o, s


def sockmap_lines(s):
    return [l for l in s.metrics().text.splitlines() if "sockmap" in l and "#" not in l]


def in_kernel(s, count=1, seconds=20):
    wait_for(lambda: s.metric("sockmap_tunnels") == count,
             lambda: "not %d tunnels in the kernel: %s" % (count, sockmap_lines(s)), seconds)


def by_kernel(s):
    return s.metric("body_bytes_total", engine="sockmap")


def is_over(s):
    wait_for(lambda: s.metric("tunnels_active") == 0 and s.metric("sockmap_tunnels") == 0,
             lambda: "a tunnel stays: %s" % sockmap_lines(s))


def log_line(s, path="/upgrade"):
    return wait_for(lambda: next((json.loads(l) for l in reversed(s.access_lines()) if path in l), None),
                    "no line of " + path)


def test_websocket_tunnel_goes_by_the_kernel(t):
    o, s = setup(t)
    c = tunnel_open(s)
    in_kernel(s)
    total = 0
    for data in (b"hello", bytes(range(256)), pattern(1000), pattern(100000)):
        echoes(c, data)
        total += len(data)
    for direction in ("c2s", "s2c"):
        wait_for(lambda: s.metric("tunnel_bytes_total", direction=direction) == total, "bytes are not counted")
    check(by_kernel(s) > 0.9 * 2 * total, "%s", sockmap_lines(s))
    c.half_close()
    check_eq(c.check_closed(), "fin")
    line = log_line(s)
    check_eq((line["body_bytes_received"], line["body_bytes_sent"]), (total, total))
    check(line["bytes_received_sockmap"] > 0.9 * total and line["bytes_sent_sockmap"] > 0.9 * total, "%r", line)
    check("tunnel_end" not in line and "bytes_undelivered" not in line, "%r", line)
    is_over(s)


def test_route_can_forbid_it_and_the_file_can_too(t):
    for keys in ({"route": 'splice "copy"'}, {"top": 'kernel { splice "copy"; }'}):
        o = t.origin()
        s = t.sentinel(o, **dict({"top": FORCED}, **dict(keys, route="websocket #true\n" + keys.get("route", ""))))
        c = tunnel_open(s)
        echoes(c, pattern(10000))
        s.sleep_ticks(0.3)
        echoes(c, pattern(10000))
        check_eq((s.metric("sockmap_joins_total"), by_kernel(s)), (0, 0))
        c.close()


def test_tls_is_never_given_to_it(t):
    from lib.tls import Authority, TlsClient, context, tls_block
    ca = Authority(t)
    o, s = setup(t, listener=tls_block(ca.issue("a", ["a.example"])))
    c = TlsClient(s.port, context(ca), "a.example")
    c.send(UPGRADE % b"/upgrade")
    check_eq(c.head().status, 101)
    for _ in range(3):
        echoes(c, pattern(10000))
        s.sleep_ticks(0.2)
    check_eq((s.metric("sockmap_joins_total"), by_kernel(s)), (0, 0))
    c.close()


def ends_in_order(t, first):
    """One side ends, the other one goes on for a while and ends."""
    done = threading.Event()

    def origin(connection, request):
        connection.send(SWITCH)
        if first == "origin":
            connection.send(b"last words")
            connection.shutdown()
            data = b""
            while True:
                piece = connection.recv()
                if not piece:
                    break
                data += piece
            connection.said = data
        else:
            connection.wait_end()
            for at in range(0, 300000, 10000):
                connection.send(pattern(300000)[at:at + 10000])
        done.set()
        connection.close()

    o, s = setup(t)
    o.on("/half", origin)
    c = Client(s.port)
    c.send(UPGRADE % b"/half")
    check_eq(c.head().status, 101)
    if first == "client":
        in_kernel(s)
        c.send(pattern(200000))
        c.half_close()
        how, data = c.end()
        check_eq((how, data == pattern(300000)), ("fin", True), "%d bytes" % len(data))
        check_eq(bytes(o.connections[-1].received[-200000:]) == pattern(200000), True)
    else:
        check_eq(exactly(c, 10), b"last words")
        check_eq(c.recv(), b"")
        for at in range(0, 300000, 10000):
            c.send(pattern(300000)[at:at + 10000])
        c.close()
        check(done.wait(20), "the origin saw no end")
        check_eq(o.connections[-1].said == pattern(300000), True, "%d bytes" % len(o.connections[-1].said))
    line = log_line(s, "/half")
    check_eq("tunnel_end" in line, False, "%r" % line)
    is_over(s)
    return s, line


def test_client_ends_first(t):
    s, line = ends_in_order(t, "client")
    check(line["bytes_received_sockmap"] + line.get("bytes_sent_sockmap", 0) > 100000, "%r", line)
    check_eq(s.metric("sockmap_left_total", reason="ended"), 1)


def test_origin_ends_first(t):
    ends_in_order(t, "origin")


def test_origin_ends_first_in_the_kernel(t):
    gate = threading.Event()

    def origin(connection, request):
        connection.send(SWITCH)
        gate.wait(20)
        connection.send(pattern(100000))
        connection.shutdown()
        connection.wait_end()

    o, s = setup(t)
    o.on("/late", origin)
    c = tunnel_open(s, b"/late")
    in_kernel(s)
    gate.set()
    check_eq(exactly(c, 100000), pattern(100000))
    check_eq(c.recv(), b"")
    for _ in range(20):
        c.send(pattern(5000))
        time.sleep(0.01)
    c.half_close()
    line = log_line(s, "/late")
    check_eq((line["body_bytes_received"], line["body_bytes_sent"]), (100000, 100000))
    check(line["bytes_received_sockmap"] > 50000 and line["bytes_sent_sockmap"] > 50000, "%r", line)
    check("tunnel_end" not in line, "%r", line)
    is_over(s)


def test_reset_of_either_side_resets_the_other(t):
    o, s = setup(t)
    base = s.baseline()
    for before, who in enumerate(("client", "origin")):
        c = tunnel_open(s)
        in_kernel(s)
        echoes(c, pattern(3000))
        if who == "client":
            c.reset()
            o.wait_ends()
        else:
            o.connections[-1].reset()
            check_eq(c.end()[0], "rst")
        is_over(s)
        line = json.loads(s.access_lines(before + 1)[-1])
        check_eq(line["tunnel_end"], "reset")
        check_eq((line["body_bytes_received"], line["body_bytes_sent"]), (3000, 3000))
        check_eq(line["bytes_received_sockmap"], 3000)
    check_eq(s.metric("sockmap_failed_total"), 2)
    s.wait_gauges(base)


def test_undelivered_bytes_are_logged(t):
    """The receiver stops reading, then dies: what it did not get is known."""
    gate = threading.Event()

    def origin(connection, request):
        connection.send(SWITCH)
        gate.wait(30)
        connection.reset()

    o = t.origin(rcvbuf=16384)
    o.on("/stuck", origin)
    o, s = setup(t, o)
    c = tunnel_open(s, b"/stuck")
    in_kernel(s)
    c.set_timeout(0.5)
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += c.socket.send(pattern(65536))
    except TimeoutError:
        pass
    gate.set()
    line = log_line(s, "/stuck")
    check_eq(line["tunnel_end"], "reset")
    check(line["bytes_undelivered"] > 100000, "%r", line)
    check(line["body_bytes_received"] <= sent, "%r of %d", line, sent)
    check_eq(s.metric("sockmap_undelivered_bytes_total"), line["bytes_undelivered"])


def test_idle_limit_spares_the_busy_and_ends_the_dead(t):
    limit = 1 + int(scale())
    o, s = setup(t, route='policies { tunnel-idle-timeout-secs %d; }' % limit)
    opened = time.monotonic()
    busy, dead = tunnel_open(s), tunnel_open(s)
    in_kernel(s, 2)
    copied = s.metric("body_bytes_total", engine="copy")
    started = time.monotonic()
    dead.set_timeout(20)
    ended = []
    threading.Thread(target=lambda: ended.append((dead.end()[0], time.monotonic())), daemon=True).start()
    while time.monotonic() - started < 2.7 * limit:
        echoes(busy, b"still here")
        time.sleep(0.2)
    check(ended and opened + 0.9 * limit <= ended[0][1] < started + 2.5 * limit, "the dead one: %r of %r", ended, started)
    check_eq(s.metric("tunnels_active"), 1)
    check_eq(s.metric("body_bytes_total", engine="copy"), copied, "bytes that were copied")
    check_eq(busy.end()[0] in ("fin", "rst"), True)
    lines = [json.loads(l) for l in s.access_lines(2)]
    check_eq([l["tunnel_end"] for l in lines], ["idle", "idle"])
    is_over(s)


def tcp_bytes_max(name):
    """So far the kernel lets a buffer grow by itself."""
    with open("/proc/sys/net/ipv4/tcp_" + name, encoding="ascii") as file:
        return int(file.read().split()[2])


def test_stuck_receiver_is_bounded_and_harms_nobody(t):
    gate = threading.Event()

    def origin(connection, request):
        connection.send(SWITCH)
        gate.wait(60)
        h, count = hashlib.sha256(), 0
        while True:
            piece = connection.recv()
            if not piece:
                break
            h.update(piece)
            count += len(piece)
        connection.got = count, h.hexdigest()

    o, s = setup(t)
    stuck_origin = t.origin(rcvbuf=65536)
    stuck_origin.on("/stuck", origin)
    s.check_reload(upstreams='upstream "o" { target "127.0.0.1:%d"; }\nupstream "stuck" { target "127.0.0.1:%d"; }' % (
        o.port, stuck_origin.port), routes='route "all" { matches { path-prefix "/"; }; upstream "o"; websocket #true; }\n'
        'route "stuck" { priority 1000; matches { path-prefix "/stuck"; }; upstream "stuck"; websocket #true; }')
    other, c = tunnel_open(s), tunnel_open(s, b"/stuck", sndbuf=65536)
    in_kernel(s, 2)
    rss = s.rss()
    c.set_timeout(1)
    h, sent = hashlib.sha256(), 0
    try:
        while sent < 256 * MIB:
            n = c.socket.send(pattern(65536))
            h.update(pattern(65536)[:n])
            sent += n
    except TimeoutError:
        pass
    # the receive buffer of our client may grow as far as the kernel lets it; all other ones are 3 MiB
    check(sent < tcp_bytes_max("rmem") + 4 * MIB, "%d bytes were taken for nobody", sent)
    check(s.rss() - rss < 8 * MIB, "the daemon grew by %d bytes", s.rss() - rss)
    slowest = 0
    for _ in range(50):
        at = time.monotonic()
        echoes(other, pattern(2000))
        slowest = max(slowest, time.monotonic() - at)
    check(slowest < scale(), "the other tunnel waited %.3f s", slowest)
    gate.set()
    c.half_close()
    wait_for(lambda: hasattr(stuck_origin.connections[-1], "got"), "the receiver saw no end", 30)
    check_eq(stuck_origin.connections[-1].got, (sent, h.hexdigest()))
    other.close()
    is_over(s)


def test_receiver_that_stays_stuck_is_cut_off(t):
    """By the write time-out, as a copied tunnel is; one that is slow, or just rests, is not."""
    gate = threading.Event()

    def origin(connection, request):
        connection.send(SWITCH)
        gate.wait(30)
        try:
            for _ in range(1024):
                connection.send(pattern(65536))
        except OSError:
            pass

    o = t.origin()
    o.on("/much", origin)
    limit = 1 + int(scale())
    o, s = setup(t, o, listener="write-idle-timeout-secs %d" % limit)
    rests = tunnel_open(s)
    stuck, slow = tunnel_open(s, b"/much", rcvbuf=16384), tunnel_open(s, b"/much", rcvbuf=16384)
    in_kernel(s, 3)
    gate.set()
    started = time.monotonic()
    ended = []
    reader = threading.Thread(target=lambda: ended.extend(json.loads(l) for l in s.access_lines(1, 16)), daemon=True)
    reader.start()
    while reader.is_alive() or time.monotonic() - started < 2.5 * limit:
        check(slow.recv(), "the slow one was ended")
        time.sleep(0.01)
    check_eq(ended[0]["tunnel_end"], "write_timeout")
    check(ended[0]["bytes_undelivered"] > 100000 and ended[0].get("bytes_sent_sockmap", 0) > 100000, "%r", ended[0])
    check_eq(stuck.end()[0], "rst")
    check_eq(s.metric("tunnels_active"), 2)
    echoes(rests, b"still here")
    slow.close()
    rests.close()
    is_over(s)


def test_stopped_process_does_not_stop_the_flow(t):
    o, s = setup(t)
    c = tunnel_open(s)
    in_kernel(s)
    echoes(c, b"before")
    s.signal(signal.SIGSTOP)
    try:
        with open("/proc/%d/stat" % s.pid, encoding="ascii") as file:
            wait_for(lambda: file.seek(0) == 0 and file.read().rsplit(")", 1)[1].split()[0] == "T", "the stop")
        rounds = 500
        for _ in range(rounds):
            echoes(c, pattern(1000))
    finally:
        s.signal(signal.SIGCONT)
    echoes(c, pattern(100000))
    c.half_close()
    check_eq(c.check_closed(), "fin")
    line = log_line(s)
    check_eq(line["body_bytes_sent"], 6 + rounds * 1000 + 100000)
    check(line["bytes_sent_sockmap"] >= 6 + rounds * 1000, "%r", line)


def splice_objects():
    """(kind, id) of the programs and maps of splice that the kernel has, whosever they are."""
    found = set()
    for what in ("prog", "map"):
        done = subprocess.run(["bpftool", "-j", what, "show"], stdout=subprocess.PIPE, check=True)
        found |= {(what, p["id"]) for p in json.loads(done.stdout or b"[]")
                  if p.get("name", "").startswith(("sn_splice", "splice_", "flow_"))}
    return found


def objects_of(s):
    """Those that a daemon has open."""
    found = set()
    for number in os.listdir("/proc/%d/fdinfo" % s.pid):
        with contextlib.suppress(FileNotFoundError), open("/proc/%d/fdinfo/%s" % (s.pid, number), encoding="ascii") as file:
            found |= {(what, int(n)) for what, n in re.findall(r"^(map|prog)_id:\s+(\d+)", file.read(), re.M)}
    return found & splice_objects()


def are_gone(objects):
    """Ids are not given again soon."""
    wait_for(lambda: not objects & splice_objects(), lambda: "these stay: %r" % (objects & splice_objects()))


def test_killed_daemon_ends_both_sides_and_leaves_nothing(t):
    o, s = setup(t)
    tunnels = [tunnel_open(s) for _ in range(5)]
    in_kernel(s, 5)
    for c in tunnels:
        echoes(c, pattern(1000))
    mine = objects_of(s)
    check_eq({what for what, _ in mine}, {"prog", "map"})
    s.kill()
    killed = time.monotonic()
    for c in tunnels:
        check(c.end()[0] in ("fin", "rst"))
    o.wait_ends()
    check(time.monotonic() - killed < scale(), "the ends took %.1f s", time.monotonic() - killed)
    are_gone(mine)


def test_stop_ends_them_after_the_drain(t):
    o, s = setup(t, system='graceful-shutdown-timeout-secs %d' % (2 * scale()))
    tunnels = [tunnel_open(s) for _ in range(10)]
    in_kernel(s, 10)
    s.signal(signal.SIGTERM)
    s.sleep_ticks(0.3)
    for c in tunnels:
        echoes(c, b"drains")  # open tunnels may go on
    for c in tunnels:
        check(c.end()[0] in ("fin", "rst"))
    check_eq(s.wait_exit(), 0)
    lines = [json.loads(l) for l in s.access_lines(10)]
    check_eq({l["tunnel_end"] for l in lines}, {"shutdown"})


class Traffic(threading.Thread):
    """Random bytes through an echo tunnel, as fast as a pause allows; both ways are checked."""

    def __init__(self, t, s, size=3000, pause=0.0, path=b"/upgrade"):
        super().__init__(daemon=True)
        self.c = tunnel_open(s, path)
        self.c.set_timeout(30)
        self.random = random.Random(t.random.random())
        self.size, self.pause = size, pause
        self.error = None
        self.bytes = 0
        self.stopping = False
        self.start()

    def run(self):
        try:
            while not self.stopping:
                data = self.random.randbytes(self.random.randrange(1, self.size))
                echoes(self.c, data)
                self.bytes += len(data)
                if self.pause:
                    time.sleep(self.pause * self.random.random())
        except BaseException as error:
            self.error = error

    def finish(self):
        self.stopping = True
        self.join(60)
        check(not self.error and not self.is_alive(), "a tunnel was lost: %r", self.error)
        self.c.half_close()
        check_eq(self.c.check_closed(), "fin")


def test_hundred_tunnels_under_traffic_survive_reloads(t):
    o, s = setup(t, workers=2, upstream='connection-pool { max-connections 400; }')
    flows = [Traffic(t, s, 2000, 0.1) for _ in range(100)]
    in_kernel(s, 100)
    for i in range(10):
        s.check_reload(level="warn" if i % 2 else "info")
        time.sleep(0.2)
    check_eq(s.metric("sockmap_tunnels"), 100)
    for flow in flows:
        flow.finish()
    total = sum(f.bytes for f in flows)
    is_over(s)
    check_eq(s.metric("tunnel_bytes_total"), 2 * total)
    check(by_kernel(s) > 0.9 * 2 * total, "%d of %d", by_kernel(s), 2 * total)
    check_eq((s.metric("sockmap_failed_total"), s.metric("sockmap_lost_races_total")), (0, 0))
