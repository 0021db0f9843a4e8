# SPDX-License-Identifier: GPL-2.0-only
# test_h2_server.py - HTTP/2 to clients: real ones, and every limit, pseudo-header and connection error frame by frame.
import json
import re
import subprocess

from lib import Client, PeerClosed, PeerReset, check, check_eq, check_in, fetch, wait_for
from lib import h2, tls
from lib.case import scale
from lib.h2 import H2C, H2Client, faults

PSEUDO = [(":method", "GET"), (":scheme", "http"), (":authority", "test.example"), (":path", "/headers")]


def run(*words):
    done = subprocess.run([tls.tool(words[0])] + list(words[1:]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30 * scale())
    text = done.stdout.decode("utf-8", "replace")
    check_eq(done.returncode, 0, "%s: %s" % (" ".join(words), text))
    return text


def h2c(t, *origins, **keys):
    return t.sentinel(*origins, **dict(keys, listener=H2C + "\n" + keys.pop("listener", "")))


# ---- real clients

def test_curl_by_prior_knowledge(t):
    s = h2c(t, t.origin())
    url = "http://127.0.0.1:%d" % s.port
    # One after the other: this curl cannot do two on a connection.
    for path, status in (("/bytes/100000", 200), ("/status/404", 404), ("/chunked", 200)):
        out = tls.curl("--http2-prior-knowledge", "-o", t.path(path[1:2]), "-w", "%{http_version} %{http_code}",
                       url + path)
        check_eq(out, "2 %d" % status)
    with open(t.path("c"), "rb") as file:
        check_eq(file.read(), b"hello world")
    with open(t.path("b"), "rb") as file:
        check_eq(len(file.read()), 100000)
    out = tls.curl("--http2-prior-knowledge", "--data-binary", "@" + t.path("b"), "-o", t.path("e"), "-w",
                   "%{http_code}", url + "/echo")
    with open(t.path("b"), "rb") as a, open(t.path("e"), "rb") as c:
        check(a.read() == c.read(), "the echo differs")
    check_eq(tls.curl("--http2-prior-knowledge", "-I", "-w", "%{http_version}", "-o", "/dev/null", url + "/bytes/5"),
             "2")


def test_alpn_chooses_the_protocol(t):
    ca = tls.Authority(t)
    s = t.sentinel(t.origin(), listener=tls.tls_block(ca.issue("a.example")))
    base = ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-o", "/dev/null", "-w",
            "%{http_version} %{http_code}", "https://a.example:%d/headers" % s.port]
    check_eq(tls.curl("--http2", *base), "2 200")
    check_eq(tls.curl("--http1.1", *base), "1.1 200")
    check_eq(tls.curl("--no-alpn", "--http1.1", *base), "1.1 200")
    with H2Client(s.port, tls=tls.context(ca, ["h2"])) as c:
        check_eq(json.loads(c.get("/headers", authority="a.example:%d" % s.port).body)["method"], "GET")
    line = [json.loads(text) for text in s.access_lines(4)]
    check_eq(sorted(x["protocol"] for x in line), ["HTTP/1.1", "HTTP/1.1", "HTTP/2", "HTTP/2"])


def test_a_listener_for_http2_alone_refuses_others(t):
    ca = tls.Authority(t)
    s = t.sentinel(t.origin(), listener=tls.tls_block(ca.issue("a.example")).replace('"https"', '"h2"'))
    base = ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-o", "/dev/null", "-w",
            "%{http_version} %{http_code}", "https://a.example:%d/headers" % s.port]
    check_eq(tls.curl("--http2", *base), "2 200")
    for words in (["--http1.1"], ["--no-alpn", "--http1.1"]):
        tls.curl(*words, *base, check_code=35)  # the handshake fails
    wait_for(lambda: s.metric("handshake_failures_total", reason="no_shared_alpn") == 2, "they are not counted")
    check_eq(len(s.origins[0].requests), 1)


