# SPDX-License-Identifier: GPL-2.0-only
# test_upgrade_tunnels.py - tunnels between plain connections go on in the new process, byte by byte; others stay.
import hashlib
import json
import os
import shutil
import signal
import socket
import threading
import time

from lib import Client, check, check_eq, fetch, wait_for
from lib.case import scale
from lib.origin import pattern
from test_tunnel import UPGRADE, echoes, exactly, tunnel_open
from test_sockmap import are_gone, objects_of, splice_objects
from test_upgrade import ended, nobody, own_binary, replace, upgrade

LONG = ("test_hundred_tunnels_in_the_kernel_move_ten_times", "test_tunnels_stay_in_the_kernel_over_ten_upgrades",
        "test_tunnels_stay_in_the_kernel_while_they_move")
# It measures how soon the ends come.
ALONE = ("test_new_process_that_is_killed_leaves_nothing_in_the_kernel",)


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
    wait_for(lambda: in_kernel(s, count), "they join", 20)
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


def sockmap(t, o, **keys):
    return t.sentinel(o, **dict({"workers": 2, "route": "websocket #true", "top": 'kernel { splice "sockmap"; }',
                                 "upstream": "connection-pool { max-connections 1000; }"}, **keys))


def joined(s, count):
    tunnels = [tunnel_open(s) for _ in range(count)]
    wait_for(lambda: in_kernel(s, count), "they join", 20)
    return tunnels


def test_workers_and_connections_may_change_under_tunnels_in_the_kernel(t):
    s = sockmap(t, t.origin())
    tunnels = joined(s, 12)
    for workers, limits in ((1, "max-connections 500"), (3, "max-connections 2000"), (2, "")):
        s.write_config(workers=workers, limits=limits)
        ended(upgrade(t, s))
        check(in_kernel(s, 12), "%r", flows_of(s))
        for c in tunnels:
            echoes(c, pattern(5000))
        tunnels += [tunnel_open(s)]  # in maps of the new process
        wait_for(lambda: s.metric("sockmap_joins_total") == 1, "the new one joins", 20)
        tunnels.pop().close()
        wait_for(lambda: s.metric("sockmap_tunnels") == 12, "the new one ends")
    for c in tunnels:
        c.close()
    wait_for(lambda: s.metric("sockmap_tunnels") == 0, "the end")


def test_tunnels_leave_the_kernel_first_if_the_new_process_has_none(t):
    s = sockmap(t, t.origin())
    tunnels = joined(s, 5)
    s.write_config(top='kernel { splice "copy"; }', route='websocket #true\nsplice "copy"')
    ended(upgrade(t, s))
    for c in tunnels:
        echoes(c, pattern(5000))
    check_eq({e for f in flows_of(s) for e in f["engine"].values()}, {"copy"})
    check_eq(s.stderr().count("leave the kernel before they move to the new process: it takes none"), 1)


def test_two_upgrades_at_once_keep_tunnels_in_the_kernel(t):
    s = sockmap(t, t.origin())
    traffic = [Traffic(s, 2000, 0.001) for _ in range(20)]
    wait_for(lambda: in_kernel(s, 20), "they join", 20)
    for _ in range(2):
        processes = [upgrade(t, s) for _ in range(3)]
        for old in processes:
            ended(old, 20)
        wait_for(lambda: len(flows_of(s)) == 20, "all have come")
        check(in_kernel(s, 20), "%r", flows_of(s))
    for one in traffic:
        one.stop()
    wait_for(lambda: s.metric("sockmap_tunnels") == 0, "the end")


def test_pairs_of_a_process_before_do_not_come_to_one_that_has_no_use_for_them(t):
    """Tunnels that can go only when their readers go on, while the next upgrade begins, to a file without sockmap."""
    s = sockmap(t, t.origin())
    data = pattern(8000000)
    readers = [Client(s.port, rcvbuf=4096, timeout=30) for _ in range(6)]
    for c in readers:
        c.send(UPGRADE % b"/upgrade")
        check_eq(c.head().status, 101)
    wait_for(lambda: in_kernel(s, 6), "they join", 20)
    senders = [threading.Thread(target=c.socket.sendall, args=(data,), daemon=True) for c in readers]
    for sender in senders:
        sender.start()
    s.sleep_ticks(0.5)  # all buffers are full
    got = {}

    def read(n):
        time.sleep(n * 0.2)
        got[n] = exactly(readers[n], len(data))
    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(6)]
    first = upgrade(t, s)
    for thread in threads:
        thread.start()
    s.write_config(top='kernel { splice "copy"; }', route='websocket #true\nsplice "copy"')
    second = upgrade(t, s)
    for thread in threads + senders:
        thread.join(30 * scale())
    check(all(got.get(n) == data for n in range(6)), "%r", {n: len(d) for n, d in got.items()})
    for c in readers:
        echoes(c, b"and on")
    ended(first, 20)
    ended(second, 20)
    check_eq({e for f in flows_of(s) for e in f["engine"].values()}, {"copy"})


