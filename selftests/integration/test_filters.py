# SPDX-License-Identifier: GPL-2.0-only
# test_filters.py - headers, redirect, url-rewrite, timeout, log: alone and in order.
import json

from lib import Client, check, check_eq, check_in, fetch, wait_for


def proxy(t, filters, names, o=None, **keys):
    return t.sentinel(o or t.origin(), filters=filters, route="filters %s\n%s"
                      % (" ".join('"%s"' % n for n in names), keys.pop("route", "")), **keys)


def seen(r):
    out = {}
    for name, value in json.loads(r.body)["fields"]:
        out.setdefault(name.lower(), []).append(value)
    return out


def test_headers_filter_changes_the_request(t):
    s = proxy(t, '''filter "h" {
        type "headers"
        rename { X-Old "X-New"; }
        set { X-Set "set"; }
        add { X-Add "added"; }
        remove "X-Gone"
    }''', ["h"])
    got = seen(fetch(s.port, "/headers", fields=[("X-Old", "1"), ("X-Set", "theirs"), ("X-Add", "theirs"), ("X-Gone", "1")]))
    check("x-old" not in got and "x-gone" not in got)
    check_eq((got["x-new"], got["x-set"], got["x-add"]), (["1"], ["set"], ["theirs", "added"]))


def test_headers_filter_changes_the_answer(t):
    o = t.origin()
    o.on("/r", lambda connection, request: connection.answer(body=b"x", fields=[("Server", "o"), ("X-A", "1")]))
    s = proxy(t, '''filter "h" {
        type "headers"
        phase "response"
        rename { X-A "X-B"; }
        set { Strict-Transport-Security "max-age=1"; }
        remove "Server"
    }''', ["h"], o)
    r = fetch(s.port, "/r")
    check_eq((r.get("x-b"), r.get("strict-transport-security"), r.get("server"), r.get("x-a")),
             ("1", "max-age=1", None, None))
    check(not o.requests[0].has("strict-transport-security"), "phase response changed the request")


def test_filters_run_in_order_and_answers_backwards(t):
    s = proxy(t, '''
        filter "a" { type "headers"; phase "both"; set { X-Last "a"; }; add { X-Order "a"; }; }
        filter "b" { type "headers"; phase "both"; set { X-Last "b"; }; add { X-Order "b"; }; }''', ["a", "b"])
    r = fetch(s.port, "/headers")
    check_eq(seen(r)["x-order"], ["a", "b"])
    check_eq(seen(r)["x-last"], ["b"])
    check_eq((r.all("x-order"), r.get("x-last")), (["b", "a"], "a"))


def test_policies_change_headers_both_ways(t):
    s = t.sentinel(t.origin(), route='''policies {
        request-headers { set { X-Req "1"; }; remove "X-Drop"; }
        response-headers { set { X-Res "2"; }; }
    }''')
    r = fetch(s.port, "/headers", fields=[("X-Drop", "1")])
    check_eq((seen(r)["x-req"], r.get("x-res")), (["1"], "2"))
    check("x-drop" not in seen(r))


def test_redirect_answers_without_the_origin(t):
    o = t.origin()
    s = proxy(t, 'filter "r" { type "redirect"; scheme "https"; hostname "www.example"; status-code 301; }', ["r"], o)
    r = fetch(s.port, "/a/b?c=d&e")
    check_eq((r.status, r.get("location")), (301, "https://www.example/a/b?c=d&e"))
    check_eq(o.received, b"")


def test_redirect_rewrites_the_path(t):
    s = proxy(t, 'filter "r" { type "redirect"; replace-prefix-match { "/old" "/new"; }; }', ["r"])
    for path, location in (("/old", "/new"), ("/old/x?y=1", "/new/x?y=1"), ("/older", "/older")):
        r = fetch(s.port, path, host="h.example")
        check_eq(r.status, 302)
        check(r.get("location").endswith("h.example" + location) or r.get("location") == location, r.get("location"))


def test_redirect_with_port(t):
    s = proxy(t, 'filter "r" { type "redirect"; scheme "https"; port 8443; status-code 308; }', ["r"])
    r = fetch(s.port, "/x", "POST", body=b"abc", host="h.example")
    check_eq((r.status, r.get("location")), (308, "https://h.example:8443/x"))


def test_redirect_cannot_be_split(t):
    s = proxy(t, 'filter "r" { type "redirect"; scheme "https"; hostname "www.example"; }', ["r"])
    with Client(s.port) as c:
        r = c.get("/a%0d%0aX-Evil:%201?b=%0d%0a")
        check_eq(r.status, 302)
        check(not r.has("x-evil"))


def test_url_rewrite_changes_path_and_host(t):
    o = t.origin()
    s = proxy(t, '''filter "w" {
        type "url-rewrite"
        hostname "inner.example"
        replace-prefix-match { "/api/v1" "/v1"; }
    }''', ["w"], o)
    for path, wanted in (("/api/v1/x?y=/api/v1", "/v1/x?y=/api/v1"), ("/api/v1", "/v1"), ("/api/v1x", "/api/v1x")):
        fetch(s.port, path)
        check_eq(o.requests[-1].target, wanted)
        check_eq(o.requests[-1].all("host"), ["inner.example"])


def test_url_rewrite_replaces_the_whole_path(t):
    o = t.origin()
    s = proxy(t, 'filter "w" { type "url-rewrite"; replace-full-path "/one"; }', ["w"], o)
    fetch(s.port, "/a/b/c?q=1")
    check_eq(o.requests[-1].target, "/one?q=1")


def test_timeout_filter_bounds_the_origin(t):
    s = proxy(t, 'filter "t" { type "timeout"; upstream-timeout-secs "1500ms"; }', ["t"])  # enough for one who answers
    check_eq(fetch(s.port, "/never").status, 504)
    check_eq(fetch(s.port, "/bytes/2").status, 200)


def test_timeout_filter_bounds_the_whole(t):
    o = t.origin()
    s = proxy(t, 'filter "t" { type "timeout"; request-timeout-secs "300ms"; }', ["t"], o)
    check_eq(fetch(s.port, "/never").status, 504)
    o.wait_ends()


def test_log_filter_writes_escaped_lines(t):
    s = proxy(t, 'filter "l" { type "log"; log-body #true; max-body-log-size 10; }', ["l"])
    fetch(s.port, "/echo?x", "POST", body=b"body\x00\x1b[31m\nforged line and more")
    wait_for(lambda: "POST" in s.stderr() and "response 200" in s.stderr(), "the lines of the filter")
    check_in("body", s.stderr())
    check("\x1b" not in s.stderr() and "\x00" not in s.stderr(), "control bytes in the log")
    check("forged line and more" not in s.stderr(), "more than max-body-log-size")


def test_filters_do_not_leak_into_other_routes(t):
    o = t.origin()
    s = t.sentinel(o, filters='filter "h" { type "headers"; set { X-F "1"; }; }', routes='''
        route "with" { matches { path-prefix "/with"; }; filters "h"; upstream "o"; }
        route "rest" { matches { path-prefix "/"; }; upstream "o"; }''')
    fetch(s.port, "/with")
    fetch(s.port, "/without")
    check(o.requests[0].has("x-f") and not o.requests[1].has("x-f"))
