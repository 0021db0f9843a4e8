# SPDX-License-Identifier: GPL-2.0-only
# test_namespaces.py - routes, upstreams and filters of one name in several scopes: who is served what, and how it is called.
import json
import time

from lib import Client, PeerClosed, PeerReset, check, check_eq, check_in, fetch, wait_for
from lib.origin import never
from test_rate_limit import until_refused


def named(t, name):
    o = t.origin()
    o.on("/who", lambda c, request: c.answer(body=name.encode()))
    o.on("/cart/never", never)
    return o


def upstream(name, o):
    return 'upstreams { upstream "%s" { target "127.0.0.1:%d"; }; }\n' % (name, o.port)


SITE = 'route "site" { matches { path-prefix "/"; }; upstream "app"; %s }\n'


class Two:
    """Two namespaces whose routes and upstreams have the names of the file's, and a listener for each."""

    def __init__(self, t, shop="", blog="", cart="", **keys):
        self.ports = {name: t.port() for name in ("main", "shop", "blog")}
        self.origins = {name: named(t, name) for name in ("main", "shop", "blog", "cart")}
        keys.setdefault("routes", SITE % "")
        keys.setdefault("upstreams", 'upstream "app" { target "127.0.0.1:%d"; }' % self.origins["main"].port)
        self.s = t.sentinel(listeners=self.listeners(), top=self.scopes(shop, blog, cart), **keys)

    def listeners(self, which=("main", "shop", "blog")):
        return "\n".join('listener "%s" { address "127.0.0.1:%d"; %s }' % (
            name, self.ports[name], "" if name == "main" else 'namespace "%s"' % name) for name in which)

    def scopes(self, shop="", blog="", cart=""):
        return ('namespace "shop" {\n%sroutes { %s }\n%s\nservice "cart" {\n%sroutes { '
                'route "site" { matches { path-prefix "/cart"; path "/who/cart"; }; upstream "app"; } }\n%s\n}\n}\n'
                'namespace "blog" {\n%sroutes { %s }\n%s\n}\n'
                % (upstream("app", self.origins["shop"]), SITE % "", shop, upstream("app", self.origins["cart"]), cart,
                   upstream("app", self.origins["blog"]), SITE % "", blog))

    def get(self, name, path="/who", **keys):
        return fetch(self.ports[name], path, **keys)


def test_same_names_are_different_things(t):
    two = Two(t)
    for name in ("main", "shop", "blog"):
        check_eq(two.get(name).body, name.encode())
    check_eq(two.get("shop", "/cart").status, 200)
    check_eq(len(two.origins["cart"].requests), 1)
    check_eq(two.get("blog", "/cart").status, 200)
    check_eq((len(two.origins["cart"].requests), len(two.origins["blog"].requests)), (1, 2))


def test_no_fallback_to_the_files_routes(t):
    o = named(t, "main")
    ports = [t.port(), t.port()]
    t.sentinel(o, listeners='listener "a" { address "127.0.0.1:%d"; }\nlistener "b" { address "127.0.0.1:%d"; '
               'namespace "n"; }' % tuple(ports),
               top='namespace "n" { routes { route "one" { matches { path "/one"; }; upstream "o"; }; }; }')
    check_eq([fetch(ports[0], p).status for p in ("/one", "/two")], [200, 200])
    check_eq([fetch(ports[1], p).status for p in ("/one", "/two")], [200, 404])


def test_everything_shows_canonical_names(t):
    two = Two(t)
    two.get("shop")
    two.get("shop", "/cart")
    m = two.s.metrics()
    check_eq(m.sum("upstream_attempts_total", route="shop:site"), 1)
    check_eq(m.sum("upstream_attempts_total", route="shop:cart:site"), 1)
    check_eq(m.sum("upstream_attempts_total", route="site"), 0)
    ids = [json.loads(line)["route_id"] for line in two.s.access_lines(2)]
    check_eq(ids, ["shop:site", "shop:cart:site"])
    page = json.loads(fetch(two.s.admin_port, "/upstreams").body)
    check_eq(sorted(u["id"] for u in page["upstreams"]), ["app", "blog:app", "shop:app", "shop:cart:app"])
    config = json.loads(fetch(two.s.admin_port, "/config").body)
    check_eq(sorted(r["id"] for r in config["routes"]), ["blog:site", "shop:cart:site", "shop:site", "site"])
    check_eq({r["id"]: r["upstream"] for r in config["routes"]}["shop:cart:site"], "shop:cart:app")
    check_eq([n["id"] for n in config["namespace"]], ["shop", "blog"])


