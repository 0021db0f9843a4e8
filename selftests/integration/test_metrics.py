# SPDX-License-Identifier: GPL-2.0-only
# test_metrics.py - the page of metrics: valid, complete, fed, and its numbers are the truth.
import os
import re
import socket
import subprocess

from lib import Client, PeerReset, check, check_eq, check_in, fetch, wait_for
from lib.geo import mmdb, write
from lib.tls import REQUEST, Authority, TlsClient, context, read, sni_block, tls_block
from test_tls_sessions import early, early_setup

DECLARATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../userspace/observe/metrics.def")
ROW = re.compile(r'^METRIC\((\w+), (\w+), "(\w+)", "([\w,]*)"', re.M)
TYPES = {"GAUGE": "gauge", "COUNTER": "counter", "COUNTER_SECONDS": "counter", "HISTOGRAM_SECONDS": "histogram",
         "HISTOGRAM_BYTES": "histogram", "GAUGE_SECONDS": "gauge"}
# Zero is right where nothing of the kind happens in busy().
QUIET = {"log_lines_dropped_total", "metrics_series_dropped_total", "active_requests", "pinned_buffers",
         "splice_pipes", "splice_no_pipe_total", "kernel_guard_attached", "kernel_drops_total",
         "kernel_drop_bytes_total", "kernel_drop_events_lost_total", "sockmap_tunnels", "sockmap_joins_total",
         "sockmap_refused_total", "sockmap_left_total", "sockmap_failed_total", "sockmap_lost_races_total",
         "sockmap_undelivered_bytes_total", "sockmap_switches_total", "sockmap_slow_total",
         "sockmap_leave_retries_total", "sockmap_drain_max_seconds", "busy_workers", "sockmap_stayed_total",
         "sockmap_recalled_total", "sockmap_adopted_total", "geo_database_loads_total", "geo_refused_connections_total",
         "kernel_geo_drops_total", "rate_limit_key_evictions_total", "rate_limit_shared_total",
         "rate_limit_store_seconds", "automatic_bans_total", "kernel_sketch_saturated"}
ROUTES = '''
route "main" { matches { path-prefix "/"; }; upstream "o"; websocket #true; }
route "dead" { matches { path-prefix "/dead"; }; upstream "dead";
    retry-policy { max-attempts 10; budget-percent 1; backoff-base-ms 1; backoff-max-ms 1; } }
route "plain" { matches { path-prefix "/plain"; }; upstream "o"; }
'''
LIMITED_ROUTE = 'route "limited" { matches { path "/limited"; }; upstream "o"; filters "local" "shared"; }\n'
LIMITS = '''filter "local" { type "rate-limit"; max-rps 10; burst 100; key "route"; }
filter "shared" { type "rate-limit"; max-rps 10; burst 10; backend "redis"; redis-url "redis://127.0.0.1:1"; }
'''
GEO_ROUTE = 'route "geo" { matches { path "/geo"; }; upstream "o"; filters "geo"; }\n'
BACKTRACKS = 'route "backtracks" { priority 100; matches { path-regex "^/(a|aa|a?)*(a|aa)*[cd]$"; }; upstream "%s"; }\n'
BACKTRACKING = "/" + 40 * "a" + "b"


def declared():
    with open(DECLARATIONS, encoding="utf-8") as file:
        rows = ROW.findall(file.read())
    check(len(rows) > 30, "metrics.def was not understood: %d rows", len(rows))
    return rows


def page(s):
    r = fetch(s.admin_port, "/metrics")
    check_eq(r.status, 200)
    return r


def upgrade(s, path):
    c = Client(s.port)
    c.send("GET %s HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" % path)
    return c, c.head().status


