# SPDX-License-Identifier: GPL-2.0-only
# test_grpc.py - gRPC end to end: Debian's client and server on both sides of the proxy, in cleartext and over TLS.
import concurrent.futures
import json
import sys
import threading
import time

from lib import Skip, check, check_eq, check_in, wait_for
from lib import h2, tls
from lib.case import scale
from lib.h2 import H2C, TO_H2, h2_origin

try:
    import grpc
except ImportError:
    sys.path.append("/usr/lib/python3/dist-packages")  # Debian's, for another python than Debian's
    try:
        import grpc
    except ImportError:
        grpc = None

LARGE = 20 << 20
OPTIONS = [("grpc.max_receive_message_length", LARGE * 2), ("grpc.max_send_message_length", LARGE * 2),
           ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
LIMITS = 'max-body-size "1GiB"'


class Server:
    """A service of bytes: /t.Test/Unary, /Up, /Down, /Both; what ended a call is in `ends`."""

    def __init__(self, t, pair=None):
        if not grpc:
            raise Skip("no python3-grpcio")
        self.ends = []
        self.seen = []
        self.gate = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), options=OPTIONS)
        kinds = {"Unary": (grpc.unary_unary_rpc_method_handler, self.unary),
                 "Up": (grpc.stream_unary_rpc_method_handler, self.up),
                 "Down": (grpc.unary_stream_rpc_method_handler, self.down),
                 "Both": (grpc.stream_stream_rpc_method_handler, self.both)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "t.Test", {name: make(f) for name, (make, f) in kinds.items()}),))
        if pair:
            self.port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
                [(tls.read(pair.key).encode(), tls.read(pair.cert).encode())]))
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        t.closers.append(self.close)

    def close(self):
        self.gate.set()
        self.server.stop(0).wait(5)

    def begin(self, context):
        self.seen.append({k: v for k, v in context.invocation_metadata()})
        context.add_callback(lambda: self.ends.append("cancelled" if context.code() is None and self.seen else context.code()))

    def unary(self, request, context):
        self.begin(context)
        word = request[:20].split(b" ")[0]
        if word == b"error":
            context.set_trailing_metadata((("x-why", "because"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e4 % /")
        if word == b"slow":
            self.gate.wait(20 * scale())
        context.send_initial_metadata((("x-first", "1"), ("x-raw-bin", b"\0\xff\n")))
        context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\1\2")))
        return request

    def up(self, requests, context):
        self.begin(context)
        return b"%d" % sum(len(r) for r in requests)

    def down(self, request, context):
        self.begin(context)
        for i in range(int(request)):
            yield b"%d" % i
        if request.startswith(b"0"):
            while context.is_active():
                yield b"more"
                time.sleep(0.01)

    def both(self, requests, context):
        self.begin(context)
        for r in requests:
            if r == b"stop":
                context.abort(grpc.StatusCode.ABORTED, "stopped")
            yield r.upper()


class Stub:
    def __init__(self, channel):
        self.unary = channel.unary_unary("/t.Test/Unary")
        self.up = channel.stream_unary("/t.Test/Up")
        self.down = channel.unary_stream("/t.Test/Down")
        self.both = channel.stream_stream("/t.Test/Both")


def stub(t, port, ca=None):
    target = "localhost:%d" % port if ca else "127.0.0.1:%d" % port
    channel = (grpc.secure_channel(target, grpc.ssl_channel_credentials(tls.read(ca.cert).encode()), OPTIONS) if ca
               else grpc.insecure_channel(target, OPTIONS))
    t.closers.append(channel.close)
    return Stub(channel)


def cleartext(t, **keys):
    server = Server(t)
    s = t.sentinel("127.0.0.1:%d" % server.port, listener=H2C, limits=LIMITS, **dict({"upstream": TO_H2}, **keys))
    return server, s, stub(t, s.port)


def over_tls(t):
    ca = tls.Authority(t)
    server = Server(t, ca.issue("o.example"))
    s = t.sentinel("127.0.0.1:%d" % server.port, listener=tls.tls_block(ca.issue("localhost")), limits=LIMITS,
                   upstream='tls { sni "o.example"; ca-file "%s"; }' % ca.cert)
    return server, s, stub(t, s.port, ca)


def code_of(call):
    """Of a call that must fail."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("it did not fail")


def test_every_kind_of_call(t):
    for make in (cleartext, over_tls):
        server, s, c = make(t)
        check_eq(c.unary(b"hello", timeout=10 * scale()), b"hello")
        check_eq(c.up(iter([b"x" * 1000] * 50), timeout=10 * scale()), b"50000")
        check_eq(list(c.down(b"100", timeout=10 * scale())), [b"%d" % i for i in range(100)])
        gate = threading.Semaphore(1)

        def ask():
            for i in range(30):
                gate.acquire()
                yield b"ping %d" % i
        n = 0
        for answer in c.both(ask(), timeout=10 * scale()):  # each answer before the next question
            check_eq(answer, b"PING %d" % n)
            n += 1
            gate.release()
        check_eq(n, 30)
        wait_for(lambda: s.metric("grpc_requests_total", status="0") == 4, "calls are not counted: %s" % [
            x for x in s.metrics().samples if "grpc" in x[0]])
        wait_for(lambda: len(server.ends) >= 4, "the server's calls have not ended")
        check_eq(len(server.ends), 4)


def test_metadata_and_trailers(t):
    server, s, c = cleartext(t)
    answer, call = c.unary.with_call(b"hello", metadata=(("x-a", "1"), ("x-b-bin", bytes(range(64)))),
                                     timeout=10 * scale())
    check_eq(answer, b"hello")
    check_eq((server.seen[0]["x-a"], server.seen[0]["x-b-bin"]), ("1", bytes(range(64))))
    first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
    check_eq((first["x-first"], first["x-raw-bin"], last["x-last"], last["x-last-bin"]),
             ("1", b"\0\xff\n", "2", b"\1\2"))


def test_error_status(t):
    server, s, c = cleartext(t)
    try:
        c.unary(b"error now", timeout=10 * scale())
        raise AssertionError("no error")
    except grpc.RpcError as error:
        check_eq((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e4 % /"))
        check_eq(dict(error.trailing_metadata())["x-why"], "because")
    check_eq(code_of(lambda: list(c.both(iter([b"a", b"stop"]), timeout=10 * scale()))), grpc.StatusCode.ABORTED)
    line = [json.loads(text) for text in s.access_lines(2)]
    check_eq(sorted(x["grpc_status"] for x in line), ["10", "9"])
    check_eq([(x["status"], x["protocol"]) for x in line], [(200, "HTTP/2")] * 2)
    check_eq((s.metric("grpc_requests_total", status="9"), s.metric("grpc_requests_total", status="10")), (1, 1))
    check_eq(s.metric("upstream_failures_total"), 0)


def test_deadline(t):
    server, s, c = cleartext(t)
    check_eq(c.unary(b"first", timeout=10 * scale()), b"first")  # the call with a deadline finds a connection
    began = time.monotonic()
    check_eq(code_of(lambda: c.unary(b"slow", timeout=1.5 * scale())), grpc.StatusCode.DEADLINE_EXCEEDED)
    check(time.monotonic() - began < 8 * scale(), "it took long")
    wait_for(lambda: len(server.ends) == 2, "the server was not told")
    server.gate.set()
    check_eq(c.unary(b"hello", timeout=10 * scale()), b"hello")
    check_eq(s.metric("upstream_failures_total"), 0)
    wait_for(lambda: s.metric("active_requests") == 0, "the call is still there")


def test_cancellation_by_the_client(t):
    for make in (cleartext, over_tls):
        server, s, c = make(t)
        calls = c.down(b"0")
        check_eq([next(calls), next(calls)], [b"more", b"more"])
        calls.cancel()
        check_eq(code_of(lambda: list(calls)), grpc.StatusCode.CANCELLED)
        wait_for(lambda: server.ends, "the server was not told")
        future = c.unary.future(b"slow")
        wait_for(lambda: len(server.seen) == 2, "the call")
        future.cancel()
        wait_for(lambda: len(server.ends) == 2, "the server was not told")
        server.gate.set()
        check_eq(c.unary(b"hello", timeout=10 * scale()), b"hello")
        lines = [json.loads(text) for text in s.access_lines(3)]
        check_eq(sorted(x["status"] for x in lines), [200, 499, 499])


def test_end_by_the_server(t):
    """RST_STREAM of the server reaches the client, in the middle of a call."""
    o = h2_origin(t)

    def serve(stream):
        if not stream.path.endswith("Unary"):
            stream.head([(":status", "200"), ("content-type", "application/grpc")])
            stream.send(b"\0\0\0\0\4more")
            o.gate.wait(20 * scale())
        stream.cancel(h2.CANCEL)
    o.on("/t.Test/*", serve)
    s = t.sentinel(o, listener=H2C, upstream=TO_H2)
    Server(t)
    c = stub(t, s.port)
    calls = c.down(b"0", timeout=10 * scale())
    check_eq(next(calls), b"more")
    o.gate.set()
    check_in(code_of(lambda: list(calls)), (grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL,
                                            grpc.StatusCode.UNAVAILABLE,
                                            grpc.StatusCode.UNKNOWN))
    check_in(code_of(lambda: c.unary(b"x", timeout=10 * scale())), (grpc.StatusCode.UNAVAILABLE,
                                                                    grpc.StatusCode.CANCELLED))


def test_answer_of_trailers_only(t):
    o = h2_origin(t)
    o.on("/t.Test/*", lambda stream: stream.head([(":status", "200"), ("content-type", "application/grpc"),
                                                  ("grpc-status", "12"),
                                                  ("grpc-message", "not here")], True))
    s = t.sentinel(o, listener=H2C, upstream=TO_H2)
    Server(t)
    c = stub(t, s.port)
    check_eq(code_of(lambda: c.unary(b"x", timeout=10 * scale())), grpc.StatusCode.UNIMPLEMENTED)
    check_eq(json.loads(s.access_lines(1)[0])["grpc_status"], "12")
    fields = dict(o.requests[0].fields)
    check_eq((fields["te"], fields["content-type"], fields[":method"]), ("trailers", "application/grpc", "POST"))
    check_in("grpc-timeout", fields)


def test_large_messages_both_ways(t):
    for make in (cleartext, over_tls):
        server, s, c = make(t)
        data = bytes(range(256)) * (LARGE // 256)
        check(c.unary(data, timeout=60 * scale()) == data, "the answer differs")
        check_eq(c.up(iter([data[:1 << 20]] * 20), timeout=60 * scale()), b"%d" % LARGE)
        check(s.rss() < 300 << 20 or scale() > 1, "%d bytes", s.rss())


def test_many_calls_at_once(t):
    server, s, c = cleartext(t, workers=2)
    futures = [c.unary.future(b"call %d" % i, timeout=30 * scale()) for i in range(500)]
    for i, future in enumerate(futures):
        check_eq(future.result(), b"call %d" % i)


def test_origin_that_is_not_there(t):
    Server(t)
    s = t.sentinel("127.0.0.1:%d" % t.port(), listener=H2C, upstream=TO_H2)
    check_eq(code_of(lambda: stub(t, s.port).unary(b"x", timeout=10 * scale())), grpc.StatusCode.UNAVAILABLE)