def test_nghttp_and_h2load(t):
    s = h2c(t, t.origin(), workers=2)
    text = run("nghttp", "-nv", "-t", "10", "http://127.0.0.1:%d/bytes/70000" % s.port)
    check_in(":status: 200", text)
    check_in("ENABLE_CONNECT_PROTOCOL(0x08):1" if "ENABLE_CONNECT" in text else "SETTINGS_UNKNOWN(0x08):1", text)
    text = run("h2load", "-n3000", "-c4", "-m25", "http://127.0.0.1:%d/bytes/100" % s.port)
    check_in("3000 succeeded, 0 failed, 0 errored, 0 timeout", text)


def test_python_h2_finds_nothing_to_object(t):
    """The library checks every frame and field that comes."""
    import socket
    import h2.config
    import h2.connection
    import h2.events
    s = h2c(t, t.origin())
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    c.initiate_connection()
    sock = socket.create_connection(("127.0.0.1", s.port), 10)
    for method, path in (("POST", "/echo"), ("GET", "/chunked"), ("GET", "/early-hints"), ("HEAD", "/bytes/9"),
                         ("GET", "/status/204")):
        number = c.get_next_available_stream_id()
        c.send_headers(number, [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)],
                       method != "POST")
        if method == "POST":
            c.send_data(number, b"x" * 1000, end_stream=True)
    ended, got = set(), b""
    while len(ended) < 5:
        sock.sendall(c.data_to_send())
        data = sock.recv(65536)
        check(data, "closed")
        for event in c.receive_data(data):
            check(not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), "%s", event)
            if isinstance(event, h2.events.DataReceived):
                c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                got += event.data
            if isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id)
    sock.close()
    check_eq(len(got), 1000 + 11 + 11)


# ---- streams

def test_many_streams_at_once_do_not_mix(t):
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        streams = [c.request("POST", "/echo", body=b"%d " % i * (i * 40 + 1)) for i in range(60)]
        for i, stream in enumerate(streams):
            check_eq(stream.wait_end().body, b"%d " % i * (i * 40 + 1))
    with H2Client(s.port) as c:  # bodies frame by frame in turn
        streams = [c.request("POST", "/echo", is_end=False) for _ in range(20)]
        for n in range(10):
            for i, stream in enumerate(streams):
                stream.send(b"%02d%02d" % (i, n), n == 9)
        for i, stream in enumerate(streams):
            check_eq(stream.wait_end().body, b"".join(b"%02d%02d" % (i, n) for n in range(10)))


def test_bytes_one_by_one_padding_continuation_and_priority(t):
    s = h2c(t, t.origin())
    c = H2Client(s.port, begins=False)
    fields = PSEUDO[:3] + [(":path", "/echo"), ("x-long", "y" * 300), (":m", "")][:2]
    fields[0] = (":method", "POST")
    block = c.encoder.encode(fields)
    stream = c.open()
    out = h2.PREFACE + h2.settings({}) + h2.frame(99, 7, 0, b"grease") + h2.frame(h2.PRIORITY, 0, 3, b"\0\0\0\0\7")
    out += h2.frame(h2.HEADERS, h2.PADDED | h2.HAS_PRIORITY, 1, b"\3\0\0\0\0\x10" + block[:10] + b"\0\0\0")
    out += h2.frame(h2.CONTINUATION, 0, 1, block[10:11]) + h2.frame(h2.CONTINUATION, 0, 1)
    out += h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, block[11:])
    out += h2.frame(h2.DATA, h2.PADDED, 1, b"\5hello" + bytes(5)) + h2.frame(h2.DATA, 0, 1)
    out += h2.frame(h2.DATA, h2.PADDED | h2.END_STREAM, 1, b"\0 world")
    for byte in out:
        c.write(bytes([byte]))
    check_eq(stream.wait_end().body, b"hello world")


