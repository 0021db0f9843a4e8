# SPDX-License-Identifier: GPL-2.0-only
# test_h2_origin.py - HTTP/2 to origins: sharing, limits, refusals that are retried, ends of every kind.
import json
import os
import threading

from lib import Client, PeerClosed, PeerReset, check, check_eq, check_in, fetch, wait_for
from lib import h2, tls
from lib.case import scale
from lib.h2 import H2C, TO_H2, H2Client, h2_origin
from lib.nginx import nginx

RETRY = "retry-policy { max-attempts 3; backoff-base-ms 5; budget-percent 100; }"


def start(t, *origins, **keys):
    keys.setdefault("upstream", TO_H2)
    return t.sentinel(*origins, **keys)


def fetch_all(s, paths, **more):
    """At the same time, each on a connection of its own; the responses."""
    found = [None] * len(paths)

    def one(i):
        try:
            found[i] = fetch(s.port, paths[i], **more)
        except Exception as error:  # looked at by the caller
            found[i] = error
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(paths))]
    for thread in threads:
        thread.start()
    return threads, found


def join(threads, found):
    for thread in threads:
        thread.join(20 * scale())
    for r in found:
        check(not isinstance(r, (Exception, type(None))), "%r", r)
    return found


def test_requests_share_a_connection(t):
    o = h2_origin(t)
    s = start(t, o)
    check_eq(fetch(s.port, "/headers").status, 200)
    threads, found = fetch_all(s, ["/never?%d" % i for i in range(10)])
    wait_for(lambda: len(o.requests) == 11, "10 requests at once")
    check_eq(len(o.links), 1)
    o.gate.set()
    check_eq({r.body for r in join(threads, found)}, {b"at last"})
    fields = dict(o.requests[0].fields)
    check_eq((fields[":method"], fields[":scheme"], fields[":path"], fields[":authority"]),
             ("GET", "http", "/headers", "test.example"))
    check("host" not in fields, "%s", fields)


def test_requests_of_one_h2_client_share_one_too(t):
    o = h2_origin(t)
    s = start(t, o, listener=H2C)
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
        streams = [c.request("POST", "/echo", body=b"%d" % i * 1000) for i in range(50)]
        for i, stream in enumerate(streams):
            check_eq(stream.wait_end().body, b"%d" % i * 1000)
    check_eq(len(o.links), 1)


def test_another_connection_when_streams_run_out(t):
    for own, upstream in (({h2.MAX_STREAMS: 2}, TO_H2), (None, "http-version { min-version 2; max-h2-streams 2; }")):
        o = h2_origin(t, own=own)
        s = start(t, o, upstream=upstream)
        check_eq(fetch(s.port, "/headers").status, 200)  # its settings are known
        threads, found = fetch_all(s, ["/never?%d" % i for i in range(6)])
        wait_for(lambda: len(o.requests) == 7, "6 requests at once")
        check_eq(sorted(len(link.requests) for link in o.links if link.requests), [2, 2, 3])
        o.gate.set()
        join(threads, found)


def test_an_origin_that_allows_no_stream_at_first(t):
    o = h2_origin(t, own={h2.MAX_STREAMS: 1})
    s = start(t, o, listener=H2C)
    with H2Client(s.port) as c:  # all of them on connections whose settings are not known
        streams = [c.request(path="/bytes/%d" % i) for i in range(8)]
        for i, stream in enumerate(streams):
            check_eq((stream.wait_end().status, stream.received), (200, i))


def test_refused_streams_are_retried(t):
    o = h2_origin(t)
    seen = []

    def refuse_once(stream):
        seen.append(stream.get(":method"))
        if len(seen) % 2:
            stream.cancel(h2.REFUSED_STREAM)
        else:
            h2.headers(stream)
    o.on("/refuse", refuse_once)
    s = start(t, o, route=RETRY)
    check_eq(fetch(s.port, "/refuse").status, 200)
    r = fetch(s.port, "/refuse", "POST", body=b"the body")
    check_eq((r.status, json.loads(r.body)["body"]), (200, "the body"))
    check_eq(seen, ["GET", "GET", "POST", "POST"])
    check_eq(s.metric("upstream_retries_total", upstream="o"), 2)
    o.on("/refuse", lambda stream: stream.cancel(h2.REFUSED_STREAM))
    check_eq(fetch(s.port, "/refuse").status, 503)


