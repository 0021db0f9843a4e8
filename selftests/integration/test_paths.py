# SPDX-License-Identifier: GPL-2.0-only
# test_paths.py - one normalisation of the path for routes and filters, and what the origin gets of it.
from lib import check, check_eq, fetch

ROUTES = '''
route "secret" {
    matches { path-prefix "/secret"; }
    builtin-handler "not-found"
}
route "exact" {
    matches { path "/Exact"; }
    builtin-handler "health"
}
route "rest" {
    matches { path-prefix "/"; }
    upstream "o"
}'''


def test_spellings_of_a_path_meet_the_same_route(t):
    o = t.origin()
    s = t.sentinel(o, routes=ROUTES)
    for path in ("/secret", "/secret/x", "/%73ecret", "/%73%65cret/x", "/a/../secret", "/./secret", "/a/%2e%2e/secret",
                 "/a/%2E./secret/x", "/a/b/../../secret", "/secret/", "/secret?x=1", "/secret/../secret"):
        r = fetch(s.port, path)
        check_eq(r.status, 404, path)
        check_eq(r.get("content-type"), "application/json; charset=utf-8", path)
    check_eq(o.received, b"", "at the origin")


def test_other_paths_do_not(t):
    o = t.origin()
    s = t.sentinel(o, routes=ROUTES)
    for path in ("/secretx", "/Secret", "//secret", "/a/secret", "/secret%2Fx", "/%2Fsecret", "/x/..%2Fsecret"):
        r = fetch(s.port, path)
        check_eq(r.status, 200, path)
        check_eq(o.requests[-1].target, path, path)


def test_exact_path_is_compared_with_case(t):
    o = t.origin()
    s = t.sentinel(o, routes=ROUTES)
    check_eq(fetch(s.port, "/%45xact").body[:1], b"{")
    check_eq(o.received, b"")
    before = len(o.requests)
    fetch(s.port, "/exact")
    check_eq(len(o.requests), before + 1)


def test_original_bytes_go_to_the_origin_if_there_were_no_dot_segments(t):
    o = t.origin()
    s = t.sentinel(o, routes=ROUTES)
    for path in ("/%7Euser", "/%7euser", "/a%2fb", "/a%2Fb", "//a//b", "/a;b=c", "/a+b", "/%E2%82%AC", "/a?x=/../y&z=%zz",
                 "/a?", "/...", "/.../a", "/a..b"):
        fetch(s.port, path)
        check_eq(o.requests[-1].target, path)


def test_normalised_path_goes_to_the_origin_if_there_were_dot_segments(t):
    o = t.origin()
    s = t.sentinel(o, routes=ROUTES)
    for path, wanted in (("/a/../b", "/b"), ("/a/./b?x=../y", "/a/b?x=../y"), ("/a/b/..", "/a/"), ("/a/.", "/a/"),
                         ("/%7ea/../%7eb%2fc", "/~b%2Fc"), ("/a/%2e%2e/b", "/b"), ("/..a/../b", "/b"),
                         ("/a//../b", "/a/b")):
        fetch(s.port, path)
        check_eq(o.requests[-1].target, wanted, path)


def test_paths_that_mean_harm_are_400(t):
    o = t.origin()
    s = t.sentinel(o, routes=ROUTES)
    for path in ("/..", "/../x", "/a/../../x", "/%2e%2e/x", "/a/..%2f../%2e%2e/%2e%2e/%2e%2e", "/a%00", "/%", "/%1",
                 "/%gg", "/a\\b", "/a%5cb", "/a%5Cb", "/a/%2e%2e/%2E%2e/"):
        check_eq(fetch(s.port, path).status, 400, path)
    check(not any(".." in r.target for r in o.requests), "dots at the origin")
    check_eq(o.received, b"")
