# SPDX-License-Identifier: GPL-2.0-only
# test_metrics.py - the page of metrics: valid, complete, and fed.
import os
import re
import shutil
import subprocess

from lib import Client, Skip, check, check_eq, check_in, fetch, wait_for

DEF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../userspace/observe/metrics.def")


def families():
    with open(DEF, encoding="utf-8") as file:
        return re.findall(r'^METRIC\((\w+), (\w+), "(\w+)", "([^"]*)"', file.read(), re.M)


def busy_proxy(t):
    """A daemon that has seen a little of everything."""
    s = t.sentinel(t.origin(), "127.0.0.1:1", route="websocket #true\nretry-policy { max-attempts 3; backoff-base-ms 1; }",
                   workers=2)
    for path in ("/bytes/10", "/bytes/1000", "/status/500", "/nothing", "/echo"):
        fetch(s.port, path)
    fetch(s.port, "/echo", "POST", body=b"x" * 5000)
    with Client(s.port) as c:
        c.send(b"bad\r\n\r\n").response()
    from test_tunnel import echoes, tunnel_open
    echoes(tunnel_open(s), b"hello")
    return s


def test_promtool_is_silent(t):
    if not shutil.which("promtool"):
        raise Skip("no promtool")
    s = busy_proxy(t)
    page = fetch(s.admin_port, "/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=page, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=30)
    check_eq((done.returncode, done.stdout.decode()), (0, ""))


def test_every_family_is_declared_with_its_kind(t):
    s = busy_proxy(t)
    text = s.metrics().text
    rows = families()
    check(len(rows) > 30, "%d rows", len(rows))
    missing = [n for _, _, n, _ in rows if "# TYPE sentinel_%s " % n not in text]
    check_eq(missing, [])
    for _, kind, name, _ in rows:
        word = "histogram" if kind.startswith("HIST") else "counter" if kind.startswith("COUNTER") else "gauge"
        check_in("# TYPE sentinel_%s %s" % (name, word), text)


def test_requests_are_counted_by_route_method_and_status(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        for _ in range(7):
            c.get("/bytes/1")
        c.request("POST", "/status/404", body=b"x" * 50)
    page = s.metrics()
    check_eq(page.sum("requests_total", route="all", method="GET", status="200"), 7)
    check_eq(page.sum("requests_total", route="all", method="POST", status="404"), 1)
    check_eq(page.sum("request_duration_seconds_count"), 8)
    check_eq(page.sum("request_body_size_bytes_sum"), 50)
    check_eq(page.sum("response_body_size_bytes_sum"), 13)


def test_histograms_are_cumulative_and_end_at_the_count(t):
    s = busy_proxy(t)
    page = s.metrics()
    series = {}
    for name, labels, value in page.samples:
        if name.endswith("_bucket"):
            key = (name, tuple(sorted((k, v) for k, v in labels.items() if k != "le")))
            series.setdefault(key, []).append((float(labels["le"].replace("+Inf", "inf")), value))
    check(series)
    for (name, labels), buckets in series.items():
        buckets.sort()
        values = [v for _, v in buckets]
        check_eq(values, sorted(values), name)
        check_eq(buckets[-1][0], float("inf"))
        count = [v for n, l, v in page.samples if n == name[:-7] + "_count" and tuple(sorted(l.items())) == labels]
        check_eq(count, [values[-1]], name)


def test_gauges_move(t):
    s = t.sentinel(t.origin())
    page = s.metrics()
    check_eq(page.sum("up"), 1)
    check(page.sum("memory_usage_bytes") > 1000000)
    check(page.sum("open_descriptors") > 5)
    check(page.sum("build_info") == 1)
    clients = [Client(s.port) for _ in range(5)]
    wait_for(lambda: s.metric("open_connections") == 5, "open_connections")
    check_eq(s.metric("accepted_connections_total", listener="main"), s.metric("accepted_connections_total"))
    for c in clients:
        c.close()
    wait_for(lambda: s.metric("open_connections") == 0, "open_connections to fall")
    check_eq(s.metric("config_generation"), 1)
    s.check_reload(route='policies { max-body-size 5; }')
    check_eq(s.metric("config_generation"), 2)


def test_labels_of_strangers_do_not_make_series(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        for i in range(30):
            c.get("/p%d" % i, ("User-Agent", "agent%d" % i), host="h%d.example" % i)
    before = len(s.metrics().samples)
    with Client(s.port) as c:
        for i in range(200):
            c.get("/q%d?x=%d" % (i, i), host="g%d.example" % i)
    check_eq(len(s.metrics().samples), before)