def test_more_streams_than_allowed_are_refused(t):
    o = t.origin()
    s = h2c(t, o, listener="max-concurrent-streams 5")
    with H2Client(s.port) as c:
        check_eq(c.wait_settings()[h2.MAX_STREAMS], 5)
        held = [c.request(path="/never") for _ in range(5)]
        o.wait_requests(5)
        held[2].cancel()
        check_eq(c.get("/headers").status, 200)
        c.request(path="/never")
        c.request(path="/refused")  # it knows the limit: an error of the connection
        check_eq(c.wait_goaway(h2.PROTOCOL_ERROR)[1], h2.PROTOCOL_ERROR)
        c.wait_closed()
    with H2Client(s.port, begins=False) as c:  # it does not know the limit yet: REFUSED_STREAM
        c.write(h2.PREFACE + h2.settings({}))
        held = [c.request(path="/never") for _ in range(5)]
        for _ in range(3):
            check_eq(c.request(path="/refused").wait_reset(), h2.REFUSED_STREAM)
        held[2].cancel()
        check_eq(c.get("/headers").status, 200)
        o.gate.set()
        for i in (0, 1, 3, 4):
            check_eq(held[i].wait_end().body, b"at last")
    check(b"refused" not in o.received, "a refused stream reached the origin")


def test_heads_that_are_too_large_are_answered(t):
    o = t.origin()
    s = h2c(t, o, limits="max-header-size 4096\nmax-header-count 20\nmax-request-line-size 512")
    with H2Client(s.port) as c:
        check_eq(c.wait_settings()[h2.MAX_LIST], 4096)
        for fields, status in (([("x-a", "b" * 5000)], 431), ([("x-%d" % i, "b" * 300) for i in range(15)], 431),
                               ([("x-%d" % i, "b") for i in range(40)], 431), ([("x", "")] * 90, 431)):
            r = c.get("/big", fields=fields)
            check_eq(r.status, status)
            check(r.body, "an answer without a body")
        check_eq(c.get("/big" + "x" * 600).status, 414)
        stream = c.request("POST", "/big", [("x-a", "b" * 5000)], is_end=False)
        check_eq(stream.wait_end().status, 431)
        check_eq(stream.wait_reset(), h2.NO_ERROR)
        check_eq(c.get("/headers").status, 200)
    check(b"big" not in o.received, "it reached the origin")
    lines = [json.loads(text) for text in s.access_lines(7)]
    check_eq(sorted({x["status"] for x in lines}), [200, 414, 431])
    check_eq({x["protocol"] for x in lines}, {"HTTP/2"}, "protocol of refused heads")


def test_keepalive_max_requests_ends_in_peace(t):
    s = h2c(t, t.origin(), listener="keepalive-max-requests 3")
    with H2Client(s.port) as c:
        streams = [c.request(path="/bytes/%d" % n) for n in range(1, 4)]
        for n, stream in enumerate(streams):
            check_eq(len(stream.wait_end().body), n + 1)
        check_eq(c.wait_goaway(h2.NO_ERROR)[1], h2.NO_ERROR)
        c.wait(lambda: len(c.goaways) == 2, "no second GOAWAY")
        check_eq([last for last, _ in c.goaways], [0x7fffffff, 5])
        check_eq(c.wait_closed(), "fin")


def test_ping_is_answered_and_asked(t):
    s = h2c(t, t.origin(), listener="h2-ping-interval-secs 2")
    with H2Client(s.port) as c:
        c.ping(b"\0\1\2\3abcd")
        c.wait(lambda: b"\0\1\2\3abcd" in c.pongs, "no answer")
        c.wait(lambda: c.pings >= 2, "no PING came", 15)  # answered ones keep it open
        check_eq(c.get("/headers").status, 200)
        c.answers_pings = False
        c.wait_closed(15)
    wait_for(lambda: faults(s, "ping_timeout") == 1,
             "the end is not counted: %s" % [x for x in s.metrics().samples if "fault" in x[0]])


# ---- CONNECT and WebSocket