def test_explain_says_what_is_meant(t):
    two = Two(t, shop='filters { filter "f" { type "headers"; set { X-A "1"; }; }; }\n'
              'routes { route "more" { matches { path "/more"; }; upstream "cart:app"; filters "f"; }; }'
              .replace("cart:app", "shop:cart:app"))
    text = two.s.command("explain", "GET", "http://h:%d/more" % two.ports["shop"])
    for line in ("only routes in namespace shop", "route     shop:more", "shop:f, type headers", "upstream  shop:cart:app",
                 "not       shop:site: "):
        check_in(line, text)
    check("route     site" not in text and "blog:" not in text, text)
    check_in("route     site", two.s.command("explain", "GET", "http://h:%d/more" % two.ports["main"]))


def test_reload_says_which_one_changed_and_moves_a_listener(t):
    two = Two(t)
    shop, blog = two.ports["shop"], two.ports["blog"]
    with Client(shop) as c:
        check_eq(c.get("/who").body, b"shop")
        two.ports["shop"], two.ports["blog"] = blog, shop  # the sockets stay, what they serve does not
        said = two.s.check_reload(listeners=two.listeners())
        check_in('listener "shop" changed', said)
    check_eq((fetch(shop, "/who").body, fetch(blog, "/who").body), (b"blog", b"shop"))
    said = two.s.check_reload(top=two.scopes().replace('service "cart"', 'service "basket"'))
    for line in ('route "shop:cart:site" removed', 'route "shop:basket:site" added', 'namespace "shop" changed'):
        check_in(line, said)
    check_eq(two.get("shop", "/cart").status, 200)


def test_listener_that_leaves_keeps_its_namespace_to_the_end(t):
    two = Two(t)
    with Client(two.ports["shop"]) as c:
        c.send("GET /who HTTP/1.1\r\nHost: a\r\n")
        two.s.check_reload(listeners=two.listeners(("main", "blog")))
        c.send("\r\n")
        try:  # it may be served once more, but never by other routes
            check_eq(c.response().body, b"shop")
        except (PeerClosed, PeerReset):
            pass
    check_eq(len(two.origins["main"].requests), 0)


# ---- limits


def rate_of(s, verdict, scope, limit):
    return s.metrics().sum("rate_limit_requests_total", verdict=verdict, scope=scope, limit=limit)


def statuses(get, count):
    return [get().status for _ in range(count)]


def rates(**keys):
    """Ten times as many may come at once."""
    return "limits { %s }\n" % "; ".join("max-requests-per-second-%s %d" % (k.replace("_", "-"), v)
                                         for k, v in keys.items())


GLOBAL = "max-requests-per-second-global"


def test_rates_of_every_level_apply(t):
    """Whoever has the smallest bucket refuses, and is the one that clients are told of."""
    two = Two(t, workers=2, limits="%s 5" % GLOBAL, shop=rates(**{"global": 3}), cart=rates(**{"global": 1}))
    r = two.get("shop", "/who/cart")
    check_eq((r.status, r.get("ratelimit-limit")), (200, "10"))
    check_eq(two.get("shop").get("ratelimit-limit"), "30")
    check_eq(two.get("blog").get("ratelimit-limit"), "50")
    check_eq(two.get("main").get("ratelimit-limit"), "50")
    passed, spent = until_refused(lambda: two.get("shop", "/who/cart"), 2)
    check(passed <= 10 + spent, "%d in %.2f s", passed, spent)
    check_eq(rate_of(two.s, "refused", "shop:cart", "shop:cart:" + GLOBAL), 2)
    check_eq((rate_of(two.s, "refused", "shop", "shop:" + GLOBAL), rate_of(two.s, "refused", "global", GLOBAL)), (0, 0))
    check_eq([two.get(n).status for n in ("shop", "blog", "main")], [200] * 3)
    until_refused(lambda: two.get("shop"))
    check_eq(rate_of(two.s, "refused", "shop", "shop:" + GLOBAL), 1)
    # what the namespace refuses does not empty the bucket of the whole file
    check_eq(two.get("blog").status, 200)


def test_rates_are_kept_over_a_reload(t):
    two = Two(t, shop=rates(**{"global": 1}))
    until_refused(lambda: two.get("shop"))
    begin = time.monotonic()
    two.s.check_reload(system="graceful-shutdown-timeout-secs 5")
    passed, _ = until_refused(lambda: two.get("shop"))
    check(passed <= 1 + time.monotonic() - begin, "%d passed after the reload", passed)
    two.s.check_reload(top=two.scopes(shop=rates(**{"global": 2})))  # another limit begins full
    check_eq(statuses(lambda: two.get("shop"), 10), [200] * 10)


