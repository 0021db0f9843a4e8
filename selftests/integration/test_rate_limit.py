# SPDX-License-Identifier: GPL-2.0-only
# test_rate_limit.py - limits of requests: what they admit, by which key, what the client is told, over reloads.
import json
import threading
import time

from lib import Client, check, check_eq, check_in, fetch, wait_for
from lib import h2
from lib.case import scale
from lib.h2 import H2C, TO_H2, H2Client, h2_origin

# With a burst of one each pause of the client or the proxy is a token that is lost.
ALONE = ("test_tokens_come_back_at_the_rate",)
SLOW = "max-rps \"1/m\"; burst %d; "  # nothing comes back while a test runs


def proxy(t, o=None, burst=3, keys="", **more):
    """A proxy whose only route has one filter `l`."""
    more.setdefault("route", 'filters "l"')
    return t.sentinel(o or t.origin(), filters='filter "l" { type "rate-limit"; %s%s }' % (SLOW % burst, keys), **more)


def statuses(s, count, path="/", **keys):
    return [fetch(s.port, path, **keys).status for _ in range(count)]


def until_refused(get, count=1, status=429):
    """How many requests pass before so many are refused, and the seconds that took: as many tokens come back by then."""
    begin, seen = time.monotonic(), []
    while seen.count(status) < count:
        check(len(seen) < 100, "%r", seen)
        seen.append(get().status)
    check_eq(set(seen) - {200, status}, set())
    return seen.count(200), time.monotonic() - begin


def together(c, paths):
    """Requests for these in one write of an HTTP/2 client: the proxy meets them at one time."""
    streams, out = [], b""
    with c.sending:
        for path in paths:
            streams.append(c.open())
            out += h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, streams[-1].id,
                            c.encoder.encode(c.head("GET", path)))
        c.write(out)
    return streams


def judged(s, verdict, **labels):
    return s.metrics().sum("rate_limit_requests_total", verdict=verdict, **labels)


# ---- what it admits, and says


def test_burst_then_429(t):
    o = t.origin()
    s = proxy(t, o)
    check_eq(statuses(s, 5), [200, 200, 200, 429, 429])
    check_eq(len(o.requests), 3)
    check_eq((judged(s, "admitted", scope="all", limit="l"), judged(s, "refused", scope="all", limit="l")), (3, 2))
    check_eq(s.metrics().sum("blocked_requests_total", reason="rate_limited"), 2)
    check_eq(s.metrics().sum("rate_limit_keys", scope="all", limit="l"), 1)


def test_tokens_come_back_at_the_rate(t):
    s = t.sentinel(t.origin(), filters='filter "l" { type "rate-limit"; max-rps 10; burst 4; }', route='filters "l"')
    begin, admitted = time.monotonic(), 0
    with Client(s.port) as c:
        while time.monotonic() < begin + 2:
            admitted += c.get("/").status == 200
        spent = time.monotonic() - begin
    check(admitted <= 4 + 10 * spent, "%d were admitted in %.2f s", admitted, spent)
    check(admitted >= 10 * spent, "only %d were admitted in %.2f s", admitted, spent)


def test_what_is_told_can_be_changed_as_other_fields(t):
    s = proxy(t, route='filters "l"\npolicies { response-headers { remove "RateLimit-Limit"; '
              'set { X-RateLimit-Limit "many"; }; }; }')
    r = fetch(s.port, "/")
    check_eq((r.all("ratelimit-limit"), r.all("x-ratelimit-limit"), r.get("ratelimit-remaining")), ([], ["many"], "2"))


def test_client_is_told_what_is_left(t):
    s = proxy(t)
    now = time.time()
    for left in (2, 1, 0):
        r = fetch(s.port, "/")
        check_eq((r.get("ratelimit-limit"), r.get("ratelimit-remaining")), ("3", str(left)))
        check_eq((r.get("x-ratelimit-limit"), r.get("x-ratelimit-remaining")), ("3", str(left)))
        check(60 * (3 - left) - 5 <= int(r.get("ratelimit-reset")) <= 60 * (3 - left), r.get("ratelimit-reset"))
        check(abs(int(r.get("x-ratelimit-reset")) - now - 60 * (3 - left)) < 5, r.get("x-ratelimit-reset"))
        check_eq(r.get("retry-after"), None)
    r = fetch(s.port, "/")
    check_eq((r.status, r.get("ratelimit-remaining"), r.get("x-ratelimit-remaining")), (429, "0", "0"))
    check(50 <= int(r.get("retry-after")) <= 60, r.get("retry-after"))


