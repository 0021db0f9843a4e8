# SPDX-License-Identifier: GPL-2.0-only
# test_h2_waits.py - HTTP/2 and time: every deadline, full pools, tiny frames, header compression over many requests.
import json
import random
import threading

from lib import check, check_eq, fetch, wait_for
from lib import h2, tls
from lib.h2 import H2C, TO_H2, H2Client, h2_origin
from lib.origin import pattern

RETRY = "retry-policy { max-attempts 3; backoff-base-ms 5; budget-percent 100; }"


def h2c(t, *origins, listener="", **keys):
    return t.sentinel(*origins, listener=H2C + "\n" + listener, **keys)


# ---- deadlines: several times what a peer needs who is alive, as the machine has other work

def test_body_that_stops_is_a_timeout_of_its_stream_only(t):
    o = t.origin()
    s = h2c(t, o, listener='body-idle-timeout-secs "1500ms"')
    with H2Client(s.port) as c:
        stream = c.request("POST", "/echo", body=b"some", is_end=False)
        other = c.request("POST", "/echo", is_end=False)
        for _ in range(12):  # this one goes on
            other.send(b"x")
            s.sleep_ticks(0.15)
        try:
            check_eq(stream.wait_end().status, 408)
        except h2.StreamReset:
            pass
        check_eq(other.send(b"!", True).wait_end().body, b"x" * 12 + b"!")
        check(not c.goaways, "%s", c.goaways)


def test_reader_that_stops_is_reset_alone(t):
    s = h2c(t, t.origin(), listener='write-idle-timeout-secs "1500ms"')
    with H2Client(s.port) as c:
        stuck = c.open()
        stuck.gives_window = False
        stuck.head(c.head("GET", "/bytes/500000"), True)
        stuck.wait_data(65535)
        for _ in range(15):
            check_eq(c.get("/bytes/100000").received, 100000)
            s.sleep_ticks(0.1)
        check_eq(stuck.wait_reset() != h2.NO_ERROR, True)
        check(not c.goaways, "%s", c.goaways)


def test_idle_connection_ends_in_peace(t):
    s = h2c(t, t.origin(), listener='keepalive-timeout-secs "1500ms"')
    with H2Client(s.port) as c:
        for _ in range(6):
            check_eq(c.get("/headers").status, 200)
            s.sleep_ticks(0.3)
        c.wait_closed()
        check_eq({code for _, code in c.goaways}, {h2.NO_ERROR})
    check_eq(s.metric("session_faults_total"), 0)


def test_deadlines_of_an_h2_origin(t):
    o = h2_origin(t)

    def half(stream):
        stream.head([(":status", "200"), ("content-length", "10")]).send(b"12345")
        stream.wait_reset()
    o.on("/half", half)
    for keys in ({"upstream": TO_H2 + '\ntimeouts { request 1; read 1; }'},
                 {"upstream": TO_H2, "route": 'policies { timeout-secs 1; }'}):
        s = h2c(t, o, **keys)
        with H2Client(s.port) as c:
            check_eq(c.get("/never").status, 504)
            check_eq(o.requests[-1].wait_reset(), h2.CANCEL)
            stream = c.request(path="/half")
            check(stream.wait_reset() != h2.NO_ERROR, "it ended in peace")
            check_eq(o.requests[-1].wait_reset(), h2.CANCEL)
            check_eq(c.get("/headers").status, 200)
    check_eq(len(o.links), 2)


def test_upload_that_an_h2_origin_does_not_read(t):
    o = h2_origin(t)

    def stuck(stream):
        stream.gives_window = False
        stream.wait_reset(20)
    o.on("/stuck", stuck)
    s = h2c(t, o, upstream=TO_H2 + '\ntimeouts { write "500ms"; }', limits='max-body-size "1GiB"')
    with H2Client(s.port) as c:
        stream = c.request("POST", "/stuck", is_end=False)
        try:
            for _ in range(100):
                stream.send(pattern(1 << 18))
        except h2.StreamReset:
            pass
        check_eq(o.requests[0].wait_reset(), h2.CANCEL)
        wait_for(lambda: stream.fields or stream.reset is not None, "the client is not told")
        check_eq(stream.status if stream.fields else 504, 504)
        check_eq(c.get("/headers").status, 200)


# ---- pools and retries