def test_connect_needs_a_route_that_allows_it(t):
    o = t.origin()

    def connect(connection, request):
        connection.send("HTTP/1.1 200 Yes\r\n\r\n")
        while True:
            piece = connection.reader.some()
            if not piece:
                return
            connection.send(piece)
    o.behaviour = lambda target: connect
    s = h2c(t, o, routes='route "no" { matches { host "no.example"; }; upstream "o"; }\n'
                         'route "yes" { matches { host "yes.example"; }; upstream "o"; allow-connect #true; }')
    with H2Client(s.port) as c:
        refused = c.raw([(":method", "CONNECT"), (":authority", "no.example:443")], False)
        check_eq(refused.wait_head().status, 405)
        check_eq(o.received, b"")
        stream = c.raw([(":method", "CONNECT"), (":authority", "yes.example:443")], False)
        check_eq(stream.wait_head().status, 200)
        check(not stream.all("content-length"), "%s", stream.fields)
        for data in (b"hello", bytes(range(256)) * 300):
            stream.data.clear()
            stream.received = 0
            stream.send(data)
            check_eq(stream.wait_data(len(data)).body, data)
        stream.end()
        stream.wait_end()
    check(o.received.startswith(b"CONNECT yes.example:443 HTTP/1.1\r\n"), "%r", o.received[:100])


