# SPDX-License-Identifier: GPL-2.0-only
# test_client_limits.py - how many connections a client may have, and how many requests may be in progress.
import socket
import time

from lib import Client, PeerReset, check, check_eq, check_in, fetch, wait_for
from lib.client import PeerClosed

PROXY = b"PROXY TCP4 %b 198.51.100.1 4711 443\r\n"
PROXY6 = b"PROXY TCP6 %b 2001:db8::1 4711 443\r\n"
UPGRADE = (b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def named(s, address):
    """A connection whose PROXY header names the client; None: it was reset."""
    c = Client(s.port)
    try:
        c.send((PROXY6 if ":" in address else PROXY) % address.encode())
        check_eq(c.get("/").status, 200)
        return c
    except (PeerReset, PeerClosed):
        c.close()
        return None


def behind_proxies(t, limits, **keys):
    return t.sentinel(t.origin(), limits=limits, listener='proxy-protocol "require"\ntrusted-proxies "127.0.0.0/8"', **keys)


def refused(s):
    return s.metric("refused_connections_total", reason="client_connections")


# ---- connections of a client


def test_connections_of_a_client(t):
    s = behind_proxies(t, "max-connections-per-client 2", workers=2)
    held = [named(s, "192.0.2.1"), named(s, "192.0.2.1")]
    check(all(held), "refused too early")
    check_eq([named(s, "192.0.2.1") for _ in range(3)], [None] * 3)
    check_eq(refused(s), 3)
    other = named(s, "192.0.2.2")
    check(other, "another client was refused")
    held.pop().close()
    held.append(wait_for(lambda: named(s, "192.0.2.1"), "the place of who left is not free"))
    check_eq(named(s, "192.0.2.1"), None)


def test_ipv6_client_is_a_network(t):
    s = behind_proxies(t, "max-connections-per-client 1")
    first = named(s, "2001:db8:0:1::1")
    check(first)
    check_eq(named(s, "2001:db8:0:1:ffff::2"), None)
    check(named(s, "2001:db8:0:2::1"))


def test_this_host_does_not_count(t):
    s = t.sentinel(t.origin(), limits="max-connections-per-client 1")
    clients = [Client(s.port) for _ in range(5)]
    check_eq([c.get("/").status for c in clients], [200] * 5)


def test_limit_that_comes_by_reload_counts_who_is_there(t):
    s = behind_proxies(t, "max-header-count 50")
    held = [named(s, "192.0.2.1") for _ in range(3)]
    s.check_reload(limits="max-connections-per-client 3")
    check_eq(named(s, "192.0.2.1"), None)
    held.pop().close()
    held.append(wait_for(lambda: named(s, "192.0.2.1"), "the place of who left is not free"))
    s.check_reload(limits="max-connections-per-client 1")
    check_eq([c.get("/").status for c in held], [200] * 3)  # who is there stays
    check_eq(named(s, "192.0.2.1"), None)


def test_other_kinds_of_connections_count_too(t):
    o = t.origin()
    s = t.sentinel(o, limits="max-connections-per-client 1", listener='proxy-protocol "require"\n'
                   'trusted-proxies "127.0.0.0/8"\nprotocol "tcp"\ndefault-route "all"', route="allow-connect #true")

    def raw():
        c = Client(s.port)
        c.send(PROXY % b"192.0.2.1" + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            return c if c.response().status == 200 else None
        except (PeerReset, PeerClosed):
            return None
    first = raw()
    check(first)
    check_eq(raw(), None)
    first.close()
    wait_for(raw, "the place of who left is not free")


def test_connections_of_the_process(t):
    s = t.sentinel(t.origin(), limits="max-total-connections 3")
    held = [Client(s.port) for _ in range(3)]
    check_eq([c.get("/").status for c in held], [200] * 3)
    try:
        fetch(s.port, "/")
        raise AssertionError("a fourth one was let in")
    except (PeerReset, PeerClosed, ConnectionError):
        pass
    check(s.metric("refused_connections_total", reason="max_connections") >= 1)


# ---- requests in progress


def waiting(s, count, path="/never"):
    clients = [Client(s.port) for _ in range(count)]
    for c in clients:
        c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    wait_for(lambda: s.metric("upstream_attempts_total") >= count, "the requests do not get to the origin")
    return clients


def leave(clients):
    """Or the daemon would wait for what never comes."""
    for c in clients:
        c.reset()


def test_requests_of_the_process(t):
    s = t.sentinel(t.origin(), limits="max-in-flight-requests 3", workers=2, routes='''
        route "h" { matches { path "/health"; }; builtin-handler "health"; }
        route "all" { matches { path-prefix "/"; }; upstream "o"; }''')
    held = waiting(s, 3)
    with Client(s.port) as c:
        r = c.get("/")
        check_eq((r.status, r.get("retry-after")), (503, "1"))
        check_eq([c.get("/health").status for _ in range(2)], [200, 200])
        check_eq(fetch(s.admin_port, "/health").status, 200)
        held.pop().reset()
        wait_for(lambda: c.get("/").status == 200, "the place of who left is not free")
    check(s.metric("blocked_requests_total", reason="overload") >= 1)
    leave(held)


def test_requests_of_a_worker(t):
    s = t.sentinel(t.origin(), limits="max-in-flight-requests-per-worker 2")
    held = waiting(s, 2)
    check_eq(fetch(s.port, "/").status, 503)
    leave(held)


def test_memory_above_the_mark(t):
    s = t.sentinel(t.origin(), limits='max-memory-bytes "1MiB"', routes='''
        route "h" { matches { path "/health"; }; builtin-handler "health"; }
        route "all" { matches { path-prefix "/"; }; upstream "o"; }''')
    with Client(s.port) as c:
        wait_for(lambda: c.get("/").status == 503, "it was never above")
        r = c.get("/")
        check_eq((r.status, r.get("retry-after")), (503, "1"))
        check_eq(c.get("/health").status, 200)
        check(s.metric("blocked_requests_total", reason="memory") >= 1)
        wait_for(lambda: "the mark is 1 MiB" in s.stderr(), "nothing in the log")
        s.check_reload(limits='max-memory-bytes "1GiB"\nmax-memory-percent 90')
        wait_for(lambda: c.get("/").status == 200, "it is served no more")
    check_eq(s.stderr().count("requests are refused (503)"), 1)


def test_requests_that_wait_for_a_connection(t):
    s = t.sentinel(t.origin(), limits="max-queued-requests 1", upstream="connection-pool { max-connections 1; }")
    held = waiting(s, 1)
    held.append(Client(s.port))
    held[1].send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: s.metric("active_requests") >= 2, "the second one does not wait")
    check_eq(fetch(s.port, "/").status, 503)
    leave(held)


def test_idle_connections_of_an_upstream(t):
    o = t.origin()
    s = t.sentinel(o, limits="max-idle-connections-per-upstream 2")
    clients = waiting(s, 6)
    o.gate.set()
    for c in clients:
        check_eq(c.response().status, 200)
    wait_for(lambda: s.metric("connection_pool_idle") == 2, "%d are kept" % s.metric("connection_pool_idle"))
    leave(clients)


def test_requests_of_a_route(t):
    o = t.origin()
    s = t.sentinel(o, limits="max-connections-per-route 2", workers=2,
                   routes="".join('route "%s" { matches { path-prefix "/%s"; }; upstream "o"; }\n' % (r, r)
                                  for r in ("never", "echo")))
    held = waiting(s, 2)
    check_eq(fetch(s.port, "/never").status, 503)
    check_eq(fetch(s.port, "/echo").status, 200)
    check_eq(s.metric("blocked_requests_total", reason="route_connections"), 1)
    s.check_reload(top="kernel { }")  # the number goes on
    check_eq(fetch(s.port, "/never").status, 503)
    held.pop().reset()

    def is_free():
        c, before = Client(s.port), len(o.requests)
        c.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        held.append(c)
        wait_for(lambda: len(o.requests) > before or not c.is_quiet(0.01), "neither refused nor at the origin")
        return len(o.requests) > before
    wait_for(is_free, "the place of who left is not free")
    leave(held)


def test_tunnel_is_a_request_of_its_route(t):
    s = t.sentinel(t.origin(), limits="max-connections-per-route 1", route="websocket #true")
    c = Client(s.port)
    c.send(UPGRADE)
    check_eq(c.head().status, 101)
    check_eq(fetch(s.port, "/").status, 503)
    s.check_reload(top="kernel { }")
    check_eq(fetch(s.port, "/").status, 503)
    c.close()
    wait_for(lambda: fetch(s.port, "/").status == 200, "the place of the tunnel is not free")