def test_streams_above_the_last_of_a_goaway_are_retried(t):
    o = h2_origin(t)
    lock, held = threading.Lock(), []

    def first_link_only(stream):
        if stream.link is not o.links[0]:
            return h2.headers(stream)
        with lock:
            held.append(stream)
            if len(held) == 4:  # the first two are served, the others were never looked at
                ids = sorted(x.id for x in held)
                stream.link.goaway(ids[1])
                for x in held:
                    if x.id <= ids[1]:
                        threading.Thread(target=h2.headers, args=(x,), daemon=True).start()
    o.on("/g", first_link_only)
    s = start(t, o, route=RETRY)
    check_eq(fetch(s.port, "/headers").status, 200)
    threads, found = fetch_all(s, ["/g"] * 4, method="POST", body=b"post")
    for r in join(threads, found):
        check_eq((r.status, json.loads(r.body)["body"]), (200, "post"))
    check_eq([len(link.requests) for link in o.links], [5, 2])
    wait_for(lambda: o.links[0].end, "the connection that was ended stays open")


def test_goaway_in_peace_costs_nobody_a_request(t):
    o = h2_origin(t)

    def answer_then_leave(stream):
        stream.link.goaway(0x7fffffff)
        h2.headers(stream)
        stream.link.goaway(stream.id)
    o.on("/bye", answer_then_leave)
    s = start(t, o)
    for _ in range(20):
        check_eq(fetch(s.port, "/bye").status, 200)
        check_eq(fetch(s.port, "/headers").status, 200)
    check(len(o.links) >= 20, "%d connections", len(o.links))
    wait_for(lambda: len(o.open_links()) <= 1, "old connections stay open")


def test_idle_connection_that_was_closed_is_not_used(t):
    o = h2_origin(t)
    s = start(t, o)
    for i in range(10):
        check_eq(fetch(s.port, "/headers", "POST", body=b"x").status, 200)
        o.links[-1].close()


def test_ping_finds_a_dead_origin(t):
    o = h2_origin(t)
    s = start(t, o, upstream='http-version { min-version 2; h2-ping-interval "2s"; }')
    check_eq(fetch(s.port, "/headers").status, 200)
    first = o.links[0]
    wait_for(lambda: first.pings >= 2, "no PING")  # the first was answered, and in time
    threads, found = fetch_all(s, ["/never"])
    wait_for(lambda: len(o.requests) == 2, "the request")
    first.answers_pings = False
    r = join(threads, found)[0]
    check(r.status in (502, 504), "%d", r.status)
    wait_for(lambda: first.end, "the dead connection stays open")
    check_eq(fetch(s.port, "/headers").status, 200)
    check_eq(len(o.links), 2)


def test_reset_of_the_origin(t):
    o = h2_origin(t)
    o.on("/before", lambda stream: stream.cancel(h2.INTERNAL_ERROR))
    has_head = threading.Event()

    def after(stream):
        stream.head([(":status", "200"), ("content-length", "100")]).send(b"some")
        has_head.wait(10 * scale())  # before that the client may still be told 502
        stream.cancel(h2.INTERNAL_ERROR)
    o.on("/after", after)
    h1 = start(t, o)
    check_eq(fetch(h1.port, "/before").status, 502)
    with Client(h1.port) as c:
        c.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
        check_eq(c.head().status, 200)
        has_head.set()
        how, data = c.end()
        check(len(data) < 100, "%r", data)
    has_head.clear()
    s = start(t, o, listener=H2C)
    with H2Client(s.port) as c:
        check_eq(c.get("/before").status, 502)
        stream = c.request(path="/after")
        check_eq(stream.wait_head().status, 200)
        has_head.set()
        check(stream.wait_reset() != h2.NO_ERROR, "the answer looks complete")
        check_eq(c.get("/headers").status, 200)
    check_eq(len(o.links), 2, "one connection for each proxy")


