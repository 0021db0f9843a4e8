# SPDX-License-Identifier: GPL-2.0-only
# test_namespaces.py - routes, upstreams and filters of one name in several scopes: who is served what, and how it is called.
import json

from lib import Client, PeerClosed, PeerReset, check, check_eq, check_in, fetch, wait_for


def named(t, name):
    o = t.origin()
    o.on("/who", lambda c, request: c.answer(body=name.encode()))
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
