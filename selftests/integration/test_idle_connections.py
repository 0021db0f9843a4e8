# SPDX-License-Identifier: GPL-2.0-only
# test_idle_connections.py - ten thousand clients that do nothing.
import resource
import socket

from lib import Client, Skip, check, wait_for
from lib.case import scale

COUNT = 10000


def ask(c):
    """A request, and its whole answer: nothing of it stays behind."""
    c.sendall(b"GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    got = b""
    while not got.partition(b"\r\n\r\n")[2]:
        piece = c.recv(4096)
        check(piece, "closed after %r", got)
        got += piece
    check(got.startswith(b"HTTP/1.1 200"), "%r", got)


def test_ten_thousand_idle_connections_cost_little_and_are_served(t):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(COUNT, soft - 500)
    if count < 2000:
        raise Skip("only %d descriptors" % soft)
    s = t.sentinel(t.origin(), system="max-connections 20000", listener="head-timeout-secs 60")
    with Client(s.port) as c:
        c.get("/bytes/1")
    base = s.baseline()
    before = s.rss()
    clients = []
    for i in range(count):
        c = socket.create_connection(("127.0.0.1", s.port), timeout=30 * scale())
        clients.append(c)
        if i % 100 == 0:  # one in a hundred has made a request
            ask(c)
    wait_for(lambda: s.metric("open_connections") >= count, "all connections to be open", 20)
    per = (s.rss() - before) / count
    check(per < 2048 or scale() > 1, "%d bytes of userspace a connection", per)
    cpu = s.cpu()
    s.sleep_ticks(1)
    check(s.cpu() - cpu < 0.15 * scale(), "%.2f s of CPU in a second without work", s.cpu() - cpu)
    for c in clients[::500]:
        ask(c)
    for c in clients:
        c.close()
    s.wait_gauges(base, 30)