def test_fields_of_the_origin_are_replaced(t):
    o = t.origin()
    o.on("/", lambda c, request: c.answer(body=b"x", fields=[("X-RateLimit-Limit", "9"), ("RateLimit-Reset", "9")]))
    r = fetch(proxy(t, o).port, "/")
    check_eq((r.all("x-ratelimit-limit"), len(r.all("ratelimit-reset"))), (["3"], 1))


def test_page_has_the_form_that_is_asked_for(t):
    s = proxy(t, burst=1, keys='message "Slow <down>"; status-code 503; ')
    statuses(s, 1)
    r = fetch(s.port, "/", fields=[("Accept", "application/json")])
    check_eq((r.status, json.loads(r.body)["message"], json.loads(r.body)["status"]), (503, "Slow <down>", 503))
    r = fetch(s.port, "/", fields=[("Accept", "text/html")])
    check_in(b"Slow &lt;down&gt;", r.body)
    r = fetch(s.port, "/", fields=[("Accept", "text/plain")])
    check_in(b"Slow <down>", r.body)


def test_refused_request_keeps_the_connection(t):
    s = proxy(t, burst=1)
    with Client(s.port) as c:
        check_eq([c.get("/").status for _ in range(4)], [200, 429, 429, 429])
        for _ in range(2):  # a body that came along is no reason to close
            c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + "x" * 1000)
            check_eq(c.response().status, 429)
        check_eq(c.get("/").status, 429)


def test_refused_upload_ends_the_connection(t):
    s = proxy(t, burst=1)
    statuses(s, 1)
    with Client(s.port) as c:
        c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\nExpect: 100-continue\r\n\r\n")
        r = c.response()
        check_eq((r.status, r.get("connection")), (429, "close"))


def test_log_and_audit_say_so(t):
    s = proxy(t, burst=1)
    statuses(s, 2, "/x")
    line = json.loads(s.access_lines(2)[1])
    check_eq((line["failure"], line["failure_detail"], line["route_id"]), ("rate_limited", "l", "all"))
    check_eq(line.get("rate_limit_hit"), True)


# ---- keys


def test_key_client_ip(t):
    s = proxy(t, burst=1)

    def from_(source):
        with Client(s.port, source=source) as c:
            return c.get("/").status
    check_eq([from_(a) for a in ("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2")], [200, 200, 429, 429])


