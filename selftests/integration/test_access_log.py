# SPDX-License-Identifier: GPL-2.0-only
# test_access_log.py - a line for every request: complete, escaped, soon on disk, reopened when asked.
import calendar
import json
import os
import re
import signal
import time

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib.case import scale
from lib.sentinel import whole_lines

ALONE = ("test_lines_are_on_disk_within_a_second",)

COMBINED = re.compile(r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "((?:[^"\\]|\\x[0-9a-f]{2})*)" (\d{3}) '
                      r'(\d+) "((?:[^"\\]|\\x[0-9a-f]{2})*)" "((?:[^"\\]|\\x[0-9a-f]{2})*)" (\S+) (\d+)ms')
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NASTY = 'a"b\\c\xe9\x80<script>$(id)'


def lines_json(s, count):
    return [json.loads(line) for line in s.access_lines(count)]


def test_json_line_tells_what_happened(t):
    o = t.origin()
    s = t.sentinel(o)
    before = time.time()
    r = fetch(s.port, "/echo?x=1&y=%20", "POST", [("User-Agent", "probe/1"), ("Referer", "http://r.example/"),
                                                 ("X-Request-Id", "id-1")], b"x" * 1000)
    line, = lines_json(s, 1)
    check_eq({k: line[k] for k in ("method", "path", "query", "protocol", "host", "status", "client_ip", "user_agent",
                                   "referer", "body_bytes_received", "body_bytes_sent", "route_id", "upstream",
                                   "upstream_addr", "upstream_attempts", "connection_reused", "trace_id")},
             {"method": "POST", "path": "/echo", "query": "x=1&y=%20", "protocol": "HTTP/1.1", "host": "test.example",
              "status": r.status, "client_ip": "127.0.0.1", "user_agent": "probe/1", "referer": "http://r.example/",
              "body_bytes_received": 1000, "body_bytes_sent": len(r.body), "route_id": "all", "upstream": "o",
              "upstream_addr": "127.0.0.1:%d" % o.port, "upstream_attempts": 1, "connection_reused": False,
              "trace_id": "id-1"})
    check(UUID.fullmatch(line["instance_id"]), "%r", line["instance_id"])
    at = time.strptime(line["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"]), "%r", line["timestamp"])
    check(before - 2 < calendar.timegm(at) < time.time() + 2, "time %s", line["timestamp"])
    check(0 <= line["duration_ms"] < 5000 * scale(), "%r", line["duration_ms"])


def test_duration_and_reuse_are_real(t):
    o = t.origin()
    o.on("/late", lambda connection, request: (time.sleep(0.25), connection.answer(body=b"late")))
    s = t.sentinel(o)
    with Client(s.port) as c:
        began = time.monotonic()
        c.get("/bytes/1")
        between = time.monotonic()
        c.get("/late")
        ended = time.monotonic()
    first, second = lines_json(s, 2)
    # The daemon's clock is that of the turn of its loop.
    check(first["duration_ms"] <= (between - began) * 1000 + 100, "%r", first["duration_ms"])
    check(240 <= second["duration_ms"] <= (ended - between) * 1000 + 100, "%r", second["duration_ms"])
    check_eq((first["connection_reused"], second["connection_reused"]), (False, True))


def test_strange_bytes_are_escaped_in_json(t):
    s = t.sentinel(t.origin())
    fetch(s.port, "/bytes/1?q=%22%0a", fields=[("User-Agent", NASTY), ("Referer", "\t\"},{\"x\":\"")])
    raw = s.access_lines(1)
    check_eq(len(raw), 1)
    line = json.loads(raw[0])
    check_eq(line["user_agent"].replace("\ufffd", "?"), 'a"b\\c??<script>$(id)')
    check_eq(line["referer"].strip(), '"},{"x":"')
    check_eq(line["query"], "q=%22%0a")
    check(all(" " <= ch for ch in raw[0]), "a control byte in the line")


def test_utf8_stays_readable_in_json(t):
    s = t.sentinel(t.origin())
    fetch(s.port, "/bytes/1", fields=[("User-Agent", "gr\u00fc\u00df".encode().decode("latin-1"))])
    check_eq(lines_json(s, 1)[0]["user_agent"], "gr\u00fc\u00df")


def test_combined_line_has_its_form_and_is_escaped(t):
    s = t.sentinel(t.origin(), access='format "combined"')
    fetch(s.port, "/bytes/7?a=b", fields=[("User-Agent", NASTY), ("Referer", 'x" 200 0 "-')])
    fetch(s.port, "/bytes/0", "HEAD")
    lines = s.access_lines(2)
    found = COMBINED.fullmatch(lines[0])
    check(found, "%r", lines[0])
    client, _, request, status, size, referer, agent, _, _ = found.groups()
    check_eq((client, request, status, size), ("127.0.0.1", "GET /bytes/7?a=b HTTP/1.1", "200", "7"))
    check_eq(referer, 'x\\x22 200 0 \\x22-')
    check_eq(agent, "a\\x22b\\x5cc\\xe9\\x80<script>$(id)")
    found = COMBINED.fullmatch(lines[1])
    check(found, "%r", lines[1])
    check_eq(found.groups()[2:7], ("HEAD /bytes/0 HTTP/1.1", "200", "0", "-", "-"))


