# SPDX-License-Identifier: GPL-2.0-only
# test_h2_drain.py - HTTP/2 connections when the daemon or their listener ends, when files change, when peers leave.
import re
import signal
import subprocess
import threading
import time

from lib import Client, check, check_eq, wait_for
from lib import h2, tls
from lib.case import scale
from lib.h2 import H2C, TO_H2, H2Client, h2_origin

# A client that answers no PING has a second for what it still opens.
ALONE = ("test_a_round_trip_is_enough", "test_sigterm_ends_in_two_steps",
         "test_a_listener_that_is_removed_ends_in_two_steps")

WEBSOCKET = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/upgrade"),
             (":authority", "a")]


def two_steps(t, s, o, begin, is_over):
    """In flight: an answer that is awaited, a body that goes up, one that comes down.  begin() starts the end."""
    with H2Client(s.port) as c:
        c.answers_pings = False  # a round trip that takes its time: what is on the way is served
        waiting = [c.request(path="/never") for _ in range(3)]
        up = c.request("POST", "/echo", is_end=False)
        up.send(b"first ")
        down = c.request(path="/slow-body")
        down.wait_data(5)
        o.wait_requests(5)
        idle = H2Client(s.port)
        idle.wait_settings()
        begin()
        check_eq(c.wait_goaway(h2.NO_ERROR), (0x7fffffff, 0))
        late = c.request("POST", "/echo", body=b"late")
        check_eq(late.wait_end().body, b"late")
        c.wait(lambda: len(c.goaways) == 2, "no second GOAWAY")
        check_eq(c.goaways[1], (late.id, 0))
        refused = c.request(path="/refused")
        idle.wait_closed()
        check_eq([code for _, code in idle.goaways], [0, 0])
        up.send(b"second", True)
        check_eq(up.wait_end().body, b"first second")
        o.gate.set()
        for stream in waiting:
            check_eq(stream.wait_end().body, b"at last")
        check_eq(down.wait_end().body, b"1234567890")
        check_eq(c.wait_closed(), "fin")
        check(refused.fields is None, "a stream above the last one was served")
    is_over()
    check(b"refused" not in o.received, "it reached the origin")