def test_requests_wait_for_a_stream_of_a_full_pool(t):
    o = h2_origin(t, own={h2.MAX_STREAMS: 2})
    s = h2c(t, o, upstream=TO_H2 + "\nconnection-pool { max-connections 1; }")
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
        streams = [c.request(path="/bytes/%d" % i) for i in range(90)]
        for i, stream in enumerate(streams):
            check_eq((stream.wait_end().status, stream.received), (200, i))
    check_eq(len(o.links), 1)


def test_connection_that_dies_with_many_streams(t):
    o = h2_origin(t)
    lock, seen = threading.Lock(), []

    def die(stream):
        with lock:
            seen.append(stream)
            if len(seen) == 40:
                stream.link.kill()
        if len(seen) > 40:
            h2.headers(stream)
        else:
            stream.link.wait(lambda: False, "the end", 20)
    o.on("/die", die)
    s = h2c(t, o, upstream=TO_H2, route=RETRY)
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
        streams = [c.request("POST" if i % 2 else "GET", "/die", body=b"x" if i % 2 else None) for i in range(40)]
        check_eq([x.wait_end().status for x in streams], [200, 502] * 20)  # GET is tried again
        check_eq(c.get("/headers").status, 200)


def test_refused_stream_with_a_body_that_is_gone(t):
    o = h2_origin(t)
    o.on("/refuse", lambda stream: stream.wait_data(200000).cancel(h2.REFUSED_STREAM))
    s = h2c(t, o, upstream=TO_H2, route=RETRY)
    with H2Client(s.port) as c:
        stream = c.request("POST", "/refuse", is_end=False)
        stream.send(bytes(300000))
        check_eq(stream.wait_head().status, 503)
    check_eq(len(o.requests), 1)


def test_goaway_is_survived_without_a_retry_policy(t):
    o = h2_origin(t)

    def leave(stream):
        if stream.link is o.links[0]:
            stream.link.goaway(stream.id - 2)
        else:
            h2.headers(stream)
    o.on("/leave", leave)
    s = h2c(t, o, upstream=TO_H2)
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
        check_eq(c.get("/leave", "POST", body=b"x").status, 200)
    check_eq(s.metric("upstream_failures_total"), 0)


def test_too_many_interim_responses(t):
    o = h2_origin(t)

    def hints(stream):
        for _ in range(int(stream.path.split("/")[2])):
            stream.head([(":status", "103"), ("link", "</a>; rel=preload")])
        stream.answer(body=b"ok")
    o.on("/hints/*", hints)
    s = h2c(t, o, upstream=TO_H2)
    with H2Client(s.port) as c:
        r = c.get("/hints/10")
        check_eq((r.status, len(r.interim)), (200, 10))
        stream = c.request(path="/hints/1000")
        try:
            check_eq(stream.wait_end().status, 502)
        except h2.StreamReset:
            pass


# ---- frames

def test_frames_of_one_byte(t):
    for o, upstream in ((t.origin(), ""), (h2_origin(t), TO_H2)):
        s = h2c(t, o, upstream=upstream)
        data = pattern(20000)
        with H2Client(s.port) as c:
            stream = c.request("POST", "/echo", is_end=False)
            for at in range(0, len(data), 1000):
                c.write(b"".join(h2.frame(h2.DATA, 0, stream.id, data[i:i + 1]) for i in range(at, at + 1000)))
            stream.end()
            check_eq(stream.wait_end().body, data)
            check(c.counts[h2.DATA] < 10000, "%d frames came back", c.counts[h2.DATA])


def test_tiny_frames_of_an_origin(t):
    o = h2_origin(t)
    data = pattern(20000)

    def drip(stream):
        stream.head([(":status", "200")])
        for at in range(0, len(data), 500):
            stream.link.write(b"".join(h2.frame(h2.DATA, 0, stream.id, data[i:i + 1]) for i in range(at, at + 500)))
        stream.end()
    o.on("/drip", drip)
    s = h2c(t, o, upstream=TO_H2)
    with H2Client(s.port) as c:
        check_eq(c.get("/drip").body, data)
    check_eq(fetch(s.admin_port, "/health").status, 200)


def test_frame_size_of_the_peer_is_obeyed(t):
    """Larger than ours is allowed, and is not asked for; what comes is checked by the client itself."""
    s = h2c(t, t.origin())
    with H2Client(s.port, own={h2.MAX_FRAME: 1 << 20, h2.INITIAL_WINDOW: 1 << 20}) as c:
        check_eq(c.get("/bytes/3000000").body, pattern(3000000))