def busy(t):
    """A proxy that has done a little of everything, and still has a tunnel and an idle connection open."""
    o = t.origin()
    database = write(t.path("geo.mmdb"), mmdb({"127.0.0.0/8": "FR"}))
    s = t.sentinel(o, routes=ROUTES + GEO_ROUTE + LIMITED_ROUTE + BACKTRACKS % "dead", upstreams='upstream "o" { target "127.0.0.1:%d"; }\n'
                   'upstream "dead" { target "127.0.0.1:1"; target "127.0.0.1:2"; }\n'
                   'upstream "name" { target "no-such-name.invalid:80"; }' % o.port,
                   filters=LIMITS + 'filter "geo" { type "geo"; database-path "%s"; countries "FR"; action "log-only"; }' % database,
                   top='kernel { interface "no-such-if0"; acl { deny "127.0.0.9"; }; '
                   'geo { database "%s"; deny "FR"; }; }' % database)
    with Client(s.port) as c:
        c.get("/bytes/100")
        c.get("/bytes/100")
    fetch(s.port, "/echo", "POST", body=b"x" * 50)
    fetch(s.port, BACKTRACKING)
    fetch(s.port, "/geo")
    for _ in range(12):  # the store is not there: after some of these it is not asked any more
        fetch(s.port, "/limited")
    with Client(s.port) as c:  # 9 retries each; a budget of 1 % still lets 100 in ten seconds
        for _ in range(12):
            check_eq(c.get("/dead").status, 503)
    with Client(s.port) as c:
        check_eq(c.send(b"GET / HTTP/1.1\r\n\r\n").response().status, 400)
    c, status = upgrade(s, "/plain/upgrade")
    check_eq(status, 403)
    c, status = upgrade(s, "/upgrade")
    check_eq(status, 101)
    c.send(b"hello")
    check_eq(c.reader.exactly(5), b"hello")
    try:
        fetch(s.port, "/bytes/1", source="127.0.0.9")
        raise AssertionError("a denied client was served")
    except (PeerReset, ConnectionError):
        pass
    s.check_reload(level="warn")
    fetch(s.port, "/bytes/1")
    wait_for(lambda: s.metric("dns_failures_total") > 0 and s.metric("loop_turn_seconds_count") > 0
             and s.metric("sessions") > 0 and s.metric("regex_limit_hits_total") > 0, "gauges and the failed name")
    return s


def busy_tls(t):
    """Another that met TLS, HTTP/2 and gRPC, and their failures."""
    s = early_setup(t)
    check_eq(early(s, REQUEST % (b"/headers", b"a.example")).status, 200)
    ca = Authority(t)
    pair = ca.issue("b.example", ["b.example"], ocsp="http://127.0.0.1:1/", is_must_staple=True)
    with open(pair.cert, "a", encoding="ascii") as file:
        file.write(read(ca.cert))
    targets = s.origins[0].port, s.port  # it does not trust itself
    s.check_reload(listener=tls_block(s.pair, more="early-data #true\n" + sni_block(pair)), routes=ROUTES.split("route \"dead\"")[0] +
                   'route "strange" { matches { path-prefix "/strange"; }; upstream "strange"; }', upstreams=
                   'upstream "o" { target "127.0.0.1:%d"; }\nupstream "strange" { target "127.0.0.1:%d"; tls { }; }' % targets)
    with TlsClient(s.port, context(), name="a.example") as c:
        c.request("POST", "/echo", fields=[("Content-Type", "application/grpc")], body=b"x", host="a.example")
        check_eq(c.get("/strange", host="a.example").status, 502)
    with socket.create_connection(("127.0.0.1", s.port)) as sock:
        sock.sendall(b"no TLS at all\r\n\r\n")
        sock.recv(100)
    with socket.create_connection(("127.0.0.1", s.port)) as sock:
        sock = context(alpn=["h2"]).wrap_socket(sock, server_hostname="a.example")
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\1\4\0\0\0\0\0\0")  # SETTINGS of one byte
        while sock.recv(1000):
            pass
    wait_for(lambda: s.metric("ocsp_fetches_total") > 0 and s.metric("session_faults_total") > 0
             and s.metric("tls_certificate_expiry_timestamp_seconds") > 0, "the failures, and the second's tick")
    return s


def test_promtool_has_nothing_to_say(t):
    r = page(busy(t))
    check_in("text/plain", r.get("content-type"))
    done = subprocess.run(["promtool", "check", "metrics"], input=r.body, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, timeout=30)
    check_eq((done.returncode, done.stdout.decode()), (0, ""))


