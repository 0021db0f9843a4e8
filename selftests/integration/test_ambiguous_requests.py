# SPDX-License-Identifier: GPL-2.0-only
# test_ambiguous_requests.py - heads that two readers could read differently: 400, close, and no byte at the origin.
from lib import Client, check, check_eq, check_in


# Each is a whole request; a body behind the head would be the smuggled request.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED


def post(*lines, body=CHUNKED, first=b"POST / HTTP/1.1", host=True):
    return b"\r\n".join((first,) + ((b"Host: a",) if host else ()) + lines) + b"\r\n\r\n" + body


AMBIGUOUS = {
    # length and coding
    "content-length and transfer-encoding": post(b"Content-Length: 6", b"Transfer-Encoding: chunked"),
    "transfer-encoding and content-length": post(b"Transfer-Encoding: chunked", b"Content-Length: 6"),
    "two content-lengths": post(b"Content-Length: 5", b"Content-Length: 6"),
    "two equal content-lengths": post(b"Content-Length: 5", b"Content-Length: 5", body=b"01234"),
    "content-length as list": post(b"Content-Length: 5, 5", body=b"01234"),
    "content-length with sign": post(b"Content-Length: +5", body=b"01234"),
    "negative content-length": post(b"Content-Length: -1"),
    "hexadecimal content-length": post(b"Content-Length: 0x5", body=b"01234"),
    "empty content-length": post(b"Content-Length:"),
    "blank content-length": post(b"Content-Length: "),
    "content-length with a space inside": post(b"Content-Length: 5 5", body=b"01234"),
    "content-length that overflows": post(b"Content-Length: 18446744073709551617", body=b"x"),
    "content-length of 100 digits": post(b"Content-Length: " + b"9" * 100, body=b"x"),
    "decimal content-length": post(b"Content-Length: 5.0", body=b"01234"),
    "content-length of another script": post("Content-Length: \u0665".encode(), body=b"01234"),
    # transfer codings
    "chunked not last": post(b"Transfer-Encoding: chunked, gzip"),
    "identity after chunked": post(b"Transfer-Encoding: chunked, identity"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked"),
    "chunked in two fields": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked, then another field": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "unknown coding": post(b"Transfer-Encoding: xchunked"),
    "chunked with a control byte": post(b"Transfer-Encoding: \x0bchunked"),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;a=b"),
    "quoted chunked": post(b'Transfer-Encoding: "chunked"'),
    "empty transfer-encoding": post(b"Transfer-Encoding:"),
    "identity": post(b"Transfer-Encoding: identity", b"Content-Length: 5"),
    "transfer-encoding on http/1.0": post(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
    "transfer-encoding folded": post(b"Transfer-Encoding:\r\n chunked"),
    "transfer-encoding with tab before the colon": post(b"Transfer-Encoding\t: chunked"),
    "transfer-encoding with space before the colon": post(b"Transfer-Encoding : chunked"),
    # lines
    "bare lf ends the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare lf ends a field": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "bare lf ends the head": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "only lf": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare cr in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "bare cr ends a field": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "bare cr in the target": b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n",
    "cr cr lf": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "fold with space": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "fold with tab": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
    "fold of the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "blank line with a space": b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
    # fields
    "space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    "space in the name": b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "name with a slash": b"GET / HTTP/1.1\r\nHost: a\r\nX/Y: z\r\n\r\n",
    "name with a byte above 127": b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: z\r\n\r\n",
    "nul in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "nul in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
    "nul in the target": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control byte in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "vertical tab in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n",
    "escape in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x1bb\r\n\r\n",
    "delete in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    # host
    "second host": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "second equal host": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nX: y\r\n\r\n",
    "host with a slash": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with user": b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "host list": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with a bad port": b"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
    "absolute form and host disagree": b"GET http://one/ HTTP/1.1\r\nHost: two\r\n\r\n",
    "absolute form and port disagree": b"GET http://one:81/ HTTP/1.1\r\nHost: one:82\r\n\r\n",
    "absolute form with user": b"GET http://u@one/ HTTP/1.1\r\nHost: one\r\n\r\n",
    # request line
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab as separator": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "space after the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "space before the method": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "lower case version": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "byte above 127 in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "target without a slash": b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n",
    "another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    # paths
    "path climbs": b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "path climbs encoded": b"GET /a/%2e%2e/%2E%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded nul": b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n",
    "bad escape": b"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "cut escape": b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "backslash": b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded backslash": b"GET /a%5Cb HTTP/1.1\r\nHost: a\r\n\r\n",
}

NOT_400 = {"unknown coding": (400, 501), "empty transfer-encoding": (400, 501), "identity": (400, 501),
           "chunked with a parameter": (400, 501), "quoted chunked": (400, 501), "lower case version": (400, 505)}
# Refused when the exchange begins, not by the codec: the connection may go on.  (decisions.md lists them under paths.)
PATHS = {name for name in AMBIGUOUS if name.startswith(("path ", "encoded", "bad esc", "cut esc", "backsl"))}


def statuses(name):
    return NOT_400.get(name, (400,))


def check_refused(c, name):
    r = c.response()
    check_in(r.status, statuses(name), name)
    if name not in PATHS:
        _, rest = c.end()
        check_eq(rest, b"", name + ": bytes after the refusal")


def failures(t, one):
    """Runs one(name, request) for all of them, and tells of all that fail."""
    wrong = []
    for name, request in AMBIGUOUS.items():
        try:
            one(name, request)
        except Exception as error:
            wrong.append("%s: %s: %s" % (name, type(error).__name__, error))
    check(not wrong, "%d of %d:\n%s", len(wrong), len(AMBIGUOUS), "\n".join(wrong))


def test_ambiguous_heads_are_400_and_close_and_no_byte_reaches_the_origin(t):
    o = t.origin()
    s = t.sentinel(o)

    def one(name, request):
        with Client(s.port, timeout=3) as c:
            check_refused(c.send(request), name)
        check_eq(o.received, b"", name + ": at the origin")
    failures(t, one)
    check_eq(len(o.connections), 0, "connections to the origin")


def test_ambiguous_heads_are_refused_in_single_bytes(t):
    o = t.origin()
    s = t.sentinel(o)

    def one(name, request):
        from lib import PeerReset
        with Client(s.port, timeout=3) as c:
            try:
                c.send_slowly(request, 1)
            except PeerReset:
                pass  # refused before the last byte was sent
            r = c.response()
            check_in(r.status, statuses(name), name)
        check_eq(o.received, b"", name + ": at the origin")
    failures(t, one)


def test_ambiguous_heads_are_refused_in_the_middle_of_a_burst(t):
    o = t.origin()
    s = t.sentinel(o)
    good = b"GET /bytes/3 HTTP/1.1\r\nHost: a\r\nX-Good: 1\r\n\r\n"

    def one(name, request):
        o.clear()
        with Client(s.port, timeout=3) as c:
            c.send(good + good + request + SMUGGLED)
            check_eq([c.response().status, c.response().status], [200, 200], name)
            r = c.response()
            check_in(r.status, statuses(name), name)
            if name in PATHS:
                check_eq(c.response().status, 200, name)  # the framing is clear: the next one is a request
            else:
                _, rest = c.end()
                check_eq(rest, b"", name + ": bytes after the refusal")
        targets = [r.target for r in o.requests]
        check_eq(targets[:2], ["/bytes/3"] * 2, name)
        check(name in PATHS or len(targets) == 2, "%s: at the origin: %r", name, targets)
        check_eq([c.error for c in o.connections if c.error], [], name)
    failures(t, one)


def test_refusals_are_counted_and_harm_no_target(t):
    o = t.origin()
    s = t.sentinel(o)
    for _ in range(20):
        with Client(s.port) as c:
            c.send(AMBIGUOUS["two content-lengths"]).response()
    check_eq(s.metric("client_errors_total"), 20)
    check_eq(s.metric("upstream_failures_total"), 0)
    with Client(s.port) as c:
        check_eq(c.get("/bytes/3").status, 200)