def test_reset_of_the_client_reaches_the_origin(t):
    o = h2_origin(t)
    s = start(t, o, listener=H2C)
    with H2Client(s.port) as c:
        for method, body, is_end in (("GET", None, True), ("POST", b"part", False)):
            count = len(o.requests)
            stream = c.request(method, "/never" if is_end else "/echo", body=body, is_end=is_end)
            wait_for(lambda: len(o.requests) > count, "the request")
            stream.cancel()
            check_eq(o.requests[-1].wait_reset(), h2.CANCEL)
        check_eq(c.get("/headers").status, 200)
    check_eq(len(o.links), 1)
    h1 = start(t, o)  # a client of HTTP/1.1 that goes away
    count = len(o.requests)
    c = Client(h1.port)
    c.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: len(o.requests) > count, "the request")
    c.reset()
    check_eq(o.requests[-1].wait_reset(), h2.CANCEL)


def test_early_answer(t):
    """A complete answer before the end of the request, then RST_STREAM(NO_ERROR) (RFC 9113 8.1)."""
    o = h2_origin(t)

    def early(stream):
        stream.answer(413, b"too much")
        stream.cancel(h2.NO_ERROR)
    o.on("/early", early)
    o.on("/early-quiet", lambda stream: stream.answer(413, b"too much"))
    for path in ("/early", "/early-quiet"):
        s = start(t, o, listener=H2C)
        with H2Client(s.port) as c:
            stream = c.request("POST", path, body=b"x" * 10, is_end=False)
            check_eq((stream.wait_end().status, stream.body), (413, b"too much"))
            stream.wait_reset()
            check_eq(stream.reset, h2.NO_ERROR)
            check_eq(c.get("/headers").status, 200)
        h1 = start(t, o)
        with Client(h1.port) as c:
            c.send("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nxyz" % path)
            r = c.response()
            check_eq((r.status, r.body), (413, b"too much"))


def test_malformed_answers_are_502(t):
    o = h2_origin(t)
    ok = [(":status", "200")]
    cases = {
        "upper case": ok + [("X-Upper", "1")], "connection": ok + [("connection", "close")],
        "transfer-encoding": ok + [("transfer-encoding", "chunked")], "no :status": [("x", "y")],
        "two :status": ok + ok,
        ":status 20": [(":status", "20")], ":status abc": [(":status", "abc")], ":status 2000": [(":status", "2000")],
        ":status 101": [(":status", "101")], ":status 099": [(":status", "099")], ":status 600": [(":status", "+20")],
        ":path in a response": ok + [(":path", "/")],
        "pseudo-header after a field": [("x", "y")] + ok, "CR LF in a value": ok + [("x", "a\r\nx-evil: 1")],
        "NUL in a value": ok + [("x", "a\0b")], "LF in a name": ok + [("a\nb", "x")],
        "space in a name": ok + [("a b", "x")],
        "two content-lengths": ok + [("content-length", "0"), ("content-length", "1")],
        "content-length list": ok + [("content-length", "0, 0")],
        "content-length sign": ok + [("content-length", "+0")],
        "content-length and no DATA": ok + [("content-length", "5")], "interim that ends": [(":status", "103")],
    }

    def answer(stream):
        name = stream.path.split("/")[2].replace("_", " ")
        stream.head(cases[name], True)
    o.on("/bad/*", answer)
    s = start(t, o, listener=H2C)
    h1 = start(t, o)
    with H2Client(s.port) as c:
        for name in cases:
            r = c.get("/bad/" + name.replace(" ", "_"))
            check_eq(r.status, 502, name)
            r = fetch(h1.port, "/bad/" + name.replace(" ", "_"))
            check_eq(r.status, 502, name)
            check(not r.has("x-evil"), "%s", r.fields)
        check_eq(c.get("/headers").status, 200)
        check(not c.goaways, "%s", c.goaways)