def test_rates_of_clients_and_routes(t):
    two = Two(t, shop=rates(per_client=1))
    until_refused(lambda: two.get("shop"), 2)
    # over all routes of the namespace: the same client has nothing left in its service
    passed, spent = until_refused(lambda: two.get("shop", "/who/cart"))
    check(passed <= 1 + spent, "%d passed in %.2f s", passed, spent)
    check_eq(two.get("blog").status, 200)
    check(rate_of(two.s, "refused", "shop", "shop:max-requests-per-second-per-client") >= 3)
    two = Two(t, shop=rates(per_route=1))
    until_refused(lambda: two.get("shop"), 2)
    check_eq(two.get("shop", "/cart").status, 200)  # its own bucket
    check(rate_of(two.s, "refused", "shop:site", "shop:max-requests-per-second-per-route") >= 2)


def test_explain_tells_the_level_of_each_limit(t):
    two = Two(t, limits="%s 5" % GLOBAL, shop="limits { %s 1; max-in-flight-requests 4; }\n" % GLOBAL,
              cart="limits { max-connections-per-route 2; }\n")
    until_refused(lambda: two.get("shop"))
    text = two.s.command("explain", "GET", "http://h:%d/cart" % two.ports["shop"])
    for line in ("filter 1  " + GLOBAL, "filter 2  shop:" + GLOBAL, " of 10 left",
                 "at most 2 requests and tunnels of the route", "at most 4 requests and tunnels of shop in progress"):
        check_in(line, text)
    told = json.loads(two.s.command("explain", "GET", "http://h:%d/cart" % two.ports["shop"], "--json"))
    check_eq((told["namespace"], told["route"]), ("shop", "shop:cart:site"))
    check_eq(told["in_progress"], [{"max": 2, "scope": None}, {"max": 4, "scope": "shop"}])


def hold(port, path, count):
    clients = [Client(port) for _ in range(count)]
    for c in clients:
        c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    return clients


def test_requests_in_progress_of_every_level(t):
    two = Two(t, workers=2, limits="max-in-flight-requests 20",
              shop="limits { max-in-flight-requests 5; }\n", cart="limits { max-in-flight-requests 2; }\n")

    def arrived(name, count):
        wait_for(lambda: len([r for r in two.origins[name].requests]) >= count, "requests do not get to " + name)

    def free(get):
        wait_for(lambda: get().status == 200, "the place of who left is not free")

    held = hold(two.ports["shop"], "/cart/never", 2)
    arrived("cart", 2)
    r = two.get("shop", "/who/cart")
    check_eq((r.status, r.get("retry-after")), (503, "1"))
    check_eq(two.get("shop").status, 200)  # the service is full, not the namespace
    held += hold(two.ports["shop"], "/never", 3)
    arrived("shop", 4)
    check_eq(two.get("shop").status, 503)
    check_eq((two.get("blog").status, two.get("main").status), (200, 200))
    check_eq(two.s.metric("blocked_requests_total", reason="namespace_requests"), 2)
    failures = [json.loads(line) for line in two.s.access_lines(5) if '"namespace_requests"' in line]
    # Each worker writes its own lines: in any order.
    check_eq(sorted((f.get("route_id"), f.get("failure_detail")) for f in failures),
             [("shop:cart:site", "shop:cart"), ("shop:site", "shop")])
    two.s.check_reload(system="graceful-shutdown-timeout-secs 5")  # the numbers go on
    check_eq((two.get("shop").status, two.get("shop", "/who/cart").status), (503, 503))
    held.pop().reset()
    free(lambda: two.get("shop"))
    check_eq(two.get("shop", "/who/cart").status, 503)
    held.pop(0).reset()
    free(lambda: two.get("shop", "/who/cart"))
    for c in held:
        c.reset()
    wait_for(lambda: two.s.metric("open_connections") == 0, "requests do not end")
    # all counts are back at nothing: as many as at the beginning fit, and no more
    for o in two.origins.values():
        o.clear()
    held = hold(two.ports["shop"], "/cart/never", 2)
    arrived("cart", 2)
    held += hold(two.ports["shop"], "/never", 3)
    arrived("shop", 3)
    check_eq(two.get("shop").status, 503)
    for c in held:
        c.reset()


def test_tightest_number_of_a_route_counts(t):
    two = Two(t, limits="max-connections-per-route 3", shop="limits { max-connections-per-route 9; }\n",
              cart="limits { max-connections-per-route 1; }\n")
    held = hold(two.ports["shop"], "/cart/never", 1) + hold(two.ports["shop"], "/never", 3)
    wait_for(lambda: two.s.metric("upstream_attempts_total") >= 4, "the requests do not get to the origins")
    check_eq((two.get("shop").status, two.get("shop", "/who/cart").status), (503, 503))
    check_eq(two.s.metric("blocked_requests_total", reason="route_connections"), 2)
    for c in held:
        c.reset()