def test_tunnels_end_while_they_move(t):
    """Clients that end at any moment around the hand-over, each after its last byte, and get every byte back."""
    s = sockmap(t, t.origin())
    for _ in range(3):
        traffic = [Traffic(s, 500, 0.002) for _ in range(40)]
        wait_for(lambda: s.metric("sockmap_tunnels") == 40, "they join", 20)

        def end():
            while not all(one.is_over for one in traffic):
                t.random.choice(traffic).is_over = True
                time.sleep(0.02)
        ender = threading.Thread(target=end, daemon=True)
        ender.start()
        old = upgrade(t, s)
        ender.join(60)
        for one in traffic:
            one.stop()
        ended(old, 20)
        wait_for(lambda: s.metric("sockmap_tunnels") == 0, "pairs stay")


def test_half_closed_tunnel_in_the_kernel_moves(t):
    o = t.origin()
    s = sockmap(t, o)
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
    wait_for(lambda: in_kernel(s, 1), "it joins", 20)
    c.send(b"all that I have")
    c.half_close()
    s.sleep_ticks(0.3)
    ended(upgrade(t, s))
    check(in_kernel(s, 1), "%r", flows_of(s))
    gate.set()
    check_eq(exactly(c, 7), b"at last")
    check_eq(c.check_closed(), "fin")
    wait_for(lambda: lines_of(s, "/late"), "the line")
    line = lines_of(s, "/late")[0]
    check_eq((line["body_bytes_received"], line["body_bytes_sent"], line.get("tunnel_end")), (15, 7, None))


def slow_reader(t, s, size, pause, is_there=lambda: True):
    """Somebody who reads nothing while every buffer is full and the tunnel moves, and then every byte."""
    c = Client(s.port, rcvbuf=4096)
    c.send(UPGRADE % b"/upgrade")
    check_eq(c.head().status, 101)
    wait_for(is_there, "it joins", 20)
    data = pattern(size)
    sender = threading.Thread(target=lambda: c.socket.sendall(data), daemon=True)
    sender.start()
    s.sleep_ticks(0.5)  # all buffers are full
    old = upgrade(t, s)
    s.sleep_ticks(pause)
    check_eq(exactly(c, len(data)), data)
    sender.join()
    echoes(c, b"and now the other")
    ended(old)
    echoes(c, b"and on")
    c.close()


def test_slow_reader_in_the_kernel_gets_every_byte(t):
    s = sockmap(t, t.origin())
    slow_reader(t, s, 12000000, 1.5, lambda: in_kernel(s, 1))


def idle_limit():
    """Seconds, and enough for an upgrade in the middle of them."""
    return 5 if scale() <= 1 else 10


def test_idle_limit_holds_across_processes_in_the_kernel(t):
    limit = idle_limit()
    s = sockmap(t, t.origin(), route='websocket #true\npolicies { tunnel-idle-timeout-secs %d; }' % limit)
    opened = time.monotonic()
    idle, busy = joined(s, 2)
    echoes(idle, b"hello")
    before = time.monotonic() - opened  # it was idle
    s.sleep_ticks(2)
    ended(upgrade(t, s))
    check(in_kernel(s, 2), "%r", flows_of(s))
    until = time.monotonic() + limit - 2.5
    while time.monotonic() < until:
        echoes(busy, b"busy")
        time.sleep(0.2)
    check_eq(idle.check_closed(), "rst")
    echoes(busy, b"still there")
    wait_for(lambda: lines_of(s, "/upgrade"), "the line")
    line = lines_of(s, "/upgrade")[0]
    check_eq((line["tunnel_end"], line["body_bytes_received"]), ("idle", 5))
    check(1000 * limit <= line["duration_ms"] < 1000 * (limit + before) + 1500 * scale(), "%r", line)


