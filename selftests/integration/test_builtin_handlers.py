# SPDX-License-Identifier: GPL-2.0-only
# test_builtin_handlers.py - answers of the daemon itself.
import json

from lib import Client, check, check_eq, check_in, fetch

NAMES = ("status", "health", "metrics", "not-found", "config", "upstreams")


def proxy(t):
    routes = "\n".join('route "%s" { matches { path "/%s"; }; builtin-handler "%s"; }' % (n, n, n) for n in NAMES)
    return t.sentinel(t.origin(), routes=routes + '\nroute "o" { matches { path-prefix "/o"; }; upstream "o"; }')


def test_handlers_answer_on_a_kept_connection(t):
    s = proxy(t)
    with Client(s.port) as c:
        for _ in range(3):
            for name in NAMES:
                r = c.get("/" + name)
                check_eq(r.status, 404 if name == "not-found" else 200, name)
                check_eq(r.get("cache-control"), "no-cache, no-store, must-revalidate", name)
                check(r.has("x-request-id"), name)
                if name != "metrics":
                    json.loads(r.body)


def test_status_tells_version_and_uptime(t):
    s = proxy(t)
    page = json.loads(fetch(s.port, "/status").body)
    check_eq(page["status"], "ok")
    check(page["version"] and page["instance_id"] and page["uptime_secs"] >= 0)
    check_eq(page["timestamp"][4], "-")


def test_not_found_carries_the_id(t):
    s = proxy(t)
    r = fetch(s.port, "/not-found", fields=[("X-Request-Id", "my-id")])
    check_eq(json.loads(r.body)["request_id"], "my-id")


def test_upstreams_lists_targets(t):
    s = proxy(t)
    page = json.loads(fetch(s.port, "/upstreams").body)
    check_eq(page["summary"]["total_targets"], 1)
    check_eq(page["upstreams"][0]["id"], "o")
    check_eq(page["upstreams"][0]["targets"][0]["address"], "127.0.0.1:%d" % s.origins[0].port)


def test_config_shows_what_serves(t):
    s = proxy(t)
    text = fetch(s.port, "/config").body.decode()
    for name in NAMES + ("main",):
        check_in('"%s"' % name, text)
    s.check_reload(routes='route "fresh" { matches { path "/config"; }; builtin-handler "config"; }', upstreams="")
    check_in('"fresh"', fetch(s.port, "/config").body.decode())


def test_metrics_page_parses(t):
    from lib.sentinel import Metrics
    s = proxy(t)
    r = fetch(s.port, "/metrics")
    check_in("text/plain", r.get("content-type"))
    check_eq(Metrics(r.body.decode()).sum("up"), 1)


def test_any_method_and_head(t):
    s = proxy(t)
    with Client(s.port) as c:
        for method in ("POST", "PUT", "DELETE"):
            check_eq(c.request(method, "/health", body=b"x" * 1000).status, 200, method)
        r = c.request("HEAD", "/health")
        check_eq((r.status, r.body), (200, b""))
        check(int(r.get("content-length")) > 10)
        check_eq(c.get("/health").status, 200)


def test_admin_listener_has_metrics_health_and_nothing_else(t):
    s = proxy(t)
    check_eq(fetch(s.admin_port, "/metrics").status, 200)
    check_eq(fetch(s.admin_port, "/health").status, 200)
    check_eq(fetch(s.admin_port, "/secret").status, 404)
