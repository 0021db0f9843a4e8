# SPDX-License-Identifier: GPL-2.0-only
# test_splice.py - long bodies and busy tunnels that the kernel moves: every byte, both ways, whoever dies in between.
import hashlib
import json
import os
import socket
import threading
import time

from lib import Client, check, check_eq, fetch, wait_for
from lib.origin import PATTERN, pattern
from test_sockmap import tcp_bytes_max

LIMIT_S = 180
MIB = 1 << 20
SIZES = (65535, 65536, 65537, MIB - 1, MIB, MIB + 1, 100 * MIB)
CONNECT = (b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


def digest_of(count):
    h = hashlib.sha256()
    for at in range(0, count, len(PATTERN)):
        h.update(PATTERN[:count - at])
    return h.hexdigest()


def big(connection, request):
    """/big/COUNT, without holding it all."""
    count = int(request.target.rsplit("/", 1)[1])
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
    for at in range(0, count, len(PATTERN)):
        connection.send(PATTERN[:count - at])
        connection.origin.big_sent = at


def digest(connection, request):
    """Answers with count and digest of the body."""
    h, count = hashlib.sha256(), 0
    for piece in connection.body_pieces(request):
        h.update(piece)
        count += len(piece)
    connection.answer(body=("%d %s" % (count, h.hexdigest())).encode())


def setup(t, **keys):
    o = t.origin()
    o.on("/big/*", big).on("/digest", digest)
    keys.setdefault("limits", 'max-body-size "200MB"')
    return o, t.sentinel(o, **keys)


def download(c, count):
    c.send("GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % count)
    r = c.head()
    check_eq(r.status, 200)
    h, got = hashlib.sha256(), 0
    for piece in c.pieces(r):
        h.update(piece)
        got += len(piece)
    check_eq((got, h.hexdigest()), (count, digest_of(count)), "down %d" % count)


def upload(c, count, method="POST"):
    c.send("%s /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (method, count))
    for at in range(0, count, len(PATTERN)):
        c.send(PATTERN[:count - at])
    r = c.response()
    check_eq(r.body.decode(), "%d %s" % (count, digest_of(count)), "up %d" % count)


def moved(s, engine, direction):
    return s.metrics().sum("body_bytes_total", engine=engine, direction=direction)


def is_clean(s):
    """The pipes that are open are idle."""
    return s.metrics().sum("splice_pipes", state="busy") == 0


def log_line(s, path):
    return wait_for(lambda: next((json.loads(l) for l in reversed(s.access_lines()) if path in l), None), "no line of " + path)


def test_downloads_of_all_sizes_on_a_kept_connection(t):
    o, s = setup(t)
    with Client(s.port) as c:
        for count in SIZES:
            download(c, count)
            check_eq(c.get("/bytes/3").body, pattern(3))
    check_eq(len(o.connections), 1, "connections to the origin")
    total = sum(SIZES)
    wait_for(lambda: moved(s, "splice", "s2c") + moved(s, "copy", "s2c") == total + 3 * len(SIZES), "bytes are missing")
    check(moved(s, "splice", "s2c") >= 0.95 * total, "spliced only %d of %d", moved(s, "splice", "s2c"), total)
    wait_for(lambda: is_clean(s), "a pipe is still busy")


def test_uploads_of_all_sizes_on_a_kept_connection(t):
    o, s = setup(t)
    with Client(s.port) as c:
        for count in SIZES:
            upload(c, count)
            check_eq(c.get("/bytes/3").body, pattern(3))
    check_eq(len(o.connections), 1, "connections to the origin")
    total = sum(SIZES)
    wait_for(lambda: moved(s, "splice", "c2s") + moved(s, "copy", "c2s") == total, "bytes are missing")
    check(moved(s, "splice", "c2s") >= 0.95 * total, "spliced only %d of %d", moved(s, "splice", "c2s"), total)
    wait_for(lambda: is_clean(s), "a pipe is still busy")


def test_small_and_chunked_bodies_are_copied(t):
    def pieces(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(b"186a0\r\n" + pattern(100000) + b"\r\n186a0\r\n" + pattern(100000) + b"\r\n0\r\n\r\n")

    o, s = setup(t)
    o.on("/pieces", pieces)
    with Client(s.port) as c:
        download(c, 65535)
        upload(c, 65535)
        check_eq(len(c.get("/pieces").body), 200000)
    check_eq(moved(s, "splice", "s2c") + moved(s, "splice", "c2s"), 0)


def test_configuration_can_forbid_it(t):
    for keys in ({"top": 'kernel { splice "copy"; }'}, {"route": 'splice "copy"'}):
        o, s = setup(t, **keys)
        with Client(s.port) as c:
            download(c, MIB)
            upload(c, MIB)
        check_eq(moved(s, "splice", "s2c") + moved(s, "splice", "c2s"), 0)


def test_access_log_tells_what_was_spliced(t):
    o, s = setup(t)
    with Client(s.port) as c:
        download(c, 3 * MIB)
        upload(c, 2 * MIB)
    line = log_line(s, "/big/")
    check_eq(line["body_bytes_sent"], 3 * MIB)
    check(2.9 * MIB < line["bytes_sent_spliced"] <= 3 * MIB, "%r", line)
    line = log_line(s, "/digest")
    check_eq(line["body_bytes_received"], 2 * MIB)
    check(1.9 * MIB < line["bytes_received_spliced"] <= 2 * MIB, "%r", line)


def test_idempotent_upload_can_be_replayed_until_the_buffer_is_full(t):
    o, s = setup(t, route="retry-policy { max-attempts 3; }")
    with Client(s.port) as c:
        upload(c, 4 * MIB, "PUT")
    line = log_line(s, "/digest")
    check(0 < line["bytes_received_spliced"] <= 4 * MIB - 65536, "%r", line)


def test_expect_100_continue_is_answered(t):
    o, s = setup(t)
    with Client(s.port) as c:
        c.send("POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % MIB)
        check_eq(c.interim().status, 100)
        c.send(pattern(MIB))
        check_eq(c.response().body.decode(), "%d %s" % (MIB, digest_of(MIB)))


def test_slow_reader_holds_little_and_gets_everything(t):
    o, s = setup(t)
    c = Client(s.port, rcvbuf=16384, timeout=60)
    most = tcp_bytes_max("rmem") + 2 * tcp_bytes_max("wmem") + 4 * MIB  # what the kernel may keep, and a pipe
    size = most + 30 * MIB
    c.send("GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
    r = c.head()
    time.sleep(1)
    check(o.big_sent < most, "the origin could send %d bytes to nobody", o.big_sent)
    with Client(s.port) as other:
        download(other, 5 * MIB)
    got = sum(len(p) for p in c.pieces(r))
    check_eq(got, size)


def test_reader_that_stops_is_cut_off(t):
    o, s = setup(t, listener="write-idle-timeout-secs 1")
    base = s.baseline()
    c = Client(s.port, rcvbuf=8192)
    c.send("GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (50 * MIB))
    c.head()
    line = log_line(s, "/big/")
    check(line["failure"], "%r", line)
    c.close()
    s.wait_gauges(base)
    wait_for(lambda: is_clean(s), "a pipe is still busy")


def test_origin_that_stops_is_a_read_timeout(t):
    def stuck(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB)
        connection.send(pattern(300000))
        connection.wait_end()

    o, s = setup(t, upstream="timeouts { read-secs 1; }")
    o.on("/stuck", stuck)
    with Client(s.port) as c:
        c.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        check_eq(len(c.end()[1].split(b"\r\n\r\n", 1)[1]), 300000)
    check_eq(log_line(s, "/stuck")["failure"], "read_timeout")


def test_client_that_stops_is_a_body_timeout(t):
    o, s = setup(t, listener="body-idle-timeout-secs 1")
    with Client(s.port) as c:
        c.send("POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MIB)
        c.send(pattern(300000))
        check_eq(c.head().status, 408)


def test_origin_dies_in_the_body(t):
    def dies(how):
        def serve(connection, request):
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB)
            connection.send(pattern(500000))
            time.sleep(0.2)
            getattr(connection, how)()
        return serve

    o, s = setup(t)
    o.on("/rst", dies("reset")).on("/fin", dies("close"))
    base = s.baseline()
    for path, reason in (("/rst", "reset"), ("/fin", "closed_early")):
        c = Client(s.port)
        c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        end, data = c.end()
        check_eq(end, "rst", path)
        check_eq(log_line(s, path)["failure"], reason)
    s.wait_gauges(base)
    wait_for(lambda: is_clean(s), "a pipe is still busy")


def test_client_dies_in_either_body(t):
    o, s = setup(t)
    fetch(s.port, "/bytes/1", fields=[("Connection", "close")])
    base = s.baseline()
    for how in ("reset", "close"):
        for _ in range(5):
            c = Client(s.port, rcvbuf=8192)
            c.send("GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (20 * MIB))
            c.head()
            getattr(c, how)()
            c = Client(s.port)
            c.send("POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (20 * MIB))
            c.send(pattern(2 * MIB))
            getattr(c, how)()
    for connection in list(o.connections):
        connection.reset()
    s.wait_gauges(base)
    wait_for(lambda: is_clean(s), "a pipe is still busy")
    with Client(s.port) as c:
        download(c, 5 * MIB)


def test_early_answer_ends_the_upload(t):
    def early(connection, request):
        request.is_body_read = True
        connection.reader.some()
        connection.answer(status=403, body=b"no", is_close=True)

    o, s = setup(t)
    o.on("/refuse", early)
    c = Client(s.port)
    c.send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (50 * MIB))
    try:
        for _ in range(50):
            c.send(pattern(MIB))
    except Exception as error:  # it is told to stop
        check("Reset" in type(error).__name__ or "Closed" in type(error).__name__, "%r", error)
    wait_for(lambda: log_line(s, "/refuse")["status"] == 403, "no 403")


def test_more_than_announced_is_not_the_next_response(t):
    def more(connection, request):
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB)
        connection.send(pattern(MIB) + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    o, s = setup(t)
    o.on("/more", more)
    with Client(s.port) as c:
        for _ in range(10):
            check_eq(c.get("/more").body == pattern(MIB), True)
            check_eq(c.get("/bytes/5").body, pattern(5))


def test_requests_behind_a_spliced_body_wait_their_turn(t):
    o, s = setup(t)
    with Client(s.port) as c:
        head = "POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MIB
        sender = threading.Thread(target=lambda: c.send((head.encode() + pattern(MIB)) * 5 +
                                                        b"GET /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n"), daemon=True)
        sender.start()
        for _ in range(5):
            check_eq(c.response().body.decode(), "%d %s" % (MIB, digest_of(MIB)))
        check_eq(c.response().body, pattern(9))
        sender.join(5)


def test_without_pipes_everything_is_copied_and_counted(t):
    """The user's share of pipes is taken by others: by pipes of this process, which are the same user's."""
    with open("/proc/sys/fs/pipe-user-pages-soft", encoding="ascii") as file:
        soft = int(file.read())
    if os.geteuid() != 0 or not soft:
        from lib.case import Skip
        raise Skip("needs root and a limit of pipes")
    s = None
    o = t.origin()
    o.on("/big/*", big).on("/digest", digest)
    s = t.sentinel(o, limits='max-body-size "200MB"', system='user "games"')  # who has no pipes of other tests
    held = pipes_of("games")
    t.closers.append(held)
    with Client(s.port) as c:
        download(c, 3 * MIB)
        upload(c, 3 * MIB)
    check_eq(moved(s, "splice", "s2c") + moved(s, "splice", "c2s"), 0)
    wait_for(lambda: s.metrics().sum("splice_no_pipe_total") >= 2, "not counted")


def pipes_of(name):
    """A process of that user that holds pipes until none can be made larger; returns what ends it."""
    import pwd
    import subprocess
    import sys
    uid = pwd.getpwnam(name).pw_uid
    child = subprocess.Popen([sys.executable, "-c", """
import fcntl, os, sys
os.setgid(65534); os.setuid(%d)
held = []
try:
    while True:
        r, w = os.pipe()
        held.append((r, w))
        size = 1 << 20
        while size > 65536:
            try:
                fcntl.fcntl(w, 1031, size)
                break
            except PermissionError:
                size //= 2
        else:
            break
except OSError:
    pass
print("full", flush=True)
sys.stdin.read()
""" % uid], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check_eq(child.stdout.readline(), b"full\n")

    def end():
        child.stdin.close()
        child.wait()
    return end


def test_reload_in_the_middle_of_a_body(t):
    o, s = setup(t)
    with Client(s.port, rcvbuf=65536) as c:
        c.send("GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (40 * MIB))
        r = c.head()
        h, got = hashlib.sha256(), 0
        for piece in c.pieces(r):
            if got < 5 * MIB <= got + len(piece):
                s.write_config(top='kernel { splice "copy"; }')
                s.reload()
            h.update(piece)
            got += len(piece)
        check_eq((got, h.hexdigest()), (40 * MIB, digest_of(40 * MIB)))
    wait_for(lambda: s.metric("snapshots") == 1, "the old configuration stays")


def echo_tunnel(s, count):
    c = Client(s.port, timeout=60)
    c.send(CONNECT)
    check_eq(c.head().status, 101)
    sender = threading.Thread(target=lambda: [c.send(PATTERN[:count - at]) for at in range(0, count, len(PATTERN))],
                              daemon=True)
    sender.start()
    h, got = hashlib.sha256(bytes(c.reader.buffer)), len(c.reader.buffer)
    c.reader.buffer.clear()
    while got < count:
        piece = c.recv()
        check(piece, "ended after %d", got)
        h.update(piece)
        got += len(piece)
    sender.join(10)
    check_eq(h.hexdigest(), digest_of(count))
    return c


def test_busy_tunnel_moves_to_the_kernel_and_its_ends_are_seen(t):
    o, s = setup(t, route="websocket #true")
    base = s.baseline()
    c = echo_tunnel(s, 100 * MIB)
    for direction in ("c2s", "s2c"):
        check(moved(s, "splice", direction) > 20 * MIB, "%s: spliced %d", direction, moved(s, "splice", direction))
    for _ in range(20):  # small ones still pass
        c.send(b"ping")
        check_eq(bytes(c.reader.exactly(4)), b"ping")
    c.half_close()
    check_eq(c.check_closed(), "fin")
    for connection in list(o.connections):
        connection.reset()
    s.wait_gauges(base)
    wait_for(lambda: is_clean(s), "a pipe is still busy")


def test_tunnel_can_be_spliced_from_its_beginning(t):
    o, s = setup(t, route='websocket #true\nsplice "splice"')
    c = Client(s.port)
    c.send(CONNECT + b"early")
    check_eq(c.head().status, 101)
    check_eq(bytes(c.reader.exactly(5)), b"early")
    for n in range(50):
        c.send(b"%04d" % n)
        check_eq(bytes(c.reader.exactly(4)), b"%04d" % n)
    check(moved(s, "splice", "c2s") >= 190, "%r", moved(s, "splice", "c2s"))
    c.reset()
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel is open")
    c = echo_tunnel(s, 10 * MIB)
    for connection in list(o.connections):
        connection.reset()
    check_eq(c.end()[0], "rst")
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel is open")
    wait_for(lambda: is_clean(s), "a pipe is still busy")


def test_urgent_bytes_do_not_stop_what_is_spliced(t):
    """splice(2) does not get past TCP's urgent data."""
    o, s = setup(t, route='websocket #true\nsplice "splice"')
    with Client(s.port) as c:
        c.send(CONNECT)
        check_eq(c.head().status, 101)
        for n in range(20):
            c.send(b"%04d" % n)
            c.socket.send(b"!", socket.MSG_OOB)
            c.send(b"behind")
            check_eq(bytes(c.reader.exactly(10)), b"%04dbehind" % n)
        check(moved(s, "splice", "c2s") > 0, "nothing was spliced")
    with Client(s.port) as c:
        c.send("POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * len(PATTERN)))
        r = o.wait_requests(2)[1]
        for n in range(64):
            c.send(PATTERN)
            if n % 8 == 4:  # it waits for the next byte; of two urgent ones the first would be a byte as any other
                wait_for(lambda: r.connection.received_count - len(r.head) - 4 == (n + 1) * len(PATTERN), "the body so far")
                c.socket.send(b"!", socket.MSG_OOB)
        check_eq(c.response().body.decode(), "%d %s" % (64 * len(PATTERN), digest_of(64 * len(PATTERN))))
    wait_for(lambda: is_clean(s), "a pipe is still busy")
