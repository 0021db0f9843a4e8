# SPDX-License-Identifier: GPL-2.0-only
# test_error_pages.py - what a person, a program or a terminal reads when something is wrong.
import json

from lib import Client, check, check_eq, check_in, fetch

KINDS = [("text/html", "text/html"), ("application/json", "application/json"), ("text/plain", "text/plain"),
         ("text/html;q=0.1, application/json", "application/json"), ("application/*", "application/json"),
         ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html")]


def test_form_follows_accept_and_carries_the_id(t):
    s = t.sentinel(t.origin(), routes='route "a" { matches { path "/a"; }; upstream "o"; }')
    for accept, kind in KINDS:
        r = fetch(s.port, "/none", fields=[("Accept", accept), ("X-Request-Id", "id-4711")])
        check_eq(r.status, 404)
        check_in(kind, r.get("content-type"), accept)
        check_in(b"id-4711", r.body, accept)
        check_eq(r.get("x-correlation-id"), "id-4711")
        if kind == "application/json":
            page = json.loads(r.body)
            check_eq((page["status"], page["request_id"]), (404, "id-4711"))
        if kind == "text/html":
            check_in(b"<!DOCTYPE html>", r.body)


def test_api_routes_prefer_json(t):
    s = t.sentinel("127.0.0.1:1", route='service-type "api"')
    r = fetch(s.port, "/")
    check_eq(r.status, 503)
    check_in("application/json", r.get("content-type"))
    check_in("application/json", fetch(s.port, "/", fields=[("Accept", "*/*")]).get("content-type"))
    check_in("text/html", fetch(s.port, "/", fields=[("Accept", "text/html")]).get("content-type"))


def test_errors_of_our_own_keep_the_connection_where_framing_is_clear(t):
    s = t.sentinel(t.origin(), routes='route "a" { matches { path-prefix "/bytes"; }; upstream "o"; }')
    with Client(s.port) as c:
        check_eq(c.get("/none").status, 404)
        check_eq(c.request("POST", "/none", body=b"x" * 1000).status, 404)
        check_eq(c.get("/bytes/2").status, 200)


def test_answers_of_an_origin_are_not_replaced(t):
    s = t.sentinel(t.origin())
    for status in (400, 404, 500, 503):
        r = fetch(s.port, "/status/%d" % status)
        check_eq((r.status, r.body), (status, b"status"))


def test_bad_request_has_an_id_too(t):
    s = t.sentinel(t.origin())
    with Client(s.port) as c:
        r = c.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").response()
        check_eq(r.status, 400)
        check(len(r.body) > 20, "an empty page")
        check_in("id", r.body.decode().lower())


def test_head_of_an_error_has_no_body(t):
    s = t.sentinel(t.origin(), routes='route "a" { matches { path "/a"; }; upstream "o"; }')
    with Client(s.port) as c:
        r = c.request("HEAD", "/none")
        check_eq((r.status, r.body), (404, b""))
        check_eq(c.request("HEAD", "/a").status, 200)


def test_503_says_when_to_come_back(t):
    s = t.sentinel("127.0.0.1:1")
    r = fetch(s.port, "/")
    check_eq(r.status, 503)
    check(r.has("retry-after"))
