# SPDX-License-Identifier: GPL-2.0-only
# test_upgrade_tunnels.py - tunnels between plain connections go on in the new process, byte by byte; others stay.
import hashlib
import json
import socket
import threading
import time

from lib import Client, check, check_eq, fetch, wait_for
from lib.case import scale
from lib.origin import pattern
from test_tunnel import UPGRADE, echoes, exactly, tunnel_open
from test_upgrade import ended, upgrade

LIMIT_S = 120
LONG = ("test_hundred_tunnels_in_the_kernel_move_ten_times",)


class Traffic:
    """Sends and receives all the time through an echoing tunnel; both directions are checked."""

    def __init__(self, s, size=1000, pause=0, path=b"/upgrade"):
        self.client = Client(s.port)
        self.client.send(UPGRADE % path)
        check_eq(self.client.head().status, 101)
        self.size, self.pause, self.sent, self.got = size, pause, 0, 0
        self.hash_sent, self.hash_got = hashlib.sha256(), hashlib.sha256()
        self.is_over, self.error = False, None
        rest = bytes(self.client.reader.buffer)
        self.client.reader.buffer.clear()
        check_eq(rest, b"")
        self.threads = [threading.Thread(target=self.guarded, args=(f,), daemon=True) for f in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def guarded(self, function):
        try:
            function()
        except Exception as error:
            self.error = "%s: %s after %d of %d bytes" % (type(error).__name__, error, self.got, self.sent)

    def send(self):
        i = 0
        while not self.is_over:
            data = bytes([i % 251]) * (self.size + i % 7)
            i += 1
            self.client.socket.sendall(data)
            self.hash_sent.update(data)
            self.sent += len(data)
            time.sleep(self.pause)
        self.client.socket.shutdown(socket.SHUT_WR)

    def receive(self):
        while True:
            data = self.client.socket.recv(65536)
            if not data:
                return
            self.hash_got.update(data)
            self.got += len(data)

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(20 * scale())
            check(not thread.is_alive(), "stuck after %d of %d bytes", self.got, self.sent)
        check(not self.error, "%s", self.error)
        check_eq((self.got, self.hash_got.digest()), (self.sent, self.hash_sent.digest()))
        self.client.close()
        return self.sent


def lines_of(s, path):
    return [json.loads(line) for line in s.access_lines() if path in line]


def moves(t, count=20, upgrades=5, size=1000, pause=0.001, **keys):
    s = t.sentinel(t.origin(), workers=2, route="websocket #true", upstream="connection-pool { max-connections 1000; }",
                   **keys)
    traffic = [Traffic(s, size, pause) for _ in range(count)]
    quiet = [tunnel_open(s) for _ in range(5)]
    for c in quiet:
        echoes(c, b"hello")
    for i in range(upgrades):
        old = upgrade(t, s)
        ended(old, 20)  # nothing keeps it
        for one in traffic:
            before = one.got
            wait_for(lambda: one.got > before or one.error, "the traffic goes on")
        for n, c in enumerate(quiet):
            echoes(c, b"%d after %d" % (n, i))
    check_eq(s.status()["connections"], count + len(quiet))
    total = sum(one.stop() for one in traffic)
    for c in quiet:
        c.close()
    wait_for(lambda: s.metric("tunnels_active") == 0, "tunnels stay open")
    wait_for(lambda: len(lines_of(s, "/upgrade")) == count + len(quiet), lambda: "a line for each tunnel: %d"
             % len(lines_of(s, "/upgrade")))
    lines = lines_of(s, "/upgrade")
    hello = len(quiet) * (5 + upgrades * len("0 after 0"))
    check_eq(sum(line["body_bytes_received"] for line in lines), total + hello)
    check_eq(sum(line["body_bytes_sent"] for line in lines), total + hello)
    check(all(line["route_id"] == "all" and line["status"] == 101 and line["client_ip"] == "127.0.0.1"
              and line["trace_id"] and line["upstream_addr"] for line in lines), "%r", lines[0])
    wait_for(lambda: s.status()["connections"] == 0, "connections stay open")


def test_tunnels_under_traffic_move(t):
    moves(t)


def test_busy_tunnels_by_splice_move(t):
    moves(t, count=4, upgrades=3, size=200000, pause=0, top='kernel { splice "splice"; }')


def test_tunnels_by_copy_move(t):
    moves(t, count=10, upgrades=3, size=20000, top='kernel { splice "copy"; }')


def test_tunnels_in_the_kernel_move(t):
    moves(t, count=4, upgrades=3, size=3000, top='kernel { splice "sockmap"; }')


def flows_of(s):
    return json.loads(s.command("flows", "--json", "--limit", "1000"))["flows"]


def in_kernel(s, count):
    """Every tunnel is there, both ways, for the first time."""
    flows = flows_of(s)
    return len(flows) == count and all(set(f["engine"].values()) == {"sockmap"} and f["joins"] == 1 for f in flows)


def stay_in_the_kernel(t, count, upgrades, share=0.5, **keys):
    s = t.sentinel(t.origin(), workers=2, route="websocket #true", upstream="connection-pool { max-connections 1000; }",
                   top='kernel { splice "sockmap"; }')
    traffic = [Traffic(s, **keys) for _ in range(count)]
    wait_for(lambda: in_kernel(s, count), "they join")
    for _ in range(upgrades):
        old = upgrade(t, s)
        ended(old, 20)
        check(in_kernel(s, count), "not all in the kernel, without a second join: %r", flows_of(s)[-1])
        check_eq((s.metric("sockmap_adopted_total"), s.metric("sockmap_joins_total")), (count, 0))
        check_eq(sum(s.metric("sockmap_left_total", reason=r) for r in ("asked", "ended", "refused")), 0)
        for one in traffic:
            before = one.got
            wait_for(lambda: one.got > before or one.error, "the traffic goes on")
    total = sum(one.stop() for one in traffic)
    wait_for(lambda: s.metric("tunnels_active") == 0, "tunnels stay open")
    wait_for(lambda: len(lines_of(s, "/upgrade")) == count, "a line for each tunnel")
    lines = lines_of(s, "/upgrade")
    for way in ("received", "sent"):
        check_eq(sum(line["body_bytes_" + way] for line in lines), total)
        in_it = sum(line["bytes_%s_sockmap" % way] for line in lines)
        check(total * share < in_it <= total, "%d of %d bytes %s by the kernel", in_it, total, way)
    wait_for(lambda: s.metric("sockmap_tunnels") == 0, "pairs stay in the kernel")


def test_tunnels_stay_in_the_kernel_while_they_move(t):
    stay_in_the_kernel(t, 100, 1, size=1000, pause=0.02)


def test_tunnels_stay_in_the_kernel_over_ten_upgrades(t):
    stay_in_the_kernel(t, 20, 10, size=3000, pause=0.002)


def test_tunnels_without_a_pause_stay_in_the_kernel(t):
    stay_in_the_kernel(t, 3, 3, share=0.01, size=20000, pause=0)


def test_tunnels_without_a_pause_leave_the_kernel(t):
    moves(t, count=2, upgrades=2, size=100000, pause=0, top='kernel { splice "sockmap"; }')


def test_hundred_tunnels_move_at_once(t):
    moves(t, count=100, upgrades=2, size=100, pause=0.03)


def test_hundred_tunnels_in_the_kernel_move_ten_times(t):
    moves(t, count=100, upgrades=10, size=100, pause=0.03, top='kernel { splice "sockmap"; }')


def test_slow_reader_gets_every_byte(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    c = Client(s.port, rcvbuf=4096)
    c.send(UPGRADE % b"/upgrade")
    check_eq(c.head().status, 101)
    data = pattern(3000000)
    sender = threading.Thread(target=lambda: c.socket.sendall(data), daemon=True)
    sender.start()
    s.sleep_ticks(0.5)  # all buffers are full
    old = upgrade(t, s)
    s.sleep_ticks(0.5)
    check_eq(exactly(c, len(data)), data)
    sender.join()
    echoes(c, b"and now the other")
    ended(old)
    echoes(c, b"and on")
    c.close()


def test_idle_limit_holds_across_processes(t):
    s = t.sentinel(t.origin(), route='websocket #true\npolicies { tunnel-idle-timeout-secs "5s"; }')
    c = tunnel_open(s)
    echoes(c, b"hello")
    s.sleep_ticks(2)
    ended(upgrade(t, s))
    check_eq(s.metric("tunnels_active"), 1)
    check_eq(c.check_closed(), "rst")
    wait_for(lambda: lines_of(s, "/upgrade"), "the line")
    line = lines_of(s, "/upgrade")[0]
    check_eq((line["tunnel_end"], line["body_bytes_received"]), ("idle", 5))
    check(5000 <= line["duration_ms"] < 6500 * scale(), "%r", line)


def test_a_tunnel_that_moved_is_a_request_of_its_route(t):
    s = t.sentinel(t.origin(), limits="max-connections-per-route 1", route="websocket #true")
    c = tunnel_open(s)
    echoes(c, b"before")
    ended(upgrade(t, s))
    echoes(c, b"after")
    check_eq(fetch(s.port, "/").status, 503)
    c.close()
    wait_for(lambda: fetch(s.port, "/").status == 200, "the place of the tunnel is not free")


def test_plain_tcp_and_connect_move(t):
    o = t.origin()
    tcp = t.port()
    s = t.sentinel(o, start=False)
    s.write_config(listeners='listener "main" { address "127.0.0.1:%d"; }\nlistener "tcp" { address "127.0.0.1:%d"; '
                   'protocol "tcp"; default-route "all"; }' % (s.port, tcp))
    s.start()
    c = Client(tcp)
    c.send(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    check_eq(c.head().status, 101)
    echoes(c, b"hello")
    ended(upgrade(t, s))
    echoes(c, pattern(100000))
    listed = json.loads(s.command("flows", "--json"))
    flow = (listed["flows"] if isinstance(listed, dict) else listed)[0]
    check_eq((flow["kind"], flow["listener"], flow["route"]), ("tcp", "tcp", "all"))
    c.close()
    wait_for(lambda: s.metric("tunnels_active") == 0, "the end")


def test_tunnel_over_tls_stays_until_it_ends(t):
    from lib.tls import Authority, TlsClient, context, tls_block
    ca = Authority(t)
    s = t.sentinel(t.origin(), route="websocket #true", listener=tls_block(ca.issue("a", ["a.example"])))
    c = TlsClient(s.port, context(ca), "a.example")
    c.send(UPGRADE % b"/upgrade")
    check_eq(c.head().status, 101)
    echoes(c, b"hello")
    old = upgrade(t, s)
    s.sleep_ticks(1)
    check(old.poll() is None, "the old process has ended")
    echoes(c, pattern(100000))
    c.close()
    ended(old)


def test_half_closed_tunnel_stays_until_it_ends(t):
    o = t.origin()
    s = t.sentinel(o, route="websocket #true")
    gate = threading.Event()

    def late(connection, request):
        connection.send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while connection.recv():
            pass
        gate.wait(20)
        connection.send(b"at last")
        connection.close()
    o.on("/late", late)
    c = tunnel_open(s, b"/late")
    c.send(b"all that I have")
    c.half_close()
    s.sleep_ticks(0.3)
    old = upgrade(t, s)
    s.sleep_ticks(1)
    check(old.poll() is None, "the old process has ended")
    gate.set()
    check_eq(exactly(c, 7), b"at last")
    check_eq(c.check_closed(), "fin")
    ended(old)