def test_every_declared_family_appears_with_its_type_and_labels_and_is_fed(t):
    text, labels, values = "", {}, {}
    for s in (busy(t), busy_tls(t)):
        text += page(s).body.decode()
        for name, have, value in s.metrics().samples:
            name = re.sub(r"_(bucket|sum|count)$", "", name)
            labels.setdefault(name, set()).update(set(have) - {"le"})
            values[name] = max(value, values.get(name, 0))
    for _, kind, name, names in declared():
        full = "sentinel_" + name
        check_in("# TYPE %s %s\n" % (full, TYPES[kind]), text)
        check_in("# HELP %s " % full, text)
        check_eq(labels.get(full), set(names.split(",")) - {""}, name)
    quiet = [name for _, _, name, _ in declared() if name not in QUIET and not values["sentinel_" + name] > 0]
    check_eq(quiet, [], "not fed")
    check_eq(set(re.findall(r"^# TYPE (\w+)", text, re.M)), {"sentinel_" + name for _, _, name, _ in declared()})


def test_families_without_labels_always_have_a_sample(t):
    metrics = t.sentinel(t.origin()).metrics()
    for _, kind, name, names in declared():
        if not names:
            check(metrics.has(name + ("_count" if kind.startswith("HISTOGRAM") else "")), "no sample of %s", name)


def test_counters_count_exactly(t):
    s = t.sentinel(t.origin(), workers=2)
    for _ in range(7):
        fetch(s.port, "/bytes/100")
    for _ in range(3):
        fetch(s.port, "/echo", "POST", body=b"y" * 1000)
    fetch(s.port, "/status/404")
    wait_for(lambda: s.metric("requests_total") >= 11, "the requests")
    m = s.metrics()
    check_eq(m.sum("requests_total", route="all", method="GET", status="200"), 7)
    check_eq(m.sum("requests_total", route="all", method="POST", status="200"), 3)
    check_eq(m.sum("requests_total", status="404"), 1)
    check_eq(m.sum("requests_total"), 11)
    check_eq(m.sum("upstream_attempts_total", upstream="o", route="all"), 11)
    check_eq(m.sum("accepted_connections_total", listener="main"), 11)
    check_eq(m.sum("request_duration_seconds_count", method="GET"), 8)
    check_eq(m.sum("request_body_size_bytes_sum"), 3000)
    check_eq(m.sum("response_body_size_bytes_sum"), 700 + 3000 + len(b"status"))
    check_eq(m.sum("request_duration_seconds_bucket", method="POST", le="+Inf"), 3)


def test_histograms_are_cumulative_and_end_at_their_count(t):
    m = busy(t).metrics()
    series = {}
    for name, labels, value in m.samples:
        if name.endswith("_bucket"):
            key = (name[:-7], tuple(sorted((k, v) for k, v in labels.items() if k != "le")))
            series.setdefault(key, []).append((float(labels["le"].replace("+Inf", "inf")), value))
    check(series, "no histogram")
    for (name, labels), buckets in series.items():
        check_eq(buckets, sorted(buckets), "%s: buckets in order" % name)
        check(all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:])), "%s %s is not cumulative", name, labels)
        check_eq(buckets[-1][0], float("inf"))
        count = [v for n, have, v in m.samples if n == name + "_count" and tuple(sorted(have.items())) == labels]
        check_eq(count, [buckets[-1][1]], "%s %s" % (name, labels))


def test_refusals_failures_and_retries_are_counted_with_their_reason(t):
    m = busy(t).metrics()
    check_eq(m.sum("upstream_attempts_total", upstream="dead", route="dead"),
             12 + m.sum("upstream_retries_total", upstream="dead"))
    check_eq(m.sum("upstream_failures_total", upstream="dead", reason="connect_failed"),
             m.sum("upstream_attempts_total", upstream="dead"))
    check_eq(m.sum("upstream_failures_total", upstream="o"), 0)
    check_eq((m.sum("client_errors_total"), m.sum("client_errors_total", reason="host_missing")), (1, 1))
    check_eq(m.sum("blocked_requests_total", reason="websocket_not_enabled"), 1)
    check_eq(m.sum("refused_connections_total"), 1)
    check_eq((m.sum("tunnels_active"), m.sum("tunnel_bytes_total", direction="c2s"),
              m.sum("tunnel_bytes_total", direction="s2c")), (1, 5, 5))
    check_eq(m.sum("kernel_guard_attached", interface="no-such-if0"), 0)