def test_sigterm_ends_in_two_steps(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    two_steps(t, s, o, lambda: s.signal(signal.SIGTERM), lambda: check_eq(s.wait_exit(), 0))


def test_a_listener_that_is_removed_ends_in_two_steps(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    port = t.port()
    both = 'listener "main" {\naddress "127.0.0.1:%d"\n%s\n}\nlistener "stays" {\naddress "127.0.0.1:%d"\n%s\n}' % (s.port, H2C, port, H2C)
    s.check_reload(listeners=both)
    stays = H2Client(port)
    check_eq(stays.get("/headers").status, 200)

    def is_over():
        check_eq(stays.get("/headers").status, 200)
        check(not stays.goaways, "the other listener's connection was ended")
        try:
            Client(s.port).close()
            raise AssertionError("it still listens")
        except ConnectionError:
            pass
    two_steps(t, s, o, lambda: s.check_reload(listeners=both[both.index('listener "stays"'):]), is_over)


def test_a_round_trip_is_enough(t):
    """A client that answers the PING does not wait for a second."""
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    with H2Client(s.port) as c:
        held = c.request(path="/never")
        o.wait_requests(1)
        began = time.monotonic()
        s.signal(signal.SIGTERM)
        c.wait(lambda: len(c.goaways) == 2, "no second GOAWAY")
        check(time.monotonic() - began < 0.8 * scale(), "it took %.1f s", time.monotonic() - began)
        check_eq([last for last, _ in c.goaways], [0x7fffffff, held.id])
        o.gate.set()
        check_eq(held.wait_end().body, b"at last")
        c.wait_closed()
    check_eq(s.wait_exit(), 0)


def test_drain_has_a_deadline(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C, system="graceful-shutdown-timeout-secs 1", route="websocket #true")
    with H2Client(s.port) as c:
        c.request(path="/never")
        c.request("POST", "/echo", is_end=False).send(b"x")
        tunnel = c.raw(WEBSOCKET, False)
        check_eq(tunnel.wait_head().status, 200)
        stuck = c.request(path="/bytes/5000000")
        stuck.gives_window = False
        o.wait_requests(4)
        s.signal(signal.SIGTERM)
        c.wait_closed(8)
    check_eq(s.wait_exit(), 0)
    o.gate.set()


def test_origins_connections_end_too(t):
    o = h2_origin(t)
    s = t.sentinel(o, listener=H2C, upstream=TO_H2)
    with H2Client(s.port) as c:
        held = c.request(path="/never")
        wait_for(lambda: o.requests, "the request")
        s.signal(signal.SIGTERM)
        c.wait(lambda: len(c.goaways) == 2, "no second GOAWAY")
        o.gate.set()
        check_eq(held.wait_end().body, b"at last")
    check_eq(s.wait_exit(), 0)
    wait_for(lambda: not o.open_links(), "a connection to the origin stays open")
    check_eq([link.end for link in o.links], ["fin"])


# ---- clients that leave

def test_goaway_of_the_client(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    with H2Client(s.port) as c:
        held = [c.request(path="/never") for _ in range(3)]
        o.wait_requests(3)
        c.goaway(0)
        c.round_trip()
        o.gate.set()
        for stream in held:
            check_eq(stream.wait_end().body, b"at last")
        check_eq(c.wait_closed(), "fin")


def test_half_close_of_the_client(t):
    """FIN after complete requests: they are answered."""
    import socket
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    with H2Client(s.port) as c:
        held = [c.request(path="/never") for _ in range(3)] + [c.request(path="/bytes/60000")]
        open_one = c.request("POST", "/echo", is_end=False)
        held[3].gives_window = False  # nothing can be written any more, and 60,000 bytes fit
        o.wait_requests(5)
        c.round_trip()  # SETTINGS are answered
        c.socket.shutdown(socket.SHUT_WR)
        o.gate.set()
        for stream in held[:3]:
            check_eq(stream.wait_end().body, b"at last")
        check_eq(held[3].wait_end().received, 60000)
        check(open_one.fields is None, "a request without its end was answered")
        c.wait_closed()
    wait_for(lambda: s.metric("active_requests") == 0, "requests stay")


# ---- reload under load

def h2load(words, seconds=30):
    done = subprocess.run([tls.tool("h2load")] + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds * scale())
    text = done.stdout.decode("utf-8", "replace")
    check_eq(done.returncode, 0, text)
    return text


def judge_h2load(text):
    numbers = re.search(r"(\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
                        text)
    check(numbers, "%s", text)
    _, _, done, succeeded, failed, errored, timeout = map(int, numbers.groups())
    check_eq((failed, errored, timeout), (0, 0, 0), text)
    check(succeeded == done > 0, "%s", text)
    # When its time is over h2load has seen heads of answers that it does not count as done any more.
    heads = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", text)
    check(heads and int(heads.group(1)) >= done, "%s", text)


def reload_ten_times(s, url, change):
    """Beside load that begins anew every four seconds, for as long as it takes."""
    errors, is_over = [], threading.Event()

    def load():
        try:
            while not is_over.is_set():
                judge_h2load(h2load(["-c8", "-m10", "-D", "4", url], 60))
        except BaseException as error:  # told below
            errors.append(error)
    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    wait_for(lambda: s.metric("requests_total") > 200, "no load")
    for i in range(10):
        s.check_reload(**change(i))
        before = s.metric("requests_total")
        time.sleep(0.1)
        wait_for(lambda: errors or s.metric("requests_total") > before + 100, "the load does not go on")
    is_over.set()
    thread.join(60 * scale())
    check(not thread.is_alive(), "h2load does not end")
    check(not errors, "%s", errors)


def header(i):
    return 'builtin-handler "status"\npolicies { response-headers { set { x-generation "%d"; }; }; }' % i


def test_reload_ten_times_under_load(t):
    s = t.sentinel(listener=H2C, workers=2)
    reload_ten_times(s, "http://127.0.0.1:%d/" % s.port,
                     lambda i: {"routes": 'route "all" {\nmatches { path-prefix "/"; }\n%s\n}' % header(i)})
    check_eq(s.metric("config_reloads_total", result="success") >= 10, True)


def test_reload_ten_times_under_load_over_tls_and_to_h2(t):
    ca = tls.Authority(t)
    pair = ca.issue("a.example", ["IP:127.0.0.1"])
    inner = t.sentinel(listener=H2C)
    s = t.sentinel("127.0.0.1:%d" % inner.port, listener=tls.tls_block(pair), upstream=TO_H2, workers=2)
    reload_ten_times(s, "https://127.0.0.1:%d/" % s.port,
                     lambda i: {"upstream": TO_H2 + "\ntimeouts { connect %d; }" % (5 + i),
                                "route": 'policies { response-headers { set { x-generation "%d"; }; }; }' % i})


def test_reload_does_not_end_connections(t):
    o = t.origin()
    s = t.sentinel(o, listener=H2C)
    with H2Client(s.port) as c:
        held = c.request(path="/never")
        up = c.request("POST", "/echo", is_end=False)
        for i in range(10):
            s.check_reload(route='policies { response-headers { set { x-generation "%d"; }; }; }' % i)
            check_eq(c.get("/headers").get("x-generation"), str(i))
            up.send(b"%d" % i)
        o.gate.set()
        check_eq(held.wait_end().body, b"at last")
        check_eq(up.send(b"!", True).wait_end().body, b"0123456789!")
        check(not c.goaways, "%s", c.goaways)
    wait_for(lambda: s.metric("snapshots") == 1, "old configurations stay")


def test_upstream_that_is_removed_ends_its_connections(t):
    first, second = h2_origin(t), h2_origin(t)
    s = t.sentinel(first, upstream=TO_H2, listener=H2C)
    with H2Client(s.port) as c:
        held = c.request(path="/never")
        wait_for(lambda: first.requests, "the request")
        s.origins = (second,)
        s.check_reload()
        check_eq(c.get("/headers").status, 200)
        check_eq((len(first.requests), len(second.requests)), (1, 1))
        first.gate.set()
        check_eq(held.wait_end().body, b"at last")
    wait_for(lambda: not first.open_links(), "a connection to the old origin stays open")
