# SPDX-License-Identifier: GPL-2.0-only
# test_access_log.py - a line for each request: escaped, on disk within a second, reopened on SIGUSR1.
import json
import os
import re
import signal
import time

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib.case import scale


def test_json_line_has_all_of_a_request(t):
    o = t.origin()
    s = t.sentinel(o)
    fetch(s.port, "/echo/x?a=b&c", "POST", [("User-Agent", "test/1"), ("Referer", "http://r/"), ("X-Request-Id", "id-1")],
          b"12345", host="h.example")
    line = json.loads(s.access_lines(1)[0])
    wanted = {"trace_id": "id-1", "method": "POST", "path": "/echo/x", "query": "a=b&c", "status": 200, "user_agent": "test/1",
              "referer": "http://r/", "body_bytes_sent": 5, "route_id": "all", "upstream": "o",
              "upstream_addr": "127.0.0.1:%d" % o.port, "host": "h.example", "connection_reused": False}
    check_eq({k: line.get(k) for k in wanted}, wanted)
    check(line["client_ip"].startswith("127.0.0.1"))
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"]), line["timestamp"])
    check(0 <= line["duration_ms"] < 5000)


def test_lines_are_on_disk_within_a_second(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        c.get("/bytes/1")
        began = time.monotonic()
        s.access_lines(1)
        check(time.monotonic() - began < 1.3 * scale(), "%.1f s", time.monotonic() - began)


def test_evil_bytes_are_escaped_in_json(t):
    s = t.sentinel(t.origin())
    evil = 'a"b\\c\xe9\x80 </script>'
    fetch(s.port, '/a"b%0a%22?"q=\x7e', fields=[("User-Agent", evil), ("Referer", evil)])
    lines = s.access_lines(1)
    check_eq(len(lines), 1)
    line = json.loads(lines[0])
    check_eq(line["path"], '/a"b%0a%22')
    check_in('a"b\\c', line["user_agent"])


def test_evil_bytes_are_escaped_in_combined(t):
    s = t.sentinel(t.origin(), access='format "combined"')
    fetch(s.port, '/a"b?x', fields=[("User-Agent", 'u"a\\\xe9'), ("Referer", "-\" \"forged")])
    lines = s.access_lines(1)
    check_eq(len(lines), 1)
    found = re.fullmatch(r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "((?:[^"\\]|\\.)*)" 200 \d+ '
                         r'"((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)" \S+ \d+ms', lines[0])
    check(found, lines[0])
    check(lines[0].isascii())


def test_sigusr1_reopens_the_file(t):
    s = t.sentinel(t.origin(), workers=2)
    fetch(s.port, "/bytes/1")
    s.access_lines(1)
    os.rename(s.access_path, s.access_path + ".1")
    s.signal(signal.SIGUSR1)
    wait_for(lambda: os.path.exists(s.access_path), "the new file")
    for _ in range(20):
        fetch(s.port, "/bytes/2")
    s.access_lines(20)
    with open(s.access_path + ".1", encoding="utf-8") as file:
        check_eq(len(file.read().splitlines()), 1)


def test_no_line_is_lost_at_the_end(t):
    s = t.sentinel(t.origin(), workers=2)
    with Client(s.port) as c:
        for _ in range(300):
            c.get("/bytes/1")
    s.stop()
    with open(s.access_path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    check_eq(len(lines), 300)
    for line in lines:
        json.loads(line)


def test_refusals_are_logged_with_their_cause(t):
    s = t.sentinel("127.0.0.1:1")
    fetch(s.port, "/x")
    with Client(s.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").response()
    lines = [json.loads(line) for line in s.access_lines(2)]
    check_eq({(line["status"], bool(line.get("failure"))) for line in lines}, {(503, True), (400, True)})


def test_log_can_be_switched_off(t):
    s = t.sentinel(t.origin(), access="enabled #false")
    fetch(s.port, "/bytes/1")
    s.sleep_ticks(0.3)
    s.stop()
    check(not os.path.exists(s.access_path) or os.path.getsize(s.access_path) == 0)