def test_refused_requests_have_lines_too(t):
    s = t.sentinel(t.origin(), routes='route "a" { matches { path "/a"; }; upstream "o"; }')
    fetch(s.port, "/none")
    for head in (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
                 b"\x16\x03\x01\x00\xa5\x01\r\n\r\n"):
        with Client(s.port) as c:
            c.send(head).response()
    lines = lines_json(s, 4)
    check_eq([line["status"] for line in lines], [404, 400, 501, 400])
    check(all("upstream" not in line for line in lines), "%s", lines)
    check(all(line.get("failure") for line in lines), "no reason: %s", lines)
    check_in("BREW", json.dumps(lines[2]), "the method that is unknown")


def test_lines_are_on_disk_within_a_second(t):
    s = t.sentinel(t.origin(), access='buffer-size "1MB"')
    for i in range(1, 4):
        fetch(s.port, "/bytes/1?n=%d" % i)
        began = time.monotonic()
        s.access_lines(i, 5)
        check(time.monotonic() - began < 1.25 * scale(), "after %.2f s", time.monotonic() - began)


def test_full_buffer_is_written_before_the_second_is_over(t):
    s = t.sentinel(t.origin(), access="buffer-size 1024")
    with Client(s.port) as c:
        for _ in range(40):
            c.get("/bytes/1")
        s.access_lines(37, 0)  # at once: two lines fit into the buffer, and the last one may come after its answer


def test_two_workers_never_mix_their_lines(t):
    s = t.sentinel(t.origin(), workers=2, access="buffer-size 1024")
    clients = [Client(s.port) for _ in range(8)]
    for i in range(50):
        for j, c in enumerate(clients):
            c.send(b"GET /bytes/1?n=%d-%d%s HTTP/1.1\r\nHost: a\r\n\r\n" % (i, j, b"x" * (i * 7)))
        for c in clients:
            c.response()
    lines = lines_json(s, 400)
    check_eq(len(lines), 400)
    check_eq(sorted(line["query"].rstrip("x") for line in lines),
             sorted("n=%d-%d" % (i, j) for i in range(50) for j in range(8)))


def test_sigusr1_goes_on_in_a_new_file_and_loses_nothing(t):
    s = t.sentinel(t.origin(), workers=2)
    moved = s.access_path + ".1"
    with Client(s.port) as c:
        for i in range(20):
            c.get("/bytes/1?n=%d" % i)
        os.rename(s.access_path, moved)
        for i in range(20, 40):
            c.get("/bytes/1?n=%d" % i)
        s.signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(s.access_path), "a new file")
        for i in range(40, 60):
            c.get("/bytes/1?n=%d" % i)

        def numbers(path):
            return [int(json.loads(line)["query"][2:]) for line in whole_lines(path)]
        # A worker may learn of the signal a little later: what it still wrote is in the old file.
        wait_for(lambda: len(numbers(moved)) + len(numbers(s.access_path)) >= 60, "all lines")
        both = numbers(moved) + numbers(s.access_path)
        check_eq(both, list(range(60)), "lost, doubled or in disorder")
        check(len(numbers(moved)) >= 40, "what was written before the signal is in the old file")

        def is_new():
            c.get("/bytes/1?n=99")
            return 99 in numbers(s.access_path)
        wait_for(is_new, "the new file is not used")


def test_switched_off_log_writes_nothing(t):
    s = t.sentinel(t.origin(), access="enabled #false")
    check_eq(fetch(s.port, "/bytes/1").status, 200)
    s.stop()
    check(not os.path.exists(s.access_path), "a file")


def test_disk_that_is_full_loses_lines_and_counts_them_but_serves(t):
    s = t.sentinel(t.origin(), start=False, access="buffer-size 1024")
    s.access_path = "/dev/full"
    s.write_config()
    s.start()
    with Client(s.port) as c:
        for _ in range(20):
            check_eq(c.get("/bytes/1").status, 200)
    wait_for(lambda: s.metric("log_lines_dropped_total") >= 20, "dropped lines are not counted")


def test_client_address_behind_a_trusted_proxy_is_logged(t):
    s = t.sentinel(t.origin(), system='trusted-proxies "127.0.0.0/8"')
    fetch(s.port, "/bytes/1", fields=[("X-Forwarded-For", "198.51.100.7")])
    check_eq(lines_json(s, 1)[0]["client_ip"], "198.51.100.7")


def test_no_line_is_lost_at_the_end(t):
    s = t.sentinel(t.origin(), workers=2, access='buffer-size "1MB"')
    with Client(s.port) as c:
        for _ in range(300):
            c.get("/bytes/1")
    s.stop()
    with open(s.access_path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    check_eq(len(lines), 300)
    for line in lines:
        json.loads(line)