def test_key_client_ip_behind_a_trusted_proxy(t):
    s = proxy(t, burst=1, listener='trusted-proxies "127.0.0.0/8"')

    def from_(address):
        return fetch(s.port, "/", fields=[("X-Forwarded-For", address)]).status
    check_eq([from_(a) for a in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "6.6.6.6, 192.0.2.2")], [200, 200, 429, 429])
    # IPv6: who has one address has its /64
    check_eq([from_(a) for a in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")], [200, 429, 200])


def test_ipv6_prefix(t):
    s = proxy(t, burst=1, keys="ipv6-prefix 49; ", listener='trusted-proxies "127.0.0.0/8"')

    def from_(address):
        return fetch(s.port, "/", fields=[("X-Forwarded-For", address)]).status
    check_eq([from_(a) for a in ("2001:db8::1", "2001:db8:0:7fff::1", "2001:db8:0:8000::1", "10.0.0.1", "10.0.0.2")],
             [200, 429, 200, 200, 200])


def test_key_path(t):
    s = proxy(t, burst=1, keys='key "path"; ')
    check_eq([fetch(s.port, p).status for p in ("/a", "/b", "/a", "/%61?x", "/b/../a", "/a/")],
             [200, 200, 429, 429, 429, 200])


def test_key_route(t):
    s = t.sentinel(t.origin(), filters='filter "l" { type "rate-limit"; %s key "route"; }' % (SLOW % 2),
                   routes="".join('route "%s" { matches { path-prefix "/%s"; }; upstream "o"; filters "l"; }\n' % (r, r)
                                  for r in "ab"))
    with Client(s.port, source="127.0.0.9") as c:
        check_eq([c.get(p).status for p in ("/a", "/b", "/a")], [200, 200, 200])
    check_eq([fetch(s.port, p).status for p in ("/a", "/b/1", "/b/2")], [429, 200, 429])


def test_key_client_ip_and_path(t):
    s = proxy(t, burst=1, keys='key "client-ip-and-path"; ')
    check_eq([fetch(s.port, p).status for p in ("/a", "/b", "/a", "/b")], [200, 200, 429, 429])


def test_key_header(t):
    for key in ('"header:X-Key"', '"header" "X-Key"', '"header:x-key"'):
        s = proxy(t, burst=1, keys="key %s; " % key)

        def with_(*values):
            return fetch(s.port, "/", fields=[("X-Key", v) for v in values]).status
        check_eq([with_("a"), with_("b"), with_("a"), with_("A"), with_(), with_(), with_(""), with_("a", "b")],
                 [200, 200, 429, 200, 200, 429, 200, 200])


def test_key_cookie(t):
    s = proxy(t, burst=1, keys='key "cookie:id"; ')

    def with_(value):
        return fetch(s.port, "/", fields=[("Cookie", value)] if value is not None else []).status
    check_eq([with_(v) for v in ("id=1", "x=2; id=1; y=3", "id=2", "xid=1", None, "ID=1")], [200, 429, 200, 200, 429, 429])


def test_key_query(t):
    s = proxy(t, burst=1, keys='key "query:k"; ')
    check_eq([fetch(s.port, p).status for p in ("/?k=1", "/x?a=b&k=1", "/?k=%31", "/?%6b=1", "/?k=2", "/", "/?kk=1")],
             [200, 429, 429, 429, 200, 200, 429])


def test_key_composite(t):
    s = proxy(t, burst=1, keys='key "composite" "client-ip" "header:X-Key" "path"; ')

    def with_(source, key, path="/"):
        with Client(s.port, source=source) as c:
            return c.get(path, ("X-Key", key)).status
    check_eq([with_("127.0.0.1", "a"), with_("127.0.0.1", "b"), with_("127.0.0.2", "a"), with_("127.0.0.1", "a", "/x"),
              with_("127.0.0.1", "a")], [200, 200, 200, 200, 429])


# ---- several limits


def test_all_limits_apply_and_the_tightest_is_told(t):
    s = t.sentinel(t.origin(), route='filters "wide" "narrow"', filters='''
        filter "wide" { type "rate-limit"; %s key "route"; }
        filter "narrow" { type "rate-limit"; %s key "header:X-Key"; }''' % (SLOW % 5, SLOW % 2))
    r = fetch(s.port, "/", fields=[("X-Key", "a")])
    check_eq((r.get("ratelimit-limit"), r.get("ratelimit-remaining"), len(r.all("ratelimit-limit"))), ("2", "1", 1))
    check_eq(statuses(s, 2, fields=[("X-Key", "a")]), [200, 429])
    # What the narrow one refused took nothing from the wide one.
    check_eq(statuses(s, 5, fields=[("X-Key", "a")]), [429] * 5)
    r = fetch(s.port, "/", fields=[("X-Key", "b")])
    check_eq((r.status, r.get("ratelimit-limit"), r.get("ratelimit-remaining")), (200, "2", "1"))
    check_eq(fetch(s.port, "/", fields=[("X-Key", "b")]).status, 200)
    r = fetch(s.port, "/", fields=[("X-Key", "c")])
    check_eq((r.status, r.get("ratelimit-limit"), r.get("ratelimit-remaining")), (200, "5", "0"))
    check_eq(fetch(s.port, "/", fields=[("X-Key", "d")]).status, 429)


def test_global_limit_is_before_all_routes(t):
    s = t.sentinel(t.origin(), top="rate-limits { global { %s } }" % (SLOW % 3),
                   routes="".join('route "%s" { matches { path-prefix "/%s"; }; upstream "o"; }\n' % (r, r) for r in "ab"))
    check_eq([fetch(s.port, p).status for p in ("/a", "/b", "/a", "/b", "/a")], [200, 200, 200, 429, 429])
    check_eq(judged(s, "refused", scope="global", limit="global"), 2)
    check_eq(fetch(s.admin_port, "/health").status, 200)


def test_policies_of_a_route(t):
    s = t.sentinel(t.origin(), route='policies { rate-limit { requests-per-second 1; burst 2; status-code 420; }; }')
    passed, spent = until_refused(lambda: fetch(s.port, "/"), status=420)
    check(2 <= passed <= 2 + spent, "%d passed in %.2f s", passed, spent)


def test_limits_by_the_second(t):
    for limits in ("max-requests-per-second-per-client 1",
                   "max-requests-per-second-global 1\nmax-requests-per-second-per-route 2"):
        s = t.sentinel(t.origin(), limits=limits)
        passed, spent = until_refused(lambda: fetch(s.port, "/"))
        check(10 <= passed <= 10 + spent, "%d passed in %.2f s", passed, spent)
    check(judged(s, "refused", limit="max-requests-per-second-global") >= 1)


def test_defaults_fill_what_is_missing(t):
    s = t.sentinel(t.origin(), top='rate-limits { default-rps "1/m"; default-burst 2; key "path"; }',
                   filters='filter "l" { type "rate-limit"; }', routes='''
                       route "a" { matches { path-prefix "/a"; }; upstream "o"; filters "l"; }
                       route "b" { matches { path-prefix "/b"; }; upstream "o"; }''')
    check_eq([fetch(s.port, p).status for p in ("/a", "/a", "/a", "/a/x")], [200, 200, 429, 200])
    check_eq(statuses(s, 20, "/b"), [200] * 20)


# ---- other actions


def test_log_only_lets_pass(t):
    s = proxy(t, burst=2, keys='on-limit "log-only"; ')
    check_eq(statuses(s, 5), [200] * 5)
    check_eq((judged(s, "admitted"), judged(s, "logged")), (2, 3))
    check_eq(fetch(s.port, "/").get("ratelimit-limit"), None)
    wait_for(lambda: "limit l of all would refuse 127.0.0.1" in s.stderr(), "nothing in the log")


def test_delay_keeps_order_and_pace(t):
    o = h2_origin(t)  # on whose connection the order is seen
    s = t.sentinel(o, filters='filter "l" { type "rate-limit"; max-rps 20; burst 2; on-limit "delay"; }', route='filters "l"',
                   listener=H2C, upstream=TO_H2)
    with H2Client(s.port) as c:
        c.wait_settings()
        begin = time.monotonic()
        for stream in together(c, ["/%d" % i for i in range(12)]):
            check_eq(stream.wait_end().status, 200)
        spent = time.monotonic() - begin
    check_eq(o.paths(), ["/%d" % i for i in range(12)])
    check(spent >= 10 / 20 - 0.01, "12 requests took %.3f s", spent)
    check_eq((judged(s, "admitted"), judged(s, "delayed"), judged(s, "refused")), (2, 10, 0))


def test_delay_is_bounded(t):
    s = t.sentinel(t.origin(), route='filters "l"', listener=H2C,
                   filters='filter "l" { type "rate-limit"; max-rps 5; burst 1; on-limit "delay"; max-delay-ms 500; }')
    with H2Client(s.port) as c:
        check_eq([stream.wait_end().status for stream in together(c, ["/"] * 6)], [200, 200, 200, 429, 429, 429])


def test_who_leaves_while_he_waits_is_forgotten(t):
    o = t.origin()
    s = t.sentinel(o, routes='route "free" { matches { path "/free"; }; upstream "o"; }\n'
                             'route "all" { matches { path-prefix "/"; }; upstream "o"; filters "l"; }',
                   filters='filter "l" { type "rate-limit"; max-rps "%d/m"; burst 1; on-limit "delay"; '
                          'max-delay-ms 30000; }' % (40 / scale()))
    check_eq(fetch(s.port, "/free").status, 200)
    baseline = s.baseline()
    check_eq(fetch(s.port, "/first").status, 200)
    leaves, stays = Client(s.port), Client(s.port)
    for count, (c, path) in enumerate(((leaves, "/leaves"), (stays, "/stays"))):
        c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        wait_for(lambda: judged(s, "delayed") == count + 1, path + " does not wait")
    leaves.reset()
    check_eq(stays.response().status, 200)
    stays.close()
    check_eq([r.target for r in o.requests], ["/free", "/first", "/stays"])
    s.wait_gauges(baseline)


# ---- reloads, workers


def test_reload_in_a_burst_refills_nothing(t):
    s = proxy(t, burst=5)
    check_eq(statuses(s, 3), [200] * 3)
    s.write_config(route='filters "l"\nwebsocket #true')
    s.reload()
    check_eq(statuses(s, 3), [200, 200, 429])
    filters = s.keys["filters"]
    s.write_config(filters="", route="")
    s.reload()
    check_eq(statuses(s, 2), [200, 200])
    s.write_config(filters=filters, route='filters "l"')
    s.reload()
    check_eq(statuses(s, 2), [429, 429])
    # another rate is another limit
    s.write_config(filters=filters.replace("burst 5", "burst 6"))
    s.reload()
    check_eq(statuses(s, 7), [200] * 6 + [429])


def test_reconnecting_refills_nothing(t):
    s = proxy(t, burst=2)
    for status in (200, 200, 429, 429):
        with Client(s.port) as c:
            check_eq(c.get("/").status, status)


def test_workers_together_admit_exactly_the_burst(t):
    s = proxy(t, burst=200, keys='key "route"; ', workers=4)
    found = []

    def run():
        mine = []
        for _ in range(10):  # a new connection may meet another worker
            with Client(s.port) as c:
                mine += [c.get("/").status for _ in range(10)]
        found.extend(mine)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_eq((len(found), found.count(200), found.count(429)), (400, 200, 200))


# ---- more keys than there may be


def test_max_keys_share_and_never_get_more(t):
    s = proxy(t, burst=1, keys='key "path"; max-keys 10; ')
    with Client(s.port) as c:
        first = [c.get("/%d" % i).status for i in range(300)]
        again = [c.get("/%d" % i).status for i in range(300)]
    check_eq(set(again), {429})
    check(first.count(200) > 200, "%d of 300 keys were let in", first.count(200))
    m = s.metrics()
    check_eq(m.sum("rate_limit_keys", limit="l"), 10)
    check(m.sum("rate_limit_shared_total", limit="l") >= 290)


# ---- explain


def test_explain_tells_the_level(t):
    s = t.sentinel(t.origin(), route='filters "l" "k"', filters='''
        filter "l" { type "rate-limit"; %s }
        filter "k" { type "rate-limit"; %s key "composite" "header:X-Key" "path"; on-limit "delay"; }''' % (SLOW % 3, SLOW % 5))
    url = "http://127.0.0.1:%d/x" % s.port
    text = s.command("explain", "GET", url)
    check_in("1/m, 3 at once, by client-ip; more is refused with 429", text)
    check_in("by composite header:X-Key path; more is delayed, then 429", text)
    check_in("now: 3 of 3 left\n", text)
    check_eq(statuses(s, 2, "/x", fields=[("X-Key", "a")]), [200, 200])
    text = s.command("explain", "GET", url, "-H", "X-Key: a")
    check_in("now: 1 of 3 left, full again in 1", text)
    check_in("now: 3 of 5 left, full again in 1", text)
    check_in("now: 5 of 5 left\n", s.command("explain", "GET", url, "-H", "X-Key: b"))
    check_in("now: 3 of 3 left\n", s.command("explain", "GET", url, "--from", "192.0.2.1"))
    check_eq(statuses(s, 2, "/y"), [200, 429])
    page = json.loads(s.command("explain", "GET", url, "--json"))
    check_eq([e["filter"] for e in page["explanations"]], ["l", "k"])
    check_in("0 of 3 left, the next one in ", page["explanations"][0]["level"])
    s.stop()
    check("now:" not in s.command("explain", "GET", url), "a level without a daemon")


def test_questions_for_levels_may_be_anything(t):
    s = proxy(t)
    for line in ("limit", "limit 61", "limit zz 61", "limit 6 61", "limit 61 6", "limit 61 ffffffff", "limit 61 01000000",
                 "limit 61 0100000061", "limit 61 00"):
        is_ok, text = s.admin(line)
        check(not is_ok and text, "%s: %r", line, text)


# ---- mistakes in the file


def wrong(t, keys, *words):
    s = t.sentinel(t.origin(), filters='filter "l" { type "rate-limit"; %s }' % keys, route='filters "l"', start=False)
    code, out, err = s.command("check", check_code=None)
    check(code != 0, "it was accepted")
    for word in words:
        check_in(word, out + err)


def test_mistakes_are_told(t):
    wrong(t, 'key "clientip"', "is not a key", "client-ip")
    wrong(t, 'key "header"', "needs a name")
    wrong(t, 'key "path:x"', "takes no name")
    wrong(t, 'key "header:a b"', "header field")
    wrong(t, 'key "composite"', "needs parts")
    wrong(t, 'key "client-ip" "path"', "one key only", "composite")
    wrong(t, 'key "composite" "path" "client-ip-and-path"', "already")
    wrong(t, "max-rps 0", "refuse everybody")
    wrong(t, 'max-rps "1/1d"; burst 1000', "more than a year")
    wrong(t, 'on-limit "drop"', "reject")
    wrong(t, 'backend "riddis"', "redis")