def test_regexes_that_give_up_are_counted_and_match_nothing(t):
    s = t.sentinel(t.origin(), workers=2, routes='route "main" { matches { path-prefix "/"; }; upstream "o"; }\n' +
                   BACKTRACKS % "o")
    check_eq(fetch(s.port, "/aac").status, 200)
    check_eq(s.metric("regex_limit_hits_total"), 0)
    for _ in range(5):
        check_eq(fetch(s.port, BACKTRACKING).status, 200)
    wait_for(lambda: s.metric("regex_limit_hits_total") >= 5, "the regexes that gave up")
    s.check_reload()
    fetch(s.port, BACKTRACKING)
    wait_for(lambda: s.metric("regex_limit_hits_total") >= 6, "the one after the reload")
    m = s.metrics()
    check_eq((m.sum("regex_limit_hits_total"), m.sum("requests_total", route="backtracks"),
              m.sum("requests_total", route="main")), (6, 1, 6))


def test_gauges_follow_what_is_open(t):
    o = t.origin()
    s = t.sentinel(o)
    s.baseline()
    check(s.metric("memory_usage_bytes") > 1e6 and s.metric("open_descriptors") > 5)
    clients = [Client(s.port) for _ in range(3)]
    for c in clients:
        c.send(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: s.metric("active_requests") == 3 and s.metric("connection_pool_size", upstream="o") == 3
             and s.metric("sessions") == 6, "requests in progress")
    m = s.metrics()
    check_eq((m.sum("open_connections"), m.sum("exchanges"), m.sum("connection_pool_idle", upstream="o")), (3, 3, 0))
    o.gate.set()
    for c in clients:
        check_eq(c.response().status, 200)
    wait_for(lambda: s.metric("active_requests") == 0, "no request in progress")
    wait_for(lambda: s.metric("connection_pool_idle", upstream="o") == 3, "idle connections of the pool")
    check_eq(s.metric("open_connections"), 3)
    for c in clients:
        c.close()
    wait_for(lambda: s.metric("open_connections") == 0, "no connection")


def test_reloads_are_counted_and_counters_survive_them(t):
    s = t.sentinel(t.origin())
    fetch(s.port, "/bytes/1")
    s.check_reload(route='priority "high"')
    is_ok, _ = s.reload(route="nonsense 1")
    check(not is_ok, "a wrong file was taken")
    fetch(s.port, "/bytes/1")
    m = s.metrics()
    check_eq((m.sum("config_reloads_total", result="success"), m.sum("config_reloads_total", result="failure")), (1, 1))
    check_eq(m.sum("config_generation"), 2)
    check_eq(m.sum("requests_total", route="all"), 2)


def test_strangers_cannot_make_series(t):
    s = t.sentinel(t.origin())

    def ask(number):
        with Client(s.port) as c:
            c.send(b"M%d / HTTP/1.1\r\nHost: h%d\r\n\r\n" % (number, number)).response()
        fetch(s.port, "/p%d?q=%d" % (number, number), host="h%d" % number, fields=[("User-Agent", "a%d" % number)])
        fetch(s.port, "/%%zz%d" % number)
    ask(0)
    s.baseline()
    before = len(s.metrics().samples)
    for i in range(1, 40):
        ask(i)
    check_eq(len(s.metrics().samples), before)


def test_admin_pages_are_served_on_their_own_listener_only(t):
    s = t.sentinel(t.origin())
    for path in ("/metrics", "/health", "/status"):
        check_eq(fetch(s.admin_port, path).status, 200, path)
    check_eq(fetch(s.admin_port, "/other").status, 404)
    check(b"sentinel_up" not in fetch(s.port, "/metrics").body, "metrics on the public listener")