def test_malformed_connect_is_reset(t):
    o = t.origin()
    s = h2c(t, o, route="allow-connect #true\nwebsocket #true")
    with H2Client(s.port) as c:
        for fields in ([(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
                       [(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "http")],
                       [(":method", "CONNECT")],
                       [(":method", "CONNECT"), (":protocol", "websocket"), (":authority", "a")],
                       [(":method", "GET"), (":protocol", "websocket"), (":authority", "a"), (":scheme", "http"),
                        (":path", "/")]):
            stream = c.raw(fields)
            try:
                check_eq(stream.wait_head().status, 400, "%s" % fields)
            except h2.StreamReset:
                check_eq(stream.reset, h2.PROTOCOL_ERROR, "%s" % fields)
        unknown = c.raw([(":method", "CONNECT"), (":protocol", "connect-udp"), (":authority", "a"), (":scheme", "http"),
                         (":path", "/")], False)
        check_eq(unknown.wait_head().status, 501)
    check_eq(o.received, b"")


# ---- malformed heads

def without(name):
    return [f for f in PSEUDO if f[0] != name]


def changed(name, value):
    return [(n, value if n == name else v) for n, v in PSEUDO]


MALFORMED = {
    "no :method": without(":method"), "no :path": without(":path"), "no :scheme": without(":scheme"),
    "empty :path": changed(":path", ""), "empty :method": changed(":method", ""),
    "two :path": PSEUDO + [(":path", "/other")], "two :authority": PSEUDO + [(":authority", "other")],
    "two :method": [(":method", "POST")] + PSEUDO, "two :scheme": PSEUDO + [(":scheme", "http")],
    "unknown pseudo-header": PSEUDO + [(":foo", "bar")], ":status in a request": PSEUDO + [(":status", "200")],
    "pseudo-header after a field": PSEUDO[:3] + [("x", "y"), PSEUDO[3]],
    "upper case": PSEUDO + [("X-Upper", "1")], "upper case of a known name": PSEUDO + [("Accept", "*/*")],
    "empty name": PSEUDO + [("", "x")], "space in a name": PSEUDO + [("a b", "x")],
    "colon in a name": PSEUDO + [("a:b", "x")],
    "CR LF in a name": PSEUDO + [("x\r\ny", "x")], "NUL in a name": PSEUDO + [("x\0y", "x")],
    "CR LF in a value": PSEUDO + [("x", "a\r\nx-evil: 1")], "CR in a value": PSEUDO + [("x", "a\rb")],
    "LF in a value": PSEUDO + [("x", "a\nb")], "NUL in a value": PSEUDO + [("x", "a\0b")],
    "space before a value": PSEUDO + [("x", " a")], "space after a value": PSEUDO + [("x", "a\t")],
    "non-ASCII name": PSEUDO + [(b"x-\xc3\xa9", b"x")],
    "CR LF in :path": changed(":path", "/a HTTP/1.1\r\nx-evil: 1\r\n\r\nGET /b"),
    "space in :path": changed(":path", "/a b"),
    "space in :path, a version": changed(":path", "/a HTTP/1.1"), "fragment in :path": changed(":path", "/a#b"),
    ":path without slash": changed(":path", "evil"),
    ":path of another scheme": changed(":path", "http://evil.example/"),
    ":path NUL": changed(":path", "/a\0b"), ":path backslash": changed(":path", "/a\\..\\b"),
    ":path climbs": changed(":path", "/../../etc"), ":path %00": changed(":path", "/%00"),
    ":path bad escape": changed(":path", "/%zz"),
    "* with GET": changed(":path", "*"),
    "CR LF in :authority": changed(":authority", "a\r\nx-evil: 1"), "space in :authority": changed(":authority", "a b"),
    "userinfo in :authority": changed(":authority", "user@a"), "path in :authority": changed(":authority", "a/b"),
    "bad port": changed(":authority", "a:99999999"),
    "CR LF in :method": changed(":method", "GET / HTTP/1.1\r\nx-evil: 1"),
    "space in :method": changed(":method", "GET /x"),
    "CR LF in :scheme": changed(":scheme", "http\r\nx"),
    "connection": PSEUDO + [("connection", "close")], "keep-alive": PSEUDO + [("keep-alive", "1")],
    "proxy-connection": PSEUDO + [("proxy-connection", "close")], "upgrade": PSEUDO + [("upgrade", "websocket")],
    "transfer-encoding": PSEUDO + [("transfer-encoding", "chunked")],
    "http2-settings": PSEUDO + [("http2-settings", "AAMAAABkAAQAAP__")],
    "te": PSEUDO + [("te", "gzip")], "te trailers and more": PSEUDO + [("te", "trailers, chunked")],
    "host differs": PSEUDO + [("host", "other.example")],
    "two hosts": PSEUDO + [("host", "test.example"), ("host", "test.example")],
    "two hosts alone": without(":authority") + [("host", "a"), ("host", "b")],
    "no host at all": without(":authority"), "host malformed": without(":authority") + [("host", "a b")],
    "two content-lengths": PSEUDO + [("content-length", "0"), ("content-length", "5")],
    "content-length list": PSEUDO + [("content-length", "0, 0")],
    "content-length sign": PSEUDO + [("content-length", "+0")],
    "content-length space": PSEUDO + [("content-length", "1 0")],
    "content-length hex": PSEUDO + [("content-length", "0x0")],
    "content-length negative": PSEUDO + [("content-length", "-1")],
    "content-length empty": PSEUDO + [("content-length", "")],
    "content-length huge": PSEUDO + [("content-length", "99999999999999999999999999")],
    "content-length without DATA": PSEUDO + [("content-length", "5")],
    "unknown expectation": PSEUDO + [("expect", "banana")],
}


def test_malformed_heads_reach_no_origin(t):
    o = t.origin()
    s = h2c(t, o)
    for name, fields in MALFORMED.items():
        with H2Client(s.port) as c:
            before = c.get("/before")
            check_eq(before.status, 200)
            stream = c.raw(fields)
            try:
                stream.wait_end()
                check(stream.status in (400, 417, 431, 501), "%s: status %d", name, stream.status)
            except h2.StreamReset:
                check_eq(stream.reset, h2.PROTOCOL_ERROR, name)
            check_eq(c.get("/before").status, 200, name + ": the connection goes on")
            check(not c.goaways, "%s: GOAWAY %s", name, c.goaways)
    check_eq({r.target for r in o.requests}, {"/before"})
    check(b"evil" not in o.received, "%r", o.received)
    check(s.metric("session_faults_total") > 20, "resets are not counted")


def test_cookie_crumbs_are_one_field(t):
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        r = json.loads(c.get("/headers",
                             fields=[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3"), ("cookie", "d=")]).body)
        check_eq([v for n, v in r["fields"] if n.lower() == "cookie"], ["a=1; b=2; c=3; d="])


def test_fields_that_are_legal_arrive(t):
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        r = json.loads(c.get("/headers?q=%20&x=/../",
                             fields=[("te", "trailers"), ("x-empty", ""), ("x-high", b"\xe4\xf6"), ("x-tab", "a\tb"),
                                                     ("host", "test.example")]).body)
        check_eq(r["target"], "/headers?q=%20&x=/../")
        have = {n.lower(): v for n, v in r["fields"]}
        check_eq((have["host"], have["x-empty"], have["x-high"], have["x-tab"]),
                 ("test.example", "", "\xe4\xf6", "a\tb"))
        check_eq([n for n, _ in r["fields"]].count("host") + [n for n, _ in r["fields"]].count("Host"), 1)
        only_host = c.raw(without(":authority") + [("host", "only.example")]).wait_end()
        check_in(["host", "only.example"], [[n.lower(), v] for n, v in json.loads(only_host.body)["fields"]])


# ---- content-length against DATA

def test_body_against_content_length(t):
    o = t.origin()
    s = h2c(t, o)
    for length, pieces, is_end in ((10, [b"123"], True), (3, [b"12345"], True), (3, [b"123", b"4"], True),
                                   (3, [b"123", b"4"], False)):
        with H2Client(s.port) as c:
            stream = c.request("POST", "/echo", [("content-length", str(length))], is_end=False)
            o.wait_requests(1)
            # At once: to a request whose bytes were all there the origin may have answered, which ends it well.
            c.write(b"".join(h2.frame(h2.DATA, h2.END_STREAM if is_end and i == len(pieces) - 1 else 0, stream.id, piece)
                             for i, piece in enumerate(pieces)))
            check_eq(stream.wait_reset(), h2.PROTOCOL_ERROR, "%d %s" % (length, pieces))
            check_eq(c.get("/headers").status, 200)
        wait_for(lambda: o.requests[0].connection.end, "the connection of the broken request stays open")
        done = [r.body for r in o.requests if r.target == "/echo" and r.body]  # what was right before the rest came
        check(not done or (done == [pieces[0]] and len(pieces[0]) == length), "the origin took %s as complete", done)
        o.clear()
    wait_for(lambda: s.metric("requests_total", status="499") + s.metric("requests_total", status="400") == 4,
             "they are not counted as the client's fault")


def test_trailers_that_are_malformed_reset_the_stream(t):
    o = t.origin()
    s = h2c(t, o)
    for trailers in ([(":path", "/x")], [("content-length", "3")], [("transfer-encoding", "chunked")],
                     [("X-Upper", "1")],
                     [("x", "a\r\nb: c")], [("host", "evil")]):
        with H2Client(s.port) as c:
            stream = c.request("POST", "/echo", body=b"abc", is_end=False)
            stream.end(trailers)
            check_eq(stream.wait_reset(), h2.PROTOCOL_ERROR, "%s" % trailers)
            check_eq(c.get("/headers").status, 200)
        check(not [r for r in o.requests if r.target == "/echo" and r.body], "%s: complete at the origin" % trailers)


# ---- connection errors

def test_connection_errors_end_in_goaway(t):
    s = h2c(t, t.origin())
    block = H2Client(s.port).encoder.encode(PSEUDO)
    whole = h2.frame(h2.HEADERS, 5, 1, block)
    cases = {
        "DATA on stream 0": (h2.frame(h2.DATA, 0, 0, b"x"), {1}),
        "HEADERS on stream 0": (h2.frame(h2.HEADERS, 5, 0, block), {1}),
        "HEADERS on an even stream": (h2.frame(h2.HEADERS, 5, 2, block), {1}),
        "DATA on an idle stream": (h2.frame(h2.DATA, 0, 1, b"x"), {1}),
        "RST_STREAM on an idle stream": (h2.rst(1, 8), {1}),
        "WINDOW_UPDATE on an idle stream": (h2.window_update(1, 5), {1}),
        "WINDOW_UPDATE of 0": (h2.window_update(0, 0), {1}),
        "window overflow": (h2.window_update(0, 0x7fffffff), {3}),
        "initial window overflow": (h2.settings({4: 0x80000000}), {3}),
        "ENABLE_PUSH 2": (h2.settings({2: 2}), {1}),
        "MAX_FRAME_SIZE too small": (h2.settings({5: 100}), {1}),
        "SETTINGS on a stream": (h2.frame(h2.SETTINGS, 0, 1), {1}),
        "SETTINGS of 5 bytes": (h2.frame(h2.SETTINGS, 0, 0, b"12345"), {6}),
        "SETTINGS ACK with bytes": (h2.frame(h2.SETTINGS, 1, 0, b"123456"), {6}),
        "PING of 7 bytes": (h2.frame(h2.PING, 0, 0, b"1234567"), {6}),
        "PING on a stream": (h2.frame(h2.PING, 0, 1, b"12345678"), {1}),
        "RST_STREAM of 3 bytes": (whole + h2.frame(h2.RST_STREAM, 0, 1, b"123"), {6}),
        "GOAWAY on a stream": (h2.frame(h2.GOAWAY, 0, 1, b"12345678"), {1}),
        "PUSH_PROMISE from a client": (h2.frame(h2.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + block), {1}),
        "a frame that is too large": (h2.frame(h2.HEADERS, 5, 1, b"x" * 16385), {6}),
        "a frame inside a header block": (h2.frame(h2.HEADERS, 1, 1, block) + h2.frame(h2.PING, 0, 0, b"12345678"),
                                          {1}),
        "CONTINUATION of another stream": (h2.frame(h2.HEADERS, 1, 1, block) + h2.frame(h2.CONTINUATION, 4, 3, b""),
                                           {1}),
        "CONTINUATION alone": (h2.frame(h2.CONTINUATION, 4, 1, block), {1}),
        "HPACK index that is not there": (h2.frame(h2.HEADERS, 5, 1, b"\xff\xff\x03"), {9}),
        "HPACK string that is cut": (h2.frame(h2.HEADERS, 5, 1, b"\x40\x7fabc"), {9}),
        "HPACK table too large": (h2.frame(h2.HEADERS, 5, 1, b"\x3f\xe1\xff\x7f" + block), {9}),
        "padding longer than the frame": (h2.frame(h2.HEADERS, 5 | h2.PADDED, 1, b"\xff" + block), {1}),
    }
    for name, (data, codes) in cases.items():
        with H2Client(s.port, begins=False) as c:
            c.streams.update({n: h2.Stream(c, n) for n in (1, 2, 3, 5)})
            c.write(h2.PREFACE + h2.settings({}))
            c.wait_settings()
            c.round_trip()
            try:
                c.write(data)
                c.wait(lambda: c.goaways or any(x.reset is not None for x in c.streams.values()), name)
            except h2.PeerReset:
                check(c.goaways, "%s: reset without GOAWAY", name)
            code = c.goaways[-1][1] if c.goaways else next(x.reset for x in c.streams.values() if x.reset is not None)
            check(code in codes, "%s: code %d", name, code)
            if c.goaways:
                c.wait_closed()
    check_eq(fetch(s.admin_port, "/health").status, 200)
    check(s.metric("session_faults_total") >= 20, "not counted: %s", s.metric("session_faults_total"))


def test_data_above_the_window_is_an_error(t):
    o = t.origin(rcvbuf=4096)
    o.on("/stuck", lambda connection, request: o.gate.wait(20))
    s = h2c(t, o)
    with H2Client(s.port) as c:
        stream = c.request("POST", "/stuck", is_end=False)
        o.wait_requests(1)
        try:
            for _ in range(1000):
                c.write(h2.frame(h2.DATA, 0, stream.id, b"x" * 16384))
                if c.goaways or stream.reset is not None:
                    break
        except h2.PeerReset:
            pass
        c.wait(lambda: c.goaways or stream.reset is not None, "no error")
        check_eq(stream.reset if stream.reset is not None else c.goaways[-1][1], h2.FLOW_CONTROL_ERROR)
    check(s.rss() < 200 << 20 or scale() > 1, "%d bytes", s.rss())
    o.gate.set()


def test_stream_ids_that_were_left_behind_carry_no_request(t):
    o = t.origin()
    s = h2c(t, o)
    with H2Client(s.port) as c:
        c.next_id = 5
        check_eq(c.get("/first").status, 200)
        try:
            for number in (3, 5, 1):
                c.send_block(number, PSEUDO[:3] + [(":path", "/behind")], True)
            c.round_trip()
            check_eq(c.get("/last").status, 200)
        except (PeerClosed, PeerReset):
            c.wait_closed()
            check_eq(c.goaways[-1][1], h2.PROTOCOL_ERROR)
    check(b"behind" not in o.received, "it reached the origin")


def test_what_is_no_http2_is_refused(t):
    o = t.origin()
    s = h2c(t, o)
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                 b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", bytes(100)):
        with Client(s.port) as c:
            c.send(data + bytes(60))
            how, answer = c.end()
            check(b"HTTP/1" not in answer, "%r", answer)
    h1 = t.sentinel(o)
    with Client(h1.port) as c:  # and HTTP/2 where HTTP/1.1 is spoken
        r = c.send(h2.PREFACE + h2.settings({})).response()
        check_eq(r.status, 505)
    check_eq(o.received, b"")


def test_silence_after_the_connect_ends(t):
    s = h2c(t, t.origin(), listener='head-timeout-secs "400ms"')
    with Client(s.port) as c:
        c.end()
    with H2Client(s.port, begins=False) as c:
        c.write(h2.PREFACE[:10])
        c.wait_closed()
    with H2Client(s.port) as c:  # half a head
        c.wait_settings()
        c.write(h2.frame(h2.HEADERS, 0, 1, c.encoder.encode(PSEUDO)))
        c.wait_closed()
    wait_for(lambda: faults(s, "head_timeout") >= 1, "not counted")


# ---- ends at every step

def test_killed_clients_leave_nothing(t):
    o = t.origin()
    s = h2c(t, o)
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
        c.get("/bytes/300000")
    base = s.baseline()
    for is_hard in (False, True):
        for step in range(8):
            c = H2Client(s.port, begins=step > 0)
            if step == 0:
                c.write(h2.PREFACE[:7])
            elif step == 1:
                c.wait_settings()
            elif step == 2:
                c.write(h2.frame(h2.HEADERS, 0, 1, c.encoder.encode(PSEUDO)))
            elif step == 3:
                c.request("POST", "/echo", body=b"x" * 50000, is_end=False)
            elif step == 4:
                c.request(path="/never")
                o.wait_requests(1)
            elif step == 5:
                c.reading.clear()
                for _ in range(10):
                    c.request(path="/bytes/5000000")
            elif step == 6:
                c.write(h2.frame(h2.DATA, 0, 0, b"x"))
            else:
                c.request(path="/slow-body").wait_data(5)
            s.sleep_ticks(0.02)
            if is_hard:
                c.kill()
            else:
                c.close()
            c.reading.set()
    o.gate.set()
    s.wait_gauges(dict(base, sessions=base["sessions"] + 20, descriptors=base["descriptors"] + 20,
                       ops_inflight=base["ops_inflight"] + 40))
    check_eq(s.metric("active_requests"), 0)
    check_eq(s.metric("exchanges"), 0)


def test_access_log_tells_http2(t):
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        c.get("/bytes/10")
        stream = c.request(path="/never")
        s.case.random.random()
        wait_for(lambda: s.metric("active_requests") >= 0 and len(s.origins[0].requests) == 2, "it does not arrive")
        stream.cancel()
        lines = [json.loads(text) for text in s.access_lines(2)]
    check_eq([(x["protocol"], x["status"]) for x in lines], [("HTTP/2", 200), ("HTTP/2", 499)])
    check_eq(re.sub(r"\?.*", "", lines[0]["path"]), "/bytes/10")