def test_answers_that_lie_about_their_length(t):
    o = h2_origin(t)

    def lie(stream):
        said, sent = stream.path.split("/")[2:4]
        stream.head([(":status", "200"), ("content-length", said)])
        stream.send(b"x" * int(sent), True)
    o.on("/lie/*", lie)
    s = start(t, o, listener=H2C)
    h1 = start(t, o)
    for said, sent in ((10, 5), (5, 10), (100000, 99999), (0, 3)):
        with H2Client(s.port) as c:
            stream = c.request(path="/lie/%d/%d" % (said, sent))
            try:
                check_eq(stream.wait_end().status, 502, "%d, %d" % (said, sent))
            except h2.StreamReset:
                pass
        with Client(h1.port) as c:
            c.send("GET /lie/%d/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (said, sent))
            try:
                r = c.response()
                check(r.status == 502 or (sent > said and len(r.body) == said), "%d, %d: complete: %s", said, sent,
                      r.body[:20])
                if r.status == 200:
                    c.check_closed()
            except (PeerClosed, PeerReset):
                pass


def test_connection_errors_of_an_origin(t):
    o = h2_origin(t)
    s = start(t, o, listener=H2C)
    floods = {
        "DATA on stream 0": h2.frame(h2.DATA, 0, 0, b"x"),
        "HPACK that is none": h2.frame(h2.HEADERS, 4, 1, b"\xff\xff\x03"),
        "PUSH_PROMISE": h2.frame(h2.PUSH_PROMISE, 4, 1, b"\0\0\0\2"),
        "a frame too large": h2.frame(h2.DATA, 0, 1, b"x" * 20000),
        "HTTP/1.1": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HEADERS on an even stream": h2.frame(h2.HEADERS, 5, 2, b"\x88"),
        "a window overflow": h2.window_update(0, 0x7fffffff), "SETTINGS flood": h2.settings({}) * 5000,
        "PING flood": h2.frame(h2.PING, 0, 0, b"12345678") * 20000,
        "CONTINUATION flood": h2.frame(h2.HEADERS, 0, 1, b"\x88") + h2.frame(h2.CONTINUATION, 0, 1, b"\x88") * 5000,
        "empty DATA flood": h2.frame(h2.HEADERS, 4, 1, b"\x88") + h2.frame(h2.DATA, 0, 1) * 20000,
    }
    for name, data in floods.items():
        o.on("/broken", lambda stream, data=data: stream.link.write(data))
        with H2Client(s.port) as c:
            stream = c.request(path="/broken")
            try:
                check_eq(stream.wait_end().status, 502, name)
            except h2.StreamReset:
                check_eq(name, "empty DATA flood")
            check_eq(c.get("/headers").status, 200, name)
    wait_for(lambda: len(o.open_links()) <= 1, "broken connections stay open")


def test_window_of_the_origin_is_obeyed(t):
    o = h2_origin(t, own={h2.INITIAL_WINDOW: 10, h2.MAX_STREAMS: 100})
    most = []

    def slow(stream):
        stream.gives_window = False
        for n in range(1, 7):
            stream.wait_data(10 * n)
            stream.link.round_trip()
            most.append(stream.received)
            stream.link.write(h2.window_update(stream.id, 10))
        stream.wait_end()
        stream.answer(body=b"%d" % stream.received)
    o.on("/slow", slow)
    s = start(t, o)
    check_eq(fetch(s.port, "/headers").status, 200)  # its settings are known
    check_eq(fetch(s.port, "/slow", "POST", body=b"x" * 65).body, b"65")
    check_eq(most, [10, 20, 30, 40, 50, 60])


def test_killed_origins_leave_nothing(t):
    o = h2_origin(t)
    s = start(t, o, listener=H2C)
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
    base = s.baseline()

    def die(stream):
        step = stream.path.split("/")[2]
        if step == "body":
            stream.head([(":status", "200")]).send(b"x" * 1000)
        elif step == "half":
            stream.link.write(h2.frame(h2.HEADERS, 0, stream.id, b"\x88"))
        elif step == "frame":
            stream.head([(":status", "200")])
            stream.link.write(h2.frame(h2.DATA, 0, stream.id, b"x" * 100)[:50])
        elif step == "goaway":
            stream.link.goaway(stream.id, h2.INTERNAL_ERROR)
        stream.link.kill() if stream.path.endswith("hard") else stream.link.close()
    o.on("/die/*", die)
    with H2Client(s.port) as c:
        for step in ("head", "half", "body", "frame", "goaway"):
            for how in ("soft", "hard"):
                stream = c.request(path="/die/%s/%s" % (step, how))
                try:
                    check_eq(stream.wait_end().status, 502, step)
                except h2.StreamReset:
                    check(step in ("body", "frame"), "%s: reset", step)
        check_eq(c.get("/headers").status, 200)
    s.wait_gauges(base)


def test_connect_failures(t):
    port = t.port()
    s = start(t, "127.0.0.1:%d" % port)
    check_eq(fetch(s.port, "/").status, 503)
    quiet = t.origin(is_accepting=False)
    s = start(t, quiet, upstream=TO_H2 + '\ntimeouts { request "300ms"; }')
    check_eq(fetch(s.port, "/").status, 504)


# ---- a real peer, and what ALPN says

NGINX = '''
    client_max_body_size 0;
    ssl_certificate %(cert)s;
    ssl_certificate_key %(key)s;
    server {
        listen 127.0.0.1:%(h2)d ssl http2;
        listen 127.0.0.1:%(h1)d ssl;
        listen 127.0.0.1:%(h2c)d http2;
        location / { return 200 "$server_protocol $request_method $connection"; }
    }
'''


def every_protocol(t, pair):
    return nginx(t, NGINX, ["h1", "h2", "h2c"], cert=pair.cert, key=pair.key)


def test_alpn_chooses_what_nginx_speaks(t):
    ca = tls.Authority(t)
    ports = every_protocol(t, ca.issue("o.example"))
    to_tls = 'tls { sni "o.example"; ca-file "%s"; }' % ca.cert
    for port, upstream, wanted in (("h2", to_tls, b"HTTP/2.0"), ("h1", to_tls, b"HTTP/1.1"),
                                   ("h2c", TO_H2, b"HTTP/2.0"),
                                   ("h2", to_tls + "\n" + TO_H2, b"HTTP/2.0"),
                                   ("h2", to_tls + "\nhttp-version { max-version 1; }", b"HTTP/1.1")):
        s = t.sentinel("127.0.0.1:%d" % ports[port], upstream=upstream, listener=H2C)
        with H2Client(s.port) as c:
            first = [c.request(path="/%d" % i) for i in range(5)]
            got = [x.wait_end().body.split() for x in first]
            check_eq({words[0] for words in got}, {wanted}, "%s %s" % (port, upstream))
            later = [c.request("POST", "/x", body=b"y" * 100) for i in range(10)]
            got = [x.wait_end().body.split() for x in later]
            check_eq({words[1] for words in got}, {b"POST"})
            if wanted == b"HTTP/2.0":
                check_eq(len({words[2] for words in got}), 1, "connections for 10 requests")
    s = t.sentinel("127.0.0.1:%d" % ports["h1"], upstream=to_tls + "\n" + TO_H2)  # nothing else will do
    r = fetch(s.port, "/")
    check(r.status in (502, 503), "%d", r.status)
    check(s.metrics().sum("upstream_failures_total", upstream="o") >= 1, "not counted")


def test_the_origins_protocol_changes_while_we_run(t):
    """What ALPN said last time is a guess, not a promise."""
    ca = tls.Authority(t)
    pair = ca.issue("o.example")
    ports = every_protocol(t, pair)
    s = t.sentinel("127.0.0.1:%d" % ports["h2"], listener=H2C,
                   upstream='tls { sni "o.example"; ca-file "%s"; }' % ca.cert)
    with H2Client(s.port) as c:
        check_in(b"HTTP/2.0", c.get("/").body)
        with open(t.path("nginx.conf"), encoding="ascii") as file:
            text = file.read().replace("ssl http2",
                                       "ssl").replace("127.0.0.1:%d http2" % ports["h2c"],
                                                      "127.0.0.1:%d" % ports["h2c"])
        t.write("nginx.conf", text)
        with open(t.path("nginx.pid"), encoding="ascii") as file:
            os.kill(int(file.read()), 1)
        wait_for(lambda: b"HTTP/1.1" in c.get("/").body, "it still speaks HTTP/2")
        for r in [c.request(path="/") for _ in range(10)]:
            check_in(b"HTTP/1.1", r.wait_end().body)