def test_tunnels_in_the_kernel_stay_as_they_were_if_there_is_no_upgrade(t):
    path = own_binary(t)
    s = sockmap(t, t.origin())
    tunnels = joined(s, 5)
    shutil.copy(path, t.path("good"))
    t.binary = t.path("good")
    for program in ("exit 3", "printf nonsense >&3\nexec sleep 100", "kill -9 $$", "exec sleep 100"):
        replace(path, "#!/bin/sh\n%s\n" % program)
        is_ok, text = s.admin("upgrade")  # the last one after ten seconds
        check(not is_ok, "%s", text)
        check(in_kernel(s, 5), "%r", flows_of(s))
        for c in tunnels:
            echoes(c, b"as before")
    check_eq((s.metric("sockmap_joins_total"), s.metric("sockmap_left_total")), (5, 0))
    shutil.copy(t.path("good"), path + ".new")
    os.rename(path + ".new", path)
    ended(upgrade(t, s))
    check(in_kernel(s, 5), "%r", flows_of(s))


def test_new_process_that_stands_still_loses_nothing(t):
    s = sockmap(t, t.origin())
    traffic = [Traffic(s, 300, 0.02) for _ in range(100)]
    wait_for(lambda: in_kernel(s, 100), "they join", 20)
    old = upgrade(t, s)
    s.process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    before = [one.got for one in traffic]
    time.sleep(0.5)
    went_on = sum(one.got > got for one, got in zip(traffic, before))
    check(went_on > 0, "the kernel stands still, and the old process")
    s.process.send_signal(signal.SIGCONT)
    for one in traffic:
        one.stop()
    ended(old, 20)
    wait_for(lambda: s.metric("tunnels_active") == 0, "tunnels stay open")


def test_new_process_that_is_killed_leaves_nothing_in_the_kernel(t):
    o = t.origin()
    s = sockmap(t, o)
    tunnels = joined(s, 5)
    before = objects_of(s)
    ended(upgrade(t, s))
    for c in tunnels:
        echoes(c, pattern(1000))
    mine = objects_of(s)
    check(before & mine and mine - before, "they are of the process before, and its own: %r, %r", before, mine)
    s.kill()
    killed = time.monotonic()
    for c in tunnels:
        check(c.end()[0] in ("fin", "rst"))
    o.wait_ends()
    check(time.monotonic() - killed < 1 * scale(), "the ends took %.1f s", time.monotonic() - killed)
    are_gone(mine)


def test_maps_of_a_process_before_go_with_its_last_tunnel(t):
    s = sockmap(t, t.origin())
    tunnels = joined(s, 3)
    first = objects_of(s)
    ended(upgrade(t, s))
    check(first & splice_objects(), "where are they?")
    for c in tunnels:
        c.close()
    are_gone(first)
    check(objects_of(s), "the new process has none of its own")


def test_tunnels_in_the_kernel_move_without_rights(t):
    s = nobody(t, workers=2, route="websocket #true", top='kernel { splice "sockmap"; }')
    tunnels = joined(s, 5)
    for _ in range(2):
        ended(upgrade(t, s))
        check(in_kernel(s, 5), "%r", flows_of(s))
        for c in tunnels:
            echoes(c, pattern(30000))
    s.write_config(top='kernel { splice "copy"; }', route='websocket #true\nsplice "copy"')
    ended(upgrade(t, s))
    for c in tunnels:
        echoes(c, pattern(30000))


def test_tunnels_without_a_pause_in_the_kernel_move(t):
    moves(t, count=2, upgrades=2, size=100000, pause=0, top='kernel { splice "sockmap"; }')


def test_hundred_tunnels_move_at_once(t):
    moves(t, count=100, upgrades=2, size=100, pause=0.03)


def test_hundred_tunnels_in_the_kernel_move_ten_times(t):
    moves(t, count=100, upgrades=10, size=100, pause=0.03, top='kernel { splice "sockmap"; }')


def test_slow_reader_gets_every_byte(t):
    slow_reader(t, t.sentinel(t.origin(), route="websocket #true"), 3000000, 0.5)


def test_idle_limit_holds_across_processes(t):
    limit = idle_limit()
    s = t.sentinel(t.origin(), route='websocket #true\npolicies { tunnel-idle-timeout-secs %d; }' % limit)
    c = tunnel_open(s)
    echoes(c, b"hello")
    s.sleep_ticks(2)
    ended(upgrade(t, s))
    check_eq(s.metric("tunnels_active"), 1)
    check_eq(c.check_closed(), "rst")
    wait_for(lambda: lines_of(s, "/upgrade"), "the line")
    line = lines_of(s, "/upgrade")[0]
    check_eq((line["tunnel_end"], line["body_bytes_received"]), ("idle", 5))
    check(1000 * limit <= line["duration_ms"] < 1000 * limit + 1500 * scale(), "%r", line)


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
