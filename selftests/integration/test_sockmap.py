# SPDX-License-Identifier: GPL-2.0-only
# test_sockmap.py - tunnels that the kernel carries, with real clients and origins: every byte, and every way to end.
import hashlib
import json
import os
import threading
import time

from lib import Client, check, check_eq, wait_for
from lib.origin import pattern

LIMIT_S = 120
UPGRADE = (b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
FORCED = 'kernel { splice "sockmap"; }'


def setup(t, **keys):
    o = t.origin()
    keys.setdefault("top", FORCED)
    s = t.sentinel(o, route="websocket #true\n" + keys.pop("route", ""), **keys)
    check_eq(s.metric("sockmap_available"), 1, "sockmap here")
    return o, s


def tunnel_open(s, **keys):
    c = Client(s.port, **keys)
    c.send(UPGRADE)
    check_eq(c.head().status, 101)
    return c


def exactly(c, count):
    data = bytearray(c.reader.buffer)
    c.reader.buffer.clear()
    while len(data) < count:
        piece = c.recv()
        check(piece, "ended after %d of %d bytes", len(data), count)
        data += piece
    return bytes(data)


def echoes(c, data):
    c.send(data)
    check_eq(exactly(c, len(data)), data)


def in_kernel(s, count=1):
    wait_for(lambda: s.metric("sockmap_tunnels") == count, lambda: "not %d tunnels in the kernel: %s" % (
        count, [l for l in s.metrics().text.splitlines() if "sockmap" in l and "#" not in l]))


def log_line(s, path="/upgrade"):
    return wait_for(lambda: next((json.loads(l) for l in reversed(s.access_lines()) if path in l), None), "no line of " + path)


def test_websocket_tunnel_goes_by_the_kernel(t):
    o, s = setup(t)
    c = tunnel_open(s)
    in_kernel(s)
    total = 0
    for data in (b"hello", bytes(range(256)), pattern(1000), pattern(100000)):
        echoes(c, data)
        total += len(data)
    wait_for(lambda: s.metric("tunnel_bytes_total", direction="c2s") == total, "bytes are not counted")
    wait_for(lambda: s.metric("tunnel_bytes_total", direction="s2c") == total, "bytes are not counted")
    check(s.metric("body_bytes_total", engine="sockmap") > 0.9 * 2 * total, "%s", s.metrics().text)
    c.half_close()
    check_eq(c.check_closed(), "fin")
    line = log_line(s)
    check_eq((line["body_bytes_received"], line["body_bytes_sent"]), (total, total))
    check(line["bytes_received_sockmap"] > 0.9 * total and line["bytes_sent_sockmap"] > 0.9 * total, "%r", line)
    check("tunnel_end" not in line and "bytes_undelivered" not in line, "%r", line)
    wait_for(lambda: s.metric("tunnels_active") == 0, "the tunnel is counted as open")