# ---- header compression

def test_compressed_heads_of_many_requests(t):
    chosen = random.Random(7)
    for client_table, origin_table in ((None, None), (0, 0), (0, 65536), (65536, 100)):
        own = {h2.MAX_STREAMS: 100}
        if origin_table is not None:
            own[h2.TABLE_SIZE] = origin_table
        o = h2_origin(t, own=own)
        s = h2c(t, o, upstream=TO_H2)
        with H2Client(s.port, own={} if client_table is None else {h2.TABLE_SIZE: client_table}) as c:
            if client_table is not None:
                c.decoder.max_allowed_table_size = client_table
            o.on_link = lambda link: link.begin()
            for _ in range(150):
                fields = [("x-%d" % chosen.randrange(30), "v%d" % chosen.randrange(1000) * chosen.randrange(1, 30))
                          for _ in range(chosen.randrange(12))]
                r = c.get("/headers?%d" % chosen.randrange(1000), fields=fields)
                got = [(n, v) for n, v in json.loads(r.body)["fields"] if n.startswith("x-") and n[2:].isdigit()]
                check_eq(got, fields)


def test_settings_of_a_client_of_ours(t):
    o = h2_origin(t)
    s = h2c(t, o, upstream=TO_H2)
    with H2Client(s.port) as c:
        check_eq(c.get("/headers").status, 200)
    o.links[0].wait_settings()
    check_eq(o.links[0].peer.get(h2.ENABLE_PUSH), 0)


def test_secret_fields_stay_out_of_the_table(t):
    """A field that came as never indexed leaves as such (RFC 7541 7.1.3)."""
    import hpack
    o = h2_origin(t)
    raws = []
    o.behaviour = lambda path: h2.headers
    s = h2c(t, o, upstream=TO_H2)
    with H2Client(s.port) as c:
        check_eq(c.get("/warm").status, 200)
        link = o.links[0]
        decode = link.decoder.decode

        def spy(block, raw=True):
            fields = decode(block, raw=raw)
            raws.append({bytes(f[0]).decode(): f.indexable for f in fields})
            return fields
        link.decoder.decode = spy
        with c.sending:
            stream = c.open()
            fields = [hpack.HeaderTuple(n, v) for n, v in c.head("GET", "/secret")]
            fields += [hpack.NeverIndexedHeaderTuple("authorization", "Bearer abc"),
                       hpack.NeverIndexedHeaderTuple("x-secret", "abc"),
                       hpack.HeaderTuple("x-open", "abc")]
            c.write(h2.frame(h2.HEADERS, 5, stream.id, c.encoder.encode(fields)))
        check_eq(stream.wait_end().status, 200)
    check_eq((raws[-1]["authorization"], raws[-1]["x-secret"], raws[-1]["x-open"]), (False, False, True))


# ---- what a client says of itself

def test_scheme_of_the_client_is_not_believed(t):
    s = h2c(t, t.origin())
    with H2Client(s.port) as c:
        for scheme in ("https", "ftp", "HTTP"):
            r = c.raw([(":method", "GET"), (":scheme", scheme), (":authority", "a"), (":path", "/headers")])
            try:
                if r.wait_end().status == 200:
                    have = {n.lower(): v for n, v in json.loads(r.body)["fields"]}
                    check_eq(have["x-forwarded-proto"], "http", scheme)
            except h2.StreamReset:
                check_eq(r.reset, h2.PROTOCOL_ERROR)


def test_a_listener_of_h2_only(t):
    ca = tls.Authority(t)
    s = t.sentinel(t.origin(), listener=tls.tls_block(ca.issue("a.example")).replace('"https"', '"h2"'))
    base = ["--cacert", ca.cert, "--resolve", "a.example:%d:127.0.0.1" % s.port, "-o", "/dev/null", "-w",
            "%{http_version} %{http_code}"]
    url = "https://a.example:%d/headers" % s.port
    check_eq(tls.curl("--http2", *base, url), "2 200")
    check("200" not in tls.curl("--http1.1", *base, url, check_code=None), "it speaks HTTP/1.1")
    with H2Client(s.port, tls=tls.context(ca, ["h2"])) as c:
        check_eq(c.get("/headers", authority="a.example:%d" % s.port).status, 200)
